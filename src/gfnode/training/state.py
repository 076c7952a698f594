"""What an epoch came to, and where training stands."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from gfnode.models.base import Model


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch came to; errors per coordinate in Å², of the scored atoms.

    The training error is the model's loss, which in some models has no unit.
    """

    epoch: int
    train_error: float
    validation_error: float | None
    validation_error_last_lag: float | None
    learning_rate: float
    windows_per_s: float


@dataclass
class Progress:
    """Where training stands, beside weights and optimizer."""

    epoch: int = 0  # epochs done
    best_error: float = math.inf
    best_epoch: int = 0  # 0: as fitted, before any training
    validations_since_best: int = 0
    stopped: str | None = None  # why, once it has
    seconds: float = 0.0  # of work until then, what is fitted before training included
    history: list[EpochRecord] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self) | {"best_error": repr(self.best_error)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Progress":
        """Inverse of :meth:`to_dict`."""
        history = [EpochRecord(**record) for record in data["history"]]
        return cls(**data | {"best_error": float(data["best_error"]), "history": history})


@dataclass(frozen=True)
class TrainingState:
    """All that a checkpoint must hold for training to go on."""

    model: Model
    optimizer: torch.optim.Optimizer
    averaged: Model | None
    progress: Progress

    @property
    def validated(self) -> Model:
        """The model whose weights are validated and kept."""
        return self.averaged or self.model
