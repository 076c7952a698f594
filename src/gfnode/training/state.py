"""Records of epochs, and the state of training."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from gfnode.models.base import Model


@dataclass(frozen=True)
class EpochRecord:
    """Results of one epoch; mean squared errors of the scored atoms, in Å² per coordinate.

    The training error is the model's loss, which in some models is dimensionless.
    """

    epoch: int
    train_error: float
    validation_error: float | None
    validation_error_last_lag: float | None
    learning_rate: float
    windows_per_s: float


@dataclass
class Progress:
    """Progress of training, without weights and optimizer."""

    epoch: int = 0  # epochs done
    best_error: float = math.inf
    best_epoch: int = 0  # 0: as fitted, before any training
    validations_since_best: int = 0
    stopped: str | None = None  # reason, once training has ended
    seconds: float = 0.0  # time spent so far, including fits before training
    history: list[EpochRecord] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self) | {"best_error": repr(self.best_error)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Progress":
        """Inverse of :meth:`to_dict`.

        Raises
        ------
        KeyError, TypeError, ValueError
            When an entry is missing or malformed.
        """
        history = [EpochRecord(**record) for record in data["history"]]
        found = cls(**data | {"best_error": float(data["best_error"]), "history": history})
        counts = (found.epoch, found.best_epoch, found.validations_since_best)
        if not all(isinstance(each, int) and 0 <= each < 2**63 for each in counts):
            raise ValueError(f"expected numbers of epochs, got {counts}")
        if not isinstance(found.seconds, int | float) or not 0 <= found.seconds < math.inf:
            raise ValueError(f"expected a number of seconds, got {found.seconds!r}")
        if not isinstance(found.stopped, str | None):
            raise TypeError(f"expected why training ended, got {found.stopped!r}")
        for value in (value for record in history for value in asdict(record).values()):
            if not isinstance(value, int | float | None):
                raise TypeError(f"expected the numbers of an epoch, got {value!r}")
        return found


@dataclass(frozen=True)
class TrainingState:
    """The state that a checkpoint stores, from which training can be resumed."""

    model: Model
    optimizer: torch.optim.Optimizer
    averaged: Model | None
    progress: Progress

    @property
    def validated(self) -> Model:
        """The model whose weights are validated and kept."""
        return self.averaged or self.model
