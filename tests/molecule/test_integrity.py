"""Broken bonds, clashes and changed hands, built by hand."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest
from MDAnalysisTests.datafiles import PDB_small
from scipy.spatial.distance import pdist

import gfnode
from gfnode.molecule import integrity
from gfnode.molecule.integrity import Integrity, clash_limits, mean_lengths
from gfnode.molecule.internal import Internal, is_collinear, near_in_graph, volumes
from gfnode.trajectory.mdtraj import from_mdtraj

NONE = {
    "broken_bonds": 0,
    "collapsed_bonds": 0,
    "clashes": 0,
    "inverted_centres": 0,
    "chirality_lost": 0,
}


@pytest.fixture(scope="module")
def peptide() -> tuple[Integrity, np.ndarray]:
    frame = gfnode.load(Path(gfnode.__file__).parent / "data" / "alanine-dipeptide.pdb")
    assert frame.topology is not None
    return Integrity.of(frame.topology.bonds, frame.numbers, frame.positions), frame.positions[0]


def counts(judge: Integrity, x: np.ndarray, start: np.ndarray) -> dict[str, int]:
    return {key: int(value) for key, value in judge.counts(x, start).items()}


def test_a_real_conformation_is_whole(peptide) -> None:
    judge, x = peptide
    assert counts(judge, x, x) == NONE


def test_a_mirror_image_loses_its_chirality(peptide) -> None:
    """Four atoms have four neighbours; one of them is a stereocentre. Bonds stay."""
    judge, x = peptide
    mirrored = x * [1, 1, -1]
    expected = NONE | {"inverted_centres": 4, "chirality_lost": 1}
    assert counts(judge, mirrored, x) == expected
    assert counts(judge, mirrored, mirrored) == NONE
    hands = volumes(x, judge.internal.tetrahedra)
    np.testing.assert_allclose(volumes(mirrored, judge.internal.tetrahedra), -hands, rtol=1e-12)


def test_two_hydrogens_of_a_methyl_group_change_places(peptide) -> None:
    judge, x = peptide
    swapped = x.copy()
    swapped[[0, 2]] = x[[2, 0]]  # H1 and H2 on the first carbon
    assert counts(judge, swapped, x) == NONE | {"inverted_centres": 1}


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (1.29, {}),
        (1.31, {"broken_bonds": 1}),
        (0.71, {}),
        (0.69, {"collapsed_bonds": 1}),
        (np.nan, {"broken_bonds": 1}),
    ],
)
def test_a_bond_of_another_length(peptide, factor: float, expected: dict[str, int]) -> None:
    judge, x = peptide
    stretched = x.copy()  # the amide hydrogen, which is in no tetrahedron
    stretched[7] = x[6] + factor * (x[7] - x[6])
    assert counts(judge, stretched, x) == NONE | expected


def test_lengths_are_means_over_conformations() -> None:
    x = np.zeros((3, 2, 3))
    x[:, 1, 2] = [1.0, 1.0, 2.5]
    assert mean_lengths(x, np.array([[0, 1]])).tolist() == [1.5]


@pytest.mark.parametrize(("mirrored", "kept"), [(0, 4), (1, 4), (3, 0), (7, 0), (9, 4), (10, 4)])
def test_a_centre_that_is_seen_with_both_hands_has_none(peptide, mirrored: int, kept: int) -> None:
    """Of ten conformations some are mirrored; whether most are left- or right-handed is one."""
    judge, x = peptide
    frames = np.stack([x * [1, 1, -1 if k < mirrored else 1] for k in range(10)])
    found = judge.internal.defined(frames.astype(np.float32))
    assert len(found.tetrahedra) == len(found.centres) == len(found.stereo) == kept


def test_the_volume_of_the_corner_of_a_cube_is_a_sixth() -> None:
    corner = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    assert volumes(2 * corner, np.array([[0, 1, 2, 3]])) == pytest.approx(8 / 6)


@pytest.mark.parametrize(("degrees", "straight"), [(158.0, False), (162.0, True)])
def test_atoms_are_collinear_from_160_degrees(degrees: float, straight: bool) -> None:
    a = np.radians(degrees)
    x = np.array([[[1.0, 0, 0], [0, 0, 0], [2 * np.cos(a), 2 * np.sin(a), 0]]])
    assert is_collinear(np.array([[0, 1, 2]]), x).tolist() == [straight]


def test_lost_atoms_break_their_bonds_and_hands(peptide) -> None:
    judge, x = peptide
    found = counts(judge, np.full_like(x, np.nan), x)
    assert found == NONE | {"broken_bonds": 21, "inverted_centres": 4, "chirality_lost": 1}


def two(first: int, second: int, distance: float) -> int:
    """Clashes of two atoms without a bond."""
    x = np.zeros((1, 2, 3))
    x[:, 1, 0] = distance
    judge = Integrity.of(np.empty((0, 2), int), np.array([first, second]), x)
    return int(judge.clashes(x)[0])


@pytest.mark.parametrize(
    ("pair", "limit"),
    [
        ((6, 6), 0.6 * 3.4),
        ((1, 1), 0.6 * 2.4),
        ((1, 6), 0.6 * 2.9),
        ((1, 8), 0.45 * 2.72),
        ((1, 7), 0.45 * 2.75),
        ((16, 1), 0.45 * 3.0),
    ],
)
def test_the_limits_of_a_clash(pair: tuple[int, int], limit: float) -> None:
    assert two(*pair, 0.99 * limit) == 1
    assert two(*pair, 1.01 * limit) == 0


def test_pairs_closer_than_four_bonds_do_not_clash() -> None:
    chain = np.stack([np.arange(4), np.arange(1, 5)], 1)
    x = np.random.default_rng(0).normal(0, 0.3, (1, 5, 3))  # all in one heap
    assert Integrity.of(chain, np.full(5, 6), x).clashes(x).tolist() == [1]


def test_the_tree_counts_as_all_pairs_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """1200 atoms of adenylate kinase, shaken until many touch; several frames in one tree."""
    frames = mdtraj.load(PDB_small)
    numbers, topology = from_mdtraj(frames.topology)
    numbers = np.where(numbers == 106, 16, numbers)  # mdtraj takes SG for seaborgium
    x = 10 * frames.xyz.astype(float)
    shaken = x + np.random.default_rng(1).normal(0, 0.45, (3, *x.shape[1:]))
    atoms = np.arange(500, 1700)
    judge = Integrity.of(topology.bonds, numbers, x, atoms)
    monkeypatch.setattr(integrity, "_VALUES", 2 * 32 * len(atoms))  # two frames at once
    found = judge.clashes(shaken)
    i, j = atoms[np.stack(np.triu_indices(len(atoms), 1))]  # in the order of pdist
    near = near_in_graph(topology.bonds, len(numbers))
    apart = ~np.isin(i * len(numbers) + j, near @ [len(numbers), 1])
    limits = clash_limits(judge.numbers, np.stack([i, j], 1))
    expected = [int(((pdist(frame[atoms]) < limits) & apart).sum()) for frame in shaken]
    assert found.tolist() == expected
    assert min(expected) > 20
    lost = shaken[:1].copy()
    lost[0, 500:600] = np.inf
    assert 0 < judge.clashes(lost)[0] < expected[0]


def test_looks_at_some_atoms_only(peptide) -> None:
    whole, x = peptide
    heavy = np.flatnonzero(whole.numbers > 1)
    judge = Integrity.of(whole.bonds, whole.numbers, x[None], heavy)
    assert isinstance(judge.internal, Internal)
    shrunk = 0.5 * x
    assert counts(judge, shrunk, x)["collapsed_bonds"] == 9
    assert counts(whole, shrunk, x)["collapsed_bonds"] == 21
    assert 0 < counts(judge, shrunk, x)["clashes"] < counts(whole, shrunk, x)["clashes"]
