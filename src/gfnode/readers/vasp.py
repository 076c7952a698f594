"""Output of VASP: ``XDATCAR`` and ``vasprun.xml``, which are read and not written.

Lengths are Å and forces eV/Å. Positions are fractions of the cell, wrapped into it. XDATCAR holds
no times. Molecular dynamics (``IBRION = 0``) names its step in vasprun.xml (``POTIM``, fs); of a
machine-learned run one step in ``ML_OUTBLOCK`` is stored. Runs are often stopped by the queue: the
steps that are complete are taken.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers.boundary import check_text, ends_with_line, foreign, frame_times
from gfnode.readers.source import Block, Given, Source, atomic_numbers, batches
from gfnode.trajectory import Doubles, Integers
from gfnode.units import ELECTRONVOLT, format_time

FRAME = b"configuration="
"""In the line before the positions of each frame of an XDATCAR."""

DYNAMICS = "0"
"""IBRION of molecular dynamics."""

BLOCKS = "POTIM × NBLOCK of the INCAR, e.g. --step 1fs"
NO_DYNAMICS = "e.g. --step 1fs (its IBRION is not 0: is it molecular dynamics?)"


@dataclass(frozen=True)
class _Frames:
    """Where the frames of an XDATCAR lie: ``(frame,)`` first byte, and ``(frame, 3, 3)`` cells."""

    numbers: Integers
    places: list[int]
    cells: Doubles


def open_xdatcar(path: Path, given: Given) -> Source:
    """Open an XDATCAR, of a fixed cell or one that changes."""
    ends_with_line(path)
    check_text(path)
    with path.open("rb") as file, foreign(path, "not a valid XDATCAR"):
        found = _walk(path, file)
    atoms = len(found.numbers)

    def blocks(rows: Integers) -> Iterator[Block]:
        with path.open("rb") as file:
            for part in batches(rows, atoms):
                fractions = np.stack([_fractions(path, file, found, row) for row in part.tolist()])
                cells = found.cells[part]
                yield Block(fractions @ cells, cell=cells)

    times = frame_times(path, len(found.places), given.step, proposal=BLOCKS)
    return Source(found.numbers, times, blocks, time_step=given.step)


def _walk(path: Path, file: BinaryIO) -> _Frames:
    """Find the frames; a head with cell and elements stands before the first, or before each."""
    numbers: Integers | None = None
    cell = np.eye(3)
    places: list[int] = []
    cells: list[Doubles] = []
    while line := file.readline():
        if FRAME not in line:
            head = [each.decode() for each in (line, *islice(file, 6))]
            if not any(map(str.strip, head)):
                break  # blank lines at the end
            cell, here = _head(path, len(places), head)
            if numbers is not None and not np.array_equal(here, numbers):
                raise InputError(
                    f"{path}: frame {len(places)} has different atoms from the first one; all "
                    "frames must hold the same atoms in the same order"
                )
            numbers, line = here, file.readline()
        if FRAME not in line or numbers is None:
            raise InputError(
                f"{path}: frame {len(places)} begins with {line.decode().strip()[:40]!r}, expected "
                "'Direct configuration= …'"
            )
        places.append(file.tell())
        cells.append(cell)
        if (got := sum(1 for _ in islice(file, len(numbers)))) != len(numbers):
            raise InputError(
                f"{path}: the file ends inside frame {len(places) - 1}: {got} of {len(numbers)} "
                "atoms; it was cut off"
            )
    if numbers is None or not places:
        raise InputError(f"{path}: holds no frames")
    return _Frames(numbers, places, np.stack(cells))


def _head(path: Path, frame: int, lines: list[str]) -> tuple[Doubles, Integers]:
    """The cell in Å and the atomic numbers of a head, whose first line is a comment."""
    try:
        scale, *rows = ([float(each) for each in line.split()] for line in lines[1:5])
        cell = np.array(rows).reshape(3, 3)
        counts = [int(each) for each in lines[6].split()]
        symbols = lines[5].split()
        volume = abs(np.linalg.det(cell))
        if len(scale) != 1 or not scale[0] * volume:
            raise ValueError
        if len(counts) != len(symbols) or symbols[0].isdigit():
            raise ValueError
    except (ValueError, IndexError):
        raise InputError(
            f"{path}: the header of frame {frame} is not that of an XDATCAR: expected one line "
            "each for comment, scale, three cell vectors, elements and their numbers (VASP 5 or "
            "later)"
        ) from None
    # a negative scale is the volume
    factor = scale[0] if scale[0] > 0 else (-scale[0] / volume) ** (1 / 3)
    return cell * factor, np.repeat(_elements(path, symbols), counts)


def _elements(path: Path, symbols: list[str]) -> Integers:
    """Atomic numbers; potentials are told apart by what follows, as in ``Ti_sv`` and ``O/6b2c``."""
    return atomic_numbers(path, np.array([re.split("[_/]", each)[0] for each in symbols]), "atoms")


def _fractions(path: Path, file: BinaryIO, found: _Frames, row: int) -> Doubles:
    """Positions of a frame as fractions of its cell, ``(atom, 3)``."""
    file.seek(found.places[row])
    lines = [line.split()[:3] for line in islice(file, len(found.numbers))]
    with foreign(path, f"frame {row} holds no positions"):
        return np.array(lines, dtype=np.float64).reshape(len(found.numbers), 3)


@dataclass
class _Run:
    """What a vasprun.xml says, and positions, cells and forces of its steps as they come."""

    symbols: list[str] = field(default_factory=list)
    masses: Doubles | None = None
    settings: dict[str, str] = field(default_factory=dict)
    positions: list[NDArray[Any]] = field(default_factory=list)
    cells: list[Doubles] = field(default_factory=list)
    forces: list[NDArray[Any]] = field(default_factory=list)
    complete: bool = True


def open_vasprun(path: Path, given: Given) -> Source:
    """Open a vasprun.xml; it is read as a whole."""
    run = _parse(path)
    frames = len(run.positions)
    numbers = _elements(path, run.symbols)
    positions, cells = np.stack(run.positions), np.stack(run.cells)
    forces = np.stack(run.forces) * ELECTRONVOLT if len(run.forces) == frames else None

    def blocks(rows: Integers) -> Iterator[Block]:
        for part in batches(rows, len(numbers)):
            yield Block(
                positions[part] @ cells[part],
                cell=cells[part],
                forces=None if forces is None else forces[part],
            )

    stored: Doubles | None = None
    notes: tuple[str, ...] = ()
    if given.step is None and (step := _step(path, run)) is not None:
        stored = np.arange(frames, dtype=np.float64) * step
        notes = (
            f"{path.name}: a frame every {format_time(step)}, by its POTIM; --step overrides this",
        )
    if not run.complete:
        notes += (f"{path.name}: the run did not finish: {frames} steps are complete",)
    return Source(
        numbers,
        frame_times(path, frames, given.step, stored, proposal=NO_DYNAMICS),
        blocks,
        time_step=given.step,
        masses=run.masses,
        notes=notes,
        unread=("energies", "stress"),
    )


def _parse(path: Path) -> _Run:
    """Go through the file once; what was taken is let go."""
    run, parents = _Run(), list[str]()
    with path.open("rb") as file, foreign(path, "not a vasprun.xml of VASP"):
        try:
            for event, element in ElementTree.iterparse(file, ("start", "end")):
                if event == "start":
                    parents.append(element.tag)
                    if parents[0] != "modeling":
                        raise InputError(f"{path}: holds <{parents[0]}>, expected a vasprun.xml")
                    continue
                parents.pop()
                _take(run, element)
                if len(parents) == 1:  # a direct part of the whole
                    element.clear()
        except ElementTree.ParseError:  # no end
            run.complete = False
    if not run.positions:
        raise InputError(f"{path}: holds no complete step of a VASP run, or is damaged")
    for what, shape, arrays in (
        ("atoms", (len(run.symbols), 3), (*run.positions, *run.forces)),
        ("cells", (3, 3), run.cells),
    ):
        if other := [each.shape for each in arrays if each.shape != shape]:
            raise InputError(
                f"{path}: damaged: expected arrays {shape} of its {what}, got {other[0]}"
            )
    return run


def _take(run: _Run, element: ElementTree.Element) -> None:
    """Take what an element of the file says, once it is complete."""
    if element.tag in ("incar", "parameters"):
        named = {each.get("name", "").upper(): each.text or "" for each in element.iter("i")}
        run.settings |= {key: text.strip() for key, text in named.items()}
    elif element.tag == "atominfo":
        rows = element.findall("array[@name='atoms']/set/rc")
        run.symbols = [(row[0].text or "").strip() for row in rows]
        kinds = element.findall("array[@name='atomtypes']/set/rc")
        counts = [int(kind[0].text or 0) for kind in kinds]
        run.masses = np.repeat([float(kind[2].text or 0) for kind in kinds], counts)
    elif element.tag == "calculation":
        run.positions.append(_vectors(element, "structure/varray[@name='positions']/v"))
        run.cells.append(_vectors(element, "structure/crystal/varray[@name='basis']/v"))
        if (forces := element.find("varray[@name='forces']")) is not None:
            run.forces.append(_vectors(forces, "v"))


def _vectors(element: ElementTree.Element, path: str) -> Doubles:
    return np.array([(each.text or "").split() for each in element.iterfind(path)], np.float64)


def _step(path: Path, run: _Run) -> float | None:
    """Time between stored steps in fs, of molecular dynamics."""
    if run.settings.get("IBRION") != DYNAMICS:
        return None
    with foreign(path, "POTIM or ML_OUTBLOCK is not a number (--step overrides them)"):
        step = float(run.settings.get("POTIM", 0)) * int(run.settings.get("ML_OUTBLOCK", 1))
    return step if math.isfinite(step) and step > 0 else None
