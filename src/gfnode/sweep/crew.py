"""Trains several jobs in turns: what the process of a GPU does, ``python -m gfnode.sweep.crew``.

Folders of jobs come in, one a line; a folder goes out again when its training has ended, one way or
another. A step of a small molecule leaves most of a GPU idle: steps of many runs, each recorded and
on a stream of its own, fill it, and every run comes to the numbers that it would alone.
"""

import os
import queue
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from filelock import Timeout

from gfnode.sweep.store import State, Task
from gfnode.sweep.worker import begun, failures_kept

IDLE = 0.1
"""Seconds between looks for a job when there is none to work at."""


def take_turns(task: Task) -> Iterator[bool]:
    """Train a job as far as it is not, and stop to let others work; failures go into its folder.

    Yields
    ------
    bool
        Whether something was done in this turn; not while another process is at the job.
    """
    from gfnode.run import fitting
    from gfnode.run.creation import alone

    while True:
        try:
            held = task.lock.acquire(timeout=0)
            break
        except Timeout:
            yield False
    with held, failures_kept(task):
        if task.state is State.FINISHED:
            return
        run, dataset = begun(task.folder)
        if dataset is not None:
            with alone(run.folder):
                for _ in fitting.training(run, dataset):
                    yield True


class Member:
    """A job whose turns are taken on a stream of its own, where there are streams."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.turns = take_turns(Task(Path(folder)))
        self.waits = False  # for another process
        self.stream = torch.cuda.Stream() if torch.cuda.is_available() else None

    def turn(self) -> bool:
        """Take one; whether there may be another."""
        with torch.cuda.stream(self.stream):  # of None: nothing changes
            worked = next(self.turns, None)
        self.waits = worked is False
        return worked is not None


def main() -> None:
    """Train what is asked for until nobody asks any more."""
    asked: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    warnings.simplefilter("default")  # into the log
    members: list[Member] = []
    while True:
        while not asked.empty():
            members.append(Member(asked.get()))
        for member in list(members):
            if not member.turn():
                members.remove(member)
                print(member.folder, flush=True)  # noqa: T201 - to the launcher
        if all(member.waits for member in members):
            time.sleep(IDLE)


def _listen(asked: "queue.SimpleQueue[str]") -> None:
    """Hear of jobs; end with whoever asks, however that ends: its end of our input closes."""
    for line in sys.stdin:
        asked.put(line.rstrip("\n"))
    os._exit(0)


if __name__ == "__main__":
    main()
