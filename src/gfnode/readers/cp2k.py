"""CP2K's XYZ files: velocities and forces lie beside the positions, in files of their own.

``H2O-pos-1.xyz`` has ``H2O-vel-1.xyz`` and ``H2O-frc-1.xyz`` beside it where the input asks for
them (``MOTION/PRINT``), in atomic units: velocities in a₀ Eₕ/ħ, forces in Eₕ/a₀. A frame is known
by the step in its comment line, ``i = 7, time = 3.500, E = …``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from gfnode.errors import InputError
from gfnode.readers.boundary import foreign
from gfnode.readers.extxyz import Frames, find_frames, open_extxyz
from gfnode.readers.source import Block, Given, Source, batches
from gfnode.trajectory import Doubles, Integers
from gfnode.units import ATOMIC_TIME, BOHR, HARTREE

NAME = re.compile(r"(.+)-pos-(\d+)\.xyz", re.IGNORECASE)
STEP = re.compile(r"\bi\s*=\s*(\d+)")
BESIDE = {"velocities": ("vel", BOHR / ATOMIC_TIME), "forces": ("frc", HARTREE / BOHR)}
"""What may lie beside positions: how its file is called, and its unit in Å/fs or u Å/fs²."""


@dataclass(frozen=True)
class _Beside:
    """A file beside the positions, and which of its frames belongs to each of theirs."""

    path: Path
    frames: Frames
    rows: Integers
    unit: float

    def read(self, rows: Integers) -> Doubles:
        """Vectors at some frames of the positions, ``(frame, atom, 3)``."""
        found = []
        with self.path.open("rb") as file:
            for row in self.rows[rows].tolist():
                file.seek(self.frames.places[row])
                lines = islice(file, 2, 2 + self.frames.atoms)
                with foreign(self.path, f"frame {row} is no valid XYZ"):
                    found.append(np.array([line.split()[1:4] for line in lines], np.float64))
        return np.stack(found) * self.unit


def open_xyz(path: Path, given: Given) -> Source:
    """Open an XYZ file, and what CP2K wrote beside it."""
    source = open_extxyz(path, given)
    if not (others := _others(path)):
        return source
    frames = find_frames(path)
    beside: dict[str, _Beside] = {}
    notes: list[str] = []
    for what, other in others.items():
        try:
            found = find_frames(other)
            beside[what] = _Beside(other, found, _rows(frames, found), BESIDE[what][1])
        except InputError as error:
            notes.append(f"{path.name}: no {what} are taken from {other.name}: {error}")
        else:
            notes.append(f"{path.name}: {what} are those of {other.name}, taken as atomic units")

    def blocks(rows: Integers) -> Iterator[Block]:
        parts = batches(rows, frames.atoms)
        for part, block in zip(parts, source.blocks(rows), strict=True):
            yield replace(block, **{what: each.read(part) for what, each in beside.items()})

    return replace(source, blocks=blocks, notes=(*source.notes, *notes))


def _others(path: Path) -> dict[str, Path]:
    """The files that lie beside one of positions, by what they hold."""
    if (name := NAME.fullmatch(path.name)) is None:
        return {}
    named = {what: f"{name[1]}-{short}-{name[2]}" for what, (short, _) in BESIDE.items()}
    found = {what: path.with_name(stem + path.suffix) for what, stem in named.items()}
    return {what: other for what, other in found.items() if other.is_file()}


def _rows(positions: Frames, other: Frames) -> Integers:
    """The frame of another file for each of the positions, by their steps."""
    if other.atoms != positions.atoms:
        raise InputError(f"it holds {other.atoms} atoms, the positions {positions.atoms}")
    if other.comments == positions.comments:
        return np.arange(len(other.comments))
    steps, there = (
        [int(found[1]) if (found := STEP.search(each)) else -1 for each in frames.comments]
        for frames in (positions, other)
    )
    known = {step: row for row, step in enumerate(there) if step >= 0}
    if missing := [row for row, step in enumerate(steps) if step not in known]:
        raise InputError(f"it has no step i = {steps[missing[0]]} (frame {missing[0]})")
    return np.array([known[step] for step in steps])
