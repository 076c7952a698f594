"""How modes move: closed-form linear, neural (adaptive ODE), feed-forward and identity.

Every dynamics is a module that turns amplitudes ``(batch, mode, row, feature)`` and times
``(batch, time)``, t = lag / horizon ≥ 0 in any order, into ``(batch, time, mode, row, feature)``.
The ``feature`` axis is what the dynamics mixes; ``row`` is carried along unmixed: one row for
features, three Cartesian ones for coordinates. None depends on which eigenvectors were chosen
inside an eigenspace.
"""

from gfnode.dynamics.interaction import InteractingDynamics
from gfnode.dynamics.linear import FeedForwardDynamics, IdentityDynamics, LinearDynamics
from gfnode.dynamics.neural import NeuralDynamics
from gfnode.dynamics.solver import SolverError, Steps, solve

__all__ = [
    "FeedForwardDynamics",
    "IdentityDynamics",
    "InteractingDynamics",
    "LinearDynamics",
    "NeuralDynamics",
    "SolverError",
    "Steps",
    "solve",
]
