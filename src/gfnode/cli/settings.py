"""``gfnode settings``."""

import json
from typing import Annotated

import typer

from gfnode.cli.app import app
from gfnode.cli.console import plain_errors


@app.command(
    epilog="""\b
Examples:
  gfnode settings
  gfnode settings --preset published"""
)
def settings(
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="default, paper or published.")
    ] = "default",
) -> None:
    """List every setting that --set changes, with its value in a preset; times in fs."""
    with plain_errors():
        from gfnode.experiment import configure

        for section, values in configure(preset).model_dump(mode="json").items():
            for key, value in values.items() if isinstance(values, dict) else [("", values)]:
                typer.echo(f"{section}{'.' if key else ''}{key}={json.dumps(value)}")
