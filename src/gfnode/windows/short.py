"""Files that are too short to give windows beside longer ones."""

from collections.abc import Sequence

from gfnode.trajectory import Trajectory
from gfnode.units import format_time
from gfnode.windows.cutting import WindowSettings
from gfnode.windows.splits import least_span

NAMED = 3
"""At most so many files are named, by their number: a file may not say its name."""


def doubts_of_length(
    trajectories: Sequence[Trajectory], settings: WindowSettings, horizon: float
) -> tuple[str, ...]:
    """A sentence where files are too short for the blocked split that others are long enough for.

    Parameters
    ----------
    horizon
        In fs.
    """
    if settings.split != "blocked":
        return ()
    least = least_span(horizon, settings.fractions)
    numbers = [i for i, each in enumerate(trajectories) if _span(each) <= least]
    short = [trajectories[i] for i in numbers]
    if not short or len(short) == len(trajectories):
        return ()
    named = [
        f"file {i + 1} ({len(each)} frames, {format_time(_span(each))})"
        for i, each in list(zip(numbers, short, strict=True))[:NAMED]
    ]
    if (more := len(short) - len(named)) > 0:
        named.append(f"{more} more")
    names = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
    it, gives = ("it", "gives") if len(short) == 1 else ("they", "give")
    said = f"{names} {gives} no windows of the horizon of {format_time(horizon)}: "
    if settings.lags != "given" and (enough := _enough(short, settings)):
        shorter = format_time(enough).replace(" ", "")
        said += f"{it} would with --set windows.horizon={shorter}, or "
    return (f"{said}leave {'it' if len(short) == 1 else 'them'} out",)


def _span(trajectory: Trajectory) -> float:
    return float(trajectory.times[-1] - trajectory.times[0])


def _enough(short: Sequence[Trajectory], settings: WindowSettings) -> float | None:
    """The longest horizon in whole steps that all have room for, in fs; None: there is none."""
    steps = [each.step for each in short]
    known = [each for each in steps if each is not None]
    if len(known) < len(steps):
        return None
    step, span = max(known), min(map(_span, short))
    count = int(span / least_span(step, settings.fractions))
    while count and span <= least_span(count * step, settings.fractions):
        count -= 1
    return count * step or None
