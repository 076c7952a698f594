"""Training checkpoints: weights, optimizer state and progress, as safetensors."""

from pathlib import Path

from torch import Tensor

from gfnode.errors import InputError
from gfnode.training.state import Progress, TrainingState
from gfnode.weights import load_tensors, load_weights, save_tensors, under


def save_training(path: Path, state: TrainingState) -> None:
    """Write a checkpoint from which training can be resumed."""
    tensors = {f"model.{key}": value for key, value in state.model.state_dict().items()}
    if state.averaged is not None:
        tensors |= {f"averaged.{key}": value for key, value in state.averaged.state_dict().items()}
    for number, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{key}": value for key, value in values.items()}
    save_tensors(path, tensors, state.progress.to_dict())


def load_training(path: Path, state: TrainingState) -> None:
    """Restore a state in place from a checkpoint of :func:`save_training`.

    Raises
    ------
    InputError
        When the file is missing, damaged, or of another model.
    """
    tensors, facts = load_tensors(path)
    load_weights(state.model, under(tensors, "model."), path)
    if state.averaged is not None:
        load_weights(state.averaged, under(tensors, "averaged."), path)
    moments: dict[int, dict[str, Tensor]] = {}
    groups = state.optimizer.state_dict()["param_groups"]
    try:
        for key, value in under(tensors, "optimizer.").items():
            number, name = key.split(".", 1)
            moments.setdefault(int(number), {})[name] = value
        state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        loaded = Progress.from_dict(facts)
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{path}: the training progress is damaged: {error}") from error
    vars(state.progress).update(vars(loaded))
