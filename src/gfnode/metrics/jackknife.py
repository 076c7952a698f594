"""Error bars and bias of a statistic of all data, such as a density, by leaving out blocks of time.

A divergence between two estimated densities is too large by about the number of bins over the
number of *independent* samples, which for windows that overlap nobody knows. Leaving out one block
of time after the other shows both that bias and the spread: blocks are independent but for their
neighbours, which :attr:`gfnode.metrics.Blocks.inflation` allows for.

With θ from all B blocks and θ_b from all but block b,

    θ_J = θ + Σ_g (1 − n_g)(θ̄_g − θ),    var = Σ_g (n_g − 1)/n_g Σ_{b in g} (θ_b − θ̄_g)²,

θ̄_g being the mean over the n_g blocks of group g. There is one group where both densities lose the
same block (a prediction and the truth of the same windows), so that what they share cancels, and
there are two where each block belongs to one of two densities (halves of the truth).

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
        The estimate, bias taken off where that was asked for; not below zero.
    low, high
        Ends of the interval; nan with fewer than two blocks in any group.
    plug_in
        The statistic of the counts as they are.
    blocks
        Blocks with data.
    """

    value: float
    low: float
    high: float
    plug_in: float
    blocks: int


def leave_one_out(statistic: Statistic, p: Doubles, q: Doubles) -> Doubles:
    """A statistic of all blocks, and without each of them: ``(1 + block, ...)``.

    Parameters
    ----------
    statistic
        Works on many arrays of counts at once.
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
    """Estimate with interval from what :func:`leave_one_out` gives for one number.

    Parameters
    ----------
    values
        ``(1 + block,)``; nan where a block has no data.
    groups
        Group of each block, ``(block,)``; None for one group.
    inflation
        Of the variance, for what neighbouring blocks share.
    unbiased
        Take off the bias.
    plug_in
        The statistic, where it is known better than ``values[0]``.
    most
        The largest value there can be.
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
    """Half widths of a 95 % interval, below and above, from values with one block left out.

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
