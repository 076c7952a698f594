"""Windows: a start, its velocity, and later frames as targets.

The frames are stored once on the device; a window consists of indices into them, and a batch is an
index operation. Cutting trajectories into windows is in :mod:`gfnode.windows.cutting`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gfnode.errors import InputError
from gfnode.geometry import superpose
from gfnode.memory import room
from gfnode.thinning import evenly, places
from gfnode.trajectory import SHORT_GAP, Floats, Integers, Trajectory
from gfnode.trajectory.formula import differ
from gfnode.windows import lags as draw
from gfnode.windows.velocities import over_gap


@dataclass(frozen=True)
class Batch:
    """A batch of windows: positions in Å, velocities in Å/fs, lags in fs."""

    positions: Tensor  # (batch, atom, 3)
    velocities: Tensor  # (batch, atom, 3)
    lags: Tensor  # (batch, time)
    targets: Tensor  # (batch, time, atom, 3)

    def split(self, size: int) -> list["Batch"]:
        """Cut into batches of this size; the last may be smaller."""
        pieces = (values.split(size) for values in vars(self).values())
        return [Batch(*piece) for piece in zip(*pieces, strict=True)]


@dataclass(frozen=True, eq=False)
class Frames:
    """The frames of one or more trajectories, concatenated, on one device."""

    positions: Tensor  # (frame, atom, 3)
    velocities: Tensor | None  # (frame, atom, 3)
    times: Tensor  # (frame,) float64, from the beginning of each trajectory
    segments: Integers  # (frame,) which trajectory
    forces: Tensor | None = None  # (frame, atom, 3) u Å/fs²
    masses: Tensor | None = None  # (1, atom, 1) u

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory]) -> "Frames":
        """Join trajectories of one composition; a single one is not copied."""
        first = trajectories[0]
        for other in trajectories[1:]:
            if not np.array_equal(other.numbers, first.numbers):
                raise InputError(
                    f"{other.label} ({other.formula}) and {first.label} ({first.formula}) hold "
                    "different atoms: train on trajectories of one system, with its atoms in one "
                    "order"
                )
            if differ(other.masses, first.masses):
                raise InputError(
                    f"{other.label} and {first.label} have different atomic masses: train on "
                    "trajectories of one system"
                )
        return cls(
            _joined([t.positions for t in trajectories]),
            _known([t.velocities for t in trajectories]),
            torch.from_numpy(np.concatenate([t.times - t.times[0] for t in trajectories])),
            np.concatenate([np.full(len(t), i) for i, t in enumerate(trajectories)]),
            _known([t.forces for t in trajectories]),
            torch.from_numpy(first.masses)[None, :, None].float(),
        )

    def each(self, change: Callable[[Tensor], Tensor]) -> "Frames":
        """Apply a function to positions, velocities, forces and masses."""
        return replace(
            self,
            positions=change(self.positions),
            velocities=_changed(self.velocities, change),
            forces=_changed(self.forces, change),
            masses=_changed(self.masses, change),
        )


def _changed(values: Tensor | None, change: Callable[[Tensor], Tensor]) -> Tensor | None:
    """Apply a function, except to None."""
    return None if values is None else change(values)


def _known(arrays: Sequence[Floats | None]) -> Tensor | None:
    """Concatenate the arrays, if all trajectories have one; else None."""
    known = [values for values in arrays if values is not None]
    return _joined(known) if len(known) == len(arrays) else None


def _joined(arrays: Sequence[Floats]) -> Tensor:
    """Concatenate; a single array is not copied, as it may be memory-mapped."""
    if len(arrays) == 1 and arrays[0].flags.writeable:  # torch warns of read-only arrays
        return torch.from_numpy(arrays[0])
    joined = room((sum(map(len, arrays)), *arrays[0].shape[1:]))
    return torch.from_numpy(np.concatenate(arrays, out=joined))


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of one part of the data.

    Parameters
    ----------
    frames
        Shared with the other parts.
    starts
        Frame of each start, ``(window,)``.
    targets
        Target frames, ``(window, time)``.
    neighbours
        Adjacent frame whose difference to the start is the velocity, ``(window,)``: the next one,
        or the previous one. None where velocities are stored.
    align
        Atoms over which every target is superposed on its start; None: not superposed.
    shown
        All frames that training may use, ascending, where they are more than starts and targets.
    steady
        Corrections of the start's velocity at the origin in Å/fs and of its angular velocity in
        1/fs, ``(window, 2, 3)``; see :func:`gfnode.windows.rounding.steadied`.
    gap
        Time in fs over which velocities are differences in training, validation and prediction
        alike: that of all windows where forces allow to convert them, else the median. Negative
        for differences to the previous frame. None: stored.
    """

    frames: Frames
    starts: Tensor
    targets: Tensor
    neighbours: Tensor | None
    align: Tensor | None = None
    shown: Tensor | None = None
    steady: Tensor | None = None
    gap: float | None = None

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lags(self) -> Tensor:
        """Lags of all windows, ``(window, time)`` in fs, float64."""
        times = self.frames.times
        return times[self.targets] - times[self.starts][:, None]

    @property
    def velocity_gaps(self) -> Tensor | None:
        """From each start to its neighbour, ``(window,)`` in fs; None: velocities are stored."""
        times = self.frames.times
        return None if self.neighbours is None else times[self.neighbours] - times[self.starts]

    @property
    def seen(self) -> Tensor:
        """All frames that training may use, ascending, ``(frame,)``."""
        if self.shown is not None:
            return self.shown
        return torch.cat([self.starts, self.targets.flatten()]).unique()

    @property
    def device(self) -> torch.device:
        """The device of the frames."""
        return self.frames.positions.device

    def batch(self, index: Tensor | slice) -> Batch:
        """Gather windows; ``index`` is ``(batch,)``."""
        positions, times = self.frames.positions, self.frames.times
        starts, targets = self.starts[index], self.targets[index]
        x = positions[starts]
        if self.neighbours is None:
            assert self.frames.velocities is not None
            v = self.frames.velocities[starts]
        else:
            v = self._differences(starts, self.neighbours[index])
        if self.steady is not None:
            speed, turn = self.steady[index, :, None].unbind(1)
            v = v + speed + torch.linalg.cross(turn.expand_as(x), x)
        y = positions[targets]
        if self.align is not None:
            weights = torch.zeros(x.shape[1], device=x.device)
            weights[self.align] = 1.0
            y = superpose(y, x[:, None], weights)
        lags = (times[targets] - times[starts][:, None]).float()
        return Batch(x, v.float(), lags, y)

    def batches(self, size: int) -> Iterator[Batch]:
        """Iterate over all windows in order, in batches of ``size``."""
        return map(self.batch, torch.arange(len(self), device=self.device).split(size))

    def _differences(self, starts: Tensor, neighbours: Tensor) -> Tensor:
        """Mean velocities to the next frames, or from the previous ones.

        Short gaps are converted to :attr:`gap` where forces are known, see :func:`over_gap`.
        """
        frames = self.frames
        gap = (frames.times[neighbours] - frames.times[starts])[:, None, None]
        v = (frames.positions[neighbours] - frames.positions[starts]) / gap
        if frames.forces is None or frames.masses is None or self.gap is None:
            return v
        now, later = (frames.forces[at] / frames.masses for at in (starts, neighbours))
        short = gap.abs().clamp(min=abs(self.gap)) <= SHORT_GAP
        return torch.where(short, over_gap(v, gap, self.gap, now, later), v)

    def take(self, index: Tensor) -> "Windows":
        """Select windows by index."""
        return replace(
            self,
            starts=self.starts[index],
            targets=self.targets[index],
            neighbours=_changed(self.neighbours, lambda values: values[index]),
            steady=_changed(self.steady, lambda values: values[index]),
        )

    def select(self, atoms: Integers | Tensor) -> "Windows":
        """Keep some atoms (the state of a model), which must include those of :attr:`align`."""
        return select_atoms({"": self}, atoms)[""]

    def conformations(self, limit: int = 2000) -> Tensor:
        """Conformations of at most ``limit`` evenly spaced starts, ``(sample, atom, 3)`` in Å."""
        return self.frames.positions[self.starts[self.evenly(limit)]]

    def evenly(self, limit: int) -> Tensor:
        """Indices of at most ``limit`` evenly spaced windows."""
        return torch.from_numpy(evenly(len(self), limit)).to(self.device)

    def redraw(self, horizon: float, seed: Sequence[int]) -> "Windows":
        """The same starts with irregular lags drawn anew, reproducibly by ``seed``."""
        first, last = draw.reach(
            self.frames.times.cpu().numpy(),
            self.frames.segments,
            self.starts.cpu().numpy(),
            horizon,
        )
        targets = draw.irregular(first, last, self.targets.shape[1], np.random.default_rng(seed))
        return replace(self, targets=torch.from_numpy(targets).to(self.device))

    def next_frames(self) -> "Windows":
        """The same starts with the next frame as the only target; those without one are dropped."""
        later = (self.starts + 1).clamp(max=len(self.frames.times) - 1)
        now, then = (self.frames.segments[each.cpu().numpy()] for each in (self.starts, later))
        followed = torch.from_numpy((now == then) & (self.starts != later).cpu().numpy())
        index = followed.nonzero().flatten().to(self.device)
        return replace(self.take(index), targets=later[index][:, None])

    def to(self, device: torch.device | str) -> "Windows":
        """Move to a device; parts that share frames should be moved by :func:`to_device`."""
        return to_device({"": self}, device)[""]


def select_atoms(parts: dict[str, Windows], atoms: Integers | Tensor) -> dict[str, Windows]:
    """Keep some atoms in all parts of one data set; shared frames are indexed once."""
    device = next(iter(parts.values())).device
    index = torch.as_tensor(atoms, device=device)
    n_atoms = next(iter(parts.values())).frames.positions.shape[1]
    if torch.equal(index, torch.arange(n_atoms, device=device)):
        return dict(parts)
    cut: dict[int, Frames] = {}
    for w in parts.values():
        f = w.frames
        if id(f) not in cut:
            cut[id(f)] = f.each(lambda values: values[:, index])

    where = torch.from_numpy(places(index.cpu().numpy(), n_atoms)).to(device)

    def place(align: Tensor | None) -> Tensor | None:
        if align is None:
            return None
        if (where[align] < 0).any():
            raise InputError("targets are superposed over atoms that are not among those selected")
        return where[align]

    return {
        name: replace(w, frames=cut[id(w.frames)], align=place(w.align))
        for name, w in parts.items()
    }


def to_device(parts: dict[str, Windows], device: torch.device | str) -> dict[str, Windows]:
    """Move the parts of one data set to a device, the shared frames once."""

    def moved(values: Tensor) -> Tensor:
        return values.to(device)

    shared = {
        id(w.frames): replace(w.frames.each(moved), times=moved(w.frames.times))
        for w in parts.values()
    }
    return {
        name: replace(
            w,
            frames=shared[id(w.frames)],
            starts=moved(w.starts),
            targets=moved(w.targets),
            neighbours=_changed(w.neighbours, moved),
            align=_changed(w.align, moved),
            shown=_changed(w.shown, moved),
            steady=_changed(w.steady, moved),
        )
        for name, w in parts.items()
    }
