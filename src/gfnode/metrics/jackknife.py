"""Block jackknife: bias and error bars of a statistic of all data, such as a divergence.

A divergence between two estimated densities is too large by about the number of bins over the
number of *independent* samples, which is unknown for overlapping windows. Leaving out one block of
time at a time estimates both that bias and the variance: blocks are independent except for
neighbours, for which :attr:`gfnode.metrics.Blocks.inflation` corrects.

With θ from all B blocks and θ_b from all but block b,

    θ_J = θ + Σ_g (1 − n_g)(θ̄_g − θ),    var = Σ_g (n_g − 1)/n_g Σ_{b in g} (θ_b − θ̄_g)²,

θ̄_g being the mean over the n_g blocks of group g. There is one group where each block is left out
of both densities (a prediction and the truth of the same windows), so that shared fluctuations
cancel, and two where each block belongs to one of the densities (halves of the truth).

References
----------
M. H. Quenouille, Biometrika 43, 353 (1956); H. R. Künsch, Ann. Statist. 17, 1217 (1989).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gfnode.metrics.blocks import t_quantile
from gfnode.trajectory import Doubles, Integers

Statistic = Callable[[Doubles, Doubles], Doubles]
"""Of two arrays of counts ``(..., bin)``: a value for each of ``...``."""


@dataclass(frozen=True)
class Distance:
    """A distance between two distributions with its 95 % interval over blocks of time.

    Parameters
    ----------
    value
        The estimate, bias-corrected if requested; not below zero.
    low, high
        Ends of the interval; nan with fewer than two blocks in any group.
    plug_in
        The plug-in estimate, without bias correction.
    blocks
        Blocks with data.
    """

    value: float
    low: float
    high: float
    plug_in: float
    blocks: int


def leave_one_out(statistic: Statistic, p: Doubles, q: Doubles) -> Doubles:
    """A statistic of all blocks, and with each of them left out, ``(1 + block, ...)``.

    Parameters
    ----------
    statistic
        Vectorised over leading axes of the counts.
    p, q
        Counts ``(block, ..., bin)``.
    """
    all_p, all_q = p.sum(0, keepdims=True), q.sum(0, keepdims=True)
    return statistic(np.concatenate([all_p, all_p - p]), np.concatenate([all_q, all_q - q]))


def jackknife(
    values: Doubles,
    groups: Integers | None = None,
    *,
    inflation: float = 1.0,
    unbiased: bool = False,
    plug_in: float | None = None,
    most: float = np.inf,
) -> Distance:
    """Estimate with interval from the values of :func:`leave_one_out`, for one statistic.

    Parameters
    ----------
    values
        ``(1 + block,)``; nan where a block has no data.
    groups
        Group of each block, ``(block,)``; None for one group.
    inflation
        Variance factor for the correlation of neighbouring blocks.
    unbiased
        Subtract the bias.
    plug_in
        Plug-in estimate to use instead of ``values[0]``.
    most
        Upper bound of the statistic.
    """
    whole, left = values[0], values[1:]
    plug = float(whole if plug_in is None else plug_in)
    groups = np.zeros(len(left), dtype=np.int64) if groups is None else groups
    filled = np.isfinite(left)
    bias = variance = 0.0
    enough = bool(np.isfinite(plug))
    for group in np.unique(groups):
        mine = left[(groups == group) & filled]
        n = len(mine)
        enough &= n > 1
        if n > 1:
            bias += (n - 1) * float(mine.mean() - whole)
            variance += (n - 1) / n * float(np.square(mine - mine.mean()).sum())
    blocks = int(filled.sum())
    if not enough:
        return Distance(plug, np.nan, np.nan, plug, blocks)
    value = min(max(plug - bias, 0.0), most) if unbiased else plug
    free = max(blocks - len(np.unique(groups)), 1)
    factor = inflation if np.isfinite(inflation) else 1.0
    width = float(t_quantile(free) * np.sqrt(variance * factor))
    return Distance(value, max(value - width, 0.0), min(value + width, most), plug, blocks)


def half_widths(replicates: Doubles, inflation: float = 1.0) -> tuple[Doubles, Doubles]:
    """Half-widths of a 95 % interval, below and above, from values with one block left out.

    Parameters
    ----------
    replicates
        ``(block, ...)``.

    Returns
    -------
    tuple
        ``(...)`` each, negative and positive; nan with fewer than three blocks.
    """
    count = len(replicates)
    if count < 3:
        none = np.full(replicates.shape[1:], np.nan)
        return none, none
    away = replicates - replicates.mean(0)
    error = np.sqrt(inflation * (count - 1) / count * np.square(away).sum(0))
    width = np.asarray(t_quantile(count - 1) * error)
    return -width, width
