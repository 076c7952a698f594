"""Training: the loop, execution of its steps, monitoring, and checkpoints."""

from gfnode.training.callbacks import Callback
from gfnode.training.loop import Diverged, Trainer, choose_batch, validation_interval
from gfnode.training.settings import TrainingSettings
from gfnode.training.state import EpochRecord, Progress, TrainingState

__all__ = [
    "Callback",
    "Diverged",
    "EpochRecord",
    "Progress",
    "Trainer",
    "TrainingSettings",
    "TrainingState",
    "choose_batch",
    "validation_interval",
]
