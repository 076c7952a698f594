"""Velocity Verlet with global thermostats, in all members of a learned potential at once."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gfnode.dynamics.potential import Potential
from gfnode.kernels import forces as kernel
from gfnode.molecule.system import System

State = tuple[Tensor, Tensor, Tensor, Tensor]
"""Positions, velocities, friction ``(member, row, 1, 1)`` and accelerations; rows are starts."""

_FIXED = 1e9  # u, the mass of atoms that are held


class VerletIntegrator(nn.Module):
    """Steps of the equations of :class:`gfnode.dynamics.newton.NewtonDynamics`.

    Parameters
    ----------
    system
        The molecular system; its fixed atoms get a mass that no force moves.
    potential
        An ensemble; trajectories in all of its members are integrated together.
    """

    step = 1.0  # fs

    masses: Tensor
    moving: Tensor
    kinetic: Tensor

    def __init__(self, system: System, potential: Potential) -> None:
        super().__init__()
        self.potential = potential
        masses = torch.as_tensor(system.masses, dtype=torch.float32)[:, None]
        masses[torch.as_tensor(system.held)] = _FIXED
        for name, buffer in (("masses", masses), ("moving", masses < _FIXED)):
            self.register_buffer(name, buffer, persistent=False)
        self.register_buffer("kinetic", torch.ones(()))  # K̄, u Å²/fs²
        self.every = 3 * len(system.moving)  # directions
        self.freedoms = self.every  # g, on the host

    def _accelerations(self, x: Tensor) -> Tensor:
        pull: Tensor = self.potential(x) / self.masses
        return pull

    def _friction_rate(self, v: Tensor, frequency: Tensor) -> Tensor:
        """Rate of change of the friction, dξ/dt = ω² (K/K̄ − 1)."""
        twice = (self.masses * v.square()).sum((-2, -1), keepdim=True)
        return frequency**2 * (twice / (2 * self.kinetic) - 1)

    def _verlet_step(self, state: State, h: float | Tensor, frequency: Tensor) -> State:
        """One velocity Verlet step of length h with friction."""
        x, v, friction, pull = state
        friction = friction + h / 2 * self._friction_rate(v, frequency)
        v = v * torch.exp(-h / 2 * friction) + h / 2 * pull
        x = x + h * v
        pull = self._accelerations(x)
        v = (v + h / 2 * pull) * torch.exp(-h / 2 * friction)
        return x, v, friction + h / 2 * self._friction_rate(v, frequency), pull

    def _run_steps(
        self,
        state: State,
        steps: int,
        h: float | Tensor,
        frequency: Tensor,
        scaling: Sequence[Tensor] = (),
    ) -> State:
        """Integrate ``steps`` steps of length h; ``scaling`` is 1/τ, and R and S of each step."""
        packed = getattr(self.potential, "packed", None)
        if packed is not None:
            frequency = frequency.expand_as(state[2])
            bath = kernel.Thermostat(
                self.masses[:, 0], float(self.kinetic), self.freedoms, frequency, *scaling
            )
            x, v, friction, pull = kernel.advance(state, packed, bath, steps, float(h))
            return x, v, friction, pull
        for step in range(steps):
            state = self._verlet_step(state, h, frequency)
            if scaling:
                rate, *noise = scaling
                state = self._rescale_velocities(state, rate, *(y[step] for y in noise))
        return state

    def _rescale_velocities(
        self, state: State, rate: Tensor, along: Tensor, others: Tensor
    ) -> State:
        """Scale velocities by the random α of Bussi, Donadio and Parrinello."""
        x, v, friction, pull = state
        twice = (self.masses * v.square()).sum((-2, -1), keepdim=True)
        left = torch.exp(-self.step * rate)
        share = 2 * self.kinetic / twice.clamp(min=1e-12) / self.freedoms
        squared = left + (1 - left) * share * (along**2 + others)
        squared = squared + 2 * along * (left * (1 - left) * share).sqrt()
        return x, v * squared.clamp(min=0).sqrt(), friction, pull
