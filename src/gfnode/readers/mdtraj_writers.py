"""Writing through mdtraj: XTC, TRR, DCD, PDB and HDF5.

mdtraj works in nm and ps. DCD and PDB hold no times; only HDF5 and TRR are written with velocities,
and TRR with forces.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gfnode.readers import dcd, gromacs
from gfnode.readers.boundary import check_written, picoseconds, telling_of_room
from gfnode.readers.cells import ANGSTROM_PER_NM, FORCE, SPEED, check_cell
from gfnode.readers.hdf5 import count_hdf5
from gfnode.trajectory import Floats, Trajectory
from gfnode.trajectory.mdtraj import to_mdtraj
from gfnode.units import FS_PER

TIMELESS = (".dcd", ".pdb")

COUNTERS = {
    ".xtc": gromacs.count_xtc,
    ".trr": gromacs.count_trr,
    ".dcd": dcd.count,
    ".h5": count_hdf5,
}
"""How many whole frames a file holds."""


@contextmanager
def writing(path: Path, frames: int) -> Iterator[Callable[[Trajectory], None]]:
    """Give what writes XTC, TRR, DCD, PDB or HDF5 as the suffix says."""
    write_frames = WRITERS[path.suffix]
    written, last = 0, -np.inf

    def write_piece(piece: Trajectory) -> None:
        nonlocal written, last
        converted = _to_mdtraj(piece, path, last)
        with telling_of_room(path):
            write_frames(file, converted, piece, None if frames == 1 else written)
        written, last = written + len(piece), converted.time[-1]

    with ExitStack() as stack:
        with telling_of_room(path):
            file = stack.enter_context(_opened(path))
        yield write_piece
        with telling_of_room(path):
            stack.close()
    if path.suffix in COUNTERS:
        check_written(path, COUNTERS[path.suffix], frames)


def _opened(path: Path) -> Any:
    if path.suffix == ".trr":
        return path.open("wb")
    from mdtraj import formats

    kinds = {
        ".xtc": formats.XTCTrajectoryFile,
        ".dcd": formats.DCDTrajectoryFile,
        ".h5": formats.HDF5TrajectoryFile,
        ".pdb": formats.PDBTrajectoryFile,
    }
    return kinds[path.suffix](str(path), "w")


def _write_xtc(file: Any, frames: Any, piece: Trajectory, first: int | None) -> None:
    steps = np.arange(len(piece), dtype=np.int32) + (first or 0)
    file.write(frames.xyz, time=frames.time, step=steps, box=frames.unitcell_vectors)


def _write_trr(file: Any, frames: Any, piece: Trajectory, first: int | None) -> None:
    velocities = None if piece.velocities is None else piece.velocities / SPEED
    forces = None if piece.forces is None else piece.forces / FORCE
    box = frames.unitcell_vectors
    file.write(
        gromacs.trr_bytes(frames.xyz, frames.time, box, velocities, forces, first=first or 0)
    )


def _write_dcd(file: Any, frames: Any, piece: Trajectory, first: int | None) -> None:
    lengths = frames.unitcell_lengths
    file.write(
        piece.positions,
        cell_lengths=None if lengths is None else lengths * ANGSTROM_PER_NM,
        cell_angles=frames.unitcell_angles,
    )


def _write_hdf5(file: Any, frames: Any, piece: Trajectory, first: int | None) -> None:
    file.write(
        coordinates=frames.xyz,
        time=frames.time,
        cell_lengths=frames.unitcell_lengths,
        cell_angles=frames.unitcell_angles,
        velocities=None if piece.velocities is None else piece.velocities / SPEED,
    )
    if not first:
        file.topology = frames.topology


def _write_pdb(file: Any, frames: Any, piece: Trajectory, first: int | None) -> None:
    lengths = frames.unitcell_lengths
    if not first and _traced(piece, file._standardResidues):
        file._standardResidues = ()  # all bonds are listed
    for i, positions in enumerate(piece.positions):
        file.write(
            positions,
            frames.topology,
            modelIndex=None if first is None else first + i,
            unitcell_lengths=None if lengths is None else lengths[i] * ANGSTROM_PER_NM,
            unitcell_angles=None if lengths is None else frames.unitcell_angles[i],
            bfactors=None if piece.deviations is None else _b_factors(piece.deviations[i]),
        )


def _traced(piece: Trajectory, standard: Collection[str]) -> bool:
    """Whether mdtraj would neither list some bonds, being of standard residues, nor read them back.

    Such are the bonds along a Cα trace: only those of whole residues are known.
    """
    names = piece.topology
    if names is None:
        return False
    bare = to_mdtraj(piece.numbers, replace(names, bonds=names.bonds[:0]))
    bare.create_standard_bonds()
    known = {tuple(sorted((a.index, b.index))) for a, b in bare.bonds}
    return any(
        {names.residue_names[atom] for atom in pair} <= {*standard}
        and {names.names[atom] for atom in pair} != {"SG"}  # listed by mdtraj
        for pair in names.bonds.tolist()
        if tuple(sorted(pair)) not in known
    )


def _b_factors(deviations: Floats) -> list[float]:
    """B = 8π² σ² in Å²; the columns hold up to 99.99."""
    found: list[float] = np.minimum(8 * np.pi**2 * np.square(deviations), 99.99).tolist()
    return found


WRITERS = {
    ".xtc": _write_xtc,
    ".trr": _write_trr,
    ".dcd": _write_dcd,
    ".h5": _write_hdf5,
    ".pdb": _write_pdb,
}
"""``write(file, frames, piece, first)``; ``first``: number of its first frame, None if alone."""


def _to_mdtraj(trajectory: Trajectory, path: Path, last: float) -> Any:
    """Frames as mdtraj has them; ``last``: time in ps of the frame before them."""
    import mdtraj

    if path.suffix in TIMELESS:
        times = (trajectory.times / FS_PER["ps"]).astype(np.float32)
    else:
        times = picoseconds(trajectory.times, path.suffix, last)
    check_cell(trajectory, path.suffix)
    frames = mdtraj.Trajectory(
        trajectory.positions / ANGSTROM_PER_NM,
        to_mdtraj(trajectory.numbers, trajectory.topology),
        time=times,
    )
    if trajectory.cell is not None:
        frames.unitcell_vectors = trajectory.cell / ANGSTROM_PER_NM
    return frames
