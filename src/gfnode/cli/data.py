"""``gfnode data``."""

import shlex
from typing import Annotated

import typer

from gfnode.cli.app import app
from gfnode.cli.options import AS_STORED, Json, Output, Reading, keep_inputs, load, reads


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
            help="Trajectory file, or sample:toluene; several files of the same atoms are "
            "analysed together, as replicas.",
        ),
    ],
    reading: Reading = AS_STORED,
    json_file: Json = None,
) -> None:
    """Describe a trajectory and its suitability for training."""
    from gfnode import report
    from gfnode.files import as_json
    from gfnode.inspection import inspect

    output = Output(json_file)
    terminal = output.terminal
    keep_inputs([output.target], files, reading.top)
    reader = reading.reader()
    result = as_json(inspect(load(files, reader)).to_dict())
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
    output.numbers(result)
