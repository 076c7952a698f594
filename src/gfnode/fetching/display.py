"""What is shown while files are downloaded."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from gfnode.fetching.download import Watcher
from gfnode.terminal import plain_console


class Bar(Watcher):
    """A bar on a terminal, lines for what went wrong anywhere."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self.console, self.progress = console, progress
        self.task: TaskID | None = None

    def start(self, what: str, done: int, total: int | None) -> None:
        """See :class:`gfnode.fetching.download.Watcher`."""
        if self.task is not None:
            self.progress.remove_task(self.task)
        self.task = self.progress.add_task(what, total=total, completed=done)

    def advance(self, count: int) -> None:
        """See :class:`gfnode.fetching.download.Watcher`."""
        if self.task is not None:
            self.progress.advance(self.task, count)

    def say(self, text: str) -> None:
        """See :class:`gfnode.fetching.download.Watcher`."""
        self.console.print(text, soft_wrap=True)


@contextmanager
def display(shown: bool = True) -> Iterator[Watcher]:
    """Show downloads on stderr; nothing where they are not to be shown."""
    if not shown:
        yield Watcher()
        return
    console = plain_console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with progress:
        yield Bar(console, progress)
