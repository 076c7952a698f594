"""The launcher for GPUs: runs that train in turns, many in one process of each GPU."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gfnode.files import make_folder
from gfnode.sweep.launchers import (
    GPU_MEMORY,
    Handle,
    Launcher,
    Local,
    Resources,
    how_it_ended,
    visible,
)
from gfnode.sweep.store import Task

AT_ONCE = 16
"""Runs that a GPU trains at once, at most; more hardly gain (docs/performance.md)."""

CONNECTIONS = 32
"""Streams that the driver tells apart, in place of 8; it takes no more."""


class Together(Launcher):
    """Trains many runs in turns in one process of each GPU, and does the rest in one process each.

    A crash of the process of a GPU is a failure of all that it was at; what they had saved stays.

    Parameters
    ----------
    resources
        Of the processes of the rest, which evaluate and measure.
    folder
        Of the log files of the GPUs' processes.
    memory
        Free bytes of every GPU by its number; one process trains without a GPU where there is none.
    jobs
        How many runs are trained at once; None: as many as memory carries, at most 16 a GPU.
    """

    def __init__(
        self,
        resources: Resources,
        folder: Path,
        memory: Mapping[int, float],
        jobs: int | None = None,
    ) -> None:
        self.folder, self.resources = make_folder(folder), resources
        self.places = Local(resources)
        carried = sum(min(AT_ONCE, max(1, int(free // GPU_MEMORY))) for free in memory.values())
        self.slots = jobs or max(1, carried)
        gpus: Iterable[int | None] = memory or [None]
        self.crews = {gpu: self._crew(gpu) for gpu in gpus}

    def start(self, task: Task) -> Handle:
        """Give a job to the GPU that is at the fewest."""
        gpu = min(self.crews, key=lambda each: len(self.crews[each].at))
        if not self.crews[gpu].alive:
            self.crews[gpu].stop()
            self.crews[gpu] = self._crew(gpu)
        self.crews[gpu].ask(task)
        return _InTurn(task, self.crews[gpu], self.places)

    def close(self) -> None:
        """End the processes."""
        for crew in self.crews.values():
            crew.stop()

    def _crew(self, gpu: int | None) -> "_Crew":
        return _Crew(gpu, self.folder / f"gpu-{gpu or 0}.log", self.resources)


class _Crew:
    """The process of one GPU."""

    def __init__(self, gpu: int | None, log: Path, resources: Resources) -> None:
        environment = os.environ | resources.environment
        environment["CUDA_DEVICE_MAX_CONNECTIONS"] = str(CONNECTIONS)
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = visible(gpu)
        self.log = log
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gfnode.sweep.crew"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env=environment,
                start_new_session=True,  # a Ctrl-C is ours to handle
            )
        self.at: set[str] = set()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def ask(self, task: Task) -> None:
        """Let a job be trained; one of a process that has just died fails with it."""
        assert self.process.stdin is not None
        self.at.add(str(task.folder))
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{task.folder}\n")
            self.process.stdin.flush()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.at.discard(line.rstrip("\n"))

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # of what could not be written
                pipe.close()


@dataclass
class _InTurn(Handle):
    """A job that is trained in turns first, and then goes on in a process of its own."""

    task: Task
    crew: _Crew
    places: Local
    after: Handle | None = None

    def ended(self) -> bool:
        if self.after is not None:
            return self.after.ended()
        if str(self.task.folder) in self.crew.at:
            return not self.crew.alive
        if self.task.failure is not None:
            return True
        if len(self.places.taken) < (self.places.slots or 1):
            self.after = self.places.start(self.task)
        return False

    def said(self) -> str:
        if self.after is not None:
            return self.after.said()
        return how_it_ended(self.crew.process, self.crew.log)

    def stop(self) -> None:
        if self.after is not None:
            self.after.stop()
        else:
            self.crew.stop()
