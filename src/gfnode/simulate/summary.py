"""What a finished simulation was like: temperature, energy, momenta."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gfnode.metrics.blocks import Estimate, t_quantile
from gfnode.trajectory import Doubles
from gfnode.units import BOLTZMANN, FS_PER, KCAL_MOL

BLOCKS = 10
"""Intervals are over so many stretches of time."""


@dataclass(frozen=True)
class Summary:
    """What a finished simulation was like.

    Parameters
    ----------
    frames, time_fs
        Number of frames, and the time from the first one to the last.
    temperature
        2 K over (degrees k_B), in K.
    degrees
        That it is of.
    drift
        Slope of the conserved energy, in kcal/mol an atom and ns; nan where it is not known.
    spread
        Standard deviation of the conserved energy about that line, in kcal/mol an atom.
    momentum, angular_momentum
        Largest size over that in a heat bath of the same temperature.
    """

    frames: int
    time_fs: float
    temperature: Estimate
    degrees: int
    drift: float
    spread: float
    momentum: float
    angular_momentum: float

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for the record."""
        return {
            "frames": self.frames,
            "time_fs": self.time_fs,
            "temperature_K": self.temperature.value,
            "temperature_low_K": self.temperature.low,
            "temperature_high_K": self.temperature.high,
            "degrees_of_freedom": self.degrees,
            "energy_drift_kcal_mol_atom_ns": self.drift,
            "energy_spread_kcal_mol_atom": self.spread,
            "momentum_over_thermal": self.momentum,
            "angular_momentum_over_thermal": self.angular_momentum,
        }


def block_mean(values: ArrayLike) -> Estimate:
    """Mean of a series ``(frame,)``, with the t interval of the means of `BLOCKS` equal parts."""
    series = np.asarray(values, dtype=np.float64)
    mean = float(series.mean())
    size = len(series) // BLOCKS
    if not size:
        return Estimate(mean, np.nan, np.nan, 0, len(series))
    means = series[len(series) - BLOCKS * size :].reshape(BLOCKS, size).mean(1)
    half = float(t_quantile(BLOCKS - 1) * means.std(ddof=1) / np.sqrt(BLOCKS))
    return Estimate(mean, mean - half, mean + half, BLOCKS, len(series))


def summarise(
    frames: NDArray[Any], masses: Doubles, degrees: int, spacing: float, particles: int
) -> Summary:
    """Look at stored frames.

    Parameters
    ----------
    frames
        Structured array ``(frame,)`` with positions, velocities and energies.
    masses
        ``(atom,)`` in u.
    degrees
        Degrees of freedom of the temperature.
    spacing
        Time between frames in fs.
    particles
        Number of atoms that the energies are of.
    """
    _, kinetic, conserved = np.asarray(frames["energies"], dtype=np.float64).T
    temperature = 2 * kinetic / (degrees * BOLTZMANN)
    drift = spread = float("nan")
    if len(frames) > 2 and np.isfinite(conserved).all():
        times = spacing * np.arange(len(frames))
        slope, begin = np.polyfit(times, conserved - conserved[0], 1)
        rest = conserved - conserved[0] - (begin + slope * times)
        unit = KCAL_MOL * particles
        drift, spread = float(slope * FS_PER["ns"] / unit), float(rest.std() / unit)
    some = frames[:: max(1, len(frames) // 1000)]
    linear, angular = _momenta(some, masses, float(temperature.mean()))
    return Summary(
        len(frames),
        (len(frames) - 1) * spacing,
        block_mean(temperature),
        degrees,
        drift,
        spread,
        linear,
        angular,
    )


def _momenta(frames: NDArray[Any], masses: Doubles, temperature: float) -> tuple[float, float]:
    """Largest momenta over their thermal sizes."""
    from torch import from_numpy  # late: a simulation does without it

    from gfnode.geometry import angular_momentum, momentum, thermal_momenta

    x, v = (from_numpy(frames[key].astype(np.float64)) for key in ("positions", "velocities"))
    m = from_numpy(masses)
    linear, angular = (p.norm(dim=-1).max() for p in (momentum(v, m), angular_momentum(x, v, m)))
    thermal = thermal_momenta(x, m, BOLTZMANN * max(temperature, 1e-9))
    return float(linear) / thermal[0], float(angular) / max(thermal[1], 1e-12)  # one atom: zero
