"""Dynamics of modes: closed-form linear, neural (adaptive ODE), feed-forward and identity.

Every dynamics is a module that maps amplitudes ``(batch, mode, row, feature)`` and times
``(batch, time)``, t = lag / horizon ≥ 0 in any order, to ``(batch, time, mode, row, feature)``.
Dynamics mix the ``feature`` axis, and act on each ``row`` alike: one row for features, three
Cartesian ones for coordinates. None depends on the choice of eigenvectors in an eigenspace.
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
