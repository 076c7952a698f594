"""The one form in which molecular motion enters and leaves the package."""

from gfnode.trajectory.checks import Doubles, Floats, Integers, check_finite, check_times
from gfnode.trajectory.core import FAR_GAP, SHORT_GAP, Trajectory
from gfnode.trajectory.formula import formula_of, masses_of, radii_of
from gfnode.trajectory.topology import Topology, kept_bonds

__all__ = [
    "FAR_GAP",
    "SHORT_GAP",
    "Doubles",
    "Floats",
    "Integers",
    "Topology",
    "Trajectory",
    "check_finite",
    "check_times",
    "formula_of",
    "kept_bonds",
    "masses_of",
    "radii_of",
]
