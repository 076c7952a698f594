"""Newton's equations beside the modes: trusted for as long as they foretell training windows."""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import isotonic_regression
from torch import Tensor, nn

from gfnode.dynamics.newton import NewtonDynamics
from gfnode.dynamics.potential import Potential
from gfnode.models.anchored import Anchored
from gfnode.molecule.system import System
from gfnode.progress import Report, silent
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
"""What is said of a potential that was learned in vain."""


class Newton(nn.Module):
    """Moves a prediction towards what a learned potential says.

    With x(τ) the prediction of the modes, and x_N(τ) the mean over trajectories in a potential that
    is learned from the forces on training frames::

        x(τ) + w(τ) (x_N(τ) − x(τ))

    w falls with the lag, and is fitted by least squares to training windows whose frames the
    potential has not seen. At short lags the potential is far better. Later its trajectories part,
    each as likely as the next, and what the modes say, which falls back to the mean, is safer.

    Parameters
    ----------
    system
        The molecular system.
    """

    largest = 64
    """Atoms: every atom acts on every other."""
    _fewest_frames, _most_frames = 50, 8000
    _most_windows = 200
    _epochs, _batch = 500, 256
    _steps = 500, 8000  # at least and at most; the latter take three to five minutes of a processor
    _stretches = 12
    _stiff = 0.3
    _together = 8
    _grid = (1e-3, 1e-5)  # Å and Å/fs, to which starts are rounded
    _least = 0.02  # what is trusted less is not integrated

    trust: Tensor
    knots: Tensor
    score: Tensor
    bonds: Tensor

    def __init__(self, system: System) -> None:
        super().__init__()
        self.dynamics = NewtonDynamics(system, Potential(system))
        knots = 10 * torch.logspace(0, 1, 16, base=max(2.0, system.horizon / 10))
        swinging = np.isin(system.bonds, system.moving).any(1)  # atoms that are held may be bonded
        bonds = torch.as_tensor(system.bonds[swinging])
        self.register_buffer("bonds", bonds, persistent=False)
        self.register_buffer("score", torch.as_tensor(system.score), persistent=False)
        self.register_buffer("knots", knots, persistent=False)  # fs
        self.register_buffer("trust", torch.zeros(len(knots)))  # w at the knots
        self._horizon = system.horizon
        self._learned = False  # by this very object: what was saved says no more than the trust
        self.reach = 0.0  # w is zero from this lag on, fs
        self.register_load_state_dict_post_hook(_look)

    @classmethod
    def suits(cls, system: System) -> bool:
        """Whether all atoms are in the state, not too many, and more than one."""
        return len(system.source_numbers) == system.n_atoms and 1 < system.n_atoms <= cls.largest

    @property
    def doubt(self) -> str:
        """That it was learned in vain, in words; else nothing."""
        return UNTRUSTED if self._learned and not self.reach else ""

    @property
    def found(self) -> str:
        """Thermostat and trust, in words; nothing where no potential was learned."""
        if not self.reach:
            return self.doubt
        dynamics = self.dynamics
        bath = "no thermostat"
        if dynamics.frequency > 0:
            bath = f"a thermostat of {float(dynamics.frequency) / WAVENUMBER:.0f} cm⁻¹"
        elif dynamics.rate > 0:
            bath = f"a stochastic thermostat of {format_time(1 / float(dynamics.rate))}"
        last = float(self.knots[-1])
        said = ", ".join(
            f"{float(self._hats(torch.tensor(lag)) @ self.trust.cpu()):.0%} at {format_time(lag)}"
            for lag in (last / 100, last / 10, last)
        )
        behind = float(dynamics.behind)
        early = f"; velocities are taken to be from {behind:.2g} fs before" if behind else ""
        return f"weight of Newton's equations, with {bath}: {said}{early}"

    def forward(
        self, x: Tensor, frame: Anchored, positions: Tensor, velocities: Tensor, lags: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Move predictions of the modes ``x (batch, time, atom, 3)``; the rest is as of a model.

        How far trajectories are apart comes second, as of
        :meth:`gfnode.models.base.Model.with_spread`.
        """
        if self.reach == 0.0:
            return x, None
        lags_inside = lags.clamp(max=self.reach)
        change, known = self._changes(x, frame, positions, velocities, lags_inside)
        count = known.sum(0)
        off = torch.where(known, change - change.sum(0) / count.clamp(min=1), 0.0)
        spread = (off.square().sum(0) / (count - 1).clamp(min=1)).mean(-1).sqrt()
        trust = (self._hats(lags) @ self.trust)[..., None, None]
        return x + trust * change.mean(0), spread

    def _changes(
        self, x: Tensor, frame: Anchored, positions: Tensor, velocities: Tensor, lags: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What trajectories would change, ``(trajectory, batch, time, atom, 3)``.

        One that leaves what the potential knows says nothing; which do not is said beside it.
        """
        found = self._follow(frame, positions, velocities, lags)
        known = self.dynamics.known(found)[..., None, None]
        return torch.where(known, found - x, torch.zeros_like(found)), known

    def _follow(
        self, frame: Anchored, positions: Tensor, velocities: Tensor, lags: Tensor
    ) -> Tensor:
        """Trajectories of starts, ``(trajectory, batch, time, atom, 3)``.

        So many at a time that matrix products round alike.
        """
        x, v, rotation = self._placed(frame, positions, velocities)
        alone = self.dynamics.potential.packed is not None
        count, together = len(x), 1 if alone else self._together
        x, v, lags = (_filled(y, together) for y in (x, v, lags))
        moved = (self.dynamics(x, v, lags) - x[:, None])[:, :count]
        return positions[:, None] + moved @ rotation[:, None].mT

    @torch.no_grad()
    def sample(
        self,
        frame: Anchored,
        positions: Tensor,
        velocities: Tensor,
        lags: Tensor,
        generator: torch.Generator,
        *,
        exact: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Draw a trajectory of each start, see :meth:`gfnode.models.base.Model.trajectories`.

        Members of the potential take turns, the thermostat is drawn, and so is the start within
        what it is rounded to.
        """
        x, v, rotation = self._placed(frame, positions, velocities, rounded=not exact)
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
        self, frame: Anchored, positions: Tensor, velocities: Tensor, *, rounded: bool = True
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Starts in the conformer's frame, and the rotation that takes them there.

        Trajectories part, and would carry the rounding errors of a start that is turned or moved
        along. A rounded start is then the same to the last bit but where a coordinate lies between
        two roundings.
        """
        rotation = frame.orientation(positions.double())
        centre = positions.double().mean(-2, keepdim=True)
        x, v = (positions - centre) @ rotation, velocities.double() @ rotation
        if rounded:
            x, v = ((y / size).round() * size for size, y in zip(self._grid, (x, v), strict=True))
        return x.to(positions), v.to(positions), rotation.to(positions)

    def _hats(self, lags: Tensor) -> Tensor:
        """Values at lags of the piecewise linear functions of log τ, ``(..., knot)``."""
        knots = self.knots.log().to(lags.device)
        place = (lags.clamp(min=1e-3).log() - knots[0]) / (knots[1] - knots[0])
        place = place.clamp(0, len(knots) - 1)
        return (1 - (place[..., None] - torch.arange(len(knots), device=lags.device)).abs()).relu()

    def forces(self, windows: Windows) -> Forces | None:
        """What a potential would be learned from; None where nothing tells forces."""
        if windows.align is not None:  # superposed targets obey no Newton
            return None
        found = find_forces(windows, self.bonds, self._most_frames)
        return found if found and len(found.frames) >= self._fewest_frames else None

    @torch.no_grad()
    def prepare(
        self, windows: Windows, frame: Anchored, modes: Predict, report: Report = silent
    ) -> None:
        """Learn the potential, find the thermostat, and how long both are to be trusted.

        Parameters
        ----------
        windows
            Training windows; where nothing tells forces, see
            :func:`gfnode.windows.forces.find_forces`, nothing is learned, and nothing moved.
        frame
            Says how the molecule is turned.
        modes
            Predict without a potential; given and giving what a model does.
        report
            Told steps done and in all.
        """
        self.trust.zero_()
        _look(self)
        if (forces := self.forces(windows)) is None:
            return
        self._learned = True
        seen = forces.frames
        members = torch.arange(self.dynamics.potential.members, device=seen.device)
        # stretches of time by turns: member m does not see those numbered m
        turns = 2 * len(members)
        span = float(windows.frames.times[seen].diff().clamp(min=0).sum())
        fit_in = int(span / (2 * self._horizon))  # half of the windows lie within one stretch
        stretches = min(self._stretches, max(turns, fit_in))
        stretch = torch.arange(len(seen), device=seen.device) * stretches // len(seen)
        x = windows.frames.positions[seen]
        rotation = frame.orientation(x)
        with torch.enable_grad():
            self.dynamics.potential.fit(
                frame.shapes(x) + frame.conformer,
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
            self._fit_trust(some.batch(chosen), frame, modes, unseen_by[fresh[chosen]])

    def _fit_trust(self, batch: Batch, frame: Anchored, modes: Predict, unseen_by: Tensor) -> None:
        """Least squares for w, that is at most one, never rises and changes little.

        With d the change that a member asks for which has not seen the window, d' the mean of the
        others, K members and r what is wanted: the mean of K fresh members would have
        ⟨d̄ r⟩ = ⟨d r⟩ and ⟨d̄²⟩ = ⟨d²⟩/K + (1 − 1/K) ⟨d d'⟩.
        """
        start = batch.positions, batch.velocities, batch.lags
        known = modes(*start)
        change = self._changes(known, frame, *start)[0][..., self.score, :]
        change = change.unflatten(0, (self.dynamics.each, -1)).mean(0).flatten(3)  # of each member
        mine = change[unseen_by, torch.arange(len(unseen_by), device=known.device)]
        others = (change.sum(0) - mine) / max(1, len(change) - 1)
        wanted = (batch.targets - known)[..., self.score, :].flatten(2)
        share = 1 / len(change)
        square = share * mine.square().mean(-1) + (1 - share) * (mine * others).mean(-1)
        product = (mine * wanted).mean(-1)
        self._weigh(batch.lags, square, product)

    def _weigh(self, lags: Tensor, square: Tensor, product: Tensor) -> None:
        """Take w from ⟨d̄²⟩ and ⟨d̄ r⟩ at lags, ``(batch, time)`` each.

        Where no lag is near, as below the first of regular ones, w is that of the next knots; this
        hangs on a thousand millionth of the rest, for which single precision is too coarse.
        """
        hats = self._hats(lags).flatten(0, 1).double()
        matrix = hats.T @ (hats * square.flatten()[:, None])
        diagonal = matrix.diagonal().clamp(min=0)
        if not diagonal.any():  # nothing would change
            return
        between = self._stiff * torch.minimum(diagonal[1:], diagonal[:-1])
        between = between + 1e-9 * diagonal.max()
        step = torch.diff(torch.eye(len(diagonal)).to(hats), dim=0)
        matrix = matrix + step.T @ (between[:, None] * step)
        trust = torch.linalg.solve(matrix, hats.T @ product.flatten().to(hats))
        falling = isotonic_regression(
            trust.clamp(0, 1).cpu().numpy(),
            weights=(diagonal + 1e-9 * diagonal.max()).cpu().numpy(),
            increasing=False,
        )
        trust = torch.from_numpy(falling.x.copy()).to(self.trust)
        self.trust.copy_(torch.where(trust < self._least, 0.0, trust))
        _look(self)


def _filled(y: Tensor, multiple: int) -> Tensor:
    """As many rows as a multiple, the missing ones like the first."""
    return torch.cat([y, y[:1].expand(-len(y) % multiple, *y.shape[1:])])


def _look(newton: Newton, _missing: object = None) -> None:
    """Up to what lag there is anything to integrate; no lambda, so that models can be pickled."""
    last = int((newton.trust > 0).sum())  # w never rises
    beyond = last == len(newton.knots)
    newton.reach = math.inf if beyond else float(newton.knots[last]) if last else 0.0
