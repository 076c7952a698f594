"""Where the frames of a LAMMPS dump lie, and what their heads say of time and box.

The format is described at https://docs.lammps.org/dump.html, the box at
https://docs.lammps.org/Howto_triclinic.html.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers.boundary import ends_with_line, foreign
from gfnode.trajectory import Doubles

LINES = {"UNITS": 1, "TIME": 1, "TIMESTEP": 1, "NUMBER OF ATOMS": 1, "BOX BOUNDS": 3, "ATOMS": 0}
"""The items of a head, and how many lines follow each; the atoms' are behind the head."""

ITEM = re.compile(rf"ITEM: ({'|'.join(sorted(LINES, key=len, reverse=True))})\b(.*)")

NEEDED = ("TIMESTEP", "NUMBER OF ATOMS", "BOX BOUNDS")

LONGEST = 2**20
"""Bytes; no line is longer."""

Head = Mapping[str, tuple[str, list[str]]]
"""What stands behind the name of each item, and the lines that follow it."""


@dataclass
class Index:
    """The frames of a file, in its own units of length and time.

    ``places`` holds the first byte of a frame's atoms and the one behind them, ``boxes`` the origin
    of its box and three vectors ``(4, 3)``, ``periodic`` along which of these it repeats, ``times``
    is shorter where frames name no time.
    """

    atoms: int = 0
    columns: tuple[str, ...] = ()
    units: str = ""
    places: list[tuple[int, int]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    boxes: list[Doubles] = field(default_factory=list)
    periodic: list[NDArray[np.bool_]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def spacings(self) -> tuple[int, ...]:
        """The different numbers of steps between frames, ascending."""
        return tuple(np.unique(np.diff(self.steps)).tolist())


def index(path: Path) -> Index:
    """Walk through the file once; every frame must be whole, and of the same columns."""
    ends_with_line(path)
    found = Index()
    with path.open("rb") as file:
        while (head := _head(path, file, len(found))) is not None:
            frame = len(found)
            with foreign(path, f"the header of frame {frame} is damaged"):
                _add(path, found, head)
            begin = file.tell()
            got = sum(1 for _ in islice(file, found.atoms))
            if got != found.atoms:
                raise InputError(
                    f"{path}: the file ends inside frame {frame}: {got} of {found.atoms} atoms; it "
                    "was cut off"
                )
            found.places.append((begin, file.tell()))
    return found


def _head(path: Path, file: BinaryIO, frame: int) -> Head | None:
    """The items of a frame up to its atoms; None at the end of the file."""
    found: dict[str, tuple[str, list[str]]] = {}
    while line := file.readline(LONGEST):
        text = line.decode("latin-1").strip()
        match = ITEM.fullmatch(text)
        if not text and not found and not file.read().strip():
            return None
        if not match or match[1] in found:
            raise InputError(
                f"{path}: frame {frame} has {text[:40]!r}, expected ITEM: TIMESTEP or another "
                "header line of a LAMMPS text dump: the file is of another kind, or the frame "
                "before was cut off"
            )
        item = match[1]
        lines = [file.readline(LONGEST).decode("latin-1").strip() for _ in range(LINES[item])]
        found[item] = (match[2].strip(), lines)
        if item == "ATOMS":
            if missing := [key for key in NEEDED if key not in found]:
                raise InputError(f"{path}: frame {frame} has no ITEM: {missing[0]}")
            return found
    if found:
        raise InputError(
            f"{path}: the file ends inside the header of frame {frame}; it was cut off"
        )
    return None


def _add(path: Path, found: Index, head: Head) -> None:
    """Take the head of the next frame."""
    frame, columns = len(found), tuple(head["ATOMS"][0].split())
    atoms = int(head["NUMBER OF ATOMS"][1][0])
    if not 0 < atoms < 10**12:
        raise InputError(f"{path}: frame {frame} has {atoms} atoms, expected one or more")
    units = head["UNITS"][1][0] if "UNITS" in head else found.units
    if not frame:
        found.atoms, found.columns, found.units = atoms, columns, units
    for what, now, first in (
        ("atoms", atoms, found.atoms),
        ("the columns", " ".join(columns), " ".join(found.columns)),
        ("the units", units, found.units),
    ):
        if now != first:
            raise InputError(
                f"{path}: frame {frame} has {what} {now or 'none'}, the first one "
                f"{first or 'none'}; all frames must hold the same"
            )
    found.steps.append(int(head["TIMESTEP"][1][0]))
    if "TIME" in head:
        found.times.append(float(head["TIME"][1][0]))
    behind, lines = head["BOX BOUNDS"]
    box, periodic = _box(behind, tuple(lines))
    found.boxes.append(box)
    found.periodic.append(periodic)


@lru_cache(maxsize=1)  # most boxes stay as they are
def _box(behind: str, lines: tuple[str, ...]) -> tuple[Doubles, NDArray[np.bool_]]:
    """Origin and vectors of a box, ``(4, 3)``, and along which of these it repeats.

    Bounds of a tilted box are those of the smallest upright one around it.
    """
    words, rows = behind.split(), [[float(word) for word in line.split()] for line in lines]
    if words[:2] == ["abc", "origin"]:
        (ax, ay, az, x), (bx, by, bz, y), (cx, cy, cz, z) = rows
        box, flags = [[x, y, z], [ax, ay, az], [bx, by, bz], [cx, cy, cz]], words[2:]
    else:
        xy = xz = yz = 0.0
        flags = words
        if words[:3] == ["xy", "xz", "yz"]:
            (x, x1, xy), (y, y1, xz), (z, z1, yz) = rows
            x, x1 = x - min(0.0, xy, xz, xy + xz), x1 - max(0.0, xy, xz, xy + xz)
            y, y1 = y - min(0.0, yz), y1 - max(0.0, yz)
            flags = words[3:]
        else:
            (x, x1), (y, y1), (z, z1) = rows
        if not (x <= x1 and y <= y1 and z <= z1):
            raise ValueError("the upper bound of the box is below the lower one")
        box = [[x, y, z], [x1 - x, 0, 0], [xy, y1 - y, 0], [xz, yz, z1 - z]]
    flags = flags or ["pp"] * 3  # old versions name none
    if len(flags) != 3 or any(len(flag) != 2 or set(flag) - set("pfsm") for flag in flags):
        raise ValueError(f"boundaries {' '.join(flags)[:40]}, expected three such as pp pp ff")
    lying, periodic = np.array(box), np.array([flag == "pp" for flag in flags])
    if (periodic & ~lying[1:].any(1)).any():
        raise ValueError("the periodic box has zero extent")
    return lying, periodic


def rows_of(path: Path, file: BinaryIO, found: Index, frame: int) -> list[tuple[bytes, ...]]:
    """The columns of a frame, as words, each of all atoms."""
    begin, end = found.places[frame]
    file.seek(begin)
    rows = [line.split() for line in file.read(end - begin).splitlines()]
    for atom, row in enumerate(rows):
        if len(row) != len(found.columns):
            raise InputError(
                f"{path}: line {atom + 1} of the atoms of frame {frame} has {len(row)} values, "
                f"expected {len(found.columns)} ({' '.join(found.columns)}): the frame is damaged"
            )
    return list(zip(*rows, strict=True))


def numbers_of(columns: Sequence[Sequence[bytes]], order: NDArray[np.int64]) -> Doubles:
    """Some columns as ``(atom, column)``, in this order of atoms."""
    return np.array([list(map(float, column)) for column in columns]).T[order]
