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


@dataclass(frozen=True)
class Heat:
    """The lowest and the highest temperature of starts in training, K over 3N."""

    lowest: float
    highest: float

    @classmethod
    def of(cls, velocities: NDArray[np.floating], masses: Doubles) -> Self:
        """That of starts of training; both as of :func:`temperatures`."""
        found = temperatures(velocities, masses)
        return cls(float(found.min()), float(found.max()))

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> Self | None:
        """What a run noted; None where it did not."""
        noted = facts.get("start_temperature_k")
        return None if noted is None else cls(*noted)

    def warn_of(
        self,
        velocities: NDArray[np.floating],
        masses: Doubles,
        label: str,
        *,
        positions: Floats | None = None,
        gap: float | None = None,
        stacklevel: int = 4,
    ) -> None:
        """Warn where starts move at another temperature than those of training.

        Parameters
        ----------
        velocities, masses
            As of :func:`temperatures`.
        label
            What they are from.
        positions, gap
            Of the starts, and the time in fs over which velocities are differences of positions;
            None: they are stored.
        """
        found = float(np.median(temperatures(velocities, masses)))
        if self.lowest / BEYOND <= found <= self.highest * BEYOND:
            return
        why = "is the time between frames right (--step), and the unit, or is it another motion?"
        if not found:
            why = "the model has seen no start at rest; draw velocities of that temperature"
        elif positions is not None and gap and (size := coarseness(positions)):
            # a difference of two rounded numbers is off by size²/6 in the mean square
            noise = float(masses.mean()) * size**2 / (6 * gap**2 * BOLTZMANN)
            if noise > _LARGE * found:
                why = (
                    f"positions are rounded to {size:.2g} Å, so that differences over "
                    f"{format_time(abs(gap))} tell nothing of velocities; give a file with more "
                    "digits, or with velocities"
                )
        warnings.warn(
            f"{label}: atoms start at {found:.3g} K, in training at {self.lowest:.3g} to "
            f"{self.highest:.3g} K (over 3N degrees of freedom): {why}",
            stacklevel=stacklevel,
        )
