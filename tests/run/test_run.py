"""The run folder: whole, movable, opened without running code, and honest about what it cannot."""

import errno
import fcntl
import io
import json
import os
import pickle
import shutil
import warnings
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import gfnode
from gfnode.errors import InputError
from gfnode.files import make_folder, read_json, whole, write_arrays, write_json
from gfnode.run import VERSION, BeyondHorizonWarning, Run, fitting
from gfnode.run.creation import alone
from gfnode.training import Trainer
from gfnode.trajectory import Topology, Trajectory
from gfnode.weights import load_tensors, save_tensors
from making import QUICK, quick_run, wiggle


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, and the file it was trained on."""
    folder = tmp_path_factory.mktemp("made")
    path = wiggle().save(folder / "wiggle.npz")
    quick_run(path, folder / "run").evaluate()
    return folder / "run", path


@pytest.fixture
def run(made, tmp_path):
    """A copy to do harm to."""
    return Run.open(shutil.copytree(made[0], tmp_path / "run"))


def changed_facts(run, **changes):
    facts = read_json(run.folder / "run.json")
    for key, value in changes.items():
        *path, last = key.split("__")
        target = facts
        for name in path:
            target = target[name]
        target[last] = value
    (run.folder / "run.json").write_text(json.dumps(facts))
    return run.folder


# What it holds


def test_memory_is_kept_while_a_run_trains(tmp_path, monkeypatch):
    kept, seen = [], []

    @contextmanager
    def keep():
        kept.append(True)
        yield
        kept.clear()

    def running(trainer, *told):
        seen.extend(kept)
        return steps(trainer, *told)

    steps = Trainer.running
    monkeypatch.setattr(fitting, "memory_kept", keep)
    monkeypatch.setattr(Trainer, "running", running)
    quick_run(wiggle(), tmp_path / "run")
    assert seen == [True]
    assert not kept


def test_the_folder_holds_what_it_promises(made):
    folder, path = made
    files = {p.name for p in folder.iterdir()}
    assert files == {
        "run.json",
        "splits.npz",
        "weights.safetensors",
        "baselines.safetensors",
        "calibration.safetensors",
        "last.safetensors",
        "history.csv",
        "tensorboard",
        "evaluation.json",
        "errors.npz",
        "log.txt",
        "training.lock",
    }
    facts = read_json(folder / "run.json")
    assert facts["format"] == "gfnode-run"
    assert facts["version"] == VERSION
    assert facts["seed"] == 0
    assert facts["experiment"]["training"]["epochs"] == 2
    assert facts["experiment"]["windows"]["successor_steps"] == 4  # resolved: defaults too
    assert facts["experiment"]["model"]["dynamics"] == "linear"
    assert facts["data"][0]["file"] == str(path.resolve())
    assert facts["data"][0]["fingerprint"] == gfnode.load(path).fingerprint
    assert facts["windows"] == {"train": 70, "validation": 20, "test": 40}
    assert {"gfnode", "torch", "numpy", "python"} <= set(facts["versions"])
    assert facts["training"]["epochs"] == 2
    assert facts["training"]["ended"] == "all epochs done"
    lines = (folder / "history.csv").read_text().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch,train_error,validation_error")
    assert "epoch 2" in (folder / "log.txt").read_text()
    assert list((folder / "tensorboard").iterdir())
    assert {(folder / name).stat().st_mode for name in files - {"tensorboard"}} == {
        (folder / "run.json").stat().st_mode  # whoever may read the one may read the others
    }


def test_the_split_is_kept_frame_by_frame(made):
    from gfnode.experiment import prepare

    folder, path = made
    run = Run.open(folder)
    parts = prepare([gfnode.load(path)], run.experiment).parts
    with np.load(folder / "splits.npz", allow_pickle=False) as kept:
        for name, part in parts.items():
            assert np.array_equal(kept[f"{name}_starts"], part.starts)
            assert np.array_equal(kept[f"{name}_targets"], part.targets)


def test_evaluation_files_say_the_same(made):
    folder, _ = made
    facts = read_json(folder / "evaluation.json")
    with np.load(folder / "errors.npz", allow_pickle=False) as kept:
        assert kept["errors_gfnode"].shape == kept["lags_fs"].shape == (40, 3)
        found = facts["methods"]["gfnode"]["mean_over_lags"]["value"]
        assert kept["errors_gfnode"].mean() == pytest.approx(found)
        assert (kept["lags_fs"] <= 60.0).all()


def test_the_run_is_named(made):
    assert "gfnode for 3 atoms, horizon 60 fs" in repr(Run.open(made[0]))


def test_who_waits_for_a_run_folder_and_who_comes_later_are_not_both_let_in(tmp_path):
    with alone(tmp_path):
        early = (tmp_path / "training.lock").open("w")  # asks while it is taken
    with early:
        fcntl.flock(early, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(InputError, match="another process is training there"), alone(tmp_path):
            pass


# Another machine


def test_a_moved_run_evaluates_to_the_same_numbers(made, tmp_path):
    before = json.loads((made[0] / "evaluation.json").read_text())
    folder = shutil.copytree(made[0], tmp_path / "elsewhere")
    data = Path(shutil.copy(made[1], tmp_path / "other name.npz"))
    facts = read_json(folder / "run.json")
    facts["data"][0]["file"] = "/gone/away.npz"
    write_json(folder / "run.json", facts)
    (folder / "evaluation.json").unlink()
    run = Run.open(folder)
    with pytest.raises(InputError, match=r"away.npz"):
        run.evaluate()
    found = run.evaluate(gfnode.load(data)).to_dict()
    assert json.loads((folder / "evaluation.json").read_text()) == before
    del before["weights_sha256"]
    assert json.loads(json.dumps(found)) == before


def test_opening_never_unpickles(made, tmp_path, monkeypatch):
    folder = shutil.copytree(made[0], tmp_path / "run")
    original = np.load

    def refuse(*args, **kwargs):
        raise AssertionError("unpickled")

    def safe_load(*args, **kwargs):
        assert not kwargs.get("allow_pickle", False)
        return original(*args, **kwargs)

    for owner, name in [
        (pickle, "load"),
        (pickle, "loads"),
        (pickle, "Unpickler"),
        (torch, "load"),
    ]:
        monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr(np, "load", safe_load)
    run = Run.open(folder)
    run.evaluate(gfnode.load(made[1]))
    run.predict(made[1], [10.0])
    gfnode.resume(folder, progress=False)


def test_a_pickle_in_place_of_weights_is_refused(run):
    class Harm:
        def __reduce__(self):
            return (os.system, ("touch harmed",))

    buffer = io.BytesIO()
    pickle.dump(Harm(), buffer)
    (run.folder / "weights.safetensors").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        Run.open(run.folder)
    assert not Path("harmed").exists()


# Damage


def test_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist; give the folder that"):
        Run.open(tmp_path / "nothing")
    with pytest.raises(InputError, match="is not a run folder: it has no run"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match=r"is not the run.json of a gfnode run"):
        Run.open(tmp_path)


def test_a_newer_run_is_refused(run):
    with pytest.raises(
        InputError, match=rf"format {VERSION + 1}, .* reads format {VERSION}; upgrade"
    ):
        Run.open(changed_facts(run, version=VERSION + 1))
    with pytest.raises(InputError, match=r"fit no current model: train again"):
        Run.open(changed_facts(run, version=VERSION - 1))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        ("[1, 2]", "expected a JSON object, got list"),
    ],
)
def test_a_damaged_run_json_is_refused(run, text, said):
    (run.folder / "run.json").write_text(text)
    with pytest.raises(InputError, match=said):
        Run.open(run.folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"system": 3},
        {"system": {}},
        {"system__atoms": [0, 1, 99]},
        {"system__atoms": [0, 1, -1]},
        {"system__atoms": "all"},
        {"system__score": [7]},
        {"system__bonds": [[0, 5]]},
        {"system__edges": [[0, 1], [1, 0], [2, 0]]},
        {"system__edges": [[0, 9], [9, 0]]},
        {"system__hops": [1]},
        {"system__source_numbers": [8, 1, 700]},
        {"system__horizon_fs": "soon"},
        {"system__horizon_fs": -1.0},
        {"system__time_step_fs": 0.0},
        {"system__rigid": [[0, 7]]},
        {"experiment": {"surprise": 1}},
        {"experiment__model": {"name": "unheard-of"}},
        {"experiment__model": {}},
        {"experiment__model__width": -3},
        {"experiment__windows__times": "many"},
    ],
    ids=str,
)
def test_a_tampered_run_json_is_refused(run, changes):
    with pytest.raises(InputError):
        Run.open(changed_facts(run, **changes))


def test_weights_of_another_model_are_refused(run):
    with pytest.raises(
        InputError, match=r"do not fit the model described with them: .*size mismatch"
    ):
        Run.open(changed_facts(run, experiment__model__width=8))


def test_damaged_weights_are_refused(run):
    path = run.folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        Run.open(run.folder)
    path.unlink()
    with pytest.raises(InputError, match="no validated weights yet: `gfnode train --resume"):
        Run.open(run.folder)


def test_damaged_baselines_are_refused(run, made):
    path = run.folder / "baselines.safetensors"
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"baselines.safetensors: cannot be read"):
        run.evaluate(gfnode.load(made[1]))


def test_a_run_is_not_overwritten(made):
    with pytest.raises(InputError, match=r"already holds a run.*gfnode\.resume.*out= in Python"):
        quick_run(made[1], made[0])
    with pytest.raises(InputError, match="already holds a run"):  # said before data are read
        quick_run("none.npz", made[0])


def test_two_trainings_in_one_folder_at_once_are_refused(made, tmp_path, monkeypatch):
    out = tmp_path / "run"
    out.mkdir()
    with alone(out), pytest.raises(InputError, match="another process is training there"):
        quick_run(made[1], out)
    assert [path.name for path in out.iterdir()] == ["training.lock"]

    def faster(dataset):
        """Another process makes its run while this one gets ready."""
        (out / "run.json").write_text("theirs")
        return {}

    with monkeypatch.context() as patch:
        patch.setattr("gfnode.run.creation.baselines.fit_baselines", faster)
        with pytest.raises(InputError, match="already holds a run"):
            quick_run(made[1], out)
    assert (out / "run.json").read_text() == "theirs"
    assert {path.name for path in out.iterdir()} == {"run.json", "training.lock"}
    going = shutil.copytree(made[0], tmp_path / "going")
    write_json(
        going / "run.json",
        {k: v for k, v in read_json(going / "run.json").items() if k != "training"},
    )
    with alone(going), pytest.raises(InputError, match="another process is training there"):
        gfnode.resume(going, progress=False)


# Evaluation of other data


def test_other_data_is_all_unseen(run):
    other = wiggle(frames=120, seed=4)
    found = run.evaluate(other)
    assert found.to_dict()["windows"] == 40  # windows.most of the test part
    assert found.starts_fs.max() - found.starts_fs.min() > 500
    assert set(found.errors) == {
        "gfnode",
        "persistence",
        "constant-velocity",
        "mean-conformer",
        "rigid-rotor",
    }


def test_frames_further_apart_than_those_of_training_are_warned_of(tmp_path):
    """Their differences are no velocities as those that the model was trained with."""
    path = wiggle(1200).save(tmp_path / "wiggle.npz")
    run = quick_run(path, tmp_path / "run", windows=QUICK["windows"] | {"horizon": 400.0})
    far = wiggle(frames=120, step=25.0, seed=4, velocities=False)
    with pytest.warns(
        UserWarning, match="frame before is 25 fs before the start, .* at most 20 fs"
    ):
        run.evaluate(far)
    run.evaluate(wiggle(frames=120, step=25.0, seed=4))  # which stores them


def test_evaluation_of_other_data_is_not_kept_as_the_test(run):
    before = (run.folder / "evaluation.json").read_bytes()
    run.evaluate(wiggle(frames=120, seed=4))
    assert (run.folder / "evaluation.json").read_bytes() == before


def test_files_are_evaluated_as_what_they_hold(run, made, tmp_path):
    other = wiggle(frames=120, seed=4)
    path = other.save(tmp_path / "other.npz")
    for data in (str(path), path, [path]):
        assert run.evaluate(data).to_dict() == run.evaluate(other).to_dict()
    assert run.held_out(made[1])[1]  # that of training
    assert run.physics(path).numbers.keys() == run.physics(other).numbers.keys()
    with pytest.raises(InputError, match=r"got int, expected a .*, a file, or several"):
        run.evaluate(3)


def test_evaluation_of_another_molecule_is_refused(run):
    neon = Trajectory(np.zeros((100, 1, 3), np.float32), 5.0 * np.arange(100), np.array([10]))
    with pytest.raises(InputError, match="this model was trained on 3 atoms"):
        run.evaluate(neon)


def test_training_data_is_not_taken_for_unseen(tmp_path):
    """Some of the training trajectories alone, or in another order, are no new data."""
    replicas = [wiggle(seed=k) for k in (0, 1)]
    run = quick_run(replicas, tmp_path / "run")
    expected = run.evaluate().to_dict()
    assert run.evaluate(replicas[::-1]).to_dict() == expected
    with pytest.raises(InputError, match="trained on"):
        run.evaluate(replicas[1])
    with pytest.raises(InputError, match="trained on"):
        run.evaluate([*replicas, wiggle(seed=2)])


# Prediction


def test_times_come_out_ascending_and_absolute(run):
    start = wiggle(frames=50)[10:]
    found = run.predict(start, ["30fs", 5.0, "0.02ps", 20.0])
    assert found.times.tolist() == [55.0, 70.0, 80.0]  # twice 20 fs is one time
    assert found.numbers.tolist() == start.numbers.tolist()
    alone = run.predict(start, [20.0])
    np.testing.assert_allclose(alone.positions[0], found.positions[1], atol=1e-5)
    other = run.predict(start, [20.0], frame=3)
    assert other.times[0] == 50.0 + 15.0 + 20.0
    last = run.predict(start, [20.0], frame=-1)
    assert last.times[0] == start.times[-1] + 20.0


def test_a_prediction_is_what_the_model_says(run):
    start = wiggle(frames=50)
    found = run.predict(start, [10.0, 40.0], frame=7)
    with torch.no_grad():
        expected = run.model(
            torch.from_numpy(start.positions[7:8]),
            torch.from_numpy(start.velocities[7:8]),
            torch.tensor([[10.0, 40.0]]),
        )
    assert np.array_equal(found.positions, expected[0].numpy())


def test_many_lags_are_predicted_in_pieces(run, monkeypatch):
    start, lags = wiggle(frames=50), [8.0 * k for k in range(1, 8)]
    whole_at_once = run.predict(start, lags).positions
    monkeypatch.setattr(type(run.model), "at_once", lambda model, times: 3)
    np.testing.assert_allclose(run.predict(start, lags).positions, whole_at_once, atol=1e-5)


def test_topology_and_cell_are_kept(run, tmp_path):
    topology = Topology(("O", "H1", "H2"), ("WAT",) * 3, (1,) * 3, np.array([[0, 1], [0, 2]]))
    plain = wiggle(frames=20)
    cell = np.tile(20 * np.eye(3, dtype=np.float32), (20, 1, 1))
    start = Trajectory(
        plain.positions, plain.times, plain.numbers, plain.velocities, cell, topology
    )
    found = run.predict(start, [10.0, 20.0])
    assert found.topology.names == topology.names
    assert np.array_equal(found.topology.bonds, topology.bonds)
    assert found.cell.shape == (2, 3, 3)
    assert found.velocities is None
    assert gfnode.load(found.save(tmp_path / "p.npz")).times.tolist() == [10.0, 20.0]


def test_a_start_may_hold_the_state_atoms_alone(tmp_path):
    path = wiggle().save(tmp_path / "w.npz")
    windows = QUICK["windows"] | {"state": [0, 2], "score": [0]}
    run = quick_run(path, tmp_path / "run", windows=windows)
    trajectory = wiggle()
    found = run.predict(trajectory, [20.0])
    assert found.numbers.tolist() == [8, 1]
    again = run.predict(trajectory.select([0, 2]), [20.0])
    assert np.array_equal(found.positions, again.positions)
    with pytest.raises(InputError, match="holds only the state atoms"):
        run.evaluate(trajectory.select([0, 2]))


@pytest.mark.parametrize("order", [[1, 0, 2], [0, 1]])
def test_other_atoms_are_refused(run, order):
    with pytest.raises(
        InputError, match=r"this model was trained on 3 atoms \[8 1 1\] in this order"
    ):
        run.predict(wiggle(frames=20).select(order), [20.0])


@pytest.mark.parametrize(
    "times",
    [
        [],
        [0.0],
        [-5.0, 10.0],
        ["0fs"],
        ["soon"],
        ["10"],
        [float("nan")],
        [float("inf")],
        [10.0, float("nan")],
    ],
    ids=str,
)
def test_times_that_make_no_sense_are_refused(run, times):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BeyondHorizonWarning)
        with pytest.raises(InputError, match="time"):
            run.predict(wiggle(frames=20), times)


@pytest.mark.parametrize("times", ["10fs", 10.0, None])
def test_times_are_a_list(run, times):
    with pytest.raises(InputError, match="expected a list of them"):
        run.predict(wiggle(frames=20), times)


def test_a_run_whose_training_has_not_ended_says_so(run):
    facts = read_json(run.folder / "run.json")
    del facts["training"]
    (run.folder / "run.json").write_text(json.dumps(facts))
    with pytest.warns(UserWarning, match="has not finished: these are its best weights so far"):
        Run.open(run.folder)


def test_a_frame_that_is_not_there_is_refused(run):
    with pytest.raises(InputError, match=r"frame 1\.5: expected a whole number"):
        run.predict(wiggle(frames=20), [10.0], frame=1.5)
    with pytest.raises(
        InputError, match="has no frame 20: expected 0 to 19, or -1 to -20 counted from the end"
    ):
        run.predict(wiggle(frames=20), [10.0], frame=20)


def test_beyond_the_horizon_is_said(run):
    with pytest.warns(BeyondHorizonWarning, match="61 fs is beyond the training horizon of 60 fs"):
        found = run.predict(wiggle(frames=20), [61.0])
    assert np.isfinite(found.positions).all()
    run.predict(wiggle(frames=20), [60.0])  # no warning: they are errors here


def test_another_unit_of_length_is_said(run):
    there = wiggle(frames=40)
    nm = replace(there, positions=there.positions / 10, velocities=None, name="water")
    with pytest.raises(InputError, match="water: positions look like nm, not Å"):
        run.predict(nm, [10.0])
    with pytest.raises(InputError, match="water: positions look like nm, not Å"):
        run.evaluate(nm)


def test_another_order_of_atoms_is_said(tmp_path):
    sample = gfnode.load("sample:toluene")[:200]
    ring, methyl = next((i, j) for i in range(15) for j in range(i) if swaps_bonds(sample, i, j))
    order = np.arange(15)
    order[[ring, methyl]] = methyl, ring
    other = replace(
        sample,
        positions=sample.positions[:, order],
        velocities=sample.velocities[:, order],
        name="other",
    )
    changes = {"model.name": "mean-conformer", "windows.horizon": 50.0}
    run = gfnode.fit(sample, changes=changes, out=tmp_path / "run", progress=False)
    run.predict(sample, [10.0])  # no warning: they are errors here
    said = r"other: \d of 15 bonds are far too long, .* in another order than in training"
    with pytest.warns(UserWarning, match=said):
        run.predict(other, [10.0], frame=100)
    with pytest.warns(UserWarning, match=said):
        run.evaluate(other)


def swaps_bonds(trajectory, i, j):
    """Whether two hydrogens hang on different atoms."""
    if set(trajectory.numbers[[i, j]]) != {1}:
        return False
    heavy = np.flatnonzero(trajectory.numbers > 1)
    x = trajectory.positions[0]
    near = [int(np.linalg.norm(x[heavy] - x[atom], axis=1).argmin()) for atom in (i, j)]
    return near[0] != near[1]


def test_velocities_are_those_that_training_used(tmp_path):
    """A model of forward differences gets differences, even where velocities are stored."""
    path = wiggle().save(tmp_path / "w.npz")
    windows = QUICK["windows"] | {"velocities": "forward"}
    run = quick_run(path, tmp_path / "run", windows=windows)
    start, bare = wiggle(), wiggle(velocities=False)
    found = run.predict(start, [20.0], frame=5)
    assert np.array_equal(found.positions, run.predict(bare, [20.0], frame=5).positions)
    with pytest.warns(UserWarning, match="the stored ones are instantaneous"):
        single = run.predict(start[5], [20.0])  # no next frame: what is stored will do
    assert 0 < np.abs(single.positions - found.positions).max() < 0.1
    with pytest.raises(InputError, match="stores none and has no next frame"):
        run.predict(bare[5], [20.0])
    with pytest.warns(UserWarning, match="next frame is 40 fs after the start"):
        run.predict(bare[::8], [20.0])


def test_frames_far_apart_start_from_the_frame_before(tmp_path):
    """So that the last frame of a file can be the start: what comes next is not known of it."""
    data = wiggle(velocities=False)
    run = quick_run(data, tmp_path / "run", model={"name": "constant-velocity"})
    assert run.facts["velocity_gap_fs"] == -5.0
    x, other = data.positions.astype(float), wiggle(frames=50, seed=1, velocities=False)
    for frame, number in ((-1, 399), (None, 1), (7, 7)):
        found = run.predict(data, [20.0], frame=frame)
        expected = x[number] + 4 * (x[number] - x[number - 1])
        np.testing.assert_allclose(found.positions[0], expected, atol=1e-4)
        assert found.times == data.times[number] + 20.0
    with pytest.raises(InputError, match=r"frame 0 .* no frame before it"):
        run.predict(data, [20.0], frame=0)
    errors = run.evaluate(other).errors["constant-velocity"]
    assert errors.min() > 0  # no lag is given away by the velocity


def test_other_data_that_stores_no_velocities_tells_nothing_of_what_comes(tmp_path):
    """Trained on stored velocities: of frames far apart the one before stands in for them."""
    run = quick_run(wiggle(), tmp_path / "run", model={"name": "constant-velocity"})
    assert run.facts["velocity_gap_fs"] is None
    bare = wiggle(frames=60, seed=1, velocities=False)
    assert run.evaluate(bare).errors["constant-velocity"].min() > 1e-9
    x = bare.positions.astype(float)
    found = run.predict(bare, [20.0], frame=-1)
    np.testing.assert_allclose(found.positions[0], x[-1] + 4 * (x[-1] - x[-2]), atol=1e-4)
    begun = run._begin(bare, [20.0], -1)
    assert begun.where == "wiggle, frame 59"


def test_missing_velocities_are_refused_where_training_stored_them(tmp_path):
    path = wiggle().save(tmp_path / "w.npz")
    run = quick_run(path, tmp_path / "run", windows=QUICK["windows"] | {"velocities": "stored"})
    with pytest.raises(InputError, match="it stores none; start from a trajectory with velocities"):
        run.predict(wiggle(velocities=False), [20.0])


# Models without weights


@pytest.mark.parametrize("name", ["persistence", "mean-conformer", "rigid-rotor"])
def test_models_without_weights_make_a_run_too(name, tmp_path):
    path = wiggle().save(tmp_path / "w.npz")
    run = quick_run(path, tmp_path / "run", model={"name": name})
    expected = run.predict(path, [20.0]).positions
    assert np.array_equal(Run.open(run.folder).predict(path, [20.0]).positions, expected)
    result = run.evaluate()
    assert result.model == name
    assert result.best_trivial != name
    gfnode.resume(run.folder, progress=False)  # harms nothing
    assert np.array_equal(Run.open(run.folder).predict(path, [20.0]).positions, expected)


# Python


def test_the_main_job_in_ten_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trajectory = wiggle()
    run = gfnode.fit(trajectory, changes=QUICK, progress=False)
    print(run.evaluate().to_dict()["verdicts"]["persistence"]["verdict"])  # noqa: T201
    predicted = run.predict(trajectory, ["10fs", "50fs"])
    predicted.save("later.npz")
    assert run.folder == Path("runs/wiggle")
    assert len(gfnode.load("later.npz")) == 2
    reopened = gfnode.Run.open("runs/wiggle")
    again = reopened.predict(trajectory, ["10fs", "50fs"])
    assert np.array_equal(again.positions, predicted.positions)
    with pytest.raises(InputError, match="data in memory; give the trajectory"):
        reopened.evaluate()


# Writing


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, code):
    writers = {
        "a.json": lambda path, k: write_json(path, {"k": k}),
        "b.npz": lambda path, k: write_arrays(path, {"k": np.array([k])}),
        "c.safetensors": lambda path, k: save_tensors(path, {"k": torch.tensor([k])}, {}),
    }
    for name, write in writers.items():
        write(tmp_path / name, 1)
    before = {name: (tmp_path / name).read_bytes() for name in writers}

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", fail)
    for name, write in writers.items():
        with pytest.raises(InputError, match=f"{name}: cannot be written: {os.strerror(code)}"):
            write(tmp_path / name, 2)
        assert (tmp_path / name).read_bytes() == before[name]
    assert {p.name for p in tmp_path.iterdir()} == set(writers)  # nothing is left lying about


def test_an_interrupt_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"k": 1})
    with pytest.raises(KeyboardInterrupt), whole(path) as partial:  # noqa: PT012
        partial.write_text("half")
        raise KeyboardInterrupt
    assert read_json(path) == {"k": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_while_training_stops_with_a_clear_error(tmp_path, monkeypatch):
    path = wiggle().save(tmp_path / "w.npz")
    original, calls = os.replace, []

    def fill(source, target):
        calls.append(target)
        if str(target).endswith("last.safetensors") and len(calls) > 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fill)
        with pytest.raises(InputError, match="cannot be written: No space left on device"):
            quick_run(path, tmp_path / "run")
    assert gfnode.resume(tmp_path / "run", progress=False).facts["training"]["epochs"] == 2


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot create the folder"):
        make_folder(tmp_path / "file" / "run")


def test_json_has_no_numbers_that_are_not_finite(tmp_path):
    values = {"a": float("nan"), "b": [1.0, float("-inf")], "c": {"d": (np.float64("inf"), 2)}}
    write_json(tmp_path / "x.json", values)
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == {"a": None, "b": [1.0, None], "c": {"d": [None, 2]}}
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path / "missing.json")


def test_tensors_that_share_memory_are_written_apart(tmp_path):
    shared = torch.arange(6.0)
    save_tensors(tmp_path / "t.safetensors", {"a": shared, "b": shared[::2]}, {"n": 1})
    tensors, facts = load_tensors(tmp_path / "t.safetensors")
    assert tensors["b"].tolist() == [0.0, 2.0, 4.0]
    assert facts == {"n": 1}


# Names and settings of other kinds


@pytest.mark.parametrize("wrong", [None, 3, b"run", ["run"]])
def test_what_names_no_file_or_folder_is_told(run, tmp_path, wrong):
    start = wiggle()[7:9]
    for ask in (
        lambda: Run.open(wrong),
        lambda: gfnode.resume(wrong),
        lambda: gfnode.export(run, wrong),
        lambda: run.rollout(start, "100fs", wrong),
        lambda: start.save(wrong),
    ):
        with pytest.raises(InputError, match=r"got \w+, expected the name of a"):
            ask()
    if wrong is not None:
        with pytest.raises(InputError, match="expected the name of a run folder"):
            gfnode.fit(wiggle(), changes=QUICK, out=wrong, progress=False)
    with pytest.raises(InputError, match=r"expected a gfnode.Trajectory"):
        gfnode.save(wrong, tmp_path / "none.npz")


def test_a_tilde_is_the_home_folder(made, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(shutil.copytree(made[0], tmp_path / "run"))
    assert Run.open("~/run").folder == tmp_path / "run"
    assert gfnode.export("~/run", "~/model") == tmp_path / "model"
    changes = QUICK | {"model": {"name": "persistence"}}
    made = gfnode.fit(wiggle(), changes=changes, out="~/new", progress=False)
    assert made.folder == tmp_path / "new"


@pytest.mark.parametrize("changes", [[1], "training.epochs=3", {1: 2}, {"training": {3: 4}}])
def test_settings_have_names(changes):
    with pytest.raises(InputError, match=r"changes are .*, expected settings by name"):
        gfnode.fit(wiggle(), changes=changes, out="never", progress=False)


@pytest.mark.parametrize("count", ["3", None, 1.5, True, 0])
def test_the_number_of_samples_is_whole(run, count):
    with pytest.raises(InputError, match=r"number of samples is .* whole number from 1"):
        run.sample(wiggle()[7:9], ["20fs"], count)


def test_times_may_be_any_list(run):
    start, lags = wiggle()[7:9], [20.0, 40.0]
    expected = run.predict(start, ["20fs", "40fs"]).positions
    for times in (np.array(lags), torch.tensor(lags), iter(lags), range(20, 41, 20)):
        assert np.array_equal(run.predict(start, times).positions, expected)


def test_one_author_is_no_list_of_letters(run, tmp_path):
    folder = gfnode.export(run, tmp_path / "model", authors="A. Person")
    assert read_json(folder / "config.json")["authors"] == ["A. Person"]


def test_weights_of_another_dtype_are_named(run):
    start = wiggle()[7:9]
    run.model.double()
    for ask in (
        lambda: run.predict(start, ["20fs"]),
        lambda: run.evaluate(save=False),
        lambda: run.rollout(start, "100fs", run.folder / "rolled.npz"),
    ):
        with pytest.raises(InputError, match=r"float64 on cpu, expected .*float32"):
            ask()
    run.model.float()
    run.predict(start, ["20fs"])


def test_an_option_that_rollout_does_not_take_is_named_with_it(run, made, tmp_path):
    with pytest.raises(TypeError, match=r"Run\.rollout\(\) got .*'strid': expected frame, stride"):
        run.rollout("nowhere.npz", "1ps", tmp_path / "a.npz", strid="10fs")
