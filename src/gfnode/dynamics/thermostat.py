"""What a thermostat is, and the random numbers of one that scales velocities at random."""

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
    """A thermostat.

    Parameters
    ----------
    frequency, rate
        ω and 1/τ in 1/fs, ``(batch)`` or one for all.
    friction
        ξ √g/ω to begin with, ``(trajectory, 1)``.
    draw
        Random numbers.
    """

    frequency: Tensor
    rate: Tensor
    friction: Tensor
    draw: Draw


def random_numbers(first: int, trajectories: int, freedoms: int) -> tuple[Tensor, Tensor]:
    """R and S of the next steps in each trajectory, ``(step, trajectory)``.

    They are the same however many follow. Half of the trajectories have the R of the other half
    with another sign.
    """
    generator = torch.Generator().manual_seed(first)
    half = torch.randn(DRAWN, (trajectories + 1) // 2, generator=generator)
    along = torch.cat([half, -half], 1)[:, :trajectories]
    shape = DRAWN, trajectories, freedoms - 1
    return along, torch.randn(shape, generator=generator).square().sum(-1)
