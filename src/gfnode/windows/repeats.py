"""Trajectories that hold the same frames: parts of one series that overlap, or one file twice."""

from collections.abc import Sequence

import numpy as np

from gfnode.trajectory import Floats, Trajectory


def doubts_of_repeats(trajectories: Sequence[Trajectory]) -> tuple[str, ...]:
    """A sentence for each trajectory whose beginning lies in another one.

    Splits are made in each trajectory for itself, so that what two of them hold may be in training
    and in the test, and counts twice in intervals. Two frames are looked for: replicas may begin
    with the same one.
    """
    if len(trajectories) < 2:  # nothing is read
        return ()
    beginning: dict[bytes, list[int]] = {}
    for number, each in enumerate(trajectories):
        if len(each) > 1:
            beginning.setdefault(each.positions[0].tobytes(), []).append(number)
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
                        f"file {other + 1} ({part.label}) begins with frame {frame} of file "
                        f"{number + 1} ({each.label}): shared frames count twice and may be in "
                        "both training and test; remove the repeats (gfnode convert joins parts "
                        "of one series)"
                    )
    return tuple(said.values())


def _holds(positions: Floats, frame: Floats) -> bool:
    near = np.flatnonzero(positions[:, 0, 0] == frame[0, 0])
    return any(np.array_equal(positions[k], frame) for k in near)
