"""Consistency of the order of atoms with the bonds.

Atoms are in another order where bonds are far too long and their ends are at bonding distance to
other atoms. A bond that is merely broken does not count, nor do the bonds of coarse-grained chains,
which have other lengths; and a single bond is not enough, so that a transferred proton does not
count either. No change of conformation makes bonds long.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.molecule.periodic import bond_lengths, near_bonds
from gfnode.molecule.system import System
from gfnode.thinning import evenly
from gfnode.trajectory import Integers, Trajectory, radii_of

Coordinates = NDArray[np.floating[Any]]
Frame = tuple[Coordinates, Coordinates | None]
"""Positions ``(atom, 3)`` and the periodic cell ``(3, 3)``, in Å."""

LONG = 1.5
"""A bond is far too long above this multiple of the sum of its covalent radii: second neighbours
are at 1.6 times (two carbons of a benzene ring) to 2.0 times (H–C–C) that distance."""

FEWEST = 2
"""Least number of bonds that are too long where atoms are permuted."""

_FRAMES = 20


@dataclass(frozen=True)
class Misfit:
    """Bonds that do not fit positions.

    Parameters
    ----------
    atoms
        The ends of the longest one, relative to its usual length.
    length, usual
        Its length, and the sum of its covalent radii, in Å.
    long, bonds
        Number of bonds that are far too long, and of all bonds.
    """

    atoms: tuple[int, int]
    length: float
    usual: float
    long: int
    bonds: int

    def words(self, numbers: Integers, names: Integers | None = None) -> str:
        """Message; ``names`` are the indices of the atoms in the user's data."""
        from ase.data import chemical_symbols

        one, other = (
            f"{chemical_symbols[int(numbers[atom])]}{atom if names is None else int(names[atom])}"
            for atom in self.atoms
        )
        return (
            f"{self.long} of {self.bonds} bonds are far too long, worst {one}–{other}: "
            f"{self.length:.2f} Å instead of about {self.usual:.2f} Å"
        )


def misfit(bonds: Integers, numbers: Integers, frames: Sequence[Frame]) -> Misfit | None:
    """Bonds ``(bond, 2)`` that are far too long in the median of frames, at other atoms instead.

    None for fewer than two.
    """
    bonds = np.asarray(bonds, dtype=np.int64).reshape(-1, 2)
    if len(bonds) < FEWEST:
        return None
    usual = radii_of(numbers)[bonds].sum(1)
    lengths = np.median([bond_lengths(x, bonds, cell) for x, cell in frames], axis=0)
    far = lengths > LONG * usual
    if far.sum() < FEWEST:
        return None
    none = np.zeros((3, 3))
    near = near_bonds(numbers, [(x, none if cell is None else cell) for x, cell in frames])
    known = {tuple(sorted(bond)) for bond in bonds.tolist()}
    fresh = [pair for pair in near.tolist() if tuple(pair) not in known]
    far &= np.isin(bonds, fresh).any(1)
    if far.sum() < FEWEST:
        return None
    worst = int(np.where(far, lengths / usual, 0.0).argmax())
    one, other = (int(atom) for atom in bonds[worst])
    return Misfit(
        (one, other), float(lengths[worst]), float(usual[worst]), int(far.sum()), len(bonds)
    )


def misfit_of(
    bonds: Integers, trajectory: Trajectory, atoms: Integers | None = None
) -> Misfit | None:
    """As :func:`misfit`, for some frames of a trajectory; bonds index ``atoms`` (default: all)."""
    chosen = np.arange(trajectory.n_atoms) if atoms is None else atoms
    cell = trajectory.cell
    frames = [
        (trajectory.positions[k][chosen], None if cell is None else cell[k])
        for k in evenly(len(trajectory), _FRAMES)
    ]
    return misfit(bonds, trajectory.numbers[chosen], frames)


def atom_order_warnings(
    bonds: Integers, trajectories: Sequence[Trajectory], atoms: Integers
) -> tuple[str, ...]:
    """A warning for each trajectory that the bonds of the first one do not fit."""
    said = []
    for number, each in enumerate(trajectories):
        if (found := misfit_of(bonds, each, atoms)) is None:
            continue
        asked = "is its topology the right one, with atoms in this order?"
        if number:
            asked = f"are its atoms in another order than in {trajectories[0].label}?"
        said.append(
            f"{each.label}: {found.words(each.numbers[atoms], atoms)}, while other atoms are near "
            f"enough to be bonded: {asked}"
        )
    return tuple(said)


def warn_of_order(state: Trajectory, system: System) -> None:
    """Warn where the positions of a trajectory's state atoms do not fit the bonds of training."""
    if (found := misfit_of(system.bonds, state)) is None:
        return
    warnings.warn(
        f"{state.label}: {found.words(system.numbers, system.atoms)}, while other atoms are near "
        "enough to be bonded: are its atoms in another order than in training, or is it another "
        "molecule? Put them into the order of training",
        stacklevel=4,
    )
