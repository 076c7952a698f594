"""Parameters of thermostats, and random numbers for stochastic velocity rescaling."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gfnode.units import WAVENUMBER

Draw = Callable[[int], tuple[Tensor, Tensor]]
"""R and S of a step in each trajectory, ``(trajectory, batch)``; see
:class:`gfnode.dynamics.newton.NewtonDynamics`."""

DRAWN = 256
"""Steps for which random numbers are drawn together."""

WAVENUMBERS = (400.0, 800.0, 1200.0, 1700.0, 2400.0, 3400.0)
"""ω of Nosé-Hoover thermostats that are tried, in 1/cm."""

TIMES = (50.0, 100.0, 200.0, 500.0)
"""τ of stochastic velocity rescaling that are tried, in fs."""

_FINALISTS = 3
_WORTH = 0.95  # largest squared error of a thermostat worth having, relative to none

Error = Callable[[float, float], float]
"""ω and 1/τ in 1/fs to the logarithm of a squared error."""


@dataclass(frozen=True)
class Bath:
    """A global thermostat: Nosé-Hoover friction, stochastic velocity rescaling, or none.

    Parameters
    ----------
    frequency, rate
        ω and 1/τ in 1/fs, ``(batch)`` or one for all; zero: without.
    friction
        Initial ξ √g/ω, ``(trajectory, 1)``.
    draw
        Gives the random numbers of a step.
    """

    frequency: Tensor
    rate: Tensor
    friction: Tensor
    draw: Draw


def random_numbers(first: int, trajectories: int, freedoms: int) -> tuple[Tensor, Tensor]:
    """R and S of steps ``first`` to ``first + DRAWN`` in each trajectory, ``(step, trajectory)``.

    Seeded with ``first``: they do not depend on how many steps are integrated. R is antithetic:
    that of one half of the trajectories is the negative of that of the other half.
    """
    generator = torch.Generator().manual_seed(first)
    half = torch.randn(DRAWN, (trajectories + 1) // 2, generator=generator)
    along = torch.cat([half, -half], 1)[:, :trajectories]
    shape = DRAWN, trajectories, freedoms - 1
    return along, torch.randn(shape, generator=generator).square().sum(-1)


def choose_thermostat(preselect: Error, decide: Error) -> tuple[float, float]:
    """ω and 1/τ in 1/fs of the thermostat with the smallest error; zero: without.

    All candidates are compared by ``preselect``, and the best of them by ``decide``, together with
    no thermostat.
    """
    tried = [(WAVENUMBER * wavenumber, 0.0) for wavenumber in WAVENUMBERS]
    tried += [(0.0, 1 / time) for time in TIMES]
    best = sorted(tried, key=lambda bath: preselect(*bath))[:_FINALISTS]
    errors = {bath: decide(*bath) for bath in best}
    errors = {(0.0, 0.0): decide(0.0, 0.0) + math.log(_WORTH)} | errors
    return min(errors, key=errors.__getitem__)
