"""Kinetic temperatures of starts, compared with those of training.

They reveal a wrong time step or unit, and velocities that are differences of rounded positions,
from which a model predicts nonsense.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gfnode.trajectory import Doubles, Floats
from gfnode.trajectory.temperature import kinetic_temperature
from gfnode.units import BOLTZMANN, format_time
from gfnode.windows.rounding import coarseness

BEYOND = 2.0
"""Factor by which the median temperature of starts may exceed the range of training."""

_LARGE = 0.3  # fraction of a temperature above which rounding noise explains a deviation


def rounding_temperature(size: float, gap: float | None, masses: Doubles) -> float:
    """Contribution of rounded positions to a temperature from finite differences, in K over 3N.

    A difference of two numbers rounded to q has a mean squared error of q²/6, and a velocity over a
    time g one of q²/6g². Zero without a gap, for stored velocities.
    """
    return float(masses.mean()) * size**2 / (6 * gap**2 * BOLTZMANN) if gap else 0.0


@dataclass(frozen=True)
class StartTemperatures:
    """Temperatures of starts in training, K over 3N.

    Parameters
    ----------
    lowest, highest
        Over all starts.
    rounding
        Contribution of rounded positions.
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
        """Temperatures of training starts; arguments as of :meth:`warn_of`."""
        found = kinetic_temperature(velocities, masses)
        rounding = rounding_temperature(coarseness(positions), gap, masses)
        return cls(float(found.min()), float(found.max()), rounding)

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> Self | None:
        """Read from the facts of a run; None where it stored none."""
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
        """Warn where the temperature of starts differs from that of training.

        Parameters
        ----------
        velocities, masses
            As of :func:`gfnode.trajectory.temperature.kinetic_temperature`.
        positions, gap
            Positions of the starts, and the time in fs over which velocities are differences of
            positions; None: they are stored.
        label
            Name of the data, for the message.
        """
        found = float(np.median(kinetic_temperature(velocities, masses)))
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
