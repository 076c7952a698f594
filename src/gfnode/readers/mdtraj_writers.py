"""Writing through mdtraj: XTC, TRR, DCD, PDB and HDF5.

mdtraj works in nm and ps. DCD and PDB hold no times; only HDF5 is written with velocities.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gfnode.errors import InputError
from gfnode.readers import dcd, gromacs
from gfnode.readers.hdf5 import count_hdf5
from gfnode.readers.topology import ANGSTROM_PER_NM, SPEED, check_cell, need_tables, to_mdtraj
from gfnode.trajectory import Trajectory
from gfnode.units import FS_PER

TIMELESS = (".dcd", ".pdb")

COUNTERS = {".xtc": gromacs.count_xtc, ".trr": gromacs.count_trr, ".dcd": dcd.count}
"""How many whole frames a file holds."""


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
    _check_written(path, count_hdf5, len(trajectory))


def _check_written(path: Path, count: Callable[[Path], int], frames: int) -> None:
    """Count the frames written: mdtraj and HDF5 do not notice a full disk."""
    try:
        whole = count(path)
    except InputError:
        whole = 0
    if whole != frames:
        raise InputError("cannot be written: it came out incomplete; is the disk full?")


def _to_mdtraj(trajectory: Trajectory, path: Path) -> Any:
    import mdtraj

    times = (trajectory.times / FS_PER["ps"]).astype(np.float32)
    if path.suffix not in TIMELESS and (np.diff(times) <= 0).any():
        raise InputError(
            f"{path.suffix} holds times as float32 ps, too coarse to tell these frames apart; save "
            "as .npz"
        )
    check_cell(trajectory, path.suffix)
    frames = mdtraj.Trajectory(
        trajectory.positions / ANGSTROM_PER_NM, to_mdtraj(trajectory), time=times
    )
    if trajectory.cell is not None:
        frames.unitcell_vectors = trajectory.cell / ANGSTROM_PER_NM
    return frames
