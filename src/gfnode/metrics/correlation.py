"""Autocorrelation of series, and integrated autocorrelation times."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from gfnode.errors import InputError
from gfnode.thinning import chunks
from gfnode.trajectory import Doubles

CHUNK = 4_000_000
"""Values that are transformed at once (32 MB as float64, and as much for zero padding)."""

WIDTH = 5.0
"""Length of Sokal's summation window, in autocorrelation times."""


def autocorrelation(
    values: ArrayLike,
    most: int | None = None,
    *,
    weights: ArrayLike | None = None,
    centre: bool = True,
) -> Doubles:
    """Normalised autocorrelation of vector-valued series, C(k) = ⟨a(t)·a(t+k)⟩ / ⟨a·a⟩.

    Summed over components (with weights) and averaged over windows before normalisation. Each lag
    is averaged over its T − k pairs (the unbiased estimator) of a series of length T. By FFT, with
    zero padding to at least T + most against wrap-around.

    Parameters
    ----------
    values
        ``(window, time, component)``, or ``(time, component)`` for one series.
    most
        Largest lag in steps; None is half of the series.
    weights
        Of the components, ``(component,)``: masses make it that of the momenta.
    centre
        Subtract the mean over all windows and times from each component.

    Returns
    -------
    Doubles
        ``(lag,)`` from lag zero, where it is one; nan where nothing moves.

    Raises
    ------
    InputError
        For series that are too short or of another shape.
    """
    x = np.asarray(values)
    x = x[None] if x.ndim == 2 else x
    if x.ndim != 3 or x.shape[1] < 2 or not x.size:
        raise InputError(
            f"a series has shape {np.shape(values)}, expected (time, component) or "
            "(window, time, component) with two times or more"
        )
    windows, times, components = x.shape
    most = times // 2 if most is None else min(most, times - 1)
    weight = np.ones(components) if weights is None else np.asarray(weights, dtype=np.float64)
    padded = fft.next_fast_len(times + most + 1, real=True)
    total = np.zeros(most + 1)
    for part in chunks(components, CHUNK, windows * times):
        series = x[..., part].astype(np.float64)
        if centre:
            series = series - series.mean((0, 1))
        spectrum = fft.rfft(series, padded, axis=1)
        power = (np.square(spectrum.real) + np.square(spectrum.imag)) @ weight[part]
        total += fft.irfft(power.sum(0), padded)[: most + 1]
    total /= times - np.arange(most + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(total[0] > 0, total / total[0], np.nan))


def integrated_time(correlation: NDArray[np.floating], spacing: float) -> tuple[float, bool]:
    """Integrated autocorrelation time τ = Δ (½ + Σ_{k≥1} C(k)).

    The sum stops at the first lag that is five times the time summed so far (Sokal's
    self-consistent window): beyond, it would add only noise. A decay e^(−t/τ) gives τ up to
    discretisation, Δ/2 coth(Δ/2τ).

    Parameters
    ----------
    correlation
        C(k) from lag zero, ``(lag,)``.
    spacing
        Δ between lags, in any unit of time.

    Returns
    -------
    float, bool
        τ in that unit, and whether the lags reached far enough; where not, τ is a lower bound.

    References
    ----------
    A. Sokal, in Functional Integration, Springer (1997), section 3.
    """
    c = np.asarray(correlation, dtype=np.float64)
    if not np.isfinite(c).all() or len(c) < 2:
        return float("nan"), False
    summed = np.cumsum(c) - 0.5
    enough = np.flatnonzero(np.arange(len(c)) >= WIDTH * summed)
    enough = enough[enough > 0]
    if not len(enough):
        return float(max(summed[-1], 0.0) * spacing), False
    return float(max(summed[enough[0]], 0.0) * spacing), True


def memory_time(values: ArrayLike, spacing: float) -> tuple[float, bool]:
    """Correlation time 2 ∫ C² of series with normalised autocorrelation C.

    C is squared so that oscillations do not cancel; a decay e^(−t/τ) gives τ, as of
    :func:`integrated_time`.

    Parameters
    ----------
    values
        As of :func:`autocorrelation`.
    spacing
        Between the times, in any unit of time.

    Returns
    -------
    float, bool
        As of :func:`integrated_time`.
    """
    return integrated_time(np.square(autocorrelation(values)), 2 * spacing)
