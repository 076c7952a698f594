"""XYZ files, with the vectors of atoms that programs add to them in ways of their own.

- CP2K writes files of their own where the input asks for them (``MOTION/PRINT``):
  ``H2O-pos-1.xyz`` has ``H2O-vel-1.xyz`` and ``H2O-frc-1.xyz`` beside it, in atomic units, and
  ``H2O-1.cell``, in Å: a line of step, time, nine components and volume for each frame. A frame is
  known by the step in its comment line, ``i = 7, time = 3.500, E = …``.
- DFTB+ puts velocities in Å/ps into the last three columns of ``geo_end.xyz``, behind positions and
  charges; the comment line counts steps, ``MD iter: 7``.
- xTB puts them behind each frame of ``xtb.trj`` (``velo=1``), in atomic units. They are of half a
  time step before it, as its integrator has them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from gfnode.errors import InputError
from gfnode.readers.boundary import foreign
from gfnode.readers.extxyz import Frames, find_frames, open_extxyz
from gfnode.readers.source import Block, Given, Source, batches
from gfnode.trajectory import Doubles, Integers
from gfnode.units import ATOMIC_TIME, BOHR, FS_PER, HARTREE

CP2K = re.compile(r"(.+)-pos-(\d+)\.xyz", re.IGNORECASE)
CP2K_STEP = re.compile(r"\bi\s*=\s*(\d+)")
DFTB_STEP = re.compile(r"\s*MD iter:\s*(\d+)")
DFTB_COLUMN = {7: 4, 8: 5}
"""The first of velocities, by the number of columns: without charges, and with them."""

SPEED, PULL = BOHR / ATOMIC_TIME, HARTREE / BOHR  # Å/fs and u Å/fs²
BESIDE = {"velocities": ("vel", SPEED), "forces": ("frc", PULL)}
"""What may lie beside positions of CP2K: how its file is called, and its unit."""


@dataclass(frozen=True)
class _Vectors:
    """Three columns of an XYZ file, and which of its frames belongs to each of the positions."""

    path: Path
    frames: Frames
    unit: float
    rows: Integers
    line: int = 2  # of a frame, where they begin
    column: int = 1

    def read(self, rows: Integers) -> Doubles:
        """Vectors at some frames of the positions, ``(frame, atom, 3)``."""
        found = []
        columns = slice(self.column, self.column + 3)
        with self.path.open("rb") as file:
            for row in self.rows[rows].tolist():
                file.seek(self.frames.places[row])
                lines = islice(file, self.line, self.line + self.frames.atoms)
                with foreign(self.path, f"frame {row} is not valid XYZ"):
                    vectors = np.array([line.split()[columns] for line in lines], np.float64)
                    found.append(vectors.reshape(self.frames.atoms, 3))
        return np.stack(found) * self.unit


def open_xyz(path: Path, given: Given) -> Source:
    """Open an XYZ file, extended or plain, and what programs have added to it."""
    frames = find_frames(path)
    source = open_extxyz(path, given, frames)
    added, notes = _beside(path, frames)
    cell, said = _cell(path, frames)
    notes += said
    if frames.velocities:
        added = {"velocities": _behind(path, frames)}
        notes = [
            f"{path.name}: velocities are those of xTB, from half a time step before each frame"
        ]
    elif steps := _dftb_steps(frames):
        source = replace(source, times=_spaced(source.times, steps))
        if velocities := _columns(path, frames):
            added = {"velocities": velocities}
            notes = [f"{path.name}: velocities are those of DFTB+, in Å/ps"]
    if not added and cell is None:
        return replace(source, notes=(*source.notes, *notes))

    def blocks(rows: Integers) -> Iterator[Block]:
        parts = batches(rows, frames.atoms)
        for part, block in zip(parts, source.blocks(rows), strict=True):
            vectors = {what: each.read(part) for what, each in added.items()}
            yield replace(block, cell=block.cell if cell is None else cell[part], **vectors)

    known = (*added, *(() if cell is None else ("cell",)))
    return replace(source, blocks=blocks, notes=(*source.notes, *notes), known=known)


def _beside(path: Path, frames: Frames) -> tuple[Mapping[str, _Vectors], list[str]]:
    """What CP2K has written beside positions, and what is to be said of it."""
    found, notes = {}, []
    for what, (other, unit) in _others(path).items():
        try:
            theirs = find_frames(other)
            found[what] = _Vectors(other, theirs, unit, _rows(frames, theirs))
        except InputError as error:
            notes.append(f"{path.name}: no {what} are read from {other.name}: {error}")
        else:
            notes.append(f"{path.name}: {what} are read from {other.name}, in atomic units")
    return found, notes


def _others(path: Path) -> dict[str, tuple[Path, float]]:
    """The files that lie beside one of positions, by what they hold, with their units."""
    if (name := CP2K.fullmatch(path.name)) is None:
        return {}
    named = {
        what: (path.with_name(f"{name[1]}-{short}-{name[2]}{path.suffix}"), unit)
        for what, (short, unit) in BESIDE.items()
    }
    return {what: each for what, each in named.items() if each[0].is_file()}


def _rows(positions: Frames, other: Frames) -> Integers:
    """The frame of another file for each of the positions, by their steps."""
    if other.atoms != positions.atoms:
        raise InputError(f"it holds {other.atoms} atoms, the positions {positions.atoms}")
    if other.comments == positions.comments:
        return np.arange(len(other.comments))
    return _matched(_cp2k_steps(positions), _cp2k_steps(other))


def _cp2k_steps(frames: Frames) -> list[int]:
    """The step of each frame; −1 where its comment line names none."""
    found = [CP2K_STEP.search(each) for each in frames.comments]
    return [int(each[1]) if each else -1 for each in found]


def _matched(steps: list[int], there: list[int]) -> Integers:
    """Where the step of each frame stands among those of another file."""
    known = {step: row for row, step in enumerate(there) if step >= 0}
    if missing := [row for row, step in enumerate(steps) if step not in known]:
        raise InputError(f"it has no step i = {steps[missing[0]]} (frame {missing[0]})")
    return np.array([known[step] for step in steps])


def _cell(path: Path, frames: Frames) -> tuple[Doubles | None, list[str]]:
    """Cells ``(frame, 3, 3)`` in Å that CP2K has written beside positions, and what is said."""
    name = CP2K.fullmatch(path.name)
    other = path.with_name(f"{name[1]}-{name[2]}.cell") if name else None
    if other is None or not other.is_file():
        return None, []
    try:
        with foreign(other, "not a cell file of CP2K"):
            table = np.loadtxt(other, ndmin=2)
            cells = table[:, 2:11].reshape(-1, 3, 3)
        if not len(cells) or not np.linalg.det(cells).all():
            raise InputError("it holds no cell, or one without volume")
        if (cells == cells[0]).all():  # a cell that stays may be written once
            rows = np.zeros(len(frames.comments), dtype=np.int64)
        else:
            rows = _matched(_cp2k_steps(frames), [int(step) for step in table[:, 0]])
    except InputError as error:
        return None, [f"{path.name}: no cell is read from {other.name}: {error}"]
    return cells[rows], [f"{path.name}: the cell is read from {other.name}, in Å"]


def _behind(path: Path, frames: Frames) -> _Vectors:
    """What xTB has written behind each frame."""
    rows = np.arange(len(frames.comments))
    return _Vectors(path, frames, SPEED, rows, line=2 + frames.atoms, column=0)


def _dftb_steps(frames: Frames) -> list[int]:
    """The steps of DFTB+ that frames are of; none where another program has written them."""
    found = [DFTB_STEP.match(each) for each in frames.comments]
    return [int(each[1]) for each in found if each] if all(found) else []


def _columns(path: Path, frames: Frames) -> _Vectors | None:
    """What DFTB+ has written into columns, if it has."""
    with path.open("rb") as file:
        (line,) = islice(file, 2, 3)
    column = DFTB_COLUMN.get(len(line.split()))
    if column is None:
        return None
    rows = np.arange(len(frames.comments))
    return _Vectors(path, frames, 1 / FS_PER["ps"], rows, column=column)


def _spaced(times: Doubles, steps: list[int]) -> Doubles:
    """Times of frames at these steps, where all but a few are as far apart: the last one, say."""
    apart = np.diff(steps)
    if len(apart) < 2 or (apart <= 0).any():
        return times
    usual = float(np.median(apart))
    return np.asarray((np.array(steps) - steps[0]) / usual * times[1])
