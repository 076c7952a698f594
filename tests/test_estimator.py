"""The interface of scikit-learn, with and without scikit-learn."""

import gc
import pickle
from copy import copy, deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import gfnode
from gfnode import rollout
from gfnode.errors import InputError
from gfnode.estimator import GFNODE
from gfnode.run import BeyondHorizonWarning
from making import QUICK, wiggle
from processes import python

PLAIN = {"windows": QUICK["windows"]}


@pytest.fixture(scope="module")
def trajectory():
    return wiggle()


@pytest.fixture(scope="module")
def fitted(trajectory):
    return GFNODE(changes=QUICK).fit(trajectory)


def test_it_predicts_what_its_run_predicts(fitted, trajectory):
    found = fitted.predict(trajectory, ["30fs", 10.0], frames=[3, 7])
    assert found.shape == (2, 2, 3, 3)
    assert found.dtype == np.float32
    for number, frame in enumerate((3, 7)):
        expected = fitted.run_.predict(trajectory, [10.0, 30.0], frame=frame).positions[::-1]
        np.testing.assert_allclose(found[number], expected, atol=1e-5)


def test_every_frame_is_a_start(fitted, trajectory):
    found = fitted.predict(trajectory[:5])
    assert found.shape == (5, 8, 3, 3)
    assert fitted.default_times() == pytest.approx([7.5 * k for k in range(1, 9)])
    one = fitted.predict([trajectory[2], trajectory[4]], [60.0])
    np.testing.assert_allclose(one[:, 0], found[[2, 4], 7], atol=1e-5)


def test_files_and_slices(fitted, trajectory, tmp_path):
    path = trajectory.save(tmp_path / "w.npz")
    found = fitted.predict(path, [20.0], frames=slice(10, 20, 5))
    np.testing.assert_allclose(found, fitted.predict(trajectory, [20.0], frames=[10, 15]))


def test_velocities_are_those_of_training(trajectory, tmp_path):
    bare = wiggle(velocities=False)
    estimator = GFNODE("constant-velocity", changes=PLAIN).fit(bare)
    found = estimator.predict(bare, [10.0], frames=slice(1, None))
    x = bare.positions
    np.testing.assert_allclose(found[:, 0], x[1:] + 2 * (x[1:] - x[:-1]), atol=1e-5)
    several = estimator.predict([bare[5:], bare], [10.0])
    np.testing.assert_allclose(several[1, 0], found[0, 0], atol=1e-6)
    np.testing.assert_allclose(several[0, 0], found[5, 0], atol=1e-6)
    with pytest.raises(
        InputError, match=r"frame 0 of wiggle are unknown: .* has no frame before it"
    ):
        estimator.predict(bare, [10.0])
    with pytest.warns(UserWarning, match="frame before is 40 fs before the start"):
        estimator.predict(bare[::8], [10.0], frames=[1, 2])


def test_the_score_is_the_skill_beside_the_best_baseline(fitted, trajectory):
    result = fitted.run_.evaluate()
    own, best = (result.errors[name].mean() for name in ("gfnode", result.best_trivial))
    assert fitted.score() == pytest.approx(1 - own / best)
    assert fitted.score(trajectory) == fitted.score()
    other = wiggle(seed=5)
    assert fitted.score(other) != fitted.score()
    still = GFNODE("persistence", changes=PLAIN).fit(trajectory)
    assert still.score() <= 0  # it is a baseline itself


@pytest.mark.filterwarnings("ignore:.* not trained on atoms at rest")
def test_nothing_is_worse_than_a_baseline_that_is_exact(fitted, trajectory):
    x = np.repeat(trajectory.positions[:1], len(trajectory), 0)
    still = replace(trajectory, positions=x, velocities=np.zeros_like(x))
    assert fitted.score(still) == -np.inf
    assert GFNODE("persistence", changes=PLAIN).fit(trajectory).score(still) == 0.0


def test_a_run_folder_can_be_kept(fitted, trajectory, tmp_path):
    folder = fitted.save(tmp_path / "run")
    again = gfnode.Run.open(folder)
    found = again.predict(trajectory, [20.0], frame=3).positions
    np.testing.assert_allclose(found[0], fitted.predict(trajectory, [20.0], frames=[3])[0, 0])
    with pytest.raises(InputError, match="already exists"):
        fitted.save(folder)
    own = GFNODE("persistence", changes=PLAIN, out=tmp_path / "own").fit(trajectory)
    assert own.run_.folder == tmp_path / "own"


def test_a_temporary_run_is_gone_with_its_estimator(trajectory):
    estimator = GFNODE("persistence", changes=PLAIN).fit(trajectory)
    first = estimator.run_.folder
    assert first.is_dir()
    estimator.fit(trajectory)
    second: Path = estimator.run_.folder
    assert not first.exists()
    assert second.is_dir()
    del estimator
    assert not second.exists()


def test_what_makes_no_sense_is_refused(fitted, trajectory):
    new = GFNODE()
    for call in (lambda: new.predict(trajectory), new.score, new.default_times):
        with pytest.raises(InputError, match="not trained: call fit first"):
            call()
    for times in ([], [0.0], [-1.0, 5.0], [float("nan")]):
        with pytest.raises(InputError, match="later than the start"):
            fitted.predict(trajectory, times)
    with pytest.raises(InputError, match="frames 0 to 399, got"):
        fitted.predict(trajectory, [5.0], frames=[400])
    for frames in (3, [[0, 1]]):
        with pytest.raises(InputError, match="expected a list of frame numbers or a slice"):
            fitted.predict(trajectory, [5.0], frames=frames)
    with pytest.raises(InputError, match="no start given"):
        fitted.predict(trajectory, [5.0], frames=[])
    with pytest.raises(InputError, match="frames can only be chosen from one"):
        fitted.predict([trajectory], [5.0], frames=[1])
    with pytest.raises(InputError, match="no start"):
        fitted.predict([], [5.0])
    with pytest.raises(InputError, match="this model was trained on 3 atoms"):
        fitted.predict(trajectory.select([0, 1]), [5.0])
    with pytest.raises(InputError, match="unknown parameter 'epochs': expected model, preset"):
        new.set_params(epochs=3)
    with pytest.raises(InputError, match=r"did you mean 'training\.epochs'"):
        new.set_params(**{"training.epoch": 3}).fit(trajectory)
    with pytest.warns(BeyondHorizonWarning, match="61 fs is beyond the training horizon of 60 fs"):
        fitted.predict(trajectory, [61.0], frames=[0])


def test_predictions_that_are_not_finite_are_refused(fitted, trajectory, monkeypatch):
    real = rollout.predict
    monkeypatch.setattr("gfnode.estimator.predict", lambda *of: real(*of) * torch.nan)
    with pytest.raises(InputError, match="positions that are not finite 10 fs after"):
        fitted.predict(trajectory, ["10fs"])


def test_parameters_come_back_as_they_were_given():
    estimator = GFNODE("egnn", seed=3, changes=QUICK)
    params = estimator.get_params()
    assert list(params) == ["model", "preset", "changes", "seed", "out", "reader", "progress"]
    assert params["changes"] is QUICK
    estimator.set_params(seed=4, **{"training.epochs": 9})
    assert estimator.seed == 4
    assert estimator.changes["training.epochs"] == 9
    assert "training.epochs" not in QUICK
    assert repr(GFNODE("egnn", seed=3)) == "GFNODE(model='egnn', seed=3)"


@pytest.mark.parametrize("changes", [3, "training.epochs=3", [("training.epochs", 3)]])
def test_changes_are_settings_by_name(changes):
    with pytest.raises(InputError, match=r"changes are .*, expected settings by name"):
        GFNODE(changes=changes).fit(wiggle())


@pytest.mark.parametrize("wrong", [3, ["training.epochs"]])
def test_a_setting_beside_changes_that_are_none(wrong):
    with pytest.raises(InputError, match=r"changes are .*, expected settings by name"):
        GFNODE(changes=wrong).set_params(**{"training.epochs": 5})


@pytest.mark.parametrize("again", [lambda one: pickle.loads(pickle.dumps(one)), copy, deepcopy])
def test_a_copy_outlives_the_estimator_that_it_is_of(trajectory, tmp_path, again):
    first = GFNODE("mean-conformer", changes=PLAIN).fit(trajectory)
    expected, theirs = first.score(), first.run_.folder
    other = again(first)
    assert first.run_.folder == theirs
    del first
    gc.collect()
    assert not theirs.exists()
    assert other.score() == expected
    assert gfnode.Run.open(other.save(tmp_path / "kept")).provenance
    mine = other.run_.folder
    del other
    gc.collect()
    assert not mine.parent.exists()


def test_scikit_learn_is_not_needed():
    code = "import sys; import gfnode; gfnode.GFNODE(); assert 'sklearn' not in sys.modules"
    python("-c", code)


def test_scikit_learn_clones_and_searches():
    base = pytest.importorskip("sklearn.base")
    selection = pytest.importorskip("sklearn.model_selection")
    estimator = GFNODE("mean-conformer", changes=PLAIN, seed=2)
    copied = base.clone(estimator)
    assert copied.get_params() == estimator.get_params()
    assert base.is_regressor(copied)
    replicas = [wiggle(300, seed=k) for k in range(3)]
    folds = selection.KFold(3)
    scores = selection.cross_val_score(estimator, replicas, cv=folds, error_score="raise")
    expected = GFNODE("mean-conformer", changes=PLAIN).fit(replicas[1:]).score(replicas[0])
    assert scores[0] == pytest.approx(expected)
    search = selection.GridSearchCV(
        estimator,
        {"model": ["mean-conformer", "persistence"], "windows.times": [2]},
        cv=folds,
        error_score="raise",
    ).fit(replicas)
    assert search.best_params_["windows.times"] == 2
    assert search.best_estimator_.predict(replicas[0][:2], [20.0]).shape == (2, 1, 3, 3)
