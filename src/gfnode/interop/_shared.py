"""What the exchange with every library needs: times."""

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers.boundary import femtoseconds
from gfnode.trajectory import Doubles


def counted(frames: int, step: float | None, library: str) -> Doubles:
    """Times in fs of frames that name none: one is at 0, more of them need a step.

    Raises
    ------
    InputError
        For several frames without a step.
    """
    if frames > 1 and step is None:
        raise InputError(
            f"the {frames} frames from {library} have no times: give step=, the time between "
            "frames, e.g. step='2fs'"
        )
    return np.arange(frames, dtype=np.float64) * (step or 0.0)


def named_times(ps: NDArray[np.floating]) -> Doubles:
    """Convert times in ps to fs, as the shortest decimals that name them.

    Files often hold float32, and libraries pass it on as float64: 0.10000000149 ps was 0.1 ps.
    """
    single = ps.astype(np.float32)
    return femtoseconds(single if (single == ps).all() else ps)
