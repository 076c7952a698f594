"""Prediction and sampling of later conformations from one start, by a trained model."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import index
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from gfnode.errors import InputError
from gfnode.models import MODELS, Generative, Model
from gfnode.models.calibration import Calibration
from gfnode.models.diffusion import SAMPLERS
from gfnode.models.inference import predict_in_batches
from gfnode.molecule.cut import warn_of_cut
from gfnode.molecule.order import warn_of_order
from gfnode.trajectory import Doubles, Floats, Trajectory
from gfnode.trajectory.lengths import warn_of_unit
from gfnode.units import format_time, parse_time
from gfnode.windows.velocities import VelocityRule

STEPS = {"dpm": 40, "ancestral": 500}
"""Default steps of each solver, for 3 % error of mean and covariance of a normal distribution."""


TOGETHER = 256
"""Trajectories that are drawn at once."""


class BeyondHorizonWarning(UserWarning):
    """A prediction was asked for at a lag longer than any of training."""


def warn_if_beyond(lag: float, horizon: float) -> None:
    """Warn of a lag beyond the horizon of training, both in fs."""
    if lag > horizon * (1 + 1e-6):
        warnings.warn(
            f"{format_time(lag)} is beyond the training horizon of {format_time(horizon)}: "
            "predictions there are untested",
            BeyondHorizonWarning,
            stacklevel=4,
        )


def not_in_loss(model: Model) -> str:
    """Message about atoms that were not in the training loss; empty where all were."""
    system = model.system
    unseen = system.n_atoms - len(system.score)
    if not unseen or not model.n_weights:
        return ""
    # a potential holds all atoms, but the modes, which take over at long lags, had these in no loss
    learned = "learned from forces alone" if model.follows else "not learned"
    return (
        f"{unseen} of {system.n_atoms} atoms were not part of the training loss (windows.score): "
        f"their motion was {learned}"
    )


@dataclass(frozen=True)
class Start:
    """A start and lags, as input of a model."""

    now: Trajectory  # one frame of the state atoms
    velocities: Floats  # (atom, 3) Å/fs
    lags: tuple[float, ...]  # fs, ascending
    where: str  # its origin, for messages

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Positions, velocities ``(1, atom, 3)`` and lags ``(1, time)``."""
        return (
            torch.from_numpy(self.now.positions),
            torch.from_numpy(self.velocities)[None],
            torch.tensor([self.lags], dtype=torch.float32),
        )


def begin(
    model: Model,
    trajectory: Trajectory,
    times: Iterable[float | str],
    frame: int | None,
    rule: VelocityRule = VelocityRule(),  # noqa: B008
) -> Start:
    """Prepare a start and lags for a model.

    Parameters
    ----------
    model
        The model that will predict.
    trajectory, frame
        Trajectory of all atoms of the training data or of the state atoms, and the index of the
        start frame; None: the first that has velocities.
    times
        Lags: fs, or text with a unit; in any order.
    rule
        Definition of velocities in training.

    Raises
    ------
    InputError
        For lags that are not positive, other atoms than the model's, or a start without
        velocities.
    """
    lags = tuple(sorted(set(read_times(times))))
    wrong = [format_time(lag) for lag in lags if not 0 < lag < np.inf]
    if wrong or not lags:
        raise InputError(
            "times to predict at must be later than the start: got " + (wrong or ["none"])[0]
        )
    system = model.system
    warn_if_beyond(lags[-1], system.horizon)
    state = system.state_of(trajectory)
    try:
        frame = rule.first(state) if frame is None else index(frame)
    except TypeError:
        raise InputError(f"frame {frame!r}: expected a whole number") from None
    now = state[frame]
    frame %= len(state)
    warn_of_unit(now)
    warn_of_order(now, system)
    warn_of_cut(now, system)
    number = np.array([frame])
    velocities = rule.at(state, number, system.time_step, system.whole_of(trajectory))[0]
    return Start(now, velocities, lags, f"{trajectory.label}, frame {frame}")


def read_times(times: Iterable[float | str]) -> list[float]:
    """Parse a list of times into fs, in the given order; InputError for anything else."""
    if isinstance(times, str) or not isinstance(times, Iterable):
        raise InputError(f"times are {times!r}, expected a list of them, e.g. [{times!r}]")
    return [parse_time(time) for time in times]


def check_finite(found: Tensor, lags: Sequence[float], horizon: float, by: str) -> None:
    """Raise InputError unless predictions ``(time, atom, 3)`` are finite at all lags."""
    if found.isfinite().all():
        return
    far = lags[int((~found.isfinite()).flatten(1).any(1).int().argmax())]
    remedy = f"it was trained up to {format_time(horizon)}, so ask for shorter times"
    if max(lags) <= horizon * (1 + 1e-6):
        remedy = "its training failed: check its log.txt and train again"
    raise InputError(
        f"{by} predicts positions that are not finite {format_time(far)} after the start: {remedy}"
    )


def predict(
    model: Model, start: Start, by: str = "a model", calibration: Calibration | None = None
) -> Trajectory:
    """Predict the conformation at every lag; ``by`` names the model in the trajectory's source."""
    (found,), spread = predict_in_batches(model, *start.tensors)
    check_finite(found, start.lags, model.system.horizon, by)
    times = start.now.times[0] + np.asarray(start.lags)
    result = _like(start.now, found, times, f"predicted by {by} from {start.where}")
    if calibration is None:
        return result
    (sizes,) = calibration.deviations(start.tensors[2], spread)
    return replace(result, deviations=sizes.numpy())


@torch.no_grad()
def sample(
    model: Model,
    start: Start,
    count: int,
    *,
    solver: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    advance: Callable[[int], None] = lambda done: None,
    by: str = "a model",
) -> dict[float, Trajectory]:
    """Draw conformations at every lag.

    A model with a learned potential draws trajectories: sample k at all lags belongs to the same
    one. For a :class:`~gfnode.models.Generative` model each lag is sampled on its own, from the
    same noise; so the samples at a lag do not depend on the other lags, and samples of two lags
    form no trajectory.

    Parameters
    ----------
    model, start
        The model and its input.
    count
        Samples of each lag.
    solver, steps
        Of a generative model: ``dpm`` (None) or ``ancestral``; None: `STEPS`.
    seed
        Seed of the samples.
    advance
        Called with the number of conformations just drawn.
    by
        Name of the model in the source of the trajectories.

    Returns
    -------
    dict
        By lag in fs, ascending. Frames are samples; their times, 0, 1, 2, … fs, only number them.

    Raises
    ------
    InputError
        For a model without a distribution, an unknown solver, too few samples or steps, or a start
        from which too many trajectories leave the domain of the learned potential.
    """
    check_whole(count, "the number of samples", 1)
    generator = torch.Generator().manual_seed(check_seed(seed))
    model.eval()
    if isinstance(model, Generative):
        solver = "dpm" if solver is None else solver
        if solver not in SAMPLERS:
            raise InputError(f"unknown solver {solver!r}: expected {' or '.join(SAMPLERS)}")
        how = {"solver": solver, "steps": STEPS[solver] if steps is None else steps}
        drawn: Iterable[Tensor] = _conformations(model, start, count, generator, advance, **how)
    else:
        check_follows(model)
        if solver is not None or steps is not None:
            raise InputError(
                "this model samples motions in its potential, so a solver and its steps, which "
                "belong to diffusion models, have no effect: leave them out"
            )
        drawn = _motions(model, start, count, generator, advance)
    return {
        lag: _like(
            start.now,
            found,
            np.arange(float(count)),
            f"sampled by {by} {format_time(lag)} after {start.where}",
        )
        for lag, found in zip(start.lags, drawn, strict=True)
    }


def _is_whole(number: object) -> TypeGuard[int | np.integer]:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def check_whole(number: object, what: str, least: int = 0) -> None:
    """Raise InputError unless this is an integer ≥ ``least``."""
    if not _is_whole(number) or number < least:
        raise InputError(f"{what} is {number!r}, expected a whole number from {least}")


def check_seed(seed: int) -> int:
    """Return a seed as int, or raise InputError unless it is in [0, 2⁶³)."""
    if not _is_whole(seed) or not 0 <= seed < 2**63:
        raise InputError(f"the seed is {seed!r}, expected a whole number from 0, below 2^63")
    return int(seed)


def check_follows(model: Model) -> None:
    """Raise InputError unless a model can draw trajectories, see :meth:`Model.trajectories`."""
    if model.follows:
        return
    if isinstance(model, Generative):
        raise InputError(
            "this model samples conformations, not motions in a potential, and its rollouts "
            "always draw one per stride: leave --sampled (sampled=True) out"
        )
    names = [name for name, entry in MODELS.items() if issubclass(entry.model, Generative)]
    mine = next((name for name, e in MODELS.items() if type(model) is e.model), "this model")
    raise InputError(
        f"{mine} predicts one conformation per lag and cannot sample: use gfnode predict, or "
        f"train a model that samples, {names[0]} (--set model.name={names[0]}) or the default "
        "preset on a trajectory with forces, or with frames at most 1 fs apart"
    )


def _conformations(
    model: Generative,
    start: Start,
    count: int,
    generator: torch.Generator,
    advance: Callable[[int], None],
    **how: Any,
) -> Iterator[Tensor]:
    """Samples of each lag, ``(sample, atom, 3)``; all lags from the same noise."""
    x, v, lags = start.tensors
    together = max(1, model.at_once(1))
    begun = generator.get_state()
    for lag in lags.split(1, 1):
        generator.set_state(begun)
        pieces = []
        for first in range(0, count, together):
            piece = min(together, count - first)
            drawn = model.sample(x, v, lag, piece, generator, **how)
            pieces.append(model.restore_fixed_atoms(x, drawn)[0, 0])
            advance(piece)
        yield torch.cat(pieces)


def _motions(
    model: Model,
    start: Start,
    count: int,
    generator: torch.Generator,
    advance: Callable[[int], None],
) -> Tensor:
    """Trajectories ``(time, sample, atom, 3)``; those that leave the domain are redrawn."""
    kept: list[Tensor] = []
    tried = found = 0
    while found < count:
        if tried >= 4 * count:
            raise InputError(
                f"only {found} of {tried} motions from {start.where} stay within the range of the "
                f"model's potential up to {format_time(start.lags[-1])}: ask for shorter times, "
                "or use gfnode predict, which falls back to the mean"
            )
        piece = min(TOGETHER, count - found)
        x, v, lags = (y.expand(piece, *y.shape[1:]) for y in start.tensors)
        drawn, _ = model.trajectories(x, v, lags, generator)
        kept.append(drawn[drawn.isfinite().flatten(1).all(1)])
        tried, found = tried + piece, found + len(kept[-1])
        advance(len(kept[-1]) * len(start.lags))
    if tried > found:
        warnings.warn(
            f"{tried - found} of {tried} motions left the range of the model's potential and were "
            "drawn again",
            stacklevel=4,
        )
    return torch.cat(kept).transpose(0, 1)


def _like(now: Trajectory, found: Tensor, times: Doubles, source: str) -> Trajectory:
    """Trajectory of predicted conformations, with atoms and topology of the start."""
    return replace(
        now,
        positions=found.numpy(),
        times=times,
        velocities=None,
        forces=None,
        cell=None if now.cell is None else np.repeat(now.cell, len(times), 0),
        time_step=None,
        source=source,
    )
