"""Settings of training."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from gfnode.settings import Settings
from gfnode.training.stepping import Precision


class TrainingSettings(Settings):
    """How a model is trained."""

    epochs: int = Field(60, ge=1)
    """Maximum number of epochs."""
    batch: int | None = Field(None, ge=1)
    """Windows per batch (an incomplete last batch is dropped); null: 64, or fewer if there are few
    windows or the molecule is large."""
    rate: float = Field(5e-4, gt=0)
    """Learning rate of the networks."""
    physical_rate: float | None = Field(1e-2, gt=0)
    """Learning rate of physical parameters (frequencies, dampings, memories, shares), on the same
    schedule; null: same as training.rate."""
    schedule: Literal["cosine", "published", "constant"] = "cosine"
    """Learning-rate schedule: `cosine`, to zero over all epochs; `published`, halved every 2500
    epochs; `constant`."""
    warmup: int = Field(50, ge=0)
    """Warm-up steps of the learning rate (not with `published`)."""
    optimizer: Literal["adam", "adamw"] = "adamw"
    """`adamw` or `adam`."""
    weight_decay: float = Field(1e-4, ge=0)
    """Weight decay; physical parameters do not decay."""
    clip: float | None = Field(1.0, gt=0)
    """Maximum norm of the gradient; null: no limit."""
    ema: float | None = Field(0.99, gt=0, lt=1)
    """Decay of the averaged weights, which are validated and kept; null: no averaging."""
    validate_every: int | None = Field(None, ge=1)
    """Epochs between validations; null: as few as possible with validation cheaper than
    training."""
    select: Literal["mean", "last-lag"] = "mean"
    """Keep the weights with the least validation error: `mean` over lags, or at the `last-lag`."""
    patience: int | None = Field(15, ge=1)
    """Stop after this many validations without improvement; null: never."""
    compile: bool = False
    """Compile training steps with PyTorch, which takes a minute or more and pays off for some
    models."""
    replay: bool = True
    """On an NVIDIA GPU, record a step once and replay it: eight times faster, with the same
    results."""
    products: Precision = "float32"
    """`bfloat16`: matrix products of training steps in bfloat16 if the device supports it; all else
    stays float32."""

    @property
    def idle(self) -> Mapping[str, str]:
        """The warm-up, which the published schedule does not have."""
        if self.schedule == "published":
            return {"warmup": "training.schedule=cosine or constant"}
        return {}
