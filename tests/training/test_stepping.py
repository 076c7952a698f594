"""Training steps compiled or in another precision: the same training."""

import shutil

import pytest
import torch
from torch import nn

from gfnode.experiment import build_model, configure, prepare
from gfnode.training import Callback, Trainer
from making import wiggle

TINY = {
    "windows": {"horizon": 60.0, "times": 3, "most": (70, 20, 20), "split": "blocked"},
    "graph": {"bonds": "distances"},
    "model": {"width": 6, "encoder_layers": 1, "decoder_layers": 1, "lag_width": 4},
    "training": {"epochs": 3, "batch": 16, "rate": 5e-3, "validate_every": 1},
    "windows.state": "all",
    "windows.score": "all",
}


def trainer_for(**changes):
    changed = {key.replace("__", "."): value for key, value in changes.items()}
    experiment = configure("paper", TINY | changed)
    dataset = prepare([wiggle()], experiment)
    model = build_model(experiment, dataset.system)
    return Trainer(model, dataset.of(model), experiment.training, 0, accelerator="cpu")


def train(trainer):
    said = []
    callback = Callback()
    callback.note = said.append
    done = trainer.run(callback)
    return trainer.state.model.state_dict(), done, said


@pytest.fixture
def traced(monkeypatch):
    """Compile without a C++ compiler: PyTorch traces the model and its gradient, and runs those."""
    compile_module, shapes = nn.Module.compile, []

    def by_tracing(self, **options):
        assert options == {"fullgraph": True, "dynamic": False}
        compile_module(self, backend="aot_eager", **options)
        inner = self._compiled_call_impl
        self._compiled_call_impl = lambda *of: (shapes.append(len(of[0])), inner(*of))[1]

    monkeypatch.setattr(nn.Module, "compile", by_tracing)
    torch._dynamo.reset()
    return shapes


def test_compiled_steps_train_the_same_model(traced):
    plain, done, said = train(trainer_for())
    assert said == []
    assert traced == []
    compiled, same, said = train(trainer_for(training__compile=True))
    assert [line.split(" ")[0] for line in said] == ["compiling", "compiled"]
    assert traced == [16] * 13  # four batches an epoch and the first trial; validation is not
    for key, value in plain.items():
        torch.testing.assert_close(compiled[key], value, rtol=1e-3, atol=1e-5)
    errors, others = ([record.validation_error for record in each.history] for each in (done, same))
    assert others == pytest.approx(errors, rel=1e-4)


def bits(weights):
    return {key: value.tolist() for key, value in weights.items()}


def test_without_a_compiler_training_goes_on_to_the_same_bits(monkeypatch):
    def no_compiler(self, **options):
        def fail(*of):
            raise RuntimeError("no C++ compiler\n\nfound")

        self._compiled_call_impl = fail

    expected = bits(train(trainer_for())[0])
    monkeypatch.setattr(nn.Module, "compile", no_compiler)
    found, _, said = train(trainer_for(training__compile=True))
    assert said[1:] == ["compilation failed, training continues without: no C++ compiler found"]
    assert bits(found) == expected


def test_steps_that_depend_on_numbers_are_not_compiled(traced):
    """Of an adaptive solver."""
    _, done, said = train(trainer_for(training__compile=True, model__dynamics="neural"))
    assert len(done.history) == 3
    assert said[1].startswith("compilation failed, training continues without: ")


@pytest.mark.parametrize("name", ["gfnode", "egnn"])
def test_models_are_one_graph(name):
    """A graph that breaks would be an error."""
    experiment = configure("paper", TINY | ({} if name == "gfnode" else {"model": {"name": name}}))
    dataset = prepare([wiggle()], experiment)
    model = build_model(experiment, dataset.system)
    batch = dataset.of(model)["train"].batch(slice(0, 4))
    seen = batch.positions, batch.velocities, batch.lags
    torch._dynamo.reset()
    graph = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(graph(*seen), model(*seen))


def test_products_are_in_bfloat16_in_training_steps_alone(monkeypatch):
    seen = {"step": set(), "validation": set()}
    trainer = trainer_for(training__products="bfloat16", training__compile=True)
    loss, validate = trainer.loss, trainer._validate

    def look(what, action):
        def watched(*of):
            seen[what].add(torch.get_float32_matmul_precision())
            return action(*of)

        return watched

    monkeypatch.setattr(trainer, "loss", look("step", loss))
    monkeypatch.setattr(trainer, "_validate", look("validation", validate))
    monkeypatch.setattr("gfnode.training.loop.compile_loss", look("step", lambda *of: None))
    train(trainer)
    assert seen == {"step": {"medium"}, "validation": {"highest"}}
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_code_trains_the_same_model():
    plain, _, _ = train(trainer_for())
    compiled, _, said = train(trainer_for(training__compile=True))
    assert said[1].startswith("compiled in ")
    for key, value in plain.items():
        torch.testing.assert_close(compiled[key], value, rtol=1e-3, atol=1e-5)
