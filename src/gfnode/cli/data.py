"""``gfnode data``."""

import json
import shlex
from typing import Annotated

import typer

from gfnode.cli.app import app
from gfnode.cli.console import console, plain_errors
from gfnode.cli.options import AS_STORED, Reading, json_target, keep_inputs, load, reads


@app.command(
    epilog="""\b
Examples:
  gfnode data sample:toluene
  gfnode data run1.xtc run2.xtc --top molecule.pdb
  gfnode data md17_ethanol.npz --step 0.5fs --json ethanol.json
  gfnode data md.xtc --top md.pdb --select "protein and not element H" --stride 10
  gfnode data sample:toluene --json - | jq .findings"""
)
@reads()
def data(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Trajectory file, or sample:toluene; several files of the same atoms are looked "
            "at together, as replicas.",
        ),
    ],
    reading: Reading = AS_STORED,
    json_file: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write every number as JSON; - prints it."),
    ] = None,
) -> None:
    """Tell what is in a trajectory, and whether it can be learnt."""
    with plain_errors():
        from gfnode import report
        from gfnode.files import to_json, write_json
        from gfnode.inspection import inspect

        target = json_target(json_file)
        keep_inputs([target], files, reading.top)
        reader = reading.reader()
        result = json.loads(to_json(inspect(load(files, reader)).to_dict()))  # null: not finite
        terminal = console(stderr=json_file == "-")
        terminal.print(report.headline(result), soft_wrap=True, style="bold")
        terminal.print()
        terminal.print(report.inspection_verdict(result))
        terminal.print(report.findings_table(result))
        if command := report.train_command(result, files, shlex.split(reader.command())):
            terminal.print()
            terminal.print("Train with")
            terminal.print(f"  {command}", soft_wrap=True)
        terminal.print()
        terminal.print(report.inspection_table(result))
        if target is not None:
            write_json(target, result)
            terminal.print(f"numbers: {target}", soft_wrap=True)
        elif json_file == "-":
            typer.echo(to_json(result))
