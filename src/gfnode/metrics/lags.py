"""Bins of lags: equal parts of the horizon, the lower end of each excluded."""

import numpy as np
from numpy.typing import ArrayLike

from gfnode.trajectory import Doubles, Integers

LAG_BINS = 8
_SLACK = 1e-6  # relative slack for times that are equal but for rounding


def lag_edges(horizon: float) -> Doubles:
    """Ends of the bins in fs, ``(bin + 1,)``."""
    return np.linspace(0.0, horizon, LAG_BINS + 1)


def lag_bins(lags_fs: ArrayLike, edges_fs: ArrayLike) -> Integers:
    """Bin of each lag, in the shape of ``lags_fs``; −1 outside of all."""
    edges = np.asarray(edges_fs, dtype=np.float64)
    found = np.digitize(np.asarray(lags_fs), edges * (1 + _SLACK), right=True) - 1
    return np.where(found < len(edges) - 1, found, -1)
