"""Internal coordinates against networkx and mdtraj, and counts known from chemistry."""

from pathlib import Path

import mdtraj
import networkx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from MDAnalysisTests.datafiles import PDB_small

import gfnode
from gfnode import geometry
from gfnode.errors import InputError
from gfnode.molecule import internal
from gfnode.molecule.torsions import named_torsions, ramachandran_pairs, read_torsions
from gfnode.trajectory import Integers, Topology
from gfnode.trajectory.mdtraj import from_mdtraj

DATA = Path(gfnode.__file__).parent / "data"


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Integers, int]:
    """Bonds of up to nine atoms, a pair once, either way round."""
    n_atoms = draw(st.integers(1, 9))
    pairs = [(i, j) for i in range(n_atoms) for j in range(n_atoms) if i != j]
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=14)) if pairs else []
    once = {frozenset(pair): pair for pair in chosen}
    return np.array(list(once.values()), dtype=np.int64).reshape(-1, 2), n_atoms


@pytest.fixture(scope="module")
def protein() -> tuple[mdtraj.Trajectory, Integers, Topology]:
    """Adenylate kinase, all 3341 atoms."""
    frames = mdtraj.load(PDB_small)
    return frames, *from_mdtraj(frames.topology)


@pytest.fixture(scope="module")
def peptide() -> mdtraj.Trajectory:
    """Alanine dipeptide, shaken: every angle far from 0 and π, where mdtraj's arc cosine is bad."""
    frames = mdtraj.load(DATA / "alanine-dipeptide.pdb")
    shake = np.random.default_rng(0).normal(0, 0.004, (200, 22, 3))
    return mdtraj.Trajectory((frames.xyz + shake).astype(np.float32), frames.topology)


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_enumeration_agrees_with_networkx(drawn: tuple[Integers, int]) -> None:
    bonds, n_atoms = drawn
    graph = networkx.Graph(bonds.tolist())
    graph.add_nodes_from(range(n_atoms))
    angles = {
        (a, middle, b) for middle in graph for a in graph[middle] for b in graph[middle] if a < b
    }
    found = internal.angles(bonds)
    assert sorted(map(tuple, found.tolist())) == sorted(angles)
    dihedrals = {
        (i, j, k, m)
        for j, k in map(sorted, graph.edges)
        for i in set(graph[j]) - {k}
        for m in set(graph[k]) - {j, i}
    }
    found = internal.dihedrals(bonds, n_atoms)
    assert sorted(map(tuple, found.tolist())) == sorted(dihedrals)
    impropers = [(i, *sorted(graph[i])) for i in sorted(graph) if len(graph[i]) == 3]
    assert list(map(tuple, internal.impropers(bonds, n_atoms).tolist())) == impropers
    around, centres = internal.tetrahedra(bonds, n_atoms)
    assert centres.tolist() == [i for i in sorted(graph) if len(graph[i]) == 4]
    assert around.tolist() == [sorted(graph[i]) for i in centres]
    apart = dict(networkx.all_pairs_shortest_path_length(graph))
    pairs = [(i, j) for i in range(n_atoms) for j in range(i + 1, n_atoms)]
    expected = [pair for pair in pairs if apart[pair[0]].get(pair[1], 99) >= 4]
    assert list(map(tuple, internal.nonbonded_pairs(bonds, n_atoms).tolist())) == expected


@settings(max_examples=60, deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
def test_colours_do_not_depend_on_the_order_of_atoms(drawn: tuple[Integers, int], random) -> None:
    bonds, n_atoms = drawn
    numbers = np.array([random.choice([1, 6]) for _ in range(n_atoms)])
    order = np.array(random.sample(range(n_atoms), n_atoms))
    plain = internal.colours(bonds, numbers)
    place = np.argsort(order)
    moved = internal.colours(place[bonds] if len(bonds) else bonds, numbers[order])
    np.testing.assert_array_equal(plain[order][:, None] == plain[order], moved[:, None] == moved)


def test_alanine_dipeptide(peptide: mdtraj.Trajectory) -> None:
    numbers, topology = from_mdtraj(peptide.topology)
    whole = internal.Internal.of(topology.bonds, numbers)
    assert [len(each) for each in (whole.bonds, whole.angles, whole.dihedrals)] == [21, 36, 41]
    names = np.array(topology.names)
    assert [topology.names[i] for i in whole.impropers[:, 0]] == ["C", "N", "C", "N"]
    assert names[whole.centres].tolist() == ["CH3", "CA", "CB", "C"]
    assert names[whole.centres[whole.stereo]].tolist() == ["CA"]
    heavy = internal.Internal.of(topology.bonds, numbers, np.flatnonzero(numbers > 1))
    assert [len(each) for each in (heavy.bonds, heavy.angles, heavy.dihedrals)] == [9, 11, 10]
    assert (numbers[heavy.dihedrals] > 1).all()
    # Cα stays a centre by its three heavy neighbours and itself; methyl groups do not
    assert names[heavy.tetrahedra].tolist() == [["N", "CA", "CB", "C"]]
    assert heavy.stereo.tolist() == [True]


def test_stereocentres_of_a_protein(protein) -> None:
    """Cα of all but glycine, and Cβ of isoleucine and threonine."""
    _, numbers, topology = protein
    found = internal.Internal.of(topology.bonds, numbers)
    named = zip(topology.names, topology.residue_names, strict=True)
    expected = [
        i
        for i, (name, residue) in enumerate(named)
        if (name == "CA" and residue != "GLY") or (name == "CB" and residue in ("ILE", "THR"))
    ]
    assert found.centres[found.stereo].tolist() == expected
    assert len(expected) > 200


@pytest.mark.parametrize(
    ("bonds", "numbers", "expected"),
    [
        # CHFClBr and CH2FCl
        ([(0, i) for i in (1, 2, 3, 4)], [6, 1, 9, 17, 35], [0]),
        ([(0, i) for i in (1, 2, 3, 4)], [6, 1, 1, 9, 17], []),
        # a difference four bonds away: 3-methylhexane's C3, without hydrogens but one
        ([(0, 1), (0, 2), (0, 3), (3, 4), (0, 5), (5, 6), (6, 7)], [6, 1, 6, 6, 6, 6, 6, 6], [0]),
        ([(0, 1), (0, 2), (0, 3), (3, 4), (0, 5), (5, 6)], [6, 1, 6, 6, 6, 6, 6], []),
    ],
)
def test_stereocentres(bonds: list, numbers: list, expected: list) -> None:
    found = internal.Internal.of(np.array(bonds), np.array(numbers))
    assert found.centres[found.stereo].tolist() == expected


def test_no_bonds_and_one_atom() -> None:
    none = np.empty((0, 2), dtype=np.int64)
    found = internal.Internal.of(none, np.array([18]))
    assert [len(found.bonds), len(found.angles), len(found.dihedrals), len(found.stereo)] == [0] * 4
    assert internal.nonbonded_pairs(none, 3).tolist() == [[0, 1], [0, 2], [1, 2]]


def test_atoms_in_a_line_define_no_dihedral() -> None:
    """A nitrile: C–C–C≡N ends in a line, H–C–C–C is without_collinear, and stays."""
    x = np.array([[0.0, 1, 0], [0, 0, 0], [1.5, 0, 0], [2.0, 1.4, 0], [2.4, 2.5, 0.1]])
    chain = internal.dihedrals(np.array([[0, 1], [1, 2], [2, 3], [3, 4]]), 5)
    shaken = np.random.default_rng(0).normal(x, 0.03, (20, 5, 3)).astype(np.float32)
    assert chain.tolist() == [[0, 1, 2, 3], [1, 2, 3, 4]]
    assert internal.without_collinear(chain, shaken).tolist() == [[0, 1, 2, 3]]
    ends = internal.is_collinear(np.array([[1, 2, 3], [2, 3, 4]]), shaken)
    assert ends.tolist() == [False, True]


def test_a_metal_in_a_square_has_no_hand() -> None:
    """Four ligands in a plane, up and down by chance, beside four at the corners of a methane."""
    flat = np.array([[0, 0, 0], [2.0, 0, 0], [0, 2, 0], [-2, 0, 0], [0, -2, 0]])
    carbon = np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 1.6 + 9
    x = np.concatenate([flat, carbon])
    shaken = np.random.default_rng(0).normal(x, 0.1, (20, 10, 3)).astype(np.float32)
    bonds = np.array([[n, n + k] for n in (0, 5) for k in (1, 2, 3, 4)])
    found = internal.Internal.of(bonds, np.array([78, 7, 17, 35, 53, 6, 1, 9, 17, 35]))
    assert found.centres.tolist() == [0, 5]
    assert found.stereo.tolist() == [True, True]
    defined = found.defined(shaken)
    assert defined.centres.tolist() == [5]
    assert defined.tetrahedra.shape == (1, 4)
    assert defined.stereo.tolist() == [True]
    assert len(defined.angles) == len(found.angles)


def test_values_agree_with_mdtraj(peptide: mdtraj.Trajectory) -> None:
    """Å and radians, to 1e-5, over every internal coordinate there is."""
    numbers, topology = from_mdtraj(peptide.topology)
    x = 10 * torch.from_numpy(peptide.xyz.copy())
    found = internal.Internal.of(topology.bonds, numbers)
    pairs = internal.nonbonded_pairs(topology.bonds, 22)
    for index in (found.bonds, pairs):
        np.testing.assert_allclose(
            geometry.bond_lengths(x, torch.from_numpy(index)),
            10 * mdtraj.compute_distances(peptide, index),
            atol=1e-5,
        )
    np.testing.assert_allclose(
        geometry.bond_angles(x, torch.from_numpy(found.angles)),
        mdtraj.compute_angles(peptide, found.angles),
        atol=1e-5,
    )
    for index in (found.dihedrals, found.impropers):
        ours = geometry.dihedrals(x, torch.from_numpy(index)).numpy()
        difference = ours - mdtraj.compute_dihedrals(peptide, index)
        np.testing.assert_allclose(np.sin(difference), 0, atol=1e-5)
        assert (np.cos(difference) > 0).all()


KINDS = ("phi", "psi", "omega", "chi1", "chi2", "chi3", "chi4", "chi5")


def test_named_torsions_are_those_of_mdtraj(protein) -> None:
    frames, _, topology = protein
    found = named_torsions(topology)
    for kind in KINDS:
        theirs = getattr(mdtraj, f"compute_{kind}")(frames)[0]
        mine = [atoms for name, atoms in found.items() if name.split("_")[0] == kind]
        assert sorted(map(tuple, np.array(mine).tolist())) == sorted(map(tuple, theirs.tolist()))
        assert len(mine) > (0 if kind == "chi5" else 25)
    middle = topology.residue_ids[found["phi_ARG2"][1]]
    assert (middle, topology.names[found["phi_ARG2"][1]]) == (2, "N")


def test_named_torsions_of_two_chains() -> None:
    """Two copies with the same numbers: each keeps to its own chain, bonds or not."""
    one = mdtraj.load(DATA / "alanine-dipeptide.pdb")
    both = one.stack(one)
    _, topology = from_mdtraj(both.topology)
    bare = Topology(
        topology.names, topology.residue_names, topology.residue_ids, topology.bonds[:0]
    )
    for each in (topology, bare):
        pairs = ramachandran_pairs(named_torsions(each))
        assert list(pairs) == ["ALA2", "ALA2#2"]
        np.testing.assert_array_equal(pairs["ALA2#2"], pairs["ALA2"] + 22)
    phi, psi = (getattr(mdtraj, f"compute_{kind}")(one)[0][0] for kind in ("phi", "psi"))
    np.testing.assert_array_equal(pairs["ALA2"], [phi, psi])


def test_reads_torsions_of_a_user() -> None:
    _, topology = from_mdtraj(mdtraj.load(DATA / "alanine-dipeptide.pdb").topology)
    found = read_torsions(["phi=1:C-2:N-2:CA-2:C", "methyl=0-CH3-4-6"], 22, topology)
    assert {name: atoms.tolist() for name, atoms in found.items()} == {
        "phi": [4, 6, 8, 14],
        "methyl": [0, 1, 4, 6],
    }


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("phi", "expected a new name and four atoms"),
        ("phi=1-2-3", "expected a new name and four atoms"),
        ("phi=0-1-2-22", "no atom 22, expected 0 to 21"),
        ("phi=0-1-2-1", "names an atom twice"),
        ("phi=C-6-8-14", "3 atoms are called C; give RESIDUE:NAME"),
        ("phi=9:C-6-8-14", "no atom is called 9:C"),
    ],
)
def test_refuses_torsions_that_are_none(item: str, said: str) -> None:
    _, topology = from_mdtraj(mdtraj.load(DATA / "alanine-dipeptide.pdb").topology)
    with pytest.raises(InputError, match=said):
        read_torsions([item], 22, topology)
