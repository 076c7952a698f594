"""Errors of predictions, with confidence intervals.

Errors are mean squared errors per *coordinate* in Å², the quantity in the paper's tables; its
eq. 14, a mean over atoms of squared distances, is three times larger (:attr:`Estimate.eq14`).
Only :func:`squared_errors` sees tensors; the rest is numpy, so that a report needs no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from gfnode.errors import InputError
from gfnode.metrics.blocks import Blocks, Estimate, half_width, windows_first
from gfnode.metrics.lags import lag_bins, mean_lags
from gfnode.trajectory import Doubles, Integers

if TYPE_CHECKING:
    from torch import Tensor


def squared_errors(predicted: "Tensor", target: "Tensor", *, superposed: bool = False) -> "Tensor":
    """Mean squared error per coordinate of each window and lag.

    Parameters
    ----------
    predicted, target
        The scored atoms, ``(batch, time, atom, 3)`` in Å.
    superposed
        Superpose each predicted frame on its target first, for the error of the shape alone.

    Returns
    -------
    Tensor
        ``(batch, time)`` in Å².

    Raises
    ------
    InputError
        For shapes that differ, which broadcasting would hide.
    """
    if predicted.shape != target.shape:
        raise InputError(
            f"predicted {tuple(predicted.shape)} and target {tuple(target.shape)} positions: "
            "expected the same shape"
        )
    if superposed:
        from gfnode.geometry import superpose  # keeps torch out of reports

        predicted = superpose(predicted, target)
    return (predicted - target).square().mean((-2, -1))


@dataclass(frozen=True)
class LagErrors:
    """Errors of one method over windows: means with intervals, per coordinate in Å².

    Parameters
    ----------
    mean
        Over all windows and lags.
    last
        At each window's largest lag.
    edges_fs
        Ends of the lag bins, ``bin + 1`` of them.
    lags_fs
        Mean of the lags inside each bin; its middle where there are none.
    by_lag
        Over the lags inside each bin, lower end excluded.
    """

    mean: Estimate
    last: Estimate
    edges_fs: tuple[float, ...]
    lags_fs: tuple[float, ...]
    by_lag: tuple[Estimate, ...]


def summarise(
    errors: ArrayLike, lags_fs: ArrayLike, blocks: Blocks, edges_fs: Sequence[float]
) -> LagErrors:
    """Summarise errors over windows and lags.

    Parameters
    ----------
    errors, lags_fs
        ``(window, time)`` in Å² and fs.
    blocks
        Of the same windows.
    edges_fs
        Ends of the lag bins, ascending; lags outside of them are in no bin.

    Raises
    ------
    InputError
        When shapes disagree or the edges do not ascend.
    """
    values = windows_first(errors, blocks, 2)
    lags = np.asarray(lags_fs, dtype=np.float64)
    edges = np.asarray(edges_fs, dtype=np.float64)
    if lags.shape != values.shape:
        raise InputError(f"errors have shape {values.shape} (window, time), lags {lags.shape}")
    if len(edges) < 2 or (np.diff(edges) <= 0).any():
        raise InputError(f"lag bins need at least two ascending edges, got {list(edges_fs)}")
    inside = lag_bins(lags, edges)[..., None] == np.arange(len(edges) - 1)  # (window, time, bin)
    last = values[np.arange(len(values)), lags.argmax(1)]
    return LagErrors(
        mean_estimate(values, blocks),
        mean_estimate(last, blocks),
        tuple(edges.tolist()),
        tuple(mean_lags(lags, edges).tolist()),
        _means(np.where(inside, values[..., None], 0.0).sum(1), inside.sum(1), blocks),
    )


def mean_estimate(values: ArrayLike, blocks: Blocks) -> Estimate:
    """Mean of values that are not negative, with its interval over blocks.

    The ratio of sums over blocks θ = Σ S_b / Σ C_b, with the variance of its linear form
    B/(B − 1) Σ (S_b − θ C_b)² / (Σ C_b)² times :attr:`Blocks.inflation`. The interval is
    symmetric in log θ: errors are positive and skewed.

    Parameters
    ----------
    values
        ``(window,)`` or ``(window, time)``.
    """
    table = windows_first(values, blocks, 1, 2).reshape(len(blocks.labels), -1)
    counts = np.full((len(table), 1), table.shape[1])
    return _means(table.sum(1, keepdims=True), counts, blocks)[0]


def _means(sums: Doubles, counts: Integers, blocks: Blocks) -> tuple[Estimate, ...]:
    """Estimates of each column from the sums and counts of each window, ``(window, column)``."""
    S, C = blocks.sums(sums), blocks.sums(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = S.sum(0) / C.sum(0)
        deviation = (S - value * C) / C.sum(0)
        filled = (C > 0).sum(0)
        spread = np.where(value > 0, half_width(deviation, blocks, filled=filled) / value, 0.0)
        low, high = value * np.exp(-spread), value * np.exp(spread)
    few = filled < 2
    low[few] = high[few] = np.nan
    return tuple(
        Estimate(float(v), float(a), float(b), int(n), int(c))
        for v, a, b, n, c in zip(value, low, high, filled, C.sum(0), strict=True)
    )
