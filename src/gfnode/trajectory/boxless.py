"""Atoms that a periodic box wraps, in files that do not give the box."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gfnode.memory import pieces
from gfnode.trajectory.checks import Floats
from gfnode.trajectory.core import Trajectory

LEAST = 4.0
"""Å. No box is smaller; what goes less far along an axis is not looked at."""

FEWEST, ALIKE, SAME = 10, 0.9, 0.15
"""So many leaps along an axis, of which this share are as long to within this share of it."""

FILLED = 0.8, 1.05
"""All positions lie in a stretch of the axis that is so many times as long as a leap."""

MOST = 20_000
"""Frames that are looked at, from the first on."""

Lengths = tuple[float | None, float | None, float | None]


def wrapped_lengths(trajectories: Sequence[Trajectory]) -> Lengths | None:
    """Lengths of the box along x, y and z in Å, where atoms leap by it; None where none does.

    Atoms that are put back into a box leap by its length, all alike, and fill it. Only boxes along
    the axes are found, and only where no cell is given.
    """
    if any(each.cell is not None for each in trajectories):
        return None
    leaps: tuple[list[NDArray[np.floating]], ...] = ([], [], [])
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for x in _pieces(trajectories):
        low, high = np.minimum(low, x.min((0, 1))), np.maximum(high, x.max((0, 1)))
        moved = np.abs(np.diff(x, axis=0))
        for axis, kept in enumerate(leaps):
            kept.append(moved[..., axis][moved[..., axis] > LEAST])
    found = [_length(np.concatenate(kept), high[k] - low[k]) for k, kept in enumerate(leaps)]
    return None if all(each is None for each in found) else (found[0], found[1], found[2])


def box_warnings(trajectories: Sequence[Trajectory]) -> tuple[str, ...]:
    """A sentence where atoms are wrapped by a box that is not given, else none."""
    lengths = wrapped_lengths(trajectories)
    return () if lengths is None else (wrapped(lengths),)


def wrapped(lengths: Sequence[float | None]) -> str:
    """Say that atoms are wrapped, and what to do."""
    by = ", ".join(
        f"about {length:.1f} Å along {axis}"
        for axis, length in zip("xyz", lengths, strict=True)
        if length
    )
    return (
        f"atoms jump by {by}, as if wrapped into a periodic box, but the file has no box: "
        'molecules are cut; give the cell (Lattice="9 0 0 0 9 0 0 0 9", in Å, in each comment '
        "line of an XYZ file; an array of an npz file: --map …,cell=box:nm, with its unit), or "
        "make molecules whole first"
    )


def _pieces(trajectories: Sequence[Trajectory]) -> Iterator[Floats]:
    """Positions piece by piece, as of :func:`gfnode.memory.pieces`."""
    left = MOST
    for each in trajectories:
        for begin, end in pieces(min(left, len(each)), each.n_atoms):
            yield each.positions[begin:end]
        left = max(0, left - len(each))


def _length(leaps: NDArray[np.floating], extent: float) -> float | None:
    if len(leaps) < FEWEST:
        return None
    length = float(np.median(leaps))
    alike = (np.abs(leaps - length) < SAME * length).mean() >= ALIKE
    return length if alike and FILLED[0] < extent / length < FILLED[1] else None
