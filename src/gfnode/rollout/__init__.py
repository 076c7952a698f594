"""Long times by repeated application of a model: frames, streamed; whether they are still good.

:mod:`~gfnode.rollout.apply` repeats, :mod:`~gfnode.rollout.record` writes as it goes,
:mod:`~gfnode.rollout.stability` looks at bonds and distributions, and
:mod:`~gfnode.rollout.growth` at errors where the truth is known.
"""

from gfnode.rollout.apply import Difference, Rollout, State, Thermal, predict, steps
from gfnode.rollout.repeated import Repeated

__all__ = ["Difference", "Repeated", "Rollout", "State", "Thermal", "predict", "steps"]
