"""Newton's equations in a learned potential, with the thermostat of the simulation."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gfnode.dynamics.potential import Potential
from gfnode.molecule.system import System
from gfnode.units import WAVENUMBER
from gfnode.windows import Batch

State = tuple[Tensor, Tensor, Tensor, Tensor]
"""Positions, velocities, friction ``(trajectory, batch, 1, 1)`` and accelerations."""

_DRAWN = 256  # steps for which random numbers are drawn together


class NewtonDynamics(nn.Module):
    """All atoms move by the forces of a learned potential.

    A thermostat that scales all velocities alike drives the kinetic energy K towards its mean K̄.
    That of Nosé and Hoover has a friction ξ, as in the simulations of MD17 (theirs, found from
    consecutive frames, is that of a thermostat of 1700 cm⁻¹ to a tenth)::

        dx/dt = v,   dv/dt = F(x)/m − ξ v,   dξ/dt = ω² (K/K̄ − 1)

    A start says nothing of ξ. Its distribution is Gaussian of variance ω²/g with g = 3N, so each
    trajectory starts from a quantile of it, six in each member of the potential, and together they
    say where the molecule may go. That of Bussi, Donadio and Parrinello (J. Chem. Phys. 126,
    014101, 2007) scales v by α at random after each step h, with c = e^(−h/τ), R normal and S the
    sum of g − 1 squares of such; each trajectory has random numbers of its own, the same ones for
    every start::

        α² = c + (1 − c) (R² + S) K̄/(g K) + 2 R √(c (1 − c) K̄/(g K))

    Which it is, ω and τ are chosen in :meth:`tune`; a molecule may be left alone, too. The
    scheme is velocity Verlet with friction split off on both sides, symmetric in time.

    Velocities that are differences over a gap are those of its middle: they are taken back to the
    start by requiring that the integrated motion over the gap be the difference.

    Parameters
    ----------
    system
        The molecular system.
    potential
        Its members move side by side.
    """

    step = 1.0  # fs
    each = 6  # trajectories in each member of the potential
    _tuned_up_to = 200.0  # fs
    _worth = 0.95  # a thermostat must do so much better than none
    _wavenumbers = (400.0, 800.0, 1200.0, 1700.0, 2400.0, 3400.0)  # 1/cm
    _memories = (50.0, 100.0, 200.0, 500.0)  # fs

    masses: Tensor
    frequency: Tensor
    rate: Tensor
    kinetic: Tensor
    gap: Tensor
    friction: Tensor

    def __init__(self, system: System, potential: Potential) -> None:
        super().__init__()
        self.potential = potential
        self.freedoms = 3 * system.n_atoms
        masses = torch.as_tensor(system.masses, dtype=torch.float32)[:, None]
        self.register_buffer("masses", masses, persistent=False)
        self.register_buffer("frequency", torch.zeros(()))  # ω, 1/fs; 0: no friction
        self.register_buffer("rate", torch.zeros(()))  # 1/τ, 1/fs; 0: no random scaling
        self.register_buffer("kinetic", torch.ones(()))  # K̄, u Å²/fs²
        self.register_buffer("gap", torch.zeros(()))  # fs
        count = self.trajectories = self.each * potential.members
        quantiles = (torch.arange(count) + 0.5) / count
        quantiles = math.sqrt(2) * torch.erfinv(2 * quantiles - 1)  # of mean square one
        quantiles = quantiles / quantiles.square().mean().sqrt().clamp(min=1e-6)
        self.register_buffer("friction", quantiles[:, None, None, None], persistent=False)

    @torch.no_grad()
    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Positions at the lags, ``(trajectory, batch, time, atom, 3)`` in Å.

        Trajectories i, i + K, … belong to member i of K.

        Every start moves in steps of the same length, whatever its lags, and is carried to a lag
        from the step before it.

        Parameters
        ----------
        positions, velocities, lags
            As of :meth:`gfnode.models.base.Model.forward`.
        """
        return self._integrate(positions, velocities, lags, self.frequency, self.rate)

    def _integrate(
        self, x: Tensor, v: Tensor, lags: Tensor, frequency: Tensor, rate: Tensor
    ) -> Tensor:
        x, v = (y.expand(self.trajectories, *y.shape) for y in (x, v))
        friction = self.friction * frequency / math.sqrt(self.freedoms)
        state = x, v, friction.expand(*x.shape[:2], 1, 1), self._pull(x)
        state = self._begin(state, frequency)
        found = x.new_empty(*x.shape[:2], lags.shape[1], *x.shape[2:])
        number = torch.div(lags, self.step, rounding_mode="floor").long()
        order = number.flatten().argsort(stable=True)
        starts = torch.div(order, lags.shape[1], rounding_mode="floor")
        places = order % lags.shape[1]
        ending = torch.bincount(number.flatten())
        asked = torch.cat([ending, rate.any().to(ending)[None]])
        *counts, scaled = asked.tolist()  # the only wait for the device
        last = len(counts) - 1
        done = 0
        for step, count in enumerate(counts):
            if count:
                start, time = (y[done : done + count] for y in (starts, places))
                rest = (lags[start, time] - step * self.step)[None, :, None, None]
                here, speed, damping, pull = (y[:, start] for y in state)
                curve = pull - damping * speed
                found[:, start, time] = here + rest * speed + rest**2 / 2 * curve
                done += count
            if step < last:
                state = self._advance(state, self.step, frequency)
                if scaled and step % _DRAWN == 0:
                    along, others = self._random(step)
                if scaled:
                    state = self._scaled(state, rate, along[step % _DRAWN], others[step % _DRAWN])
        return found

    def _random(self, first: int) -> tuple[Tensor, Tensor]:
        """R and S of the next steps in each trajectory, ``(step, trajectory, 1, 1, 1)``.

        They are the same however many follow. Half of the trajectories have the R of the other half
        with another sign.
        """
        generator = torch.Generator().manual_seed(first)
        half = torch.randn(_DRAWN, (self.trajectories + 1) // 2, generator=generator)
        along = torch.cat([half, -half], 1)[:, : self.trajectories]
        shape = _DRAWN, self.trajectories, self.freedoms - 1
        others = torch.randn(shape, generator=generator).square().sum(-1)
        along, others = (y[..., None, None, None].to(self.masses) for y in (along, others))
        return along, others

    def _scaled(self, state: State, rate: Tensor, along: Tensor, others: Tensor) -> State:
        """Scale velocities at random after a step."""
        x, v, friction, pull = state
        twice = (self.masses * v.square()).sum((-2, -1), keepdim=True)
        left = torch.exp(-self.step * rate)
        share = 2 * self.kinetic / twice.clamp(min=1e-12) / self.freedoms
        squared = left + (1 - left) * share * (along**2 + others)
        squared = squared + 2 * along * (left * (1 - left) * share).sqrt()
        return x, v * squared.clamp(min=0).sqrt(), friction, pull

    def known(self, found: Tensor) -> Tensor:
        """Which positions of :meth:`forward` the potential knows, ``(trajectory, batch, time)``."""
        return self._of_members(self.potential.knows, found, 3)

    def _pull(self, x: Tensor) -> Tensor:
        return self._of_members(self.potential, x, 2) / self.masses

    def _of_members(self, what: Callable[[Tensor], Tensor], x: Tensor, axes: int) -> Tensor:
        """Of each trajectory, what its member of the potential says; the axes before atoms."""
        together = x.unflatten(0, (self.each, -1)).transpose(0, 1)
        said = what(together.flatten(1, axes)).unflatten(1, together.shape[1 : axes + 1])
        return said.transpose(0, 1).flatten(0, 1)

    def _heat(self, v: Tensor, frequency: Tensor) -> Tensor:
        """Rate of change of the friction."""
        twice = (self.masses * v.square()).sum((-2, -1), keepdim=True)
        return frequency**2 * (twice / (2 * self.kinetic) - 1)

    def _advance(self, state: State, h: float | Tensor, frequency: Tensor) -> State:
        """One step of length h."""
        x, v, friction, pull = state
        friction = friction + h / 2 * self._heat(v, frequency)
        v = v * torch.exp(-h / 2 * friction) + h / 2 * pull
        x = x + h * v
        pull = self._pull(x)
        v = (v + h / 2 * pull) * torch.exp(-h / 2 * friction)
        return x, v, friction + h / 2 * self._heat(v, frequency), pull

    def _begin(self, state: State, frequency: Tensor) -> State:
        """Velocities at the start of the gap, of those over it."""
        x, over, friction, pull = state
        v, substeps = over, 4
        for _ in range(3):
            moved = x, v, friction, pull
            for _ in range(substeps):
                moved = self._advance(moved, self.gap / substeps, frequency)
            mean = (moved[0] - x) / self.gap.clamp(min=1e-6)
            v = torch.where(self.gap > 0, v + over - mean, over)
        return x, v, friction, pull

    @torch.no_grad()
    def tune(self, batch: Batch, gap: float) -> None:
        """Choose the thermostat that follows training windows best, by the median error.

        Parameters
        ----------
        batch
            Training windows; lags of up to 200 fs count.
        gap
            Time in fs over which velocities are differences; 0: they are those of the start.
        """
        self.gap.fill_(gap)
        x, v = (y.expand(self.trajectories, *y.shape) for y in (batch.positions, batch.velocities))
        still = torch.zeros_like(self.frequency)
        _, v, _, _ = self._begin((x, v, still.expand(*x.shape[:2], 1, 1), self._pull(x)), still)
        self.kinetic.copy_(0.5 * (self.masses * v.square()).sum((-2, -1)).mean())
        short = batch.lags <= self._tuned_up_to
        tried = torch.zeros(1 + len(self._wavenumbers) + len(self._memories), 2)
        tried[1 : 1 + len(self._wavenumbers), 0] = WAVENUMBER * torch.tensor(self._wavenumbers)
        tried[1 + len(self._wavenumbers) :, 1] = 1 / torch.tensor(self._memories)
        tried = tried.to(short.device)
        count = len(tried)
        found = self._integrate(
            batch.positions.repeat(count, 1, 1),
            batch.velocities.repeat(count, 1, 1),
            batch.lags.clamp(max=self._tuned_up_to).repeat(count, 1),
            *tried.repeat_interleave(len(short), 0).T[..., None, None],
        )
        found = found.mean(0).unflatten(0, (count, -1))
        errors = (found - batch.targets).square().mean((-1, -2))[:, short].nan_to_num(torch.inf)
        if errors.shape[1]:
            median = errors.median(1).values
            median[0] *= self._worth
            best = tried[median.argmin()]
            self.frequency.copy_(best[0])
            self.rate.copy_(best[1])
