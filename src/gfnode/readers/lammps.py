"""LAMMPS text dumps (``dump custom`` and ``dump atom``).

Atoms come in any order, which may change from frame to frame, and are sorted by their id. What a
number is worth depends on the units of the simulation, which a file names after ``dump_modify ID
units yes``; real and metal share the Å and differ by 1000 in velocities. Velocities of ``electron``
are bohr/fs: so the program moves atoms (update.cpp: 1 u (bohr/fs)² is 1.06657236 hartree), though
its manual names another unit.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers import lammps_frames
from gfnode.readers.boundary import foreign, frame_times
from gfnode.readers.by_mass import elements_by_mass
from gfnode.readers.lammps_frames import Index, numbers_of, rows_of
from gfnode.readers.quantities import FORCES, LENGTHS, SPEEDS
from gfnode.readers.source import Block, Given, Source, batches
from gfnode.readers.topology import Top, read_topology, same_atoms
from gfnode.trajectory import Doubles, Integers
from gfnode.units import FS_PER, format_time


@dataclass(frozen=True)
class Units:
    """What numbers of a file are worth in Å, fs and u; None: it does not say."""

    length: float
    time: float | None = None
    speed: float | None = None
    force: float | None = None


UNITS: Mapping[str, Units] = {
    "": Units(1.0),
    "real": Units(1.0, 1.0, SPEEDS["angstrom/fs"], FORCES["kcal/mol/angstrom"]),
    "metal": Units(1.0, FS_PER["ps"], SPEEDS["angstrom/ps"], FORCES["ev/angstrom"]),
    "electron": Units(LENGTHS["bohr"], 1.0, SPEEDS["bohr/fs"], FORCES["hartree/bohr"]),
}
"""By the name that LAMMPS has for them; all have masses in u."""

POSITIONS = (
    ("xu yu zu", False, False),
    ("xsu ysu zsu", True, False),
    ("x y z ix iy iz", False, True),
    ("xs ys zs ix iy iz", True, True),
    ("x y z", False, False),
    ("xs ys zs", True, False),
)
"""Columns of positions, the best ones first: whether they are shares of the box, and whether the
box that each atom is in is told."""

VELOCITIES, FORCE = ("vx", "vy", "vz"), ("fx", "fy", "fz")

READ = {"id", "type", "element", "mass", *VELOCITIES, *FORCE} | {
    word for words, *_ in POSITIONS for word in words.split()
}

SAY_UNITS = "in LAMMPS, dump_modify ID units yes time yes"
SAY_ELEMENTS = (
    "give the topology with --top (PDB, or a data file of LAMMPS), or have LAMMPS write a column "
    "element, and say what they are with dump_modify ID element C H …"
)


def open_dump(path: Path, given: Given) -> Source:
    """Open positions, elements and, where the file says what they are, times, velocities, forces.

    Elements are those of a topology where one is given.
    """
    found = lammps_frames.index(path)
    if not len(found):
        raise InputError(f"{path}: holds no frames")
    units = UNITS.get(found.units)
    if units is None:
        raise InputError(
            f"{path}: its units are {found.units[:40]!r}, expected "
            f"{', '.join(filter(None, UNITS))}: convert it to one of these, or use another format"
        )
    top = None if given.top is None else read_topology(given.top)
    atoms = _Atoms(path, found, units, top)
    stored, restarted = (None, ()) if given.step is not None else _times(path, found, units)
    times = frame_times(path, len(found), given.step, stored, proposal=_proposal(found))
    held = [*zip((VELOCITIES, FORCE), ("velocities", "forces"), strict=True)]
    unsaid = [what for key, what in held if not found.units and set(key) <= set(found.columns)]
    notes = atoms.notes + restarted
    if unsaid:
        notes += (
            f"{path.name}: {' and '.join(unsaid)} are left out: the file does not give their "
            f"units; {SAY_UNITS}",
        )
    if given.step is not None and len(found.spacings) > 1:
        notes += (
            f"{path.name}: its frames are {found.spacings[0]} to {found.spacings[-1]} steps "
            f"apart, but were all taken to be {format_time(given.step)} apart",
        )
    return Source(
        atoms.numbers,
        times,
        atoms.blocks,
        time_step=given.step,
        notes=notes,
        masses=atoms.masses,
        unread=tuple(
            key for key in found.columns if key not in READ and not key.startswith("proc")
        ),
        states_unit=bool(found.units),
        topology=None if top is None else top.topology,
        placed=None if top is None else top.placed,
    )


def _times(path: Path, found: Index, units: Units) -> tuple[Doubles | None, tuple[str, ...]]:
    """Times in fs, where the file has them, and what is to be said of them; steps are none."""
    if not found.times or (units.time is None and len(found) == 1):
        return None, ()
    if units.time is None:
        raise InputError(
            f"{path}: does not give the unit of its times: give --step, the time between frames, "
            f"{_proposal(found)}"
        )
    if len(found.times) != len(found):
        raise InputError(
            f"{path}: {len(found) - len(found.times)} of {len(found)} frames have no ITEM: TIME: "
            "give --step, the time between frames, instead"
        )
    times, notes = _over_restarts(path, np.array(found.times), np.array(found.steps))
    return times if units.time == 1 else np.round(times * units.time, 6), notes


def _over_restarts(path: Path, times: Doubles, steps: Integers) -> tuple[Doubles, tuple[str, ...]]:
    """Times ``(frame,)`` that go on where a restart began them, but not the steps, from zero.

    LAMMPS of 2021 and before keeps the step in a restart file, but not the time. Only where all
    other frames show one and the same time step can times be those of the steps.
    """
    apart, ahead = np.diff(times), np.diff(steps)
    again = np.flatnonzero(apart <= 0)
    going = (apart > 0) & (ahead > 0)
    if not len(again) or not going.any():
        return times, ()
    each = apart[going] / ahead[going]
    step = float(np.median(each))
    slipped = ~np.isclose(apart[again], ahead[again] * step, rtol=1e-3, atol=0)
    if not slipped.any() or not np.allclose(each, step, rtol=1e-3, atol=0):
        return times, ()
    first = int(again[slipped][0]) + 1
    return np.round(times[0] + (steps - steps[0]) * step, 9), (
        f"{path.name}: ITEM: TIME goes back to {times[first]:g} at frame {first}, step "
        f"{steps[first]}, as after a restart: times are computed from the steps, with the time "
        "step of the other frames",
    )


def _proposal(found: Index) -> str:
    """How to find the time between frames."""
    apart = found.spacings
    if len(apart) == 1:
        said = f"{apart[0]} times the time step of the simulation, e.g. --step 2fs"
    else:
        said = f"but its frames are {apart[0]} to {apart[-1]} steps apart" if apart else ""
    return f"{said}; {SAY_UNITS} writes times"


class _Atoms:
    """The atoms of a file, and the way to its frames."""

    def __init__(self, path: Path, found: Index, units: Units, top: Top | None) -> None:
        self.path, self.found, self.units, self.top = path, found, units, top
        held = found.columns
        usable = [each for each in POSITIONS if set(each[0].split()) <= set(held)]
        if not usable or len(set(held)) != len(held):
            raise InputError(
                f"{path}: expected columns x y z (or xu yu zu, xs ys zs, xsu ysu zsu) in ITEM: "
                f"ATOMS, each once, got {' '.join(held)[:80] or 'none'}"
            )
        words, self.scaled, self.imaged = usable[0]
        self.positions = words.split()
        self.vectors = [
            (key, factor)
            for key, factor in ((VELOCITIES, units.speed), (FORCE, units.force))
            if factor is not None and set(key) <= set(held)
        ]
        with path.open("rb") as file:
            columns = rows_of(path, file, found, 0)
        order, self.ids = self._sorted(columns, 0)
        self.symbols = self._column(columns, order, "element")
        self.notes: tuple[str, ...] = ()
        if top is not None:
            same_atoms(path, found.atoms, top)
            self.notes = top.notes
        self.masses = None if top is None else top.masses
        if "mass" in held:
            with foreign(path, "a mass of frame 0 is not a number"):
                self.masses = numbers_of([columns[held.index("mass")]], order)[:, 0]
        self.numbers = self._elements(columns, order)
        if "id" not in held:
            self.notes += (
                f"{path.name} has no column id: its atoms are read in file order, which LAMMPS "
                "changes from frame to frame without dump_modify ID sort id",
            )

    def _column(
        self, columns: list[tuple[bytes, ...]], order: Integers, key: str
    ) -> list[bytes] | None:
        if key not in self.found.columns:
            return None
        column = columns[self.found.columns.index(key)]
        return [column[atom] for atom in order.tolist()]

    def _sorted(
        self, columns: list[tuple[bytes, ...]], frame: int
    ) -> tuple[Integers, list[int] | None]:
        """The order of the atoms of a frame by id, and these ids, no two the same."""
        if "id" not in self.found.columns:
            return np.arange(self.found.atoms), None
        with foreign(self.path, f"an id of frame {frame} is not a number"):
            words = np.array([int(word) for word in columns[self.found.columns.index("id")]])
            order = np.argsort(words, kind="stable").astype(np.int64)
            now = words[order].tolist()
        if (np.diff(now) == 0).any():
            raise InputError(f"{self.path}: frame {frame} has an id more than once")
        return order, now

    def _elements(self, columns: list[tuple[bytes, ...]], order: Integers) -> Integers:
        """Atomic numbers: of the topology, with which the column must agree, or by the column."""
        from ase.data import atomic_numbers

        path = self.path
        if self.symbols is None:
            if self.top is not None:
                return self.top.numbers
            if self.masses is not None:
                numbers, note = elements_by_mass(path, self.masses, SAY_ELEMENTS)
                self.notes += (note,)
                return numbers
            raise InputError(f"{path}: gives no elements for its atoms: {SAY_ELEMENTS}")
        symbols = [word.decode("latin-1") for word in self.symbols]
        kinds = set(self._column(columns, order, "type") or [])
        default = len(kinds) > 1 and set(symbols) == {"C"}  # where LAMMPS was told none
        found = np.array([atomic_numbers.get(symbol, 0) for symbol in symbols], dtype=np.int64)
        if self.top is not None:
            other = (found != self.top.numbers) & (found > 0)
            if other.any() and not default:
                atom = int(np.argmax(other))
                raise InputError(
                    f"{path}: atom {atom} is {symbols[atom]} in its column element, but another "
                    f"element in {self.top.path}: give the topology of these atoms, in the order "
                    "of their ids"
                )
            return self.top.numbers
        if not found.all():
            atom = int(np.argmin(found))
            raise InputError(
                f"{path}: the element of atom {atom} is {symbols[atom][:20]!r}, expected a symbol "
                f"such as C or Cl: {SAY_ELEMENTS}"
            )
        if default:
            self.notes += (
                f"{path.name}: atoms of {len(kinds)} types are all C, which LAMMPS writes by "
                f"default: unless they are carbon, {SAY_ELEMENTS}",
            )
        return found

    def blocks(self, rows: Integers) -> Iterator[Block]:
        """Frames by their numbers."""
        periodic = np.array(self.found.periodic).any()
        with self.path.open("rb") as file:
            for part in batches(rows, self.found.atoms):
                frames = [self._frame(file, frame) for frame in part.tolist()]
                arrays = [np.stack(each) for each in zip(*frames, strict=True)]
                keys = [key for key, _ in self.vectors]
                vectors = dict(zip(keys, arrays[2:], strict=True))
                yield Block(
                    arrays[0],
                    vectors.get(VELOCITIES),
                    arrays[1] if periodic else None,
                    vectors.get(FORCE),
                )

    def _frame(self, file: Any, frame: int) -> list[NDArray[Any]]:
        """Positions, cell, and velocities and forces where they are read."""
        found, held = self.found, self.found.columns
        columns = rows_of(self.path, file, found, frame)
        order, ids = self._sorted(columns, frame)
        if ids != self.ids:
            raise InputError(
                f"{self.path}: frame {frame} has other atom ids than the first one; all frames "
                "must hold the same atoms: dump a group whose atoms do not change"
            )
        if self._column(columns, order, "element") != self.symbols:
            raise InputError(
                f"{self.path}: frame {frame} has different elements from the first one; all "
                "frames must hold the same atoms"
            )
        keys = [*self.positions, *(word for key, _ in self.vectors for word in key)]
        with foreign(self.path, f"frame {frame} is damaged"):
            values = numbers_of([columns[held.index(key)] for key in keys], order)
        origin, vectors = found.boxes[frame][0], found.boxes[frame][1:]
        x = values[:, :3]
        if self.scaled:
            x = origin + x @ vectors
        if self.imaged:
            x = x + values[:, 3:6] @ vectors
        cell = vectors * np.array(found.periodic[frame])[:, None]
        first = len(self.positions)
        others = [
            values[:, first + 3 * i : first + 3 * i + 3] * factor
            for i, (_, factor) in enumerate(self.vectors)
        ]
        return [x * self.units.length, cell * self.units.length, *others]
