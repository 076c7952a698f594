"""A start that the periodic box cuts is told of: readers make molecules whole, others not."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import gfnode
from gfnode.experiment import configure, prepare
from gfnode.graph import bonds_from_distances, hop_edges
from gfnode.molecule.cut import cut_by_box, warn_of_cut
from gfnode.molecule.system import System
from gfnode.trajectory import Trajectory

BOX = 20.0


def system_of(t: Trajectory) -> System:
    bonds = bonds_from_distances(t.numbers, t.positions)
    atoms = np.arange(t.n_atoms)
    return System(t.numbers, atoms, atoms, bonds, hop_edges(bonds, t.n_atoms), 5.0, 100.0)


def boxed(shift: float, wrap: bool) -> Trajectory:
    t = gfnode.load("sample:toluene")[:1]
    x = t.positions + np.float32(shift)
    cell = np.diag([BOX] * 3)[None]
    return Trajectory(np.mod(x, BOX) if wrap else x, t.times, t.numbers, cell=cell)


def test_a_molecule_cut_by_the_box_is_told_of():
    system = system_of(boxed(0.0, wrap=False))
    with pytest.warns(UserWarning, match="the periodic box cuts the molecule: .* across it"):
        warn_of_cut(boxed(19.0, wrap=True), system)


def test_frames_that_are_cut_are_counted():
    frames = [boxed(19.0, wrap=wrap) for wrap in (False, True, False)]
    x, cell = (np.concatenate([getattr(t, k) for t in frames]) for k in ("positions", "cell"))
    three = Trajectory(x, 5.0 * np.arange(3), frames[0].numbers, cell=cell)
    said = cut_by_box(three, system_of(boxed(0.0, wrap=False)).bonds)
    assert "in 1 of 3 frames bonds such as " in said


@pytest.mark.parametrize(("shift", "wrap"), [(19.0, False), (10.0, True)])
def test_a_whole_molecule_is_not(shift, wrap):
    system = system_of(boxed(0.0, wrap=False))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_cut(boxed(shift, wrap), system)
        warn_of_cut(gfnode.load("sample:toluene")[:1], system)


def test_training_is_told_of_it_too():
    t = gfnode.load("sample:toluene")[:400]
    x = t.positions + np.linspace(0, 19, len(t), dtype=np.float32)[:, None, None]
    moving = replace(t, positions=np.mod(x, BOX), cell=np.tile(np.diag([BOX] * 3), (400, 1, 1)))
    notes = prepare([moving], configure()).notes
    assert any("the periodic box cuts the molecule: in " in each for each in notes)
    whole = replace(moving, positions=x)
    assert not any("cuts" in each for each in prepare([whole], configure()).notes)


def test_bonds_of_a_crystal_may_be_longer_than_half_of_its_cell():
    x = np.array([[[0.1, 0.1, 0.1], [2.3, 2.3, 0.1]]])  # in a cell above the least of a box
    copper = Trajectory(x, [0.0], [29, 29], cell=np.eye(3)[None] * 4.2)
    assert not cut_by_box(copper, np.array([[0, 1]]))
