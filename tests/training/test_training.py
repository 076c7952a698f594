"""Training: it learns, it can be killed at any moment, and it says when it cannot go on."""

import io
import math
import shutil
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

import gfnode
from gfnode.dynamics import linear
from gfnode.dynamics.linear import LinearDynamics
from gfnode.errors import InputError
from gfnode.experiment import build_model, configure, prepare
from gfnode.run import Run, fitting
from gfnode.training import (
    Callback,
    Diverged,
    Progress,
    Trainer,
    TrainingSettings,
    validation_interval,
)
from gfnode.training.checkpoint import load_training, save_training
from gfnode.training.monitors import FolderMonitor, fit_display
from gfnode.training.state import EpochRecord
from gfnode.weights import load_tensors, save_tensors
from making import layered, wiggle

TINY = {
    "windows": {"horizon": 60.0, "times": 3, "most": (70, 20, 20), "score": [0, 1]},
    "model": {"width": 6, "encoder_layers": 1, "decoder_layers": 1, "lag_width": 4},
    "training": {"epochs": 4, "batch": 16, "warmup": 2},
    "accelerator": "cpu",
}
PAPER = TINY | {
    "windows": TINY["windows"]
    | {"split": "blocked", "lags": "irregular", "state": "all", "score": "all"},
    "graph": {"bonds": "distances"},
}


def settings(preset="default", **training):
    base = TINY if preset == "default" else PAPER
    return configure(preset, base | {"training": base["training"] | training})


def trainer_for(preset="default", seed=0, windows=None, **training):
    experiment = settings(preset, **training)
    dataset = prepare([windows or wiggle()], experiment)
    model = build_model(experiment.model_copy(update={"seed": seed}), dataset.system)
    parts = dataset.of(model)
    model.prepare(parts["train"])
    return Trainer(
        model,
        parts,
        experiment.training,
        seed,
        fresh_lags=experiment.windows.lags == "fresh",
        accelerator="cpu",
    )


class Kept(Callback):
    """Keeps what it is told."""

    def __init__(self):
        self.errors, self.notes, self.best = [], [], []

    def start(self, state, error):
        self.errors.append(error)

    def note(self, text):
        self.notes.append(text)

    def epoch(self, state, record, best):
        self.best.append(best)


def weights_of(trainer):
    return {k: v.clone() for k, v in trainer.state.model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# Learning


@pytest.mark.parametrize("preset", ["default", "paper", "published"])
def test_the_loss_goes_down(preset):
    constant = {"schedule": "constant", "ema": None, "validate_every": 1}
    trainer = trainer_for(preset, epochs=15, rate=0.03 if preset == "default" else 5e-3, **constant)
    history = trainer.run().history
    assert len(history) == 15
    # the default model is fitted before training, which leaves less to be learnt
    left = 0.9 if preset == "default" else 0.7
    assert history[-1].train_error < left * history[0].train_error
    assert min(r.validation_error for r in history) < history[0].validation_error


def test_a_loss_that_exploded_comes_down_again():
    """Modes that grow exponentially: else squares of such gradients keep the optimizer still."""
    trainer = trainer_for("paper", schedule="constant", rate=3e-3)
    for module in trainer.state.model.modules():
        if isinstance(module, LinearDynamics):
            with torch.no_grad():
                module.weight.copy_(10.0 * torch.eye(module.weight.shape[-1]))
    trainer._set_rate(3e-3)
    batch = vars(trainer.train.batch(torch.arange(16))).values()
    losses = [float(trainer.step(*batch)) for _ in range(300)]
    assert losses[0] > 1e6
    assert min(losses) < 1e-5 * losses[0]  # not the last one: rounding decides where spikes are


def test_the_recorded_errors_are_those_of_the_windows():
    """Validation of the averaged model, mean and last lag, against a direct computation."""
    trainer = trainer_for(epochs=2)
    record = trainer.run().history[-1]
    model, windows = trainer.state.averaged, trainer.validation
    with torch.no_grad():
        batch = windows.batch(slice(None))
        miss = model(batch.positions, batch.velocities, batch.lags) - batch.targets
    errors = miss[..., [0, 1], :].square().mean((2, 3)).double()
    last = errors[torch.arange(len(errors)), batch.lags.argmax(1)]
    assert record.validation_error == pytest.approx(float(errors.mean()), rel=1e-5)
    assert record.validation_error_last_lag == pytest.approx(float(last.mean()), rel=1e-5)


def test_the_last_incomplete_batch_is_dropped(monkeypatch):
    trainer = trainer_for(batch=16, epochs=1)
    assert len(trainer.train) == 70
    assert trainer.train.frames is trainer.validation.frames  # on the device once
    seen = []
    monkeypatch.setattr(trainer, "step", lambda x, *_: (seen.append(x), torch.zeros(()))[1])
    trainer.run()
    assert [len(x) for x in seen] == [16] * 4
    drawn = torch.cat(seen)
    assert len(drawn.unique(dim=0)) == 64


def test_each_epoch_has_its_own_order_and_lags(monkeypatch):
    trainer = trainer_for(epochs=2)
    seen = []
    monkeypatch.setattr(
        trainer, "step", lambda x, v, lags, y: (seen.append((x, lags)), torch.zeros(()))[1]
    )
    trainer.run()
    first, second = (torch.cat([x for x, _ in epoch]) for epoch in (seen[:4], seen[4:]))
    assert not torch.equal(first, second)
    lags = {}  # by start, of every epoch
    for number, epoch in enumerate((seen[:4], seen[4:])):
        for x, drawn in epoch:
            for start, row in zip(x, drawn, strict=True):
                lags.setdefault(start.numpy().tobytes(), {})[number] = row
    both = [each for each in lags.values() if len(each) == 2]
    assert len(both) > 50
    assert sum(torch.equal(each[0], each[1]) for each in both) < 5  # few frames follow the last


def test_no_order_comes_twice_in_epochs_and_seeds():
    orders = set()
    for seed in range(3):
        trainer = trainer_for(seed=seed, epochs=100, validate_every=100, patience=None)
        seen = []
        trainer.step = lambda x, *_, seen=seen: (seen.append(x), torch.zeros(()))[1]
        trainer.run()
        epochs = torch.cat(seen).unflatten(0, (100, -1))
        orders |= {epoch.numpy().tobytes() for epoch in epochs}
    assert len(orders) == 300


def test_same_seed_same_weights():
    runs = []
    for seed in (1, 1, 2):
        trainer = trainer_for(seed=seed, epochs=2)
        trainer.run()
        runs.append(weights_of(trainer))
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_the_average_is_the_average():
    trainer = trainer_for(epochs=1, ema=0.9)
    expected = {k: v.clone() for k, v in trainer.state.averaged.named_parameters()}
    step = trainer.optimizer.step

    def stepped(*args, **kwargs):
        step(*args, **kwargs)
        for key, weight in trainer.state.model.named_parameters():
            expected[key] = 0.9 * expected[key] + 0.1 * weight.detach()

    trainer.optimizer.step = stepped
    trainer.run()
    for key, weight in trainer.state.averaged.named_parameters():
        torch.testing.assert_close(weight, expected[key])
    assert trainer.state.validated is trainer.state.averaged
    alone = trainer_for(ema=None)
    assert alone.state.averaged is None
    assert alone.state.validated is alone.state.model


def test_gradients_are_clipped(monkeypatch):
    trainer = trainer_for(epochs=1, clip=1e-3)
    norms = []

    def step(*_, **__):
        grads = [w.grad for w in trainer.state.model.parameters() if w.grad is not None]
        norms.append(float(torch.stack([g.norm() for g in grads]).norm()))

    trainer.optimizer.step = step
    trainer.run()
    assert norms
    assert max(norms) <= 1e-3 * (1 + 1e-4)


# Schedules


def test_schedules_are_their_formulas():
    trainer = trainer_for("published", rate=1e-4)
    assert trainer.settings.schedule == "published"
    rates = [trainer.rate(epoch, 0) for epoch in (0, 2499, 2500, 4999, 5000)]
    assert rates == [1e-4, 1e-4, 5e-5, 5e-5, 2.5e-5]
    cosine = trainer_for(rate=2.0, warmup=2, epochs=4)
    total = 4 * cosine.batches
    for step in range(total):
        expected = 2.0 * min(1, (step + 1) / 2) * 0.5 * (1 + math.cos(math.pi * step / total))
        assert cosine.rate(0, step) == pytest.approx(expected)
    constant = trainer_for(rate=2.0, warmup=4, schedule="constant")
    assert [constant.rate(0, step) for step in (0, 1, 3, 100)] == [0.5, 1.0, 2.0, 2.0]
    assert trainer_for(rate=2.0, warmup=0, schedule="constant").rate(0, 0) == 2.0


def test_the_optimizer_gets_the_rate_of_the_schedule():
    trainer = trainer_for(rate=1e-2, warmup=3, epochs=2)
    seen = []
    step = trainer.optimizer.step

    def stepped(*args, **kwargs):
        seen.append(trainer.state.optimizer.param_groups[0]["lr"])
        return step(*args, **kwargs)

    trainer.optimizer.step = stepped
    trainer.run()
    assert seen == [trainer.rate(0, k) for k in range(2 * trainer.batches)]


def test_what_has_a_physical_meaning_has_its_own_rate_and_does_not_decay():
    trainer = trainer_for(
        rate=1e-3, physical_rate=1e-2, schedule="constant", warmup=0, epochs=1, weight_decay=0.1
    )
    trainer.run()
    networks, physical = trainer.state.optimizer.param_groups
    expected = set(map(id, trainer.state.model.physical_parameters()))
    assert set(map(id, physical["params"])) == expected
    assert (networks["lr"], networks["weight_decay"]) == (1e-3, 0.1)
    assert physical["lr"] == pytest.approx(1e-2)
    assert physical["weight_decay"] == 0


def test_the_optimizers_are_those_asked_for():
    trainer = trainer_for("published")
    assert type(trainer.state.optimizer) is torch.optim.Adam
    assert trainer.state.optimizer.param_groups[0]["weight_decay"] == 1e-15
    assert type(trainer_for().state.optimizer) is torch.optim.AdamW


# Stopping


def test_early_stop_after_so_many_validations_without_a_better_one(monkeypatch):
    trainer = trainer_for(epochs=30, patience=3)
    errors = iter([9.0, 5.0, 4.0, 4.5, 3.0, 3.0, 3.1, 3.2, 1.0])  # the first: as fitted
    monkeypatch.setattr(trainer, "_validate", lambda: (next(errors), 1.0))
    kept = Kept()
    progress = trainer.run(kept)
    assert kept.best == [True, True, False, True, False, False, False]
    assert progress.epoch == 7
    assert progress.best_epoch == 4
    assert progress.best_error == 3.0
    assert progress.stopped == "the validation error did not improve in 3 validations"


def test_a_model_that_comes_fitted_is_kept_where_training_makes_it_worse(monkeypatch, tmp_path):
    trainer = trainer_for(epochs=30, patience=2)
    errors = iter([2.0, 5.0, 4.0])
    monkeypatch.setattr(trainer, "_validate", lambda: (next(errors), 1.0))
    kept = Kept()
    progress = trainer.run(kept)
    assert kept.errors == [2.0]
    assert (progress.best_epoch, progress.best_error, progress.epoch) == (0, 2.0, 2)

    monkeypatch.undo()
    rate = {"training.rate": 1e-12, "training.physical_rate": 1e-12, "training.ema": None}
    path = wiggle().save(tmp_path / "w.npz")
    run = gfnode.fit(path, changes=TINY | rate, out=tmp_path / "run", progress=False)
    fitted = trainer_for().state.model.state_dict()
    found = run.model.state_dict()
    assert "fitted, before training" in (tmp_path / "run" / "log.txt").read_text()
    for name in fitted:
        torch.testing.assert_close(found[name], fitted[name], atol=1e-8, rtol=1e-5)


def test_validations_cost_less_than_the_training_between_them():
    trainer = trainer_for()
    assert trainer.validate_every == 1
    few, model = trainer.train.take(torch.arange(3)), trainer.state.model
    parts = {"train": few, "validation": trainer.train.take(torch.arange(30))}
    assert validation_interval(parts, model, TrainingSettings()) == 4  # a step costs three forwards
    assert validation_interval(parts, model, TrainingSettings(validate_every=1)) == 1
    diffusion = build_model(configure(changes={"model.name": "ito"}), model.system)
    # 2 samples of 4 steps, at the same three lags as in a step
    assert validation_interval(parts, diffusion, TrainingSettings()) == 27
    assert diffusion.estimate_effort(8) == 16  # steps take four lags


def test_validation_every_few_epochs_and_at_the_end(monkeypatch):
    trainer = trainer_for(epochs=5, validate_every=2, select="last-lag")
    monkeypatch.setattr(trainer, "_validate", lambda: (1.0, 2.0))
    progress = trainer.run()
    assert [r.validation_error for r in progress.history] == [None, 1.0, None, 1.0, 1.0]
    assert progress.best_error == 2.0
    assert progress.stopped == "all epochs done"


def test_fewer_windows_than_a_batch_are_refused():
    with pytest.raises(
        InputError, match=r"70 training windows do not fill a batch of 71: .*windows\.most"
    ):
        trainer_for(batch=71)


def test_a_batch_that_nobody_chose_suits_windows_and_memory(monkeypatch):
    assert trainer_for(batch=None).batch == 17  # four steps in an epoch of 70 windows
    monkeypatch.setattr("gfnode.models.Model.rows", lambda model, times: 100_000)
    assert trainer_for(batch=None).batch == 5
    monkeypatch.setattr("gfnode.models.Model.rows", lambda model, times: 1_000_000)
    assert trainer_for(batch=None).batch == 1


def test_a_loss_that_is_not_a_number_stops_with_epoch_and_batch(tmp_path, monkeypatch):
    path = wiggle().save(tmp_path / "w.npz")
    steps = []
    original = Trainer._step

    def poisoned(self, *batch):
        steps.append(1)
        loss = original(self, *batch)
        return loss * math.nan if len(steps) == 4 + 3 else loss  # second epoch, third batch

    monkeypatch.setattr(Trainer, "_step", poisoned)
    with pytest.raises(
        Diverged,
        match=r"epoch 2, batch 3 of 4; the last good checkpoint is kept\. Try a lower training",
    ):
        gfnode.fit(path, changes=TINY, out=tmp_path / "run", progress=False)
    with pytest.warns(UserWarning, match="has not finished"):
        run = Run.open(tmp_path / "run")  # the last good weights are there
    assert run.facts["loss_unit"] == "Å²"  # its report can name it, ended or not
    assert all(w.isfinite().all() for w in run.model.parameters())
    tensors, facts = load_tensors(tmp_path / "run" / "last.safetensors")
    assert facts["epoch"] == 1
    assert all(t.isfinite().all() for t in tensors.values())
    monkeypatch.setattr(Trainer, "_step", original)
    assert gfnode.resume(tmp_path / "run", progress=False).facts["training"]["epochs"] == 4


@pytest.mark.parametrize(
    ("fitted", "kept"),
    [(True, "; the last good checkpoint is kept"), (False, ", and no weights have been validated")],
)
def test_divergence_is_found_in_a_later_stretch_of_batches(monkeypatch, fitted, kept):
    trainer = trainer_for(batch=1, epochs=1)
    monkeypatch.setattr(type(trainer.state.model), "comes_fitted", fitted)
    steps = []

    def step(*batch):
        steps.append(1)
        return torch.tensor(math.inf if len(steps) == 31 else 1.0)

    monkeypatch.setattr(trainer, "step", step)
    with pytest.raises(Diverged, match=f"epoch 1, batch 31 of 70{kept}"):
        trainer.run()


@pytest.mark.parametrize("fitted", [math.nan, math.inf])
def test_a_fitted_model_with_no_finite_error_is_not_the_best(monkeypatch, fitted):
    trainer = trainer_for(epochs=3)
    errors = iter([fitted, math.nan, 5.0, 6.0])
    monkeypatch.setattr(trainer, "_validate", lambda: (next(errors), 1.0))
    kept = Kept()
    progress = trainer.run(kept)
    assert (progress.best_error, progress.best_epoch) == (5.0, 2)
    assert kept.errors == []
    assert kept.notes == ["fitted, before training: the validation error is not finite"]


def test_a_run_of_data_in_memory_cannot_be_resumed(tmp_path):
    """The message said to give --data, which --resume refuses."""
    fitting.begin(wiggle(), changes=TINY, out=tmp_path / "run")
    with pytest.raises(InputError, match=r"in memory, so it cannot be continued: .* on its file"):
        gfnode.resume(tmp_path / "run", progress=False)


def test_validations_that_are_never_finite_end_as_divergence(tmp_path, monkeypatch):
    path = wiggle().save(tmp_path / "w.npz")
    monkeypatch.setattr(Trainer, "_validate", lambda _: (math.nan, math.nan))
    told = r"the validation error was not finite in any of 4 epochs.*Try a lower training.rate"
    with pytest.raises(Diverged, match=told):
        gfnode.fit(path, changes=TINY, out=tmp_path / "run", progress=False)
    with pytest.raises(Diverged, match=told):
        gfnode.resume(tmp_path / "run", progress=False)


# Killed and resumed


@pytest.fixture(autouse=True)
def every_epoch_is_saved(monkeypatch):
    """As where epochs take long."""
    monkeypatch.setattr(fitting, "SAVING", math.inf)


def test_saving_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    clock, saved = [0.0], []

    def save(path, state):
        saved.append(state.progress.epoch)
        clock[0] += 1.0
        save_training(path, state)

    original = Trainer._step
    monkeypatch.setattr(fitting, "SAVING", 0.05)
    monkeypatch.setattr(fitting, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(fitting, "save_training", save)
    monkeypatch.setattr(  # four steps an epoch: 8 s
        Trainer, "_step", lambda *args: (clock.append(clock.pop() + 2.0), original(*args))[1]
    )
    path = wiggle().save(tmp_path / "w.npz")
    changes = TINY | {"training": TINY["training"] | {"epochs": 8, "patience": None}}
    gfnode.fit(path, changes=changes, out=tmp_path / "run", progress=False)
    assert saved == [1, 3, 5, 8]  # after 8, 25 and 42 s, and at the end


class Killed(BaseException):
    """As an interrupt from the keyboard: nothing catches it."""


@contextmanager
def killed_at(monkeypatch, owner, name, call):
    """What is done inside is killed when a function is called for the ``call``-th time."""
    original, calls = getattr(owner, name), []

    def killing(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killing)
        with pytest.raises(Killed):
            yield


VARIANTS = {
    "default": ("default", {}),
    "adam, constant, no average": (
        "default",
        {"optimizer": "adam", "schedule": "constant", "ema": None, "clip": None},
    ),
    "published": ("published", {"ema": None, "validate_every": 2, "warmup": 0}),
    "early stop": ("default", {"patience": 1, "rate": 0.5, "warmup": 0, "clip": None}),
}
KILLS = {
    "inside an epoch": (Trainer, "_step", 6),
    "as an epoch reports": (FolderMonitor, "batch", 2),
    "before the best is saved": (Run, "save_best", 1),
    "between best and state": (fitting, "save_training", 2),
    "after an epoch": (FolderMonitor, "epoch", 2),
    "in the first epoch": (Trainer, "_step", 2),
    "before the first state": (fitting, "save_training", 1),
    "in the last epoch": (Trainer, "_step", 15),
}
_whole = {}


def whole_run(tmp_path_factory, variant):
    """The run without interruption, once for each variant."""
    if variant not in _whole:
        folder = tmp_path_factory.mktemp("whole")
        path = wiggle().save(folder / "w.npz")
        preset, training = VARIANTS[variant]
        base = TINY if preset == "default" else PAPER
        changes = base | {"training": base["training"] | training}
        gfnode.fit(path, preset=preset, changes=changes, out=folder / "run", progress=False)
        _whole[variant] = path, preset, changes, folder / "run"
    return _whole[variant]


@pytest.mark.parametrize(
    ("variant", "kill"),
    [("default", kill) for kill in KILLS]
    + [(v, k) for v in list(VARIANTS)[1:] for k in ("inside an epoch", "between best and state")],
)
def test_resumed_runs_end_at_the_same_bits(variant, kill, tmp_path, tmp_path_factory, monkeypatch):
    path, preset, changes, whole = whole_run(tmp_path_factory, variant)
    with killed_at(monkeypatch, *KILLS[kill]):
        gfnode.fit(path, preset=preset, changes=changes, out=tmp_path / "run", progress=False)
    run = gfnode.resume(tmp_path / "run", progress=False)
    expected = (whole / "weights.safetensors").read_bytes()
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == expected
    ours, theirs = (load_file(f / "last.safetensors") for f in (tmp_path / "run", whole))
    assert same(ours, theirs)
    assert any(k.startswith("optimizer.") for k in ours)
    assert run.facts["training"]["epochs"] == len(_history(whole)) == len(_history(run.folder))
    for mine, other in zip(_history(run.folder), _history(whole), strict=True):
        assert mine.rsplit(",", 1)[0] == other.rsplit(",", 1)[0]  # all but the speed


def _history(folder):
    return (folder / "history.csv").read_text().splitlines()[1:]


def test_killed_twice(tmp_path, tmp_path_factory, monkeypatch):
    path, preset, changes, whole = whole_run(tmp_path_factory, "default")
    with killed_at(monkeypatch, Trainer, "_step", 7):
        gfnode.fit(path, preset=preset, changes=changes, out=tmp_path / "run", progress=False)
    with killed_at(monkeypatch, Trainer, "_step", 5):
        gfnode.resume(tmp_path / "run", progress=False)
    gfnode.resume(tmp_path / "run", progress=False)
    ours = (tmp_path / "run" / "weights.safetensors").read_bytes()
    assert ours == (whole / "weights.safetensors").read_bytes()


def test_layers_that_draw_go_on_as_they_would_have(tmp_path, monkeypatch):
    path = wiggle().save(tmp_path / "w.npz")
    with layered() as name:
        changes = TINY | {"model": {"name": name}}
        gfnode.fit(path, changes=changes, out=tmp_path / "whole", progress=False)
        with killed_at(monkeypatch, Trainer, "_step", 6):
            gfnode.fit(path, changes=changes, out=tmp_path / "run", progress=False)
        gfnode.resume(tmp_path / "run", progress=False)
    whole, run = (load_file(tmp_path / each / "last.safetensors") for each in ("whole", "run"))
    assert same(run, whole)


def test_the_average_remembers_what_layers_have_seen():
    with layered() as name:
        experiment = configure("default", TINY | {"model": {"name": name}})
        dataset = prepare([wiggle()], experiment)
        model = build_model(experiment, dataset.system)
        trainer = Trainer(model, dataset.of(model), experiment.training, 0, accelerator="cpu")
        trainer.run()
    seen, kept = (dict(each.named_buffers()) for each in (model, trainer.state.averaged))
    assert seen["layers.0.running_mean"].any()
    assert same(seen, kept)


def test_a_kill_loses_at_most_one_epoch(tmp_path, monkeypatch):
    path = wiggle().save(tmp_path / "w.npz")
    with killed_at(monkeypatch, Trainer, "_step", 4 * 2 + 4):  # the last batch of the third epoch
        gfnode.fit(path, changes=TINY, out=tmp_path / "run", progress=False)
    steps = []
    original = Trainer._step
    monkeypatch.setattr(
        Trainer, "_step", lambda self, *args: (steps.append(1), original(self, *args))[1]
    )
    gfnode.resume(tmp_path / "run", progress=False)
    assert len(steps) == 4 * 2


def test_resuming_a_run_that_has_ended_changes_nothing(tmp_path, monkeypatch):
    path = wiggle().save(tmp_path / "w.npz")
    gfnode.fit(path, changes=TINY, out=tmp_path / "run", progress=False)
    before = (tmp_path / "run" / "weights.safetensors").read_bytes()
    facts = (tmp_path / "run" / "run.json").read_bytes()
    monkeypatch.setattr(Trainer, "_step", None)
    run = gfnode.resume(tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == before
    assert (tmp_path / "run" / "run.json").read_bytes() == facts
    assert run.facts["training"]["epochs"] == 4


def test_a_run_killed_while_it_measures_its_errors_has_not_ended(tmp_path, monkeypatch):
    path = wiggle().save(tmp_path / "w.npz")
    with killed_at(monkeypatch, fitting.Calibration, "fit", 1):
        gfnode.fit(path, changes=TINY, out=tmp_path / "run", progress=False)
    with pytest.warns(UserWarning, match="has not finished"):
        assert Run.open(tmp_path / "run").calibration is None
    run = gfnode.resume(tmp_path / "run", progress=False)
    assert run.calibration is not None
    assert run.facts["training"]["epochs"] == 4


def test_seconds_count_what_was_before_an_interruption(tmp_path, monkeypatch):
    path = wiggle().save(tmp_path / "w.npz")
    with killed_at(monkeypatch, Trainer, "_step", 4 * 2 + 4):
        gfnode.fit(path, changes=TINY, out=tmp_path / "run", progress=False)
    _, before = load_tensors(tmp_path / "run" / "last.safetensors")
    assert before["seconds"] > 0
    run = gfnode.resume(tmp_path / "run", progress=False)
    assert run.facts["training"]["seconds"] > before["seconds"]


def test_resuming_with_other_data_is_refused(tmp_path, monkeypatch):
    path = wiggle().save(tmp_path / "w.npz")
    with killed_at(monkeypatch, Trainer, "_step", 6):
        gfnode.fit(path, changes=TINY, out=tmp_path / "run", progress=False)
    wiggle(seed=9).save(path)
    with pytest.raises(InputError, match="the data this run was trained on: restore it; evaluate"):
        gfnode.resume(tmp_path / "run", progress=False)
    path.unlink()
    with pytest.raises(InputError, match=r"w\.npz: no such file, but .*: put it back \(a link"):
        gfnode.resume(tmp_path / "run", progress=False)
    wiggle().save(tmp_path / "moved.npz")
    path.symlink_to(tmp_path / "moved.npz")
    assert gfnode.resume(tmp_path / "run", progress=False).facts["training"]


def test_a_damaged_state_is_refused(tmp_path):
    trainer = trainer_for(epochs=1)
    trainer.run()
    path = tmp_path / "last.safetensors"
    save_training(path, trainer.state)
    other = trainer_for(epochs=1)
    load_training(path, other.state)
    assert same(weights_of(other), weights_of(trainer))
    assert other.state.progress == trainer.state.progress
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        load_training(path, other.state)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": []},
        {"epoch": -1},
        {"best_epoch": 1e308},
        {"validations_since_best": "x"},
        {"seconds": math.nan},
        {"stopped": 7},
        {"history": [{"epoch": 1}]},
        {"history": [dict.fromkeys(EpochRecord.__dataclass_fields__, "x")]},
    ],
)
def test_progress_of_a_stranger_is_refused(tmp_path, change):
    refuse_progress(tmp_path / "last.safetensors", facts=change)


@pytest.mark.parametrize("name", ["optimizer.x.y", "optimizer.7"])
def test_an_optimizer_that_is_none_is_refused(tmp_path, name):
    refuse_progress(tmp_path / "last.safetensors", tensors={name: torch.zeros(2)})


def refuse_progress(path, *, tensors=None, facts=None):
    """What is stored of a training, changed, is not gone on with."""
    trainer = trainer_for(epochs=1)
    trainer.run()
    save_training(path, trainer.state)
    stored, told = load_tensors(path)
    save_tensors(path, stored | (tensors or {}), told | (facts or {}))
    with pytest.raises(InputError, match="progress is damaged"):
        load_training(path, trainer.state)


def test_facts_nested_too_deep_are_refused(tmp_path):
    path = tmp_path / "last.safetensors"
    save_file({"x": torch.zeros(1)}, path, {"facts": "[" * 100_000})
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        load_tensors(path)


@pytest.mark.parametrize("name", ["history.csv", "log.txt", "tensorboard", "training.lock"])
def test_nothing_is_written_through_a_link_in_a_run_folder(tmp_path, monkeypatch, name):
    path = wiggle().save(tmp_path / "w.npz")
    with killed_at(monkeypatch, Trainer, "_step", 6):
        gfnode.fit(path, changes=TINY, out=tmp_path / "run", progress=False)
    link, elsewhere = tmp_path / "run" / name, tmp_path / "elsewhere"
    shutil.rmtree(link) if link.is_dir() else link.unlink()
    elsewhere.mkdir() if name == "tensorboard" else elsewhere.write_text("of somebody else")
    link.symlink_to(elsewhere)
    with pytest.raises(InputError, match=rf"{name}: is a link to .*elsewhere.*remove the link"):
        gfnode.resume(tmp_path / "run", progress=False)
    if name == "tensorboard":
        assert not list(elsewhere.iterdir())
    else:
        assert elsewhere.read_text() == "of somebody else"


def test_the_state_of_another_model_is_refused(tmp_path):
    trainer = trainer_for("published", epochs=1)
    save_training(tmp_path / "last.safetensors", trainer.state)
    with pytest.raises(InputError, match=r"do not fit the model"):
        load_training(tmp_path / "last.safetensors", trainer_for().state)


def test_progress_survives_the_round_trip():
    progress = Progress()
    assert Progress.from_dict(progress.to_dict()) == progress
    assert math.isinf(Progress.from_dict(progress.to_dict()).best_error)


# The device


class NoWaiting(TorchDispatchMode):
    """Refuses what makes the host wait for a value of the device."""

    waits = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique")
    active = True

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        assert not (self.active and name.lstrip("_") in {w.lstrip("_") for w in self.waits}), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("preset", ["default", "paper", "published"])
def test_a_step_never_waits_for_the_device(preset, monkeypatch):
    # only a processor reads how large W is
    monkeypatch.setattr(linear, "_nodes_and_order", lambda _: (linear.NODES, linear.ORDER))
    trainer = trainer_for(preset)
    step, mode = trainer.optimizer.step, NoWaiting()

    def unguarded(*args, **kwargs):  # on a CPU the optimizer reads its own step counter
        mode.active = False
        try:
            return step(*args, **kwargs)
        finally:
            mode.active = True

    trainer.optimizer.step = unguarded
    index = torch.arange(16)
    with mode:
        loss = trainer._step(*vars(trainer.train.batch(index)).values())
        with pytest.raises(AssertionError):
            float(loss)
    assert loss.isfinite()


def test_settings_of_training_are_checked():
    for wrong in ({"epochs": 0}, {"batch": 0}, {"rate": 0.0}, {"ema": 1.0}, {"clip": 0.0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            TrainingSettings.read(wrong)
    assert replace(Progress(), epoch=3).epoch == 3
    assert np.isfinite(TrainingSettings().rate)


def test_a_long_fit_before_training_is_one_line_off_a_terminal():
    console = Console(file=io.StringIO(), force_terminal=False, width=80)
    with fit_display(console, "learning a potential") as report:
        assert console.file.getvalue() == ""
        for done in range(1, 4):
            report(done, 3)
    assert console.file.getvalue() == "learning a potential (3 steps)\n"
    with fit_display(None, "learning") as report:
        report(1, 3)
