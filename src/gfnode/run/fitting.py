"""Training of a model on trajectories, from data to a run folder."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import torch
from rich.console import Console

from gfnode import runfiles
from gfnode.ambient import seeded, usual
from gfnode.errors import InputError
from gfnode.experiment import Dataset, configure, prepare, refuse_idle
from gfnode.experiment.baselines import mean_errors
from gfnode.machine import memory_kept
from gfnode.models import MODELS
from gfnode.models.base import Model, check_prediction
from gfnode.models.calibration import Calibration
from gfnode.models.gfnode import GraphFourierODE
from gfnode.models.newton import UNSEEN, misses_images
from gfnode.readers import Reader
from gfnode.readers.reader import Data
from gfnode.run.creation import alone, refuse_run
from gfnode.run.run import Run
from gfnode.terminal import plain_console
from gfnode.training import Callback, EpochRecord, Trainer, TrainingState
from gfnode.training.checkpoint import load_training, save_training
from gfnode.training.monitors import FolderMonitor, LiveMonitor, fit_display
from gfnode.training.stepping import setup_device
from gfnode.trajectory import Trajectory
from gfnode.trajectory.given import place
from gfnode.windows import Windows

__all__ = ["Data", "Reader", "Said", "begin", "finish", "fit", "reopen", "resume", "training"]

SAVING = 0.05
"""Largest fraction of the time spent on saving checkpoints."""

Said = Callable[[Run, Dataset], None]
Result = TypeVar("Result")


def fit(
    data: Data,
    *,
    preset: str = "default",
    changes: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    reader: Reader | None = None,
    progress: bool = True,
    said: Said | None = None,
) -> Run:
    """Train a model and keep it in a run folder.

    Parameters
    ----------
    data
        A trajectory, a file, or several of one molecule (replicas).
    preset
        ``default``, ``paper`` or ``published``.
    changes
        Settings that differ from the preset, nested or dotted: ``{"training.epochs": 5}``.
    out
        The run folder; default ``runs/<name of the molecule>``.
    reader
        How to read files.
    progress
        Show a live display.
    said
        Called with the run and its data before the first training step.

    Returns
    -------
    Run
        With the weights that were best on validation.

    Raises
    ------
    InputError
        For anything wrong with data or configuration; :class:`gfnode.training.Diverged` when the
        loss is no longer a number.
    """
    begun = begin(data, preset=preset, changes=changes, out=out, reader=reader)
    return finish(*begun, progress=progress, said=said)


@usual()
def begin(
    data: Data,
    *,
    preset: str = "default",
    changes: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    reader: Reader | None = None,
) -> tuple[Run, Dataset]:
    """Create the folder of a run and prepare its data; see :func:`fit`."""
    experiment = configure(preset, changes)
    refuse_idle(experiment, changes)
    reader = Reader.chosen(reader)
    setup_device(experiment.accelerator)  # says at once what cannot be used
    if experiment.windows.split == "all":
        raise InputError(
            "windows.split=all leaves no windows for validation: expected blocked or published"
        )
    folder = None if out is None else place(out, "a run folder")
    if folder is not None:
        refuse_run(folder)  # before the data is read, which may take long
    trajectories, files = reader.gather(data)
    if max(map(len, trajectories)) == 1:
        raise InputError(
            f"{trajectories[0].label}: a single frame has no motion to learn: give a trajectory "
            "of many frames"
        )
    folder = folder or Path("runs") / trajectories[0].label
    dataset = prepare(trajectories, experiment)
    run = Run.create(folder, experiment, dataset, trajectories, files, reader=reader)
    return run, _noted(dataset, run.model, trajectories[0])


def resume(folder: str | Path, *, progress: bool = True, said: Said | None = None) -> Run:
    """Resume an interrupted run, with its own configuration and data.

    It ends at the weights of an uninterrupted run, on a CPU bit for bit. A run that had ended is
    returned unchanged.

    Raises
    ------
    InputError
        When the folder holds no run, or its data has moved or changed.
    """
    return finish(*reopen(folder), progress=progress, said=said)


@usual()
def reopen(folder: str | Path) -> tuple[Run, Dataset | None]:
    """Open a run and prepare its data (None if it has ended), to resume it; see :func:`resume`."""
    run = Run.open(folder, weights=False)
    if run.exported:
        raise InputError(
            f"{folder} is an exported model: training can only be continued in its run folder"
        )
    if "training" in run.facts and run.calibration is not None:
        return Run.open(folder), None
    if not all(run.provenance.files):
        raise InputError(
            f"{folder} was trained on data in memory, so it cannot be continued: save the "
            "trajectory (gfnode.save) and train on its file"
        )
    return run, prepare(run.trajectories(), run.experiment)


@usual()
def finish(
    run: Run, dataset: Dataset | None, *, progress: bool = False, said: Said | None = None
) -> Run:
    """Train a new or resumed run to the end, and calibrate it; see :func:`fit`."""
    if dataset is None:
        return run
    experiment = run.experiment
    chance = seeded(experiment.seed, accelerator=experiment.accelerator)
    with alone(run.folder), memory_kept(), chance:
        if said is not None:
            said(run, dataset)
        facts = _to_the_end(training(run, dataset, progress=progress))
        _calibrate(run, dataset)
        if facts is not None:
            last = experiment.training.select == "last-lag"
            errors = mean_errors(run.baselines(), dataset.parts["validation"], last=last)
            facts["trivial_validation_errors"] = errors
            run.record(training=facts)  # last: a run that has this has ended
    return run


def _noted(dataset: Dataset, model: Model, first: Trajectory) -> Dataset:
    """Add a note if the model is about to learn a potential that misses periodic images."""
    newton = model.newton if isinstance(model, GraphFourierODE) else None
    if newton is None or not misses_images(model.system, first):
        return dataset
    if newton.forces(dataset.of(model)["train"]) is None:
        return dataset
    note = f"{UNSEEN}: --set model.newton=false saves the time it takes"
    return replace(dataset, notes=(*dataset.notes, note))


def _calibrate(run: Run, dataset: Dataset) -> None:
    """Fit and save the calibration: errors on validation windows, distances on training ones."""
    parts = dataset.of(run.model)
    with MODELS.blamed(run.experiment.model["name"], "calibrated"):
        run.calibration = Calibration.fit(run.model, parts["train"], parts["validation"])
    run.calibration.save(run.folder / runfiles.CALIBRATION)


def _prepare(model: Model, windows: Windows, console: Console | None) -> None:
    """Run :meth:`Model.prepare` on the training windows, and print its message."""
    with fit_display(console, model.long_fit) as report:
        model.prepare(windows, report)
    _check_prediction(model, windows)
    if console and model.found:
        console.print(model.found, soft_wrap=True)


@torch.no_grad()
def _check_prediction(model: Model, windows: Windows) -> None:
    """Check shape and dtype of a prediction before training, as plug-in models may be wrong."""
    x, v, lags, _ = vars(windows.batch(slice(0, 2))).values()
    training = model.training
    found = check_prediction(model.eval().estimate(x, v, lags), x, lags)
    model.train(training)
    if found.dtype != x.dtype:
        raise InputError(f"the model predicted {found.dtype}: expected {x.dtype}")


def _to_the_end(turns: Generator[None, None, Result]) -> Result:
    while True:
        try:
            next(turns)
        except StopIteration as end:
            result: Result = end.value
            return result


class _Saving(Callback):
    """Saves the best weights and the state of training.

    Parameters
    ----------
    run, last
        The run, and the file of its state.
    began, before
        When training began (or was resumed) by `perf_counter`, and the seconds spent before that.
    """

    def __init__(self, run: Run, last: Path, began: float, before: float) -> None:
        self._run, self._last, self._began, self._before = run, last, began, before
        self._saving = 0.0  # seconds

    def start(self, state: TrainingState, error: float) -> None:
        """Save the fitted weights."""
        self._run.save_best(state.validated)

    def epoch(self, state: TrainingState, record: EpochRecord, best: bool) -> None:
        """Save weights, then the state, unless that would take too much of the time."""
        if best:
            self._run.save_best(state.validated)
        now = perf_counter()
        elapsed = now - self._began
        state.progress.seconds = self._before + elapsed
        if state.progress.stopped or self._saving <= SAVING * elapsed:
            save_training(self._last, state)
            self._saving += perf_counter() - now


def training(
    run: Run, dataset: Dataset, *, progress: bool = False
) -> Generator[None, None, dict[str, Any] | None]:
    """Train from the state in the folder; a generator that yields as :meth:`Trainer.running`.

    The state is saved after every epoch, less often where saving would take more than a twentieth
    of the time.

    Returns
    -------
    dict or None
        Results for ``run.json``; None for a model with nothing to train.
    """
    began = perf_counter()
    experiment, last = run.experiment, run.folder / runfiles.LAST
    console = plain_console(stderr=True) if progress else None
    blamed = partial(MODELS.blamed, experiment.model["name"])
    if not last.exists():  # a new run, or one interrupted in its first epoch
        # seeded also when interleaved with others
        with seeded(experiment.seed), blamed("fitted and tried"):
            _prepare(run.model, dataset.of(run.model)["train"], console)
        if run.model.doubt:
            run.record(doubt=run.model.doubt)
    if not run.model.n_weights:
        run.save_best(run.model)
        return None
    trainer = Trainer(
        run.model,
        dataset.of(run.model),
        experiment.training,
        experiment.seed,
        fresh_lags=experiment.windows.lags == "fresh",
        accelerator=experiment.accelerator,
        blamed=partial(blamed, "trained"),
    )
    state = trainer.state
    if last.exists():
        load_training(last, state)
    monitors: list[Callback] = [FolderMonitor(run.folder, state.progress.history)]
    if console:
        epochs, begun = experiment.training.epochs, state.progress.epoch
        monitors.append(LiveMonitor(console, epochs, trainer.batches, begun))
    # saved before others are told: if killed in between, epochs are repeated, to the same weights
    yield from trainer.running(_Saving(run, last, began, state.progress.seconds), *monitors)
    run.model.cpu()
    run.load_best()
    done = state.progress
    return {
        "epochs": done.epoch,
        "best_epoch": done.best_epoch,
        "best_validation_error": done.best_error,
        "ended": done.stopped,
        "seconds": done.seconds,
        "device": str(trainer.fabric.device),
    }
