"""Rank correlation of mean frequencies with eigenvalues of graph modes."""

from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
from scipy import stats

from gfnode.errors import InputError
from gfnode.metrics.blocks import CONFIDENCE, Blocks, t_quantile
from gfnode.trajectory import Doubles

DRAWS = 4000
"""Monte Carlo draws for the interval of a rank correlation."""

SHUFFLES = 10_000
"""Random permutations for `RankCorrelation.chance`, where there are more than that."""


@dataclass(frozen=True, eq=False)
class Frequencies:
    """Mean frequencies with their intervals over blocks of time.

    Parameters
    ----------
    value
        Σ f P / Σ P over all windows, ``(space,)`` in 1/ps; nan where nothing moves.
    low, high
        95 % Student t interval over the blocks, symmetric in log f̄, ``(space,)``; nan with a single
        block.
    deviations
        Linear contribution of each block to the error of the mean, ``(block, space)``: the sum of
        squares times B/(B − 1) and `inflation` is the variance.
    inflation
        Variance factor for neighbouring blocks; see :class:`~gfnode.metrics.Blocks`.
    """

    value: Doubles
    low: Doubles
    high: Doubles
    deviations: Doubles
    inflation: float


def mean_frequencies(frequency: Doubles, power: Doubles, blocks: Blocks) -> Frequencies:
    """Mean frequency of each eigenspace, f̄ = Σ f P / Σ P over f > 0, windows pooled.

    Parameters
    ----------
    frequency
        ``(frequency,)`` in 1/ps.
    power
        ``(window, space, frequency)``.
    blocks
        Of the windows.
    """
    f, P = frequency[1:], power[..., 1:]
    total, first = blocks.sums(P.sum(-1)), blocks.sums(P @ f)
    count = blocks.count
    with np.errstate(invalid="ignore", divide="ignore"):
        value = first.sum(0) / total.sum(0)
        deviations = (first - value * total) / total.sum(0)
        scale = blocks.inflation * count / (count - 1) if count > 1 else np.nan
        width = t_quantile(max(count - 1, 1)) * np.sqrt(scale * np.square(deviations).sum(0))
        spread = np.exp(width / value)
    return Frequencies(value, value / spread, value * spread, deviations, blocks.inflation)


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation of frequency with eigenvalue.

    Parameters
    ----------
    value
        1: frequencies have the order of eigenvalues.
    low, high
        95 % interval from the uncertainty of the frequencies; nan with a single block.
    chance
        Permutation p-value: fraction of orders of the eigenspaces with at least this correlation.
    spaces
        Number of eigenspaces compared.
    """

    value: float
    low: float
    high: float
    chance: float
    spaces: int


def rank_correlation(eigenvalues: Doubles, frequencies: Frequencies) -> RankCorrelation:
    """Rank correlation of mean frequencies with eigenvalues, over eigenspaces.

    The interval: frequencies are drawn 4000 times (seeded) from the multivariate t distribution of
    their block deviations, with B − 1 degrees of freedom, so that it is wide for few blocks, and
    the correlation of each draw is computed. Noise attenuates rank correlations: those of the draws
    are weaker than the estimate, as that is weaker than the true one. So the interval is the hull
    of the 2.5 and 97.5 % quantiles q and of their reflections 2ρ − q, cut at ±1. It accounts for
    the finite series, not for the number of eigenspaces of a molecule: `chance` does.

    Parameters
    ----------
    eigenvalues
        ``(space,)``, all different.
    frequencies
        Of the same eigenspaces; those without power (nan) are left out.
    """
    if eigenvalues.shape != frequencies.value.shape:
        raise InputError(
            f"{eigenvalues.shape} eigenvalues and {frequencies.value.shape} frequencies disagree: "
            "expected one frequency for each eigenspace"
        )
    known = np.isfinite(frequencies.value)
    values, spaces = frequencies.value[known], int(known.sum())
    if spaces < 3:
        return RankCorrelation(np.nan, np.nan, np.nan, np.nan, spaces)
    order = _ranks(eigenvalues[known][None])
    found = float(_spearman(order, _ranks(values[None]))[0])
    low, high = _interval(order, found, frequencies, known)
    return RankCorrelation(found, low, high, _chance(order, found), spaces)


def _interval(
    order: Doubles, found: float, frequencies: Frequencies, known: np.ndarray
) -> tuple[float, float]:
    deviations = frequencies.deviations[:, known]
    count = len(deviations)
    if count < 2:
        return float("nan"), float("nan")
    generator = np.random.default_rng(0)
    normal = generator.standard_normal((DRAWS, count))
    spread = np.sqrt((count - 1) / generator.chisquare(count - 1, (DRAWS, 1)))
    scale = np.sqrt(frequencies.inflation * count / (count - 1))
    drawn = frequencies.value[known] + scale * spread * (normal @ deviations)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(_spearman(order, _ranks(drawn)), (tail, 1 - tail))
    ends = low, high, 2 * found - low, 2 * found - high
    return float(max(min(ends), -1.0)), float(min(max(ends), 1.0))


def _chance(order: Doubles, found: float) -> float:
    spaces = order.shape[1]
    if factorial(spaces) <= SHUFFLES:
        shuffled = np.array(list(permutations(range(1, spaces + 1))), dtype=np.float64)
        return float((_spearman(order, shuffled) >= found - 1e-12).mean())
    ranks = np.tile(np.arange(1.0, spaces + 1), (SHUFFLES, 1))
    shuffled = np.random.default_rng(0).permuted(ranks, axis=1)
    reached = (_spearman(order, shuffled) >= found - 1e-12).sum()
    return float((reached + 1) / (SHUFFLES + 1))  # the order found is one of them


def _ranks(values: Doubles) -> Doubles:
    """Ranks from 1 along the last axis; ties share their mean rank."""
    return np.asarray(stats.rankdata(values, axis=-1))


def _spearman(a: Doubles, b: Doubles) -> Doubles:
    """Correlation of rows of ranks, rows broadcast; 0 where a row is constant."""
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    size = np.sqrt(np.square(a).sum(-1) * np.square(b).sum(-1))
    return np.asarray((a * b).sum(-1) / np.where(size > 0, size, 1.0))
