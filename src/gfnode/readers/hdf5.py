"""mdtraj's HDF5, read in slices by a process of its own: libhdf5 trusts the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gfnode.errors import InputError
from gfnode.readers.archive import DENSEST
from gfnode.readers.boundary import femtoseconds, frame_times
from gfnode.readers.cells import ANGSTROM_PER_NM, SPEED, box_vectors
from gfnode.readers.isolation import Arrays, isolated
from gfnode.readers.source import Block, Given, Source, batches
from gfnode.trajectory import Integers, Topology
from gfnode.trajectory.mdtraj import from_mdtraj

DAMAGED = "not an mdtraj HDF5 file, or damaged"

UNITS = {
    "coordinates": "nanometers",
    "velocities": "nanometers/picosecond",
    "time": "picoseconds",
    "cell_lengths": "nanometers",
    "cell_angles": "degrees",
}
"""The arrays that are read, in mdtraj's units."""


def open_hdf5(path: Path, given: Given) -> Source:
    """Open times, cell and, where stored, velocities."""
    numbers, topology = topology_of(path)
    (head,) = isolated(path, DAMAGED, lambda: _head(path))
    if head["shape"].shape != (3,):
        raise InputError(f"{path}: {DAMAGED}: its coordinates have shape {head['shape'].tolist()}")
    frames, atoms, fields = head["shape"].tolist()
    if not frames:
        raise InputError(f"{path}: holds no frames")
    if 4 * frames * atoms * fields > DENSEST * path.stat().st_size:  # before memory is asked for
        raise InputError(
            f"{path}: {DAMAGED}: it declares {frames} frames but is too small for them"
        )
    if (atoms, fields) != (len(numbers), 3):
        raise InputError(f"{path}: has {atoms} atoms, but its topology has {len(numbers)}")
    for key in {"cell_lengths", "cell_angles"} & head.keys():
        if head[key].shape != (frames, 3):
            raise InputError(
                f"{path}: {key} has shape {head[key].shape}, expected {(frames, 3)} (frame, 3)"
            )
    cell = None
    if ("cell_lengths" in head) != ("cell_angles" in head):
        raise InputError(f"{path}: {DAMAGED}: it holds cell lengths or angles, but not both")
    if "cell_lengths" in head:
        cell = box_vectors(head["cell_lengths"] * ANGSTROM_PER_NM, head["cell_angles"])
    stored = femtoseconds(head["time"]) if "time" in head else None

    def blocks(rows: Integers) -> Iterator[Block]:
        done = 0
        for arrays in isolated(path, DAMAGED, lambda: _slices(path, rows, len(numbers))):
            part = rows[done : done + len(arrays["coordinates"])]
            done += len(part)
            yield Block(
                arrays["coordinates"] * ANGSTROM_PER_NM,
                arrays["velocities"] * SPEED if "velocities" in arrays else None,
                None if cell is None else cell[part],
            )

    return Source(
        numbers,
        frame_times(path, int(frames), given.step, stored),
        blocks,
        topology=topology,
        time_step=given.step,
    )


def need_tables(path: Path) -> None:
    """Load PyTables, lest every child that is forked loads it; refuse HDF5 where there is none."""
    if find_spec("tables") is None:
        raise InputError(f"{path}: HDF5 files need PyTables: pip install tables")
    for library in ("tables", "mdtraj.formats"):
        import_module(library)


def topology_of(path: Path) -> tuple[Integers, Topology]:
    """Read atomic numbers, names and bonds of an HDF5 file."""
    need_tables(path)
    (found,) = isolated(path, DAMAGED, lambda: _topology(path))
    return found["numbers"], Topology.from_arrays(found)


def count_hdf5(path: Path) -> int:
    """Count the frames, which are read."""
    numbers, _ = topology_of(path)
    (head,) = isolated(path, DAMAGED, lambda: _head(path))
    rows = np.arange(head["shape"][0])
    found = isolated(path, DAMAGED, lambda: _slices(path, rows, len(numbers)))
    return sum(len(arrays["coordinates"]) for arrays in found)


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a file of which nothing is unpickled: that would execute code of the file."""
    import tables.atom
    import tables.attributeset
    from mdtraj.formats import HDF5TrajectoryFile

    modules = tables.atom, tables.attributeset
    before = [module.pickle for module in modules]
    try:
        for module in modules:
            module.pickle = _Refused(path)
        with HDF5TrajectoryFile(str(path)) as file:
            yield file
    finally:
        for module, pickle in zip(modules, before, strict=True):
            module.pickle = pickle


@dataclass(frozen=True)
class _Refused:
    """Takes the place of the module ``pickle``."""

    path: Path

    def loads(self, *_: Any, **__: Any) -> Any:
        raise InputError(
            f"{self.path}: holds pickled Python objects, which could run code, so it is not read"
        )


def _topology(path: Path) -> Iterator[Arrays]:
    with _open(path) as file:
        if file.topology is None:
            raise InputError(f"{path}: holds no topology")
        numbers, topology = from_mdtraj(file.topology)
    yield {"numbers": numbers, **topology.to_arrays()}


def _head(path: Path) -> Iterator[Arrays]:
    with _open(path) as file:
        found = {"shape": np.array(file.root.coordinates.shape)}
        for key in ("time", "cell_lengths", "cell_angles"):
            if key in file.root:
                found[key] = _values(file, key, slice(None))
    yield found


def _slices(path: Path, rows: Integers, n_atoms: int) -> Iterator[Arrays]:
    with _open(path) as file:
        keys = [key for key in ("coordinates", "velocities") if key in file.root]
        for part in batches(rows, n_atoms):
            stride = int(part[1] - part[0]) if len(part) > 1 else 1
            even = (np.diff(part) == stride).all()
            chosen = slice(int(part[0]), int(part[-1]) + 1, stride) if even else part.tolist()
            yield {key: _values(file, key, chosen) for key in keys}


def _values(file: Any, key: str, chosen: Any) -> Any:
    from mdtraj.utils import in_units_of

    node = file.root[key]
    values, unit = node[chosen], getattr(node.attrs, "units", UNITS[key])
    return in_units_of(values, unit.decode() if isinstance(unit, bytes) else str(unit), UNITS[key])
