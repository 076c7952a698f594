"""What training says of its validation error beside that of the trivial baselines."""

import numpy as np
import pytest

import gfnode
from gfnode.experiment import prepare
from gfnode.files import read_json
from gfnode.report import describe_result
from making import wiggle

CHANGES = {
    "windows": {"horizon": 60.0, "times": 3, "most": [70, 20, 40], "score": [0, 2]},
    "model": {"name": "egnn", "width": 4, "layers": 1},
}


def trained(folder, select="mean", epochs=2):
    training = {"epochs": epochs, "batch": 16, "select": select, "rate": 1e-6}
    changes = CHANGES | {"training": training}
    return gfnode.fit([wiggle(), wiggle(seed=4)], changes=changes, out=folder, progress=False)


@pytest.mark.parametrize("select", ["mean", "last-lag"])
def test_errors_of_the_baselines_on_the_validation_windows(tmp_path, select):
    run = trained(tmp_path / "run", select)
    facts = read_json(run.folder / "run.json")["training"]
    windows = prepare([wiggle(), wiggle(seed=4)], run.experiment).parts["validation"]
    x, v = windows.frames.positions.numpy(), windows.frames.velocities.numpy()
    starts, targets = windows.starts.numpy(), windows.targets.numpy()
    lags = windows.lags.numpy()[..., None, None]
    found = {
        "persistence": x[starts][:, None],
        "constant-velocity": x[starts][:, None] + lags * v[starts][:, None],
    }
    score = [0, 2]
    for name, predicted in found.items():
        errors = np.square(predicted - x[targets])[..., score, :].mean((2, 3))
        last = errors[np.arange(len(errors)), lags[..., 0, 0].argmax(1)]
        expected = last.mean() if select == "last-lag" else errors.mean()
        assert facts["trivial_validation_errors"][name] == pytest.approx(expected, rel=1e-4)


def test_a_model_that_is_no_better_is_told(tmp_path):
    run = trained(tmp_path / "run")
    errors = run.facts["training"]["trivial_validation_errors"]
    best = min(errors, key=errors.get)
    ours = run.facts["training"]["best_validation_error"]
    assert ours > errors[best]  # at a rate of 1e-6 nothing is learned
    (line,) = (each for each in describe_result(run) if "trivial" in each)
    assert line == (
        f"the best trivial baseline, {best}, has {errors[best]:.4g} Å² on the same windows; the "
        f"model's error is {ours / errors[best]:.2g} times that, so it is no better"
    )
    run.facts["training"]["best_validation_error"] = 0.5 * errors[best]
    (line,) = (each for each in describe_result(run) if "trivial" in each)
    assert line.endswith("the model's error is 0.5 times that")
    del run.facts["training"]["trivial_validation_errors"]  # a run of an earlier gfnode
    assert not [each for each in describe_result(run) if "trivial" in each]
