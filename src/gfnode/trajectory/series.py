"""The frames of one or more trajectories under one numbering, and pairs of them at given lags.

Nothing is copied until frames are asked for, so that a large file is only read where it is needed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.memory import pieces
from gfnode.thinning import evenly, groups
from gfnode.trajectory.checks import Doubles, Floats, Integers
from gfnode.trajectory.core import Trajectory


@dataclass(frozen=True, eq=False)
class Series:
    """Trajectories of one system, frame after frame.

    Parameters
    ----------
    trajectories
        All of the same atoms.

    Raises
    ------
    InputError
        When they hold different atoms.
    """

    trajectories: tuple[Trajectory, ...]

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory]) -> "Series":
        """Join trajectories; see the class."""
        if not trajectories:
            raise InputError("no trajectory given: expected at least one")
        first = trajectories[0]
        for other in trajectories[1:]:
            if not np.array_equal(other.numbers, first.numbers):
                raise InputError(
                    f"{other.label} ({other.formula}) and {first.label} ({first.formula}) hold "
                    "different atoms: give only files of one system together"
                )
        return cls(tuple(trajectories))

    def __len__(self) -> int:
        return int(self.offsets[-1])

    @property
    def first(self) -> Trajectory:
        """The first trajectory; it stands for the atoms of all."""
        return self.trajectories[0]

    @property
    def step(self) -> float | None:
        """Time step of the original series, fs; None for single frames."""
        return next((t.step for t in self.trajectories if t.step is not None), None)

    @cached_property
    def offsets(self) -> Integers:
        """Number of the first frame of each trajectory, and the number of all frames."""
        return np.cumsum([0, *(len(t) for t in self.trajectories)])

    @cached_property
    def times(self) -> Doubles:
        """Time of each frame since the beginning of its trajectory, ``(frame,)`` in fs."""
        return np.concatenate([t.times - t.times[0] for t in self.trajectories])

    @cached_property
    def segments(self) -> Integers:
        """Number of the trajectory that each frame lies in, ``(frame,)``."""
        return np.repeat(np.arange(len(self.trajectories)), np.diff(self.offsets))

    @cached_property
    def spans(self) -> Doubles:
        """Time from the first to the last frame of each trajectory, fs."""
        return np.array([t.span for t in self.trajectories])

    @cached_property
    def gaps(self) -> Doubles:
        """Time from each frame to its successor in the same trajectory, where it has one, fs."""
        return np.diff(self.times)[self.successive()]

    @cached_property
    def _line(self) -> Doubles:
        """All times on one axis, trajectories further apart than any lag inside one."""
        return self.times + self.segments * (2 * float(self.times.max()) + 1.0)

    def place(self, frame: int) -> tuple[int, int]:
        """Number of the trajectory and of the frame in it."""
        segment = int(self.segments[frame])
        return segment, frame - int(self.offsets[segment])

    def positions(self, frames: Integers, atoms: Integers | None = None) -> Floats:
        """Positions of some frames (and atoms), ``(frame, atom, 3)`` in Å."""
        count = self.first.n_atoms if atoms is None else len(atoms)
        chosen = slice(None) if atoms is None else atoms
        return self._gather(frames, lambda t: t.positions, count, chosen)

    def velocities(self, frames: Integers) -> Floats:
        """Stored velocities of some frames, ``(frame, atom, 3)`` in Å/fs."""
        return self._gather(frames, lambda t: t.velocities, self.first.n_atoms)

    def cells(self, frames: Integers) -> Floats | None:
        """Periodic cells of some frames, ``(frame, 3, 3)`` in Å; None where there are none."""
        return self._gather(frames, lambda t: t.cell, 3) if self._has_cells else None

    @property
    def has_velocities(self) -> bool:
        """Whether every trajectory stores velocities."""
        return all(t.velocities is not None for t in self.trajectories)

    @cached_property
    def _has_cells(self) -> bool:
        return all(t.cell is not None for t in self.trajectories)

    def _gather(
        self,
        frames: Integers,
        source: Callable[[Trajectory], Floats | None],
        rows: int,
        chosen: slice | Integers = slice(None),
    ) -> Floats:
        """Numbers of some frames, ``(frame, row, 3)``, from the trajectories that hold them."""
        found = np.empty((len(frames), rows, 3), dtype=np.float32)
        for number, mine in groups(self.segments[frames]):
            values = source(self.trajectories[number])
            assert values is not None
            found[mine] = values[frames[mine] - self.offsets[number]][:, chosen]
        return found

    def evenly(self, most: int) -> Integers:
        """At most ``most`` frames, evenly chosen."""
        return evenly(len(self), most)

    def successive(self, longest: float = np.inf, most: int | None = None) -> Integers:
        """Frames whose successor in the same trajectory is at most ``longest`` fs away."""
        gaps = np.append(np.diff(self.times), np.inf)
        inside = np.append(np.diff(self.segments) == 0, False)
        found = np.flatnonzero(inside & (gaps <= longest))
        return found if most is None else thin(found, most)

    def pairs(self, lag: float, most: int, slack: float) -> tuple[Integers, Integers]:
        """At most ``most`` pairs of frames ``lag`` apart, to within ``slack``, all in fs."""
        wanted = self._line + lag
        right = np.searchsorted(self._line, wanted).clip(max=len(self) - 1)
        left = np.maximum(right - 1, 0)
        nearer = np.abs(self._line[left] - wanted) < np.abs(self._line[right] - wanted)
        found = np.where(nearer, left, right)
        here = np.arange(len(self))
        fits = (np.abs(self._line[found] - wanted) <= slack) & (found > here)
        chosen = thin(here[fits], most)
        return chosen, found[chosen]

    def pieces(self, atoms: int) -> Iterator[tuple[int, int]]:
        """Ranges of frames as of :func:`gfnode.memory.pieces`, each of one trajectory."""
        for each, first in zip(self.trajectories, self.offsets.tolist(), strict=False):
            for begin, end in pieces(len(each), atoms):
                yield first + begin, first + end


def thin(values: Integers, most: int) -> Integers:
    """At most ``most`` of the values, evenly chosen."""
    return values[evenly(len(values), most)]


def symbol(numbers: Integers, atom: int) -> str:
    """An atom as chemists write it: ``C7``, counted from 0."""
    from ase.data import chemical_symbols

    return f"{chemical_symbols[int(numbers[atom])]}{atom}"


def rms(values: NDArray[np.floating]) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
