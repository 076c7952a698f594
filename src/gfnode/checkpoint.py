"""Weights and training state as safetensors: opening one never executes code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gfnode.errors import InputError
from gfnode.files import whole
from gfnode.training import Progress, TrainingState


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any] | None
) -> None:
    """Write tensors and a few facts; None: what model hubs expect there."""
    metadata = {"format": "pt"} if facts is None else {"facts": json.dumps(facts)}
    # a copy each: modules may share a buffer, which the format does not allow
    plain = {
        k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()
    }
    with whole(path) as partial:
        partial.write_bytes(save(plain, metadata))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save_tensors` wrote.

    Raises
    ------
    InputError
        When the file is missing or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            return {key: file.get_tensor(key) for key in file.keys()}, facts  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as safetensors: {error}") from error


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put tensors into a module.

    Raises
    ------
    InputError
        When names or shapes are not those of the module.
    """
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        text = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise InputError(
            f"{path}: these weights are not of the model that is described beside them: {text}"
        ) from error


def save_training(path: Path, state: TrainingState) -> None:
    """Write all that training needs to go on from here."""
    tensors = {f"model.{key}": value for key, value in state.model.state_dict().items()}
    if state.averaged is not None:
        tensors |= {f"averaged.{key}": value for key, value in state.averaged.state_dict().items()}
    for number, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{key}": value for key, value in values.items()}
    save_tensors(path, tensors, state.progress.to_dict())


def load_training(path: Path, state: TrainingState) -> None:
    """Put what :func:`save_training` wrote back into a state, in place.

    Raises
    ------
    InputError
        When the file is missing, damaged, or of another model.
    """
    tensors, facts = load_tensors(path)

    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    load_weights(state.model, under("model."), path)
    if state.averaged is not None:
        load_weights(state.averaged, under("averaged."), path)
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in under("optimizer.").items():
        number, name = key.split(".", 1)
        moments.setdefault(int(number), {})[name] = value
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    try:
        loaded = Progress.from_dict(facts)
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{path}: the training progress is damaged: {error}") from error
    vars(state.progress).update(vars(loaded))
