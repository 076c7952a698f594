"""How wrong predictions are, how sure that is, and which of two methods is better.

Errors are mean squared errors per *coordinate* in Å², the quantity in the paper's tables; its
eq. 14, a mean over atoms of squared distances, is three times larger (:attr:`Estimate.eq14`).
Only :func:`squared_errors` sees tensors; the rest is numpy, so that a report needs no torch.

Windows that start close together share most of their frames, so a thousand of them may weigh no
more than five independent ones. Every interval here is therefore one over blocks of time
(:class:`Blocks`), and is a Student t interval of the block sums. The percentile bootstrap is not
used: with few blocks it is far too narrow (it covers 74 % instead of 95 % with five).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from gfnode.errors import InputError
from gfnode.metrics.lags import lag_bins, mean_lags
from gfnode.trajectory import Doubles, Integers

if TYPE_CHECKING:
    from torch import Tensor

CONFIDENCE = 0.95
MOST_BLOCKS = 30
_SLACK = 1e-6  # relative slack for times that are equal but for rounding


def squared_errors(predicted: "Tensor", target: "Tensor", *, superposed: bool = False) -> "Tensor":
    """Mean squared error per coordinate of each window and lag.

    Parameters
    ----------
    predicted, target
        The scored atoms, ``(batch, time, atom, 3)`` in Å.
    superposed
        Place each predicted frame on its target first: what is wrong with the shape alone.

    Returns
    -------
    Tensor
        ``(batch, time)`` in Å².
    """
    if superposed:
        from gfnode.geometry import superpose  # keeps torch out of reports

        predicted = superpose(predicted, target)
    return (predicted - target).square().mean((-2, -1))


@dataclass(frozen=True)
class Estimate:
    """A mean or ratio with its 95 % interval over blocks of time.

    Parameters
    ----------
    value
        The estimate; nan where there is no data.
    low, high
        Ends of the interval; nan with fewer than two blocks, which give no interval.
    blocks
        Blocks of time with data.
    count
        Values (windows times lags) behind the estimate.
    """

    value: float
    low: float
    high: float
    blocks: int
    count: int

    @property
    def eq14(self) -> "Estimate":
        """The same error by eq. 14 of the paper, per atom in place of per coordinate."""
        return self.scaled(3)

    def scaled(self, factor: float) -> "Estimate":
        """The same in another unit."""
        return replace(
            self, value=factor * self.value, low=factor * self.low, high=factor * self.high
        )

    def to_dict(self) -> dict[str, float | int]:
        """As JSON has it."""
        return {"value": self.value, "low": self.low, "high": self.high, "count": self.count}


NO_ESTIMATE = Estimate(np.nan, np.nan, np.nan, 0, 0)
"""Where there is no data."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Windows grouped into non-overlapping blocks of their start time.

    A block is at least one horizon long, so that only neighbouring blocks share frames; a long
    series is cut into 30 longer ones, beyond which more blocks would gain nothing (Schmeiser,
    Oper. Res. 30, 556, 1982). Blocks do not straddle trajectories.

    Windows of neighbouring blocks still reach into the same stretch. The mean over a block m
    horizons long of windows one horizon long looks at the series through a trapezoid, the
    convolution of two boxes of lengths m and 1; two neighbouring trapezoids overlap by 1/6 of
    m − 1/3, so their correlation is ρ = 1/(6m − 2): a quarter for m = 1. With p pairs of neighbours
    among B blocks that raises the variance of the mean, against what independent blocks of the
    same sample variance would give, by :attr:`inflation`

        (1 + 2ρp/B) / (1 − 2ρp/(B(B − 1))).

    The correction is exact for errors of short memory, uniform over lags; it is conservative for
    paired differences, in which what neighbours share may cancel, and too small for errors whose
    memory is longer than a block.

    Parameters
    ----------
    labels
        Block of each window, ``(window,)``, 0 to ``count`` − 1; every block has windows.
    count
        Number of blocks.
    neighbours
        Pairs of blocks next to each other in one trajectory.
    length
        Mean length of a block in horizons.
    """

    labels: Integers
    count: int
    neighbours: int
    length: float

    @classmethod
    def of(
        cls,
        starts_fs: ArrayLike,
        horizon_fs: float,
        segments: ArrayLike | None = None,
        most: int = MOST_BLOCKS,
    ) -> "Blocks":
        """Group windows.

        Parameters
        ----------
        starts_fs
            Start time of each window, ``(window,)``.
        horizon_fs
            The largest lag.
        segments
            Trajectory that each window lies in, ``(window,)``; None for one.
        most
            Largest number of blocks, if that leaves each trajectory one.
        """
        starts = np.asarray(starts_fs, dtype=np.float64)
        if starts.ndim != 1 or not starts.size or not horizon_fs > 0:
            raise InputError(
                f"blocks need windows and a positive horizon, got starts of shape {starts.shape} "
                f"and a horizon of {horizon_fs} fs"
            )
        if segments is None:
            segments = np.zeros(len(starts), dtype=np.int64)
        _, segment, windows = np.unique(segments, return_inverse=True, return_counts=True)
        first = np.full(len(windows), np.inf)
        last = np.full(len(windows), -np.inf)
        np.minimum.at(first, segment, starts)
        np.maximum.at(last, segment, starts)
        # n starts stand for n spacings of time
        span = (last - first) * windows / np.maximum(windows - 1, 1)
        share = most * span / max(span.sum(), 1e-300)
        number = np.maximum(np.floor(np.minimum(span / horizon_fs, share) * (1 + _SLACK)), 1)
        place = (starts - first[segment]) / np.where(span > 0, span, 1.0)[segment]
        within = np.minimum(np.floor(place * number[segment] * (1 + _SLACK)), number[segment] - 1)
        offset = np.cumsum(number) - number
        used, labels = np.unique(offset[segment] + within, return_inverse=True)
        neighbours = int(number.sum()) - len(number)  # at most, where some blocks are empty
        length = max(float(span.sum() / number.sum() / horizon_fs), 1.0)
        return cls(labels, len(used), min(neighbours, len(used) - 1), length)

    @property
    def inflation(self) -> float:
        """Factor on the variance for what neighbouring blocks share; nan for a single block."""
        if self.count < 2:
            return np.nan
        shared = 2 * self.neighbours / (6 * self.length - 2) / self.count
        return (1 + shared) / (1 - shared / (self.count - 1))

    def sums(self, values: NDArray[np.generic]) -> Doubles:
        """Sum ``values (window, column)`` over the windows of each block, ``(block, column)``."""
        total = np.zeros((self.count, values.shape[1]))
        np.add.at(total, self.labels, values)
        return total


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
    values = _windows_first(errors, blocks, 2)
    lags = np.asarray(lags_fs, dtype=np.float64)
    edges = np.asarray(edges_fs, dtype=np.float64)
    if lags.shape != values.shape:
        raise InputError(f"errors have shape {values.shape} (window, time), lags {lags.shape}")
    if len(edges) < 2 or (np.diff(edges) <= 0).any():
        raise InputError(f"lag bins need at least two ascending ends, got {list(edges_fs)}")
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
    table = _windows_first(values, blocks, 1, 2).reshape(len(blocks.labels), -1)
    counts = np.full((len(table), 1), table.shape[1])
    return _means(table.sum(1, keepdims=True), counts, blocks)[0]


def _means(sums: Doubles, counts: Integers, blocks: Blocks) -> tuple[Estimate, ...]:
    """Estimates of each column from the sums and counts of each window, ``(window, column)``."""
    S, C = blocks.sums(sums), blocks.sums(counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = S.sum(0) / C.sum(0)
        deviation = (S - value * C) / C.sum(0)
        filled = (C > 0).sum(0)
        spread = np.where(value > 0, _half_width(deviation, filled, blocks) / value, 0.0)
        low, high = value * np.exp(-spread), value * np.exp(spread)
    few = filled < 2
    low[few] = high[few] = np.nan
    return tuple(
        Estimate(float(v), float(a), float(b), int(n), int(c))
        for v, a, b, n, c in zip(value, low, high, filled, C.sum(0), strict=True)
    )


def _half_width(deviation: Doubles, filled: Integers | int, blocks: Blocks) -> Doubles:
    """Half a t interval from the linear contributions of the blocks, ``(block, ...)``."""
    free = np.maximum(np.asarray(filled) - 1, 1)
    variance = blocks.inflation * (free + 1) / free * np.square(deviation).sum(0)
    return np.asarray(t_quantile(free) * np.sqrt(variance))


def t_quantile(free: ArrayLike) -> Doubles:
    """Half a 95 % Student t interval in standard errors, by its degrees of freedom."""
    return np.asarray(stats.t.ppf(0.5 + CONFIDENCE / 2, free))


SAME = 1e-3
"""Mean errors whose ratio is known to be this close to one are as good as equal."""


@dataclass(frozen=True)
class Verdict:
    """Whether method a is better than method b on the same windows.

    Parameters
    ----------
    difference
        Mean error of a minus that of b, in Å².
    ratio
        Mean error of a over that of b.
    verdict
        ``better`` or ``worse`` where the interval of the ratio is clear of one (that of its
        logarithm clear of zero) and not all within :data:`SAME` of it, else ``indistinguishable``
        (always with fewer than two blocks).
        Errors of blocks differ by factors, so the ratio is steadier than the difference.
    """

    difference: Estimate
    ratio: Estimate
    verdict: Literal["better", "worse", "indistinguishable"]


def paired_verdict(errors_a: ArrayLike, errors_b: ArrayLike, blocks: Blocks) -> Verdict:
    """Compare two methods on the same windows, over the same blocks.

    What both methods find hard cancels: the intervals come from S_a − S_b − δC and from
    S_a/ΣS_a − S_b/ΣS_b in each block (difference, and logarithm of the ratio).

    Parameters
    ----------
    errors_a, errors_b
        ``(window,)`` or ``(window, time)``, of one shape, without negative values.
    """
    a, b = (_windows_first(e, blocks, 1, 2) for e in (errors_a, errors_b))
    if a.shape != b.shape:
        raise InputError(f"paired errors have shapes {a.shape} and {b.shape}, expected the same")
    columns = [e.reshape(len(e), -1).sum(1) for e in (a, b)]
    per_window = a.size // len(a)
    S = blocks.sums(np.stack([*columns, np.full(len(a), per_window)], 1))
    Sa, Sb, C = S.T
    with np.errstate(invalid="ignore", divide="ignore"):
        difference, ratio = (Sa - Sb).sum() / C.sum(), Sa.sum() / Sb.sum()
        width = _half_width((Sa - Sb - difference * C) / C.sum(), blocks.count, blocks)
        spread = _half_width(Sa / Sa.sum() - Sb / Sb.sum(), blocks.count, blocks)
        low, high = ratio * np.exp(-spread), ratio * np.exp(spread)
    verdict: Literal["better", "worse", "indistinguishable"] = "indistinguishable"
    same = low > 1 - SAME and high < 1 + SAME
    if high < 1 and not same:
        verdict = "better"
    elif low > 1 and not same:
        verdict = "worse"
    if np.isinf(Sa.sum()) != np.isinf(Sb.sum()):
        verdict = "worse" if np.isinf(Sa.sum()) else "better"
    elif (Sa.sum() == 0) != (Sb.sum() == 0) and blocks.count > 1:
        verdict = "better" if Sa.sum() == 0 else "worse"
    bounds = (difference, difference - width, difference + width), (ratio, low, high)
    estimates = [
        Estimate(float(value), float(lower), float(upper), blocks.count, a.size)
        for value, lower, upper in bounds
    ]
    return Verdict(estimates[0], estimates[1], verdict)


def _windows_first(values: ArrayLike, blocks: Blocks, *dimensions: int) -> Doubles:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in dimensions or len(array) != len(blocks.labels) or not array.size:
        raise InputError(
            f"errors have shape {array.shape}, expected one row for each of the "
            f"{len(blocks.labels)} windows"
        )
    array = np.where(np.isnan(array), np.inf, array)  # a prediction that diverged is infinitely off
    if (array < 0).any():
        raise InputError(f"squared errors cannot be negative, got {array.min()}")
    return array
