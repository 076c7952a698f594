"""The command ``gfnode`` itself."""

import gc
import os
from typing import Annotated

import typer

from gfnode import __version__

app = typer.Typer(
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
