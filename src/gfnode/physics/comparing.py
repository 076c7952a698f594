"""Comparison of coordinates in predicted and true conformations, with floor and constant.

For one kind of coordinate (all bond lengths, say) and every method: the mean absolute error of each
window and lag, and the distance of the distribution of each coordinate from the true one.
Coordinates are processed in chunks, so that memory does not grow with their number.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.metrics.distributions import (
    TURN,
    bin_of,
    circular_difference,
    circular_mean,
    counts_by_block,
    jensen_shannon_of_counts,
    normalised,
    wasserstein,
    wasserstein_of_bins,
)
from gfnode.metrics.jackknife import jackknife, leave_one_out
from gfnode.metrics.lags import LAG_BINS
from gfnode.physics.predictions import Predictions
from gfnode.physics.quantity import Quantity, distance, halves, summary
from gfnode.physics.section import CONSTANT, FLOOR
from gfnode.thinning import chunks
from gfnode.trajectory import Doubles, Integers

BINS = 60
"""Bins of a density: 6° wide for an angle; for a length they extend 10 % beyond the range of the
truth, and the outermost are open-ended."""

FINE = 120
"""Bins for the error bars of Wasserstein distances."""

FINEST = 3600
"""Bins of 0.1° for Wasserstein distances on the circle."""

_VALUES = 2_000_000  # held at once
_GROUPS = 1 + LAG_BINS  # all samples, and those of each lag bin


@dataclass(frozen=True, eq=False)
class Samples:
    """Block, half and lag bin of each sample (window and lag).

    Parameters
    ----------
    labels, half
        Block and half, ``(sample,)``.
    groups
        Masks of all samples, then of those in each lag bin, ``(sample,)`` each.
    blocks
        Number of blocks.
    filled
        Whether a block has samples, ``(1 + lag bin, block)``.
    sides
        Half of each block, ``(block,)``.
    """

    labels: Integers
    half: Integers
    groups: list[NDArray[np.bool_]]
    blocks: int
    filled: NDArray[np.bool_]
    sides: Integers

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Entries of rows in :class:`Sums` that have samples, ``(1 + lag bin, 1 + block)``."""
        return np.concatenate([self.filled.any(1, keepdims=True), self.filled], 1)

    @classmethod
    def of(cls, predictions: Predictions) -> "Samples":
        """Classify the samples of predictions, in the order ``(window, time)``."""
        times = predictions.lags_fs.shape[1]
        labels = np.repeat(predictions.blocks.labels, times)
        half = np.repeat(halves(predictions), times)
        lags = predictions.lag_bins.ravel()
        groups = [np.ones(len(labels), bool), *(lags == k for k in range(LAG_BINS))]
        count = predictions.blocks.count
        filled = np.stack([np.bincount(labels[mine], minlength=count) > 0 for mine in groups])
        sides = (2 * np.arange(count) >= count).astype(np.int64)
        return cls(labels, half, groups, count, filled, sides)


@dataclass(frozen=True, eq=False)
class Truth:
    """The truth of some coordinates in bins, and sorted."""

    samples: Samples
    circular: bool
    values: Doubles  # (coordinate, sample)
    low: Doubles  # (coordinate,)
    high: Doubles
    counts: list[Doubles]  # 1 + lag bin of (block, coordinate, fine bin)
    ordered: list[Doubles]  # 1 + lag bin of what _order gives

    @classmethod
    def of(cls, values: Doubles, samples: Samples, circular: bool) -> "Truth":
        """Bin and sort ``(coordinate, sample)``."""
        if circular:
            high = np.full(len(values), np.pi)
            low = -high
        else:
            low, high = values.min(1), values.max(1)
            margin = np.maximum(0.1 * (high - low), 1e-6)
            low, high = low - margin, high + margin
        counts = _counts(values, low, high, samples.labels, samples)
        ordered = [_order(values[:, mine], circular) for mine in samples.groups]
        return cls(samples, circular, values, low, high, counts, ordered)

    @property
    def density(self) -> Doubles:
        """``(coordinate, bin)``."""
        return normalised(_coarse(self.counts[0].sum(0)))

    def rows(self, p: Doubles, q: Doubles) -> tuple[Doubles, Doubles]:
        """Leave-one-out rows of Wasserstein and Jensen-Shannon distances, summed over coordinates.

        From counts p and q ``(block, coordinate, fine bin)``; ``(1 + block,)`` each.
        """

        def transport(a: Doubles, b: Doubles) -> Doubles:
            width = (self.high - self.low) / FINE
            return wasserstein_of_bins(normalised(a), normalised(b), width, circular=self.circular)

        return (
            leave_one_out(transport, p, q).sum(1),
            leave_one_out(jensen_shannon_of_counts, _coarse(p), _coarse(q)).sum(1),
        )


@dataclass(eq=False)
class Sums:
    """Accumulators of one method over chunks of coordinates.

    Parameters
    ----------
    error, relative
        Sums of absolute and relative errors, ``(window, time)``.
    transport
        Sums of exact Wasserstein distances, ``(1 + lag bin,)``.
    transport_rows, information_rows
        Leave-one-out rows of binned Wasserstein and Jensen-Shannon distances,
        ``(1 + lag bin, 1 + block)``.
    densities, errors, transports
        Values of each coordinate, by chunk.
    """

    error: Doubles
    relative: Doubles
    transport: Doubles
    transport_rows: Doubles
    information_rows: Doubles
    densities: list[Doubles] = field(default_factory=list)
    errors: list[Doubles] = field(default_factory=list)
    transports: list[Doubles] = field(default_factory=list)

    @classmethod
    def empty(cls, windows: int, times: int, blocks: int) -> "Sums":
        """All zero."""
        error = np.zeros((windows, times))
        rows = np.zeros((_GROUPS, 1 + blocks))
        return cls(error, error.copy(), np.zeros(_GROUPS), rows, rows.copy())

    def add_errors(self, mine: Doubles, true: Doubles, quantity: Quantity) -> None:
        """Add errors of ``(coordinate, sample)``."""
        off = np.abs(circular_difference(mine, true) if quantity.circular else mine - true)
        self.error += off.sum(0).reshape(self.error.shape)
        self.errors.append(off.mean(1))
        if quantity.relative:
            self.relative += (off / np.abs(true)).sum(0).reshape(self.relative.shape)

    def add_distances(self, mine: Doubles, truth: Truth) -> None:
        """Add distances of a method from the truth."""
        samples = truth.samples
        counts = _counts(mine, truth.low, truth.high, samples.labels, samples)
        for k, group in enumerate(samples.groups):
            exact = _transport(_order(mine[:, group], truth.circular), truth.ordered[k], truth)
            self._add(k, exact, *truth.rows(counts[k], truth.counts[k]))
            if k == 0:
                self.transports.append(exact)
        self.densities.append(normalised(_coarse(counts[0].sum(0))))

    def add_halves(self, truth: Truth) -> None:
        """Add distances between two halves of the truth."""
        samples, n = truth.samples, truth.samples.blocks
        labels = samples.labels + n * samples.half
        counts = _counts(truth.values, truth.low, truth.high, labels, samples, 2 * n)
        for k, group in enumerate(samples.groups):
            a, b = (truth.values[:, group & (samples.half == side)].T for side in (0, 1))
            if not len(a) or not len(b):
                nothing = np.full(1 + n, np.nan)
                self._add(k, np.array([np.nan]), nothing, nothing)
                continue
            exact = wasserstein(a, b, circular=truth.circular)
            self._add(k, exact, *truth.rows(counts[k][:n], counts[k][n:]))

    def _add(self, k: int, exact: Doubles, transport: Doubles, information: Doubles) -> None:
        self.transport[k] += exact.sum()
        self.transport_rows[k] += transport
        self.information_rows[k] += information

    def distances(
        self, count: int, samples: Samples, inflation: float, scale: float, halved: bool
    ) -> dict[str, Any]:
        """Means over coordinates with their intervals, as JSON."""
        groups = samples.sides if halved else None
        found: dict[str, Any] = {}
        for key, rows in (("wasserstein", self.transport_rows), ("js_bits", self.information_rows)):
            exact = key == "wasserstein"
            each = [
                jackknife(
                    np.where(samples.seen[k], rows[k], np.nan) / count,
                    groups,
                    inflation=inflation,
                    unbiased=not exact,
                    plug_in=self.transport[k] / count if exact else None,
                    most=np.inf if exact else 1.0,
                )
                for k in range(_GROUPS)
            ]
            whole, *by_lag = (distance(one, scale if exact else 1.0) for one in each)
            found |= {key: whole, f"{key}_by_lag": by_lag}
        return found


def compare(quantity: Quantity, predictions: Predictions) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compare one kind of coordinate.

    Returns
    -------
    tuple
        Numbers for JSON and arrays, under the keys of docs/physics.md.
    """
    index, scale = quantity.few(), quantity.scale
    samples = Samples.of(predictions)
    windows, times = predictions.lags_fs.shape
    methods = [*predictions.predicted, CONSTANT, FLOOR]
    sums = {method: Sums.empty(windows, times, samples.blocks) for method in methods}
    ranges, densities, constants = [], [], []
    for part in chunks(len(index), _VALUES, windows * times):
        piece = index[part]
        true = quantity.of(predictions.true, piece)
        truth = Truth.of(true, samples, quantity.circular)
        training = quantity.of(predictions.training, piece)
        fixed = circular_mean(training, 1) if quantity.circular else training.mean(1)
        for method in (*predictions.predicted, CONSTANT):
            if method == CONSTANT:
                mine = np.broadcast_to(fixed[:, None], true.shape)
            else:
                mine = quantity.of(predictions.predicted[method], piece)
            sums[method].add_errors(mine, true, quantity)
            sums[method].add_distances(mine, truth)
        unrelated = predictions.unrelated(true.reshape(-1, windows, times).swapaxes(0, 1))
        sums[FLOOR].add_errors(unrelated.swapaxes(0, 1).reshape(true.shape), true, quantity)
        sums[FLOOR].add_halves(truth)
        ranges.append(np.stack([truth.low, truth.high], 1))
        densities.append(truth.density)
        constants.append(fixed)
    numbers: dict[str, Any] = {}
    arrays: dict[str, Any] = {
        "index": index,
        "range": np.concatenate(ranges) * scale,
        "constant": np.concatenate(constants) * scale,
        "density.true": np.concatenate(densities).astype(np.float32),
    }
    count = len(index)
    for method, each in sums.items():
        known = method != FLOOR or windows > 1
        found = summary(each.error / count, predictions, scale, known=known, most=quantity.most)
        if quantity.relative:
            relative = summary(each.relative / count, predictions, known=known)
            found["relative"] = relative["error"]
        inflation = predictions.blocks.inflation
        numbers[method] = found | each.distances(
            count, samples, inflation, scale, halved=method == FLOOR
        )
        arrays[f"error.{method}"] = np.concatenate(each.errors) * scale
        if method != FLOOR:
            arrays[f"density.{method}"] = np.concatenate(each.densities).astype(np.float32)
            arrays[f"wasserstein.{method}"] = np.concatenate(each.transports) * scale
    facts = {"unit": quantity.unit, "coordinates": len(quantity.index), "compared": count}
    return facts | {"methods": numbers}, arrays


def _counts(  # noqa: PLR0917
    values: Doubles,
    low: Doubles,
    high: Doubles,
    labels: Integers,
    samples: Samples,
    number: int | None = None,
) -> list[Doubles]:
    """Counts of all samples and of each lag bin, ``(block, coordinate, fine bin)`` each."""
    bins = bin_of(values.T, low, high, FINE)
    number = samples.blocks if number is None else number
    return [counts_by_block(bins[mine], labels[mine], number, FINE) for mine in samples.groups]


def _order(values: Doubles, circular: bool) -> Doubles:
    """Sorted values, or for angles counts in fine bins: the input of :func:`_transport`."""
    if not circular:
        return np.sort(values, 1)
    bins = bin_of(values.T, -np.pi, np.pi, FINEST)
    found = counts_by_block(bins, np.zeros(len(bins), dtype=np.int64), 1, FINEST)[0]
    found[~np.isfinite(values).all(1)] = np.nan
    return found


def _transport(a: Doubles, b: Doubles, truth: Truth) -> Doubles:
    """Wasserstein distance of two samples from :func:`_order`, ``(coordinate,)``."""
    if not a.shape[1] or (truth.circular and not b.sum()):
        return np.full(len(a), np.nan)
    with np.errstate(invalid="ignore"):
        if truth.circular:
            p, q = normalised(a), normalised(b)
            found = wasserstein_of_bins(p, q, TURN / FINEST, circular=True)
        else:
            found = np.abs(a - b).mean(1)
    return np.where(np.isnan(found), np.inf, found)


def _coarse(counts: Doubles) -> Doubles:
    return counts.reshape(*counts.shape[:-1], BINS, FINE // BINS).sum(-1)
