"""Choosing a few of many."""

import numpy as np
from numpy.typing import NDArray


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Numbers of at most ``most`` of ``count`` things in order, from the first to the last."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
