"""A trained model in its folder: made, opened, asked."""

from gfnode.prediction import BeyondHorizonWarning
from gfnode.run.opening import VERSION
from gfnode.run.run import Run

__all__ = ["VERSION", "BeyondHorizonWarning", "Run"]
