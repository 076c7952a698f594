"""Topologies and cells in mdtraj's terms: nm, ps, lengths and angles."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers._boundary import foreign
from gfnode.trajectory import Integers, Topology, Trajectory
from gfnode.units import FS_PER

ANGSTROM_PER_NM = 10.0
SPEED = ANGSTROM_PER_NM / FS_PER["ps"]
"""Å/fs in one nm/ps."""


def read_topology(path: Path) -> tuple[Integers, Topology]:
    """Read atomic numbers, names and bonds from any file that mdtraj takes a topology from."""
    import mdtraj

    if path.suffix.lower() == ".h5":
        need_tables(path)
    with foreign(path, "no topology can be read from it"):
        return from_mdtraj(path, mdtraj.load_topology(str(path)))


def from_mdtraj(path: Path | str, topology: Any) -> tuple[Integers, Topology]:
    """Convert an mdtraj topology; standard bonds are added where the file names none.

    ``path`` is what errors name.
    """
    atoms = list(topology.atoms)
    for atom in atoms:
        if atom.element is None or atom.element.atomic_number < 1:
            raise InputError(
                f"{path}: atom {atom.index} ({atom}) has no known element: fill in its element (in "
                "PDB columns 77-78), or leave virtual sites out of topology and trajectory"
            )
    if topology.n_bonds == 0:
        topology = topology.copy()
        topology.create_standard_bonds()
    bonds = {tuple(sorted((a.index, b.index))) for a, b in topology.bonds}
    return np.array([atom.element.atomic_number for atom in atoms], dtype=np.int64), Topology(
        tuple(atom.name for atom in atoms),
        tuple(atom.residue.name for atom in atoms),
        tuple(atom.residue.resSeq for atom in atoms),
        np.array(sorted(bonds), dtype=np.int64).reshape(-1, 2),
    )


def named(trajectory: Trajectory) -> Topology:
    """Give the topology, or one made up: atoms named after their elements in a residue MOL."""
    return trajectory.topology or Topology(
        tuple(f"{symbol}{i + 1}"[:4] for i, symbol in enumerate(trajectory.symbols)),
        ("MOL",) * trajectory.n_atoms,
        (1,) * trajectory.n_atoms,
        np.empty((0, 2), dtype=np.int64),
    )


def to_mdtraj(trajectory: Trajectory) -> Any:
    """Convert names and bonds, made up where there are none (see :func:`named`)."""
    import mdtraj

    names = named(trajectory)
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    residue, before = None, None
    for i, number in enumerate(trajectory.numbers):
        belongs = (names.residue_names[i], names.residue_ids[i])
        if residue is None or belongs != before:
            residue, before = topology.add_residue(belongs[0], chain, resSeq=belongs[1]), belongs
        element = mdtraj.core.element.Element.getByAtomicNumber(int(number))
        topology.add_atom(names.names[i], element, residue)
    for a, b in names.bonds:
        topology.add_bond(topology.atom(int(a)), topology.atom(int(b)))
    return topology


def box_vectors(lengths: NDArray[Any], angles: NDArray[Any]) -> NDArray[Any]:
    """Cell vectors as rows ``(frame, 3, 3)`` from lengths and angles in degrees."""
    from mdtraj.utils.unitcell import lengths_and_angles_to_box_vectors

    rows = lengths_and_angles_to_box_vectors(*lengths.T, *angles.T)
    return np.stack(rows, axis=1, dtype=np.float32)


def need_tables(path: Path) -> None:
    """Refuse HDF5 where PyTables is not installed."""
    if find_spec("tables") is None:
        raise InputError(f"{path}: HDF5 files need PyTables: pip install tables")
