"""Trajectories that are too short for windows, next to longer ones."""

import warnings
from collections.abc import Sequence

from gfnode.trajectory import Trajectory
from gfnode.trajectory.parts import part_names
from gfnode.units import format_time, listed
from gfnode.windows.cutting import WindowSettings
from gfnode.windows.splits import least_span
from gfnode.windows.windows import Windows

NAMED = 3
"""Files named in a message, at most; by number, as a trajectory may have no file name."""


def length_warnings(
    trajectories: Sequence[Trajectory], settings: WindowSettings, horizon: float
) -> tuple[str, ...]:
    """A warning where some, but not all, files are too short for the blocked split.

    Parameters
    ----------
    horizon
        In fs.
    """
    if settings.split != "blocked":
        return ()
    least = least_span(horizon, settings.fractions)
    numbers = [i for i, each in enumerate(trajectories) if each.span <= least]
    short = [trajectories[i] for i in numbers]
    if not short or len(short) == len(trajectories):
        return ()
    it = "it" if len(short) == 1 else "they"
    said = f"{_give_none(trajectories, numbers, horizon)}: "
    if settings.lags != "given" and (enough := _enough(short, settings)):
        shorter = format_time(enough).replace(" ", "")
        said += f"{it} would with --set windows.horizon={shorter}, or "
    return (f"{said}leave {'it' if len(short) == 1 else 'them'} out",)


def warn_of_length(
    trajectories: Sequence[Trajectory], settings: WindowSettings, windows: Windows, horizon: float
) -> None:
    """Warn where files are too short to contribute windows to an evaluation.

    Parameters
    ----------
    settings
        With the split that made the windows.
    windows
        Cut from all the trajectories.
    horizon
        In fs.
    """
    blocked = settings.split == "blocked"
    least = least_span(horizon, settings.fractions) if blocked else horizon
    starts = windows.starts.cpu().numpy()
    having = set(windows.frames.segments[starts].tolist())
    short = [
        number
        for number, each in enumerate(trajectories)  # a frame gives the velocity
        if number not in having and each.span <= least + (each.step or 0.0)
    ]
    if short:
        are = "is" if len(short) == 1 else "are"
        said = f"{_give_none(trajectories, short, horizon)}, and {are} left out"
        warnings.warn(said, stacklevel=4)


def _give_none(trajectories: Sequence[Trajectory], numbers: Sequence[int], horizon: float) -> str:
    names = part_names([each.source for each in trajectories])
    named = [
        f"{names[i]} ({len(trajectories[i])} frames, {format_time(trajectories[i].span)})"
        for i in numbers[:NAMED]
    ]
    if (more := len(numbers) - len(named)) > 0:
        named.append(f"{more} more")
    gives = "gives" if len(numbers) == 1 else "give"
    return f"{listed(named)} {gives} no windows for a horizon of {format_time(horizon)}"


def _enough(short: Sequence[Trajectory], settings: WindowSettings) -> float | None:
    """Longest horizon, in whole steps, that all ``short`` trajectories allow, in fs; or None."""
    steps = [each.step for each in short]
    known = [each for each in steps if each is not None]
    if len(known) < len(steps):
        return None
    step, shortest = max(known), min(each.span for each in short)
    count = int(shortest / least_span(step, settings.fractions))
    while count and shortest <= least_span(count * step, settings.fractions):
        count -= 1
    return count * step or None
