"""From trajectories to the graph, the system and the model."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule

import gfnode
from gfnode import graph
from gfnode.errors import InputError
from gfnode.experiment import (
    GraphSettings,
    build_model,
    configure,
    molecular_graph,
    prepare,
    whole_system,
)
from gfnode.molecule.system import System
from gfnode.trajectory import Topology, Trajectory
from gfnode.units import BOHR
from making import geometry_of, system_of, wiggle

CHANGES = {"windows.horizon": 60.0, "model.width": 6}


def still(name="CH3CH2OH", frames=5, topology=None):
    """A molecule that hardly moves."""
    atoms = molecule(name)
    x = np.repeat(atoms.positions[None], frames, 0).astype(np.float32)
    x[1::2] += 1e-3
    return Trajectory(x, np.arange(float(frames)), atoms.numbers, topology=topology)


def topology_of(trajectory, bonds):
    n = trajectory.n_atoms
    return Topology(("X",) * n, ("MOL",) * n, (1,) * n, np.asarray(bonds, dtype=np.int64))


@pytest.mark.parametrize("frames", [40, 5000])
def test_frames_that_are_all_the_same_are_refused(frames):
    dead = still(frames=frames)
    dead = replace(dead, positions=dead.positions[:1].repeat(frames, 0))
    with pytest.raises(InputError, match=r"all frames are identical, .* no motion to learn"):
        prepare([dead], configure(changes={"windows.horizon": 1.0}))


def test_another_unit_of_length_is_noted_or_refused():
    ethanol = still(frames=40)
    experiment = configure(changes={"windows.horizon": 1.0})
    assert prepare([ethanol], experiment).notes == ()
    bohr = replace(ethanol, positions=ethanol.positions / BOHR, name="ethanol")
    note = prepare([bohr], experiment).notes[0]  # may also be oxygen atoms of water
    assert note.startswith("ethanol: positions look like bohr (atomic units), not Å: nearest atoms")
    tenth = replace(ethanol, positions=ethanol.positions / 10, name="ethanol")
    with pytest.raises(
        InputError, match=r"ethanol: positions look like nm, not Å: .* 0\.109 Å apart"
    ):
        prepare([tenth], experiment)


@pytest.mark.parametrize("stride", [2, 3, 4, 5, 6, 8, 10, 13])
def test_a_right_time_step_is_not(stride):
    """Frames that lie some periods of C–H apart cannot be told from nearer ones."""
    toluene = gfnode.load("sample:toluene", stride=stride)
    experiment = configure(changes={"windows.horizon": 20 * toluene.step})
    assert not any("time step" in note for note in prepare([toluene], experiment).notes)


def test_a_wrong_time_step_is_noted():
    toluene = gfnode.load("sample:toluene")[:400]
    changes = {"windows.horizon": 20 * toluene.step}
    assert prepare([toluene], configure(changes=changes)).notes == ()
    tenth = replace(toluene, times=toluene.times / 10, time_step=None, name="tenth")
    said = (
        "tenth: the time step is about 5 fs, not 0.5 fs: with it, C–H bonds vibrate at their usual "
        "frequency; give it with --step 5fs"
    )
    assert said in prepare([tenth], configure(changes={"windows.horizon": 10.0})).notes


def test_another_order_of_atoms_is_noted():
    ethanol = still(frames=40)
    changes = configure(changes={"windows.horizon": 1.0})
    again = replace(ethanol, positions=ethanol.positions + np.float32(1.0))
    assert prepare([ethanol, again], changes).notes == ()
    hydrogens = np.flatnonzero(ethanol.numbers == 1)
    order = np.arange(9)
    order[hydrogens] = hydrogens[::-1]
    other = replace(ethanol.select(order), name="other")
    (note,) = prepare([ethanol, other], changes).notes
    assert re.match(r"other: \d of 8 bonds are far too long, .* another order than in", note)
    named = replace(
        other, topology=topology_of(other, graph.bonds_from_distances(*arrays(ethanol)))
    )
    (note,) = prepare([named], changes).notes
    assert re.match(
        r"other: \d of 8 bonds are far too long, .* is its topology the right one", note
    )


def arrays(trajectory):
    return trajectory.numbers, trajectory.positions


# The graph


def test_bonds_come_from_distances_where_the_file_names_none():
    bonds, edges = molecular_graph(still(), GraphSettings())
    assert len(bonds) == 8
    assert np.array_equal(edges.index, graph.hop_edges(bonds, 9).index)
    _, wider = molecular_graph(still(), GraphSettings(hops=3))
    assert len(wider) > len(edges)


def test_bonds_come_from_the_topology_where_there_is_one():
    named = still()
    named = replace(named, topology=topology_of(named, [[0, 1]]))
    assert molecular_graph(named, GraphSettings())[0].tolist() == [[0, 1]]
    assert len(molecular_graph(named, GraphSettings(bonds="distances"))[0]) == 8
    bare = replace(named, topology=topology_of(named, np.empty((0, 2))))
    assert len(molecular_graph(bare, GraphSettings())[0]) == 8
    for trajectory in (bare, still()):
        with pytest.raises(InputError, match=r"has no bonds: use graph.bonds=distances"):
            molecular_graph(trajectory, GraphSettings(bonds="topology"))


def test_the_published_rules():
    heavy = still("C6H6").select(range(6))
    bonds, edges = molecular_graph(heavy, GraphSettings(bonds="published"))
    assert len(bonds) == 6
    assert [(edges.hop == hop).sum() for hop in (1, 2)] == [12, 12]
    bonds, edges = molecular_graph(still(), GraphSettings(bonds="published-alanine"))
    assert len(bonds) == 8
    assert np.array_equal(edges.index, graph.neighbour_edges(still().positions[0], 4.0).index)


def test_topology_bonds_are_cut_down_to_the_state():
    trajectory = wiggle(600)
    trajectory = replace(trajectory, topology=topology_of(trajectory, [[0, 1], [0, 2]]))
    changes = CHANGES | {"windows.state": [2, 0], "windows.score": [0]}
    system = prepare([trajectory], configure(changes=changes)).system
    assert system.atoms.tolist() == [2, 0]
    assert np.sort(system.bonds, 1).tolist() == [[0, 1]]
    assert system.score.tolist() == [1]


def test_a_disconnected_graph_is_noted():
    trajectory, experiment = wiggle(600), configure(changes=CHANGES)
    trajectory = replace(trajectory, topology=topology_of(trajectory, [[0, 1]]))
    assert "2 disconnected pieces of 2, 1 atoms" in prepare([trajectory], experiment).notes[-1]
    assert not any("pieces" in note for note in prepare([wiggle(600)], experiment).notes)


# Systems


def test_a_system_survives_its_dictionary():
    numbers, positions = geometry_of("ethanol")
    bonds = graph.bonds_from_distances(numbers, positions[None])
    edges = graph.hop_edges(bonds, 9)
    system = System(
        numbers, np.arange(9), np.array([0, 2]), bonds, edges, 0.5, 1500.0, np.array([[0, 1]])
    )
    again = System.from_dict(system.to_dict())
    for key in ("source_numbers", "atoms", "score", "bonds", "rigid", "masses", "numbers"):
        assert np.array_equal(getattr(again, key), getattr(system, key)), key
    assert np.array_equal(again.edges.index, edges.index)
    assert np.array_equal(again.edges.hop, edges.hop)
    assert (again.time_step, again.horizon) == (0.5, 1500.0)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"source_numbers": [0] + [1] * 8}, "atoms and edges"),
        ({"source_numbers": [119] + [1] * 8}, "119, expected 0 to 118"),
        ({"atoms": [9]}, "9 to 9, expected 0 to 8"),
        ({"atoms": [], "score": [], "bonds": [], "edges": [[], []], "hops": []}, "atoms and edges"),
        ({"score": [9]}, "expected 0 to 8"),
        ({"score": [-1]}, "-1 to -1"),
        ({"bonds": [[0, 9]]}, "expected 0 to 8"),
        ({"rigid": [[0, 9]]}, "expected 0 to 8"),
        ({"edges": [[0, 1], [1, 9]], "hops": [1, 1]}, "expected 0 to 8"),
        ({"edges": [[0, 1], [1, 0]], "hops": [1]}, "atoms and edges"),
        ({"source_masses": [1.0] * 8}, "masses do not match"),
        ({"source_masses": [0.0] + [1.0] * 8}, "masses do not match"),
        ({"source_masses": [np.inf] + [1.0] * 8}, "masses do not match"),
        ({"time_step_fs": 0.0}, "a step of 0.0 fs"),
        ({"horizon_fs": 0.0}, "a horizon of 0.0 fs"),
        ({"horizon_fs": np.inf}, "a horizon of inf fs"),
    ],
)
def test_a_damaged_dictionary_is_refused(damage, said):
    good = system_of("ethanol").to_dict()
    assert System.from_dict(good | {"source_masses": [1.0] * 9}).masses.tolist() == [1.0] * 9
    with pytest.raises(ValueError, match=said):
        System.from_dict(good | damage)


def test_a_system_without_bonds_survives_its_dictionary():
    system = whole_system(prepare([wiggle(600)], configure(changes=CHANGES)).system)
    again = System.from_dict(system.to_dict())
    assert again.bonds.shape == (0, 2)
    assert again.edges.index.shape == (2, 0)
    assert again.rigid.shape == (0, 2)


def test_the_whole_system_scores_the_same_atoms():
    changes = CHANGES | {"windows.state": [2, 0], "windows.score": [0]}
    system = prepare([wiggle(600)], configure(changes=changes)).system
    whole = whole_system(system)
    assert whole.atoms.tolist() == [0, 1, 2]
    assert whole.atoms[whole.score].tolist() == system.atoms[system.score].tolist() == [0]


def test_the_time_step_is_that_of_the_original_series():
    trajectory = replace(wiggle(600), time_step=1.0)
    assert prepare([trajectory], configure(changes=CHANGES)).system.time_step == 1.0


def test_rigid_marks_are_of_the_published_presets_alone():
    atoms = molecule("C6H6")
    x = still("C6H6", 26_000).positions
    trajectory = Trajectory(x, 0.5 * np.arange(26_000), atoms.numbers)
    for preset, expected in [
        ("published", [[0, 1], [2, 3], [4, 5]]),
        ("paper", [[0, 1], [2, 3], [4, 5]]),
        ("default", []),
    ]:
        system = prepare([trajectory], configure(preset)).system
        assert system.rigid.tolist() == expected


# Models


def test_weights_come_from_the_seed():
    dataset = prepare([wiggle(600)], configure(changes=CHANGES))
    build = lambda seed: build_model(  # noqa: E731
        configure(changes=CHANGES | {"seed": seed}), dataset.system
    ).state_dict()
    first, again, other = build(3), build(3), build(4)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


def test_parts_of_a_model_hold_its_atoms():
    changes = CHANGES | {"windows.state": [2, 0], "windows.score": [0]}
    experiment = configure(changes=changes)
    dataset = prepare([wiggle(600)], experiment)
    parts = dataset.of(build_model(experiment, dataset.system))
    assert parts["train"].frames is parts["test"].frames
    whole, cut = dataset.parts["test"].batch(slice(0, 3)), parts["test"].batch(slice(0, 3))
    assert torch.equal(cut.targets, whole.targets[:, :, [2, 0]])
