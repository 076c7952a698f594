"""The command ``gfnode`` itself."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gfnode import __version__
from gfnode.cli.console import plain_errors
from gfnode.terminal import Plain

USAGE = typer.BadParameter.__mro__[1:2]  # UsageError, of click or of the copy of it inside typer


class Commands(TyperGroup):
    """Commands that end in one line where input is bad or a person interrupts them.

    Exit codes are 2, also where options are refused, and 130.
    """

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Read what stands before the command."""
        with _in_one_line():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the words name."""
        with _in_one_line(), plain_errors():
            return super().invoke(ctx)


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        below = "\n" if sys.stderr.isatty() else ""  # the terminal has shown ^C
        typer.echo(f"{below}{'; '.join(('interrupted', *map(str, error.args)))}", err=True)
        raise typer.Exit(130) from error
    except Exception as error:
        if not isinstance(error, USAGE) or type(error).__name__ == "NoArgsIsHelpError":
            raise
        refused: Any = error
        said = " ".join(refused.format_message().rstrip(".").split())
        path = refused.ctx.command_path if refused.ctx else "gfnode"
        typer.echo(f"error: {said[:1].lower()}{said[1:]} (see {path} --help)", err=True)
        raise typer.Exit(2) from error


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: examples keep their lines
    pretty_exceptions_enable=False,
    help="Learn how a molecule moves: graph Fourier neural ODEs for molecular dynamics.",
    epilog="""\b
A first run with the trajectory that comes with gfnode:
  gfnode train --data sample:toluene --set training.epochs=5 --out runs/toluene
  gfnode evaluate runs/toluene
  gfnode predict runs/toluene --start sample:toluene --times 100fs,500fs,1.5ps --out traj.xtc""",
)


def main() -> None:
    """Entry point of the ``gfnode`` command."""
    for name in ("stdout", "stderr"):
        if (stream := getattr(sys, name)) is not None:  # none in a program without a console
            setattr(sys, name, Plain(stream))
    # a cluster ends what is over its time: as an interrupt, which leaves nothing half-written
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # OpenMP's threads spin while they wait for one another: alone on a machine that is free, beside
    # other work it costs a factor of eight. A short spin is as fast and leaves half of that.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Imports make half a million objects that stay: looking among them for garbage after every 700
    # new ones takes a tenth of a short command.
    gc.set_threshold(5000, 10, 10)
    app()


@app.callback(invoke_without_command=True)
def _gfnode(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"gfnode {__version__}")
        raise typer.Exit
