"""Drawing the lags of windows: the target frames of each start."""

import numpy as np

from gfnode.trajectory import Doubles, Integers

_SLACK = 1e-3  # fs; tolerance of equal times


def _timeline(times: Doubles, segments: Integers, beyond: float) -> Doubles:
    """Shift the times of all trajectories onto one axis, separated by more than ``beyond``."""
    return times + segments * (2.0 * (float(times.max()) + beyond) + 1.0)


def reach(
    times: Doubles, segments: Integers, starts: Integers, horizon: float
) -> tuple[Integers, Integers]:
    """Frames inside the horizon of each start, in its own trajectory: ``first <= frame < last``.

    Parameters
    ----------
    times, segments
        Time in fs and trajectory number of every frame, ``(frame,)``.
    starts
        Frame numbers, ``(window,)``.
    horizon
        In fs; a frame exactly one horizon later is inside.
    """
    line = _timeline(times, segments, horizon)
    return starts + 1, np.searchsorted(line, line[starts] + horizon + _SLACK, side="right")


def at(times: Doubles, segments: Integers, starts: Integers, lags: Doubles) -> Integers:
    """Frames at given lags in fs, ``(window, time)``; −1 where the trajectory has none."""
    line = _timeline(times, segments, float(lags.max()))
    wanted = line[starts][:, None] + lags
    found = np.searchsorted(line, wanted - _SLACK).clip(max=len(line) - 1)
    return np.where(np.abs(line[found] - wanted) <= _SLACK, found, -1)


def irregular(
    first: Integers, last: Integers, count: int, generator: np.random.Generator
) -> Integers:
    """Draw ``count`` frames without replacement from ``first <= frame < last``, sorted.

    Every subset is equally likely: Floyd's algorithm (Bentley & Floyd, CACM 30, 754, 1987), over
    all windows at once.

    Returns
    -------
    Integers
        ``(window, count)``.
    """
    size = last - first
    drawn = np.empty((len(first), count), dtype=np.int64)
    for k in range(count):
        top = size - count + k
        pick = generator.integers(0, top + 1)
        taken = (drawn[:, :k] == pick[:, None]).any(1)
        drawn[:, k] = np.where(taken, top, pick)
    return np.sort(drawn, axis=1) + first[:, None]


def published_irregular(starts: Integers, horizon: int, count: int) -> Integers:
    """The paper's irregular lags: one ``choice`` of ``RandomState(0)`` for each start, in order.

    Parameters
    ----------
    starts
        In drawn order, ``(window,)``.
    horizon
        In frames.
    """
    generator = np.random.RandomState(0)
    return np.stack(
        [
            np.sort(generator.choice(np.arange(s + 1, s + horizon + 1), count, replace=False))
            for s in starts
        ]
    )
