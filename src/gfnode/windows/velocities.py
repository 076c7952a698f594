"""Velocities of starts: stored, or finite differences to the next or the previous frame."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gfnode.errors import InputError
from gfnode.trajectory import SHORT_GAP, Doubles, Floats, Integers, Trajectory
from gfnode.units import format_time
from gfnode.windows.rounding import steadied
from gfnode.windows.spacing import far_apart
from gfnode.windows.temperature import StartTemperatures

if TYPE_CHECKING:
    from gfnode.windows.cutting import WindowSettings

Array = TypeVar("Array", Tensor, NDArray[Any])


def over_gap(mean: Array, gap: Array, wanted: Array | float, now: Array, later: Array) -> Array:
    """Convert a mean velocity over one gap to that over another gap from the same frame.

    With v̄ the mean velocity over a gap g, a and a' the accelerations at its ends::

        v̄ + (m − g) a/2 + (m² − g²) (a' − a)/(6 g)

    for a gap of m, exact to third order. A mean velocity is that of the middle of its gap, which
    for uneven gaps, as in rMD17, lies now a quarter, now a whole femtosecond after the start.

    Parameters
    ----------
    mean
        ``(..., atom, 3)`` in Å/fs.
    gap, wanted
        Given and wanted gap in fs; broadcast to ``mean``.
    now, later
        Accelerations at the beginning and the end of ``gap``, as ``mean`` in Å/fs².
    """
    jerk = (later - now) / gap
    return mean + (wanted - gap) / 2 * now + (wanted**2 - gap**2) / 6 * jerk


@dataclass(frozen=True)
class VelocityRule:
    """Definition of velocities in training, to be applied in prediction.

    Parameters
    ----------
    kind, successor_steps
        See :class:`gfnode.windows.cutting.WindowSettings`.
    gap
        Median time in fs over which they are differences, where known; negative for differences
        to the previous frame. Stored velocities are instantaneous: where training had differences
        over more than :data:`~gfnode.trajectory.SHORT_GAP`, and ``auto`` chose them, differences
        are also used for frames that store velocities.
    steady
        Whether momenta of rounded frames are averaged over a longer time.
    heat
        Temperatures of starts in training, where known.
    """

    kind: str = "auto"
    successor_steps: int = 4
    gap: float | None = None
    steady: bool = True
    heat: StartTemperatures | None = None

    @classmethod
    def of(cls, windows: "WindowSettings", facts: Mapping[str, Any]) -> "VelocityRule":
        """The rule of a run, from its settings and the facts it stored about its data."""
        steady = not windows.split.startswith("published")
        gap = facts.get("velocity_gap_fs")
        heat = StartTemperatures.read(facts)
        return cls(windows.velocities, windows.successor_steps, gap, steady, heat)

    @property
    def takes_instants(self) -> bool:
        """Whether instantaneous velocities are equivalent to those of training."""
        return self.gap is None or abs(self.gap) <= SHORT_GAP

    def toward(self, state: Trajectory) -> int:
        """Direction of differences: 1 to the next frame, −1 to the previous one.

        Where training does not determine it, as with stored velocities, it follows from
        :func:`gfnode.windows.spacing.far_apart`.
        """
        if self.kind == "auto" and self.takes_instants:
            return -1 if far_apart(state, self.successor_steps) else 1
        return -1 if self.kind == "backward" or (self.gap or 0.0) < 0 else 1

    def first(self, state: Trajectory) -> int:
        """Index of the first frame that has a velocity."""
        stored = state.velocities is not None and self.takes_stored
        return 1 if not stored and len(state) > 1 and self.toward(state) < 0 else 0

    @property
    def takes_stored(self) -> bool:
        """Whether stored velocities take precedence over differences."""
        return self.kind == "stored" or (self.kind == "auto" and self.takes_instants)

    def alike(self, gap: float | None) -> bool:
        """Whether velocities over a gap in fs (None: stored) compare with those of training."""
        mine, other = abs(self.gap or 0.0), abs(gap or 0.0)
        return max(mine, other) <= max(SHORT_GAP, 2 * min(mine, other))

    def warn_if_far(
        self, longest: float, time_step: float, toward: int, stacklevel: int = 3
    ) -> None:
        """Warn where the longest gap exceeds those of training; ``longest``, ``time_step`` in fs.

        In training, gaps of uneven frames were up to ``successor_steps`` time steps of the original
        series, and all gaps about as long as their median if it is long.
        """
        limit = self.successor_steps * time_step
        told = f"at most {format_time(limit)}"
        if self.gap is not None:
            usual = abs(self.gap)
            limit = max(usual, min(limit, max(SHORT_GAP, 2 * usual)))
            told = f"mostly {format_time(usual)}"
        if longest > limit * (1 + 1e-3):
            beside = "next frame is {} after" if toward > 0 else "frame before is {} before"
            warnings.warn(
                f"the {beside.format(format_time(longest))} the start, but the model was trained "
                f"on velocities from frames {told} apart",
                stacklevel=stacklevel,
            )

    def at(
        self, state: Trajectory, frames: Integers, time_step: float, whole: Trajectory | None = None
    ) -> Floats:
        """Velocities at some frames, ``(frame, atom, 3)`` in Å/fs.

        Warns where the temperature differs from that of training, or a gap is longer.

        Parameters
        ----------
        state
            A trajectory of the state atoms.
        frames
            Indices of frames, from 0.
        time_step
            Of the training data in fs. The adjacent frame should be at most ``successor_steps`` of
            them away.
        whole
            The same frames with all atoms, where known: momenta are computed over these.

        Raises
        ------
        InputError
            For a frame whose velocities are neither stored nor found from the frame beside it.
        """
        found, gap = self._at(state, frames, time_step, whole)
        if self.heat is not None and self.alike(gap):
            x = state.positions[frames]
            self.heat.warn_of(found, state.masses, x, gap, state.label, stacklevel=5)
        return found

    def _at(
        self, state: Trajectory, frames: Integers, time_step: float, whole: Trajectory | None
    ) -> tuple[Floats, float | None]:
        """As :meth:`at`, with the median gap of the differences in fs; None: all are stored."""
        stored = state.velocities
        if stored is not None and self.takes_stored:
            return stored[frames], None
        toward = self.toward(state)
        beside = frames + toward
        alone = (beside < 0) | (beside >= len(state))
        if self.kind == "stored" or (stored is None and alone.any()):
            raise InputError(self._unknown(state, frames, alone, toward))
        if stored is not None and alone.any() and not self.takes_instants:
            assert self.gap is not None
            warnings.warn(
                f"the model was trained on velocities from frames {format_time(abs(self.gap))} "
                "apart, but the stored ones are instantaneous: better give a start together with "
                f"the frame {'after' if toward > 0 else 'before'} it",
                stacklevel=4,
            )
        found = np.empty((len(frames), *state.positions.shape[1:]), np.float32)
        if stored is not None:
            found[alone] = stored[frames[alone]]
        if alone.all():
            return found, None
        frames, beside = frames[~alone], beside[~alone]
        gaps = state.times[beside] - state.times[frames]
        self.warn_if_far(float(np.abs(gaps).max()), time_step, toward, stacklevel=5)
        found[~alone] = self._differences(state, frames, beside, gaps)
        if self.steady and toward > 0:
            found[~alone] += self._steadying(state, frames, whole or state)
        return found, float(np.median(gaps))

    def _unknown(
        self, state: Trajectory, frames: Integers, alone: NDArray[np.bool_], toward: int
    ) -> str:
        """Message that a velocity is neither stored nor found from the frame beside it."""
        number = 0 if self.kind == "stored" else int(alone.argmax())
        beside = "next frame" if toward > 0 else "frame before it"
        return (
            f"the velocities at frame {frames[number]} of {state.label} are unknown: it stores none"
            + (f" and has no {beside}" if alone[number] else "")
            + "; start from a trajectory with velocities, or from a frame "
            + ("before the last" if toward > 0 else "after the first")
        )

    def _differences(
        self, state: Trajectory, frames: Integers, beside: Integers, gaps: Doubles
    ) -> Floats:
        """Mean velocities between frames, ``(frame, atom, 3)``.

        Over the gap of training, if both are short and the state has forces.
        """
        change = state.positions[beside] - state.positions[frames]
        over: NDArray[Any] = gaps[:, None, None]
        found: NDArray[Any] = (change / over).astype(np.float32)
        if state.forces is not None and self.gap is not None:
            now, later = (state.forces[at] / state.masses[:, None] for at in (frames, beside))
            evened = over_gap(found, over, self.gap, now, later)
            short = np.maximum(np.abs(gaps), abs(self.gap)) <= SHORT_GAP
            found[short] = evened[short].astype(np.float32)
        return found

    @staticmethod
    def _steadying(state: Trajectory, frames: Integers, whole: Trajectory) -> Floats | float:
        """Corrections of velocities, ``(frame, atom, 3)``; see `steadied`."""
        times = whole.times - whole.times[0]
        steady = steadied(whole.positions, times, whole.masses, frames, frames + 1)
        if steady is None:
            return 0.0
        speed, turn = np.moveaxis(steady.astype(np.float32)[:, :, None], 1, 0)
        added: Floats = speed + np.cross(turn, state.positions[frames])
        return added
