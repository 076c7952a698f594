"""A simulation in words: what is planned, how fast it goes, what came out."""

import math
import shlex
import time
from pathlib import Path

import numpy as np

from gfnode.graph import bonds_from_distances
from gfnode.readers.formats import format_of
from gfnode.readers.saving import topology_path
from gfnode.readers.unfinished import record_of
from gfnode.simulate.molecules import Molecule
from gfnode.simulate.protocol import Protocol
from gfnode.simulate.run import Outcome, Simulation
from gfnode.simulate.summary import Summary
from gfnode.trajectory import Trajectory
from gfnode.trajectory.formula import describe_masses
from gfnode.trajectory.series import symbol
from gfnode.units import FS_PER, format_duration, format_time

DAY_S = 86400.0

SHOWN = 3
"""Bonds that are named."""

CONSERVED = 0.1
"""Above such a share of its thermal size a momentum is not kept at zero, and not spoken of."""


class Pace:
    """Speed since this process began, and the time that is left."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.began: tuple[float, int] | None = None

    def describe(self, step: int) -> str:
        """``1.2 of 50 ps, 320 steps/s, 14 ns/day, 3 min left``."""
        plan, now = self.protocol, time.monotonic()
        done = max(0, step - plan.equilibrate) * plan.time_step
        said = f"{format_time(done)} of {format_time(plan.steps * plan.time_step)}"
        if self.began is None:
            self.began = now, step
            return said
        seconds, steps = now - self.began[0], step - self.began[1]
        if not (seconds > 0 and steps > 0):
            return said
        speed = steps / seconds
        ns_a_day = speed * plan.time_step * DAY_S / FS_PER["ns"]
        left = format_duration((plan.last_step - step) / speed)
        return f"{said}, {speed:.3g} steps/s, {ns_a_day:.3g} ns/day, {left} left"


def describe_plan(simulation: Simulation, path: Path) -> str:
    """One line before it begins."""
    plan, molecule = simulation.protocol, simulation.molecule
    masses = molecule.atom_masses
    said = f" with {describe_masses(masses, molecule.numbers)}" if masses is not None else ""
    return (
        f"{path}: {molecule.origin}{said}, {simulation.dynamics.describe()}, "
        f"{plan.frames} frames over {format_time(plan.steps * plan.time_step)}: {plan.describe()}"
    )


def describe_outcome(simulation: Simulation, outcome: Outcome, path: Path) -> list[str]:
    """What was made, and what to do next."""
    found = outcome.trajectory
    lines = [f"{path}: {found!r}, {path.stat().st_size / 1e6:.2f} MB"]
    if outcome.summary is None:
        lines[0] += ", already finished"
    else:
        lines.append(f"engine: {simulation.dynamics.describe()}")
        lines += _describe_summary(simulation, outcome.summary)
        lines.append(f"record: {record_of(path)}")
    if changed := _describe_bonds(simulation.molecule, found):
        lines.append(changed)
    top = ""
    if (topology := topology_path(path)) is not None:
        lines.append(f"topology: {topology}")
        top = f" --top {shlex.quote(str(topology))}"
    holds = format_of(path).holds
    step = f" --step {found.spacing:g}fs" if holds and holds.times == "none" else ""
    return [*lines, "Look at it with", f"  gfnode data {shlex.quote(str(path))}{top}{step}"]


def _describe_bonds(molecule: Molecule, found: Trajectory) -> str:
    """Say which bonds of the start, by distances, most frames do not have, and the other way."""
    numbers = molecule.numbers
    if molecule.cell is not None or not np.array_equal(found.numbers, numbers):
        return ""
    start, usual = (
        set(map(tuple, bonds_from_distances(numbers, x).tolist()))
        for x in (molecule.positions[None], found.positions)
    )

    def listed(bonds: set[tuple[int, int]]) -> str:
        names = [f"{symbol(numbers, i)}–{symbol(numbers, j)}" for i, j in sorted(bonds)]
        return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")

    parts = [("broke", start - usual), ("formed", usual - start)]
    said = "; ".join(f"{listed(bonds)} {what}" for what, bonds in parts if bonds)
    return f"bonds changed since the start: {said}" if said else ""


def _describe_summary(simulation: Simulation, summary: Summary) -> list[str]:
    plan, heat = simulation.protocol, summary.temperature
    interval = "" if math.isnan(heat.low) else f" [{heat.low:.1f}, {heat.high:.1f}]"
    counted = " (3N)" if plan.degrees == "3N" else ""
    lines = [
        f"temperature: {heat.value:.1f} K{interval} over {summary.degrees} degrees of freedom"
        f"{counted}, set to {plan.temperature:g} K"
    ]
    if not math.isnan(summary.drift):
        lines.append(
            f"conserved energy: drift {summary.drift:.2g} kcal/mol per atom and ns, spread "
            f"{summary.spread:.2g} kcal/mol per atom"
        )
    if summary.momentum < CONSERVED:
        lines.append(
            f"momentum, angular momentum: at most {summary.momentum:.1g}, "
            f"{summary.angular_momentum:.1g} of their thermal magnitudes"
        )
    return lines
