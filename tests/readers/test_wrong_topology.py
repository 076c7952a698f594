"""A topology whose own coordinates show that its atoms are not those of the trajectory."""

from dataclasses import replace

import mdtraj
import numpy as np
import pytest

import gfnode
from gfnode.errors import InputError
from gfnode.inspection import inspect
from gfnode.readers import load, save
from gfnode.trajectory import Topology, Trajectory
from making import geometry_of

ORDER = [0, 1, 2, 8, 7, 6, 5, 4, 3]


def ethanol(frames: int = 30) -> Trajectory:
    """Ethanol that shivers."""
    numbers, x = geometry_of("ethanol")
    rng = np.random.default_rng(0)
    moved = x + 0.03 * rng.normal(size=(frames, *x.shape))
    return Trajectory(moved, np.arange(frames) * 5.0, numbers, name="ethanol")


def reordered(trajectory: Trajectory, order) -> Trajectory:
    return replace(
        trajectory,
        positions=trajectory.positions[:, order],
        numbers=trajectory.numbers[order],
    )


def options(path, top):
    return {"top": top} | ({"step": "5fs"} if path.suffix == ".dcd" else {})


@pytest.fixture(params=[".xtc", ".trr", ".dcd", ".nc"])
def path(request, tmp_path):
    return save(ethanol(), tmp_path / f"run{request.param}")


def test_another_molecule_of_as_many_atoms_is_refused(path, tmp_path):
    numbers, x = geometry_of("CH3CHO")
    both = np.concatenate([numbers, [8, 1]]), np.concatenate([x, [[9.0, 0, 0], [9.97, 0, 0]]])
    top = save(Trajectory(both[1][None], [0.0], both[0]), tmp_path / "other.pdb")
    said = (
        r"run\.\w+: the topology .*other\.pdb does not fit: \d of \d bonds are far too long, "
        r"worst \w+–\w+: .* in frame 0, .* atoms in the order of the trajectory"
    )
    with pytest.raises(InputError, match=said):
        load(path, **options(path, top))


@pytest.mark.parametrize("order", [ORDER, ORDER[::-1], np.roll(range(9), 1)])
def test_another_order_is_refused(path, order, tmp_path):
    top = save(reordered(ethanol(), order)[:1], tmp_path / "order.pdb")
    with pytest.raises(InputError, match=r"the topology .*order\.pdb does not fit: "):
        load(path, **options(path, top))


def test_water_that_ions_exchange_is_no_other_topology(tmp_path):
    """Na–O is 2.4 Å, which radii take for a bond: neither a wrong order nor bonds left out."""
    numbers, water = geometry_of("H2O")
    sites = np.array([[x, y, 0.0] for x in (0.0, 2.4, 8.0, 10.4) for y in (0.0, 8.0)])
    sodium = [2, 3]
    kept = [i for i in range(8) if i not in sodium]
    x = np.concatenate([*(water - water[0] + sites[i] for i in kept), sites[sodium]])
    z = np.concatenate([np.tile(numbers, 6), [11, 11]])
    names = ("O", "H1", "H2") * 6 + ("NA", "NA")
    bonds = np.array([[3 * i, 3 * i + k] for i in range(6) for k in (1, 2)])
    residues = tuple(i // 3 for i in range(18)), ("HOH",) * 18 + ("NA", "NA")
    topology = Topology(names, residues[1], (*residues[0], 6, 7), bonds)
    frames = np.repeat(x[None], 30, 0) + 0.02 * np.random.default_rng(0).normal(size=(30, 20, 3))
    frames[:, 18:, 0] += 5.6  # to the water on the other side
    made = Trajectory(frames, np.arange(30) * 5.0, z, topology=topology)
    path = save(made, tmp_path / "run.xtc")
    top = save(replace(made[:1], positions=x[None].astype(np.float32)), tmp_path / "start.pdb")
    again = load(path, top=top, select="all")
    assert not any("far too long" in note for note in again.notes)
    assert "unnamed-bonds" not in [each.code for each in inspect(again).findings]


def test_the_same_is_told_of_a_gro_file(path, tmp_path):
    one = reordered(ethanol(), ORDER)[:1].to_mdtraj()
    one.unitcell_vectors = 2 * np.eye(3)[None]
    one.save_gro(str(tmp_path / "order.gro"))
    with pytest.raises(InputError, match=r"the topology .*order\.gro does not fit: "):
        load(path, **options(path, tmp_path / "order.gro"))


def test_a_few_bonds_in_another_place_are_noted(tmp_path):
    """Most of a large molecule fits: a reaction, or two atoms that changed places."""
    sample = gfnode.load("sample:toluene")[:20]
    path = save(sample, tmp_path / "run.xtc")
    assert load(path, top=path.with_suffix(".pdb")).notes == ()
    hydrogens = np.flatnonzero(sample.numbers == 1)
    order = np.arange(15)
    order[hydrogens[[0, -1]]] = hydrogens[[-1, 0]]
    top = save(reordered(sample, order)[:1], tmp_path / "order.pdb")
    (note,) = load(path, top=top).notes
    assert note.startswith("run.xtc: 2 of 15 bonds are far too long, ")
    assert (
        "in frame 0, while other atoms are near enough to be bonded: is order.pdb its topology"
        in note
    )


def test_another_conformation_fits(path, tmp_path):
    """The hydroxyl group the other way round, everything moved and turned."""
    numbers, x = geometry_of("ethanol")
    other = x[:, [1, 2, 0]] * [1, 1, -1] + 20.0
    oxygen = int(np.flatnonzero(numbers == 8)[0])
    hydrogen = int(
        min(np.flatnonzero(numbers == 1), key=lambda a: float(np.linalg.norm(x[a] - x[oxygen])))
    )
    other[hydrogen] = 2 * other[oxygen] - other[hydrogen]
    top = save(Trajectory(other[None], [0.0], numbers), tmp_path / "turned.pdb")
    assert load(path, **options(path, top)).notes == ()


@pytest.mark.parametrize("scale", [0.0, 0.1, 10.0])
def test_a_topology_without_sound_coordinates_says_nothing(path, scale, tmp_path):
    numbers, x = geometry_of("ethanol")
    top = save(Trajectory(scale * x[None, ORDER], [0.0], numbers), tmp_path / "none.pdb")
    assert load(path, **options(path, top)).notes == ()


def test_a_topology_of_made_up_coordinates_says_nothing(path, tmp_path):
    x = 1.3 * np.random.default_rng(1).normal(size=(1, 9, 3)) / 2
    top = save(Trajectory(x, [0.0], geometry_of("ethanol")[0]), tmp_path / "random.pdb")
    assert load(path, **options(path, top)).notes == ()


def test_molecules_that_a_box_cuts_fit(tmp_path):
    """Both files wrapped, each in its own way, with and without the box."""
    numbers, x = geometry_of("toluene")
    cell = np.tile(12 * np.eye(3), (20, 1, 1))
    moved = x + np.linspace(0, 9, 20)[:, None, None]
    wrapped = Trajectory(np.mod(moved, 12.0), np.arange(20.0), numbers, cell=cell)
    shifted = replace(wrapped, positions=np.mod(moved + 6.0, 12.0))
    for one in (wrapped, replace(wrapped, cell=None)):
        path = save(one, tmp_path / "run.xtc")
        for other in (wrapped, shifted, replace(shifted, cell=None)):
            top = save(other[:1], tmp_path / "top.pdb")
            assert not [note for note in load(path, top=top).notes if "far too long" in note]


def test_beads_fit(tmp_path):
    turns = np.arange(12)[:, None]
    x = np.concatenate([2.3 * np.cos(1.75 * turns), 2.3 * np.sin(1.75 * turns), 1.5 * turns], 1)
    chain = mdtraj.Topology()
    residues = [chain.add_residue("ALA", chain.add_chain()) for _ in range(12)]
    for residue in residues:
        chain.add_atom("CA", mdtraj.element.carbon, residue)
    top = tmp_path / "beads.pdb"
    mdtraj.Trajectory(x[None] / 10, chain).save_pdb(str(top))
    stretched = 1.2 * x + np.random.default_rng(0).normal(size=x.shape)
    trajectory = Trajectory(stretched[None], [0.0], np.full(12, 6))
    path = save(trajectory, tmp_path / "run.xtc")
    assert load(path, top=top).notes == ()
