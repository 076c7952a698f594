"""Rollouts: long trajectories by repeated application of a model, and their stability.

:mod:`~gfnode.rollout.apply` applies a model repeatedly, :mod:`~gfnode.rollout.record` streams
frames to disk, :mod:`~gfnode.rollout.stability` checks bonds and distributions, and
:mod:`~gfnode.rollout.growth` measures errors where the truth is known.
"""

from gfnode.rollout.apply import Difference, Rollout, State, Thermal, predict, steps
from gfnode.rollout.repeated import Repeated

__all__ = ["Difference", "Repeated", "Rollout", "State", "Thermal", "predict", "steps"]
