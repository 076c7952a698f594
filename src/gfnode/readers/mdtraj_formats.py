"""Formats that go through mdtraj: HDF5, PDB, topologies, and writing XTC, TRR and DCD.

mdtraj works in nm and ps. PDB holds no times; XTC, TRR, DCD and PDB are written without velocities.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers._boundary import ends_with_line, femtoseconds, foreign, frame_times
from gfnode.trajectory import Integers, Topology, Trajectory
from gfnode.units import FS_PER

ANGSTROM_PER_NM = 10.0
SPEED = ANGSTROM_PER_NM / FS_PER["ps"]
"""Å/fs in one nm/ps."""

TIMELESS = (".dcd", ".pdb")


def read_topology(path: Path) -> tuple[Integers, Topology]:
    """Read atomic numbers, names and bonds from any file that mdtraj takes a topology from."""
    import mdtraj

    if path.suffix.lower() == ".h5":
        _need_tables(path)
    with foreign(path, "no topology can be read from it"):
        return from_mdtraj(path, mdtraj.load_topology(str(path)))


def from_mdtraj(path: Path, topology: Any) -> tuple[Integers, Topology]:
    """Convert an mdtraj topology; standard bonds are added where the file names none."""
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


def read_pdb(path: Path, step: float | None, top: Path | None) -> Trajectory:
    """Read all models of a PDB file as frames."""
    import mdtraj

    _check_models(path)
    with foreign(path, "not a valid PDB file"):
        frames = mdtraj.load_pdb(str(path))
    numbers, topology = from_mdtraj(path, frames.topology)
    cell = frames.unitcell_vectors
    return Trajectory(
        frames.xyz * ANGSTROM_PER_NM,
        frame_times(path, len(frames), step),
        numbers,
        cell=None if cell is None else cell * ANGSTROM_PER_NM,
        topology=topology,
        time_step=step,
        source=str(path),
    )


def _check_models(path: Path) -> None:
    """Every model must end, and the last line too; mdtraj would take what is there."""
    with foreign(path, "not a text file"):
        lines = path.read_text(encoding="utf-8").splitlines()
    begun = sum(line.startswith("MODEL ") for line in lines)
    ended = sum(line.startswith("ENDMDL") for line in lines)
    if begun != ended:
        raise InputError(f"{path}: {begun} models begin and {ended} end; the file was cut off")
    if lines[-1].startswith(("ATOM", "HETATM")):
        ends_with_line(path)


def read_hdf5(path: Path, step: float | None, top: Path | None) -> Trajectory:
    """Read mdtraj's HDF5 with its times, cell and, where stored, velocities."""
    _need_tables(path)
    from mdtraj.formats import HDF5TrajectoryFile

    with foreign(path, "not an mdtraj HDF5 file, or damaged"):
        with HDF5TrajectoryFile(str(path)) as file:
            numbers, topology = from_mdtraj(path, file.topology)
            data = file.read()
        if not len(data):
            raise InputError(f"{path}: holds no frames")
        cell = None
        if data.cell_lengths is not None:
            cell = box_vectors(data.cell_lengths * ANGSTROM_PER_NM, data.cell_angles)
    if (atoms := data.coordinates.shape[1]) != len(numbers):
        raise InputError(f"{path}: has {atoms} atoms, its topology names {len(numbers)}")
    stored = None if data.time is None else femtoseconds(data.time)
    return Trajectory(
        data.coordinates * ANGSTROM_PER_NM,
        frame_times(path, len(data.coordinates), step, stored),
        numbers,
        velocities=None if data.velocities is None else data.velocities * SPEED,
        cell=cell,
        topology=topology,
        time_step=step,
        source=str(path),
    )


def write(trajectory: Trajectory, path: Path, precision: float | None) -> None:
    """Write XTC, TRR, DCD or PDB as the suffix says."""
    _to_mdtraj(trajectory, path).save(str(path))


def write_hdf5(trajectory: Trajectory, path: Path, precision: float | None) -> None:
    """Write mdtraj's HDF5, with velocities where known."""
    _need_tables(path)
    from mdtraj.formats import HDF5TrajectoryFile

    frames = _to_mdtraj(trajectory, path)
    with HDF5TrajectoryFile(str(path), "w") as file:
        file.write(
            coordinates=frames.xyz,
            time=frames.time,
            cell_lengths=frames.unitcell_lengths,
            cell_angles=frames.unitcell_angles,
            velocities=None if trajectory.velocities is None else trajectory.velocities / SPEED,
        )
        file.topology = frames.topology


def _to_mdtraj(trajectory: Trajectory, path: Path) -> Any:
    import mdtraj

    times = (trajectory.times / FS_PER["ps"]).astype(np.float32)
    if path.suffix not in TIMELESS and (np.diff(times) <= 0).any():
        raise InputError(
            f"{path.suffix} holds times as float32 ps, too coarse to tell these frames apart; save "
            "as .npz"
        )
    frames = mdtraj.Trajectory(
        trajectory.positions / ANGSTROM_PER_NM, _mdtraj_topology(trajectory), time=times
    )
    if trajectory.cell is not None:
        if not np.linalg.det(trajectory.cell).all():
            raise InputError(f"{path.suffix} cannot hold a cell that is periodic in part; use .npz")
        frames.unitcell_vectors = trajectory.cell / ANGSTROM_PER_NM
    return frames


def _mdtraj_topology(trajectory: Trajectory) -> Any:
    import mdtraj

    names = trajectory.topology or Topology(
        tuple(f"{symbol}{i + 1}"[:4] for i, symbol in enumerate(trajectory.symbols)),
        ("MOL",) * trajectory.n_atoms,
        (1,) * trajectory.n_atoms,
        np.empty((0, 2), dtype=np.int64),
    )
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


def _need_tables(path: Path) -> None:
    if find_spec("tables") is None:
        raise InputError(f"{path}: HDF5 files need PyTables: pip install tables")
