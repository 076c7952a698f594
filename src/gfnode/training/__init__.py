"""Training: the loop, how its steps are carried out, what it says, and how it goes on."""

from gfnode.training.loop import (
    Diverged,
    EpochRecord,
    Progress,
    Trainer,
    TrainingSettings,
    TrainingState,
    choose_batch,
    validation_interval,
)

__all__ = [
    "Diverged",
    "EpochRecord",
    "Progress",
    "Trainer",
    "TrainingSettings",
    "TrainingState",
    "choose_batch",
    "validation_interval",
]
