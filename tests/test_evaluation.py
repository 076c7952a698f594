"""Evaluation against direct computation in NumPy and SciPy."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from gfnode.evaluation import Evaluation, evaluate
from gfnode.experiment import build_model, configure, prepare
from gfnode.files import to_json
from gfnode.models import TRIVIAL, build
from gfnode.models.calibration import Calibration
from gfnode.models.trivial import Persistence
from making import wiggle

CHANGES = {
    "windows": {"horizon": 60.0, "times": 4, "most": (70, 20, 60), "score": [0, 2]},
    "model": {"width": 6, "encoder_layers": 1, "decoder_layers": 1, "lag_width": 4},
}
METHODS = {"gfnode", *TRIVIAL}
ESTIMATE = {"value", "low", "high", "count"}


def made(name="gfnode", *, frames=400, **windows):
    """Models and test windows over all atoms."""
    changes = CHANGES | {"windows": CHANGES["windows"] | windows}
    experiment = configure(changes=changes)
    dataset = prepare([wiggle(frames), wiggle(frames, seed=5)], experiment)
    model = build_model(experiment, dataset.system)
    model.prepare(dataset.of(model)["train"])
    models = {"gfnode": model}
    for trivial in TRIVIAL:
        models[trivial] = build(trivial, dataset.whole_system)
        models[trivial].prepare(dataset.parts["train"])
    if name != "gfnode":
        del models["gfnode"]
    return models, dataset


@pytest.fixture(scope="module")
def found():
    models, dataset = made()
    windows = dataset.parts["test"]
    return evaluate("gfnode", models, windows, 60.0), models, windows


def targets_of(windows, score):
    frames = windows.frames.positions.numpy()
    return frames[windows.targets.numpy()][:, :, score]


def test_errors_are_mean_squares_of_the_scored_atoms(found):
    result, models, windows = found
    score = [0, 2]
    truth = targets_of(windows, score).astype(float)
    start = windows.frames.positions.numpy()[windows.starts.numpy()].astype(float)
    still = np.square(start[:, None][:, :, score] - truth).mean((2, 3))
    np.testing.assert_allclose(result.errors["persistence"], still, rtol=1e-4, atol=1e-9)
    lags = windows.lags.numpy()[..., None, None]
    moved = start[:, None] + lags * windows.batch(slice(None)).velocities.numpy()[:, None]
    flown = np.square(moved[:, :, score] - truth).mean((2, 3))
    np.testing.assert_allclose(result.errors["constant-velocity"], flown, rtol=1e-3, atol=1e-9)
    batch = windows.batch(slice(None))
    with torch.no_grad():
        predicted = models["gfnode"](batch.positions, batch.velocities, batch.lags).numpy()
    ours = np.square(predicted[:, :, score] - truth).mean((2, 3))
    np.testing.assert_allclose(result.errors["gfnode"], ours, rtol=1e-4, atol=1e-9)


def test_superposed_errors_against_scipy():
    models, dataset = made(score="all")
    windows = dataset.parts["test"]
    result = evaluate("gfnode", models, windows, 60.0)
    truth = targets_of(windows, [0, 1, 2]).astype(float)
    start = windows.frames.positions.numpy()[windows.starts.numpy()].astype(float)
    for w in range(0, len(windows), 7):
        a = start[w] - start[w].mean(0)
        for k in range(4):
            b = truth[w, k] - truth[w, k].mean(0)
            rotation, _ = Rotation.align_vectors(b, a)
            expected = np.square(rotation.apply(a) - b).mean()
            assert result.superposed["persistence"][w, k] == pytest.approx(expected, rel=1e-3)
    assert (result.superposed["persistence"] <= result.errors["persistence"] + 1e-9).all()
    told = result.to_dict()["methods"]["persistence"]
    assert told["superposed_mean_over_lags"]["value"] == pytest.approx(
        result.superposed["persistence"].mean()
    )


def test_the_size_of_a_batch_does_not_matter(found, monkeypatch):
    result, models, windows = found
    monkeypatch.setattr("gfnode.models.Model.at_once", lambda model, times: 7)
    small = evaluate("gfnode", models, windows, 60.0)
    for name in METHODS:
        np.testing.assert_allclose(small.errors[name], result.errors[name], rtol=1e-4, atol=1e-9)


def test_summaries_are_plain_means(found):
    result, _, windows = found
    for name in METHODS:
        errors = result.errors[name]
        summary = result.summary(name)
        assert summary.mean.value == pytest.approx(errors.mean())
        last = errors[np.arange(len(errors)), windows.lags.numpy().argmax(1)]
        assert summary.last.value == pytest.approx(last.mean())
        assert summary.mean.low < errors.mean() < summary.mean.high
        assert len(summary.by_lag) == 8
        assert summary.edges_fs[0] == 0
        assert summary.edges_fs[-1] == pytest.approx(60.0, rel=1e-5)
        lags = windows.lags.numpy()
        for low, high, estimate in zip(
            summary.edges_fs, summary.edges_fs[1:], summary.by_lag, strict=False
        ):
            inside = (lags > low * (1 + 1e-6)) & (lags <= high * (1 + 1e-6))
            assert estimate.count == inside.sum()
            if inside.any():
                assert estimate.value == pytest.approx(errors[inside].mean())
    assert sum(each.count for each in result.summary("gfnode").by_lag) == lags.size


def test_blocks_are_at_least_a_horizon_long_and_keep_trajectories_apart(found):
    result, _, windows = found
    blocks = result.blocks
    assert set(result.segments) == {0, 1}
    for label in range(blocks.count):
        mine = blocks.labels == label
        assert len(set(result.segments[mine])) == 1
    assert np.array_equal(result.starts_fs, windows.frames.times.numpy()[windows.starts])


def test_best_trivial_has_the_least_error(found):
    result, _, _ = found
    means = {name: result.errors[name].mean() for name in TRIVIAL}
    assert result.best_trivial == min(means, key=means.get)


def test_a_trivial_model_is_not_its_own_rival():
    models, dataset = made("none")
    best = evaluate("persistence", models, dataset.parts["test"], 60.0)
    means = {name: best.errors[name].mean() for name in TRIVIAL}
    winner = min(means, key=means.get)
    result = evaluate(winner, models, dataset.parts["test"], 60.0)
    assert result.best_trivial != winner
    assert winner not in result.to_dict()["verdicts"]
    assert result.verdict(result.best_trivial).ratio.value < 1


def test_a_better_model_is_said_to_be_better(found):
    result, _, _ = found
    worse = {name: e * (2 if name != "gfnode" else 1) for name, e in result.errors.items()}
    worse["persistence"] = 2 * result.errors["gfnode"] * (1 + 0.01 * np.sin(np.arange(60)))[:, None]
    judged = Evaluation(**vars(result) | {"errors": worse})
    verdict = judged.verdict("persistence")
    assert verdict.verdict == "better"
    assert verdict.ratio.value == pytest.approx(0.5, rel=0.05)
    swapped = Evaluation(**vars(judged) | {"model": "persistence"})
    assert swapped.verdict("gfnode").verdict == "worse"
    assert judged.verdict("persistence").difference.value == pytest.approx(
        (worse["gfnode"] - worse["persistence"]).mean()
    )


def test_json_holds_the_documented_keys_and_is_finite(found):
    result, _, _ = found
    data = json.loads(to_json(result.to_dict()), parse_constant=pytest.fail)
    assert set(data) == {
        "unit",
        "model",
        "windows",
        "times",
        "horizon_fs",
        "blocks",
        "targets_superposed_on_start",
        "methods",
        "best_trivial",
        "symmetries",
        "error_bars",
        "verdicts",
    }
    assert data["unit"] == "angstrom^2 per coordinate"
    assert (data["windows"], data["times"], data["horizon_fs"]) == (60, 4, 60.0)
    assert data["targets_superposed_on_start"] is False
    assert set(data["methods"]) == METHODS
    assert set(data["verdicts"]) == set(TRIVIAL)
    for method in data["methods"].values():
        assert set(method) == {
            "mean_over_lags",
            "last_lag",
            "eq14_mean_over_lags",
            "eq14_last_lag",
            "superposed_mean_over_lags",
            "superposed_last_lag",
            "lag_edges_fs",
            "lags_fs",
            "by_lag",
        }
        for key in ("mean_over_lags", "last_lag"):
            assert set(method[key]) == ESTIMATE
            for end in ("value", "low", "high"):
                eq14 = method[f"eq14_{key}"][end]
                assert eq14 == pytest.approx(3 * method[key][end])
        assert len(method["by_lag"]) == len(method["lag_edges_fs"]) - 1 == 8
    for verdict in data["verdicts"].values():
        assert verdict["verdict"] in {"better", "worse", "indistinguishable"}
        assert set(verdict["ratio"]) == set(verdict["difference"]) == ESTIMATE


def test_files_hold_the_means_and_the_errors_of_every_window(found, tmp_path):
    result, _, windows = found
    result.save(tmp_path, {"seed": 7})
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["seed"] == 7
    last = np.arange(len(windows)), windows.lags.numpy().argmax(1)
    with np.load(tmp_path / "errors.npz") as file:
        assert np.array_equal(file["lags_fs"], windows.lags)
        assert np.array_equal(file["segments"], result.segments)
        for name, method in written["methods"].items():
            for kind, key in (("errors", ""), ("superposed", "superposed_")):
                each = file[f"{kind}_{name}"]
                assert method[f"{key}mean_over_lags"]["value"] == pytest.approx(each.mean())
                assert method[f"{key}last_lag"]["value"] == pytest.approx(each[last].mean())
            assert (file[f"superposed_{name}"] <= file[f"errors_{name}"] + 1e-9).all()
    for name, verdict in written["verdicts"].items():
        means = (result.errors[each].mean() for each in ("gfnode", name))
        assert verdict["ratio"]["value"] == pytest.approx(next(means) / next(means))


def test_error_bars_are_judged_by_the_scored_coordinates_that_lie_inside(found):
    """Bars that grow in proportion to the lag, of another size for each atom."""
    _, models, windows = found
    sizes, none = torch.tensor([0.02, 5.0, 0.06]), torch.empty(0)
    bars = Calibration(
        torch.tensor([60.0]), sizes[None], torch.ones(2), torch.empty(0, 2), none, none, none
    )
    progress = []
    result = evaluate(
        "persistence", models, windows, 60.0, bars, report=lambda *each: progress.append(each)
    )
    frames = windows.frames.positions.numpy()
    start = frames[windows.starts.numpy()][:, None]
    off = np.abs(start - frames[windows.targets.numpy()])[:, :, [0, 2]]
    reach = sizes.numpy()[[0, 2]] * windows.lags.numpy()[..., None] / 60.0
    expected = (off <= reach[..., None]).mean((2, 3))
    assert len(np.unique(expected)) > 3
    np.testing.assert_allclose(result.inside, expected)
    np.testing.assert_array_equal(result.predicted, np.repeat(start, 4, 1))
    assert progress[-1] == (60, 60)


def test_intervals_of_shares_end_at_one():
    starts = 10.0 * np.arange(80)
    lags = np.tile([20.0, 40.0, 60.0, 80.0], (80, 1))
    inside = np.ones_like(lags)
    inside[:8] = 0.7  # the first of ten blocks
    errors = {"gfnode": 0.1 * lags, "persistence": lags}
    result = Evaluation(
        *("gfnode", errors, errors, lags, starts, np.zeros(80, dtype=np.int64), 80.0, False, inside)
    )
    found = result.to_dict()["error_bars"]
    assert found["inside"]["value"] == pytest.approx(0.97)
    assert found["inside"]["low"] < 0.95
    assert found["inside"]["high"] == 1
    assert [each["high"] for each in found["by_lag"] if each["count"]] == [1] * 4


@pytest.mark.parametrize("poison", [torch.inf, torch.nan])
def test_a_diverged_model_is_reported_as_such(poison):
    models, dataset = made()

    class Diverged(Persistence):
        def forward(self, positions, velocities, lags):
            return poison * super().forward(positions, velocities, lags)

    models["gfnode"] = Diverged(dataset.system)
    result = evaluate("gfnode", models, dataset.parts["test"], 60.0)
    data = json.loads(to_json(result.to_dict()), parse_constant=pytest.fail)
    assert data["methods"]["gfnode"]["mean_over_lags"]["value"] is None
    assert data["best_trivial"] in TRIVIAL
    assert all(v["verdict"] != "better" for v in data["verdicts"].values())


def test_a_model_of_some_atoms_is_scored_on_the_same_ones():
    """The state may leave atoms out; the baselines still see them all and score the same."""
    models, dataset = made(state=[2, 0], score=[0, 2])
    assert models["gfnode"].system.atoms.tolist() == [2, 0]
    models["gfnode"] = Persistence(dataset.system)
    result = evaluate("gfnode", models, dataset.parts["test"], 60.0)
    np.testing.assert_allclose(result.errors["gfnode"], result.errors["persistence"], rtol=1e-5)


def test_aligned_targets_are_said_to_be():
    models, dataset = made(align=True)
    result = evaluate("gfnode", models, dataset.parts["test"], 60.0)
    assert result.to_dict()["targets_superposed_on_start"] is True
    plain, other = made(align=False)
    before = evaluate("gfnode", plain, other.parts["test"], 60.0)
    assert not np.allclose(result.errors["persistence"], before.errors["persistence"], rtol=1e-3)


def test_models_are_left_in_evaluation_mode_without_gradients(found):
    _, models, _ = found
    assert not models["gfnode"].training
    assert all(w.grad is None for w in models["gfnode"].parameters())


def test_what_a_notebook_shows_of_it_is_short(found):
    result, _, windows = found
    shown = repr(result)
    assert shown.startswith("Evaluation(gfnode: ")
    assert f"over {len(windows)} windows of 4 lags up to 60 fs" in shown
    assert len(shown) < 200
    page = result._repr_html_()
    assert all(f">{name}<" in page for name in result.errors)
    assert f"{result.errors['gfnode'].mean():.3g} [" in page
