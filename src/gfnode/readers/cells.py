"""Lengths, speeds and periodic cells in mdtraj's terms: nm, ps, lengths and angles."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.trajectory import Trajectory
from gfnode.units import FS_PER, KJ_MOL

ANGSTROM_PER_NM = 10.0
SPEED = ANGSTROM_PER_NM / FS_PER["ps"]
"""Å/fs in one nm/ps."""

FORCE = KJ_MOL / ANGSTROM_PER_NM
"""u Å/fs² in one kJ/mol/nm."""


def box_vectors(lengths: NDArray[Any], angles: NDArray[Any]) -> NDArray[Any]:
    """Cell vectors as rows ``(frame, 3, 3)`` from lengths and angles in degrees."""
    from mdtraj.utils.unitcell import lengths_and_angles_to_box_vectors

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", UserWarning)  # of what is refused or said by frame later
        rows = lengths_and_angles_to_box_vectors(*lengths.T, *angles.T)
    return np.stack(rows, axis=1, dtype=np.float32)


def box_lengths_and_angles(cell: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Lengths and angles in degrees, ``(frame, 3)`` each, of :func:`box_vectors`."""
    from mdtraj.utils.unitcell import box_vectors_to_lengths_and_angles

    found = box_vectors_to_lengths_and_angles(*np.moveaxis(cell.astype(np.float64), 1, 0))
    return np.stack(found[:3], 1), np.stack(found[3:], 1)


def check_cell(trajectory: Trajectory, holder: str) -> None:
    """Refuse a cell that lengths and angles cannot hold: they say nothing of how it lies.

    Raises
    ------
    InputError
        For a cell that is periodic in part, left-handed, or turned against the axes.
    """
    if trajectory.cell is None:
        return
    above = np.abs(trajectory.cell[:, [0, 0, 1], [1, 2, 2]]).max(1)
    along = np.einsum("fii->fi", trajectory.cell).min(1)
    wrong = np.flatnonzero((along <= 0) | (above > 1e-5 * np.abs(trajectory.cell).max((1, 2))))
    if wrong.size:
        raise InputError(
            f"{trajectory.label}: {holder} can only hold a fully periodic cell with a along x, b "
            f"in the xy plane and c above it; that of frame {wrong[0]} is not: save as .npz or "
            ".extxyz, rotate cell, positions and velocities, or drop the cell with "
            "dataclasses.replace(trajectory, cell=None)"
        )
