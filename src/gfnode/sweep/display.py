"""Progress over the jobs of a sweep: a live line on a terminal, else a line for each job."""

from time import monotonic
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from gfnode.sweep.schedule import Display, Summary
from gfnode.sweep.store import Task
from gfnode.units import format_duration

EVERY = 2.0
"""Seconds between counts of the epochs done."""


class ProgressDisplay(Display):
    """Shows jobs done, running and failed, and the time left; use it as a context.

    Time left is counted in epochs: those of the jobs left, at the rate of this sweep so far.
    """

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.total = console, total
        self.began, self.counted = monotonic(), -EVERY
        self.credit: dict[str, int] = {}  # epochs that had been done before
        self.epochs = 0  # done by this sweep in jobs that have ended
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"),
            console=console, disable=not console.is_terminal, transient=True,
        )  # fmt: skip
        self.bar = self.progress.add_task("runs", total=max(1, total), said="")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def look(self, waiting: list[Task], running: list[Task], summary: Summary) -> None:
        """See :class:`gfnode.sweep.schedule.Display`."""
        if monotonic() - self.counted < EVERY and running:
            return
        self.counted = monotonic()
        done = self.epochs
        left = sum(each.epochs for each in waiting)
        for task in running:
            epochs = task.done_epochs
            done += epochs - self.credit.setdefault(task.name, epochs)
            left += max(0, task.epochs - epochs)
        finished = len(summary.done) + len(summary.reused)
        said = f"{finished} of {self.total} done, {len(running)} running"
        if waiting:
            said += f", {len(waiting)} waiting"
        if summary.failed:
            said += f", {len(summary.failed)} failed"
        if done > 0 and left > 0:
            said += f", {format_duration((monotonic() - self.began) * left / done)} left"
        ended = finished + len(summary.failed)
        self.progress.update(self.bar, completed=ended, said=said)

    def ended(self, task: Task, failure: str | None) -> None:
        """See :class:`gfnode.sweep.schedule.Display`."""
        self.epochs += task.done_epochs - self.credit.pop(task.name, 0)
        word = "done  " if failure is None else "failed"
        text = Text(f"{word} {task.name}" + (f": {failure}" if failure else ""))
        self.console.print(text, soft_wrap=True)
