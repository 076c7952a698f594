"""What is in a trajectory, and whether it is suitable for training: numbers only.

Messages are in :mod:`gfnode.report.inspection`; ``gfnode data`` prints them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from gfnode.inspection.advice import Choices, Facts, Finding, choose, judge
from gfnode.inspection.frames import look_at_file, look_at_frames
from gfnode.inspection.momenta import look_at_momenta
from gfnode.inspection.motions import look_at_motions
from gfnode.inspection.structure import look_at_structure
from gfnode.molecule.clock import clock_of
from gfnode.molecule.virial import off_forces
from gfnode.trajectory import Trajectory
from gfnode.trajectory.given import loaded
from gfnode.trajectory.lengths import LENGTHS, Lengths
from gfnode.trajectory.series import Series
from gfnode.windows.cutting import WindowSettings, choose_atoms

__all__ = ["Choices", "Facts", "Finding", "Inspection", "inspect"]


@dataclass(frozen=True)
class Inspection:
    """Results of an inspection of the trajectories of one data set.

    Parameters
    ----------
    verdict
        ``yes``, ``with care`` (there are warnings) or ``no`` (there are errors).
    findings
        What a user should know, most serious first.
    scaled_by
        Factor by which positions were multiplied to be in Å, for everything but ``lengths``; 1 if
        they are in Å.
    facts
        All results.
    """

    verdict: Literal["yes", "with care", "no"]
    findings: tuple[Finding, ...]
    scaled_by: float
    facts: Facts

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON; see docs/inspection.md."""
        plain = asdict(self)
        return plain | plain.pop("facts")


def inspect(trajectories: Trajectory | Sequence[Trajectory]) -> Inspection:
    """Inspect trajectories of one system.

    Parameters
    ----------
    trajectories
        One, or several of the same atoms (replicas).

    Raises
    ------
    InputError
        When the trajectories hold different atoms.
    """
    given = loaded(trajectories)
    series = Series.of(given)
    lengths = Lengths.of(given)
    scale = 1.0 if lengths.unit is None else 1 / LENGTHS[lengths.unit]
    if scale != 1.0:
        given = [_scaled(each, scale) for each in given]
        series = Series.of(given)
    files = tuple(look_at_file(each, number) for number, each in enumerate(given))
    structure, bonds, largest = look_at_structure(series)
    frames = look_at_frames(series, bonds)
    clock = clock_of(given, bonds)
    momenta = look_at_momenta(series, bonds, frames.rounded_to)
    forces = off_forces(given, bonds, momenta.temperature_degrees)
    choices = choose(given)
    motion = None
    if len(series) > 2:
        score = choose_atoms(series.first, WindowSettings().score, "score")
        motion = look_at_motions(series, bonds, largest, choices.horizon_fs, score)
    facts = Facts(files, frames, lengths, clock, momenta, structure, motion, choices, forces)
    findings = judge(facts)
    levels = {each.level for each in findings}
    verdict: Literal["yes", "with care", "no"] = "yes"
    if "error" in levels:
        verdict = "no"
    elif "warning" in levels:
        verdict = "with care"
    return Inspection(verdict, findings, scale, facts)


def _scaled(trajectory: Trajectory, scale: float) -> Trajectory:
    """Multiply positions, velocities and cell by a factor."""
    factor = np.float32(scale)
    velocities, cell = trajectory.velocities, trajectory.cell
    return replace(
        trajectory,
        positions=trajectory.positions * factor,
        velocities=None if velocities is None else velocities * factor,
        cell=None if cell is None else cell * factor,
    )
