"""The trivial baselines of a run: fitted with its training windows, kept beside its weights."""

from collections.abc import Mapping
from pathlib import Path

import torch

from gfnode.ambient import usual
from gfnode.experiment.experiment import Dataset, whole_system
from gfnode.metrics import squared_errors
from gfnode.models import TRIVIAL, Model, build
from gfnode.models.inference import predictions
from gfnode.molecule.system import System
from gfnode.weights import load_tensors, load_weights, save_tensors, under
from gfnode.windows import Windows


def fit_baselines(dataset: Dataset) -> dict[str, Model]:
    """The trivial baselines by name, with what each takes from the training windows."""
    found = {name: build(name, dataset.whole_system) for name in TRIVIAL}
    for baseline in found.values():
        baseline.prepare(dataset.parts["train"])
    return found


def mean_errors(
    models: Mapping[str, Model], windows: Windows, *, last: bool = False
) -> dict[str, float]:
    """Mean squared error per coordinate of each baseline over windows of all atoms, in Å².

    Over all lags, or at the largest of each window (``last``), as training is validated.
    """
    found = {}
    for name, model in models.items():
        errors = []
        for now, predicted, _ in predictions(model, windows):
            each = squared_errors(*(y[..., model.scored, :] for y in (predicted, now.targets)))
            errors.append(each.gather(1, now.lags.argmax(1, keepdim=True)) if last else each)
        found[name] = float(torch.cat(errors).mean())
    return found


def save_baselines(path: Path, models: Mapping[str, Model]) -> None:
    """Keep what the baselines took, under ``name.key``."""
    tensors = {
        f"{name}.{key}": value
        for name, model in models.items()
        for key, value in model.state_dict().items()
    }
    save_tensors(path, tensors, {})


@usual()
def load_baselines(path: Path, system: System) -> dict[str, Model]:
    """Build the baselines by name, for the system of a model, with what was kept of them.

    Raises
    ------
    InputError
        When the file is missing, damaged, or of another molecule.
    """
    tensors, _ = load_tensors(path)
    whole = whole_system(system)
    found = {}
    for name in TRIVIAL:
        model = found[name] = build(name, whole)
        load_weights(model, under(tensors, f"{name}."), path)
    return found
