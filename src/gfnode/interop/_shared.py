"""What the exchange with every library needs: times and cells."""

import math

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.trajectory import Doubles, Trajectory
from gfnode.units import parse_time


def parse_step(step: float | str | None) -> float | None:
    """Read a time step in fs; None stays None.

    Raises
    ------
    InputError
        Unless it is finite and above zero.
    """
    if step is None:
        return None
    fs = parse_time(step)
    if not (math.isfinite(fs) and fs > 0):
        raise InputError(f"the time step is {step}, expected a time above zero, e.g. 2fs")
    return fs


def counted(frames: int, step: float | None, library: str) -> Doubles:
    """Times in fs of frames that name none: one is at 0, more of them need a step.

    Raises
    ------
    InputError
        For several frames without a step.
    """
    if frames > 1 and step is None:
        raise InputError(
            f"the {frames} frames from {library} name no times: give step=, the time between "
            "frames, e.g. step='2fs'"
        )
    return np.arange(frames, dtype=np.float64) * (step or 0.0)


def check_cell(trajectory: Trajectory, kept: NDArray[np.floating], library: str) -> None:
    """Refuse a cell that lengths and angles cannot hold.

    Parameters
    ----------
    kept
        ``(frame, 3, 3)`` in Å, as the library gives the cell back.

    Raises
    ------
    InputError
        For a cell that is periodic in part, left-handed, or turned against the axes.
    """
    assert trajectory.cell is not None
    sizes = np.abs(trajectory.cell).max((1, 2))
    off = np.abs(kept - trajectory.cell).max((1, 2)) > 1e-4 * sizes
    flat = ~np.linalg.det(trajectory.cell.astype(np.float64)).astype(bool) & (sizes > 0)
    if (wrong := np.flatnonzero(off | flat)).size:
        raise InputError(
            f"{trajectory.label}: {library} holds a cell by lengths and angles, which say nothing "
            f"of how it lies; that of frame {wrong[0]} is not a along x, b in the xy plane, c "
            "above it: turn cell, positions and velocities, or drop the cell with "
            "dataclasses.replace(trajectory, cell=None)"
        )
