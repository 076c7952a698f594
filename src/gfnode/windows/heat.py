"""How fast the atoms of starts move, beside those of training.

A wrong time step or unit, and velocities that are differences of rounded positions, show here: a
model that is told them predicts nonsense.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gfnode.trajectory import Doubles, Floats
from gfnode.units import BOLTZMANN, format_time
from gfnode.windows.rounding import coarseness

BEYOND = 2.0
"""The usual start may lie beyond all of training by this factor."""

_LARGE = 0.3  # share of a temperature; what adds so much to it explains it


def temperatures(velocities: NDArray[np.floating], masses: Doubles) -> Doubles:
    """T = Σ m v²/(3 N k_B) of each start, ``(start,)`` in K.

    Parameters
    ----------
    velocities
        ``(start, atom, 3)`` in Å/fs.
    masses
        ``(atom,)`` in u.
    """
    squares = np.square(velocities, dtype=np.float64).sum(-1)
    found: Doubles = squares @ masses / (3 * len(masses) * BOLTZMANN)
    return found


def rounding_temperature(size: float, gap: float | None, masses: Doubles) -> float:
    """What rounding of positions adds to a temperature of differences, in K over 3N.

    A difference of two numbers rounded to q is off by q²/6 in the mean square, and over a time g so
    is a velocity by q²/6g². No gap: velocities are stored.
    """
    return float(masses.mean()) * size**2 / (6 * gap**2 * BOLTZMANN) if gap else 0.0


@dataclass(frozen=True)
class Heat:
    """Temperatures of starts in training, K over 3N.

    Parameters
    ----------
    lowest, highest
        Of all starts.
    rounding
        What rounding of positions adds to them.
    """

    lowest: float
    highest: float
    rounding: float

    @classmethod
    def of(
        cls,
        velocities: NDArray[np.floating],
        masses: Doubles,
        positions: Floats,
        gap: float | None,
    ) -> Self:
        """That of starts of training; see :meth:`warn_of`."""
        found = temperatures(velocities, masses)
        rounding = rounding_temperature(coarseness(positions), gap, masses)
        return cls(float(found.min()), float(found.max()), rounding)

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> Self | None:
        """What a run noted; None where it did not."""
        noted = facts.get("start_temperature_k")
        return None if noted is None else cls(*noted)

    def warn_of(
        self,
        velocities: NDArray[np.floating],
        masses: Doubles,
        positions: Floats,
        gap: float | None,
        label: str,
        *,
        stacklevel: int = 4,
    ) -> None:
        """Warn where starts move at another temperature than those of training.

        Parameters
        ----------
        velocities, masses
            As of :func:`temperatures`.
        positions, gap
            Of the starts, and the time in fs over which velocities are differences of positions;
            None: they are stored.
        label
            What they are from.
        """
        found = float(np.median(temperatures(velocities, masses)))
        usual = self.lowest / BEYOND <= found <= self.highest * BEYOND
        size = coarseness(positions)
        noise = rounding_temperature(size, gap, masses)
        rounded = noise > max(_LARGE * found, BEYOND * self.rounding)
        if usual and not rounded:
            return
        why = (
            "check the time between frames (--step) and the unit; or is this another kind of "
            "simulation?"
        )
        if rounded:
            assert gap is not None
            why = (
                f"positions are rounded to {size:.2g} Å, too coarse for velocities from "
                f"differences over {format_time(abs(gap))}; give a file with more digits, or with "
                "velocities"
            )
        elif not found:
            why = (
                "the model was not trained on atoms at rest; draw velocities at the training "
                "temperature"
            )
        warnings.warn(
            f"{label}: atoms start at {found:.3g} K, in training at {self.lowest:.3g} to "
            f"{self.highest:.3g} K (over 3N degrees of freedom): {why}",
            stacklevel=stacklevel,
        )
