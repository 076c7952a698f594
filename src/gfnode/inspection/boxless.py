"""Atoms that a periodic box wraps, in files that do not give the box."""

import numpy as np
from numpy.typing import NDArray

from gfnode.inspection.series import Series

LEAST = 4.0
"""Å. No box is smaller; what goes less far along an axis is not looked at."""

FEWEST, ALIKE, SAME = 10, 0.9, 0.15
"""So many leaps along an axis, of which this share are as long to within this share of it."""

FILLED = 0.8, 1.05
"""All positions lie in a stretch of the axis that is so many times as long as a leap."""

_INTERVALS = 20_000


def wrapped_lengths(series: Series) -> tuple[float | None, float | None, float | None] | None:
    """Lengths of the box along x, y and z in Å, where atoms leap by it; None where none does.

    Atoms that are put back into a box leap by its length, all alike, and fill it. Only boxes along
    the axes are found, and only where no cell is given.
    """
    if any(each.cell is not None for each in series.trajectories):
        return None
    leaps: tuple[list[NDArray[np.floating]], ...] = ([], [], [])
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    seen = 0
    for begin, end in series.pieces(series.first.n_atoms):
        x = series.positions(np.arange(begin, end))
        low, high = np.minimum(low, x.min((0, 1))), np.maximum(high, x.max((0, 1)))
        if seen < _INTERVALS:
            moved = np.abs(np.diff(x, axis=0))
            for axis, kept in enumerate(leaps):
                kept.append(moved[..., axis][moved[..., axis] > LEAST])
        seen += end - begin
    found = [_length(np.concatenate(kept), high[k] - low[k]) for k, kept in enumerate(leaps)]
    return None if all(each is None for each in found) else (found[0], found[1], found[2])


def _length(leaps: NDArray[np.floating], extent: float) -> float | None:
    if len(leaps) < FEWEST:
        return None
    length = float(np.median(leaps))
    alike = (np.abs(leaps - length) < SAME * length).mean() >= ALIKE
    return length if alike and FILLED[0] < extent / length < FILLED[1] else None
