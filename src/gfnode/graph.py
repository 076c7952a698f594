"""The molecular graph: bonds, k-hop edges, Laplacian, components, rotors, automorphisms."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import networkx
import numpy as np
from networkx.algorithms.isomorphism import GraphMatcher, categorical_node_match
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from gfnode.errors import InputError
from gfnode.thinning import evenly
from gfnode.trajectory import Doubles, Integers, radii_of
from gfnode.trajectory.checks import as_array

Coordinates = NDArray[np.floating[Any]]

TOLERANCE = 1.25
"""Largest length of a bond, as a multiple of the sum of its covalent radii."""


def pair_distances(positions: Coordinates, pairs: Integers) -> Doubles:
    """Distances in Å of pairs of atoms ``(pair, 2)``: ``(…, atom, 3)`` gives ``(…, pair)``."""
    between = positions[..., pairs[:, 1], :].astype(np.float64) - positions[..., pairs[:, 0], :]
    return np.asarray(np.linalg.norm(between, axis=-1))


@dataclass(frozen=True, eq=False)
class Edges:
    """Directed edges of a molecular graph; each pair of atoms occurs in both directions.

    Parameters
    ----------
    index
        Receiving and sending atom, ``(2, edge)``, in ascending order.
    hop
        Graph distance of the atoms, in bonds, ``(edge,)``, from 1.
    """

    index: Integers
    hop: Integers

    def __len__(self) -> int:
        return len(self.hop)


def bonds_from_distances(
    numbers: Integers, positions: Coordinates, tolerance: float = TOLERANCE
) -> Integers:
    """Find the bonds of a molecule from median distances.

    A pair is bonded when its median distance over at most 100 evenly spaced frames is below
    ``tolerance`` (r_i + r_j), r being covalent radii, see :func:`gfnode.trajectory.radii_of`. The
    median is robust against stretched bonds and close contacts in a few frames. Distances are not
    periodic: molecules that are split by a periodic cell must be made whole before.

    Parameters
    ----------
    numbers
        Atomic numbers, ``(atom,)``.
    positions
        ``(frame, atom, 3)`` in Å.
    tolerance
        Largest length of a bond, as a multiple of the sum of the radii.

    Returns
    -------
    Integers
        Pairs i < j, ``(bond, 2)``, in ascending order.
    """
    _check_positions(positions, len(numbers))
    radii = radii_of(numbers)
    chosen = evenly(len(positions), 100)
    frames = np.asarray(positions[chosen], dtype=np.float64)
    # A median below the limit means that more than half of the frames, or half of an even number,
    # are: any majority of frames shows every such pair at least once.
    touching = [
        pairs[pair_distances(frame, pairs) < tolerance * radii[pairs].sum(1)]
        for frame in frames[: len(frames) // 2 + 1]
        for pairs in [_close_pairs(frame, 2 * tolerance * float(radii.max()))]
    ]
    pairs = np.unique(np.concatenate(touching), axis=0)
    lengths = np.median([pair_distances(frame, pairs) for frame in frames], axis=0)
    bonds: Integers = pairs[lengths < tolerance * radii[pairs].sum(1)]
    return bonds


def published_bonds(numbers: Integers, positions: Coordinates) -> Integers:
    """Find bonds as the published experiments did: heavy atoms closer than 1.6 Å in frame 0.

    A bond that happens to be stretched in that frame is lost; use :func:`bonds_from_distances`
    outside of reproductions.

    Parameters
    ----------
    numbers
        Atomic numbers, ``(atom,)``; hydrogen gets no bonds.
    positions
        One frame, ``(atom, 3)`` in Å.

    Returns
    -------
    Integers
        Pairs i < j of the atoms given, ``(bond, 2)``, in ascending order.
    """
    _check_positions(positions[None], len(numbers))
    pairs = _close_pairs(positions, 1.6)
    return pairs[(np.asarray(numbers)[pairs] > 1).all(1)]


def hop_edges(bonds: Integers, n_atoms: int, hops: int = 2) -> Edges:
    """Connect all atoms that are at most ``hops`` bonds apart.

    Parameters
    ----------
    bonds
        Pairs, ``(bond, 2)``, in any order.
    n_atoms
        Number of atoms.
    hops
        The largest graph distance that gets an edge.

    Returns
    -------
    Edges
        Every pair once in each direction, with its graph distance as the hop.
    """
    if hops < 1:
        raise InputError(f"hops is {hops}, expected at least 1 (1 connects only bonded atoms)")
    bonds = as_array("", "bonds", bonds, np.int64).reshape(-1, 2)
    bonded = adjacency(np.concatenate([bonds, bonds[:, ::-1]]).T, n_atoms)
    reached = sparse.eye_array(n_atoms, dtype=np.float64, format="csr")
    shell, shells = reached, []
    for _ in range(hops):
        shell = _ones(shell @ bonded)
        shell = _ones(shell - shell.multiply(reached))
        reached = reached + shell
        shells.append(shell)
    return _edges(shells)


def neighbour_edges(positions: Coordinates, cutoff: float) -> Edges:
    """Connect atoms that are close in space, and atoms that share such a neighbour.

    The published alanine dipeptide experiments use 4 Å in frame 0; pairs that are close *and* share
    a neighbour get two edges, of hop 1 and hop 2.

    Parameters
    ----------
    positions
        One frame, ``(atom, 3)`` in Å.
    cutoff
        Pairs closer than this, in Å, are hop 1; pairs with a common such neighbour are hop 2.
    """
    _check_positions(positions[None], len(positions))
    pairs = _close_pairs(positions, cutoff)
    close = adjacency(np.concatenate([pairs, pairs[:, ::-1]]).T, len(positions))
    shared = (close @ close).tolil()
    shared.setdiag(0)
    return _edges([close, _ones(shared.tocsr())])


def adjacency(edge_index: Integers, n_atoms: int) -> sparse.csr_array:
    """Adjacency matrix A of directed edges ``(2, edge)``: 0 or 1, an edge given twice counts once.

    Raises
    ------
    InputError
        For an edge to an atom that does not exist, or from an atom to itself.
    """
    rows, columns = ends = np.asarray(edge_index, dtype=np.int64).reshape(2, -1)
    if (bad := ends[(ends < 0) | (ends >= n_atoms)]).size:
        raise InputError(f"an edge or bond refers to atom {bad[0]}, expected 0 to {n_atoms - 1}")
    if (bad := rows[rows == columns]).size:
        raise InputError(f"an edge or bond joins atom {bad[0]} to itself; remove it")
    return _ones(sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(n_atoms, n_atoms)))


def laplacian(
    edge_index: Integers,
    n_atoms: int,
    kind: Literal["combinatorial", "normalised"] = "combinatorial",
) -> sparse.csr_array:
    """Laplacian of an unweighted graph.

    Combinatorial: L = D − A; normalised: L = I − D^(−1/2) A D^(−1/2), where A is the adjacency
    matrix (0 or 1: an edge given twice counts once) and D its degrees. An atom without edges has a
    row of zeros in both.

    Parameters
    ----------
    edge_index
        Directed edges, both directions, ``(2, edge)``.
    n_atoms
        Number of atoms.
    kind
        ``"combinatorial"`` or ``"normalised"``.

    Returns
    -------
    scipy.sparse.csr_array
        ``(atom, atom)``, float64.
    """
    matrix = adjacency(edge_index, n_atoms)
    degree = matrix.sum(axis=1)
    if kind == "combinatorial":
        return sparse.csr_array(sparse.diags_array(degree) - matrix)
    if kind != "normalised":
        raise InputError(f"unknown Laplacian {kind!r}: expected 'combinatorial' or 'normalised'")
    scale = sparse.diags_array(np.where(degree > 0, degree, 1.0) ** -0.5)
    present = sparse.diags_array((degree > 0).astype(np.float64))
    return sparse.csr_array(present - scale @ matrix @ scale)


def components(edge_index: Integers, n_atoms: int) -> Integers:
    """Connected component of each atom, ``(atom,)``, counted from 0."""
    _, labels = connected_components(adjacency(edge_index, n_atoms), directed=False)
    return np.asarray(labels, dtype=np.int64)


def describe_components(labels: Integers) -> str | None:
    """Message that a graph is disconnected; None when it is connected.

    Each component has its own constant mode of eigenvalue zero, so the mean position of a molecule
    is then no longer a single mode.
    """
    sizes = np.sort(np.bincount(labels))[::-1]
    if len(sizes) < 2:
        return None
    shown = ", ".join(str(size) for size in sizes[:6]) + (", …" if len(sizes) > 6 else "")
    return (
        f"the graph has {len(sizes)} disconnected pieces of {shown} atoms: each has its own "
        "constant mode"
    )


@dataclass(frozen=True, eq=False)
class RotorGroups:
    """Internal rotors: groups of atoms that may rotate about the bond that attaches them.

    Parameters
    ----------
    axes
        ``(rotor, 2)``: the atom of the group at the bond, and the atom at its other end.
    members
        Which atoms belong to the group, ``(rotor, atom)``, the first atom of its axis among them.
    """

    axes: Integers
    members: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.axes)


def rotors(bonds: Integers, masses: Doubles) -> RotorGroups:
    """Find the groups attached by a single bond outside of rings (a bridge of the graph).

    Removing the bond splits the molecule in two; the lighter side is the rotor. Neither single
    atoms nor sides of equal mass are rotors. The torsional barrier (low for a methyl group, high
    for a carboxyl group) is not considered.

    Parameters
    ----------
    bonds
        Pairs, ``(bond, 2)``, in any order.
    masses
        In u, ``(atom,)``.
    """
    n_atoms = len(masses)
    bonds = np.asarray(bonds, dtype=np.int64).reshape(-1, 2)
    graph = networkx.Graph(bonds.tolist())
    graph.add_nodes_from(range(n_atoms))
    whole = components(bonds.T, n_atoms)
    # in depth-first preorder, the subtree of an atom follows it contiguously
    order = list(networkx.dfs_preorder_nodes(graph))
    above = networkx.dfs_predecessors(graph)
    hanging = dict.fromkeys(order, 1)
    for atom in reversed(order):
        if atom in above:
            hanging[above[atom]] += hanging[atom]
    place = {atom: number for number, atom in enumerate(order)}

    axes, members = [], []
    for bond in networkx.bridges(graph):
        low, high = bond if above.get(bond[0]) == bond[1] else bond[::-1]
        side = np.zeros(n_atoms, dtype=bool)
        side[order[place[low] : place[low] + hanging[low]]] = True
        rest = (whole == whole[low]) & ~side
        excess = masses[side].sum() - masses[rest].sum()
        if min(side.sum(), rest.sum()) > 1 and abs(excess) > 1e-6:
            axes.append((high, low) if excess > 0 else (low, high))
            members.append(rest if excess > 0 else side)
    return RotorGroups(
        np.array(axes, dtype=np.int64).reshape(-1, 2),
        np.array(members, dtype=bool).reshape(-1, n_atoms),
    )


def automorphisms(bonds: Integers, numbers: Integers, most: int = 64) -> Integers:
    """Automorphisms of the molecular graph: permutations of equivalent atoms, ``(order, atom)``.

    Atom i of a permuted molecule is atom ``order[i]``. All automorphisms, or where there are more
    than ``most``, that many from searches with random initial orders.
    """
    identity = np.arange(len(numbers))
    pairs = np.asarray(bonds, dtype=np.int64).reshape(-1, 2)

    def called(names: Integers) -> networkx.Graph:
        graph = networkx.Graph()
        for name, atom in enumerate(np.argsort(names)):  # the order of names steers the search
            graph.add_node(name, number=int(numbers[atom]))
        graph.add_edges_from(names[pairs].tolist())
        return graph

    def orders(names: Integers) -> Iterator[Integers]:
        same = categorical_node_match("number", 0)
        back = np.argsort(names)
        for found in GraphMatcher(called(identity), called(names), same).isomorphisms_iter():
            yield back[[found[i] for i in identity.tolist()]]

    every = list(islice(orders(identity), most + 1))
    if len(every) > most:
        rng = np.random.default_rng(0)
        every = [next(orders(rng.permutation(identity))) for _ in range(most)]
    return np.stack(every)


def _ones(matrix: sparse.csr_array) -> sparse.csr_array:
    """Set every entry that is not zero to one."""
    matrix = sparse.csr_array(matrix)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.data[:] = 1.0
    return matrix


def _edges(shells: list[sparse.csr_array]) -> Edges:
    entries = [shell.tocoo().coords for shell in shells]
    hop = np.repeat(np.arange(1, len(shells) + 1), [len(rows) for rows, _ in entries])
    rows, columns = (np.concatenate([entry[k] for entry in entries]) for k in (0, 1))
    order = np.lexsort((hop, columns, rows))
    return Edges(np.stack([rows, columns])[:, order].astype(np.int64), hop[order])


def _close_pairs(frame: Coordinates, cutoff: float) -> Integers:
    """Find pairs i < j strictly closer than the cutoff, in ascending order."""
    pairs: Integers = cKDTree(frame).query_pairs(cutoff, output_type="ndarray").astype(np.int64)
    pairs = pairs[pair_distances(frame, pairs) < cutoff]
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _check_positions(positions: Coordinates, n_atoms: int) -> None:
    if positions.ndim != 3 or positions.shape[1:] != (n_atoms, 3) or not len(positions):
        raise InputError(
            f"positions have shape {positions.shape}, expected (frame, {n_atoms}, 3): "
            "one row of three coordinates for every atomic number"
        )
