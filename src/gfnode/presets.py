"""Whole configurations by name; what a preset leaves out is the default of each setting."""

from collections.abc import Mapping
from typing import Any

_PUBLISHED: dict[str, Any] = {
    "windows": {
        "split": "published",
        "times": 8,
        "lags": "irregular",
        "velocities": "forward",
        "state": "heavy",
        "score": "heavy",
        "align": False,
    },
    "graph": {"bonds": "published", "hops": 2, "rigid": "published"},
    "model": {
        "name": "gfnode",
        "frame": "centred",
        "modes": 2,
        "whole_eigenspaces": False,
        "dynamics": "linear",
        "coordinate_dynamics": "linear",
        "coordinate_activation": True,
        "width": 64,
        "encoder_layers": 5,
        "decoder_layers": 5,
        "lag_width": 32,
    },
    "training": {
        "epochs": 5000,
        "batch": 50,
        "rate": 1e-4,
        "physical_rate": None,
        "schedule": "published",
        "optimizer": "adam",
        "weight_decay": 1e-15,
        "clip": None,
        "ema": None,
        "validate_every": 5,
        "select": "last-lag",
        "patience": None,
    },
    "seed": 53,
}

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": _PUBLISHED
    | {"model": _PUBLISHED["model"] | {"whole_eigenspaces": True, "coordinate_activation": False}},
    "published": _PUBLISHED,
}
"""Settings that differ from the defaults, by preset."""

SUMMARIES = {
    "default": "what to use on your own data",
    "paper": "the model of the paper, made equivariant",
    "published": (
        "what the published experiments ran, flaws included: Cartesian components pass through "
        "SiLU, so the prediction does not rotate with the start, and mode truncation splits "
        "eigenspaces"
    ),
}
"""What each preset is for."""


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names: ``{"training.epochs": 5}``."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, Mapping)
        found |= flat(value, f"{prefix}{key}.") if inner else {prefix + key: value}
    return found
