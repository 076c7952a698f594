"""Atoms that never move in training: predictions leave them where they start."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from gfnode.evaluation import evaluate
from gfnode.experiment import configure, prepare
from gfnode.files import read_json, write_json
from gfnode.models.inference import predict_in_batches
from gfnode.models.trivial import Persistence
from gfnode.molecule.system import System
from gfnode.rollout.apply import steps
from gfnode.run import Run
from making import quick_run, wiggle

STILL = [0, 2]


def frozen(atoms=STILL, **options):
    """A motion in which some atoms do not move."""
    moving = wiggle(**options)
    x = moving.positions.copy()
    x[:, atoms] = x[0, atoms]
    return replace(moving, positions=x, velocities=None)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("held")
    path = frozen().save(folder / "frozen.npz")
    return quick_run(path, folder / "run")


def test_they_stay_through_training_saving_loading_and_predicting(run, tmp_path):
    again = Run.open(shutil.copytree(run.folder, tmp_path / "run"))
    start = run.trajectories()[0]
    assert again.model.system.held.tolist() == STILL
    for frame in (3, 100):
        found = again.predict(start, ["5fs", "10fs"], frame=frame)
        moved = np.abs(found.positions - start.positions[frame]).max((0, 2))
        assert np.flatnonzero(moved == 0).tolist() == STILL
        assert np.isfinite(found.deviations).all()
    shape = again.as_molecules().predict(start, ["10fs"], frame=3).positions[0]
    assert np.array_equal(shape[STILL], start.positions[3][STILL])
    assert any("2 atoms never move in training (" in note for note in again.facts["notes"])


def test_a_turned_start_turns_the_prediction(run):
    start = run.trajectories()[0]
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=np.float32)
    other = replace(start, positions=start.positions @ turn)
    ours, theirs = (run.predict(each, ["10fs"], frame=50).positions for each in (start, other))
    assert np.abs(ours @ turn - theirs).max() < 1e-4


def test_baselines_and_rollouts_keep_them_too(run):
    x = torch.from_numpy(run.trajectories()[0].positions[:3].copy())
    v, lags = torch.full_like(x, 1e-3), torch.full((3, 1), 10.0)
    for model in run.baselines().values():
        assert torch.equal(predict_in_batches(model, x, v, lags)[0][:, 0, STILL], x[:, STILL])
    stepping = steps(run.model, x, v, 5.0)
    for _ in range(3):
        _, found, speeds = next(stepping)
    assert (found - x)[:, STILL].abs().max() < 1e-5
    assert (found - x).abs().max() > 1e-3
    assert speeds[:, STILL].abs().max() < 1e-5


def test_error_bars_are_judged_by_the_others(run):
    windows, _ = run.held_out()
    name = run.experiment.model["name"]
    bars = run.calibration
    none = replace(bars, sizes=torch.zeros_like(bars.sizes))
    found = evaluate(name, run.judged(), windows, run.model.system.horizon, none)
    assert found.inside.max() == 0  # those that stay are off by nothing, and would be inside


def test_where_all_move_nothing_is_changed(run):
    dataset = prepare([wiggle()], configure(changes={"windows.score": "all"}))
    assert not len(dataset.system.held)
    assert not any("never move" in note for note in dataset.notes)
    x = torch.rand(2, dataset.system.n_atoms, 3)
    found = torch.rand(2, 3, *x.shape[1:])
    assert Persistence(dataset.system).restore_fixed_atoms(x, found) is found
    assert np.array_equal(dataset.system.judged, dataset.system.score)


def test_of_replicas_each_may_hold_them_elsewhere_and_superposed_targets_hold_none():
    one = frozen()
    other = replace(one, positions=one.positions + np.float32(3))
    experiment = configure(changes={"windows.score": "all"})
    assert prepare([one, other], experiment).system.held.tolist() == STILL
    third = frozen([0])
    assert prepare([one, third], experiment).system.held.tolist() == [0]
    aligned = configure(changes={"windows.score": "all", "windows.align": True})
    assert not len(prepare([one], aligned).system.held)


def test_a_run_of_before_holds_none(run, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    facts = read_json(folder / "run.json")
    del facts["system"]["held"]
    write_json(folder / "run.json", facts)
    assert not len(Run.open(folder).model.system.held)
    with pytest.raises(ValueError, match="expected 0 to"):
        System.from_dict(run.model.system.to_dict() | {"held": [99]})
    for single in (0, True):
        with pytest.raises(ValueError, match="expected a list of numbers"):
            System.from_dict(run.model.system.to_dict() | {"held": single})
