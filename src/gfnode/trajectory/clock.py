"""Whether the time between frames fits what molecules do, in words.

How that is found out is in :mod:`gfnode.molecule.clock`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gfnode.units import format_time

TOLERANCE = 0.2
"""The clock of vibrations is trusted to this share: wavenumbers of molecules differ by that."""

_NICE = (0.1, 0.2, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)


@dataclass(frozen=True)
class Clock:
    """Whether the time between frames fits.

    Parameters
    ----------
    bond
        Which bonds swing: ``C-H``, …; None where no clock can be read.
    bonds
        How many of them.
    why_not
        ``no hydrogen``, ``rigid``, ``too far apart``, or None.
    angle
        Angle in radians by which the swing advances in one time step.
    wavenumber
        At which it then swings if the time step is right, 1/cm; and what is usual.
    step_fs
        The time step that fits.
    step_stored_fs
        That which stored velocities and displacements give, where both are known.
    swing_fits, fits
        Whether the stated step agrees with the swing, and with both clocks; None where there are
        none.
    too_hot
        Displacements between frames would need more than 3000 K.
    """

    stated_fs: float | None
    bond: str | None
    bonds: int
    why_not: str | None
    angle: float | None
    wavenumber: float | None
    usual_wavenumber: float | None
    step_fs: float | None
    step_stored_fs: float | None
    swing_fits: bool | None
    fits: bool | None
    too_hot: bool

    @property
    def wrong(self) -> Literal["time-step", "velocity-unit", "too-hot"] | None:
        """What does not fit: the step, the unit of velocities, or something; None: all does."""
        if self.fits is not False:
            return None
        if self.step_fs is None and self.step_stored_fs is None:
            return "too-hot"
        return "velocity-unit" if self.swing_fits else "time-step"

    @property
    def better_fs(self) -> float | None:
        """The round time step that both clocks, or the one that is known, ask for; else None."""
        found = self.step_fs or self.step_stored_fs
        return None if found is None else nice(found)

    @property
    def words(self) -> str:
        """Say what does not fit; empty where all does."""
        if self.wrong is None:
            return ""
        assert self.stated_fs is not None
        stated = format_time(self.stated_fs)
        if self.wrong == "too-hot":
            return (
                f"atoms move further between frames than at 3000 K, so {stated} between frames is "
                "too short: give the right time with --step"
            )
        if self.wrong == "velocity-unit":
            assert self.step_stored_fs is not None
            return (
                "stored velocities fit a step of "
                f"{format_time(float(f'{self.step_stored_fs:.2g}'))}, but bond vibrations fit "
                f"{stated}: positions and velocities are not in Å and Å/fs; convert both, or "
                "leave the velocities out"
            )
        assert self.better_fs is not None
        why = "stored velocities fit this step"
        if self.step_fs is not None:
            assert self.bond is not None
            why = f"its {self.bond.replace('-', '–')} bond vibrations fit this step"
        return f"the time step is about {format_time(self.better_fs)}, not {stated}: {why}"


def agree(step: float, stated: float) -> bool:
    """Whether two time steps are the same, as far as clocks can be trusted."""
    return bool(abs(np.log(step / stated)) < np.log(1 + TOLERANCE))


def nice(step: float) -> float:
    """The round time step next to an estimate, if one is near."""
    best = min(_NICE, key=lambda each: abs(np.log(step / each)))
    return best if agree(step, best) else float(f"{step:.2g}")
