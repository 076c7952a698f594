"""Rollouts of a trained run: settings from the run, recording, and analysis."""

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gfnode.errors import InputError
from gfnode.experiment import prepare
from gfnode.models import Generative
from gfnode.prediction import Start, check_seed, warn_if_beyond
from gfnode.progress import Report, silent
from gfnode.readers.unfinished import check_one_way
from gfnode.rollout.apply import Difference, Rollout, Thermal, Velocities
from gfnode.rollout.growth import STARTS, Growth, compare
from gfnode.rollout.record import Recorded, Recording
from gfnode.rollout.stability import QUANTITIES, STRETCHES, Event, Reference, Stability, measure
from gfnode.trajectory import Trajectory
from gfnode.trajectory.given import place
from gfnode.units import format_time, parse_time

if TYPE_CHECKING:
    from gfnode.run import Run
    from gfnode.windows import Windows

FINEST = 10.0
"""Default spacing of frames in fs, rounded up to a multiple of the time step."""


@dataclass(frozen=True, eq=False)
class Rolled:
    """A finished rollout.

    Parameters
    ----------
    path
        The trajectory file.
    recorded
        Its frames, and how it ended.
    stability, floor
        Stability of the molecule, and the drift of stretches of the training data as a reference;
        None without the training data.
    temperature
        Kinetic temperature of training, K.
    growth
        Errors against the truth, if requested.
    """

    path: Path
    recorded: Recorded
    stability: Stability | None
    floor: dict[str, float] | None
    temperature: float | None
    growth: Growth | None

    def __repr__(self) -> str:
        recorded = self.recorded
        spacing = recorded.recording.rollout.spacing
        ended = "" if recorded.ended is None else f", ended: {recorded.ended.why}"
        return f"Rolled({self.path}: {recorded.frames} frames, every {format_time(spacing)}{ended})"

    def to_dict(self) -> dict[str, Any]:
        """All results, under the keys of docs/rollout.md."""
        recording, ended, s = self.recorded.recording, self.recorded.ended, self.stability
        return {
            "format": "gfnode-rollout",
            "version": 1,
            "trajectory": str(self.path),
            "model": recording.facts["model"],
            "start": recording.facts["start"],
            "velocities": recording.facts["velocities"],
            "velocity_gap_fs": recording.facts["gap_fs"],
            "length_fs": recording.length,
            "stride_fs": recording.rollout.stride,
            "every_fs": recording.rollout.spacing,
            "seed": recording.rollout.seed,
            "sampled": recording.rollout.sampled,
            "frames": self.recorded.frames,
            "ended": None if ended is None else {"time_fs": ended.time, "why": ended.why},
            "first_broken_bond": None if s is None else _event(s.broken),
            "first_clash": None if s is None else _event(s.clash),
            "stretches": [
                {
                    "begin_fs": each.begin,
                    "end_fs": each.end,
                    **_drift(each.drift),
                    "temperature_k": each.temperature,
                }
                for each in (() if s is None else s.stretches)
            ],
            "training": None
            if self.floor is None
            else {**_drift(self.floor), "temperature_k": self.temperature},
            "errors": None if self.growth is None else self.growth.to_dict(),
        }


def _event(event: Event | None) -> dict[str, Any] | None:
    if event is None:
        return None
    return {
        "time_fs": event.time,
        "atoms": list(event.atoms),
        "distance_angstrom": event.distance,
        "bound_angstrom": event.bound,
        "share_of_frames": event.frames,
    }


def _drift(values: dict[str, float]) -> dict[str, float]:
    return {f"{key}_drift_{unit}": values[key] for key, unit in QUANTITIES.items()}


class Roller:
    """Rollout of a run, with defaults for its settings."""

    def __init__(
        self,
        run: "Run",
        length: float,
        stride: float | None = None,
        every: float | None = None,
        *,
        seed: int = 0,
        sampled: bool | None = None,
    ) -> None:
        self.run, self.length, self.seed = run, length, check_seed(seed)
        self.sampled = run.model.follows if sampled is None else sampled
        system = run.model.system
        self.generative = isinstance(run.model, Generative)
        self.stride = system.horizon if stride is None else stride
        step = system.time_step
        usual = self.stride if self.generative else step * max(1, np.ceil(FINEST / step - 1e-9))
        self.every = float(usual) if every is None else every
        self.gap: float | None = run.facts.get("velocity_gap_fs")  # None: training had stored ones
        self._windows: Windows | None = None

    def plan(self) -> Rollout:
        """The :class:`Rollout` of these settings."""
        difference = Difference(self.gap, self.stride)
        velocities: Velocities = difference
        if not (self.sampled or self.generative):
            difference.warn_if_short()
        model = self.run.model.eval()
        if self.generative:
            x, v = self.training()
            velocities = Thermal.like(x, v, torch.as_tensor(model.system.masses))
        return Rollout(model, self.stride, velocities, self.every, self.seed, self.sampled)

    def training(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions and velocities at training starts, state atoms, ``(window, atom, 3)``."""
        if self._windows is None:
            parts = prepare(self.run.trajectories(), self.run.experiment).parts
            self._windows = parts["train"].select(self.run.model.system.atoms)
        batch = self._windows.batch(self._windows.evenly(2000))
        return batch.positions, batch.velocities

    def record(
        self, start: Start, path: Path, *, resume: bool, overwrite: bool, advance: Report
    ) -> Recorded:
        """Compute and record the frames."""
        digest = hashlib.sha256()
        for name, value in sorted(self.run.model.state_dict().items()):
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        begun = hashlib.sha256(start.now.positions.tobytes() + start.velocities.tobytes())
        gap = self.gap
        kinds = "derivative" if gap is None else "next-frame" if gap > 0 else "frame-before"
        kinds = "drawn" if self.generative else kinds
        kinds = "integrated" if self.sampled else kinds
        facts = {
            "model": self.run.experiment.model["name"],
            "weights": digest.hexdigest(),
            "start": start.where,
            "state": begun.hexdigest(),
            "velocities": kinds,
            "gap_fs": gap,
        }
        recording = Recording(self.plan(), start.now, start.velocities, self.length, path, facts)
        return recording.run(resume=resume, overwrite=overwrite, advance=advance)

    def reference(self) -> Reference:
        """Reference data from training, for stability."""
        _, velocities = self.training()
        system = self.run.model.system
        return Reference.of(system, self.run.trajectories(), velocities.numpy())

    def growth(self, data: Sequence[Trajectory], starts: int, advance: Report) -> Growth:
        """Errors against the truth, on unseen windows.

        Parameters
        ----------
        data
            As of :meth:`gfnode.run.Run.evaluate`.
        """
        windows, _ = self.run.held_out(data)
        baselines = self.run.baselines()
        shown = {name: baselines[name] for name in ("persistence", "mean-conformer")}
        return compare(self.plan(), shown, windows, self.length, starts=starts, advance=advance)


def parse_length(length: float | str) -> float:
    """Read the length of a rollout, in fs.

    Raises
    ------
    InputError
        Unless it is a finite time above zero.
    """
    span = parse_time(length)
    if not 0 < span < np.inf:
        raise InputError(
            f"the length of a rollout is {format_time(span)}, expected a time above zero"
        )
    return span


def check_options(options: Iterable[str]) -> None:
    """Raise TypeError for unknown options, in the name of :meth:`gfnode.Run.rollout`."""
    known = [p.name for p in signature(roll).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise TypeError(
                f"Run.rollout() got an unexpected keyword argument {name!r}: expected frame, "
                f"{', '.join(known)}"
            )


def roll(
    run: "Run",
    start: Start,
    length: float | str,
    path: str | Path,
    *,
    stride: float | str | None = None,
    every: float | str | None = None,
    seed: int = 0,
    sampled: bool | None = None,
    resume: bool = False,
    overwrite: bool = False,
    truth: Sequence[Trajectory] | None = None,
    starts: int = STARTS,
    advance: Report = silent,
) -> Rolled:
    """Roll a run out from one start, write the frames, and measure their stability.

    Parameters
    ----------
    run, start
        The run and the start.
    length
        Of the rollout: fs, or text with a unit, as all times here.
    path
        The trajectory file: the start and all later frames, of the state atoms.
    stride
        Time of one application; None: the horizon of training. Motion is lost at every
        application, so more with shorter strides, see docs/rollout.md.
    every
        Time between frames; None: the first multiple of the time step from 10 fs on, for a
        generative model the stride.
    seed
        Seed of random numbers.
    sampled
        Draw a trajectory of the model's ensemble, instead of predicting the mean; None: if the
        model has learned a potential.
    resume, overwrite
        Continue an interrupted rollout into the same file; or replace the file, and discard its
        frames.
    truth
        Trajectories for errors, as in :meth:`gfnode.run.Run.evaluate`: those of training, whose
        test part is used, or others.
    starts
        Largest number of starts for errors.
    advance
        Called with the amount done and its total: of frames, then of applications for errors.

    Raises
    ------
    InputError
        For invalid times, a file that cannot be written, or frames of another rollout.
    """
    check_one_way(resume=resume, overwrite=overwrite)
    span = parse_length(length)
    path = place(path, "a trajectory file")
    taken = [None if each is None else parse_time(each) for each in (stride, every)]
    roller = Roller(run, span, *taken, seed=seed, sampled=sampled)
    if roller.every > span * (1 + 1e-6):
        raise InputError(
            f"frames every {format_time(roller.every)} in a rollout of {format_time(span)} leave "
            "only the start: expected a longer rollout, or frames closer together"
        )
    warn_if_beyond(roller.stride, run.model.system.horizon)
    stability = floor = temperature = None
    with roller.record(
        start, path, resume=resume, overwrite=overwrite, advance=advance
    ) as recorded:
        try:
            reference = roller.reference()
        except InputError as error:
            warnings.warn(f"stability is not measured: {error}", stacklevel=3)
        else:
            stability = measure(
                recorded.pieces(), recorded.frames, reference, temperatures=recorded.temperatures
            )
            floor = reference.floor(span / STRETCHES)
            temperature = reference.temperature
        recorded.finish()  # before errors are computed, which may fail
    growth = None if truth is None else roller.growth(truth, starts, advance)
    return Rolled(path, recorded, stability, floor, temperature, growth)
