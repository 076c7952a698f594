"""Repeated application of a model, from one start to times far beyond its training.

One application predicts lags up to the ``stride``, and the next one starts from the conformation at
the stride with velocities derived from the model,

    x_{n+1} = x(stride | x_n, v_n),    v_{n+1} by :class:`Difference` or :class:`Thermal`.

Velocities are defined as in training. Where training had differences to the next frame, a ``gap``
later, a rollout uses v = (x(τ + gap) − x(τ))/gap, with a negative gap for differences to the
previous frame. Where training data stores velocities, they are derivatives, and a rollout uses the
five-point difference

    v = [8 (x(τ+δ) − x(τ−δ)) − (x(τ+2δ) − x(τ−2δ))] / 12δ,

whose error is δ⁴ x⁽⁵⁾/30: 0.02 % for a C–H stretch at δ = 0.5 fs. Both need predictions at lags
next to the stride. (Forward-mode differentiation would not, but free rotation in closed form is
implemented without a derivative by time, and some models use it.)

A model that predicts a mean loses motion with every application: the mean of many trajectories
moves less than any of them. A model with a learned potential can draw a trajectory instead, which
includes velocities: differences of integrator steps are not the velocities of the integrator, and
would heat the molecule by some percent an application. A :class:`~gfnode.models.Generative` model
draws one sample an application, and random velocities, which at equilibrium are independent of the
positions.
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
from gfnode.models.inference import predict_in_batches
from gfnode.prediction import STEPS, check_follows, check_seed
from gfnode.units import format_time

DELTA = 0.5
"""Largest δ of the five-point difference, fs; a power of two, so that lags stay exact."""

ENOUGH = 100
"""Number of starts that determine the rms velocity of each atom to some percent."""

_SLACK = 1e-9  # relative tolerance of equal times


class Velocities(Protocol):
    """Rule for the velocities of the next application."""

    @property
    def offsets(self) -> tuple[float, ...]:
        """Additional lags to predict, relative to the stride, in fs."""

    def __call__(self, now: Tensor, around: Tensor, generator: torch.Generator) -> Tensor:
        """Velocities ``(batch, atom, 3)`` in Å/fs.

        Parameters
        ----------
        now
            Positions at the stride, ``(batch, atom, 3)``.
        around
            Positions at the offsets, ``(batch, offset, atom, 3)``.
        generator
            Source of random numbers.
        """


@dataclass(frozen=True)
class Difference:
    """Velocities by finite differences of predicted positions.

    Parameters
    ----------
    gap
        Time to the frame of the differences in training, fs, negative for the previous frame, and
        then at most a stride; None for derivatives.
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
        """The gap, limited to the start of the application if it is negative."""
        assert self.gap is not None
        return max(self.gap, -0.999 * self.stride)

    def warn_if_short(self) -> None:
        """Warn of a stride shorter than the backward gap of training."""
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
    """Random velocities: independent and normal, with the variance of each atom in training.

    Parameters
    ----------
    sizes
        Root mean square of a velocity component of each atom, ``(atom,)`` in Å/fs.
    masses
        ``(atom,)`` in u.
    still
        Remove the total momentum and angular momentum, as for training data without them.
    """

    sizes: Tensor
    masses: Tensor
    still: bool

    @classmethod
    def like(cls, positions: Tensor, velocities: Tensor, masses: Tensor) -> "Thermal":
        """Estimate sizes and ``still`` from ``(batch, atom, 3)`` in Å and Å/fs.

        With fewer than :data:`ENOUGH` starts the common temperature of all atoms is used, since
        the variance of a single atom would be too uncertain.

        ``still`` is true where the mean squares of momentum and angular momentum are both below 1 %
        of those of independent velocities of these sizes.
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
        # restore the kinetic energy of the removed degrees of freedom; exact for thermal sizes
        left = free_directions(now, self.masses) / (3 * now.shape[1])
        scale = left.clamp_min(1e-9).rsqrt().to(now)  # zero for a single atom
        return without_momenta(now, velocities, self.masses) * scale[:, None, None]


@dataclass(frozen=True)
class State:
    """State of a rollout.

    Positions are relative to ``origin``: float32 would lose precision for a molecule that drifts.
    """

    count: int  # applications so far
    positions: Tensor  # (batch, atom, 3) Å
    velocities: Tensor  # (batch, atom, 3) Å/fs
    origin: Tensor  # (batch, 1, 3) Å, float64

    @classmethod
    def of(cls, positions: Tensor, velocities: Tensor) -> "State":
        """Initial state, from ``(batch, atom, 3)`` in Å and Å/fs."""
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
    """A model, and the parameters of its repeated application.

    Parameters
    ----------
    model
        In evaluation mode.
    stride
        Time of one application, fs.
    velocities
        Rule for every application but the first; default: derivatives of the model.
    every
        Time between output frames, fs; None: the stride. Any time, but multiples of the stride for
        a generative model, whose samples at two lags form no trajectory.
    seed
        Random numbers depend on the seed and the index of the application alone.
    sampled
        Draw a trajectory of the model's ensemble, instead of predicting the mean.

    Raises
    ------
    InputError
        For times that are not positive or not allowed, or a model that cannot draw trajectories.
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
        """Time between output frames, fs."""
        return self.stride if self.every is None else self.every

    def numbers(self, count: int) -> range:
        """Indices of the frames of application ``count`` (from 0); frame k is at k · spacing."""
        ratio = self.stride / self.spacing * (1 + _SLACK)
        return range(int(count * ratio) + 1, int((count + 1) * ratio) + 1)

    @torch.no_grad()
    def apply(self, state: State) -> tuple[State, Tensor]:
        """Apply the model once.

        Returns
        -------
        State, Tensor
            The next state, and the output frames :meth:`numbers`, ``(batch, time, atom, 3)`` in Å.
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
            now = model.restore_fixed_atoms(x, now)
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
    """Positions ``(batch, time, atom, 3)`` in Å at lags in fs that are common to all starts."""
    asked = torch.tensor(list(lags), dtype=positions.dtype, device=positions.device)
    return predict_in_batches(model, positions, velocities, asked.expand(len(positions), -1))[0]


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
    """Apply a model repeatedly, without end.

    Parameters
    ----------
    model
        Any model; it is put into evaluation mode.
    positions, velocities
        Starts, ``(batch, atom, 3)`` in Å and Å/fs.
    stride
        Time of one application, fs.
    draw
        Velocities of later applications: ``Difference(gap, stride)`` where training had differences
        to a frame ``gap`` later (or earlier, if negative). Default: derivatives of the model; for a
        generative one `Thermal` velocities estimated from the starts.
    seed
        Seed of random numbers.
    sampled
        As in :class:`Rollout`.

    Yields
    ------
    tuple
        Time since the start in fs, positions (Å) and velocities (Å/fs), ``(batch, atom, 3)``.

    Raises
    ------
    InputError
        For a stride that is not positive, inconsistent shapes, or a model that cannot draw
        trajectories.
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
