"""Internal coordinates of a molecule, enumerated from its bonds.

Bonds, angles, dihedrals, impropers and tetrahedra as atom indices; stereocentres; nonbonded pairs.
Their values are functions of positions in :mod:`gfnode.geometry`; named torsions are in
:mod:`gfnode.molecule.torsions`. Indices are those used in the bonds. Everything is array operations
on the bond graph: a protein takes milliseconds.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gfnode.graph import hop_edges
from gfnode.trajectory import Doubles, Floats, Integers

APART = 4
"""Least number of bonds between nonbonded atoms: 1-5 pairs and beyond."""

COLLINEAR = -0.94
"""Three atoms whose mean cosine is below this (160°) are collinear: H–C≡C, two ligands across a
metal. Dihedrals about their bonds are undefined."""

FRAMES = 20
"""Number of evenly spaced frames by which collinear atoms are found."""


HANDED = 0.5
"""Ratio of mean to root mean square volume below which a tetrahedron has no definite chirality, as
in square planar coordination."""


@dataclass(frozen=True, eq=False)
class Internal:
    """Internal coordinates among some atoms of a molecule.

    Parameters
    ----------
    atoms
        The selected atoms, ``(atom,)`` ascending.
    bonds
        ``(bond, 2)``, i < j.
    angles
        ``(angle, 3)``, the atom at the vertex in the middle.
    dihedrals
        Proper dihedrals i-j-k-l along bonds, j < k, ``(dihedral, 4)``.
    impropers
        At atoms with three neighbours, the centre first, ``(improper, 4)``: its dihedral is 0
        where the four lie in a plane, and changes sign when the centre is pushed through it.
    tetrahedra
        At atoms with four neighbours, ``(tetrahedron, 4)``: points whose signed volume gives the
        chirality. These are the neighbours; a single one that is not selected is replaced by the
        centre; with two there is no tetrahedron.
    centres
        The central atom of each, ``(tetrahedron,)``.
    stereo
        Whether it is a stereocentre, with four inequivalent neighbours, ``(tetrahedron,)``.
    """

    atoms: Integers
    bonds: Integers
    angles: Integers
    dihedrals: Integers
    impropers: Integers
    tetrahedra: Integers
    centres: Integers
    stereo: np.ndarray[tuple[int], np.dtype[np.bool_]]

    @classmethod
    def of(cls, bonds: Integers, numbers: Integers, atoms: Integers | None = None) -> "Internal":
        """Enumerate the internal coordinates of some atoms.

        Parameters
        ----------
        bonds
            Of the whole molecule, ``(bond, 2)``: stereocentres depend on all its atoms.
        numbers
            Atomic numbers, ``(atom,)``.
        atoms
            Restrict to these (heavy atoms, say); indices still count all atoms.
        """
        bonds, n_atoms = _ascending(bonds), len(numbers)
        atoms = np.arange(n_atoms) if atoms is None else np.unique(atoms)
        looked = np.zeros(n_atoms, dtype=bool)
        looked[atoms] = True
        mine = bonds[looked[bonds].all(1)]
        corners, centres = tetrahedra(bonds, n_atoms)
        stereo = _all_differ(colours(bonds, numbers)[corners])
        seen = looked[corners]
        corners = np.where(seen, corners, centres[:, None])
        kept = looked[centres] & (seen.sum(1) >= 3)
        return cls(
            atoms,
            mine,
            angles(mine),
            dihedrals(mine, n_atoms),
            impropers(mine, n_atoms),
            corners[kept],
            centres[kept],
            stereo[kept],
        )

    def renumbered(self, place: Integers) -> "Internal":
        """Replace each atom index i by ``place[i]``."""
        return Internal(
            place[self.atoms],
            place[self.bonds],
            place[self.angles],
            place[self.dihedrals],
            place[self.impropers],
            place[self.tetrahedra],
            place[self.centres],
            self.stereo,
        )

    def defined(self, positions: Floats) -> "Internal":
        """Drop coordinates that are undefined in given conformations, ``(frame, atom, 3)``.

        These are dihedrals with collinear atoms, and tetrahedra that occur with both chiralities.
        """
        volume = volumes(positions, self.tetrahedra)
        handed = abs(volume.mean(0)) > HANDED * np.sqrt(np.square(volume).mean(0))
        return replace(
            self,
            dihedrals=without_collinear(self.dihedrals, positions),
            tetrahedra=self.tetrahedra[handed],
            centres=self.centres[handed],
            stereo=self.stereo[handed],
        )


def angles(bonds: Integers) -> Integers:
    """Every pair of bonds that share an atom, ``(angle, 3)`` with that atom in the middle.

    Ordered by the middle atom, then by the ends, which ascend.
    """
    middle, ends = directed_bonds(bonds)
    first, second = _pairs_within(middle)
    return np.stack([ends[first], middle[first], ends[second]], 1)


def dihedrals(bonds: Integers, n_atoms: int) -> Integers:
    """Every path over three bonds i-j-k-l with j < k, ``(dihedral, 4)``.

    The four atoms are distinct, so a three-membered ring has none of its own.
    """
    bonds = _ascending(bonds)
    ends, begin = _neighbours(bonds, n_atoms)
    degree = np.diff(begin)
    j, k = bonds.T
    of, turn = _expand_counts(degree[j] * degree[k])
    j, k = j[of], k[of]
    i = ends[begin[j] + turn // degree[k]]
    m = ends[begin[k] + turn % degree[k]]
    kept = (i != k) & (m != j) & (i != m)
    return np.stack([i, j, k, m], 1)[kept]


def without_collinear(dihedrals: Integers, positions: Floats) -> Integers:
    """Those of ``dihedrals (dihedral, 4)`` without three collinear consecutive atoms.

    ``positions`` are some conformations, ``(frame, atom, 3)``; see :data:`COLLINEAR`.
    """
    return dihedrals[
        ~is_collinear(dihedrals[:, :3], positions) & ~is_collinear(dihedrals[:, 1:], positions)
    ]


def is_collinear(angles: Integers, positions: Floats) -> NDArray[np.bool_]:
    """Whether each of ``angles (angle, 3)`` is of collinear atoms, ``(angle,)``."""
    total = np.zeros(len(angles))
    for x in positions.astype(np.float64):  # one by one: crystals have millions
        a, b = x[angles[:, 0]] - x[angles[:, 1]], x[angles[:, 2]] - x[angles[:, 1]]
        sizes = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
        total += (a * b).sum(-1) / np.maximum(sizes, 1e-12)
    return total < COLLINEAR * len(positions)


def impropers(bonds: Integers, n_atoms: int) -> Integers:
    """Atoms with exactly three neighbours, and those: ``(improper, 4)``, the centre first."""
    centres, around = _with_neighbours(bonds, n_atoms, 3)
    return np.concatenate([centres[:, None], around], 1)


def tetrahedra(bonds: Integers, n_atoms: int) -> tuple[Integers, Integers]:
    """Neighbours ``(centre, 4)`` of atoms that have exactly four, and those atoms ``(centre,)``."""
    centres, around = _with_neighbours(bonds, n_atoms, 4)
    return around, centres


def volumes(positions: Floats, tetrahedra: Integers) -> Doubles:
    """Signed volume of each of ``tetrahedra (tetrahedron, 4)`` in Å³, ``(..., tetrahedron)``.

    V = (a − d)·((b − d) × (c − d)) / 6 for corners a, b, c, d.
    """
    corners = positions[..., tetrahedra, :].astype(np.float64)
    a, b, c = np.moveaxis(corners[..., :3, :] - corners[..., 3:, :], -2, 0)
    return np.asarray((a * np.cross(b, c)).sum(-1) / 6)


def colours(bonds: Integers, numbers: Integers) -> Integers:
    """Equivalence classes of atoms by colour refinement of the molecular graph, ``(atom,)``.

    Initial colours are elements; each iteration replaces the colour of an atom by that colour and
    the multiset of its neighbours' colours, until no class is split any more.

    References
    ----------
    H. L. Morgan, J. Chem. Doc. 5, 107 (1965), without its ties: exact classes are kept.
    """
    n_atoms = len(numbers)
    ends, begin = _neighbours(bonds, n_atoms)
    degree = np.diff(begin)
    middle, place = _expand_counts(degree)
    table = np.full((n_atoms, int(degree.max(initial=0))), -1)
    kinds, colour = np.unique(numbers, return_inverse=True)
    found = len(kinds)
    while True:
        table[middle, place] = colour[ends]
        rows = np.concatenate([colour[:, None], np.sort(table, 1)], 1)
        kinds, refined = np.unique(rows, axis=0, return_inverse=True)
        if len(kinds) == found:
            return np.asarray(colour, dtype=np.int64)
        found, colour = len(kinds), refined.reshape(-1)


def near_in_graph(bonds: Integers, n_atoms: int) -> Integers:
    """Pairs i < j that are fewer than `APART` bonds apart, ``(pair, 2)`` in ascending order."""
    index = hop_edges(bonds, n_atoms, APART - 1).index
    return np.asarray(index[:, index[0] < index[1]].T)


def nonbonded_pairs(bonds: Integers, n_atoms: int, atoms: Integers | None = None) -> Integers:
    """All pairs i < j at least `APART` bonds apart, or in different molecules, ``(pair, 2)``.

    Their number is quadratic in atoms: large systems are restricted to close pairs, in
    :mod:`gfnode.molecule.integrity`.
    """
    atoms = np.arange(n_atoms) if atoms is None else np.unique(atoms)
    pairs = atoms[np.stack(np.triu_indices(len(atoms), 1), 1)]
    near = near_in_graph(bonds, n_atoms)
    return pairs[~np.isin(pairs @ [n_atoms, 1], near @ [n_atoms, 1])]


def _ascending(bonds: Integers) -> Integers:
    pairs = np.sort(np.asarray(bonds, dtype=np.int64).reshape(-1, 2), 1)
    return np.unique(pairs, axis=0) if len(pairs) else pairs


def directed_bonds(bonds: Integers) -> tuple[Integers, Integers]:
    """Each bond in both directions, ordered by its first atom, then its second."""
    pairs = _ascending(bonds)
    rows, columns = np.concatenate([pairs, pairs[:, ::-1]]).T
    order = np.lexsort((columns, rows))
    return rows[order], columns[order]


def _neighbours(bonds: Integers, n_atoms: int) -> tuple[Integers, Integers]:
    """The neighbours of all atoms in turn, and where those of each begin, ``(atom + 1,)``."""
    middle, ends = directed_bonds(bonds)
    return ends, np.searchsorted(middle, np.arange(n_atoms + 1))


def _pairs_within(groups: Integers) -> tuple[Integers, Integers]:
    """Positions first < second of all pairs with equal values in the sorted ``groups``."""
    place = np.arange(len(groups))
    first, further = _expand_counts(np.searchsorted(groups, groups, side="right") - place - 1)
    return first, first + 1 + further


def _expand_counts(counts: Integers) -> tuple[Integers, Integers]:
    """For each k, ``counts[k]`` rows: k repeated, and 0 … counts[k] − 1."""
    of = np.repeat(np.arange(len(counts)), counts)
    return of, np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)


def _with_neighbours(bonds: Integers, n_atoms: int, degree: int) -> tuple[Integers, Integers]:
    ends, begin = _neighbours(bonds, n_atoms)
    centres = np.flatnonzero(np.diff(begin) == degree)
    return centres, ends[begin[centres][:, None] + np.arange(degree)]


def _all_differ(values: Integers) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray((np.diff(np.sort(values, 1), axis=1) != 0).all(1))
