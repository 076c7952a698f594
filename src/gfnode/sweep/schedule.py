"""The order in which the jobs of a sweep are done, and what becomes of each."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from gfnode.sweep.launchers import Handle, Launcher
from gfnode.sweep.store import State, Task

LOOK = 0.2
"""Seconds between looks at what runs."""


@dataclass
class Summary:
    """What became of the tasks of a sweep.

    Parameters
    ----------
    reused
        Had been finished before, or were finished by another sweep meanwhile.
    done
        Finished by this sweep.
    failed
        With the reason.
    """

    reused: list[Task] = field(default_factory=list)
    done: list[Task] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


class Display:
    """Told of everything that happens; this one shows nothing."""

    def look(self, waiting: list[Task], running: list[Task], summary: Summary) -> None:
        """Now and then, and after every change."""

    def ended(self, task: Task, failure: str | None) -> None:
        """A task of this sweep has ended."""


def sweep(tasks: Iterable[Task], launcher: Launcher, display: Display | None = None) -> Summary:
    """Do all tasks that are not finished; what fails does not stop the rest.

    A task that another sweep is at is left to it, and taken over if that gives up. Whatever ends
    this function also ends what it started.

    Parameters
    ----------
    tasks
        Each folder once or more often; the measures of one folder are joined.
    launcher
        Closed at the end.
    display
        Of progress.
    """
    display = display or Display()
    summary, running = Summary(), dict[Task, Handle]()
    waiting = _joined(tasks)
    try:
        while waiting or running:
            for task, handle in list(running.items()):
                if handle.ended():
                    del running[task]
                    _judge(task, handle, summary, display)
            for task in [each for each in waiting if each.state is State.FINISHED]:
                waiting.remove(task)
                summary.reused.append(task)
            free = len(waiting) if launcher.slots is None else launcher.slots - len(running)
            for task in list(waiting):
                if free <= 0:
                    break
                if not task.busy:
                    waiting.remove(task)
                    task.forget_failure()
                    running[task] = launcher.start(task)
                    free -= 1
            display.look(waiting, list(running), summary)
            if waiting or running:
                time.sleep(LOOK)
    finally:
        for handle in running.values():
            handle.stop()
        launcher.close()
    return summary


def _judge(task: Task, handle: Handle, summary: Summary, display: Display) -> None:
    if task.state is State.FINISHED:
        summary.done.append(task)
        display.ended(task, None)
        return
    if (failure := task.failure) is None:
        failure = handle.said()
        task.fail(failure)
    summary.failed[task.name] = failure
    display.ended(task, failure)


def _joined(tasks: Iterable[Task]) -> list[Task]:
    found: dict[object, Task] = {}
    for task in tasks:
        old = found.get(task.folder)
        measures = {each.file: each for each in (*(old.measures if old else ()), *task.measures)}
        found[task.folder] = Task(task.folder, tuple(measures.values()), task.epochs)
    return list(found.values())
