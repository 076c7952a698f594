"""Bonds, hops and Laplacians against networkx, chemistry and the published counts."""

import time

import networkx as nx
import numpy as np
import pytest
from ase.build import molecule
from ase.data import atomic_masses

from gfnode.errors import InputError
from gfnode.graph import (
    bonds_from_distances,
    components,
    describe_components,
    hop_edges,
    laplacian,
    neighbour_edges,
    published_bonds,
    rotors,
)

RING = np.array([[i, (i + 1) % 6] for i in range(6)])


def pairs(edges, hop):
    return {tuple(pair) for pair in edges.index[:, edges.hop == hop].T.tolist()}


def named_bonds(name, **options):
    atoms = molecule(name)
    found = bonds_from_distances(atoms.numbers, atoms.positions[None], **options)
    return sorted("-".join(sorted(atoms.symbols[i] for i in pair)) for pair in found)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CH4", ["C-H"] * 4),
        ("CH3CH2OH", ["C-C"] + ["C-H"] * 5 + ["C-O", "H-O"]),
        ("C6H6", ["C-C"] * 6 + ["C-H"] * 6),
        ("H2", ["H-H"]),
        ("Li2", ["Li-Li"]),
        ("NaCl", ["Cl-Na"]),
        ("C4H4S", ["C-C"] * 3 + ["C-H"] * 4 + ["C-S"] * 2),
        ("cyclobutane", ["C-C"] * 4 + ["C-H"] * 8),
        ("SiH4", ["H-Si"] * 4),
    ],
)
def test_bonds_of_known_molecules(name, expected):
    assert named_bonds(name) == expected


def test_bonds_go_by_the_median_frame():
    atoms = molecule("CH3CH2OH")
    frames = np.repeat(atoms.positions[None], 9, axis=0)
    frames[:4, 0] += 5.0  # a first carbon torn away in a minority of frames, the first among them
    assert len(bonds_from_distances(atoms.numbers, frames)) == 8
    frames[:5, 0] += 5.0
    assert len(bonds_from_distances(atoms.numbers, frames)) < 8
    assert len(bonds_from_distances(atoms.numbers, frames[:1])) < 8


def test_bonds_are_sorted_and_each_stands_once():
    atoms = molecule("C6H6")
    bonds = bonds_from_distances(atoms.numbers, atoms.positions[None])
    assert (bonds[:, 0] < bonds[:, 1]).all()
    assert np.array_equal(bonds, np.unique(bonds, axis=0))
    assert bonds.dtype == np.int64


def test_published_bonds_join_heavy_atoms_only():
    atoms = molecule("CH3CH2OH")
    bonds = published_bonds(atoms.numbers, atoms.positions)
    assert sorted("-".join(sorted(atoms.symbols[i] for i in b)) for b in bonds) == ["C-C", "C-O"]
    assert len(published_bonds(atoms.numbers, atoms.positions * 1.2)) == 0


def test_published_rule_loses_a_bond_that_is_stretched_in_the_first_frame(shared_data):
    lost = 0
    for path in sorted((shared_data / "rmd17").glob("*.npz")):
        with np.load(path, allow_pickle=False) as data:
            numbers, frames = data["nuclear_charges"].astype(np.int64), data["coords"]
        heavy = numbers > 1
        bonds = bonds_from_distances(numbers[heavy], frames[:, heavy])
        assert len(np.unique(bonds)) == heavy.sum(), path.name
        assert (components(hop_edges(bonds, heavy.sum()).index, heavy.sum()) == 0).all(), path.name
        lost += len(published_bonds(numbers[heavy], frames[0][heavy])) < len(bonds)
    assert lost


@pytest.mark.parametrize("hops", [1, 2, 3, 5])
def test_hops_are_graph_distances(hops):
    graph = nx.gnm_random_graph(40, 48, seed=hops)
    edges = hop_edges(np.array(graph.edges), 40, hops)
    expected = {
        (i, j, d)
        for i, lengths in nx.all_pairs_shortest_path_length(graph, cutoff=hops)
        for j, d in lengths.items()
        if d
    }
    found = [(*pair, hop) for pair, hop in zip(edges.index.T.tolist(), edges.hop, strict=True)]
    assert len(found) == len(set(found)) == len(edges)
    assert set(found) == expected
    assert found == sorted(found)


def test_hops_do_not_depend_on_how_bonds_are_written():
    shuffled = np.concatenate([RING[::-1, ::-1], RING])
    first, second = hop_edges(RING, 6), hop_edges(shuffled, 6)
    assert np.array_equal(first.index, second.index)
    assert np.array_equal(first.hop, second.hop)


def test_no_bonds_give_no_edges():
    edges = hop_edges(np.empty((0, 2), dtype=np.int64), 3)
    assert edges.index.shape == (2, 0)
    assert not laplacian(edges.index, 3).toarray().any()


def test_close_atoms_and_those_with_a_close_atom_between_them():
    """Atoms at 0, 1, 2 and 9 Å on a line, and one that is 2.5 Å beside the second."""
    positions = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [9, 0, 0], [1, 2.5, 0]])
    edges = neighbour_edges(positions, 1.5)
    assert pairs(edges, 1) == {(0, 1), (1, 0), (1, 2), (2, 1)}
    assert pairs(edges, 2) == {(0, 2), (2, 0)}
    edges = neighbour_edges(positions, 2.5)  # closer than that, not as close
    assert pairs(edges, 1) == {(i, j) for i in range(3) for j in range(3) if i != j}
    assert pairs(edges, 2) == pairs(edges, 1)  # a pair may be both
    assert pairs(neighbour_edges(positions, 2.51), 1) - pairs(edges, 1) == {(1, 4), (4, 1)}


def test_published_alanine_dipeptide_edges(shared_data):
    import mdtraj

    folder = shared_data / "ala2"
    frame = mdtraj.load_frame(
        str(folder / "alanine-dipeptide-0-50ns.xtc"), 0, top=str(folder / "alanine-dipeptide.pdb")
    )
    positions = 10 * frame.xyz[0]
    edges = neighbour_edges(positions, 4.0)
    assert [(edges.hop == hop).sum() for hop in (1, 2)] == [246, 430]
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
    close = (distances < 4) & ~np.eye(22, dtype=bool)
    shared = (close.astype(int) @ close > 0) & ~np.eye(22, dtype=bool)
    assert pairs(edges, 1) == {tuple(pair) for pair in np.argwhere(close).tolist()}
    assert pairs(edges, 2) == {tuple(pair) for pair in np.argwhere(shared).tolist()}


@pytest.mark.parametrize("kind", ["combinatorial", "normalised"])
def test_laplacian_against_networkx(kind):
    graph = nx.gnm_random_graph(30, 25, seed=4)
    assert nx.number_of_isolates(graph) > 0
    index = hop_edges(np.array(graph.edges), 30, 1).index
    reference = nx.laplacian_matrix if kind == "combinatorial" else nx.normalized_laplacian_matrix
    expected = reference(graph, nodelist=range(30)).toarray()
    assert np.allclose(laplacian(index, 30, kind).toarray(), expected, atol=1e-15)
    twice = np.concatenate([index, index], axis=1)
    assert np.allclose(laplacian(twice, 30, kind).toarray(), expected, atol=1e-15)


@pytest.mark.parametrize(
    ("bonds", "n_atoms", "expected"),
    [(RING, 6, [0, 4, 4, 4, 6, 6]), (np.array([[0, 1], [1, 2]]), 3, [0, 3, 3])],
    ids=["benzene", "ethanol"],
)
def test_published_spectra(bonds, n_atoms, expected):
    matrix = laplacian(hop_edges(bonds, n_atoms).index, n_atoms).toarray()
    assert np.allclose(np.linalg.eigvalsh(matrix), expected, atol=1e-12)


def test_components_and_their_report():
    graph = nx.disjoint_union_all([nx.path_graph(5), nx.cycle_graph(10), nx.path_graph(5)])
    labels = components(hop_edges(np.array(graph.edges), 20).index, 20)
    assert labels.tolist() == [0] * 5 + [1] * 10 + [2] * 5
    assert describe_components(labels) == (
        "the graph has 3 disconnected pieces of 10, 5, 5 atoms: each has its own constant mode"
    )
    assert describe_components(np.zeros(4, dtype=np.int64)) is None
    assert "300 disconnected pieces of 1, 1, 1, 1, 1, 1, … atoms" in (
        describe_components(np.arange(300)) or ""
    )


def test_ten_thousand_atoms_are_quick():
    rng = np.random.default_rng(0)
    bonds = np.stack([np.arange(1, 10_000), rng.integers(0, np.arange(1, 10_000))], axis=1)
    positions = rng.uniform(0, 60, (3, 10_000, 3))
    started = time.perf_counter()
    edges = hop_edges(bonds, 10_000, 3)
    laplacian(edges.index, 10_000)
    bonds_from_distances(np.full(10_000, 6), positions)
    assert time.perf_counter() - started < 5
    assert len(edges) > 100_000


def test_bad_input_is_named():
    with pytest.raises(InputError, match="refers to atom 6, expected 0 to 5"):
        hop_edges(np.array([[0, 6]]), 6)
    with pytest.raises(InputError, match="atom 2 to itself"):
        hop_edges(np.array([[2, 2]]), 6)
    with pytest.raises(InputError, match="bonds holds fractions"):
        hop_edges([[0, 1.5]], 6)
    with pytest.raises(InputError, match="hops is 0"):
        hop_edges(RING, 6, 0)
    with pytest.raises(InputError, match="unknown Laplacian 'signless'"):
        laplacian(hop_edges(RING, 6).index, 6, "signless")
    with pytest.raises(InputError, match=r"expected \(frame, 2, 3\)"):
        bonds_from_distances(np.array([1, 1]), np.zeros((4, 3, 3)))


# Rotors


def rotors_of(name):
    """Each rotor as (symbol at the hinge, symbols of its atoms)."""
    if name == "toluene":
        import gfnode

        sample = gfnode.load("sample:toluene")[:50]
        numbers, frames = sample.numbers, sample.positions
        symbols = list(sample.symbols)
    else:
        atoms = molecule(name)
        numbers, frames, symbols = atoms.numbers, atoms.positions[None], list(atoms.symbols)
    bonds = bonds_from_distances(numbers, frames)
    found = rotors(bonds, atomic_masses[numbers])
    for (hinge, far), members in zip(found.axes, found.members, strict=True):
        assert members[hinge]
        assert not members[far]
        assert sorted((hinge, far)) in bonds.tolist()
    return sorted(
        (symbols[hinge], "".join(sorted(symbols[i] for i in np.flatnonzero(members))))
        for (hinge, _), members in zip(found.axes, found.members, strict=True)
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("toluene", [("C", "CHHH")]),
        ("CH3CH2OH", [("C", "CHHH"), ("O", "HO")]),
        ("C6H6", []),
        ("C2H6", []),  # two methyls turn alike: neither side is the smaller
        ("trans-butane", [("C", "CHHH"), ("C", "CHHH")]),  # and the middle bond is a tie
        ("CH4", []),
        ("H2", []),
        ("bicyclobutane", []),
        ("CH3COOH", [("C", "CHHH"), ("O", "HO")]),  # four atoms on either side of C-C
    ],
)
def test_rotors_of_known_molecules(name, expected):
    assert rotors_of(name) == expected


def test_rotors_of_a_ring_with_a_chain():
    """A ring of six that carries a chain of three: two bonds that part it, none of the ring."""
    chain = np.array([[0, 6], [6, 7], [7, 8]])
    found = rotors(np.concatenate([RING, chain]), np.ones(9))
    members = {tuple(a): np.flatnonzero(m).tolist() for a, m in zip(found.axes, found.members)}  # noqa: B905
    assert members == {(6, 0): [6, 7, 8], (7, 6): [7, 8]}


def test_rotors_of_a_disconnected_graph_stay_within_their_piece():
    chain = np.array([[0, 6], [6, 7], [8, 9], [9, 10], [10, 11], [11, 12]])
    found = rotors(np.concatenate([RING, chain]), np.ones(13))
    members = {tuple(a): np.flatnonzero(m).tolist() for a, m in zip(found.axes, found.members)}  # noqa: B905
    assert members == {(6, 0): [6, 7], (9, 10): [8, 9], (11, 10): [11, 12]}
    assert len(rotors(np.empty((0, 2), dtype=np.int64), np.ones(1))) == 0
    assert rotors(np.empty((0, 2), dtype=np.int64), np.ones(4)).members.shape == (0, 4)


def test_rotors_do_not_depend_on_how_bonds_are_written():
    bonds = np.concatenate([RING, [[0, 6], [6, 7], [7, 8]]])
    first, second = rotors(bonds, np.ones(9)), rotors(bonds[::-1, ::-1], np.ones(9))
    assert sorted(first.axes.tolist()) == sorted(second.axes.tolist())


def test_rotors_against_networkx_bridges():
    graph = nx.Graph(nx.gnm_random_graph(30, 32, seed=8))
    bonds = np.array(sorted(tuple(sorted(e)) for e in graph.edges))
    expected = set()
    for i, j in nx.bridges(graph):
        cut = graph.copy()
        cut.remove_edge(i, j)
        sides = [nx.node_connected_component(cut, a) for a in (i, j)]
        small, large = sorted(sides, key=len)
        if len(small) > 1 and len(small) < len(large):
            expected.add(frozenset(small))
    found = rotors(bonds, np.ones(30))
    assert {frozenset(np.flatnonzero(m).tolist()) for m in found.members} == expected
    assert len(expected) == len(found) >= 3
