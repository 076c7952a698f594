"""What jobs will cost, from a few steps of each model on each system."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import torch

from gfnode.errors import InputError
from gfnode.experiment import build_model, prepare
from gfnode.models import MODELS, Model
from gfnode.sweep.jobs import Job, make_key
from gfnode.training import Trainer, choose_batch, validation_interval
from gfnode.windows import Windows

STEPS = 2
"""Training steps that are timed, after as many to warm up."""

START = 10.0
"""Seconds in which a process starts, loads its packages, and writes what it found."""

_FITTED = 20  # of the same of a fit before training


@dataclass(frozen=True)
class Cost:
    """Of one job at most.

    Parameters
    ----------
    weights
        Of the model.
    epochs
        At most.
    beginning, fitting, training, validation, evaluation
        Seconds, all epochs together; the first are to start a process and to read and cut the data.
        Where a potential would be learned, predictions are timed without it.
    """

    weights: int
    epochs: int
    beginning: float
    fitting: float
    training: float
    validation: float
    evaluation: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.beginning + self.fitting + self.training + self.validation + self.evaluation


def estimate(job: Job) -> Cost:
    """Time a few steps and predictions, and count how many there will be.

    Raises
    ------
    InputError
        When data and configuration do not fit together.
    """
    experiment, began = job.experiment, perf_counter()
    trajectories = [each for file in job.files for each in job.reader.load(file)]
    dataset = prepare(trajectories, experiment)
    beginning = START + perf_counter() - began
    model = build_model(experiment, dataset.system)
    parts = dataset.of(model)
    blamed = partial(MODELS.blamed, experiment.model["name"], "timed")
    with blamed():
        fitting = _fit(model, parts["train"])
    settings = experiment.training
    evaluation = len(parts["test"]) * _per_window(model, parts["test"])
    if not model.n_weights:
        return Cost(0, 0, beginning, fitting, 0.0, 0.0, evaluation)
    batch = choose_batch(parts["train"], model, settings)
    few = {
        "train": _first(parts["train"], STEPS * batch),
        "validation": _first(parts["validation"], 16),
    }
    short = settings.model_copy(update={"epochs": 2, "batch": batch, "patience": None})
    accelerator = experiment.accelerator
    trainer = Trainer(model, few, short, 0, accelerator=accelerator, blamed=blamed)
    speed = trainer.run().history[-1].windows_per_s
    windows = settings.epochs * (len(parts["train"]) // batch) * batch
    times = -(-settings.epochs // validation_interval(parts, model, settings))
    validations = times * len(parts["validation"])
    return Cost(
        model.n_weights,
        settings.epochs,
        beginning,
        fitting,
        windows / speed,
        validations * _per_window(model, trainer.validation, estimated=True),
        evaluation,
    )


def estimates(jobs: Iterable[Job]) -> dict[str, Cost]:
    """Costs of jobs by key; those that differ in nothing but the seed are timed once."""
    found: dict[str, Cost] = {}
    timed: dict[str, Cost] = {}
    for job in jobs:
        same = make_key(job.experiment.model_copy(update={"seed": 0}), job.content)
        if same not in timed:
            timed[same] = estimate(job)
        found[job.key] = timed[same]
    return found


class _Enough(Exception):
    """Says that the pace of a fit is known."""


def _fit(model: Model, windows: Windows) -> float:
    """Fit before training, long steps but for a few, and tell the seconds of all of it."""
    marks = [perf_counter()]
    steps = 0

    def timed(_: int, total: int) -> None:
        nonlocal steps
        marks.append(perf_counter())
        steps = total
        if len(marks) > 2 * _FITTED:
            raise _Enough

    try:
        model.prepare(windows, timed)
    except _Enough:
        return marks[1] - marks[0] + steps * (marks[-1] - marks[-_FITTED]) / (_FITTED - 1)
    return perf_counter() - marks[0]


@torch.no_grad()
def _per_window(model: Model, windows: Windows, *, estimated: bool = False) -> float:
    """Seconds to predict a window."""
    model.eval()
    predict = model.estimate if estimated else model
    batch = windows.batch(slice(0, 16))
    predict(batch.positions, batch.velocities, batch.lags)  # the first time is not like the rest
    began = perf_counter()
    if not bool(predict(batch.positions, batch.velocities, batch.lags).isfinite().all()):
        raise InputError(f"the predictions of {type(model).__name__} are not finite at the start")
    return (perf_counter() - began) / len(batch.positions)


def _first(windows: Windows, count: int) -> Windows:
    return windows.take(torch.arange(len(windows))[:count])
