"""The trivial baselines of a run: fitted with its training windows, kept beside its weights."""

from pathlib import Path

from torch import Tensor

from gfnode.experiment.experiment import Dataset, whole_system
from gfnode.models import TRIVIAL, Model, build
from gfnode.molecule.system import System
from gfnode.weights import load_tensors, load_weights

FILE = "baselines.safetensors"


def fit_baselines(dataset: Dataset) -> dict[str, Tensor]:
    """What every trivial baseline takes from the training windows, under ``name.key``."""
    tensors: dict[str, Tensor] = {}
    for name in TRIVIAL:
        baseline = build(name, dataset.whole_system)
        baseline.prepare(dataset.parts["train"])
        tensors |= {f"{name}.{key}": value for key, value in baseline.state_dict().items()}
    return tensors


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
        prefix = f"{name}."
        mine = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        load_weights(model, mine, path)
    return found
