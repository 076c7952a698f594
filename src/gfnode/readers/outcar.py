"""OUTCAR, the log of VASP, which is read and not written.

Every ionic step has its cell and its positions (Å) and forces (eV/Å), in Cartesian components. The
head names the elements (``VRHFIN``, one for each potential), their masses (``POMASS``), and of
molecular dynamics (``IBRION = 0``) the step (``POTIM``, fs). The frame of ionic step n is at time
(n − n₀) × POTIM, n₀ the first one: with ``NWRITE = 0`` not every step is written. Runs are often
stopped by the queue: the steps that are complete are taken.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from gfnode.errors import InputError
from gfnode.readers.boundary import foreign, frame_times
from gfnode.readers.source import Block, Given, Source, atomic_numbers, batches
from gfnode.readers.vasp import DYNAMICS, NO_DYNAMICS
from gfnode.trajectory import Doubles, Integers
from gfnode.units import ELECTRONVOLT, format_time

STEP = re.compile(rb"-- Iteration\s+(\d+)\(")
"""Head of an electronic step, with the number of its ionic step."""

CELL = b"direct lattice vectors  "
FRAME = b"TOTAL-FORCE (eV/Angst)"
END = b"General timing and accounting"

ELEMENT = re.compile(rb"VRHFIN\s*=\s*([A-Z][a-z]?)")
COUNTS = re.compile(rb"ions per type\s*=([\d\s]+)")
MASSES = re.compile(rb"POMASS\s*=((?:\s*\d+\.\d\d)+)\s*$")
"""Masses of all elements have two decimals and may touch; that of one potential has three."""

SETTING = re.compile(rb"\b(IBRION|POTIM)\s*=\s*(\S+)")


@dataclass
class _Run:
    """What the head says, and where the frames lie, with cells ``(3, 3)`` in Å and their steps."""

    symbols: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    masses: list[float] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    places: list[int] = field(default_factory=list)
    cells: list[Doubles] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    complete: bool = False


def open_outcar(path: Path, given: Given) -> Source:
    """Open an OUTCAR; its frames are read when they are asked for."""
    with path.open("rb") as file, foreign(path, "not a valid OUTCAR of VASP"):
        run = _walk(path, file)
    numbers = atomic_numbers(path, np.repeat(np.array(run.symbols), run.counts), "VRHFIN")
    masses = np.repeat(run.masses, run.counts) if len(run.masses) == len(run.counts) else None
    cells = np.stack(run.cells)

    def blocks(rows: Integers) -> Iterator[Block]:
        with path.open("rb") as file:
            for part in batches(rows, 2 * len(numbers)):
                found = np.stack(
                    [_numbers(path, file, run, row, len(numbers)) for row in part.tolist()]
                )
                yield Block(found[..., :3], cell=cells[part], forces=found[..., 3:] * ELECTRONVOLT)

    stored: Doubles | None = None
    notes: tuple[str, ...] = ()
    if given.step is None and run.settings.get("IBRION") == DYNAMICS:
        stored, potim = _times(path, run)
        notes = (f"{path.name}: steps of {format_time(potim)}, its POTIM; --step overrides this",)
    if not run.complete:
        frames = len(run.places)
        notes += (f"{path.name}: the run did not finish: {frames} steps are complete",)
    return Source(
        numbers,
        frame_times(path, len(run.places), given.step, stored, proposal=NO_DYNAMICS),
        blocks,
        time_step=given.step,
        masses=masses,
        notes=notes,
        unread=("energies", "stress"),
    )


def _walk(path: Path, file: BinaryIO) -> _Run:
    """Read the head, and find the frames, the last one only if it is whole."""
    run, cell, step = _Run(), np.zeros((3, 3)), 0
    while line := file.readline():
        if found := STEP.search(line):
            step = int(found[1])
        elif CELL in line:
            lines = list(islice(file, 3))
            if not _whole(lines, 3):
                break
            rows = [each.replace(b"-", b" -").split()[:3] for each in lines]
            cell = np.array(rows, dtype=np.float64)
        elif FRAME in line:
            if b"(ML)" in line:
                raise InputError(
                    f"{path}: the OUTCAR of a machine-learned run, which may hold two sets of "
                    "forces for a step: give the vasprun.xml of this run"
                )
            place, lines = file.tell(), list(islice(file, sum(run.counts) + 2))
            if not _whole(lines, sum(run.counts) + 2):
                break
            _check_frame(path, run, lines, cell)
            run.places.append(place)
            run.cells.append(cell)
            run.steps.append(step)
        elif END in line:
            run.complete = True
        elif not step:
            _head(run, line)
    if not run.places:
        raise InputError(f"{path}: holds no complete step of a VASP run, or is damaged")
    return run


def _whole(lines: list[bytes], count: int) -> bool:
    """Whether there are so many lines, the last with its end; if not, the file ends in them."""
    return len(lines) == count and lines[-1].endswith(b"\n")


def _head(run: _Run, line: bytes) -> None:
    """Take what a line of the head says."""
    if found := ELEMENT.search(line):
        run.symbols.append(found[1].decode())
    elif found := COUNTS.search(line):
        run.counts = [int(each) for each in found[1].split()]
    elif found := MASSES.search(line):
        run.masses = [float(each) for each in re.findall(rb"\d+\.\d\d", found[1])]
    else:
        run.settings |= {a.decode(): b.decode() for a, b in SETTING.findall(line)}


def _check_frame(path: Path, run: _Run, lines: list[bytes], cell: Doubles) -> None:
    """Refuse a frame that does not have the atoms of the head, or no cell."""
    frame = len(run.places)
    if len(run.symbols) != len(run.counts) or not run.counts:
        raise InputError(
            f"{path}: its head names {len(run.symbols)} elements (VRHFIN) and {len(run.counts)} "
            "numbers of atoms (ions per type), expected as many: it is damaged, or was shortened"
        )
    if not (lines[0].strip().startswith(b"---") and lines[-1].strip().startswith(b"---")):
        raise InputError(
            f"{path}: damaged: frame {frame} does not hold the {sum(run.counts)} atoms of its head"
        )
    if not np.linalg.det(cell):
        raise InputError(f"{path}: damaged: no cell (direct lattice vectors) before frame {frame}")


def _times(path: Path, run: _Run) -> tuple[Doubles, float]:
    """Times in fs from the first frame on, and POTIM in fs."""
    with foreign(path, "POTIM is not a number (--step overrides stored times)"):
        potim = float(run.settings["POTIM"])
    steps = np.array(run.steps)
    if (np.diff(steps) <= 0).any():
        frame = int(np.argmax(np.diff(steps) <= 0)) + 1
        raise InputError(
            f"{path}: frame {frame} is of step {steps[frame]}, after step {steps[frame - 1]}: give "
            "the OUTCAR of each run by itself, or the time between frames with --step"
        )
    return (steps - steps[0]) * potim, potim


def _numbers(path: Path, file: BinaryIO, run: _Run, row: int, atoms: int) -> Doubles:
    """Positions in Å and forces in eV/Å of a frame, ``(atom, 6)``."""
    file.seek(run.places[row])
    lines = [line.replace(b"-", b" -").split() for line in islice(file, 1, atoms + 1)]
    with foreign(path, f"frame {row} holds no positions and forces"):
        return np.array(lines, dtype=np.float64).reshape(atoms, 6)
