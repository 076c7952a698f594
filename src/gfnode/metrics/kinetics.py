"""Kinetics: VAMP-2 scores, TICA, implied timescales, with intervals over blocks of time.

A transition is a pair of feature vectors, of a start and of a frame one lag later. Pairs may come
from a trajectory (:func:`lagged`) or from windows, in which the later frame is true or predicted.

deeptime computes scores and components. Intervals recompute them in closed form with each block
left out, from sums by block; the tests compare both forms.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.metrics.blocks import Blocks, Estimate
from gfnode.metrics.jackknife import half_widths
from gfnode.trajectory import Doubles

EPSILON = 1e-6
"""Directions with less variance, in standardised features, are left out."""


ROUNDING = 1e-12
"""An eigenvalue below this is zero."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments of pairs (start, later), summed by block.

    Features are standardised by mean and standard deviation of all starts, so that results do not
    depend on their units.

    Parameters
    ----------
    counts
        Pairs in each block, ``(block,)``.
    first
        Sums of the features, ``(block, 2, feature)``: of starts and of later frames.
    second
        Sums of their products, ``(block, 3, feature, feature)``: start × start, start × later,
        later × later.
    """

    counts: Doubles
    first: Doubles
    second: Doubles

    @classmethod
    def of(
        cls,
        starts: NDArray[np.floating],
        later: NDArray[np.floating],
        blocks: Blocks,
        scale: tuple[Doubles, Doubles] | None = None,
    ) -> "Moments":
        """Sum over pairs.

        Parameters
        ----------
        starts, later
            ``(pair, feature)``.
        blocks
            One label for each pair.
        scale
            Mean and standard deviation to standardise by, ``(feature,)`` each; None: those of these
            starts.
        """
        if starts.ndim != 2 or starts.shape != later.shape or len(starts) != len(blocks.labels):
            raise InputError(
                f"pairs have shapes {starts.shape} and {later.shape} for {len(blocks.labels)} "
                "labels: expected (pair, feature) for both, and one label per pair"
            )
        mean, spread = scale or standardise(starts)
        x = (starts.astype(np.float64) - mean) / spread
        y = (later.astype(np.float64) - mean) / spread
        order = np.argsort(blocks.labels, kind="stable")
        ends = np.searchsorted(blocks.labels[order], np.arange(blocks.count + 1))
        features = x.shape[1]
        first = np.zeros((blocks.count, 2, features))
        second = np.zeros((blocks.count, 3, features, features))
        for block, (begin, end) in enumerate(pairwise(ends)):
            a, b = x[order[begin:end]], y[order[begin:end]]
            first[block] = a.sum(0), b.sum(0)
            second[block] = a.T @ a, a.T @ b, b.T @ b
        return cls(np.diff(ends).astype(np.float64), first, second)

    def covariances(self) -> Doubles:
        """Covariances C₀₀, C₀ₜ, Cₜₜ of all pairs, ``(3, feature, feature)``, about the means."""
        return _covariances(self.counts.sum(), self.first.sum(0), self.second.sum(0))

    def without_each(self) -> Doubles:
        """:meth:`covariances` with each block left out, ``(block, 3, feature, feature)``.

        None of a single block, without which no pair is left.
        """
        left = self.counts.sum() - self.counts
        some = left > 0
        return _covariances(
            left[some],
            (self.first.sum(0) - self.first)[some],
            (self.second.sum(0) - self.second)[some],
        )


def standardise(starts: NDArray[np.floating]) -> tuple[Doubles, Doubles]:
    """Mean and standard deviation of features ``(pair, feature)``; 1 where one is constant."""
    x = starts.astype(np.float64)
    spread = x.std(0)
    return x.mean(0), np.where(spread > 1e-9 * (1 + np.abs(x).max(0)), spread, 1.0)


def vamp2(moments: Moments, inflation: float = 1.0) -> Estimate:
    """VAMP-2 score of pairs, 1 + ‖C₀₀^−½ C₀ₜ Cₜₜ^−½‖²_F.

    The sum of squared singular values of the Koopman operator in the features, including that of
    the constant function: 1 where later frames are independent of the start, 1 + features where
    they are a linear function of it. A deterministic prediction is a function of the start, so its
    score measures how much of the start it *retains*, and a score above that of the truth is not
    better.

    It is scored on the pairs that it is fitted on, a bias of about features²/pairs.

    Parameters
    ----------
    moments
        Of the pairs.
    inflation
        Variance factor for the correlation of neighbouring blocks.

    Returns
    -------
    Estimate
        With a 95 % jackknife interval over blocks (t quantile, B − 1 degrees of freedom), limited
        to 1 and the highest possible score.

    References
    ----------
    H. Wu, F. Noé, J. Nonlinear Sci. 30, 23 (2020); deeptime: M. Hoffmann et al., Mach. Learn.: Sci.
    Technol. 3, 015009 (2022).
    """
    from deeptime.covariance import CovarianceModel
    from deeptime.decomposition import VAMP

    covariances = moments.covariances()
    c00, c0t, ctt = covariances
    score = 1.0
    if min(np.linalg.eigvalsh(each)[-1] for each in (c00, ctt)) > EPSILON:  # else nothing moves
        zero = np.zeros(len(c00))
        model = CovarianceModel(c00, c0t, ctt, zero, zero, data_mean_removed=True, lagtime=1)
        score = float(VAMP(epsilon=EPSILON).fit(model).fetch_model().score(2))
    low, high = half_widths(scores(moments.without_each()), inflation)
    most = 1 + min(directions(c00), directions(ctt))
    return Estimate(
        score,
        max(score + float(low), 1.0),
        min(score + float(high), max(score, most)),
        len(moments.counts),
        _count(moments),
    )


def directions(covariance: Doubles) -> int:
    """Rank of a covariance of standardised features; the score is at most one more."""
    return int((np.linalg.eigvalsh(covariance) > EPSILON).sum())


def scores(covariances: Doubles) -> Doubles:
    """VAMP-2 scores ``(...)`` of covariances ``(..., 3, feature, feature)``, in closed form."""
    c00, c0t, ctt = (covariances[..., k, :, :] for k in range(3))
    koopman = _inverse_root(c00) @ c0t @ _inverse_root(ctt)
    return np.asarray(1 + np.square(koopman).sum((-2, -1)))


def implied_timescales(
    moments: Moments, lag: float, most: int = 3, inflation: float = 1.0
) -> tuple[Estimate, ...]:
    """Slowest implied timescales −lag / ln λ of the transition start → later.

    λ are the eigenvalues of the conditional mean, the regression of later features on those of the
    start, K = C₀₀⁻¹ C₀ₜ. For a reversible process they are those of TICA. The regression does not
    depend on the variance of later frames: a model that predicts the mean, not a sample, has the
    timescales of the truth if its mean is right.

    Parameters
    ----------
    moments
        Of the pairs.
    lag
        Between start and later frame, in any unit.
    most
        Number of timescales.
    inflation
        Variance factor for the correlation of neighbouring blocks.

    Returns
    -------
    tuple of Estimate
        In the unit of the lag, slowest first. The interval is a jackknife of λ over blocks; its
        upper end is infinite where λ = 1 cannot be excluded, and a mode with λ ≤ 0 has timescale
        zero.
    """
    found = _eigenvalues(moments.covariances()[None])[0, :most]
    low, high = half_widths(_eigenvalues(moments.without_each())[:, :most], inflation)
    ends = np.stack([found, found + low, found + high], -1)
    blocks, count = len(moments.counts), _count(moments)
    return tuple(
        Estimate(_timescale(x, lag), _timescale(a, lag), _timescale(b, lag), blocks, count)
        for x, a, b in ends.tolist()
    )


@dataclass(frozen=True, eq=False)
class Components:
    """Slow components of a trajectory by TICA.

    Parameters
    ----------
    timescales
        ``(component,)`` in the unit of the lag, slowest first; zero where λ ≤ 0.
    projection
        The trajectory projected onto the components, ``(frame, component)``.
    """

    timescales: Doubles
    projection: Doubles


def tica(features: NDArray[np.floating], steps: int, spacing: float, most: int = 3) -> Components:
    """Time-lagged independent components of one trajectory (reversible, by deeptime).

    Parameters
    ----------
    features
        ``(frame, feature)``, evenly spaced.
    steps
        The lag, in frames.
    spacing
        Between frames, in any unit of time.
    most
        How many components.

    References
    ----------
    G. Pérez-Hernández et al., J. Chem. Phys. 139, 015102 (2013).
    """
    from deeptime.decomposition import TICA

    starts, later = lagged(features, steps)
    mean, spread = standardise(features)
    pairs = ((starts - mean) / spread, (later - mean) / spread)
    model = TICA(lagtime=1, epsilon=EPSILON).fit(pairs).fetch_model()
    values = np.asarray(model.singular_values, dtype=np.float64)
    # deeptime orders by magnitude, which puts first what alternates, with λ near −1
    kept = np.argsort(-values)[:most]
    times = np.array([_timescale(v, steps * spacing) for v in values[kept]])
    return Components(times, np.asarray(model.transform((features - mean) / spread))[:, kept])


def lagged(
    features: NDArray[np.floating], steps: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Pairs of frames ``steps`` apart, ``(pair, feature)`` each."""
    if not 1 <= steps < len(features):
        raise InputError(
            f"the lag is {steps} frames, expected 1 to {len(features) - 1} in a series of "
            f"{len(features)}"
        )
    return features[:-steps], features[steps:]


def _count(moments: Moments) -> int:
    return int(moments.counts.sum())


def _covariances(count: Doubles, first: Doubles, second: Doubles) -> Doubles:
    n = np.asarray(count)[..., None, None]
    x, y = first[..., 0, :] / n[..., 0], first[..., 1, :] / n[..., 0]
    means = [a[..., :, None] * b[..., None, :] for a, b in ((x, x), (x, y), (y, y))]
    return np.asarray(second / n[..., None] - np.stack(means, -3))


def _inverse_root(matrix: Doubles) -> Doubles:
    """Pseudo-inverse square root of symmetric matrices, eigenvalues below EPSILON left out."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > EPSILON
    root = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
    return np.asarray((vectors * root[..., None, :]) @ np.swapaxes(vectors, -1, -2))


def _eigenvalues(covariances: Doubles) -> Doubles:
    """Eigenvalues of C₀₀⁻¹ C₀ₜ, descending, ``(..., feature)``; of complex ones the modulus."""
    half = _inverse_root(covariances[..., 0, :, :])
    values = np.linalg.eigvals(half @ covariances[..., 1, :, :] @ half)
    size = np.where(np.abs(values.imag) > 1e-9 * np.abs(values), np.abs(values), values.real)
    return np.asarray(-np.sort(-size, axis=-1))


def _timescale(eigenvalue: float, lag: float) -> float:
    if np.isnan(eigenvalue):
        return float("nan")
    if eigenvalue >= 1 - 1e-9:  # one to rounding
        return float("inf")
    return float(-lag / np.log(eigenvalue)) if eigenvalue > ROUNDING else 0.0
