"""GRO, the text format of GROMACS: one frame or many, with velocities.

A title, which may end in ``t= 1.00000 step= 500`` (ps), the number of atoms, a line for each, and
the box. Positions (nm) begin in column 21, three fields as wide as their decimal points are apart;
behind them may be velocities (nm/ps), in three fields of the same width.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers.boundary import check_text, foreign, frame_times
from gfnode.readers.cells import ANGSTROM_PER_NM
from gfnode.readers.source import Block, Given, Source, batches
from gfnode.readers.topology import read_topology, same_atoms
from gfnode.trajectory import Doubles, Integers
from gfnode.units import FS_PER

TIME = re.compile(r"\bt=\s*([-+]?[\d.]+(?:e[-+]?\d+)?)", re.IGNORECASE)
NAMED = 20
"""Columns before the positions: residue and atom, with their numbers."""

_BOX = [[0, 3, 4], [5, 1, 6], [7, 8, 2]]  # where components of its three vectors stand


@dataclass(frozen=True)
class _Frames:
    """Where the frames of a file lie, and how their lines are laid out."""

    atoms: int
    width: int  # of a field
    moving: bool  # there are velocities
    places: list[int]  # (frame,) the first byte of each
    titles: list[str]


def open_gro(path: Path, given: Given) -> Source:
    """Open all frames; elements are those of the names, or of a topology that comes with it."""
    frames = _find(path)
    first, box = _read(path, frames, np.zeros(1, dtype=np.int64))
    boxed = bool(box.any())
    notes: list[str] = []
    if frames.moving and not first[..., 3:].any():
        frames = replace(frames, moving=False)
        notes.append(f"{path.name}: velocities are left out: those of the first frame are all zero")
    top = read_topology(given.top or path)
    same_atoms(path, frames.atoms, top)
    stored = _times(path, frames.titles) if given.step is None else None
    times = frame_times(path, len(frames.titles), given.step, stored)

    def blocks(rows: Integers) -> Iterator[Block]:
        for part in batches(rows, frames.atoms):
            atoms, cells = _read(path, frames, part)
            cell = np.pad(cells, ((0, 0), (0, 9 - cells.shape[1])))[:, _BOX] * ANGSTROM_PER_NM
            velocities = atoms[..., 3:] * (ANGSTROM_PER_NM / FS_PER["ps"])
            yield Block(
                atoms[..., :3] * ANGSTROM_PER_NM,
                velocities if frames.moving else None,
                cell if boxed else None,
            )

    source = top.source(times, blocks, given.step, notes)
    return source if given.top else replace(source, placed=None)


def _find(path: Path) -> _Frames:
    """Walk through the file; every frame must be whole."""
    check_text(path)
    places: list[int] = []
    titles: list[str] = []
    atoms = width = fields = 0
    with path.open("rb") as lines:
        while title := lines.readline():
            frame, here = len(places), lines.tell()
            if not title.strip():
                if not lines.read().strip():  # blank lines at the end
                    break
                lines.seek(here)  # a title may be empty
            digits = lines.readline().strip()
            if not digits.isdigit() or len(digits) > 12 or (count := int(digits)) < 1:
                raise InputError(
                    f"{path}: the second line of frame {frame} is {digits.decode()[:40]!r}, "
                    "expected the number of atoms"
                )
            if atoms and count != atoms:
                raise InputError(f"{path}: frame {frame} has {count} atoms, the first one {atoms}")
            places.append(lines.tell())
            titles.append(title.decode())
            rows = list(islice(lines, count + 1))
            if len(rows) <= count or not rows[-1].endswith(b"\n"):
                raise InputError(
                    f"{path}: the file ends inside frame {frame}: {min(len(rows), count)} of "
                    f"{count} atoms, and no box line; it was cut off"
                )
            if not atoms:
                atoms = count
                width, fields = _layout(path, rows[0].decode().rstrip("\n\r"))
            short = NAMED + fields * width
            if bad := [i for i, row in enumerate(rows[:-1]) if len(row.rstrip()) < short]:
                raise InputError(
                    f"{path}: the line of atom {bad[0]} in frame {frame} is shorter than that of "
                    "the first atom"
                )
    if not places:
        raise InputError(f"{path}: holds nothing but blank lines, expected a GRO file")
    return _Frames(atoms, width, fields == 6, places, titles)


def _layout(path: Path, line: str) -> tuple[int, int]:
    """The width of a field, and how many there are."""
    points = [at for at, letter in enumerate(line) if letter == "." and at > NAMED]
    width = points[1] - points[0] if len(points) > 2 else 0
    if width < 3 or len(line.rstrip()) < NAMED + 3 * width:
        raise InputError(
            f"{path}: the first atom is {line.strip()[:60]!r}, expected residue, name and number "
            f"in {NAMED} columns, then positions in nm: it is not a GRO file"
        )
    return width, 6 if len(line.rstrip()) >= NAMED + 6 * width else 3


def _times(path: Path, titles: list[str]) -> Doubles | None:
    """Times in fs; None where a title names none."""
    found = [TIME.search(each) for each in titles]
    with foreign(path, "a time is not a number (--step overrides stored times)"):
        values = [float(each[1]) * FS_PER["ps"] for each in found if each]
    return np.round(values, 6) if len(values) == len(titles) else None


def _read(path: Path, frames: _Frames, rows: Integers) -> tuple[Doubles, Doubles]:
    """Fields of all atoms, ``(frame, atom, 3 or 6)``, and of the box, ``(frame, 3 or 9)``."""
    width, fields = frames.width, 6 if frames.moving else 3
    cuts = [slice(NAMED + k * width, NAMED + (k + 1) * width) for k in range(fields)]
    found: list[NDArray[np.float64]] = []
    boxes: list[list[float]] = []
    with path.open("rb") as file:
        for row in rows.tolist():
            file.seek(frames.places[row])
            *lines, box = islice(file, frames.atoms + 1)
            with foreign(path, f"frame {row} is not valid GRO"):
                found.append(np.array([[line[cut] for cut in cuts] for line in lines], np.float64))
                boxes.append([float(value) for value in box.split()])
            if len(boxes[-1]) not in (3, 9) or len(boxes[-1]) != len(boxes[0]):
                raise InputError(
                    f"{path}: the box of frame {row} is {box.decode().strip()[:60]!r}, expected "
                    "three numbers, or nine, as in the first frame"
                )
    return np.stack(found), np.array(boxes)
