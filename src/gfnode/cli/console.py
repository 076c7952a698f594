"""What every command shares: output, and errors as one line."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console

from gfnode import plugins
from gfnode.errors import InputError
from gfnode.terminal import plain_console

WIDTH = 110  # columns where there is no terminal: wide enough for every table


WITH_RESUME = "continue with the same command and --resume"


@contextmanager
def plain_errors() -> Iterator[None]:
    """Bad input, a full disk and warnings as one line each on stderr; exit code 2."""
    said: set[str] = set()

    def say(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in said:
            said.add(str(message))
            typer.echo(f"warning: {message}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = say
        try:
            yield
        except Exception as error:
            if (line := _told(error)) is None:
                raise
            typer.echo(f"error: {line}", err=True)
            raise typer.Exit(2) from error


def _told(error: Exception) -> str | None:
    """What a user is told of an error; None for a mistake in gfnode, and a closed pipe."""
    if isinstance(error, InputError):
        return str(error)
    if line := plugins.told(error):
        return line
    if isinstance(error, ArithmeticError):
        from gfnode.dynamics.solver import SolverError

        return str(error) if isinstance(error, SolverError) else None
    if not isinstance(error, OSError) or isinstance(error, BrokenPipeError):
        return None
    where = f"{error.filename}: " if error.filename else ""
    return error.strerror and f"{where}{error.strerror}"


def note(text: str) -> None:
    """What a user should know beside the results, on stderr."""
    typer.echo(f"note: {text}", err=True)


@contextmanager
def resumable(how: Sequence[str]) -> Iterator[None]:
    """Give an interrupt the words that say how to go on; ``how`` may be empty at first.

    :class:`gfnode.cli.app.Commands` prints them.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(*how) from error


def console(stderr: bool = False) -> Console:
    """The terminal, or plain lines wide enough for every table."""
    found = plain_console(stderr=stderr)
    return found if found.is_terminal else plain_console(stderr=stderr, width=WIDTH)
