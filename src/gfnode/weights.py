"""Tensors as safetensors: opening one never executes code."""

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
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as safetensors: {error}") from error


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin with a prefix, by what follows it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


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
            f"{path}: these weights do not fit the model described with them: {text}"
        ) from error
