"""Formats that go through mdtraj: HDF5, PDB, and writing XTC, TRR and DCD.

mdtraj works in nm and ps. PDB holds no times; XTC, TRR, DCD and PDB are written without velocities.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gfnode.errors import InputError
from gfnode.readers import dcd, gromacs
from gfnode.readers._boundary import ends_with_line, femtoseconds, foreign, frame_times
from gfnode.readers.topology import (
    ANGSTROM_PER_NM,
    SPEED,
    box_vectors,
    from_mdtraj,
    need_tables,
    to_mdtraj,
)
from gfnode.trajectory import Trajectory
from gfnode.units import FS_PER

TIMELESS = (".dcd", ".pdb")

COUNTERS = {".xtc": gromacs.count_xtc, ".trr": gromacs.count_trr, ".dcd": dcd.count}
"""How many whole frames a file holds."""


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
    need_tables(path)
    from mdtraj.formats import HDF5TrajectoryFile

    with foreign(path, "not an mdtraj HDF5 file, or damaged"):
        with HDF5TrajectoryFile(str(path)) as file:
            numbers, topology = from_mdtraj(path, file.topology)
            data = file.read()
        if not len(data):
            raise InputError(f"{path}: holds no frames")
        if (atoms := data.coordinates.shape[1]) != len(numbers):
            raise InputError(f"{path}: has {atoms} atoms, its topology names {len(numbers)}")
        cell = None
        if data.cell_lengths is not None:
            cell = box_vectors(data.cell_lengths * ANGSTROM_PER_NM, data.cell_angles)
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
    if path.suffix in COUNTERS:
        _check_written(path, COUNTERS[path.suffix], len(trajectory))


def write_hdf5(trajectory: Trajectory, path: Path, precision: float | None) -> None:
    """Write mdtraj's HDF5, with velocities where known."""
    need_tables(path)
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
    _check_written(path, _count_hdf5, len(trajectory))


def _check_written(path: Path, count: Callable[[Path], int], frames: int) -> None:
    """Count the frames written: mdtraj and HDF5 do not notice a full disk."""
    try:
        whole = count(path)
    except InputError:
        whole = 0
    if whole != frames:
        raise InputError("cannot be written: it came out incomplete; is the disk full?")


def _count_hdf5(path: Path) -> int:
    from mdtraj.formats import HDF5TrajectoryFile

    with foreign(path, "damaged"), HDF5TrajectoryFile(str(path)) as file:
        assert file.topology is not None
        return len(file.read().coordinates)


def _to_mdtraj(trajectory: Trajectory, path: Path) -> Any:
    import mdtraj

    times = (trajectory.times / FS_PER["ps"]).astype(np.float32)
    if path.suffix not in TIMELESS and (np.diff(times) <= 0).any():
        raise InputError(
            f"{path.suffix} holds times as float32 ps, too coarse to tell these frames apart; save "
            "as .npz"
        )
    frames = mdtraj.Trajectory(
        trajectory.positions / ANGSTROM_PER_NM, to_mdtraj(trajectory), time=times
    )
    if trajectory.cell is not None:
        if not np.linalg.det(trajectory.cell).all():
            raise InputError(f"{path.suffix} cannot hold a cell that is periodic in part; use .npz")
        frames.unitcell_vectors = trajectory.cell / ANGSTROM_PER_NM
    return frames
