"""Settings of training."""

from typing import Literal

from pydantic import Field

from gfnode.settings import Settings
from gfnode.training.stepping import Precision


class TrainingSettings(Settings):
    """How a model is trained."""

    epochs: int = Field(60, ge=1)
    """At most so many epochs."""
    batch: int | None = Field(None, ge=1)
    """Windows in a batch, the last incomplete one of an epoch being dropped; null chooses
    64, fewer where there are few windows or the molecule is large."""
    rate: float = Field(5e-4, gt=0)
    """Learning rate of the networks."""
    physical_rate: float | None = Field(1e-2, gt=0)
    """Learning rate of quantities with a physical meaning (frequencies, dampings, memories,
    shares), on the same schedule; null: as of the networks."""
    schedule: Literal["cosine", "published", "constant"] = "cosine"
    """Of the learning rate: `cosine`, to zero over all epochs; `published`, halved every
    2500 epochs; `constant`."""
    warmup: int = Field(50, ge=0)
    """Steps to reach the rate (not with `published`)."""
    optimizer: Literal["adam", "adamw"] = "adamw"
    """`adamw` or `adam`."""
    weight_decay: float = Field(1e-4, ge=0)
    """Of the weights; quantities with a physical meaning do not decay."""
    clip: float | None = Field(1.0, gt=0)
    """Largest norm of the gradient; null: any."""
    ema: float | None = Field(0.99, gt=0, lt=1)
    """Decay of the averaged weights, which are validated and kept; null: no average."""
    validate_every: int | None = Field(None, ge=1)
    """Epochs between validations; null: so few that they cost less than the training
    between them."""
    select: Literal["mean", "last-lag"] = "mean"
    """Keep the weights of the least validation error, `mean` over lags or at the `last-lag`."""
    patience: int | None = Field(15, ge=1)
    """Stop after so many validations without a better one; null: never."""
    compile: bool = False
    """Let PyTorch compile the steps, which takes a minute or more and pays for some models."""
    replay: bool = True
    """On an NVIDIA GPU, record a step once and replay it: eight times faster, the same numbers."""
    products: Precision = "float32"
    """`bfloat16`: matrix products of training steps in bfloat16 where the device has units
    for it; all else stays float32."""
