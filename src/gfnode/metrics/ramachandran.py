"""Densities of two dihedrals on the torus, basins, and transitions between basins.

For φ and ψ of a residue, and for any other two dihedrals. Angles are radians, the edges of basins
degrees, as is customary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gfnode.errors import InputError
from gfnode.metrics.blocks import Blocks, Estimate
from gfnode.metrics.distributions import bin_of, normalised, wrap
from gfnode.metrics.errors import mean_estimate
from gfnode.trajectory import Doubles, Integers

BINS = 60
"""Bins of a density along each angle, 6° wide."""

COARSE = 36
"""Bins along each angle for divergences, 10° wide."""

OTHER = "other"


@dataclass(frozen=True)
class Basin:
    """A rectangle on the torus of two angles.

    Parameters
    ----------
    name
        Name of the conformation.
    phi_deg, psi_deg
        Lower and upper end in degrees, the upper excluded; a range with lower > upper passes 180°.
    """

    name: str
    phi_deg: tuple[float, float]
    psi_deg: tuple[float, float]

    def holds(
        self, phi: ArrayLike, psi: ArrayLike
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Whether angles (radians) lie inside."""
        return _between(phi, self.phi_deg) & _between(psi, self.psi_deg)


BASINS = (
    Basin("alpha_R", (120, 0), (-120, 60)),
    Basin("beta", (120, 0), (60, -120)),
    Basin("alpha_L", (0, 120), (-120, 120)),
)
"""Basins of a residue with a side chain: right-handed helix; extended, with C5, C7eq and
polyproline II; left-handed helix, with C7ax. The rest, φ from 0 to 120° with ψ near 180°, is
``other``."""


def read_basins(items: Sequence[str]) -> tuple[Basin, ...]:
    """Parse user-defined basins, ``NAME=PHI:PHI,PSI:PSI`` in degrees.

    Raises
    ------
    InputError
        For another form, or a name that is given twice.
    """
    found: dict[str, Basin] = {}
    for item in items:
        name, _, text = item.partition("=")
        try:
            phi, psi = (tuple(map(float, part.split(":"))) for part in text.split(","))
            (phi0, phi1), (psi0, psi1) = phi, psi
        except ValueError:
            phi0 = phi1 = psi0 = psi1 = np.nan
        finite = np.isfinite([phi0, phi1, psi0, psi1]).all()
        if not name or name in (*found, OTHER) or not finite:
            raise InputError(
                f"--basin {item}: expected a new name and two ranges in degrees, "
                "NAME=PHI:PHI,PSI:PSI, e.g. alpha_R=-180:0,-120:60 or beta=120:0,60:-120"
            )
        found[name] = Basin(name, (phi0, phi1), (psi0, psi1))
    return tuple(found.values())


def density(phi: ArrayLike, psi: ArrayLike, bins: int = BINS) -> Doubles:
    """Probabilities of equal bins of two angles in radians, ``(phi, psi)``, from −π; sum one."""
    return normalised(counts(torus_bins(phi, psi, bins), bins).reshape(-1)).reshape(bins, bins)


def torus_bins(phi: ArrayLike, psi: ArrayLike, bins: int) -> Integers:
    """Flat bin index of each pair of angles: that of φ times ``bins`` plus that of ψ."""
    i, j = (bin_of(wrap(angle), -np.pi, np.pi, bins) for angle in (phi, psi))
    return i * bins + j


def counts(index: Integers, bins: int) -> Doubles:
    """Counts of the bins of :func:`torus_bins`, ``(phi, psi)``."""
    found = np.bincount(np.asarray(index).ravel(), minlength=bins * bins)
    return found.reshape(bins, bins).astype(np.float64)


def assign(phi: ArrayLike, psi: ArrayLike, basins: Sequence[Basin] = BASINS) -> Integers:
    """Index of the first basin that contains each pair of angles, else ``len(basins)``."""
    label = np.full(np.broadcast(phi, psi).shape, len(basins))
    for number, basin in reversed(list(enumerate(basins))):
        label[basin.holds(phi, psi)] = number
    return label


def populations(labels: Integers, blocks: Blocks, number: int) -> tuple[Estimate, ...]:
    """Population of each state with its interval over blocks of time.

    Intervals are those of :meth:`~gfnode.metrics.Estimate.of_share`. For a state that was never
    visited the upper limit is p with (1 − p)^B = 0.05 for B blocks; for one that was never left the
    lower limit is 1 − p.

    Parameters
    ----------
    labels
        ``(window,)`` or ``(window, time)``, 0 to ``number`` − 1.
    """
    found = []
    for state in range(number):
        each = mean_estimate((labels == state).astype(np.float64), blocks).of_share()
        low, high = each.low, each.high
        rare = 1 - 0.05 ** (1 / blocks.count)
        if each.value == 0 and blocks.count > 1:
            high = rare
        if each.value == 1 and blocks.count > 1:
            low = 1 - rare
        found.append(Estimate(each.value, low, high, each.blocks, each.count))
    return tuple(found)


def transitions(before: Integers, after: Integers, number: int) -> Integers:
    """Count matrix of transitions between states, ``(from, to)``.

    Parameters
    ----------
    before, after
        States 0 to ``number`` − 1, of one shape.
    """
    key = np.broadcast_to(before, np.shape(after)).ravel() * number + np.ravel(after)
    return np.bincount(key, minlength=number * number).reshape(number, number)


def passage_error(true: ArrayLike, predicted: ArrayLike) -> Doubles:
    """Total variation distance of predicted and true transition probabilities.

    Σ_i w_i ½ Σ_j |P̂_ij − P_ij|, with P the row-normalised counts and w the share of starts in basin
    i: the least fraction of predictions that would have to end in another basin. Basins without
    starts in either are left out.

    Parameters
    ----------
    true, predicted
        Counts ``(..., from, to)`` of the same starts.
    """
    wanted, mine = (np.asarray(each, dtype=np.float64) for each in (true, predicted))
    both = wanted.sum(-1) * (mine.sum(-1) > 0)
    total, shares = both.sum(-1), normalised(both)
    apart = np.abs(normalised(mine) - normalised(wanted)).sum(-1) / 2
    return np.where(total > 0, (shares * apart).sum(-1), np.nan)


def _between(
    angle: ArrayLike, ends_deg: tuple[float, float]
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Whether angles lie in [low, high) on the circle."""
    low, high = ends_deg
    degrees = np.round(np.degrees(np.asarray(angle, dtype=np.float64)), 9)  # one side of an edge
    with np.errstate(invalid="ignore"):
        above = np.mod(degrees - low, 360.0)
    width = (high - low) % 360.0
    return np.asarray(above < (width if width else 360.0))
