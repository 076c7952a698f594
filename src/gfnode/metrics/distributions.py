"""Distances between distributions, on the line and on the circle, and statistics of angles.

NumPy throughout. Angles are radians. Divergences are in bits: 0 for equal distributions, and the
Jensen–Shannon divergence of disjoint ones is 1. The estimators work on counts in bins, whose number
is part of every result; their finite-sample bias and their error bars come from a block jackknife,
:mod:`gfnode.metrics.jackknife`.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from gfnode.errors import InputError
from gfnode.trajectory import Doubles, Integers

TURN = 2 * np.pi
PSEUDOCOUNT = 0.5
"""Added to every bin before a Kullback–Leibler divergence (Krichevsky and Trofimov's rule)."""


# --------------------------------------------------------------------------- circular statistics


def wrap(angles: ArrayLike) -> Doubles:
    """Wrap angles into [−π, π): φ − 2π ⌊(φ + π)/2π⌋."""
    values = np.asarray(angles, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        turned = values - TURN * np.floor((values + np.pi) / TURN)
    return np.where(turned >= np.pi, turned - TURN, turned)


def circular_difference(a: ArrayLike, b: ArrayLike) -> Doubles:
    """Signed difference a − b of angles, wrapped into [−π, π)."""
    return wrap(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64))


def circular_mean(angles: ArrayLike, axis: int = 0) -> Doubles:
    """Direction of the mean resultant, arg Σ exp(iφ), in −π … π."""
    values = np.asarray(angles, dtype=np.float64)
    return np.asarray(np.angle(np.exp(1j * values).mean(axis)))


# --------------------------------------------------------------------------- transport


def wasserstein(a: ArrayLike, b: ArrayLike, *, circular: bool = False) -> Doubles:
    """Wasserstein-1 distance of samples, exactly, for each column.

    On the line W = ∫ |F − G| dx of the empirical distribution functions; on the circle
    W = min_c ∫ |F − G − c| dφ, where the best c is the median of F − G over the circle.

    Parameters
    ----------
    a, b
        ``(sample, ...)``; the numbers of samples may differ.
    circular
        Whether the values are angles.

    Returns
    -------
    ndarray
        ``(...)`` in the unit of the samples; infinite where a value is not finite.

    References
    ----------
    J. Rabin, J. Delon, Y. Gousseau, J. Math. Imaging Vis. 41, 147 (2011), for the circle.
    """
    x, y = (np.asarray(each, dtype=np.float64) for each in (a, b))
    if x.shape[1:] != y.shape[1:] or not len(x) or not len(y):
        raise InputError(
            f"samples have shapes {x.shape} and {y.shape}: expected at least one sample of each, "
            "with the same columns"
        )
    lost = ~(np.isfinite(x).all(0) & np.isfinite(y).all(0))
    x, y = (np.where(lost, 0.0, each) for each in (x, y))
    if circular:
        found = _on_circle(wrap(x), wrap(y))
    elif len(x) == len(y):  # F⁻¹ and G⁻¹ are steps of one width
        found = np.abs(np.sort(x, 0) - np.sort(y, 0)).mean(0)
    else:
        gaps, D = _differences(x, y)
        found = (np.abs(D) * gaps).sum(0)
    return np.asarray(np.where(lost, np.inf, found))


def _differences(x: Doubles, y: Doubles) -> tuple[Doubles, Doubles]:
    """Gaps between the sorted pooled values, and F − G in each, ``(n_x + n_y − 1, ...)``."""
    both = np.concatenate([x, y])
    order = np.argsort(both, 0, kind="stable")
    steps = np.where(order < len(x), 1 / len(x), -1 / len(y))
    return np.diff(np.take_along_axis(both, order, 0), axis=0), np.cumsum(steps, 0)[:-1]


def _on_circle(x: Doubles, y: Doubles) -> Doubles:
    gaps, D = _differences(x, y)
    rest = TURN - gaps.sum(0, keepdims=True)  # from the last value around to the first, F − G = 0
    gaps = np.concatenate([gaps, rest])
    D = np.concatenate([D, np.zeros_like(rest)])
    order = np.argsort(D, 0)
    weight = np.cumsum(np.take_along_axis(gaps, order, 0), 0)
    middle = (weight < np.pi).sum(0, keepdims=True)  # half a turn
    median = np.take_along_axis(np.take_along_axis(D, order, 0), middle, 0)
    return np.asarray((np.abs(D - median) * gaps).sum(0))


def wasserstein_of_bins(p: Doubles, q: Doubles, width: ArrayLike, *, circular: bool) -> Doubles:
    """Wasserstein-1 distance of two histograms over equal bins, the mass of each at one point.

    Parameters
    ----------
    p, q
        Probabilities ``(..., bin)``.
    width
        Of a bin, broadcast to ``(...)``.
    """
    D = np.cumsum(p - q, -1)
    if circular:
        D = D - np.median(D, -1, keepdims=True)
    return np.asarray(np.abs(D).sum(-1) * width)


# --------------------------------------------------------------------------- information


def entropy(p: ArrayLike) -> Doubles:
    """−Σ p log₂ p over the last axis, in bits."""
    return np.asarray(special.entr(np.asarray(p, dtype=np.float64)).sum(-1) / np.log(2))


def jensen_shannon(p: ArrayLike, q: ArrayLike) -> Doubles:
    """Jensen–Shannon divergence H((p+q)/2) − (H(p)+H(q))/2 over the last axis, in bits.

    0 for equal and 1 for disjoint distributions. Its square root is a distance.

    Parameters
    ----------
    p, q
        Probabilities ``(..., bin)`` that sum to one.

    References
    ----------
    J. Lin, IEEE Trans. Inf. Theory 37, 145 (1991).
    """
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    found = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
    return np.asarray(np.clip(found, 0.0, 1.0))


def jensen_shannon_of_counts(p: ArrayLike, q: ArrayLike) -> Doubles:
    """:func:`jensen_shannon` of counts ``(..., bin)``, each divided by its sum."""
    return jensen_shannon(normalised(p), normalised(q))


def kullback_leibler(p: ArrayLike, q: ArrayLike) -> Doubles:
    """Kullback–Leibler divergence Σ p log₂(p/q) over the last axis, in bits.

    Infinite where q is zero in a bin in which p is not: use :func:`smoothed` for counts.
    """
    return np.asarray(special.rel_entr(p, q).sum(-1) / np.log(2))


def smoothed(counts: ArrayLike) -> Doubles:
    """Probabilities (n_k + α)/(n + αK) of K bins, none of them zero, from counts ``(..., bin)``.

    α is :data:`PSEUDOCOUNT`.
    """
    values = np.asarray(counts, dtype=np.float64) + PSEUDOCOUNT
    return np.asarray(values / values.sum(-1, keepdims=True))


def normalised(counts: ArrayLike) -> Doubles:
    """Probabilities n_k/n from counts ``(..., bin)``; zeros where there are none."""
    values = np.asarray(counts, dtype=np.float64)
    total = values.sum(-1, keepdims=True)
    return np.asarray(values / np.where(total > 0, total, 1.0))


# --------------------------------------------------------------------------- counting


def bin_of(values: ArrayLike, low: ArrayLike, high: ArrayLike, bins: int) -> Integers:
    """Bin of each value, 0 … bins − 1, of equal bins from low to high.

    The outermost bins are open-ended. NaN is in the last bin.
    """
    x, a, b = (np.asarray(each, dtype=np.float64) for each in (values, low, high))
    with np.errstate(invalid="ignore", divide="ignore"):
        place = (x - a) / (b - a) * bins
    return np.clip(np.nan_to_num(np.floor(place), nan=bins - 1.0), 0, bins - 1).astype(np.int64)


def counts_by_block(bins: Integers, labels: Integers, blocks: int, number: int) -> Doubles:
    """How often each bin occurs in each block and column, ``(block, column, bin)``.

    Parameters
    ----------
    bins
        ``(sample, column)``.
    labels
        Block of each sample, ``(sample,)``.
    blocks, number
        Number of blocks and of bins.
    """
    columns = bins.shape[1]
    key = (labels[:, None] * columns + np.arange(columns)) * number + bins
    found = np.bincount(key.ravel(), minlength=blocks * columns * number)
    return found.reshape(blocks, columns, number).astype(np.float64)
