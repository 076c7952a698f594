"""What every command shares: output, and errors as one line."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console

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
        except InputError as error:
            raise _ends_with(str(error)) from error
        except ArithmeticError as error:
            from gfnode.dynamics.solver import SolverError

            if not isinstance(error, SolverError):
                raise
            raise _ends_with(str(error)) from error
        except OSError as error:
            if error.strerror is None or isinstance(error, BrokenPipeError):
                raise
            where = f"{error.filename}: " if error.filename else ""
            raise _ends_with(f"{where}{error.strerror}") from error


def _ends_with(error: str) -> typer.Exit:
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(2)


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
