"""How far apart frames are: near enough for velocities or not."""

import numpy as np

from gfnode.trajectory import SHORT_GAP, Trajectory


def far_apart(trajectory: Trajectory, most_steps: int) -> bool:
    """Whether frames are too far apart for the next one to say how a start moves.

    They then say what is to be predicted. Of uneven frames, gaps of up to ``most_steps`` time steps
    count: those that a velocity may be taken over.
    """
    gaps = np.diff(trajectory.times)
    if trajectory.spacing is None and trajectory.step is not None:
        gaps = gaps[gaps <= (most_steps + 1e-3) * trajectory.step]
    return bool(gaps.size) and float(np.median(gaps)) > SHORT_GAP
