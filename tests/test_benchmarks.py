"""The straightforward form of the benchmarks computes what the product computes."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from processes import python

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    """Import a module of the benchmarks folder by name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for file in FOLDER.glob("[!_]*.py"):  # __main__ is that of the tests
        sys.modules.pop(file.stem, None)


def both(bench, name, dtype, **tolerances):
    """The product, the straightforward form and a small batch, weights large enough to matter."""
    molecules, plain = bench("molecules"), bench("straightforward")
    molecule = molecules.MOLECULES[name]
    product = molecules.published(molecule).to(dtype)
    with torch.no_grad():
        for weight in (p for p in product.parameters() if p.ndim == 2):
            weight.mul_(1.7)
        product.features.dynamics.weight.mul_(100.0)
        product.coordinates.dynamics.weight.mul_(3.0)
    batch = [tensor.to(dtype) for tensor in molecules.starts(molecule, 4, 5)]
    return product, plain.Straightforward(product, **tolerances), batch


def errors(product, plain, batch):
    """Relative errors of the prediction and of each gradient."""
    *inputs, targets = batch
    results = []
    for model in (plain, product):
        predicted = model(*inputs)
        (predicted - targets).square().mean().backward()
        gradients = {key.replace(".dynamics.", "."): p.grad for key, p in model.named_parameters()}
        results.append({"prediction": (predicted - inputs[0][:, None]).detach()} | gradients)
    expected, got = results
    assert expected.keys() == got.keys()
    # the last layer's features are read by nobody
    unread = {key for key, value in expected.items() if value is None}
    assert unread == {key for key, value in got.items() if value is None}
    assert all(key.startswith("decoder.layers.4.feature") for key in unread)
    return {
        key: float((got[key] - expected[key]).norm() / expected[key].norm())
        for key in expected.keys() - unread
    }


@pytest.mark.parametrize("name", ["ethanol", "uracil", "aspirin"])
def test_forms_agree_when_the_solver_is_exact(bench, name):
    found = errors(*both(bench, name, torch.float64, rtol=1e-11, atol=1e-13))
    assert max(found.values()) < 1e-7, max(found, key=found.get)


def test_forms_agree_to_the_tolerance_of_the_published_solver(bench):
    found = errors(*both(bench, "uracil", torch.float32))
    assert found["prediction"] < 1e-4
    assert max(found.values()) < 1e-2, max(found, key=found.get)


def test_the_comparison_notices_another_weight(bench):
    product, plain, batch = both(bench, "ethanol", torch.float64, rtol=1e-11, atol=1e-13)
    with torch.no_grad():
        product.features.dynamics.weight.mul_(1.01)
    assert errors(product, plain, batch)["prediction"] > 1e-6


@pytest.mark.parametrize(
    ("name", "atoms", "edges"), [("ethanol", 3, 6), ("uracil", 8, 36), ("aspirin", 13, 60)]
)
def test_systems_are_those_of_the_published_protocol(bench, name, atoms, edges):
    molecules = bench("molecules")
    molecule = molecules.MOLECULES[name]
    system = molecules.system(molecule)
    assert (system.n_atoms, system.edges.index.shape[1]) == (atoms, edges)
    start = molecules.starts(molecule, 3, 2)[0].double()
    i, j = system.bonds.T
    length = (start[:, i] - start[:, j]).norm(dim=-1)
    assert ((length > 0.8) & (length < 2.1)).all()
    if name == "uracil":
        model = molecules.published(molecule)
        assert sum(p.numel() for p in model.parameters()) == 552_092
        assert int(model.inputs.static[:, 3].sum()) == 4  # two rigid pairs, both directions


def test_command_prints_tables_and_writes_json(monkeypatch, tmp_path):
    file = tmp_path / "bench.json"
    words = ["train_step", "dynamics", "start_up", "--repeats", "1", "--threads", "1"]
    words += ["--only", "ethanol", "import gfnode", "--json", str(file)]
    done = python(FOLDER, *words)
    assert "| ethanol (3) | train step" in done.stdout
    assert "| `import gfnode` |" in done.stdout
    found = json.loads(file.read_text())
    assert found["machine"]["threads"] == 1
    step = found["results"]["train_step"][0]["train_step"]
    assert step["faster"]["ratio"] > 0
    assert step["over_floor"]["ratio"] > 0
    assert step["over_rounded"]["ratio"] > 0
    assert found["results"]["dynamics"][0]["train_step"]["slower"]["ratio"] > 0


def test_an_unknown_benchmark_is_refused():
    said = python(FOLDER, "nonsense", code=2).stderr
    assert "unknown benchmark nonsense: expected start_up" in said


@pytest.mark.parametrize("name", ["ethanol", "aspirin"])
def test_operations_are_those_that_torch_counts(bench, name, monkeypatch):
    """One after the other: PyTorch does not see into messages in one pass."""
    monkeypatch.setattr("gfnode.models.layers.suits", lambda *arrays: False)
    molecules, step = bench("molecules"), bench("train_step")
    product = molecules.published(molecules.MOLECULES[name])
    batch = molecules.starts(molecules.MOLECULES[name], 4, 5)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        product(*batch[:3])
    assert 0.7 < step.operations(product, 4, 5) / counter.get_total_flops() < 1.0


def test_loading_measures_a_file(bench, monkeypatch, tmp_path):
    loading = bench("loading")
    monkeypatch.setattr(loading, "FRAMES", 24_000)
    monkeypatch.setattr(torch, "set_num_threads", int)
    found = loading.point(str(loading.write(tmp_path, ".npz")), "published")
    assert set(found) == {"read", "windows", "fit", "step", "memory_over_array"}
    assert found["step"] > 0


def test_prediction_measures_the_model(bench, monkeypatch):
    prediction = bench("prediction")
    monkeypatch.setattr(prediction, "STARTS", 3)
    monkeypatch.setattr(torch, "set_num_threads", int)
    assert prediction.model_point()["frames_per_s"] > 0


def test_growth_measures_a_size_and_finds_exponents(bench):
    growth = bench("growth")
    found = growth.point(22, 2, 8)
    assert set(found) == {"build_s", "predict_ms", "train_step_ms", "memory_mb"}
    assert found["predict_ms"] > 0
    points = [{"atoms": n, "train_step_ms": 3 * n**1.5} for n in (10, 20, 40, 80)]
    assert growth.exponent(points, "atoms", "train_step_ms") == pytest.approx(1.5)


def test_what_was_imported_is_let_go_and_nothing_else():
    assert "__main__" in sys.modules
    assert "straightforward" not in sys.modules
