"""Windows: a start, its velocity, and the later frames that a model is asked for.

The frames lie once on the device; a window is three indices into them, and a batch is an index
operation. How a trajectory is cut into training, validation and test starts is in
:mod:`gfnode.splits`, how lags are drawn in :mod:`gfnode.lags`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gfnode import lags as draw
from gfnode import splits
from gfnode.errors import InputError
from gfnode.geometry import superpose
from gfnode.settings import Femtoseconds, Settings
from gfnode.trajectory import Integers, Trajectory
from gfnode.units import format_time

Atoms = Literal["all", "heavy"] | list[int]
PARTS = ("train", "validation", "test")


class WindowSettings(Settings):
    """How windows are made from trajectories.

    Parameters
    ----------
    horizon
        Largest lag; None chooses 1.5 ps, or 300 frames where frames are further apart than 5 fs,
        and at most a tenth of the trajectory.
    times
        Number of lags in a window.
    lags
        ``regular``: evenly spaced up to the horizon; ``irregular``: drawn without replacement from
        the frames inside the horizon, once; ``fresh``: the same, drawn anew for every training
        epoch; ``given``: those of ``given_lags``.
    split
        ``blocked``: train, a gap of one horizon, validation, gap, test, in time order;
        ``published``: the paper's random starts; ``published-alanine``: the same for the alanine
        dipeptide runs; ``all``: everything is test.
    fractions
        Shares of train, validation and test in a blocked split.
    most
        At most so many windows of train, validation and test.
    velocities
        ``stored``; ``forward``: next frame minus this one; ``successor``: the same where the next
        frame lies within ``successor_steps`` time steps; ``auto``: the first of these that fits.
    state, score
        The atoms a model is given, and those of them that are scored: ``all``, ``heavy`` or a list
        of indices.
    align
        Superpose every target on its start (over the scored atoms); None decides by the
        presence of a solvent-like loss of orientation: frames at least 100 fs apart.
    seed
        Of the irregular lags.
    """

    horizon: Femtoseconds | None = None
    times: int = Field(8, ge=1)
    lags: Literal["regular", "irregular", "fresh", "given"] = "fresh"
    given_lags: list[Femtoseconds] | None = None
    split: Literal["blocked", "published", "published-alanine", "all"] = "blocked"
    fractions: tuple[float, float, float] = (0.6, 0.1, 0.3)
    most: tuple[int, int, int] = (6000, 1000, 2000)
    velocities: Literal["auto", "stored", "forward", "successor"] = "auto"
    successor_steps: int = Field(4, ge=1)
    state: Atoms = "all"
    score: Atoms = "heavy"
    align: bool | None = None
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """A batch of windows: positions in Å, velocities in Å/fs, lags in fs."""

    positions: Tensor  # (batch, atom, 3)
    velocities: Tensor  # (batch, atom, 3)
    lags: Tensor  # (batch, time)
    targets: Tensor  # (batch, time, atom, 3)


@dataclass(frozen=True, eq=False)
class Frames:
    """The frames of one or more trajectories, one after the other, on one device."""

    positions: Tensor  # (frame, atom, 3)
    velocities: Tensor | None  # (frame, atom, 3)
    times: Tensor  # (frame,) float64, from the beginning of each trajectory
    segments: Integers  # (frame,) which trajectory

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory]) -> "Frames":
        """Join trajectories of one composition."""
        first = trajectories[0]
        for other in trajectories[1:]:
            if not np.array_equal(other.numbers, first.numbers):
                raise InputError(
                    f"{other.label} ({other.formula}) and {first.label} ({first.formula}) hold "
                    "different atoms; train on trajectories of one system, atoms in one order"
                )
        stored = [t.velocities for t in trajectories]
        velocities = None if any(v is None for v in stored) else np.concatenate(stored)  # type: ignore[arg-type]
        return cls(
            torch.from_numpy(np.concatenate([t.positions for t in trajectories])),
            None if velocities is None else torch.from_numpy(velocities),
            torch.from_numpy(np.concatenate([t.times - t.times[0] for t in trajectories])),
            np.concatenate([np.full(len(t), i) for i, t in enumerate(trajectories)]),
        )


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
        Frames asked for, ``(window, time)``.
    successors
        Frame whose difference to the start gives the velocity, ``(window,)``; None where velocities
        are stored.
    align
        Atoms over which every target is superposed on its start; None: not superposed.
    """

    frames: Frames
    starts: Tensor
    targets: Tensor
    successors: Tensor | None
    align: Tensor | None = None

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lags(self) -> Tensor:
        """Lags of all windows, ``(window, time)`` in fs, float64."""
        times = self.frames.times
        return times[self.targets] - times[self.starts][:, None]

    @property
    def device(self) -> torch.device:
        """Where the frames lie."""
        return self.frames.positions.device

    def batch(self, index: Tensor | slice) -> Batch:
        """Gather windows; ``index`` is ``(batch,)``."""
        positions, times = self.frames.positions, self.frames.times
        starts, targets = self.starts[index], self.targets[index]
        x = positions[starts]
        if self.successors is None:
            assert self.frames.velocities is not None
            v = self.frames.velocities[starts]
        else:
            successors = self.successors[index]
            v = (positions[successors] - x) / (times[successors] - times[starts])[:, None, None]
        y = positions[targets]
        if self.align is not None:
            weights = torch.zeros(x.shape[1], device=x.device)
            weights[self.align] = 1.0
            y = superpose(y, x[:, None], weights)
        lags = (times[targets] - times[starts][:, None]).float()
        return Batch(x, v.float(), lags, y)

    def select(self, atoms: Integers | Tensor) -> "Windows":
        """Keep some atoms (the state of a model); the scored ones must be among them."""
        index = torch.as_tensor(atoms, device=self.device)
        frames = self.frames
        velocities = None if frames.velocities is None else frames.velocities[:, index]
        align = self.align
        if align is not None:
            align = (index[None] == align[:, None]).float().argmax(1)
        cut = replace(frames, positions=frames.positions[:, index], velocities=velocities)
        return replace(self, frames=cut, align=align)

    def conformations(self, limit: int = 2000) -> Tensor:
        """Conformations of evenly chosen starts, ``(sample, atom, 3)`` in Å."""
        return self.frames.positions[self.starts[self.evenly(limit)]]

    def evenly(self, limit: int) -> Tensor:
        """Numbers of at most ``limit`` windows, evenly chosen."""
        count = min(limit, len(self))
        return torch.linspace(0, len(self) - 1, count, device=self.device).round().long()

    def redraw(self, horizon: float, seed: Sequence[int]) -> "Windows":
        """The same starts with fresh irregular lags; the same seed gives the same lags."""
        first, last = draw.reach(
            self.frames.times.cpu().numpy(),
            self.frames.segments,
            self.starts.cpu().numpy(),
            horizon,
        )
        targets = draw.irregular(first, last, self.targets.shape[1], np.random.default_rng(seed))
        return replace(self, targets=torch.from_numpy(targets).to(self.device))

    def to(self, device: torch.device | str) -> "Windows":
        """Move to a device; parts that share frames should be moved by :func:`to_device`."""
        return to_device({"": self}, device)[""]


def to_device(parts: dict[str, Windows], device: torch.device | str) -> dict[str, Windows]:
    """Move the parts of one data set to a device, the shared frames once."""
    shared = {
        id(w.frames): replace(
            w.frames,
            positions=w.frames.positions.to(device),
            velocities=None if w.frames.velocities is None else w.frames.velocities.to(device),
            times=w.frames.times.to(device),
        )
        for w in parts.values()
    }
    return {
        name: Windows(
            shared[id(w.frames)],
            w.starts.to(device),
            w.targets.to(device),
            None if w.successors is None else w.successors.to(device),
            None if w.align is None else w.align.to(device),
        )
        for name, w in parts.items()
    }


def choose_atoms(numbers: Integers, choice: Atoms, what: str) -> Integers:
    """Resolve ``all``, ``heavy`` or a list of indices."""
    if choice == "all":
        return np.arange(len(numbers))
    if choice == "heavy":
        heavy = np.flatnonzero(numbers > 1)
        return heavy if len(heavy) else np.arange(len(numbers))
    atoms = np.asarray(choice, dtype=np.int64)
    if not len(atoms) or atoms.min() < 0 or atoms.max() >= len(numbers):
        raise InputError(
            f"{what} atoms {atoms.tolist()}: expected indices from 0 to {len(numbers) - 1}"
        )
    if len(np.unique(atoms)) < len(atoms):
        raise InputError(f"{what} atoms {atoms.tolist()} name an atom twice")
    return atoms


def choose_horizon(trajectories: Sequence[Trajectory], settings: WindowSettings) -> float:
    """The horizon in fs: the one asked for, or one that suits the data."""
    longest = max(float(t.times[-1] - t.times[0]) for t in trajectories)
    step = trajectories[0].step
    if step is None:
        raise InputError(
            f"{trajectories[0].label} has a single frame; a trajectory of many frames is needed"
        )
    if settings.lags == "given" and settings.given_lags:
        return max(settings.given_lags)
    if settings.split.startswith("published") and settings.horizon is None:
        return 3000 * step
    horizon = settings.horizon
    if horizon is None:
        horizon = min(1500.0 if step <= 5.0 else 300 * step, longest / 10)
        horizon = max(1, round(horizon / step)) * step
    if not 0 < horizon < longest:
        raise InputError(
            f"horizon {format_time(horizon)} does not fit: the longest trajectory spans "
            f"{format_time(longest)}; choose windows.horizon between {format_time(step)} and "
            f"{format_time(longest / 10)}"
        )
    return horizon


def make_windows(
    trajectories: Sequence[Trajectory], settings: WindowSettings
) -> tuple[dict[str, Windows], float]:
    """Cut trajectories into train, validation and test windows.

    Returns
    -------
    dict, float
        Windows of every part, over all atoms and on the CPU; and the horizon in fs.

    Raises
    ------
    InputError
        When trajectory, horizon, lags and split do not fit together.
    """
    horizon = choose_horizon(trajectories, settings)
    if settings.split == "published-alanine":
        trajectories = [splits.join_alanine(trajectories)]
    frames = Frames.of(trajectories)
    times, segments = frames.times.numpy(), frames.segments
    successor = _successors(trajectories, frames, settings)
    usable = np.flatnonzero(successor >= 0)
    if settings.split == "all":
        parts = splits.everything(times, segments, usable, horizon)
    elif settings.split == "blocked":
        parts = splits.blocked(times, segments, usable, horizon, settings.fractions)
    else:
        step = trajectories[0].spacing
        if len(trajectories) > 1 or step is None:
            raise InputError(
                f"the {settings.split} split needs one evenly spaced trajectory; "
                "use windows.split=blocked"
            )
        of_frames = {"published": splits.published, "published-alanine": splits.published_alanine}
        parts = of_frames[settings.split](len(times), round(horizon / step))
    made = {}
    for name, starts in parts.items():
        number = PARTS.index(name)
        first, last = draw.reach(times, segments, starts, horizon)
        if not settings.split.startswith("published"):
            enough = last - first >= (settings.times if settings.lags != "given" else 1)
            starts, first, last = starts[enough], first[enough], last[enough]
            kept = splits.thin(len(starts), settings.most[number])
            starts, first, last = starts[kept], first[kept], last[kept]
        if not len(starts):
            raise InputError(
                f"no {name} window fits: {len(times)} frames over {format_time(times[-1])} with a "
                f"horizon of {format_time(horizon)}; shorten windows.horizon or give a longer "
                "trajectory"
            )
        targets = _targets(frames, starts, first, last, horizon, settings, number)
        if settings.lags == "given":
            kept = (targets >= 0).all(1)
            if not kept.any():
                raise InputError(
                    f"no {name} start has frames at all the given lags; ask for lags that the "
                    "trajectory stores, or use windows.lags=irregular"
                )
            starts, targets = starts[kept], targets[kept]
        stored = successor[starts] == starts
        made[name] = Windows(
            frames,
            torch.from_numpy(starts),
            torch.from_numpy(targets),
            None if stored.all() else torch.from_numpy(successor[starts]),
            _alignment(trajectories, settings),
        )
    return made, horizon


def _successors(
    trajectories: Sequence[Trajectory], frames: Frames, settings: WindowSettings
) -> Integers:
    """The frame that gives each frame its velocity: itself (stored), the next, or none (-1)."""
    number = np.arange(len(frames.times))
    kind = settings.velocities
    if kind == "auto":
        even = all(t.spacing is not None for t in trajectories)
        kind = "forward" if even else "successor"
        if frames.velocities is not None:
            kind = "stored"
    if kind == "stored":
        if frames.velocities is None:
            raise InputError(
                f"{trajectories[0].label} stores no velocities; use windows.velocities=forward"
            )
        return number
    following = number + 1
    same = np.append(np.diff(frames.segments) == 0, False)
    if kind == "successor":
        step = trajectories[0].step or 0.0
        gap = np.append(np.diff(frames.times.numpy()), np.inf)
        same &= gap <= (settings.successor_steps + 1e-3) * step
        if not same.any():
            raise InputError(
                f"no frame of {trajectories[0].label} has a successor within "
                f"{settings.successor_steps} steps of {format_time(step)}, so no velocity is "
                "known; raise windows.successor_steps"
            )
    return np.where(same, following, -1)


def _targets(
    frames: Frames,
    starts: Integers,
    first: Integers,
    last: Integers,
    horizon: float,
    settings: WindowSettings,
    part: int,
) -> Integers:
    count = settings.times
    if settings.lags in ("regular", "given"):
        asked = settings.given_lags
        if settings.lags == "regular" or not asked:
            asked = [horizon * (k + 1) / count for k in range(count)]
        found = draw.at(frames.times.numpy(), frames.segments, starts, np.asarray(asked))
        if settings.lags == "regular" and (found < 0).any():
            raise InputError(
                f"frames are missing at regular lags of {format_time(asked[0])}; use "
                "windows.lags=irregular for unevenly spaced trajectories, or a horizon that is a "
                "multiple of windows.times frames"
            )
        return found
    if settings.split.startswith("published"):
        return draw.published_irregular(starts, round(int((last - first).min())), count)
    return draw.irregular(first, last, count, np.random.default_rng([settings.seed, part]))


def _alignment(trajectories: Sequence[Trajectory], settings: WindowSettings) -> Tensor | None:
    align = settings.align
    if align is None:
        align = (trajectories[0].step or 0.0) >= 100.0
    if not align:
        return None
    return torch.from_numpy(choose_atoms(trajectories[0].numbers, settings.score, "score"))
