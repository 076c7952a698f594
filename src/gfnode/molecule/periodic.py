"""Unwrapping of periodic trajectories: molecules are made whole, and their motion continuous.

A simulation program may wrap every atom into the box. A molecule at its border is then split, and
one that leaves at one side reappears at the other.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.spatial import cKDTree

from gfnode.graph import TOLERANCE, pair_distances
from gfnode.trajectory import Integers, radii_of

Coordinates = NDArray[np.floating[Any]]

SMALLEST = 4.0
"""Å; a cell of less height is not taken for a box: a bond could span half of it."""

CONTACT = 4.0
"""Å; atoms of different molecules that are closer are neighbours."""


class Unwrapper:
    """Makes molecules whole and continuous, block by block of consecutive frames.

    *Whole*: along a spanning tree of the bonds in each molecule, an atom is shifted by the lattice
    vector that brings it next to its parent. With the row vectors of the cell L, a bond d is
    shifted by −n L, n = round(d L⁻¹); the n of a path from the root are summed by pointer doubling,
    in log₂(path length) steps over all frames and molecules at once.

    *Continuous*: the same between the centre of a molecule in one frame and in the next. The
    shifts are accumulated with the cell of their own frame, so that a barostat does not inflate
    displacements (the scheme of von Bülow, Bullerjahn and Hummer, J. Chem. Phys. 153, 021101
    (2020), eq. 2). A displacement of more than half the height of the box between stored frames
    is ambiguous.

    Rounding is correct in a triclinic box too, for bonds and displacements shorter than half its
    least height. Positions that need no shift are returned bit by bit.

    *Endless*: a crystal, bonded to its own images, is made whole in the first frame only; from
    there on each of its atoms is unwrapped separately. Its bonds may be half a box long, as in a
    slab of 2 × 2 atoms, where rounding would choose different images in different frames.

    Parameters
    ----------
    bonds
        Pairs ``(bond, 2)``.
    n_atoms
        Number of atoms.
    """

    def __init__(self, bonds: Integers, n_atoms: int) -> None:
        self._join(bonds.reshape(-1, 2), n_atoms)
        self._last: NDArray[np.float64] | None = None  # centres before they are shifted
        self._shift = np.zeros((self._centre.shape[0], 3))
        self.frames = self.broken = self.jumps = 0
        self.endless = 0
        """Bonds of the first frame that still cross the box: those of an infinite crystal."""
        self.doubt = ""
        """Warning that the first cell cannot be a box, if so."""

    def __call__(self, positions: Coordinates, cell: Coordinates) -> Coordinates:
        """Unwrap ``(frame, atom, 3)`` in cells ``(frame, 3, 3)``, both in Å and finite."""
        if not self.frames and len(positions) > 1:
            parts = [self(positions[part], cell[part]) for part in (slice(1), slice(1, None))]
            return np.concatenate(parts)
        x, lattice = positions.astype(np.float64), lattices(cell)
        inverse = np.linalg.pinv(lattice)  # the zero rows of a cell stay zero
        images = _along_paths(np.rint((x - x[:, self._parents]) @ inverse), self._parents)
        x -= images @ lattice
        if not self.frames:
            i, j = self._bonds.T
            across = np.rint((x[0, i] - x[0, j]) @ inverse[0]).any(1)
            self.endless = int(across.sum())
            self.doubt = self._doubt(x[0] @ inverse[0], heights(cell[0]))
            first = x[0] - positions[0]
        centres = np.stack([self._centre @ frame for frame in x])
        before = centres[:1] if self._last is None else self._last[None]
        jumps = np.rint((centres - np.concatenate([before, centres[:-1]])) @ inverse)
        shifts = self._shift - np.cumsum(jumps @ lattice, axis=0)
        x += shifts[:, self.molecules]
        self._last, self._shift = centres[-1], shifts[-1]
        self.frames += len(x)
        self.broken += int(images.any((1, 2)).sum())
        self.jumps += int(jumps.any(2).sum())
        moved = images.any(2) | shifts.any(2)[:, self.molecules]
        if self.frames == 1 and self.endless:
            apart = np.isin(self.molecules, self.molecules[i[across]])
            self.broken = int(images[0, ~apart].any())
            self._part(apart, positions[0], first)
        return np.where(moved[..., None], x, positions)

    def _join(self, bonds: Integers, n_atoms: int) -> None:
        """Define molecules as the connected components of these bonds."""
        self.molecules, self._bonds = label(bonds, n_atoms), bonds
        self._parents = _parents(bonds, self.molecules)
        sizes = np.bincount(self.molecules)
        self._centre = sparse.csr_array(
            (1.0 / sizes[self.molecules], (self.molecules, np.arange(n_atoms))),
            shape=(len(sizes), n_atoms),
        )

    def _part(
        self, atoms: NDArray[np.bool_], stored: Coordinates, moved: NDArray[np.float64]
    ) -> None:
        """Unwrap these atoms separately from now on, from ``stored`` positions plus ``moved``."""
        x = stored.astype(np.float64) + np.where(atoms[:, None], 0.0, moved)
        self._join(self._bonds[~atoms[self._bonds[:, 0]]], len(atoms))
        self._last, self._shift = self._centre @ x, np.zeros((self._centre.shape[0], 3))
        self._shift[self.molecules[atoms]] = moved[atoms]

    def _doubt(self, parts: NDArray[np.float64], height: NDArray[np.float64]) -> str:
        """Warning that a box is too small, by itself or for a molecule in it; else empty."""
        if (least := height.min()) < SMALLEST:
            said = f"is {least:.3g} Å high, too small for a box, and is ignored"
        elif self.endless:
            return ""
        else:
            order = np.argsort(self.molecules, kind="stable")
            first = np.searchsorted(self.molecules[order], np.arange(self.molecules.max() + 1))
            low, high = (each.reduceat(parts[order], first) for each in (np.minimum, np.maximum))
            shares = (high - low).max(0)
            axis = int(shares.argmax())
            if shares[axis] <= 1:
                return ""
            length = shares[axis] * height[axis]
            said = f"is {height[axis]:.3g} Å high, but a molecule in it {length:.3g} Å"
        return (
            f"the periodic cell {said}: is it in another unit (an array of an npz file: --map "
            "…,cell=box:nm)?"
        )


def heights(cell: Coordinates) -> NDArray[np.float64]:
    """Distances between the faces of cells ``(…, 3, 3)`` in Å; infinite along zero rows."""
    reciprocal = np.linalg.norm(np.linalg.pinv(cell.astype(np.float64)), axis=-2)
    return np.divide(1.0, reciprocal, out=np.full_like(reciprocal, np.inf), where=reciprocal > 0)


def lattices(cell: Coordinates) -> NDArray[np.float64]:
    """Cells ``(…, 3, 3)`` in float64; zero where they are degenerate or lower than `SMALLEST`."""
    found = cell.astype(np.float64)
    flat = np.linalg.matrix_rank(found) < found.any(-1).sum(-1)
    none = flat | (heights(found) < SMALLEST).any(-1)
    return np.where(none[..., None, None], 0.0, found)


def images(vectors: Coordinates, lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many lattice vectors to take off each of ``(…, vector, 3)``: n = round(d L⁻¹).

    With L the row vectors of ``lattice (…, 3, 3)``, as of :func:`lattices`; 0 along zero rows.
    d − n L is the minimum image, for images shorter than half the least height of the cell.
    """
    return np.rint(vectors @ np.linalg.pinv(lattice))


def minimum_image(vectors: Coordinates, cell: Coordinates | None) -> Coordinates:
    """Shortest images of vectors ``(…, vector, 3)`` in cells ``(…, 3, 3)``, in Å; see `images`.

    Vectors stay as they are without a cell, and where it is no box.
    """
    if cell is None:
        return vectors
    lattice = lattices(cell)
    return np.asarray(vectors - images(vectors, lattice) @ lattice)


def bond_lengths(
    positions: Coordinates, bonds: Integers, cell: Coordinates | None
) -> NDArray[np.float64]:
    """Lengths ``(…, bond)`` in Å by the minimum image convention; ``positions (…, atom, 3)``."""
    ends = positions[..., bonds, :].astype(np.float64)
    vectors = minimum_image(ends[..., 1, :] - ends[..., 0, :], cell)
    return np.asarray(np.linalg.norm(vectors, axis=-1))


def neighbours_across(positions: Coordinates, cell: Coordinates, bonds: Integers) -> bool:
    """Whether in most frames atoms of different molecules are neighbours across the cell alone.

    Molecules are what ``bonds (bond, 2)`` join. All pairs of atoms are looked at, so few are meant.

    Parameters
    ----------
    positions, cell
        ``(frame, atom, 3)`` and ``(frame, 3, 3)`` in Å.
    """
    molecules = label(bonds, positions.shape[1])
    i, j = np.nonzero(molecules[:, None] < molecules)
    lattice, vectors = lattices(cell), (positions[:, j] - positions[:, i]).astype(np.float64)
    shifts = images(vectors, lattice)
    near = np.linalg.norm(vectors - shifts @ lattice, axis=-1) < CONTACT
    return bool((near & shifts.any(-1)).any(1).mean() > 0.5)


def label(bonds: Integers, n_atoms: int) -> Integers:
    """Index of the molecule of each atom, ``(atom,)``, in the order of their first atoms."""
    i, j = bonds.reshape(-1, 2).T
    joined = sparse.csr_array((np.ones(len(i)), (i, j)), shape=(n_atoms, n_atoms))
    return np.asarray(connected_components(joined, directed=False)[1], dtype=np.int64)


def near_bonds(numbers: Integers, frames: Sequence[tuple[Coordinates, Coordinates]]) -> Integers:
    """Bonds ``(bond, 2)`` by periodic distances, present in more than half of the frames.

    A pair is bonded below 1.25 times the sum of its covalent radii (`gfnode.graph.TOLERANCE`).

    Parameters
    ----------
    numbers
        Atomic numbers, ``(atom,)``.
    frames
        Positions ``(atom, 3)`` and cell ``(3, 3)`` of a few frames.
    """
    radii = TOLERANCE * radii_of(numbers)
    reach = 2 * float(radii.max())
    found = []
    for positions, cell in frames:
        pairs, distance = _near(positions.astype(np.float64), lattices(cell), reach)
        found.append(np.unique(pairs[distance < radii[pairs].sum(1)], axis=0))
    pairs, counts = np.unique(np.concatenate(found), axis=0, return_counts=True)
    bonds: Integers = pairs[counts > len(frames) / 2].astype(np.int64)
    return bonds


def _near(
    x: NDArray[np.float64], lattice: NDArray[np.float64], reach: float
) -> tuple[Integers, NDArray[np.float64]]:
    """Pairs i < j closer than ``reach``, and their distances; once for each image in reach."""
    outside = np.floor(parts := x @ np.linalg.pinv(lattice))
    x, parts = x - outside @ lattice, parts - outside
    along = np.atleast_1d(lattice.any(-1))
    margin = np.where(along, reach / heights(lattice), np.inf)
    places, owners = [x], [np.arange(len(x))]
    for shift in product(*((-1, 0, 1) if each else (0,) for each in along)):
        moved = parts + shift  # images beyond a face; those close to it are kept
        near = np.flatnonzero(((moved > -margin) & (moved < 1 + margin)).all(1))
        if any(shift):
            places.append(x[near] + shift @ lattice)
            owners.append(near)
    points, owner = np.concatenate(places), np.concatenate(owners)
    pairs = cKDTree(points).query_pairs(reach, output_type="ndarray").astype(np.int64)
    pairs = pairs[(pairs < len(x)).any(1)]
    distance = pair_distances(points, pairs)
    pairs = np.sort(owner[pairs], axis=1)
    different = pairs[:, 0] < pairs[:, 1]
    return pairs[different], distance[different]


def _parents(bonds: Integers, molecules: Integers) -> Integers:
    """Parent of each atom in a spanning tree of its molecule; roots are their own parents."""
    n_atoms = len(molecules)
    roots = np.unique(molecules, return_index=True)[1]
    i, j = bonds.reshape(-1, 2).T  # one more node above all roots: a single search visits all
    i, j = np.append(i, np.full(len(roots), n_atoms)), np.append(j, roots)
    joined = sparse.csr_array((np.ones(len(i)), (i, j)), shape=(n_atoms + 1, n_atoms + 1))
    before = breadth_first_order(joined, n_atoms, directed=False)[1][:n_atoms]
    parents: Integers = np.where(before == n_atoms, np.arange(n_atoms), before).astype(np.int64)
    return parents


def _along_paths(steps: NDArray[np.float64], parents: Integers) -> NDArray[np.float64]:
    """Sum ``(frame, atom, 3)`` over the path from each atom to its root."""
    if not steps.any():
        return steps
    while (parents != (further := parents[parents])).any():
        steps = steps + steps[:, parents]
        parents = further
    return steps
