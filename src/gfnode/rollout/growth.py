"""Growth of errors with time, by rollout and by direct prediction, where the truth is known.

All methods predict the same lags of the same starts:

=================  ==============================================================================
method             is
=================  ==============================================================================
``rollout``        the model, applied repeatedly
``direct``         the model, applied once for all lags, also beyond its horizon
``persistence``    the start
``mean-conformer`` the training mean, superposed on the start
``unrelated``      true conformations independent of the start: drawn from all of the data
=================  ==============================================================================

Errors are the squared ones per coordinate of :mod:`gfnode.metrics`; their root is reported, with
intervals over blocks of time as long as the lag.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gfnode.errors import InputError
from gfnode.geometry import superpose
from gfnode.metrics import Blocks, Estimate, mean_estimate, squared_errors
from gfnode.metrics.blocks import t_quantile
from gfnode.models import Generative, Model
from gfnode.progress import Report, silent
from gfnode.rollout.apply import Rollout, State, predict
from gfnode.thinning import evenly
from gfnode.trajectory import Doubles, Integers
from gfnode.units import format_time

if TYPE_CHECKING:
    from gfnode.windows import Windows

POINTS = 24
"""Number of lags; fewer or up to twice as many where few frames are within the length."""

STARTS = 64
"""Largest number of starts."""

SATURATED = 0.5
"""Fraction of the RMSE of unrelated conformations above which an error counts as saturated."""


@dataclass(frozen=True, eq=False)
class Growth:
    """Squared errors of every method at the same lags of the same starts.

    Parameters
    ----------
    lags_fs
        ``(lag,)``, evenly spaced.
    errors
        Per coordinate by method, ``(start, lag)`` in Å².
    starts_fs, segments
        Time and trajectory of each start, ``(start,)``.
    """

    lags_fs: Doubles
    errors: dict[str, Doubles]
    starts_fs: Doubles
    segments: Integers

    def rmse(self, method: str) -> list[Estimate]:
        """Root mean squared error per coordinate at every lag, Å."""
        found = []
        for lag, values in zip(self.lags_fs, self.errors[method].T, strict=True):
            e = mean_estimate(values, Blocks.of(self.starts_fs, lag, self.segments))
            value, low, high = (float(np.sqrt(each)) for each in (e.value, e.low, e.high))
            found.append(Estimate(value, low, high, e.blocks, e.count))
        return found

    def rate(self, method: str = "rollout") -> Estimate | None:
        """Exponential growth rate of the error: slope of ln RMSE against the lag, in 1/ps.

        Linear regression of ln RMSE of each block of starts, over the lags before the RMSE of all
        starts exceeds half of that of unrelated conformations, where it saturates. The mean slope
        of the blocks with a t interval. None with fewer than three such lags.
        """
        curve, bound = (self._curve(name) for name in (method, "unrelated"))
        over = ~(curve < SATURATED * bound)
        count = int(over.argmax()) if over.any() else len(curve)
        if count < 3:
            return None
        lags = self.lags_fs[:count]
        blocks = Blocks.of(self.starts_fs, lags[-1], self.segments)
        with np.errstate(divide="ignore"):  # of sums: sizes of blocks do not change their slopes
            log = 0.5 * np.log(blocks.sums(self.errors[method][:, :count]))
        centred = (lags - lags.mean()) / 1000
        slopes = np.asarray(log @ centred / np.square(centred).sum())
        if not np.isfinite(slopes).all():
            return None
        value, width = float(slopes.mean()), np.nan
        if blocks.count > 1:
            spread = slopes.var(ddof=1) / blocks.count * blocks.inflation
            width = float(t_quantile(blocks.count - 1) * np.sqrt(spread))
        return Estimate(value, value - width, value + width, blocks.count, count)

    def reaches(self, method: str, other: str) -> float | None:
        """Lag from which the RMSE of a method is no longer below that of another, in fs.

        Interpolated linearly; None if it is below at the last lag, zero if it never is. (The last
        crossing, since errors of vibrations oscillate.)
        """
        if method == other:
            return None
        excess = self._curve(method) - self._curve(other)
        below = np.flatnonzero(excess < 0)
        if not len(below):
            return 0.0
        last = int(below[-1])
        if last == len(excess) - 1:
            return None
        before, after = excess[last], excess[last + 1]
        share = -before / (after - before) if np.isfinite(after) else 1.0
        return float(self.lags_fs[last] + share * (self.lags_fs[last + 1] - self.lags_fs[last]))

    def _curve(self, method: str) -> Doubles:
        with np.errstate(over="ignore"):
            return np.asarray(np.sqrt(self.errors[method].mean(0)))

    def to_dict(self) -> dict[str, Any]:
        """All results, under the keys of docs/rollout.md."""
        return {
            "starts": len(self.starts_fs),
            "lags_fs": self.lags_fs.tolist(),
            "methods": {
                name: {
                    "rmse_angstrom": [each.to_dict() for each in self.rmse(name)],
                    "growth_per_ps": None if (rate := self.rate(name)) is None else rate.to_dict(),
                    "reaches_persistence_fs": self.reaches(name, "persistence"),
                    "reaches_unrelated_fs": self.reaches(name, "unrelated"),
                }
                for name in self.errors
            },
        }


def compare(
    plan: Rollout,
    baselines: dict[str, Model],
    windows: "Windows",
    length: float,
    *,
    starts: int = STARTS,
    points: int = POINTS,
    advance: Report = silent,
) -> Growth:
    """Compare a rollout and the baselines with the truth.

    Parameters
    ----------
    plan
        The model and its application; ``every`` is ignored. A generative model is compared at
        strides only, by single samples.
    baselines
        By name; their state must be all atoms.
    windows
        Windows over all atoms, whose starts are used; their targets are ignored.
    length
        Largest lag, fs; limited by the data to two thirds of the longest time from a start to the
        end of its trajectory, so that several starts remain.
    starts, points
        Largest number of starts, and number of lags, see `POINTS`.
    advance
        Called with the number of applications done, and their total.

    Raises
    ------
    InputError
        For frames that are not evenly spaced, or too few of them.
    """
    model = plan.model.eval()
    chosen, targets, lags = _truth(plan, windows, length, starts, points)
    frames = windows.frames
    now = windows.batch(chosen)
    score = torch.as_tensor(model.system.atoms[model.system.score])
    weights = None
    if windows.align is not None:
        weights = torch.zeros(frames.positions.shape[1])
        weights[windows.align] = 1.0

    def placed(y: Tensor) -> Tensor:
        if weights is not None:
            y = superpose(y, now.positions[:, None], weights)
        return y[..., score, :]

    truth = placed(frames.positions[targets])
    drawn = torch.Generator().manual_seed(0)
    other = torch.randint(len(frames.positions), targets.shape, generator=drawn)
    predicted = {"unrelated": placed(frames.positions[other])}

    mine = torch.as_tensor(model.system.atoms)
    x, v = now.positions[:, mine], now.velocities[:, mine]
    scored = torch.as_tensor(model.system.score)
    plan, state = replace(plan, every=float(lags[0])), State.of(x, v)
    pieces: list[Tensor] = []
    total = int(np.ceil(lags[-1] / plan.stride * (1 - 1e-9)))
    for done in range(total):
        state, found = plan.apply(state)
        pieces.append(found[:, :, scored])
        advance(done + 1, total)
    predicted["rollout"] = torch.cat(pieces, 1)[:, : len(lags)]
    predicted["direct"] = predict(model, x, v, lags.tolist())[..., scored, :]
    for name, baseline in baselines.items():
        found = predict(baseline, now.positions, now.velocities, lags.tolist())
        predicted[name] = found[..., score, :]
    order = ("rollout", "direct", *baselines, "unrelated")
    segments = frames.segments[windows.starts[chosen].numpy()]
    times = frames.times[windows.starts[chosen]].numpy()
    errors = {name: squared_errors(predicted[name], truth).double().numpy() for name in order}
    return Growth(lags, errors, times, segments)


def _truth(
    plan: Rollout, windows: "Windows", length: float, starts: int, points: int
) -> tuple[Tensor, Tensor, Doubles]:
    """Windows, frames of their targets ``(window, lag)``, and lags in fs."""
    frames = windows.frames
    times, segments = frames.times.numpy(), frames.segments
    steps = np.diff(times)[np.diff(segments) == 0]
    if not len(steps) or np.ptp(steps) > 1e-3 * steps.mean():
        raise InputError(
            "comparing a rollout with the truth needs evenly spaced frames, and some are missing"
        )
    step = float(steps.mean())
    first = windows.starts.numpy()
    last = np.searchsorted(segments, segments[first], side="right") - 1  # of its trajectory
    room = int((last - first).max() * 2 / 3)
    unit = 1
    if isinstance(plan.model, Generative):
        unit = round(plan.stride / step)
        if abs(unit * step - plan.stride) > 1e-3 * step:
            raise InputError(
                f"a stride of {format_time(plan.stride)} is not a multiple of the "
                f"{format_time(step)} between the frames of the data"
            )
    reach = min(int(length / step * (1 + 1e-9)), room) // unit
    if reach < 1:
        raise InputError(
            f"the data ends {format_time(room * step)} after the first start, which is too short; "
            "give a longer trajectory"
        )
    every = unit * max(1, reach // points)
    offsets = every * np.arange(1, unit * reach // every + 1)
    fits = np.flatnonzero(last - first >= offsets[-1])
    if len(fits) < 2 or starts < 2:
        raise InputError(
            f"only {min(len(fits), starts)} start is followed by "
            f"{format_time(step * offsets[-1])} of data, expected at least two; give a shorter "
            "length or a longer trajectory"
        )
    chosen = fits[evenly(len(fits), starts)]
    targets = first[chosen][:, None] + offsets
    return torch.from_numpy(chosen), torch.from_numpy(targets), step * offsets.astype(np.float64)
