"""Lag bins: equal parts of the horizon, the lower end of each excluded."""

import numpy as np
from numpy.typing import ArrayLike

from gfnode.trajectory import Doubles, Integers

LAG_BINS = 8
_SLACK = 1e-6  # relative tolerance of equal times


def lag_edges(horizon: float) -> Doubles:
    """Ends of the bins in fs, ``(bin + 1,)``."""
    return np.linspace(0.0, horizon, LAG_BINS + 1)


def lag_bins(lags_fs: ArrayLike, edges_fs: ArrayLike) -> Integers:
    """Bin of each lag, in the shape of ``lags_fs``; −1 outside of all."""
    edges = np.asarray(edges_fs, dtype=np.float64)
    found = np.digitize(np.asarray(lags_fs), edges * (1 + _SLACK), right=True) - 1
    return np.where(found < len(edges) - 1, found, -1)


def mean_lags(lags_fs: ArrayLike, edges_fs: ArrayLike) -> Doubles:
    """Mean of the lags in each bin, ``(bin,)`` in fs, for plots against the lag.

    Regular lags lie at the ends of bins, not in their middle. A bin without lags gets its middle.
    """
    edges = np.asarray(edges_fs, dtype=np.float64)
    bins, lags = lag_bins(lags_fs, edges).ravel(), np.asarray(lags_fs, dtype=np.float64).ravel()
    count = np.bincount(bins + 1, minlength=len(edges))[1:]
    total = np.bincount(bins + 1, lags, minlength=len(edges))[1:]
    return np.where(count > 0, total / np.maximum(count, 1), (edges[:-1] + edges[1:]) / 2)
