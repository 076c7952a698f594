"""Temporal power spectra: of any vector-valued series, and of the velocities of a molecule.

Every spectrum is one-sided, with a Hann window and without zero padding. A segment of length T has
a resolution of 1/T; a line is 1.44/T wide (full width at half maximum), and its leakage decays with
the sixth power of the distance. Series must be evenly spaced, see :func:`spacing_of`. Frequencies
are 1/ps; times :data:`PER_CM` they are wavenumbers in 1/cm.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import signal

from gfnode.errors import InputError
from gfnode.metrics.correlation import CHUNK
from gfnode.thinning import chunks
from gfnode.trajectory import Doubles
from gfnode.units import BOLTZMANN, WAVENUMBER, format_time

PER_CM = 2e-3 * np.pi / WAVENUMBER
"""Wavenumber in 1/cm of a frequency of 1/ps: 1/(c · 1 ps)."""


def power_spectrum(
    values: ArrayLike, spacing_ps: float, *, centre: bool = True
) -> tuple[Doubles, Doubles]:
    """Power spectral density of vector-valued series, summed over their components.

    A Hann window is applied. Summed over the modes of an eigenspace and the three directions it is
    independent of the choice of eigenvectors and of the orientation.

    Parameters
    ----------
    values
        ``(..., time, component)``.
    spacing_ps
        Between the times.
    centre
        Subtract the mean of each series first: not from velocities, whose mean is a motion.

    Returns
    -------
    tuple
        Frequencies ``(frequency,)`` in 1/ps, and density ``(..., frequency)`` in the squared unit
        of the values times ps. Its integral is the mean square of the vector (Parseval, of the
        windowed series).
    """
    x = np.asarray(values)
    if x.ndim < 2 or x.shape[-2] < 4 or not spacing_ps > 0:
        raise InputError(
            f"a spectrum needs series (..., time, component) of four times or more and a positive "
            f"spacing, got shape {x.shape} and {spacing_ps} ps"
        )
    flat = x.reshape(-1, *x.shape[-2:])
    pieces = []
    for part in chunks(len(flat), CHUNK, flat[0].size):
        series = flat[part].astype(np.float64)
        frequency, power = signal.periodogram(
            series, 1 / spacing_ps, window="hann", detrend=centre and "constant", axis=1
        )
        pieces.append(power.sum(-1))
    return frequency, np.concatenate(pieces).reshape(*x.shape[:-2], len(frequency))


def welch(
    values: NDArray[np.floating],
    spacing_ps: float,
    segment: int,
    blocks: int,
    *,
    centre: bool = True,
) -> tuple[Doubles, Doubles]:
    """Power spectral density of one long series, by Welch's method in each of some blocks of time.

    Segments overlap by half, and belong to the block in which their first half ends. Overlapping
    segments have a correlation of only 1/36 under a Hann window, so that the variance between
    blocks still gives the error of their mean.

    Parameters
    ----------
    values
        ``(time, component)``.
    spacing_ps
        Between the times.
    segment
        Times in a segment.
    blocks
        Number of blocks; fewer where they would be shorter than a segment.
    centre
        Subtract the mean of each segment first.

    Returns
    -------
    tuple
        Frequencies ``(frequency,)`` and density ``(block, frequency)``, summed over components, as
        of :func:`power_spectrum`.
    """
    times, components = values.shape
    if segment < 4 or segment > times:
        raise InputError(f"a segment has {segment} times, expected 4 to {times}")
    blocks = max(1, min(blocks, times // segment))
    edges = np.linspace(0, times, blocks + 1).astype(np.int64)
    found = np.zeros((blocks, segment // 2 + 1))
    for block, (begin, end) in enumerate(pairwise(edges)):
        for part in chunks(components, CHUNK * blocks, times):
            frequency, power = signal.welch(
                values[begin : end + segment // 2, part].astype(np.float64),
                1 / spacing_ps,
                window="hann",
                nperseg=segment,
                detrend=centre and "constant",
                axis=0,
            )
            found[block] += power.sum(-1)
    return frequency, found


def spacing_of(times_fs: ArrayLike) -> float:
    """Spacing of evenly spaced times, in fs.

    Raises
    ------
    InputError
        When the times are uneven or fewer than 4.
    """
    steps = np.diff(np.asarray(times_fs, dtype=np.float64))
    if len(steps) < 3:
        raise InputError(f"a spectrum needs at least 4 frames, got {len(steps) + 1}")
    if np.ptp(steps) > 1e-3 * steps.mean():
        raise InputError(
            "spectra need frames evenly spaced in time, but these are "
            f"{format_time(float(steps.min()))} to {format_time(float(steps.max()))} apart. A "
            "file with frames left out (rMD17) has no spectrum; use the original series, or a "
            "stretch without gaps"
        )
    return float(steps.mean())


def differences(positions: NDArray[np.floating], spacing_fs: float) -> Doubles:
    """Velocities ``(..., time − 1, atom, 3)`` in Å/fs halfway between positions ``(..., time, …)``.

    They attenuate a vibration by sin(πfΔ)/(πfΔ); :func:`difference_gain` corrects for it.
    """
    return np.diff(positions.astype(np.float64), axis=-3) / spacing_fs


def difference_gain(frequency: Doubles, spacing_ps: float) -> Doubles:
    """Correction factor for the power of :func:`differences`: (πfΔ / sin πfΔ)², 1 to 2.47."""
    return np.asarray(np.sinc(frequency * spacing_ps) ** -2)


def state_weights(masses: Doubles) -> Doubles:
    """Weight of each velocity component in the kinetic temperature, ``(3 atom,)`` in K fs²/Å².

    T = Σ m v² / (3 N k_B): all 3N degrees of freedom, as MD17 counts them.
    """
    return np.repeat(masses / (3 * len(masses) * BOLTZMANN), 3)


def mean_frequency(frequency: Doubles, power: Doubles) -> Doubles:
    """Power-weighted mean frequency Σ f P / Σ P over f > 0, ``(...)``, of ``(..., frequency)``."""
    f, P = frequency[1:], power[..., 1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((P @ f) / P.sum(-1))


@dataclass(frozen=True)
class Peak:
    """A maximum of a spectrum: its frequency, and its height relative to the highest one."""

    frequency_per_ps: float
    wavenumber_per_cm: float
    height: float


def peaks(
    frequency: Doubles, power: Doubles, *, prominence: float = 0.02, most: int = 12
) -> tuple[Peak, ...]:
    """Prominent maxima, by ascending frequency.

    Frequencies are interpolated by a parabola through the logarithms of three bins, accurate to a
    few hundredths of a bin for a line under a Hann window. Two lines closer than about twice the
    resolution give one peak.

    Parameters
    ----------
    frequency, power
        ``(frequency,)``.
    prominence
        Least prominence, as a share of the highest maximum.
    most
        Number of peaks, at most; the most prominent are kept.
    """
    top = float(power.max(initial=0.0))
    if top <= 0:
        return ()
    found, facts = signal.find_peaks(power, prominence=prominence * top)
    chosen = np.sort(found[np.argsort(facts["prominences"])[::-1][:most]])
    step = float(frequency[1] - frequency[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b, c = (np.log(power[chosen + k]) for k in (-1, 0, 1))
        shift = np.nan_to_num(0.5 * (a - c) / (a - 2 * b + c))
    places = frequency[chosen] + step * np.clip(shift, -0.5, 0.5)
    return tuple(
        Peak(float(f), float(f * PER_CM), float(h))
        for f, h in zip(places, power[chosen] / top, strict=True)
    )
