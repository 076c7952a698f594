"""Parameters of thermostats, and random numbers for stochastic velocity rescaling."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Draw = Callable[[int], tuple[Tensor, Tensor]]
"""R and S of a step in each trajectory, ``(trajectory, batch)``; see
:class:`gfnode.dynamics.newton.NewtonDynamics`."""

DRAWN = 256
"""Steps for which random numbers are drawn together."""


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
