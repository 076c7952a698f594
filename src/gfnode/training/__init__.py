"""Training: the loop, how its steps are carried out, what it says, and how it goes on."""

from gfnode.training.loop import Diverged, Trainer, choose_batch, validation_interval
from gfnode.training.settings import TrainingSettings
from gfnode.training.state import EpochRecord, Progress, TrainingState

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
