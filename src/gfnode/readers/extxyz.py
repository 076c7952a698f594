"""Extended XYZ, read and written by ASE.

Each frame's time is the key ``time_fs`` of its comment line, or ``time_ps``, or ``time``, which is
taken as fs, as CP2K writes it, unless a unit follows the number; ``time_fs`` is written.
Velocities travel as ASE's momenta (u Å per ASE time unit); a column ``velocities`` is read in ASE's
units too, and one of ``forces`` in eV/Å; :mod:`gfnode.readers.columns` says what else they may be
called. Cell vectors along directions that are not periodic are zero in a Trajectory. Names and
bonds have no place in this format.
"""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers.boundary import EXAMPLE, check_text, ends_with_line, foreign, frame_times
from gfnode.readers.columns import FORCES, check_numbers, columns_of, find_forces
from gfnode.readers.md17 import MD22_STEP, recognise_md22
from gfnode.readers.named import check_elements, check_symbols
from gfnode.readers.source import Block, Given, Source, batches
from gfnode.trajectory import Doubles, Integers, Trajectory
from gfnode.units import ELECTRONVOLT, FS_PER, format_time

ENTRY = re.compile(r"""([\w-]+)\s*=\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s"']+)""")
"""A key of the comment line and its value, which may be quoted."""

TIME_KEYS = {"time_fs": 1.0, "time_ps": 1000.0, "time": 1.0}
"""Keys of the comment line that hold the time, and fs in their unit."""

TIME_UNIT = re.compile(
    rf"""\btime\s*=\s*["']?\s*[-+.\d]+(?:e[-+]?\d+)?\s*({"|".join(FS_PER)})\b(?!\s*=)""",
    re.IGNORECASE,
)
"""A unit behind the value of ``time``, as in ``time = 0.005 ps``; none is part of extended XYZ."""

READ_KEYS = (*TIME_KEYS, "lattice", "properties", "pbc", "name")
DEVIATION = "deviation"
"""The column of standard deviations of predictions, Å."""

READ_COLUMNS = ("species", "pos", "Z", "momenta", "velocities", "masses")

XTB = " xtb: "
"""In the comment lines of xTB, before its version."""

DUMP = "dump in the $md block of xTB's input, e.g. --step 50fs, its default"


@dataclass(frozen=True)
class Frames:
    """Where the frames of a file lie, and their comment lines."""

    atoms: int
    places: list[int]  # (frame + 1,) first byte of each, and the end of the last
    comments: list[str]
    velocities: bool = False  # xTB's, behind each frame: a line for every atom


def open_extxyz(path: Path, given: Given, found: Frames) -> Source:
    """Open an XYZ file, extended or plain, whose frames have been found."""
    (first,) = _read(path, found, [0])
    numbers = first.numbers
    # ASE leaves momenta out where they are zero
    columns = [columns_of(comment) for comment in found.comments]
    check_numbers(path, columns, ("momenta", "velocities"))
    sized = all(each.get(DEVIATION) == ("R", 1) for each in columns)
    moving_in = ["momenta" in each for each in columns]
    momenta = any(moving_in)
    moving = momenta or all("velocities" in each for each in columns)
    column, notes = find_forces(path.name, columns)
    cells = any("attice" in comment for comment in found.comments)

    def blocks(rows: Integers) -> Iterator[Block]:
        for part in batches(rows, found.atoms):
            frames = _read(path, found, part)
            for row, frame in zip(part, frames, strict=True):
                if not np.array_equal(frame.numbers, numbers):
                    raise InputError(
                        f"{path}: frame {row} holds {frame.symbols}, the first one "
                        f"{first.symbols}; all frames must hold the same atoms in the same order"
                    )
            cell = np.stack([frame.cell.array * frame.pbc[:, None] for frame in frames])
            yield Block(
                np.stack([frame.positions for frame in frames]).reshape(-1, found.atoms, 3),
                np.stack([_velocities(frame, momenta) for frame in frames]) if moving else None,
                cell if cells else None,
                None
                if column is None
                else np.stack([_forces(frame, column) for frame in frames]) * ELECTRONVOLT,
                np.stack([frame.arrays[DEVIATION] for frame in frames]) if sized else None,
            )

    step = given.step
    stored = _stored_times(path, found.comments) if step is None else None
    notes += resting(path.name, moving_in) if momenta else ()
    name = str(first.info.get("name", ""))
    if stored is None and step is None and (known := recognise_md22(numbers)):
        step, name = MD22_STEP, name or known
        notes += (
            f"{path.name} stores no times and was recognised as {known} of MD22, with a frame "
            f"every {format_time(step)}; --step overrides this",
        )
    proposal = DUMP if XTB in found.comments[0] else EXAMPLE
    return Source(
        numbers,
        frame_times(path, len(found.comments), step, stored, proposal=proposal),
        blocks,
        time_step=step,
        name=name,
        masses=first.get_masses() if first.has("masses") else None,
        notes=notes,
        unread=_unread(found.comments[0], (column, DEVIATION if sized else None)),
    )


def _unread(comment: str, read: Sequence[str | None]) -> tuple[str, ...]:
    """Keys and columns of a frame that are not read."""
    keys = [key for key, _ in ENTRY.findall(comment) if key.lower() not in READ_KEYS]
    columns = [key for key in columns_of(comment) if key not in (*READ_COLUMNS, *read)]
    return tuple(keys + columns)


def resting(name: str, moving: Sequence[bool]) -> tuple[str, ...]:
    """Say which frames lack the momenta that others have; ``moving`` holds whether each has."""
    without = [number for number, has in enumerate(moving) if not has]
    if not without:
        return ()
    return (
        f"{name}: {len(without)} of {len(moving)} frames store no momenta (the first is frame "
        f"{without[0]}): their atoms are taken to be at rest, as ASE stores it",
    )


def _velocities(frame: Any, momenta: bool) -> NDArray[Any]:
    from ase import units

    stored = frame.get_velocities() if momenta else frame.arrays["velocities"]
    return np.asarray(stored) * units.fs


def _forces(frame: Any, column: str) -> NDArray[Any]:
    """Forces as stored; ``get_forces`` would miss them where a coordinate is not a number."""
    stored = frame.calc.results if column == FORCES else frame.arrays
    return np.asarray(stored[column])


def _read(path: Path, found: Frames, rows: Sequence[int] | Integers) -> list[Any]:
    """Read some frames."""
    from ase.io.extxyz import read_xyz

    frames = []
    with path.open("rb") as file:
        for row in rows:
            file.seek(found.places[row])
            text = b"".join(islice(file, 2 + found.atoms)).decode("utf-8")
            with foreign(path, f"frame {row} is not valid XYZ"):
                try:
                    frames += read_xyz(io.StringIO(text), index=0)
                except KeyError as error:
                    check_symbols(path, row, text, str(error.args[0]))
                    raise
            if row == 0 and "Z" not in columns_of(found.comments[0]):
                check_elements(path, row, text, frames[0].numbers, frames[0].positions)
    return frames


def find_frames(path: Path) -> Frames:
    """Walk through the file; every frame must be whole.

    ASE stops at the first blank line and takes what it has, and a last number cut short for
    another number.
    """
    ends_with_line(path)
    check_text(path)
    found = Frames(0, [0], [])
    atoms, velocities = 0, None
    with path.open("rb") as lines:
        while line := lines.readline():
            frame = len(found.comments)
            if not line.strip():
                if lines.read().strip():
                    raise InputError(f"{path}: a blank line precedes frame {frame}; remove it")
                break
            digits = line.strip()
            if not digits.isdigit() or len(digits) > 12 or (count := int(digits)) < 1:
                raise InputError(
                    f"{path}: frame {frame} begins with {line.decode().strip()[:40]!r}, expected "
                    "the number of atoms"
                )
            atoms = atoms or count
            if count != atoms:
                raise InputError(f"{path}: frame {frame} has {count} atoms, the first one {atoms}")
            comment = lines.readline()
            got = sum(1 for _ in islice(lines, count))
            if got != count or not comment:
                raise InputError(
                    f"{path}: the file ends inside frame {frame}: {got} of {count} atoms; it was "
                    "cut off"
                )
            found.comments.append(comment.decode())
            if velocities is None:
                velocities = XTB in found.comments[-1] and _three_numbers(lines)
            if velocities and (got := sum(1 for _ in islice(lines, count))) != count:
                raise InputError(
                    f"{path}: the file ends inside the velocities of frame {frame}: {got} of "
                    f"{count} atoms; it was cut off"
                )
            found.places.append(lines.tell())
    return replace(found, atoms=atoms, velocities=bool(velocities))


def _three_numbers(lines: BinaryIO) -> bool:
    """Whether the next line holds that; the file stays where it is."""
    here, line = lines.tell(), lines.readline()
    lines.seek(here)
    return len(line.split()) == 3


def _stored_times(path: Path, comments: list[str]) -> Doubles | None:
    infos = [{key.lower(): value for key, value in ENTRY.findall(each)} for each in comments]
    key = next((key for key in TIME_KEYS if key in infos[0]), None)
    if key is None:
        return None
    if missing := [i for i, info in enumerate(infos) if key not in info]:
        raise InputError(
            f"{path}: frame {missing[0]} has no {key}, but the first one has: give --step, the "
            "time between frames, instead"
        )
    units = [TIME_UNIT.search(each) for each in comments] if key == "time" else [None]
    unit = units[0][1].lower() if units[0] else ""
    if other := [i for i, each in enumerate(units) if (each[1].lower() if each else "") != unit]:
        raise InputError(
            f"{path}: the time of frame {other[0]} is not in the unit of the first frame "
            f"({unit or 'none'}): give --step, the time between frames, instead"
        )
    with foreign(path, f"{key} is not a number (--step overrides stored times)"):
        # CP2K puts a comma behind each value
        values = [info[key].strip("\"', ").lower().removesuffix(unit) for info in infos]
        return np.array([float(value) for value in values]) * FS_PER.get(unit, TIME_KEYS[key])


@contextmanager
def writing(path: Path, frames: int) -> Iterator[Callable[[Trajectory], None]]:
    """Give what writes ``time_fs``, momenta, forces and the cell where known."""
    from ase.io.extxyz import write_extxyz

    with path.open("w", encoding="utf-8") as file:
        yield lambda piece: write_extxyz(file, ase_frames(piece))


def ase_frames(trajectory: Trajectory) -> Any:
    """Give an ``ase.Atoms`` for every frame, one by one: all that extended XYZ has a place for."""
    from ase import Atoms, units
    from ase.calculators.singlepoint import SinglePointCalculator

    for i, positions in enumerate(trajectory.positions):
        cell = None if trajectory.cell is None else trajectory.cell[i].astype(np.float64)
        atoms: Any = Atoms(
            trajectory.numbers,
            positions.astype(np.float64),
            cell=cell,
            pbc=False if cell is None else cell.any(1),
            info={"time_fs": float(trajectory.times[i])},
        )
        if trajectory.name:
            atoms.info["name"] = trajectory.name
        if trajectory.atom_masses is not None:
            atoms.set_masses(trajectory.atom_masses)
        if trajectory.velocities is not None:
            atoms.set_velocities(trajectory.velocities[i].astype(np.float64) / units.fs)
        if trajectory.forces is not None:
            forces = trajectory.forces[i].astype(np.float64) / ELECTRONVOLT
            atoms.calc = SinglePointCalculator(atoms, forces=forces)
        if trajectory.deviations is not None:
            atoms.set_array(DEVIATION, trajectory.deviations[i].astype(np.float64))
        yield atoms
