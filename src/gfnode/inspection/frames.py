"""Frames and times: spacing, gaps, repeated frames."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gfnode.inspection.jumps import Jump, find_jumps
from gfnode.trajectory import Doubles, Floats, Integers, Trajectory
from gfnode.trajectory.boxless import wrapped_lengths
from gfnode.trajectory.series import Series
from gfnode.windows.rounding import coarseness

SHOWN = 5
"""Gaps, repeats and jumps that are listed, at most; all are counted."""

NEAR = 0.01
"""Displacement from the predecessor, relative to the median, of a near duplicate."""

ALONG = 0.01
"""Ratio of the second to the largest standard deviation for motion in one dimension."""

LUCK = 10
"""Repeats up to this multiple of the number expected by chance are ignored."""

_STEPS = 2  # usual displacements, at most, from the end of a file to its continuation

_FEW = 20  # atoms; larger molecules do not repeat by chance, nor move in one dimension


@dataclass(frozen=True)
class Gap:
    """An interval between two frames that is longer than usual."""

    file: int
    frame: int  # the frame before it
    length_fs: float


@dataclass(frozen=True)
class FileFacts:
    """Frames and times of one file.

    Parameters
    ----------
    frames
        Their number.
    span_fs
        From the first to the last.
    spacing_fs
        Between frames, where it is even; None where not.
    shortest_fs, median_fs, longest_fs
        Intervals between frames; None for a single frame.
    consecutive
        Number of intervals of one time step of the original series.
    present
        Fraction of the frames of the original series in the file.
    gaps
        Number of longer intervals, if at least nine in ten are equal.
    notes
        Changes by the reader: atoms left out, molecules made whole.
    """

    source: str
    name: str
    frames: int
    span_fs: float
    spacing_fs: float | None
    shortest_fs: float | None
    median_fs: float | None
    longest_fs: float | None
    consecutive: int
    present: float
    gaps: int
    first_gaps: tuple[Gap, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Repeat:
    """A frame that is the same as an earlier one (or nearly)."""

    file: int
    frame: int
    of_file: int
    of_frame: int
    moved: float  # rms displacement in Å


@dataclass(frozen=True)
class RepeatedFile:
    """A file whose frames are all contained in another one."""

    file: int
    of_file: int


@dataclass(frozen=True)
class Continuation:
    """A file that goes on where another one ends."""

    file: int
    after: int
    moved: float  # rms displacement between them in Å


@dataclass(frozen=True)
class Frames:
    """Rounding, duplicates and jumps of frames.

    Parameters
    ----------
    rounded_to
        Å to which positions are rounded; None if they are not.
    duplicates, near_duplicates
        Frames that repeat an earlier one exactly, and that hardly differ from their predecessor.
    repeated_files
        Files whose frames are all contained in another one.
    continued_files
        Files that go on where another one ends, such as parts of a restarted simulation.
    jumps
        Frames in which atoms jump.
    wrapped
        Jumps across the periodic cell (wrapping), over all atoms and frames.
    box
        Lengths along x, y and z, Å, of a box that is not stored, but by which atoms jump; None:
        none.
    """

    rounded_to: float | None
    duplicates: int
    first_duplicates: tuple[Repeat, ...]
    repeated_files: tuple[RepeatedFile, ...]
    continued_files: tuple[Continuation, ...]
    near_duplicates: int
    first_near_duplicates: tuple[Repeat, ...]
    usual_move: float | None
    jumps: int
    first_jumps: tuple[Jump, ...]
    wrapped: int
    box: tuple[float | None, float | None, float | None] | None


def look_at_file(trajectory: Trajectory, number: int) -> FileFacts:
    """Times of one file."""
    steps = np.diff(trajectory.times)
    span = trajectory.span
    step = trajectory.step
    gaps: Integers = np.empty(0, dtype=np.int64)
    if steps.size:
        usual = float(np.median(steps))
        equal = np.abs(steps - usual) <= 0.02 * usual
        if equal.mean() >= 0.9:
            gaps = np.flatnonzero(steps > 1.5 * usual)
    consecutive = int((steps <= 1.02 * step).sum()) if step else 0
    return FileFacts(
        source=trajectory.source,
        name=trajectory.label,
        frames=len(trajectory),
        span_fs=span,
        spacing_fs=trajectory.spacing,
        shortest_fs=float(steps.min()) if steps.size else None,
        median_fs=float(np.median(steps)) if steps.size else None,
        longest_fs=float(steps.max()) if steps.size else None,
        consecutive=consecutive,
        present=min(1.0, len(trajectory) / (round(span / step) + 1)) if step else 1.0,
        gaps=len(gaps),
        first_gaps=tuple(Gap(number, int(k), float(steps[k])) for k in gaps[:SHOWN]),
        notes=trajectory.notes,
    )


def look_at_frames(series: Series, bonds: Integers) -> Frames:
    """Repeated frames and jumps, over every frame."""
    rounded_to = coarseness(series.positions(series.evenly(50))) or None
    first, same = _same_as(series)
    moved = _moves(series)
    near = _near(series, moved, same)
    if series.first.n_atoms <= _FEW:
        if len(same) and len(same) <= LUCK * _by_chance(series, rounded_to):
            same = same[:0]
        if len(near) and (spread := _spread(series, centred=True))[-2] < ALONG * spread[-1]:
            near = near[:0]  # turning points of a single vibration
    usual = float(np.median(moved[moved > 0])) if (moved > 0).any() else None
    jumps, wrapped = find_jumps(series, bonds)
    return Frames(
        rounded_to=rounded_to,
        duplicates=len(same),
        first_duplicates=tuple(_repeat(series, int(b), int(first[b]), 0.0) for b in same[:SHOWN]),
        repeated_files=tuple(_repeated_files(series, first, same)),
        continued_files=tuple(_continued_files(series, usual)),
        near_duplicates=len(near),
        first_near_duplicates=tuple(
            _repeat(series, int(k) + 1, int(k), float(moved[k])) for k in near[:SHOWN]
        ),
        usual_move=usual,
        jumps=len(jumps),
        first_jumps=tuple(jumps[:SHOWN]),
        wrapped=wrapped,
        box=wrapped_lengths(series.trajectories),
    )


def _same_as(series: Series) -> tuple[Integers, Integers]:
    """First identical frame of each frame, ``(frame,)``, and the frames that repeat one.

    Frames are compared by a 64-bit hash, the sum of their words times random odd numbers.
    """
    atoms = series.first.n_atoms
    keys = np.random.default_rng(0).integers(0, 2**63, 3 * atoms, dtype=np.uint64) * 2 + 1
    sums = np.empty(len(series), dtype=np.uint64)
    for begin, end in series.pieces(atoms):
        x = series.positions(np.arange(begin, end)) + np.float32(0)  # −0 is 0
        sums[begin:end] = x.reshape(end - begin, -1).view(np.uint32).astype(np.uint64) @ keys
    _, first, inverse = np.unique(sums, return_index=True, return_inverse=True)
    original = first[inverse]
    return original, np.flatnonzero(original != np.arange(len(series)))


def _spread(series: Series, *, centred: bool = False) -> Doubles:
    """Standard deviations along principal components, Å, ascending; centred: without drift."""
    x = series.positions(series.evenly(2000)).astype(np.float64)
    x -= x.mean(1, keepdims=True) * centred
    return np.sqrt(np.linalg.eigvalsh(np.cov(x.reshape(len(x), -1).T)).clip(min=0.0))


def _by_chance(series: Series, rounded_to: float | None) -> float:
    """Expected number of pairs of N frames that agree by chance, after rounding.

    N²/2 Π_k r/(2 √π σ_k), with r to which positions are rounded, and σ_k the standard deviation
    along principal component k; factors are at most 1. Relevant for water that does not rotate,
    rounded to 0.01 Å, for example.
    """
    largest = float(np.abs(series.positions(series.evenly(50))).max())
    size = rounded_to or float(np.spacing(np.float32(largest)))
    spread = _spread(series)
    if spread[-1] < size:  # at rest, each repeats the first
        return 0.0
    agree = np.minimum(size / (2 * np.sqrt(np.pi) * np.maximum(spread, size / 10)), 1.0)
    return float(len(series) ** 2 / 2 * agree.prod())


def _repeated_files(series: Series, first: Integers, same: Integers) -> Iterator[RepeatedFile]:
    """Files whose frames are all in another; of two equal files the later one."""
    pairs = np.stack([series.segments[same], series.segments[first[same]]], 1)
    told: set[int] = set()
    for pair in np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0).tolist():
        for file, other in (pair, pair[::-1]):
            mine, theirs = (first[series.offsets[k] : series.offsets[k + 1]] for k in (file, other))
            if not told & {file, other} and np.isin(mine, theirs).all():
                told.add(file)
                yield RepeatedFile(file, other)


def _continued_files(series: Series, usual: float | None) -> Iterator[Continuation]:
    """Files whose first frame is near the last one of another file.

    That is, within two usual displacements between frames, if other frames are on average at least
    twice as far away: where frames are so far apart that all are alike, nothing can be said.
    """
    if len(series.trajectories) == 1 or usual is None:
        return
    begin, end = series.offsets[:-1], series.offsets[1:]
    firsts, some = series.positions(begin), series.positions(series.evenly(50))
    for after, last in enumerate(series.positions(end - 1)):
        moved = _distances(firsts, last)
        moved[after] = np.inf  # a loop is no continuation
        file = int(moved.argmin())
        away = float(np.median(_distances(some, last)))
        if moved[file] <= _STEPS * usual <= away / 2:
            yield Continuation(file, after, float(moved[file]))


def _distances(x: Floats, y: Floats) -> Doubles:
    """Rms displacements in Å of frames ``(frame, atom, 3)`` from one frame, ``(frame,)``."""
    return np.asarray(np.sqrt(np.square(x - y).mean((1, 2), dtype=np.float64) * 3))


def _moves(series: Series) -> Doubles:
    """Rms displacement from each frame to the next of its trajectory, −1 after the last."""
    moved = np.full(len(series), -1.0)
    for begin, end in series.pieces(series.first.n_atoms):
        if end - begin > 1:
            x = series.positions(np.arange(begin, end))
            moved[begin : end - 1] = np.sqrt(np.square(np.diff(x, axis=0)).mean((1, 2)) * 3)
    return moved


def _near(series: Series, moved: Doubles, same: Integers) -> Integers:
    """Frames whose successor hardly differs, at a normal interval."""
    candidates = np.flatnonzero(moved > 0)
    if len(candidates) < 10:
        return candidates[:0]
    gaps = np.diff(series.times)[candidates]
    usual = np.median(moved[candidates])
    near = candidates[(moved[candidates] < NEAR * usual) & (gaps >= 0.5 * np.median(gaps))]
    return np.setdiff1d(near, same - 1)


def _repeat(series: Series, frame: int, original: int, moved: float) -> Repeat:
    file, number = series.place(frame)
    of_file, of_number = series.place(original)
    return Repeat(file, number, of_file, of_number, moved)
