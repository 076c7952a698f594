"""Splits of starts into training, validation and test."""

from collections.abc import Sequence

import numpy as np

from gfnode.errors import InputError
from gfnode.thinning import groups
from gfnode.trajectory import Doubles, Integers, Trajectory
from gfnode.units import format_time

Parts = dict[str, Integers]


def least_span(horizon: float, fractions: tuple[float, float, float]) -> float:
    """Span that a trajectory must exceed for a blocked split, where each block fits a horizon."""
    return 2 * horizon + horizon / min(fractions)


def blocked(
    times: Doubles,
    segments: Integers,
    usable: Integers,
    horizon: float,
    fractions: tuple[float, float, float],
    *,
    since: Doubles | None = None,
) -> Parts:
    """Train, a gap of one horizon, validation, a gap, test: in time order, in every trajectory.

    Every window lies entirely in its block, and blocks are separated by at least one horizon. The
    frame before a start, where that defines the velocity, may lie in the gap: windows are the same
    for all velocities, so that models can be compared. Parts share no frame.

    Parameters
    ----------
    times, segments
        Time in fs and trajectory number of every frame, ``(frame,)``.
    usable
        Frames that can be starts (their velocity is known).
    horizon
        In fs.
    fractions
        Of the time that remains without the two gaps.
    since
        Time of the first frame that a start uses, ``(frame,)`` in fs: its own, or that of the
        frame before it.

    Raises
    ------
    InputError
        When the fractions are not positive or do not sum to 1, or no trajectory is long enough.
    """
    shares = np.asarray(fractions, dtype=float)
    if (shares <= 0).any() or not np.isclose(shares.sum(), 1.0):
        raise InputError(
            f"windows.fractions {fractions}: expected three positive fractions that sum to 1"
        )
    since = times if since is None else since
    found: dict[str, list[Integers]] = {"train": [], "validation": [], "test": []}
    long_enough = least_span(horizon, fractions)
    starting = {segment: usable[places] for segment, places in groups(segments[usable])}
    for segment, frames in groups(segments):
        span = times[frames[-1]] - times[frames[0]]
        if span <= long_enough:
            continue
        ends = times[frames[0]] + np.cumsum(shares) * (span - 2 * horizon) + np.arange(3) * horizon
        starts = ends - shares * (span - 2 * horizon)
        last = np.append(-np.inf, ends[:-1] * (1 + 1e-9))  # of the block before
        mine = starting.get(segment, usable[:0])
        for name, before, begin, end in zip(found, last, starts, ends, strict=True):
            inside = (times[mine] >= begin) & (times[mine] + horizon <= end * (1 + 1e-9))
            found[name].append(mine[inside & (since[mine] > before)])
    if not found["train"]:
        raise InputError(
            "no trajectory is long enough for a blocked split: with a horizon of "
            f"{format_time(horizon)} it must span more than {format_time(long_enough)}, but the "
            f"longest spans {format_time(float(times.max()))}; shorten windows.horizon or change "
            "windows.fractions"
        )
    return {name: np.concatenate(starts) for name, starts in found.items()}


def everything(times: Doubles, segments: Integers, usable: Integers, horizon: float) -> Parts:
    """All starts followed by a full horizon, as the test part: for data that is entirely unseen."""
    ends = np.full(segments.max() + 1, -np.inf)
    np.maximum.at(ends, segments, times)
    inside = times[usable] + horizon <= ends[segments[usable]] * (1 + 1e-9)
    return {"test": usable[inside]}


def published(n_frames: int, horizon: int) -> Parts:
    """The paper's MD17 split: random starts drawn by ``RandomState(100)``.

    10 % of the frames 10000 … F-10000 for training, 5 % of them for validation and 5 % for the
    test, each drawn without replacement from the sorted remainder; the first 500, 2000 and 2000 are
    used. F does not count the last frame, which has no velocity. Test windows overlap training
    windows in time: use this split only to compare with the paper.
    """
    count = n_frames - 1
    margin = 10_000
    if count <= 2 * margin + horizon:
        raise InputError(
            f"the published split needs more than {2 * margin + horizon + 1} frames, but the "
            f"trajectory has {n_frames}; use windows.split=blocked"
        )
    generator = np.random.RandomState(100)
    rest = np.arange(margin, count - margin)
    sizes = {"train": len(rest) // 10, "validation": len(rest) // 20, "test": len(rest) // 20}
    used = {"train": 500, "validation": 2000, "test": 2000}
    parts = {}
    for name, size in sizes.items():
        drawn = generator.choice(rest, size, replace=False)
        rest = np.setdiff1d(rest, drawn)
        parts[name] = drawn[: used[name]]
    return parts


def published_alanine(n_frames: int, horizon: int) -> Parts:
    """The paper's alanine dipeptide split: a shuffle by ``RandomState(100)``, cut 80/10/10 %."""
    count = n_frames - 1 - horizon
    if count < 10:
        raise InputError(
            f"the published alanine split needs more than {horizon + 10} frames, got {n_frames}"
        )
    starts = np.arange(count)
    np.random.RandomState(100).shuffle(starts)
    train, validation = int(0.8 * count), int(0.1 * count)
    return {
        "train": starts[:train],
        "validation": starts[train : train + validation],
        "test": starts[train + validation :],
    }


def join_alanine(trajectories: Sequence[Trajectory]) -> Trajectory:
    """Concatenate all runs, each frame centred, as in the published alanine protocol.

    Windows may span two runs, in this protocol only.
    """
    first = trajectories[0]
    step = first.spacing
    if step is None or any(t.spacing is None for t in trajectories):
        raise InputError("the published alanine protocol needs evenly spaced runs")
    positions = np.concatenate([t.positions for t in trajectories])
    return Trajectory(
        positions - positions.mean(1, keepdims=True),
        np.arange(len(positions), dtype=np.float64) * step,
        first.numbers,
        topology=first.topology,
        time_step=step,
        name=first.name,
        source=first.source,
        atom_masses=first.atom_masses,
    )
