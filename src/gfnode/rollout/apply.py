"""One application after another: from one start to times far beyond its training.

One application asks the model for lags up to the ``stride``, and the next one starts from the
conformation at the stride with velocities that the model itself gives,

    x_{n+1} = x(stride | x_n, v_n),    v_{n+1} by :class:`Difference` or :class:`Thermal`.

Velocities have to mean what they meant in training. Where training took them from the next frame, a
``gap`` later, so does a rollout: v = (x(τ + gap) − x(τ))/gap, with a negative gap where training
took them from the frame before. Where training data stores them they
are derivatives, and a rollout takes the five-point difference

    v = [8 (x(τ+δ) − x(τ−δ)) − (x(τ+2δ) − x(τ−2δ))] / 12δ,

whose error is δ⁴ x⁽⁵⁾/30: 0.02 % for a C–H stretch at δ = 0.5 fs. Either asks for lags beside the
stride. (Forward-mode differentiation would spare that, but free rotation in closed form
comes without a derivative by time, and some models are built on it.)

A model that predicts a mean loses motion with every application: the mean of many paths moves less
than any one of them. One that has learned a potential can draw a path instead, whose velocities it
knows: differences of the steps of an integrator are not those it goes on with, and would heat the
molecule by some percent an application. A :class:`~gfnode.models.Generative` model draws one sample
an application, and velocities at random: at equilibrium those know nothing of the positions.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gfnode.errors import InputError
from gfnode.geometry import (
    angular_momentum,
    center,
    free_directions,
    momentum,
    without_momenta,
)
from gfnode.models import Generative, Model
from gfnode.models.base import held
from gfnode.models.pieces import ask
from gfnode.prediction import STEPS, check_follows, check_seed
from gfnode.units import format_time

DELTA = 0.5
"""Largest δ of the five-point difference, fs; a power of two, so that lags stay exact."""

ENOUGH = 100
"""So many starts tell the size of each atom's velocity, to some percent."""

_SLACK = 1e-9  # relative slack for times that are equal but for rounding


class Velocities(Protocol):
    """Where the velocities of the next application come from."""

    @property
    def offsets(self) -> tuple[float, ...]:
        """Lags to ask for besides the stride, relative to it, in fs."""

    def __call__(self, now: Tensor, around: Tensor, generator: torch.Generator) -> Tensor:
        """Velocities ``(batch, atom, 3)`` in Å/fs.

        Parameters
        ----------
        now
            Positions at the stride, ``(batch, atom, 3)``.
        around
            Positions at the offsets, ``(batch, offset, atom, 3)``.
        generator
            Whatever is random is drawn from it.
        """


@dataclass(frozen=True)
class Difference:
    """Velocities by differences of what the model predicts.

    Parameters
    ----------
    gap
        Time to the frame that training took velocities from, fs, negative for one before the
        start, and then no further than the stride; None where it had derivatives.
    stride
        Of the rollout, fs.
    """

    gap: float | None
    stride: float

    @property
    def delta(self) -> float:
        """Step δ of the five-point difference in fs."""
        return min(DELTA, self.stride / 4)

    @property
    def offsets(self) -> tuple[float, ...]:
        """See :class:`Velocities`."""
        d = self.delta
        return (-2 * d, -d, d, 2 * d) if self.gap is None else (self._reach,)

    @property
    def _reach(self) -> float:
        """The gap, or the way back to what one application starts from."""
        assert self.gap is not None
        return max(self.gap, -0.999 * self.stride)

    def warn_if_short(self) -> None:
        """Warn of a stride that does not reach back to where training took velocities from."""
        if self.gap is not None and self.stride < -0.999 * self.gap:
            warnings.warn(
                f"the stride of {format_time(self.stride)} is shorter than the "
                f"{format_time(-self.gap)} over which training velocities were computed: those of "
                "the steps will cover a shorter time than the model was trained on",
                stacklevel=4,
            )

    def __call__(self, now: Tensor, around: Tensor, generator: torch.Generator) -> Tensor:
        """See :class:`Velocities`."""
        if self.gap is not None:
            return (around[:, 0] - now) / self._reach
        before2, before, after, after2 = around.unbind(1)
        return (8 * (after - before) - (after2 - before2)) / (12 * self.delta)


@dataclass(frozen=True)
class Thermal:
    """Velocities at random: independent and normal, of the size that each atom's have in training.

    Parameters
    ----------
    sizes
        Root mean square of a velocity component of each atom, ``(atom,)`` in Å/fs.
    masses
        ``(atom,)`` in u.
    still
        Take total momentum and angular momentum off, as training data without them has it.
    """

    sizes: Tensor
    masses: Tensor
    still: bool

    @classmethod
    def like(cls, positions: Tensor, velocities: Tensor, masses: Tensor) -> "Thermal":
        """Sizes by atom, and stillness, of ``(batch, atom, 3)`` in Å and Å/fs.

        Of less than :data:`ENOUGH` starts the temperature of all atoms together is taken: with
        its own three numbers alone, an atom would be hot or cold in all that is drawn.

        Still is what has, on average, less than 1 % of the momentum and angular momentum that
        velocities of its size, independent of each other, would have (in mean squares).
        """
        x, v, m = positions.double(), velocities.double(), masses.double()
        square = v.square().mean((0, 2))
        if len(v) < ENOUGH:
            square = (m * square).mean() / m
        moved = momentum(v, m).square().sum(-1).mean() / (3 * (m.square() * square).sum())
        arms = (x - center(x, m)).square().sum(-1).mean(0)
        turned = angular_momentum(x, v, m).square().sum(-1).mean() / (
            2 * (m.square() * square * arms).sum()
        )
        still = bool(torch.maximum(moved, turned).nan_to_num(0.0) < 0.01)
        return cls(square.sqrt().to(velocities.dtype), masses, still)

    @property
    def offsets(self) -> tuple[float, ...]:
        """See :class:`Velocities`."""
        return ()

    def __call__(self, now: Tensor, around: Tensor, generator: torch.Generator) -> Tensor:
        """See :class:`Velocities`."""
        drawn = torch.randn(now.shape, generator=generator, dtype=now.dtype, device=now.device)
        velocities = drawn * self.sizes.to(now)[:, None]
        if not self.still:
            return velocities
        # the directions taken off leave that much less; exact for thermal sizes
        left = free_directions(now, self.masses) / (3 * now.shape[1])
        scale = left.clamp_min(1e-9).rsqrt().to(now)  # a single atom rests
        return without_momenta(now, velocities, self.masses) * scale[:, None, None]


@dataclass(frozen=True)
class State:
    """Where a rollout stands.

    Positions are relative to ``origin``: float32 would otherwise lose a molecule that drifts.
    """

    count: int  # applications so far
    positions: Tensor  # (batch, atom, 3) Å
    velocities: Tensor  # (batch, atom, 3) Å/fs
    origin: Tensor  # (batch, 1, 3) Å, float64

    @classmethod
    def of(cls, positions: Tensor, velocities: Tensor) -> "State":
        """Begin from ``(batch, atom, 3)`` in Å and Å/fs."""
        if positions.ndim != 3 or positions.shape != velocities.shape:
            raise InputError(
                f"a rollout starts from positions and velocities (batch, atom, 3), got "
                f"{tuple(positions.shape)} and {tuple(velocities.shape)}"
            )
        return cls(0, positions, velocities, positions.new_zeros(len(positions), 1, 3).double())

    @property
    def finite(self) -> bool:
        """Whether all is finite."""
        return bool(self.positions.isfinite().all() and self.velocities.isfinite().all())


@dataclass(frozen=True)
class Rollout:
    """A model and how it is applied again and again.

    Parameters
    ----------
    model
        In evaluation mode.
    stride
        Time of one application, fs.
    velocities
        Of every application but the first; default: derivatives of the model.
    every
        Time between the frames that are kept, fs; None keeps those at the strides. Any times are
        possible, but for a generative model, whose samples at two lags make no trajectory:
        multiples of the stride.
    seed
        Of what is random: an application's draws depend on the seed and its number alone.
    sampled
        Draw one of the motions that the model holds possible, not their mean.

    Raises
    ------
    InputError
        For times that are not positive, or do not fit the model, and for a model that cannot draw.
    """

    model: Model
    stride: float
    velocities: Velocities | None = None
    every: float | None = None
    seed: int = 0
    sampled: bool = False

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.sampled:
            check_follows(self.model)
        for name in ("stride", "every"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise InputError(
                    f"the {name} of a rollout is {format_time(value)}, expected a time above zero"
                )
        if self.every is not None and isinstance(self.model, Generative):
            ratio = self.every / self.stride
            if abs(ratio - round(ratio)) > 1e-6 * ratio or round(ratio) < 1:
                raise InputError(
                    f"frames every {format_time(self.every)} with a stride of "
                    f"{format_time(self.stride)}: this model draws samples, and samples at lags "
                    "within one stride do not form a trajectory; keep frames at multiples of the "
                    "stride, or choose a shorter stride"
                )

    @property
    def spacing(self) -> float:
        """Time between the frames that are kept, fs."""
        return self.stride if self.every is None else self.every

    def numbers(self, count: int) -> range:
        """Which frames application ``count`` (from 0) gives: frame k lies at k · spacing."""
        ratio = self.stride / self.spacing * (1 + _SLACK)
        return range(int(count * ratio) + 1, int((count + 1) * ratio) + 1)

    @torch.no_grad()
    def apply(self, state: State) -> tuple[State, Tensor]:
        """Apply the model once.

        Returns
        -------
        State, Tensor
            Where the rollout stands then, and the frames :meth:`numbers` on the way,
            ``(batch, time, atom, 3)`` in Å.
        """
        model = self.model
        velocities = self.velocities or Difference(None, self.stride)
        middle = center(state.positions)
        x, v = state.positions - middle, state.velocities
        origin = state.origin + middle
        draw = torch.Generator(x.device).manual_seed(_seed(self.seed, state.count))
        kept = [k * self.spacing - state.count * self.stride for k in self.numbers(state.count)]
        if self.sampled:
            lags = x.new_tensor([*kept, self.stride]).expand(len(x), -1)
            found, speeds = model.trajectories(x, v, lags, draw, exact=state.count > 0)
            after = State(state.count + 1, found[:, -1], speeds[:, -1], origin)
            return after, (found[:, :-1] + origin[:, None]).to(x.dtype)
        if isinstance(model, Generative):
            lags = x.new_full((len(x), 1), self.stride)
            now = model.sample(x, v, lags, 1, draw, solver="dpm", steps=STEPS["dpm"])[:, 0, 0]
            now = held(model.system, x, now)
            frames = now[:, None].expand(-1, len(kept), -1, -1)
            around = now[:, None, :0]
        else:
            asked = [*kept, self.stride, *(self.stride + o for o in velocities.offsets)]
            found = predict(model, x, v, asked)
            frames, now, around = found.tensor_split([len(kept), len(kept) + 1], 1)
            now = now[:, 0]
        after = State(state.count + 1, now, velocities(now, around, draw), origin)
        return after, (frames + origin[:, None]).to(x.dtype)


def predict(model: Model, positions: Tensor, velocities: Tensor, lags: Sequence[float]) -> Tensor:
    """Positions ``(batch, time, atom, 3)`` in Å at the same lags of all starts, fs; see `ask`."""
    asked = torch.tensor(list(lags), dtype=positions.dtype, device=positions.device)
    return ask(model, positions, velocities, asked.expand(len(positions), -1))[0]


def steps(
    model: Model,
    positions: Tensor,
    velocities: Tensor,
    stride: float,
    *,
    draw: Velocities | None = None,
    seed: int = 0,
    sampled: bool = False,
) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Apply a model again and again, without end.

    Parameters
    ----------
    model
        Any; it is put into evaluation mode.
    positions, velocities
        Starts, ``(batch, atom, 3)`` in Å and Å/fs.
    stride
        Time of one application, fs.
    draw
        Velocities of the applications that follow: ``Difference(gap, stride)`` where training took
        them from a frame ``gap`` later, or earlier. Default: derivatives of the model; for a
        generative one `Thermal` velocities like those of the starts; of few, at their common
        temperature.
    seed
        Of what is drawn.
    sampled
        As of :class:`Rollout`.

    Yields
    ------
    tuple
        Time since the start in fs, and positions and velocities then, ``(batch, atom, 3)``.

    Raises
    ------
    InputError
        For a stride that is not positive, shapes that do not fit, or a model that cannot draw.
    """
    model.eval()
    state = State.of(positions, velocities)
    if draw is None and isinstance(model, Generative):
        masses = torch.as_tensor(model.system.masses, device=positions.device)
        draw = Thermal.like(positions, velocities, masses)
    rollout = Rollout(model, stride, draw, seed=seed, sampled=sampled)
    while True:
        state, _ = rollout.apply(state)
        placed = (state.positions + state.origin).to(positions.dtype)
        yield state.count * stride, placed, state.velocities


def _seed(seed: int, count: int) -> int:
    return int(np.random.SeedSequence([seed, count]).generate_state(1, np.uint64)[0] >> 1)
