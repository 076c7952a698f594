"""Structure of a system: bonds, molecules, rotatable groups, the periodic cell."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gfnode import graph
from gfnode.molecule.internal import FRAMES, angles, is_collinear
from gfnode.molecule.order import misfit_of
from gfnode.molecule.periodic import images, lattices
from gfnode.thinning import among, evenly, groups
from gfnode.trajectory import Integers, formula_of
from gfnode.trajectory.selection import ions
from gfnode.trajectory.series import Series

SHOWN = 6
"""Bonds, kinds of molecules and groups that are listed, at most; all are counted."""


@dataclass(frozen=True)
class Bond:
    """A bond found only by topology or only by distances."""

    atoms: tuple[int, int]
    length: float  # median, Å


@dataclass(frozen=True)
class OtherOrder:
    """A file with atoms in another order than the first one, by the bonds of the first.

    Parameters
    ----------
    atoms, length, usual
        The most elongated bond, its length and the sum of its covalent radii, Å.
    long
        Number of bonds that are far too long, with other atoms at bonding distance.
    """

    file: int
    atoms: tuple[int, int]
    length: float
    usual: float
    long: int


@dataclass(frozen=True)
class Cell:
    """The periodic cell of the first file.

    Parameters
    ----------
    lengths, angles_deg
        Of the cell vectors in the first frame, Å and degrees.
    constant
        Whether it is the same (to 1 part in 10⁵) in all frames.
    broken_bonds
        Mean number of bonds across the cell in a frame: of molecules that are split.
    broken_molecules
        Mean number of molecules with such a bond.
    """

    lengths: tuple[float, float, float]
    angles_deg: tuple[float, float, float]
    constant: bool
    broken_bonds: float
    broken_molecules: float


@dataclass(frozen=True)
class Structure:
    """Structure of a system.

    Parameters
    ----------
    bonds
        Number of bonds that training would use.
    bonds_from
        ``topology`` or ``distances``.
    bonds_by_distances, bonds_by_topology
        Number of bonds found in each way; None without bonds in a topology.
    only_topology, only_distances
        Number of bonds found in only one way.
    molecules
        Number of connected components.
    kinds
        Formula and number of the most common kinds of molecules.
    largest
        Number of atoms of the largest molecule.
    groups
        Formula and number of the rotors of the largest molecule, see :func:`gfnode.graph.rotors`.
    other_order
        Files whose atoms are in another order than those of the first.
    """

    atoms: int
    formula: str
    heavy_atoms: int
    bonds: int
    bonds_from: Literal["topology", "distances"]
    bonds_by_distances: int
    bonds_by_topology: int | None
    only_topology: int
    first_only_topology: tuple[Bond, ...]
    only_distances: int
    first_only_distances: tuple[Bond, ...]
    molecules: int
    kinds: tuple[tuple[str, int], ...]
    kinds_of_molecules: int
    largest: int
    groups: tuple[tuple[str, int], ...]
    number_of_groups: int
    cell: Cell | None
    other_order: tuple[OtherOrder, ...]


def look_at_structure(series: Series) -> tuple[Structure, Integers, Integers]:
    """Describe the atoms; return also the bonds and the atoms of the largest molecule."""
    first = series.first
    found = graph.bonds_from_distances(first.numbers, first.positions)  # as training does
    named = None
    if first.topology is not None and len(first.topology.bonds):
        named = np.unique(np.sort(first.topology.bonds, axis=1), axis=0)
        found = found[~ions(first.numbers, first.topology)[found].any(1)]
    bonds = named if named is not None else found
    labels = graph.components(bonds.T, first.n_atoms)
    sizes = np.bincount(labels)
    largest = np.flatnonzero(labels == int(sizes.argmax()))
    kinds = Counter(formula_of(first.numbers[atoms]) for _, atoms in groups(labels))
    rotors = _rotors(series, bonds, largest)
    only_named, only_found = _differences(named, found, first.numbers)
    structure = Structure(
        atoms=first.n_atoms,
        formula=first.formula,
        heavy_atoms=int((first.numbers > 1).sum()),
        bonds=len(bonds),
        bonds_from="topology" if named is not None else "distances",
        bonds_by_distances=len(found),
        bonds_by_topology=None if named is None else len(named),
        only_topology=len(only_named),
        first_only_topology=_measured(series, only_named),
        only_distances=len(only_found),
        first_only_distances=_measured(series, only_found),
        molecules=len(sizes),
        kinds=tuple(kinds.most_common(SHOWN)),
        kinds_of_molecules=len(kinds),
        largest=len(largest),
        groups=tuple(rotors.most_common(SHOWN)),
        number_of_groups=rotors.total(),
        cell=_cell(series, bonds, labels),
        other_order=_other_order(series, bonds),
    )
    return structure, bonds, largest


def _other_order(series: Series, bonds: Integers) -> tuple[OtherOrder, ...]:
    found = []
    for file, each in enumerate(series.trajectories[1:], 1):
        if (m := misfit_of(bonds, each)) is not None:
            found.append(OtherOrder(file, m.atoms, m.length, m.usual, m.long))
    return tuple(found)


def _rotors(series: Series, bonds: Integers, largest: Integers) -> Counter[str]:
    """Formulas of the rotatable groups of the largest molecule."""
    numbers = series.first.numbers
    inner = among(bonds, largest, len(numbers))
    masses = series.first.masses[largest].copy()
    masses[0] += 1e-3  # decides between equal halves, as of ethane
    rotors = graph.rotors(inner, masses)
    # a group collinear with its bond, such as C≡N, is no rotor
    bends = angles(inner)
    bends = bends[~is_collinear(bends, series.positions(series.evenly(FRAMES))[:, largest])]
    turning = {(j, end) for i, j, k in bends.tolist() for end in (i, k)}
    return Counter(
        formula_of(numbers[largest[members]])
        for axis, members in zip(rotors.axes.tolist(), rotors.members, strict=True)
        if tuple(axis) in turning
    )


def _differences(
    named: Integers | None, found: Integers, numbers: Integers
) -> tuple[Integers, Integers]:
    """Bonds found only in the topology (except H–H of rigid water), and only by distances."""
    none = np.empty((0, 2), dtype=np.int64)
    if named is None:
        return none, none
    a, b = {tuple(each) for each in named.tolist()}, {tuple(each) for each in found.tolist()}
    only_a, only_b = (np.array(sorted(each), dtype=np.int64) for each in (a - b, b - a))
    only_a = only_a.reshape(-1, 2)
    within = np.isin(only_a, named[(numbers[named] != 1).any(1)]).all(1)
    held = (numbers[only_a] == 1).all(1) & within  # H to H, each on a heavier atom
    return only_a[~held], only_b.reshape(-1, 2)


def _measured(series: Series, pairs: Integers) -> tuple[Bond, ...]:
    frames = series.evenly(50)
    shown = pairs[:SHOWN]
    if not len(shown):
        return ()
    needed = np.unique(shown)
    x = series.positions(frames, needed)
    length = np.median(graph.pair_distances(x, np.searchsorted(needed, shown)), axis=0)
    return tuple(
        Bond((int(a), int(b)), float(each)) for (a, b), each in zip(shown, length, strict=True)
    )


def _cell(series: Series, bonds: Integers, labels: Integers) -> Cell | None:
    """The periodic cell, and the molecules that it splits."""
    from ase.geometry import cell_to_cellpar

    first = series.first
    if first.cell is None:
        return None
    vectors = first.cell[0].astype(np.float64)
    if abs(np.linalg.det(vectors)) < 1e-3:
        return None
    a, b, c, alpha, beta, gamma = cell_to_cellpar(vectors).tolist()
    drift = np.abs(first.cell - first.cell[0]).max()
    constant = bool(drift <= 1e-5 * max(a, b, c))
    return Cell((a, b, c), (alpha, beta, gamma), constant, *_cut(series, bonds, labels))


def _cut(series: Series, bonds: Integers, labels: Integers) -> tuple[float, float]:
    """Bonds and molecules that reach across the cell, means over at most 20 frames.

    A molecule is also cut where two of its atoms are near only across the cell, so that distances
    alone show no bond there; those are not seen.
    """
    first = series.first
    assert first.cell is not None
    if not len(bonds):
        return 0.0, 0.0
    numbers_of_bonds, numbers_of_molecules = [], []
    for frame in evenly(len(first), 20):
        x = first.positions[frame].astype(np.float64)
        across = images(x[bonds[:, 1]] - x[bonds[:, 0]], lattices(first.cell[frame])).any(-1)
        numbers_of_bonds.append(across.sum())
        numbers_of_molecules.append(len(np.unique(labels[bonds[across, 0]])))
    return float(np.mean(numbers_of_bonds)), float(np.mean(numbers_of_molecules))
