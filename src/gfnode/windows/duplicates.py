"""Duplicate frames across trajectories: overlapping parts of one series, or one file twice."""

import warnings
from collections.abc import Sequence

import numpy as np

from gfnode.trajectory import Floats, Trajectory
from gfnode.trajectory.parts import part_names


def duplicate_warnings(
    trajectories: Sequence[Trajectory], *, split: bool = True
) -> tuple[str, ...]:
    """A warning for each trajectory whose first two frames occur in another one.

    Each trajectory is split independently, so that duplicate frames may be both in training and in
    the test, and count twice in intervals. Two frames are compared, since replicas may start from
    the same one.

    Parameters
    ----------
    split
        Whether the trajectories are split into training and test.
    """
    if len(trajectories) < 2:  # nothing is read
        return ()
    beginning: dict[bytes, list[int]] = {}
    for number, each in enumerate(trajectories):
        if len(each) > 1:
            beginning.setdefault(each.positions[0].tobytes(), []).append(number)
    names = part_names([each.source for each in trajectories])
    both = " and may be in both training and test" if split else ""
    said: dict[int, str] = {}
    begins = [trajectories[k].positions[0, 0, 0] for ks in beginning.values() for k in ks]
    for number, each in enumerate(trajectories):
        for frame in np.flatnonzero(np.isin(each.positions[:, 0, 0], begins)).tolist():
            for other in beginning.get(each.positions[frame].tobytes(), ()):
                if other in said or other == number or (frame == 0 and number in said):
                    continue
                part = trajectories[other]
                if _holds(each.positions[frame + 1 :], part.positions[1]):
                    said[other] = (
                        f"{names[other]} ({part.label}) begins with frame {frame} of "
                        f"{names[number]} ({each.label}): shared frames count twice{both}; remove "
                        "the repeats (gfnode convert joins parts of one series)"
                    )
    return tuple(said.values())


def warn_of_duplicates(trajectories: Sequence[Trajectory]) -> None:
    """Warn where an evaluation counts frames twice."""
    for said in duplicate_warnings(trajectories, split=False):
        warnings.warn(said, stacklevel=4)


def _holds(positions: Floats, frame: Floats) -> bool:
    near = np.flatnonzero(positions[:, 0, 0] == frame[0, 0])
    return any(np.array_equal(positions[k], frame) for k in near)
