"""Molecules in a periodic box, against the motion that they were cut from and against mdtraj."""

import re

import mdtraj
import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111, molecule
from ase.neighborlist import natural_cutoffs, neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from gfnode import load, save
from gfnode.errors import InputError
from gfnode.inspection import inspect
from gfnode.molecule.periodic import (
    Unwrapper,
    heights,
    label,
    lattices,
    near_bonds,
    neighbours_across,
)
from gfnode.molecule.replicas import split_molecules
from gfnode.trajectory import Topology, Trajectory
from gfnode.trajectory.mdtraj import to_mdtraj
from gfnode.windows.splits import blocked

CUBE = np.diag([20.0, 21.0, 22.0])
TRICLINIC = np.array([[20.0, 0, 0], [6.0, 19.0, 0], [-7.0, 8.0, 18.0]])
SLAB = np.diag([20.0, 21.0, 0.0])


def chains(molecules=5, atoms=12, frames=40, seed=0):
    """Chains of carbon that drift freely (the exact answer) and their bonds."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(molecules, atoms, 3))
    steps *= 1.4 / np.linalg.norm(steps, axis=-1, keepdims=True)
    base = np.cumsum(steps, axis=1) + rng.uniform(0, 20, (molecules, 1, 3))
    drift = np.cumsum(rng.normal(size=(frames, molecules, 1, 3)) * 1.5, axis=0)
    jiggle = 0.05 * rng.normal(size=(frames, molecules, atoms, 3))
    x = (base + drift - drift[:1] + jiggle).reshape(frames, -1, 3)
    first = np.arange(molecules * atoms).reshape(molecules, atoms)
    return x, np.stack([first[:, :-1].ravel(), first[:, 1:].ravel()], 1), first


def wrapped(x, cell):
    """Every atom for itself into the cell; directions that are not periodic stay."""
    fractions = x @ np.linalg.pinv(cell)
    return x - np.floor(fractions) @ cell


def up_to_lattice(x, exact, cell, first):
    """Positions of whole molecules, moved by one lattice vector for all frames of each."""
    root = first[:, 0]
    images = np.rint((x[0, root] - exact[0, root]) @ np.linalg.pinv(cell))
    return x - (images @ cell)[None].repeat(first.shape[1], 1)


@pytest.mark.parametrize("cell", [CUBE, TRICLINIC, SLAB], ids=["cube", "triclinic", "slab"])
@pytest.mark.parametrize("pieces", [1, 3, 40])
def test_the_motion_comes_back(cell, pieces):
    exact, bonds, first = chains()
    cut = wrapped(exact, cell)
    assert np.linalg.norm(np.diff(cut[:, bonds], axis=2), axis=-1).max() > 10
    unwrap = Unwrapper(bonds, cut.shape[1])
    cells = np.broadcast_to(cell, (len(cut), 3, 3))
    parts = [unwrap(cut[rows], cells[rows]) for rows in np.array_split(np.arange(len(cut)), pieces)]
    got = up_to_lattice(np.concatenate(parts), exact, cell, first)
    np.testing.assert_allclose(got, exact, atol=1e-9)
    assert unwrap.frames == len(cut)
    assert unwrap.broken > 0
    assert unwrap.jumps > 0


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**20), skew=st.floats(-9, 9), low=st.floats(8, 30))
def test_any_box(seed, skew, low):
    cell = np.array([[25.0, 0, 0], [skew, 24.0, 0], [-skew, 0.5 * skew, low]])
    if heights(cell).min() < 8:  # drifts of half the height would be ambiguous
        return
    exact, bonds, first = chains(3, 7, 12, seed)
    exact = exact[:1] + 0.3 * (exact - exact[:1])
    unwrap = Unwrapper(bonds, exact.shape[1])
    got = unwrap(wrapped(exact, cell), np.broadcast_to(cell, (12, 3, 3)))
    np.testing.assert_allclose(up_to_lattice(got, exact, cell, first), exact, atol=1e-9)


def test_what_is_whole_is_left_bit_by_bit():
    exact, bonds, _ = chains(frames=10)
    still = (exact[:1] + 0.01 * (exact - exact[:1])).astype(np.float32)
    unwrap = Unwrapper(bonds, still.shape[1])
    got = unwrap(still, np.broadcast_to(CUBE, (10, 3, 3)))
    np.testing.assert_array_equal(got.astype(np.float32), still)
    assert (unwrap.broken, unwrap.jumps) == (0, 0)


def test_cells_that_are_no_box_do_nothing():
    exact, bonds, _ = chains(frames=4)
    for cell in (np.zeros((3, 3)), np.eye(3), np.ones((3, 3)) * 9):  # a PDB's dummy, a flat one
        got = Unwrapper(bonds, exact.shape[1])(exact, np.broadcast_to(cell, (4, 3, 3)))
        np.testing.assert_array_equal(got, exact)
    assert lattices(CUBE[None]).any()
    np.testing.assert_allclose(heights(SLAB), [20, 21, np.inf])


def test_a_breathing_box_moves_only_what_jumped():
    """With a barostat a jump is undone by the cell of its own frame (von Bülow et al., eq. 2)."""
    scale = 1 + 0.02 * np.sin(np.arange(30))[:, None, None]
    cells = CUBE * scale
    x = np.array([1.0, 10, 11]) + np.arange(30)[:, None, None] * np.array([-0.4, 0, 0])
    cut = np.stack([wrapped(frame, cell) for frame, cell in zip(x, cells, strict=True)])
    got = Unwrapper(np.empty((0, 2), dtype=int), 1)(cut, cells)
    moves = np.diff(got[:, 0, 0])
    # free of jumps; after the crossing, wrapped coordinates breathe with the box
    crossing = int(np.argmax(np.abs(np.diff(cut[:, 0, 0])) > 10))
    np.testing.assert_allclose(moves[: crossing + 1], -0.4, atol=1e-9)
    assert np.abs(moves).max() < 1.5
    plain = (
        cut[:, 0]
        - np.cumsum(
            np.vstack([np.zeros(3), np.rint(np.diff(cut[:, 0], axis=0) @ np.linalg.inv(CUBE))]), 0
        )
        @ CUBE
    )
    assert np.abs(plain[:, 0] - got[:, 0, 0]).max() < 0.5


def test_mdtraj_makes_the_same_molecules_whole():
    exact, bonds, first = chains()
    n_atoms = exact.shape[1]
    topology = Topology(("C",) * n_atoms, ("LIG",) * n_atoms, (1,) * n_atoms, bonds)
    cut = Trajectory(
        wrapped(exact, TRICLINIC),
        np.arange(40),
        [6] * n_atoms,
        cell=np.broadcast_to(TRICLINIC, (40, 3, 3)),
        topology=topology,
    )
    theirs = mdtraj.Trajectory(cut.positions / 10, to_mdtraj(cut.numbers, cut.topology))
    theirs.unitcell_vectors = cut.cell / 10
    theirs = theirs.make_molecules_whole(sorted_bonds=bonds.astype(np.int32))
    ours = Unwrapper(bonds, n_atoms)(cut.positions, cut.cell)
    inside = [x[:, bonds[:, 1]] - x[:, bonds[:, 0]] for x in (theirs.xyz * 10, ours)]
    np.testing.assert_allclose(*inside, atol=2e-5)
    assert label(bonds, n_atoms).tolist() == [i for i in range(5) for _ in range(12)]
    assert first.shape == (5, 12)


def test_bonds_through_the_box():
    exact, bonds, _ = chains(molecules=1, atoms=6)
    cut = wrapped(exact, TRICLINIC)
    found = near_bonds(np.full(6, 6), [(cut[i], TRICLINIC) for i in (0, 10, 39)])
    assert {tuple(pair) for pair in bonds} <= {tuple(pair) for pair in found}
    assert (np.linalg.norm(exact[0, found[:, 0]] - exact[0, found[:, 1]], axis=-1) < 2.2).all()


@pytest.mark.parametrize("rows", [0, 2, 3])
def test_bonds_through_the_box_are_those_of_ase(rows):
    rng = np.random.default_rng(rows)
    numbers = rng.choice([1, 6, 17, 55], 40)
    for _ in range(20):
        cell = 6 * rng.normal(size=(3, 3))
        cell[rows:] = 0
        box = lattices(cell)
        x = rng.uniform(-15, 15, (40, 3))
        atoms = Atoms(numbers, x, cell=box, pbc=box.any(-1))
        pairs = np.stack(neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=1.25)), 1)
        expected = {(int(i), int(j)) for i, j in pairs if i < j}
        assert {(int(i), int(j)) for i, j in near_bonds(numbers, [(x, cell)])} == expected


def test_bonds_of_many_atoms_need_no_box():
    """What takes room for every pair would need many GB."""
    x = np.arange(60_000)[:, None] * np.array([1.5, 0, 0])
    found = near_bonds(np.full(len(x), 6), [(x, np.zeros((3, 3)))])
    assert len(found) == len(x) - 1


# through files


def box(frames=30, waters=20, seed=1):
    """A chain of five carbons and waters that drift, whole and as a program would store them."""
    rng = np.random.default_rng(seed)
    chain = np.arange(5)[:, None] * np.array([1.2, 0.8, 0]) + np.array([15, 4, 4])
    water = np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    base = [chain] + [water + rng.uniform(0, 18, 3) for _ in range(waters)]
    x = np.concatenate(base)
    molecule = np.repeat(np.arange(waters + 1), [5] + [3] * waters)
    drift = np.cumsum(rng.normal(size=(frames, waters + 1, 3)), 0)
    drift[:, 0] = np.arange(frames)[:, None] * np.array([1.1, 0.3, 0])  # once through the box
    exact = x + drift[:, molecule]
    bonds = [[i, i + 1] for i in range(4)]
    for first in range(5, len(x), 3):
        bonds += [[first, first + 1], [first, first + 2]]
    names = ("C1", "C2", "C3", "C4", "C5", *["O", "H1", "H2"] * waters)
    residues = ("LIG",) * 5 + ("HOH",) * 3 * waters
    topology = Topology(names, residues, tuple((molecule + 1).tolist()), np.array(bonds))
    numbers = [6] * 5 + [8, 1, 1] * waters
    cell = np.broadcast_to(TRICLINIC, (frames, 3, 3))
    times = np.arange(frames) * 1000.0
    return exact, Trajectory(
        wrapped(exact, TRICLINIC), times, numbers, cell=cell, topology=topology, name="box"
    )


@pytest.mark.parametrize("suffix", [".npz", ".xtc", ".trr", ".dcd", ".nc", ".lammpstrj", ".h5"])
def test_a_solute_comes_out_continuous(tmp_path, suffix):
    exact, stored = box()
    path = save(stored, tmp_path / f"run{suffix}")
    topless = suffix in (".npz", ".h5")
    given = {} if topless else {"top": save(stored[0], tmp_path / "run.pdb")}
    given |= {"step": "1ps"} if suffix == ".dcd" else {}
    atol = 0.011 if suffix == ".xtc" else 1e-4
    alone = load(path, **given)
    assert alone.formula == "C5"
    left_out, repaired = alone.notes
    assert "reading 5 of 65 atoms: 60 water and ion atoms are left out" in left_out
    assert "--as-stored keeps them" in repaired
    np.testing.assert_allclose(
        np.diff(alone.positions, axis=0), np.diff(exact[:, :5], axis=0), atol=2 * atol
    )
    bonds = np.diff(alone.positions[:, alone.topology.bonds], axis=2)
    np.testing.assert_allclose(np.linalg.norm(bonds, axis=-1), 2.08**0.5, atol=2 * atol)
    whole = load(path, select="all", **given)
    np.testing.assert_array_equal(whole.positions[:, :5], alone.positions)
    raw = load(path, select="all", whole=False, **given)
    np.testing.assert_allclose(raw.positions, stored.positions, atol=atol)
    assert not raw.notes
    part = load(path, select="name C2", stride=7, **given)
    assert part.positions.shape == (5, 1, 3)
    moved = part.positions - part.positions[:1] - (exact[::7, 1:2] - exact[:1, 1:2])
    assert np.abs(moved).max() < 2 * atol


@pytest.mark.parametrize("suffix", [".extxyz", ".traj", ".lammpstrj"])
def test_without_a_topology_bonds_are_found_through_the_box(tmp_path, suffix):
    exact, stored = box()
    bare = Trajectory(stored.positions, stored.times, stored.numbers, cell=stored.cell)
    got = load(save(bare, tmp_path / f"run{suffix}"))
    np.testing.assert_allclose(np.diff(got.positions, axis=0), np.diff(exact, axis=0), atol=1e-4)
    (note,) = got.notes
    assert "the periodic box cut molecules" in note


def test_notes_tell_only_what_was_done(tmp_path):
    """A molecule that is stored whole and leaves the box was not cut."""
    x = np.zeros((3, 2, 3))
    x[:, 1, 0] = 1.1
    x[2, :, 0] += 9.0  # of 10 Å: it went to −1 Å and came in at the other side
    cell = np.tile(10.0 * np.eye(3), (3, 1, 1))
    saved = save(Trajectory(x, [0, 1, 2], [7, 7], cell=cell), tmp_path / "run.extxyz")
    got = load(saved)
    (note,) = got.notes
    assert "box made them jump across it 1 time (now undone); --as" in note
    assert "cut" not in note
    np.testing.assert_allclose(got.positions[2, :, 0], [-1.0, 0.1], atol=1e-6)


def test_whole_without_a_box_is_refused(tmp_path):
    path = save(Trajectory(np.zeros((2, 1, 3)), [0, 1], [1]), tmp_path / "run.npz")
    with pytest.raises(InputError, match=r"run.npz: holds no periodic cell.*leave out --whole"):
        load(path, whole=True)


# several molecules of one kind


def test_each_molecule_is_a_replica(tmp_path):
    exact, stored = box()
    path = save(stored, tmp_path / "run.npz")
    waters = split_molecules(load(path, select="water"))
    assert [t.formula for t in waters] == ["H2O"] * 20
    for k, water in enumerate(waters):
        mine = slice(5 + 3 * k, 8 + 3 * k)
        steps = np.diff(exact[:, mine], axis=0)
        np.testing.assert_allclose(np.diff(water.positions, axis=0), steps, atol=1e-4)
        assert water.topology.bonds.tolist() == [[0, 1], [0, 2]]
    assert "20 molecules of 3 atoms" in waters[0].notes[-1]
    with pytest.raises(InputError, match=r"several kinds \(20 × H2O, 1 × C5\)"):
        split_molecules(load(path, select="all"))
    alone = load(path)
    assert split_molecules(alone) == [alone]
    mixed = load(path, select=[5, 6, 7, 9, 8, 10])
    with pytest.raises(InputError, match=r"molecule 1 \(atoms 3 to 5\) has its atoms in another"):
        split_molecules(mixed)


def test_molecules_of_one_file_are_split_at_the_same_times():
    frames, molecules = 400, 4
    times = np.tile(np.arange(frames) * 2.0, molecules)
    segments = np.repeat(np.arange(molecules), frames)
    parts = blocked(times, segments, np.arange(len(times)), 30.0, (0.6, 0.1, 0.3))
    for starts in parts.values():
        own = [set((starts[segments[starts] == k] - k * frames).tolist()) for k in range(molecules)]
        assert own[0]
        assert own == [own[0]] * molecules


def test_a_crystal_has_no_whole(tmp_path):
    """Bonds that close around the box are lost, and a note says how many."""
    from ase.build import bulk

    copper = bulk("Cu", "fcc", a=3.6, cubic=True) * (3, 3, 3)
    frames = [copper.copy() for _ in range(3)]
    for number, each in enumerate(frames):
        each.info["time_fs"] = float(number)
    found = load(Trajectory.from_ase(frames).save(tmp_path / "cu.extxyz"))
    (said,) = [note for note in found.notes if "endless" in note]
    lost = int(re.search(r"(\d+) bonds across the box", said)[1])
    x = found.positions[0]
    near = (np.linalg.norm(x[:, None] - x, axis=-1) < 2.7).sum() - len(x)
    assert near // 2 + lost == 108 * 12 // 2  # of the nearest neighbours in fcc


@pytest.mark.parametrize("block", [1, 7, 60])
def test_a_crystal_of_two_by_two_moves_on_beside_what_is_on_it(block):
    """Its bonds are half a box long, and either image may be the nearer; water stays whole."""
    rng = np.random.default_rng(3)
    slab = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    water = molecule("H2O").positions + np.array([1.0, 1.0, 14.5])
    sway = np.cumsum(rng.normal(0, 0.1, (60, 1, 3)), 0)
    exact = np.concatenate(
        [slab.positions + sway + rng.normal(0, 0.1, (60, 12, 3)), water - 2 * sway], axis=1
    )
    cells = np.broadcast_to(slab.cell.array, (60, 3, 3))
    cut = wrapped(exact, slab.cell.array)
    numbers = np.append(slab.numbers, [8, 1, 1])
    unwrap = Unwrapper(near_bonds(numbers, [(cut[0], cells[0])]), 15)
    x = np.concatenate(
        [unwrap(cut[k : k + block], cells[k : k + block]) for k in range(0, 60, block)]
    )
    assert unwrap.endless > 0
    assert np.abs(np.diff(x, axis=0) - np.diff(exact, axis=0)).max() < 1e-6
    assert np.abs(np.diff(x[:, 12:], axis=1) - np.diff(exact[:, 12:], axis=1)).max() < 1e-6


@pytest.mark.parametrize(
    ("edge", "said"),
    [
        (20.0, None),
        (1.0, "the periodic cell is 1 Å high, too small for a box, and is ignored: is it in"),
        (
            5.5,
            "the periodic cell is 5.5 Å high, but a molecule in it 5.88 Å: is it in another unit",
        ),
    ],
)
def test_a_cell_that_is_no_box_for_its_molecules_is_told(edge, said, tmp_path):
    """A slanted rod of nitrogens that does not touch its images."""
    along = np.arange(7)[:, None] * np.array([0.98, 0.64, 0.56])
    rod = (along + 0.01 * np.arange(4)[:, None, None]).astype(np.float32)
    cell = np.repeat(edge * np.eye(3, dtype=np.float32)[None], 4, 0)
    given = Trajectory(rod, np.arange(4.0), np.full(7, 7), cell=cell)
    found = load(given.save(tmp_path / "rod.npz"))
    told = [note for note in found.notes if "periodic cell" in note]
    assert len(told) == (said is not None)
    assert all(said in each for each in told)
    if edge == 1.0:
        assert np.array_equal(found.positions, rod)
        assert inspect(found).facts.frames.jumps == 0


def test_neighbours_across_the_cell():
    """Two argon atoms, near within the cell, near across it, or of one molecule; no cell."""
    x = np.ones((3, 2, 3))
    x[:, 1, 0] = 3.5, 18.5, 8.0
    none = np.empty((0, 2), dtype=np.int64)
    for positions, cell, bonds, expected in (
        (x[[1, 1, 0]], CUBE, none, True),
        (x[[1, 0, 0]], CUBE, none, False),
        (x[[1, 1, 1]], CUBE, np.array([[0, 1]]), False),
        (x[[1, 1, 1]], np.zeros((3, 3)), none, False),
        (x[[2, 2, 2]], CUBE, none, False),
        (x[[1, 1, 1]] + [40, 0, 0], SLAB, none, True),
    ):
        assert neighbours_across(positions, np.stack([cell] * 3), bonds) is expected
    tilted = np.array([[[0.0, 0, 0], [-2.5, 8, 18]]] * 3)  # 4.5 Å from an image of the first
    assert neighbours_across(tilted, np.stack([TRICLINIC] * 3), none) is False
    assert neighbours_across(tilted - [[0, 0, 0], [2, 0, 0]], np.stack([TRICLINIC] * 3), none)
