"""Newton's equations beside the modes: trusted as long as they predict unseen windows."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from gfnode.dynamics.newton import NewtonDynamics
from gfnode.dynamics.potential import Potential
from gfnode.models.conformer import Conformer
from gfnode.models.trust import Trust
from gfnode.molecule.periodic import neighbours_across
from gfnode.molecule.system import System
from gfnode.progress import Report, silent
from gfnode.thinning import evenly
from gfnode.trajectory import Trajectory
from gfnode.units import WAVENUMBER, format_time
from gfnode.windows import Batch, Windows
from gfnode.windows.forces import Forces, find_forces

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Positions, velocities and lags to positions at the lags."""

UNTRUSTED = (
    "the learned potential predicts none of the training windows, so it is not used and the "
    "modes predict alone: gfnode data FILE tells whether forces fit the motion; --set "
    "model.newton=false saves the time it takes"
)
"""Message for a potential that turned out not to be usable."""

UNSEEN = (
    "atoms of different molecules are neighbours across the periodic cell, and a learned potential "
    "sees no periodic images, so it is of little use in a fluid"
)
"""Message for a potential that will hardly be usable; see :func:`misses_images`."""


def misses_images(system: System, trajectory: Trajectory) -> bool:
    """Whether molecules have neighbours among periodic images, which no potential sees."""
    if trajectory.cell is None:
        return False
    some = evenly(len(trajectory), 20)
    x = trajectory.positions[some][:, system.atoms]
    return neighbours_across(x, trajectory.cell[some], system.bonds)


class Newton(nn.Module):
    """Shifts a prediction towards trajectories in a learned potential.

    With x(τ) the prediction of the modes, and x_N(τ) the mean over trajectories in a potential that
    is learned from the forces on training frames (x(τ) in place of those that leave its domain)::

        x(τ) + w(τ) (x_N(τ) − x(τ))

    w falls with the lag, and is fitted to training windows whose frames the potential has not
    seen. At short lags the potential is far more accurate. Later its trajectories diverge, and the
    modes, which return to the mean, are safer.

    Parameters
    ----------
    system
        The molecular system.
    """

    largest = 64
    """Largest number of atoms; the cost grows as its square."""
    _fewest_frames, _most_frames = 50, 8000
    _most_windows = 200
    _epochs, _batch = 500, 256
    _steps = 500, 8000  # at least and at most; the latter take three to five minutes of a processor
    _stretches = 12
    _together = 8
    _grid = (1e-3, 1e-5)  # Å and Å/fs, to which starts are rounded

    score: Tensor
    bonds: Tensor

    def __init__(self, system: System) -> None:
        super().__init__()
        self.dynamics = NewtonDynamics(system, Potential(system))
        self.trust = Trust(system.horizon)
        # a bond between fixed atoms is no constraint
        bonds = torch.as_tensor(system.bonds[np.isin(system.bonds, system.moving).any(1)])
        self.register_buffer("bonds", bonds, persistent=False)
        self.register_buffer("score", torch.as_tensor(system.score), persistent=False)
        self._horizon = system.horizon
        self._learned = False  # by this object; a loaded one knows w alone

    @classmethod
    def suits(cls, system: System) -> bool:
        """Whether the state holds all atoms of the data, at least two and not too many."""
        return len(system.source_numbers) == system.n_atoms and 1 < system.n_atoms <= cls.largest

    @property
    def reach(self) -> float:
        """The lag from which the modes predict alone, fs."""
        return self.trust.reach

    @property
    def doubt(self) -> str:
        """A sentence if the learned potential turned out not to be usable, else empty."""
        return UNTRUSTED if self._learned and not self.reach else ""

    @property
    def found(self) -> str:
        """Thermostat and weights w in words; empty where no potential was learned."""
        if not self.reach:
            return self.doubt
        dynamics = self.dynamics
        bath = "no thermostat"
        if dynamics.frequency > 0:
            bath = f"a thermostat of {float(dynamics.frequency) / WAVENUMBER:.0f} cm⁻¹"
        elif dynamics.rate > 0:
            bath = f"a stochastic thermostat of {format_time(1 / float(dynamics.rate))}"
        lags = [self._horizon / 100, self._horizon / 10, self._horizon]
        weights = self.trust(torch.tensor(lags)).tolist()
        said = ", ".join(
            f"{weight:.0%} at {format_time(lag)}" for weight, lag in zip(weights, lags, strict=True)
        )
        behind = float(dynamics.behind)
        early = f"; velocities are taken to be from {behind:.2g} fs before" if behind else ""
        return f"weight of Newton's equations, with {bath}: {said}{early}"

    def forward(
        self, x: Tensor, conformer: Conformer, positions: Tensor, velocities: Tensor, lags: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Shift predictions of the modes, ``x (batch, time, atom, 3)``.

        Other arguments and results are those of :meth:`gfnode.models.base.Model.with_spread`; the
        spread is that of the trajectories.
        """
        if self.reach == 0.0:
            return x, None
        lags_inside = lags.clamp(max=self.reach)
        change, known = self._changes(x, conformer, positions, velocities, lags_inside)
        count = known.sum(0)
        off = torch.where(known, change - change.sum(0) / count.clamp(min=1), 0.0)
        spread = (off.square().sum(0) / (count - 1).clamp(min=1)).mean(-1).sqrt()
        return x + self.trust(lags)[..., None, None] * change.mean(0), spread

    def _changes(
        self, x: Tensor, conformer: Conformer, positions: Tensor, velocities: Tensor, lags: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Trajectories less predictions of the modes, ``(trajectory, batch, time, atom, 3)``.

        Zero for a trajectory outside of the potential's domain; the second tensor marks the others.
        """
        found = self._follow(conformer, positions, velocities, lags)
        known = self.dynamics.known(found)[..., None, None]
        return torch.where(known, found - x, torch.zeros_like(found)), known

    def _follow(
        self, conformer: Conformer, positions: Tensor, velocities: Tensor, lags: Tensor
    ) -> Tensor:
        """Trajectories from the starts, ``(trajectory, batch, time, atom, 3)``.

        Batches are filled up to a multiple, so that matrix products round alike.
        """
        x, v, rotation = self._placed(conformer, positions, velocities)
        alone = self.dynamics.potential.packed is not None
        count, together = len(x), 1 if alone else self._together
        x, v, lags = (_filled(y, together) for y in (x, v, lags))
        moved = (self.dynamics(x, v, lags) - x[:, None])[:, :count]
        return positions[:, None] + moved @ rotation[:, None].mT

    @torch.no_grad()
    def sample(
        self,
        conformer: Conformer,
        positions: Tensor,
        velocities: Tensor,
        lags: Tensor,
        generator: torch.Generator,
        *,
        exact: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Draw a trajectory of each start, see :meth:`gfnode.models.base.Model.trajectories`.

        Starts are assigned to the members of the potential in turn. Random are the thermostat and,
        unless ``exact``, the start within the grid to which it is rounded.
        """
        x, v, rotation = self._placed(conformer, positions, velocities, rounded=not exact)
        if not exact:
            for size, y in zip(self._grid, (x, v), strict=True):
                y.add_(torch.rand(y.shape, generator=generator, device=y.device) - 0.5, alpha=size)
        count, members = len(x), self.dynamics.potential.members
        x, v, lags = (_filled(y, members) for y in (x, v, lags))
        found, speeds = self.dynamics.sample(x, v, lags, generator, exact=exact)
        known = self.dynamics.known(found).all(-1)[..., None, None, None]
        moved, speeds = (
            torch.where(known, y, torch.nan)[:count, 0] @ rotation[:, None].mT
            for y in (found - x[:, None, None], speeds)
        )
        return positions[:, None] + moved, speeds

    def _placed(
        self, conformer: Conformer, positions: Tensor, velocities: Tensor, *, rounded: bool = True
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Starts in the frame of the conformer, and the rotation from it.

        Diverging trajectories would amplify the rounding errors of a start that is rotated or
        translated. Rounded starts are equal to the last bit, unless a coordinate lies on the
        boundary between two grid points.
        """
        rotation = conformer.orientation(positions.double())
        centre = positions.double().mean(-2, keepdim=True)
        x, v = (positions - centre) @ rotation, velocities.double() @ rotation
        if rounded:
            x, v = ((y / size).round() * size for size, y in zip(self._grid, (x, v), strict=True))
        return x.to(positions), v.to(positions), rotation.to(positions)

    def forces(self, windows: Windows) -> Forces | None:
        """Forces that a potential would be learned from; None where they are not known."""
        if windows.align is not None:  # superposed targets obey no Newton
            return None
        found = find_forces(windows, self.bonds, self._most_frames)
        return found if found and len(found.frames) >= self._fewest_frames else None

    @torch.no_grad()
    def prepare(
        self, windows: Windows, conformer: Conformer, modes: Predict, report: Report = silent
    ) -> None:
        """Learn the potential, choose the thermostat, and fit the weights w.

        Parameters
        ----------
        windows
            Training windows. Where forces are not known, see
            :func:`gfnode.windows.forces.find_forces`, nothing is learned and w is zero.
        conformer
            Trajectories are integrated in its frame.
        modes
            Predicts without a potential, with the arguments and result of a model.
        report
            Called with the steps done and the number of steps.
        """
        self.trust.forget()
        if (forces := self.forces(windows)) is None:
            return
        self._learned = True
        seen = forces.frames
        members = torch.arange(self.dynamics.potential.members, device=seen.device)
        # stretches of time, numbered in turn: member m does not see those numbered m
        turns = 2 * len(members)
        span = float(windows.frames.times[seen].diff().clamp(min=0).sum())
        fit_in = int(span / (2 * self._horizon))  # half of the windows lie within one stretch
        stretches = min(self._stretches, max(turns, fit_in))
        stretch = torch.arange(len(seen), device=seen.device) * stretches // len(seen)
        x = windows.frames.positions[seen]
        rotation = conformer.orientation(x)
        with torch.enable_grad():
            self.dynamics.potential.fit(
                conformer.superposed(x),
                forces.values @ rotation,
                stretch % turns != members[:, None],
                steps=int(np.clip(self._epochs * len(seen) // self._batch, *self._steps)),
                batch=self._batch,
                unknown=None if forces.unknown is None else forces.unknown @ rotation,
                report=report,
            )
        self.dynamics.measure(windows.batch(windows.evenly(2000)), windows.gap or 0.0)
        self.dynamics.tune(windows.batch(windows.evenly(256)))
        ends = torch.stack([windows.starts, windows.targets.amax(1)])
        first, last = stretch[torch.searchsorted(seen, ends).clamp(max=len(seen) - 1)]
        unseen_by = first % turns
        unseen = unseen_by < len(members)
        whole = unseen & (first == last)
        fresh = torch.nonzero(whole if whole.any() else unseen).flatten()
        if len(fresh):
            some = windows.take(fresh)
            chosen = some.evenly(self._most_windows)
            self._fit_trust(some.batch(chosen), conformer, modes, unseen_by[fresh[chosen]])

    def _fit_trust(
        self, batch: Batch, conformer: Conformer, modes: Predict, unseen_by: Tensor
    ) -> None:
        """Fit w to windows.

        With d the shift by a member that has not seen the window, d' the mean shift of the other
        members, K members and r the shift to the truth: the mean of K members none of which has
        seen the window would have ⟨d̄ r⟩ = ⟨d r⟩ and ⟨d̄²⟩ = ⟨d²⟩/K + (1 − 1/K) ⟨d d'⟩.
        """
        start = batch.positions, batch.velocities, batch.lags
        known = modes(*start)
        change = self._changes(known, conformer, *start)[0][..., self.score, :]
        change = change.unflatten(0, (self.dynamics.each, -1)).mean(0).flatten(3)  # of each member
        mine = change[unseen_by, torch.arange(len(unseen_by), device=known.device)]
        others = (change.sum(0) - mine) / max(1, len(change) - 1)
        wanted = (batch.targets - known)[..., self.score, :].flatten(2)
        share = 1 / len(change)
        square = share * mine.square().mean(-1) + (1 - share) * (mine * others).mean(-1)
        product = (mine * wanted).mean(-1)
        self.trust.fit(batch.lags, square, product)


def _filled(y: Tensor, multiple: int) -> Tensor:
    """Fill up to a multiple of rows with copies of the first."""
    return torch.cat([y, y[:1].expand(-len(y) % multiple, *y.shape[1:])])
