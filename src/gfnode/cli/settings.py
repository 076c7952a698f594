"""``gfnode settings``."""

import json
import re
from typing import Annotated

import typer
from rich.table import Column
from rich.text import Text

from gfnode.cli.app import app
from gfnode.cli.console import console
from gfnode.errors import InputError
from gfnode.terminal import titled_table


@app.command(
    epilog="""\b
Examples:
  gfnode settings
  gfnode settings training
  gfnode settings rate --preset published
  gfnode settings model --model ito
  gfnode settings --plain > settings.txt"""
)
def settings(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORD]...", help="Only settings whose name contains one of these."),
    ] = None,
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="default, paper or published.")
    ] = "default",
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Model whose options are listed.")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Print lines as --set takes them, without meanings.")
    ] = False,
) -> None:
    """List the settings for --set, and their values in a preset.

    Times are shown in fs; with --set they need a unit.
    """
    from gfnode.experiment import configure

    every = list(configure(preset, {"model.name": model} if model else {}).described())
    shown = [each for each in every if not words or any(word in each[0] for word in words)]
    if not shown:
        raise InputError(
            f"no setting has {' or '.join(map(repr, words or []))} in its name: expected part "
            "of a name, such as windows, training or rate; gfnode settings lists all"
        )
    if plain:
        for name, value, _ in shown:
            typer.echo(f"{name}={json.dumps(value)}")
        return
    title = f"Settings (--set NAME=VALUE), preset {preset}"
    table = titled_table(title, Column("name", no_wrap=True), "value", "meaning")
    for name, value, meaning in shown:
        table.add_row(name, json.dumps(value, ensure_ascii=False), _told(meaning))
    console().print(table)


def _told(meaning: str) -> Text:
    """A meaning with what stands between backticks in bold."""
    parts = enumerate(re.split(r"`(.*?)`", meaning))
    return Text.assemble(*((part, "bold" if number % 2 else "") for number, part in parts))
