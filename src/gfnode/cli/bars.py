"""Bars on a terminal that say how far long work is; nothing where there is no terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gfnode.cli.console import console
from gfnode.progress import Report

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn


def new_bar(*columns: "ProgressColumn | str", leaves: bool = False) -> "Progress":
    """A bar on stderr, ``{task.description}`` and the like in its columns.

    It vanishes when done unless it ``leaves`` itself behind.
    """
    from rich.progress import Progress, TextColumn

    terminal = console(stderr=True)
    return Progress(
        *(TextColumn(each, markup=False) if isinstance(each, str) else each for each in columns),
        console=terminal,
        disable=not terminal.is_terminal,
        transient=not leaves,
    )


@contextmanager
def counting(doing: str, unit: str) -> Iterator[Report]:
    """A bar that is told what is done and what there is in all."""
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

    with new_bar(doing, BarColumn(), MofNCompleteColumn(), unit, TimeRemainingColumn()) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def naming(what: str, first: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar that is told the name of each of ``total`` things when it is done."""
    from rich.progress import BarColumn

    with new_bar(f"{what}: {{task.description}}", BarColumn()) as bar:
        task = bar.add_task(first, total=total)
        yield lambda done: bar.update(task, advance=1, description=f"{done} done")
