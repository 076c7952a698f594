"""Several files that are parts of one series, read as one trajectory.

Molecules in a periodic box stay continuous from one file to the next, a stride counts on, and
memory does not grow with the files (see :func:`gfnode.readers.load`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.progress import Report
from gfnode.readers import opened
from gfnode.readers.assemble import Choice, assemble, check_named_masses
from gfnode.readers.places import sources_of
from gfnode.readers.source import Block, Source
from gfnode.trajectory import Doubles, Integers, Trajectory
from gfnode.trajectory.formula import differ, unusual
from gfnode.trajectory.selection import Selection
from gfnode.units import format_time

SAME = 0.02
"""Å by which a frame that two files share may differ between them: twice the rounding of XTC."""

HELD = 2**26
"""So many numbers at most of frames in memory that are compared with others."""

SHOWN = 8
"""So many names at most of what is left out."""

LEFT_OUT = {
    "velocities": "velocities are left out: only some of the files hold them",
    "forces": "forces are left out: only some of the files hold them",
    "cell": "the periodic cell is left out: only some of the files hold one",
    "deviations": "standard deviations are left out: only some of the files hold them",
}
"""What is said of arrays that not all of the files hold."""


def load_joined(
    sources: Sequence[str | Path],
    *,
    in_sequence: bool = False,
    top: str | Path | None = None,
    step: float | str | None = None,
    select: Selection | None = None,
    stride: int | None = None,
    whole: bool | None = None,
    mapping: str | Mapping[str, str] | None = None,
    unit: str | None = None,
    memory: float | str | None = None,
    progress: Report | None = None,
) -> Trajectory:
    """Read one file, or several that are parts of one series.

    Parameters
    ----------
    sources
        Files, or names of the catalogue. They are put in order of time. A frame that ends one and
        begins the next is taken once, and so is one that follows itself in a file. Where one begins
        with a frame of the one before, as after a restart, the later frames of that are left out.
    in_sequence
        The files follow one another as they are given: the times of each go on one step after the
        one before. For formats that hold no times.
    top, step, select, stride, whole, mapping, unit, memory
        As of :func:`gfnode.readers.load`.
    progress
        Told of frames as they are read.

    Raises
    ------
    InputError
        As of :func:`gfnode.readers.load`, and for files of other atoms or whose times overlap.
    """
    if not sources:
        raise InputError("no file to read")
    how: dict[str, Any] = {"top": top, "step": step, "mapping": mapping, "unit": unit}
    choice = Choice(select, 1 if stride is None else stride, whole, memory)
    names = [each for source in sources for each in sources_of(source)]
    with ExitStack() as stack:
        found = [_once(_Part(*stack.enter_context(opened(name, **how)))) for name in names]
        unread = [note for part in found for note in _unread(part)]
        path, source = found[0].path, found[0].source
        if len(found) > 1:
            parts = _in_sequence(found) if in_sequence else _by_time(found)
            path, source = Path(" + ".join(part.path.name for part in parts)), join(parts)
        source = replace(source, notes=(*source.notes, *unread))
        if progress is not None:
            source = _watched(source, progress, -(-len(source.times) // choice.stride))
        return assemble(path, source, choice, None)


@dataclass(frozen=True)
class _Part:
    """A file, its first frames that are not taken, those that are, and its times in the series.

    Some frames may be in memory.
    """

    path: Path
    source: Source
    skipped: int = 0
    upto: int | None = None
    moved: float = 0.0
    held: dict[int, NDArray[Any]] = field(default_factory=dict)

    @property
    def times(self) -> Doubles:
        return self.source.times[self.skipped : self.upto] + self.moved

    def frame(self, number: int) -> Block:
        """One frame."""
        return next(iter(self.source.blocks(np.array([number]))))

    def positions(self, number: int) -> NDArray[Any]:
        """Positions of one frame, ``(1, atom, 3)`` in Å."""
        found = self.held.get(number)
        return self.frame(number).positions if found is None else found


def _read(source: Source, rows: Integers) -> dict[int, NDArray[Any]]:
    """Positions of frames, read in one go: to open a file anew for each takes long."""
    rows = rows[: max(1, HELD // (3 * len(source.numbers)))]
    frames = (x[None] for block in source.blocks(rows) for x in block.positions)
    return dict(zip(rows.tolist(), frames, strict=False))


def _once(part: _Part) -> _Part:
    """Leave out what a restart wrote twice: frames from where it goes back to, up to its first.

    That one is a frame of before, of the same time and positions.
    """
    source = part.source
    times, steps = source.times, np.diff(source.times)
    back, onward = np.flatnonzero(steps <= 0) + 1, steps[steps > 0]
    if source.order is not None or not len(back) or not len(onward):
        return part
    part = replace(part, held=_read(source, np.union1d(back - 1, back)))
    spacing = float(onward.min())
    kept = np.arange(0)
    begin, twice, lost = 0, [], 0
    for frame in [*back.tolist(), len(times)]:
        kept = np.append(kept, np.arange(begin, frame))
        begin = frame
        if frame == len(times) or (same := _matching(part, kept, part, frame, spacing)) is None:
            continue
        twice.append(frame)
        lost += len(kept) - 1 - same
        kept = kept[: same + 1]
        begin = frame + 1
    _check_ascent(part, kept)
    if not twice:
        return part
    count = (
        f"{len(twice)} frames repeat the one before and are"
        if len(twice) > 1
        else "a frame repeats the one before and is"
    )
    note = f"{part.path.name}: {count} read once (the first is frame {twice[0]})"
    if lost:
        them = "a frame" if lost == 1 else f"{lost} frames"
        note = (
            f"{part.path.name}: goes back in time to an earlier frame (first in frame "
            f"{twice[0]}), as after a restart: {them} written before it "
            f"{'is' if lost == 1 else 'are'} left out"
        )
    blocks, notes = source.blocks, (*source.notes, note)
    found = replace(
        source, times=times[kept], blocks=lambda chosen: blocks(kept[chosen]), notes=notes
    )
    return replace(part, source=found, held={})


def _check_ascent(part: _Part, rows: Integers) -> None:
    """Refuse frames that go back in time and are no repeat."""
    times = part.source.times[rows]
    if not len(back := np.flatnonzero(np.diff(times) <= 0)):
        return
    frame, now, before = rows[back[0] + 1], times[back[0] + 1], times[back[0]]
    raise InputError(
        f"{part.path}: {'repeated' if now == before else 'unsorted'} times: frame {frame} is at "
        f"{format_time(now)}, the one before at {format_time(before)}, and it does not repeat an "
        "earlier frame, as after a restart. If only the times are wrong, give the time between "
        "frames, e.g. --step 2fs; if the file holds separate runs, split it there: in Python, "
        f"gfnode.load({str(part.path)!r}, step='2fs', …)[:{frame}].save(…)"
    )


def _matching(before: _Part, rows: Integers, part: _Part, frame: int, spacing: float) -> int | None:
    """Place among ``rows`` of the frame of before that a frame is, if it is one.

    More than half of the frames must lie up to it: runs that begin alike are replicas.
    """
    gaps = np.abs(before.source.times[rows] - part.source.times[frame])
    place = int(np.argmin(gaps))
    if gaps[place] > 1e-3 * spacing or 2 * (place + 1) <= len(rows):
        return None
    if len(before.source.numbers) != len(part.source.numbers):
        return None
    apart = before.positions(int(rows[place])) - part.positions(frame)
    return place if np.abs(apart).max() <= SAME else None


def _unread(part: _Part) -> list[str]:
    """A note on what the file holds and no trajectory does."""
    if not (names := part.source.unread):
        return []
    are = "is" if len(names) == 1 else "are"
    shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
    return [f"{part.path.name}: {shown} {are} left out: gfnode does not use such data"]


def join(parts: Sequence[_Part]) -> Source:
    """Make one source of several whose times follow one another."""
    _check_alike(parts)
    masses, notes = _masses(parts)
    begins = np.cumsum([0, *(len(part.times) for part in parts)])
    heads = [part.frame(part.skipped) for part in parts]
    mixed = [key for key in LEFT_OUT if len({getattr(head, key) is None for head in heads}) > 1]
    without: dict[str, Any] = dict.fromkeys(mixed)

    def blocks(rows: Integers) -> Iterator[Block]:
        for part, (begin, end) in zip(parts, pairwise(begins), strict=True):
            mine = rows[np.searchsorted(rows, begin) : np.searchsorted(rows, end)]
            if len(mine):
                found = part.source.blocks(mine - begin + part.skipped)
                yield from (replace(block, **without) for block in found)

    steps = {part.source.time_step for part in parts}
    notes += [note for part in parts for note in part.source.notes]
    notes += [LEFT_OUT[key] for key in mixed]
    return replace(
        parts[0].source,
        times=np.concatenate([part.times for part in parts]),
        blocks=blocks,
        time_step=steps.pop() if len(steps) == 1 else None,
        masses=masses,
        notes=tuple(dict.fromkeys([*notes, *_gaps(parts)])),
    )


def _check_alike(parts: Sequence[_Part]) -> None:
    """Refuse frames in no order of time, and files of other atoms than the first."""
    first = parts[0].source
    for part in parts:
        if part.source.order is not None:
            raise InputError(
                f"{part.path}: its frames are not in order of time, so it cannot be joined with "
                "other files"
            )
        if not np.array_equal(part.source.numbers, first.numbers):
            raise InputError(
                f"{part.path}: has different atoms from {parts[0].path} "
                f"({len(part.source.numbers)} and {len(first.numbers)}): files of one series must "
                "have the same atoms in the same order"
            )


def _masses(parts: Sequence[_Part]) -> tuple[Doubles | None, list[str]]:
    """Masses that files name; they stand for those that name none, which is noted."""
    naming = [part for part in parts if part.source.masses is not None]
    for part in naming:
        check_named_masses(part.source, f"{part.path}: ")
    if not naming:
        return None, []
    first = naming[0]
    masses = first.source.masses
    assert masses is not None
    for part in naming[1:]:
        assert part.source.masses is not None
        if differ(part.source.masses, masses):
            raise InputError(
                f"{part.path}: has different masses from {first.path}: files of one series must "
                "have the same atoms"
            )
    silent = [part.path.name for part in parts if part.source.masses is None]
    if not silent or not unusual(masses, first.source.numbers):
        return masses, []
    return masses, [f"{', '.join(silent)}: no masses stored; those of {first.path.name} are used"]


def _by_time(parts: Sequence[_Part]) -> list[_Part]:
    """Files by the times that they hold; what a restart wrote again is taken from the later one."""
    ordered = sorted(parts, key=lambda part: part.source.times[0])
    found = ordered[:1]
    for part in ordered[1:]:
        before, spacing = found[-1], _spacing(part, found[-1])
        if float(part.source.times[0] - before.times[-1]) <= 1e-3 * spacing:
            rows = np.arange(before.skipped, before.skipped + len(before.times))
            same = _matching(before, rows, part, 0, spacing)
            if same is None or part.source.times[-1] < before.times[-1] - 1e-3 * spacing:
                raise InputError(_overlap(before, part))
            found[-1] = replace(before, upto=int(rows[same]) + 1)
            part = replace(part, skipped=1)  # noqa: PLW2901
            if not len(part.times):
                continue
        found.append(part)
    return found


def _overlap(before: _Part, part: _Part) -> str:
    """Why files whose times overlap are not joined, and what to do."""
    begin, end = float(part.source.times[0]), float(before.times[-1])
    left = int((before.source.times < begin).sum())
    said = (
        f"{part.path} begins at {format_time(begin)}, before {before.path} ends at "
        f"{format_time(end)}, but not with a frame of it: these are not parts of one series. "
        "Convert separate runs one by one; if the files follow one another in the order given, "
        "add --in-sequence"
    )
    if left > 0 and part.source.times[-1] >= end:
        said += (
            f"; if {part.path.name} continues {before.path.name} after its first {left} frames, "
            f"as after a restart, keep only these: in Python, gfnode.load({str(before.path)!r}, "
            f"…)[:{left}].save(…)"
        )
    return said


def _in_sequence(parts: Sequence[_Part]) -> list[_Part]:
    """Files one after the other: each begins one step after the one before."""
    found = [parts[0]]
    for part in parts[1:]:
        before = found[-1]
        step = _last_step(before) or _last_step(part) or before.source.time_step
        if step is None:
            raise InputError(
                f"{before.path} and {part.path} hold one frame each, so the time between frames "
                "is unknown: give --step"
            )
        moved = float(before.times[-1]) + step - float(part.source.times[0])
        found.append(replace(part, moved=moved))
    return found


def _last_step(part: _Part) -> float | None:
    times = part.source.times
    return float(times[-1] - times[-2]) if len(times) > 1 else None


def _spacing(*parts: _Part) -> float:
    """Least time between frames of some files; zero where each holds one."""
    return min(
        (float(np.diff(part.source.times).min()) for part in parts if len(part.source.times) > 1),
        default=0.0,
    )


def _gaps(parts: Sequence[_Part]) -> list[str]:
    """Where time is missing between files, or frames that they share were left out."""
    said = []
    for before, part in pairwise(parts):
        lost = 0 if before.upto is None else len(before.source.times) - before.upto
        if lost:
            last = (
                "last frame of the latter is"
                if lost == 1
                else f"last {lost} frames of the latter are"
            )
            said.append(
                f"{part.path.name}: its first frame is also in {before.path.name}, which it "
                f"continues from there, as after a restart: the {last} left out"
            )
        elif part.skipped:
            said.append(
                f"{part.path.name}: its first frame is the last of the file before, and is read "
                "once"
            )
        gap, usual = float(part.times[0] - before.times[-1]), _last_step(before)
        if usual and gap > 1.001 * usual:
            said.append(
                f"the last frame of {before.path.name} and the first of {part.path.name} are "
                f"{format_time(gap)} apart, other frames {format_time(usual)}"
            )
    return said


def _watched(source: Source, progress: Report, total: int) -> Source:
    def blocks(rows: Integers) -> Iterator[Block]:
        done = 0
        for block in source.blocks(rows):
            yield block
            done += len(block.positions)
            progress(done, total)

    return replace(source, blocks=blocks)
