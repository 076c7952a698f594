"""How a model is trained."""

from typing import Literal

from pydantic import Field

from gfnode.settings import Settings
from gfnode.training.stepping import Precision


class TrainingSettings(Settings):
    """How a model is trained.

    Parameters
    ----------
    epochs
        Epochs at most.
    batch
        Windows a batch; the last incomplete batch of an epoch is dropped. None chooses: 64, fewer
        where there are few windows or the molecule is large.
    rate, schedule, warmup
        Learning rate; ``cosine``: to zero over all epochs after ``warmup`` steps; ``published``:
        halved every 2500 epochs; ``constant``.
    physical_rate
        Learning rate of the parameters with a physical meaning (frequencies, dampings, memories,
        shares), on the same schedule; None: the same as of the networks.
    optimizer, weight_decay
        ``adamw`` or ``adam``; quantities with a physical meaning do not decay.
    clip
        Largest norm of the gradient; None leaves it.
    ema
        Decay of the moving average of the weights that is validated and kept; None keeps the
        weights themselves.
    validate_every
        Epochs between validations; None chooses so few that they cost less than the training
        between them.
    select
        The validation error that the best weights have the least of: ``mean`` over lags, or
        ``last-lag``.
    patience
        Stop after so many validations without a better one; None never does.
    compile
        Let PyTorch compile the steps, see :mod:`gfnode.training.stepping`.
    replay
        On an NVIDIA GPU, record a step once and replay it, which launches it as a whole.
    products
        ``bfloat16``: matrix products of training steps in bfloat16 where the device has units for
        it, else as they are; sums, weights, validation and predictions stay ``float32``.
    """

    epochs: int = Field(60, ge=1)
    batch: int | None = Field(None, ge=1)
    rate: float = Field(5e-4, gt=0)
    physical_rate: float | None = Field(1e-2, gt=0)
    schedule: Literal["cosine", "published", "constant"] = "cosine"
    warmup: int = Field(50, ge=0)
    optimizer: Literal["adam", "adamw"] = "adamw"
    weight_decay: float = Field(1e-4, ge=0)
    clip: float | None = Field(1.0, gt=0)
    ema: float | None = Field(0.99, gt=0, lt=1)
    validate_every: int | None = Field(None, ge=1)
    select: Literal["mean", "last-lag"] = "mean"
    patience: int | None = Field(15, ge=1)
    compile: bool = False
    replay: bool = True
    products: Precision = "float32"
