"""Whether frames are close enough in time for finite-difference velocities."""

import numpy as np

from gfnode.trajectory import SHORT_GAP, Trajectory


def far_apart(trajectory: Trajectory, most_steps: int) -> bool:
    """Whether the median gap is too long for a difference to the next frame to be a velocity.

    Such a difference would reveal the target. Of uneven frames, only gaps of up to ``most_steps``
    time steps count, over which a velocity may be taken.
    """
    gaps = np.diff(trajectory.times)
    if trajectory.spacing is None and trajectory.step is not None:
        gaps = gaps[gaps <= (most_steps + 1e-3) * trajectory.step]
    return bool(gaps.size) and float(np.median(gaps)) > SHORT_GAP
