"""Run folders: creating, opening and using trained models."""

from gfnode.prediction import BeyondHorizonWarning
from gfnode.run.opening import VERSION
from gfnode.run.run import Run

__all__ = ["VERSION", "BeyondHorizonWarning", "Run"]
