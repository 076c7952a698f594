"""Recording of a rollout to a trajectory file, resumable.

Frames and the state after them are stored by :class:`gfnode.readers.unfinished.Store`: a rollout
that is killed at any moment can be resumed, on a CPU with the same frames bit for bit. The file
itself is written from them at the end, in chunks. Memory does not grow with the length.
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
from gfnode.progress import Report, silent
from gfnode.readers.formats import OWN
from gfnode.readers.saving import check_target, save_pieces, topology_beside
from gfnode.readers.unfinished import Store, check_free
from gfnode.rollout.apply import Rollout, State
from gfnode.trajectory import Doubles, Trajectory
from gfnode.trajectory.temperature import kinetic_temperature
from gfnode.units import format_time

SECONDS = 5.0
"""Interval between writes to the disk, s."""

PIECE = 2**22
"""Coordinates in a chunk of the finished file."""

Frames = NDArray[Any]  # structured, (frame,)


@dataclass(frozen=True, eq=False)
class Recording:
    """A rollout to be recorded in a trajectory file.

    Parameters
    ----------
    rollout
        The model and its application.
    start
        One frame of the state atoms.
    velocities
        ``(atom, 3)`` in Å/fs.
    length
        Of the rollout, fs.
    path
        The trajectory file; its suffix chooses the format.
    facts
        Everything else that determines the frames (weights, start), checked when resuming.
    seconds
        Interval between writes to the disk, the most that is lost when killed; None: `SECONDS`.
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
        """Number of frames of the whole rollout, including the start."""
        return 1 + int(self.length / self.rollout.spacing * (1 + 1e-9))

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that determines the frames, except the length, which may be extended."""
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
        """Compute the missing frames. The result holds a lock until it is closed.

        Parameters
        ----------
        resume
            Continue from the frames of an interrupted rollout, if there are any.
        overwrite
            Replace the file, and discard frames of an interrupted rollout.
        advance
            Called with the number of frames done, and their total.

        Raises
        ------
        InputError
            For a file that cannot be written or exists, and for frames of another rollout.
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
            temperatures.append(float(kinetic_temperature(state.velocities.numpy(), masses).mean()))
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
        """Reason why the rollout ends at application ``count``; None if it continues."""
        finite = np.append(np.isfinite(found).all((1, 2)), after.finite)
        if finite.all():
            return None
        plan = self.rollout
        if plan.sampled:  # the motion of a whole application is known, or none of it
            stride = format_time(plan.stride)
            why = f"within the next {stride} its motion leaves the range of the model's potential"
            return Ended(count * plan.stride, why)
        times = [*(k * plan.spacing for k in plan.numbers(count)), (count + 1) * plan.stride]
        return Ended(times[int(finite.argmin())], "what it predicts is no longer finite")

    def _open(self, resume: bool, overwrite: bool) -> tuple[Store, dict[str, NDArray[Any]]]:
        check_target(self.path, OWN)
        topology_beside(self.path, self.start.numbers)  # of other atoms: refused at once
        if resume and (found := Store.resume(self.path, self.settings, what="rollout")):
            return found
        if not overwrite:
            check_free(self.path, "rollout")
        shape = {"positions": self.start.positions[0].shape}
        begun = Store.begin(self.path, self.settings, shape, frames=self.frames, what="rollout")
        return begun, {}


@dataclass(frozen=True)
class Ended:
    """Premature end of a rollout, and the reason."""

    time: float  # fs since the start
    why: str


@dataclass(frozen=True, eq=False)
class Recorded:
    """The frames of a rollout on disk; a context that holds an exclusive lock on them.

    Parameters
    ----------
    recording
        The rollout.
    store
        Its frames on disk.
    frames
        Their number.
    ended
        Reason for a premature end, without any frames of the last application; None if complete.
    kelvin
        Kinetic temperature of the velocities at the start of each application, K.
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
        """The frames, in chunks."""
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
        """Write the trajectory file, and remove the store."""
        r = self.recording
        save_pieces(self.pieces, self.frames, r.path)
        self.store.discard()
        return r.path


def _frames(positions: NDArray[np.float32], store: Store) -> Frames:
    found: Frames = np.empty(len(positions), dtype=store.frame)
    found["positions"] = positions
    return found
