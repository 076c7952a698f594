"""``gfnode export``."""

from pathlib import Path
from typing import Annotated

import typer

from gfnode import runfiles
from gfnode.cli.app import app
from gfnode.cli.console import note
from gfnode.cli.options import RunFolder


@app.command(
    epilog="""\b
Examples:
  gfnode export runs/toluene --out model
  gfnode export runs/toluene --out model --licence CC-BY-4.0 --author "A. Chemist"
  gfnode predict model --start sample:toluene --times 100fs,1ps --out later.extxyz
  gfnode evaluate model --data another_trajectory.npz"""
)
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to write, new or empty.")],
    licence: Annotated[
        str | None,
        typer.Option(
            "--licence",
            "--license",
            metavar="NAME",
            help="Licence of the weights, e.g. MIT, CC-BY-4.0. Without it the card states no "
            "licence, and others may not use them.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="Name of the model.")] = None,
    author: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Author of the model. Repeatable.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an exported model, including its card.")
    ] = False,
) -> None:
    """Export a model for others, with configuration and card.

    The folder works in place of RUN in gfnode predict, sample and evaluate --data. It contains the
    names of the training files, but neither their paths nor their contents.
    """
    import shlex

    from gfnode.run import exported as layout
    from gfnode.share.export import export as write
    from gfnode.units import count, format_time

    made = write(run, out, licence=licence, name=name, authors=author or (), overwrite=overwrite)
    config = layout.read_config(made)
    files = [*config["files"], layout.CONFIG, layout.CARD]
    for each in files:
        typer.echo(f"{made / each} ({(made / each).stat().st_size / 1000:.1f} kB)")
    first, last = map(format_time, config["lags_fs"])
    typer.echo(f"{config['name']}: {count(config['weights'], 'weight')}, lags {first} to {last}")
    typer.echo(f"SHA-256 of {layout.CONFIG}, which lists those of the other files: ", nl=False)
    typer.echo(layout.describe_file(made / layout.CONFIG)["sha256"])
    if runfiles.EVALUATION not in config["files"]:
        note(
            "the card has no errors, because the run is not evaluated: gfnode evaluate "
            f"{shlex.quote(str(run))}, then export it again with --overwrite"
        )
    if licence is None:
        note(
            "no licence is stated, so others may not use the weights: choose one with "
            "--licence, e.g. --licence CC-BY-4.0"
        )
    typer.echo(f"read the card before you share it: {made / layout.CARD}")
