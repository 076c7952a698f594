"""Does a topology belong to a trajectory: bonds by its own coordinates, in the first frame."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers.source import Source
from gfnode.trajectory import Integers
from gfnode.trajectory.selection import ions

WRONG = 0.25
"""From this share of long bonds on a topology is refused. A reaction may have changed a few."""

APART = 0.4
"""Å. Atoms nearer than this are at no place at all: all at zero, or in another unit."""

CROWDED = 2
"""Bonds an atom beyond which coordinates are those of no molecule: made up, or a metal."""

_COINCIDE = 0.01  # share of atoms that may be so near: alternate locations


def check_fit(path: Path, source: Source, first: int, atoms: Integers) -> list[str]:
    """Compare some atoms in the first frame with the coordinates of the topology, if it has any.

    Bonds alone are compared, across the periodic cell, but not to ions: conformations may differ.

    Returns
    -------
    list
        A note where a few bonds do not fit.

    Raises
    ------
    InputError
        Where many do not: another molecule, or another order of atoms.
    """
    placed = source.placed
    if placed is None or len(atoms) < 2:
        return []
    block = next(iter(source.blocks(np.array([first]))))
    if block.positions.shape[1:] != placed.positions.shape:
        return []  # refused when it is read
    cell = None if block.cell is None else block.cell[0]
    x, box, now = placed.positions, placed.cell, block.positions[0]
    if not all(np.isfinite(each).all() for each in (x, box, now, cell) if each is not None):
        return []
    if _coincide(x := x[atoms]):
        return []
    from gfnode.molecule.order import misfit
    from gfnode.molecule.periodic import near_bonds

    numbers = source.numbers[atoms]
    bonds = near_bonds(numbers, [(x, np.zeros((3, 3)) if box is None else box)])
    if source.topology is not None:
        bonds = bonds[~ions(source.numbers, source.topology)[atoms[bonds]].any(1)]
    crowded = len(bonds) > CROWDED * len(atoms)
    if crowded or (found := misfit(bonds, numbers, [(now[atoms], cell)])) is None:
        return []
    said = (
        f"{found.words(numbers, atoms)}, in frame {first}, while other atoms are near enough to "
        "be bonded"
    )
    if found.long >= WRONG * found.bonds:
        raise InputError(
            f"{path}: the topology {placed.path} does not fit: {said}; expected its atoms in the "
            "order of the trajectory: as --top, give the file from which the simulation was "
            "started"
        )
    return [f"{path.name}: {said}: is {placed.path.name} its topology, with atoms in this order?"]


def _coincide(x: NDArray[Any]) -> bool:
    from scipy.spatial import cKDTree

    nearest = cKDTree(x).query(x, k=2)[0][:, 1]
    return bool((nearest < APART).mean() > _COINCIDE)
