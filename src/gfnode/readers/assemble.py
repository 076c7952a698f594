"""From an opened file to a trajectory: atoms and frames chosen, molecules whole, memory bounded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.memory import room
from gfnode.readers.fitting import check_fit
from gfnode.readers.source import Block, Source
from gfnode.readers.topology import check_elements
from gfnode.thinning import among, evenly
from gfnode.trajectory import Integers, Trajectory, check_finite, check_times
from gfnode.trajectory.checks import step_of
from gfnode.trajectory.formula import describe_masses, unusual
from gfnode.trajectory.selection import Selection, choose, solvent
from gfnode.units import count

if TYPE_CHECKING:
    from gfnode.molecule.periodic import Unwrapper


LARGEST = {
    "positions": (1e6, "Å"),
    "velocities": (2998.0, "Å/fs"),
    "forces": (1e3, "u Å/fs²"),
    "cell": (1e6, "Å"),
    "deviations": (1e6, "Å"),
}
"""Values that are taken: up to 0.1 mm, the speed of light, and some 10⁶ kcal/mol/Å."""


@dataclass(frozen=True)
class Choice:
    """Which atoms and frames are kept, and how; see :func:`gfnode.readers.load`."""

    select: Selection | None = None
    stride: int = 1
    whole: bool | None = None
    memory: float | str | None = None

    def __post_init__(self) -> None:
        stride = self.stride
        if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
            raise InputError(f"the stride is {stride}, expected a whole number from 1")


def assemble(path: Path, source: Source, choice: Choice, name: str | None) -> Trajectory:
    """Read what is chosen, block by block."""
    where = f"{path}: "
    _check(source, where)
    atoms, notes = _atoms(path, source, choice.select)
    if source.topology is not None:
        check_elements(path, source.numbers, source.topology, atoms)
    rows = np.arange(len(source.times)) if source.order is None else source.order
    rows, times = rows[:: choice.stride], source.times[:: choice.stride]
    notes += check_fit(path, source, int(rows[0]), atoms)
    filled = _Filling(path, source, atoms, rows, choice)
    filled.read()
    idle = filled.drop_idle_velocities()
    step, topology, numbers = source.time_step, source.topology, source.numbers[atoms]
    masses = None if source.masses is None else source.masses[atoms]
    if masses is not None and unusual(masses, numbers):
        notes.append(
            f"{path.name}: masses are not all standard: {describe_masses(masses, numbers)}"
        )
    if step is not None and choice.stride > 1:
        step = step_of(times, step)
    if topology is not None and not _everything(atoms, len(source.numbers)):
        topology = topology.select(atoms)
    return Trajectory(
        filled.arrays["positions"],
        times,
        numbers,
        velocities=filled.arrays.get("velocities"),
        forces=filled.arrays.get("forces"),
        cell=filled.arrays.get("cell"),
        deviations=filled.arrays.get("deviations"),
        atom_masses=masses,
        topology=topology,
        time_step=step,
        name=source.name if name is None else name,
        source=source.origin or str(path),
        notes=(*source.notes, *notes, *idle, *filled.notes()),
    )


def _check(source: Source, where: str) -> None:
    """What can be said of the file before its frames are read."""
    numbers = source.numbers
    if not len(source.times) or not len(numbers):
        raise InputError(
            f"{where}the trajectory is empty: {len(source.times)} frames of {len(numbers)} atoms"
        )
    if source.topology is not None:
        source.topology.check(len(numbers), where)
    check_times(source.times, where)
    check_named_masses(source, where)


def check_named_masses(source: Source, where: str) -> None:
    """Refuse masses that a file names and that are not one number an atom."""
    masses, atoms = source.masses, len(source.numbers)
    if masses is not None and (masses.shape != (atoms,) or masses.dtype.kind not in "fiu"):
        raise InputError(
            f"{where}masses are {masses.dtype} of shape {masses.shape}, expected numbers of shape "
            f"({atoms},), one per atom"
        )


def _atoms(path: Path, source: Source, select: Selection | None) -> tuple[Integers, list[str]]:
    """The atoms chosen; by default all, without the water and ions around something else."""
    everything = np.arange(len(source.numbers))
    if select is not None:
        return choose(select, source.numbers, source.topology, str(path)), []
    if source.topology is None:
        return everything, []
    around = solvent(source.numbers, source.topology)
    if not around.any() or around.all():
        return everything, []
    kept = np.flatnonzero(~around)
    return kept, [
        f"{path.name}: reading {len(kept)} of {len(around)} atoms: {around.sum()} water and ion "
        "atoms are left out; --select all keeps them"
    ]


def _everything(atoms: Integers, count: int) -> bool:
    """Whether these are all of so many atoms, in their order."""
    return len(atoms) == count and bool((np.diff(atoms) == 1).all())


def _check_values(
    arrays: Mapping[str, NDArray[Any] | None],
    where: str,
    rows: Integers,
    atoms: Integers | None = None,
) -> None:
    """Refuse arrays of some frames (and atoms) that are not finite, or beyond any simulation."""
    for key, values in arrays.items():
        if values is not None:
            check_finite(values, key, where, rows, atoms)
            _check_size(values, key, where, rows)


def _check_size(values: NDArray[Any], key: str, where: str, rows: Integers) -> None:
    """Refuse what no simulation holds; formats without checksums let flipped bits through."""
    most, unit = LARGEST[key]
    flat = values.reshape(len(values), -1)
    least = flat.min(1).astype(np.float64)  # what is unsigned has no negative
    beyond = np.maximum(-least, flat.max(1)) > most
    if beyond.any():
        frame = int(np.argmax(beyond))
        raise InputError(
            f"{where}{key} of frame {rows[frame]} reach {np.abs(values[frame]).max():.3g} {unit}, "
            f"more than {most:g}: the file is damaged, or in an unexpected unit"
        )


class _Filling:
    """Arrays that are filled block by block."""

    def __init__(
        self, path: Path, source: Source, atoms: Integers, rows: Integers, choice: Choice
    ) -> None:
        self.path, self.source, self.choice = path, source, choice
        self.atoms, self.rows = atoms, rows
        self.arrays: dict[str, NDArray[np.float32]] = {}
        self._involved = atoms[:0]  # the atoms that the unwrapper sees
        self._unwrapper: Unwrapper | None = None

    def read(self) -> None:
        """Fill the arrays."""
        places = np.argsort(self.rows)  # where each frame goes, in the order of the file
        ascending, done = self.rows[places], 0
        for block in self.source.blocks(ascending):
            now = slice(done, done + len(block.positions))
            self._put(block, now if self.source.order is None else places[now], ascending[now])
            done = now.stop
        if done != len(ascending):
            raise InputError(
                f"{self.path}: frame {ascending[done]} cannot be read: the file is damaged"
            )

    def _put(self, block: Block, places: slice | Integers, rows: Integers) -> None:
        positions, atoms = block.positions, self.atoms
        moving = {key: getattr(block, key) for key in ("velocities", "forces", "deviations")}
        where, shape = f"{self.path}: ", (len(self.source.numbers), 3)
        for key, values in ({"positions": positions} | moving).items():
            expected, axes = (shape[:1], "atom,") if key == "deviations" else (shape, "atom, 3")
            if values is not None and values.shape[1:] != expected:
                raise InputError(
                    f"{where}{key} of frame {rows[0]} have shape {values.shape[1:]}, expected "
                    f"{expected} ({axes})"
                )
        # at once: a box would bring anything into itself
        _check_values({"positions": positions, "cell": block.cell}, where, rows)
        if (unwrapper := self._unwrapper_of(block)) is not None:
            assert block.cell is not None
            positions = unwrapper(positions[:, self._involved], block.cell)
            atoms = np.searchsorted(self._involved, atoms)
        if not _everything(atoms, positions.shape[1]):
            positions = positions[:, atoms]
        if not _everything(self.atoms, len(self.source.numbers)):
            moving = {k: v if v is None else v[:, self.atoms] for k, v in moving.items()}
        _check_values(moving, where, rows, self.atoms)
        for key, values in ({"positions": positions} | moving | {"cell": block.cell}).items():
            if values is None:
                continue
            if key not in self.arrays:
                self.arrays[key] = room((len(self.rows), *values.shape[1:]), self.choice.memory)
            self.arrays[key][places] = values

    def _unwrapper_of(self, block: Block) -> "Unwrapper | None":
        """What looks after molecules, if anything does; the first block decides."""
        if self.choice.whole is False or self.source.order is not None:
            return None
        if block.cell is None or not block.cell.any():
            if self.choice.whole and self._unwrapper is None:
                raise InputError(
                    f"{self.path}: holds no periodic cell, so molecules cannot be made whole: "
                    "leave out --whole"
                )
        elif self._unwrapper is None:
            from gfnode.molecule import periodic

            bonds = _bonds(self.source, self.rows, f"{self.path}: ")
            molecules = periodic.label(bonds, len(self.source.numbers))
            involved = np.flatnonzero(np.isin(molecules, molecules[self.atoms]))
            bonds = among(bonds, involved, len(molecules))
            self._unwrapper = periodic.Unwrapper(bonds, len(involved))
            self._involved = involved
        return self._unwrapper

    def drop_idle_velocities(self) -> list[str]:
        """Leave velocities out that are all zero, though atoms move: some programs write that."""
        velocities, positions = self.arrays.get("velocities"), self.arrays["positions"]
        if velocities is None or velocities.any() or not (positions[1:] != positions[:-1]).any():
            return []
        del self.arrays["velocities"]
        return [
            f"{self.path.name}: stored velocities are left out: all are zero although the atoms "
            "move"
        ]

    def notes(self) -> list[str]:
        """What was repaired."""
        did, notes, u = [], [], self._unwrapper
        if u is not None and u.broken:
            did.append(f"cut molecules in {u.broken} of {u.frames} frames (now made whole)")
        if u is not None and u.jumps:
            did.append(f"made them jump across it {count(u.jumps, 'time')} (now undone)")
        if did:
            notes.append(
                f"{self.path.name}: the periodic box {', and '.join(did)}; --as-stored keeps them "
                "as they were"
            )
        if u is not None and u.doubt:
            notes.append(f"{self.path.name}: {u.doubt}")
        if u is not None and u.endless:
            notes.append(
                f"{self.path.name}: not molecules but, if the cell is right, an endless structure "
                f"across the periodic box (a crystal, a polymer): {u.endless} bonds across the "
                "box are not in the graph"
            )
        return notes


def _bonds(source: Source, rows: Integers, where: str) -> Integers:
    """Bonds of the topology; by distance for atoms to which it gives none, but no ions or water."""
    named = np.empty((0, 2), dtype=np.int64)
    lonely = np.ones(len(source.numbers), dtype=bool)
    if (topology := source.topology) is not None:
        named = topology.bonds.reshape(-1, 2)
        lonely = ~solvent(source.numbers, topology)
        lonely[named] = False
    if not lonely.any():
        return named
    some = rows[evenly(len(rows), 5)]
    seen: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    for block in source.blocks(some):
        now, some = some[: len(block.positions)], some[len(block.positions) :]
        if block.cell is not None:
            _check_values({"positions": block.positions, "cell": block.cell}, where, now)
            seen += zip(block.positions, block.cell, strict=True)
    from gfnode.molecule.periodic import near_bonds

    found = near_bonds(source.numbers, seen)
    return np.concatenate([named, found[lonely[found].any(1)]])
