"""What only a GPU can show: ``pytest tests/training/test_gpu.py``; skipped where there is none."""

import pytest
import torch
from safetensors.torch import load_file

import gfnode
from gfnode.experiment import build_model, configure, prepare
from gfnode.run import Run
from gfnode.sweep import Store, sweep
from gfnode.sweep.jobs import Job
from gfnode.sweep.launchers import Resources
from gfnode.sweep.together import Together
from gfnode.training import Callback, Trainer
from gfnode.training.checkpoint import load_training, save_training
from gfnode.training.replay import WARM, GraphReplay

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    # of lightning, which would have products in tf32; of PyTorch, which calls its check a prototype
    pytest.mark.filterwarnings("ignore"),
]

SMALL = {
    "windows.split": "blocked",
    "windows.horizon": "500fs",
    "windows.times": 4,
    "windows.most": [64, 32, 32],
    "training.epochs": 5,
    "training.batch": 8,
    "training.patience": None,
}
RECORDED = {
    "published": ("published", {}),
    "paper": ("paper", {}),
    "gcn": ("paper", {"model.encoder": "gcn"}),
    "egnn": ("default", {"model.name": "egnn"}),
    "egno": ("default", {"model.name": "egno"}),
    "ito": ("default", {"model.name": "ito"}),
    "bfloat16": ("published", {"training.products": "bfloat16"}),
    "plain Adam": ("paper", {"training.optimizer": "adam", "training.ema": None}),
}
WAITS = {
    "ndcn": ("default", {"model.name": "ndcn"}),
    "neural": ("paper", {"model.dynamics": "neural"}),
    "default": ("default", {"model.newton": False}),
}


def trainer_for(which, seed=0, accelerator="cuda", **training):
    preset, changes = which
    more = {f"training.{key}": value for key, value in training.items()}
    experiment = configure(preset, SMALL | changes | more | {"seed": seed})
    dataset = prepare([gfnode.load("sample:toluene")], experiment)
    model = build_model(experiment, dataset.system)
    parts = dataset.of(model)
    model.prepare(parts["train"])
    fresh = experiment.windows.lags == "fresh"
    return Trainer(
        model, parts, experiment.training, seed, fresh_lags=fresh, accelerator=accelerator
    )


def trained(trainer, notes=None):
    notes = [] if notes is None else notes
    callback = Callback()
    callback.note = notes.append
    trainer.run(callback)
    history = trainer.state.progress.history
    return [(each.train_error, each.validation_error) for each in history]


@pytest.mark.parametrize("which", RECORDED)
def test_recorded_steps_are_the_steps(which):
    notes = []
    recorded = trainer_for(RECORDED[which])
    ours = trained(recorded, notes)
    assert isinstance(recorded.step, GraphReplay)
    assert recorded.step.recorded is not None
    assert not any("steps" in note for note in notes)
    theirs = trained(trainer_for(RECORDED[which], replay=False))
    for (a, b), (c, d) in zip(ours, theirs, strict=True):
        assert a == pytest.approx(c, rel=1e-4)
        assert (b is None) == (d is None)
        assert b is None or b == pytest.approx(d, rel=1e-4)


def test_validation_is_recorded():
    trainer = trainer_for(RECORDED["published"], validate_every=1)
    trained(trainer)
    assert trainer.errors.recorded is not None
    batches = trainer._gathered()
    assert trainer._errors(batches).tolist() == pytest.approx(trainer.errors().tolist(), rel=1e-5)


@pytest.mark.parametrize("which", WAITS)
def test_what_waits_is_not_recorded_and_says_so(which):
    trainer, notes = trainer_for(WAITS[which]), []
    ours = trained(trainer, notes)
    assert trainer.step.plain
    assert sum("steps could not be recorded" in note for note in notes) == 1
    theirs = trained(trainer_for(WAITS[which], replay=False))
    assert ours[-1][0] == pytest.approx(theirs[-1][0], rel=1e-2)


@pytest.mark.parametrize("preset", ["default", "published"])
def test_training_is_that_of_the_processor(preset):
    which = RECORDED["published"] if preset == "published" else WAITS["default"]
    ours, theirs = (trained(trainer_for(which, accelerator=each)) for each in ("cuda", "cpu"))
    for (_, a), (_, b) in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        assert a is None or a == pytest.approx(b, rel=1e-2)


def test_training_goes_on_from_a_saved_state(tmp_path):
    which = RECORDED["paper"]
    whole = trainer_for(which)
    expected = trained(whole)
    cut = trainer_for(which)

    class Save(Callback):
        def epoch(self, state, record, best):
            if record.epoch == 3:
                save_training(tmp_path / "last.safetensors", state)

    cut.run(Save())
    resumed = trainer_for(which)
    load_training(tmp_path / "last.safetensors", resumed.state)
    assert resumed.state.progress.epoch == 3
    for (a, _), (b, _) in zip(trained(resumed), expected, strict=True):
        assert a == pytest.approx(b, rel=1e-3)


def test_turns_on_streams_come_to_what_each_comes_to_alone():
    which = [RECORDED[each] for each in ("published", "egnn", "ito", "paper")] * 2
    alone = [trained(trainer_for(each, seed)) for seed, each in enumerate(which)]
    members = []
    for seed, each in enumerate(which):
        with torch.cuda.stream(stream := torch.cuda.Stream()):
            trainer = trainer_for(each, seed)
        members.append((stream, trainer, trainer.running()))
    left = list(members)
    while left:
        for each in list(left):
            with torch.cuda.stream(each[0]):
                if next(each[2], left) is left:
                    left.remove(each)
    for (_, trainer, _), expected in zip(members, alone, strict=True):
        history = trainer.state.progress.history
        assert len(history) == len(expected)
        for each, (error, _) in zip(history, expected, strict=True):
            assert each.train_error == pytest.approx(error, rel=1e-3)


def test_a_sweep_on_a_gpu(tmp_path):
    file = gfnode.load("sample:toluene").save(tmp_path / "toluene.npz")
    jobs = [
        Job((str(file),), configure("published", SMALL | {"seed": seed, "training.epochs": 8}))
        for seed in range(4)
    ]
    tasks = [Store(tmp_path / "together").task(job) for job in jobs]
    summary = sweep(tasks, Together(Resources(), tmp_path / "together", [8e10]))
    assert (len(summary.done), summary.failed) == (4, {})
    for task, job in zip(tasks, jobs, strict=True):
        run = Run.open(task.folder)
        assert run.facts["training"]["device"] == "cuda:0"
        folder = tmp_path / f"alone-{job.experiment.seed}"
        gfnode.fit(file, changes=job.experiment.model_dump(mode="json"), out=folder, progress=False)
        ours, theirs = (load_file(f / "weights.safetensors") for f in (task.folder, folder))
        for key in ours:
            torch.testing.assert_close(ours[key], theirs[key], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("which", [*RECORDED, *WAITS])
def test_predictions_are_those_of_the_processor(which):
    trainer = trainer_for(RECORDED.get(which) or WAITS[which], epochs=1)
    model = trainer.state.model.eval()
    batch = trainer.validation.batch(torch.arange(8, device="cuda"))
    with torch.no_grad():
        ours = model(batch.positions, batch.velocities, batch.lags).cpu()
        theirs = model.cpu()(*(v.cpu() for v in (batch.positions, batch.velocities, batch.lags)))
    assert (ours - theirs).abs().max() < 2e-3  # Å


def test_work_is_recorded_after_a_few_times():
    places, calls, notes = torch.zeros(3, device="cuda"), [], []

    def work(x):
        calls.append(1)
        places.add_(x)
        return places.sum()

    replayed = GraphReplay(work, "sums", notes.append)
    sums = [float(replayed(torch.full((3,), float(n), device="cuda"))) for n in range(8)]
    assert sums == [3.0 * n * (n + 1) / 2 for n in range(8)]
    assert len(calls) == WARM + 1
    assert notes == []


def test_work_that_waits_is_done_as_it_is():
    total, notes = torch.zeros((), device="cuda"), []

    def work(x):
        if float(x) > 100:
            return x
        total.add_(x)
        return total * 1

    replayed = GraphReplay(work, "sums", notes.append)
    sums = [float(replayed(torch.tensor(float(n), device="cuda"))) for n in range(6)]
    assert sums == [0.0, 1.0, 3.0, 6.0, 10.0, 15.0]
    assert notes == [notes[0]]
    assert "sums not recorded" in notes[0]
