"""A rollout written to a trajectory file as it goes.

The frames, and the state after them, are kept by :class:`gfnode.readers.unfinished.Store`: killed
at any moment, the rollout goes on from what is there, and on a CPU to the same frames bit for bit.
The file itself is written from them at the end, in pieces. Memory does not grow with the length.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from gfnode.dynamics.solver import SolverError
from gfnode.errors import InputError
from gfnode.progress import Report, silent
from gfnode.readers.formats import OWN
from gfnode.readers.saving import check_target, save_pieces, topology_beside
from gfnode.readers.unfinished import Store, folder_of
from gfnode.rollout.apply import Rollout, State
from gfnode.rollout.stability import kinetic_temperature
from gfnode.trajectory import Doubles, Trajectory

SECONDS = 5.0
"""Between writing frames to the disk."""

PIECE = 2**22
"""Coordinates in a piece of the finished file."""

Frames = NDArray[Any]  # structured, (frame,)


@dataclass(frozen=True, eq=False)
class Recording:
    """A rollout on its way to a trajectory file.

    Parameters
    ----------
    rollout
        The model and how it is applied.
    start
        One frame of the state atoms.
    velocities
        ``(atom, 3)`` in Å/fs.
    length
        Of the rollout, fs.
    path
        The trajectory file; its suffix chooses the format.
    facts
        What else decides the frames (which weights, which start), for going on.
    seconds
        Between writing frames to the disk, which is what is lost at most when it is killed; None:
        `SECONDS`.
    """

    rollout: Rollout
    start: Trajectory
    velocities: NDArray[np.float32]
    length: float
    path: Path
    facts: dict[str, Any]
    seconds: float | None = None

    @property
    def frames(self) -> int:
        """Frames of the whole rollout, the start among them."""
        return 1 + int(self.length / self.rollout.spacing * (1 + 1e-9))

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the frames. The length is not among it: a rollout can be made longer."""
        return {
            "kind": "rollout",
            "stride_fs": self.rollout.stride,
            "every_fs": self.rollout.spacing,
            "seed": self.rollout.seed,
            "sampled": self.rollout.sampled,
            **self.facts,
        }

    def run(
        self,
        *,
        resume: bool = False,
        overwrite: bool = False,
        advance: Report = silent,
    ) -> "Recorded":
        """Compute the frames that are missing; until they are closed nobody else writes there.

        Parameters
        ----------
        resume
            Go on with what an interrupted rollout left, if it left anything.
        overwrite
            Replace the file, and lose what an interrupted rollout left.
        advance
            Told how many frames there are, and of how many.

        Raises
        ------
        InputError
            For a file that cannot be written, that is there, and for frames of another rollout.
        """
        store, kept = self._open(resume, overwrite)
        try:
            return self._run(store, kept, advance)
        except BaseException:
            store.close()
            raise

    def _run(self, store: Store, kept: dict[str, NDArray[Any]], advance: Report) -> "Recorded":
        total = self.frames
        x, v = (torch.from_numpy(a)[None] for a in (self.start.positions[0], self.velocities))
        state = State.of(x, v)
        waiting: list[Frames] = []
        temperatures: list[float] = []
        if kept:
            tensors = [torch.from_numpy(kept[key]) for key in ("positions", "velocities", "origin")]
            state = State(int(kept["count"]), *tensors)
        else:
            waiting.append(_frames(self.start.positions, store))
        masses = self.start.masses
        ended: Ended | None = None
        seconds = SECONDS if self.seconds is None else self.seconds
        last = monotonic()
        done = store.frames + len(waiting)
        advance(min(done, total), total)

        def flush() -> None:
            arrays = {
                "count": np.array(state.count),
                "positions": state.positions.numpy(),
                "velocities": state.velocities.numpy(),
                "origin": state.origin.numpy(),
            }
            store.append(np.concatenate(waiting), arrays, temperatures)
            waiting.clear()
            temperatures.clear()

        while done < total:
            try:
                after, frames = self.rollout.apply(state)
            except SolverError:
                ended = Ended(state.count * self.rollout.stride, "the model's solver gave up")
                break
            found = frames[0].numpy()
            if (ended := self._end(state.count, found, after)) is not None:
                break
            temperatures.append(kinetic_temperature(state.velocities.numpy(), masses))
            state = after
            waiting.append(_frames(found, store))
            done += len(found)
            advance(min(done, total), total)
            if monotonic() > last + seconds or sum(map(len, waiting)) * found[:1].size > PIECE:
                flush()
                last = monotonic()
        if waiting:
            flush()
        kelvin = store.read_numbers().astype(np.float64)
        return Recorded(self, store, min(done, total), ended, kelvin)

    def _end(self, count: int, found: NDArray[np.float32], after: State) -> "Ended | None":
        """Why the rollout ends with its application ``count``; None where it goes on."""
        finite = np.append(np.isfinite(found).all((1, 2)), after.finite)
        if finite.all():
            return None
        plan = self.rollout
        times = [*(k * plan.spacing for k in plan.numbers(count)), (count + 1) * plan.stride]
        why = "what it predicts is no longer finite"
        if plan.sampled:
            why = "its motion leaves the range of the model's potential"
        return Ended(times[int(finite.argmin())], why)

    def _open(self, resume: bool, overwrite: bool) -> tuple[Store, dict[str, NDArray[Any]]]:
        check_target(self.path, OWN)
        topology_beside(self.path, self.start.numbers)  # of other atoms: refused at once
        there = folder_of(self.path)
        if resume:
            found = Store.resume(self.path, self.settings, what="rollout")
            if found is not None:
                return found
        elif (there / "settings.json").exists() and not overwrite:
            raise InputError(
                f"{there} holds frames of an unfinished rollout: continue it with --resume, or "
                "start over with --overwrite"
            )
        if self.path.exists() and not overwrite:
            raise InputError(
                f"{self.path}: already exists: give another name, or replace it with --overwrite"
            )
        shape = {"positions": self.start.positions[0].shape}
        begun = Store.begin(self.path, self.settings, shape, frames=self.frames, what="rollout")
        return begun, {}


@dataclass(frozen=True)
class Ended:
    """Why a rollout could not go on."""

    time: float  # fs since the start
    why: str


@dataclass(frozen=True, eq=False)
class Recorded:
    """The frames of a rollout on disk; a context that keeps other processes away from them.

    Parameters
    ----------
    recording
        What they are of.
    store
        Where they are.
    frames
        How many there are.
    ended
        Why there are fewer than asked for, all of the last application being left out; None where
        there are not.
    kelvin
        Kinetic temperature of the velocities of each application.
    """

    recording: Recording
    store: Store
    frames: int
    ended: Ended | None
    kelvin: Doubles

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    @property
    def temperatures(self) -> tuple[Doubles, Doubles]:
        """Times of the applications, fs since the start, and kinetic temperatures then, K."""
        count = np.arange(len(self.kelvin), dtype=np.float64)
        return count * self.recording.rollout.stride, self.kelvin

    def pieces(self) -> Iterator[Trajectory]:
        """The frames, some at a time."""
        r = self.recording
        size = max(1, PIECE // (3 * r.start.n_atoms))
        for first in range(0, self.frames, size):
            count = min(size, self.frames - first)
            found = self.store.read(first, count)["positions"]
            times = r.start.times[0] + np.arange(first, first + count) * r.rollout.spacing
            cell = r.start.cell
            yield replace(
                r.start,
                positions=np.ascontiguousarray(found),
                times=times,
                velocities=None,
                forces=None,
                cell=None if cell is None else np.repeat(cell, count, 0),
                time_step=r.rollout.spacing,
                source=f"rollout of {r.facts.get('model', 'a model')}",
                notes=(),
            )

    def finish(self) -> Path:
        """Write the trajectory file, and remove what it was made of."""
        r = self.recording
        save_pieces(self.pieces, self.frames, r.path)
        self.store.discard()
        return r.path


def _frames(positions: NDArray[np.float32], store: Store) -> Frames:
    found: Frames = np.empty(len(positions), dtype=store.frame)
    found["positions"] = positions
    return found
