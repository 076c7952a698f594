"""Cutting trajectories into the windows of training, validation and test.

Which starts belong to which part is in :mod:`gfnode.windows.splits`, how lags are drawn in
:mod:`gfnode.windows.lags`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from gfnode.errors import InputError
from gfnode.settings import Femtoseconds, Settings
from gfnode.thinning import evenly, groups
from gfnode.trajectory import Doubles, Integers, Trajectory
from gfnode.trajectory.selection import choose
from gfnode.units import format_time
from gfnode.windows import lags as draw
from gfnode.windows import splits
from gfnode.windows.rounding import steadied
from gfnode.windows.spacing import far_apart
from gfnode.windows.windows import Frames, Windows

Atoms = str | list[int]
PARTS = ("train", "validation", "test")


class WindowSettings(Settings):
    """Settings for cutting windows from trajectories."""

    horizon: Femtoseconds | None = None
    """Largest lag, such as 1.5ps; null: 1.5 ps, or 300 frames if frames are more than 5 fs apart,
    but at most a fifteenth of the trajectory."""
    times: int | None = Field(None, ge=1)
    """Lags per window; null: 8, or fewer if the horizon has no room for them."""
    lags: Literal["regular", "irregular", "fresh", "given"] = "fresh"
    """`regular`: evenly spaced up to the horizon; `irregular`: drawn once, without replacement;
    `fresh`: redrawn for each epoch; `given`: see windows.given_lags."""
    given_lags: list[Femtoseconds] | None = None
    """Lags for `given`, such as ["100fs", "1ps"]; the largest is the horizon."""
    split: Literal["blocked", "published", "published-alanine", "all"] = "blocked"
    """`blocked`: train, a gap of one horizon, validation, gap, test, in time order;
    `published` and `published-alanine`: the paper's random starts; `all`: everything is
    test."""
    fractions: tuple[float, float, float] = (0.6, 0.1, 0.3)
    """Fractions of train, validation and test in a blocked split."""
    most: tuple[PositiveInt, PositiveInt, PositiveInt] = (6000, 1000, 2000)
    """Maximum numbers of windows for train, validation and test; the published splits have their
    own numbers."""
    velocities: Literal["auto", "stored", "forward", "successor", "backward"] = "auto"
    """`stored`; `forward`: difference to the next frame; `successor`: the same, if the next frame
    is near; `backward`: difference to the frame before, which reveals nothing of later frames;
    `auto`: stored if available, else backward if frames are more than 2.5 fs apart, else forward,
    or successor if frames are unevenly spaced."""
    successor_steps: int = Field(4, ge=1)
    """Maximum distance of a successor, in time steps."""
    state: Atoms = "all"
    """Atoms the model sees: `all`, `heavy`, indices from 0, or an expression."""
    score: Atoms = "heavy"
    """Atoms that are scored: all or some of the state."""
    align: bool | None = None
    """Superpose every target on its start over the scored atoms; null: if frames are at least 100
    fs apart."""
    seed: int = 0
    """Random seed for irregular lags."""

    @property
    def idle(self) -> Mapping[str, str]:
        """The seed of lags that are not drawn, the reach of differences that are not taken."""
        found: dict[str, str] = {}
        if self.lags in ("regular", "given"):
            found["seed"] = "windows.lags=fresh or irregular"
        if self.velocities == "stored":
            found["successor_steps"] = "windows.velocities=auto or successor"
        return found


def choose_atoms(trajectory: Trajectory, choice: Atoms, what: str) -> Integers:
    """Resolve a selection of the ``state`` or the ``score`` atoms.

    In a molecule with a single heavy atom (water, methane) ``heavy`` scores all atoms, since one
    atom has no conformation.
    """
    chosen = choose(choice, trajectory.numbers, trajectory.topology, f"windows.{what}")
    if what == "score" and choice == "heavy" and len(chosen) == 1:
        return np.arange(trajectory.n_atoms)
    return chosen


def given_lags(settings: WindowSettings) -> list[float] | None:
    """The lags of ``windows.given_lags`` in fs; None where they are drawn or regular.

    Raises
    ------
    InputError
        For lags that are missing, repeated or not positive, or that contradict other settings.
    """
    lags = settings.given_lags
    if settings.lags != "given":
        if lags:
            raise InputError(
                f"windows.given_lags have no effect with windows.lags={settings.lags}: also set "
                "windows.lags=given"
            )
        return None
    if not lags or min(lags) <= 0:
        raise InputError(
            f'windows.given_lags are {lags}: expected times above zero, such as ["100fs", "1ps"]'
        )
    if len(set(lags)) < len(lags):
        raise InputError(f"windows.given_lags are {lags}: expected each lag only once")
    for name, value, implied, unit in (
        ("horizon", settings.horizon, max(lags), "fs"),
        ("times", settings.times, len(lags), ""),
    ):
        if value not in (None, implied):
            raise InputError(
                f"windows.{name}={value:g}{unit} contradicts windows.given_lags, which imply "
                f"{implied:g}{unit}: leave it out"
            )
    return lags


def choose_horizon(trajectories: Sequence[Trajectory], settings: WindowSettings) -> float:
    """The horizon in fs: that of the settings, else the default for the data."""
    longest = max(t.span for t in trajectories)
    step = trajectories[0].step
    if step is None:
        raise InputError(
            f"{trajectories[0].label} has a single frame; a trajectory of many frames is needed"
        )
    if (asked := given_lags(settings)) is not None:
        return max(asked)
    if settings.split.startswith("published") and settings.horizon is None:
        return 3000 * step
    horizon = settings.horizon
    if horizon is None:
        horizon = min(1500.0 if step <= 5.0 else 300 * step, longest / 15)
        horizon = max(1, round(horizon / step)) * step
    if not step * (1 - 1e-6) <= horizon < longest:
        fits = (
            f"choose windows.horizon, at least {format_time(step)} and at most about "
            f"{format_time(longest / 15)}"
        )
        raise InputError(
            f"horizon {format_time(horizon)} does not fit: the longest trajectory spans "
            f"{format_time(longest)}; {fits if longest > 15 * step else 'give a longer trajectory'}"
        )
    if (even := trajectories[0].spacing) is not None:  # round down to a frame
        whole = int(horizon / even * (1 + 1e-6)) * even
        return horizon if abs(whole - horizon) <= 1e-6 * horizon else whole
    return horizon


def make_windows(
    trajectories: Sequence[Trajectory], settings: WindowSettings, gap: float | None = None
) -> tuple[dict[str, Windows], float]:
    """Cut trajectories into train, validation and test windows.

    Parameters
    ----------
    gap
        Time in fs over which velocities are differences, see :class:`gfnode.windows.Windows`; None:
        the median of the training windows, or of the test windows where there are none.

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
    times = settings.times or min(8, max(1, round(horizon / (trajectories[0].step or horizon))))
    cutter = _Cutter(trajectories, settings, Frames.of(trajectories), horizon, times)
    starts = cutter.starts()
    parts = {name: cutter.windows(name, frames) for name, frames in starts.items()}
    gaps = parts["train" if "train" in parts else "test"].velocity_gaps
    if gaps is None:
        gap = None
    elif gap is None:
        gap = float(gaps.median())
    return {name: replace(part, gap=gap) for name, part in parts.items()}, horizon


def superposes(settings: WindowSettings, step: float) -> bool:
    """Whether targets are superposed on their starts, for training frames ``step`` fs apart.

    By default from 100 fs on, where the rotation between frames cannot be predicted.
    """
    return step >= 100.0 if settings.align is None else settings.align


@dataclass(frozen=True, eq=False)
class _Cutter:
    """Cuts the windows of one data set."""

    trajectories: Sequence[Trajectory]
    settings: WindowSettings
    frames: Frames
    horizon: float
    n_lags: int

    @cached_property
    def times(self) -> Doubles:
        return self.frames.times.numpy()

    @cached_property
    def neighbours(self) -> Integers:
        """Frame that defines the velocity of each: itself (stored), an adjacent one, or −1."""
        first, kind = self.trajectories[0], self._velocities
        number = np.arange(len(self.times))
        if kind == "stored":
            if self.frames.velocities is None:
                raise InputError(
                    f"{first.label} stores no velocities: use windows.velocities=forward"
                )
            return number
        spacings = [each.spacing for each in self.trajectories]
        known = [each for each in spacings if each is not None]
        if len(known) == len(spacings) and max(known) > min(known) * (1 + 1e-3):
            raise InputError(
                f"frames are {format_time(min(known))} apart in one trajectory and "
                f"{format_time(max(known))} in another, and velocities computed from differences "
                "would not be comparable: give trajectories of one spacing (--stride), or with "
                "stored velocities"
            )
        joined = np.diff(self.frames.segments) == 0
        if kind == "successor" or (kind == "backward" and len(known) < len(spacings)):
            step, most = first.step or 0.0, self.settings.successor_steps
            joined &= np.diff(self.times) <= (most + 1e-3) * step
            if not joined.any():
                raise InputError(
                    f"no frame of {first.label} has a successor within {most} steps of "
                    f"{format_time(step)}, so velocities cannot be computed; raise "
                    "windows.successor_steps"
                )
        if kind == "backward":
            return np.where(np.append(False, joined), number - 1, -1)
        return np.where(np.append(joined, False), number + 1, -1)

    @property
    def _velocities(self) -> str:
        """The setting ``velocities``, with ``auto`` resolved."""
        kind, published = self.settings.velocities, self.settings.split.startswith("published")
        if kind == "backward" and published:
            raise InputError(
                f"the {self.settings.split} split draws starts without a frame before them: use "
                "windows.velocities=forward, or windows.split=blocked"
            )
        if kind != "auto":
            return kind
        if self.frames.velocities is not None:
            return "stored"
        most = self.settings.successor_steps
        if not published and any(far_apart(each, most) for each in self.trajectories):
            return "backward"
        return "forward" if all(t.spacing is not None for t in self.trajectories) else "successor"

    def starts(self) -> splits.Parts:
        """Start frames of each part."""
        s, segments = self.settings, self.frames.segments
        usable = np.flatnonzero(self.neighbours >= 0)
        if s.split == "all":
            return splits.everything(self.times, segments, usable, self.horizon)
        if s.split == "blocked":
            since = np.minimum(self.times, self.times[self.neighbours])
            return splits.blocked(
                self.times, segments, usable, self.horizon, s.fractions, since=since
            )
        step = self.trajectories[0].spacing
        if len(self.trajectories) > 1 or step is None:
            raise InputError(
                f"the {s.split} split needs a single, evenly spaced trajectory: use "
                "windows.split=blocked"
            )
        draw_parts = splits.published if s.split == "published" else splits.published_alanine
        return draw_parts(len(self.times), round(self.horizon / step))

    def windows(self, name: str, starts: Integers) -> Windows:
        """The windows of a part."""
        part = PARTS.index(name)
        starts = self._with_targets(starts, part)
        if not len(starts):
            choices = "change windows.horizon, lower windows.times or give a longer trajectory"
            if self.settings.split == "all":  # of an evaluation, where nothing can be chosen
                choices = "give a longer trajectory, or one with frames closer together"
            raise InputError(
                f"no {name} window fits: {len(self.times)} frames over "
                f"{format_time(self.times[-1])}, {self.n_lags} lags within a horizon of "
                f"{format_time(self.horizon)}; {choices}"
            )
        stored = self.frames.velocities is not None and bool(
            (self.neighbours[starts] == starts).all()
        )
        published = self.settings.split.startswith("published")
        later = bool((self.neighbours[starts] > starts).all())
        return Windows(
            self.frames,
            torch.from_numpy(starts),
            torch.from_numpy(self._targets(starts, part)),
            None if stored else torch.from_numpy(self.neighbours[starts]),
            self._alignment(),
            None if published else self._shown(starts),
            self._steady(starts) if later and not published else None,
        )

    def _steady(self, starts: Integers) -> Tensor | None:
        """Corrections of the momenta of starts with rounded coordinates, see `steadied`."""
        found = np.zeros((len(starts), 2, 3), dtype=np.float32)
        offsets = np.cumsum([0, *(len(each) for each in self.trajectories)])
        for number, mine in groups(self.frames.segments[starts]):
            trajectory, first = self.trajectories[number], offsets[number]
            at, after = starts[mine] - first, self.neighbours[starts[mine]] - first
            added = steadied(trajectory.positions, trajectory.times, trajectory.masses, at, after)
            if added is not None:
                found[mine] = added
        return torch.from_numpy(found) if found.any() else None

    def _shown(self, starts: Integers) -> Tensor:
        """All frames from a start up to its horizon: fresh lags may draw any of them."""
        first, last = self._reach(starts)
        opened = np.zeros(len(self.times) + 1, dtype=np.int64)
        np.add.at(opened, first - 1, 1)
        np.add.at(opened, last, -1)
        return torch.from_numpy(np.flatnonzero(opened.cumsum()[:-1]))

    def _with_targets(self, starts: Integers, part: int) -> Integers:
        """Keep starts that have all targets, at most ``windows.most`` of them."""
        s = self.settings
        if s.split.startswith("published"):
            return starts
        if s.lags == "given":
            found = (self._at_lags(starts) >= 0).all(1)
            if not found.any():
                raise InputError(
                    f"no {PARTS[part]} start has frames at all given lags: ask for lags at which "
                    "the trajectory has frames, or use windows.lags=irregular"
                )
            starts = starts[found]
        else:
            first, last = self._reach(starts)
            starts = starts[last - first >= self.n_lags]
        return starts[evenly(len(starts), s.most[part])]

    def _targets(self, starts: Integers, part: int) -> Integers:
        s = self.settings
        if s.lags in ("regular", "given"):
            found = self._at_lags(starts)
            if (found < 0).any():
                raise InputError(
                    "frames are missing at regular lags: use windows.lags=irregular for unevenly "
                    "spaced trajectories"
                )
            return found
        first, last = self._reach(starts)
        if s.split.startswith("published"):
            if (room := int((last - first).min())) < self.n_lags:
                raise InputError(
                    f"windows.times={self.n_lags}, but a horizon of {format_time(self.horizon)} "
                    f"has room for {room} frames: lower windows.times or raise windows.horizon"
                )
            return draw.published_irregular(starts, room, self.n_lags)
        return draw.irregular(first, last, self.n_lags, np.random.default_rng([s.seed, part]))

    def _reach(self, starts: Integers) -> tuple[Integers, Integers]:
        """Frames inside the horizon of each start: ``first <= frame < last``."""
        return draw.reach(self.times, self.frames.segments, starts, self.horizon)

    def _at_lags(self, starts: Integers) -> Integers:
        s = self.settings
        if (asked := given_lags(s)) is not None:
            lags = np.asarray(asked)
        else:
            lags = self.horizon * np.arange(1, self.n_lags + 1) / self.n_lags
            if (even := self.trajectories[0].spacing) is not None:  # the nearest frames
                lags = np.maximum(np.round(lags / even), 1) * even
        return draw.at(self.times, self.frames.segments, starts, lags)

    def _alignment(self) -> Tensor | None:
        first = self.trajectories[0]
        if not superposes(self.settings, first.step or 0.0):
            return None
        return torch.from_numpy(choose_atoms(first, self.settings.score, "score"))
