"""``gfnode evaluate``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gfnode.cli.app import app
from gfnode.cli.console import console, plain_errors
from gfnode.cli.options import (
    EachMolecule,
    Map,
    Select,
    Step,
    Stride,
    Top,
    Whole,
    json_target,
    load_for,
)


@app.command(
    epilog="""\b
Examples:
  gfnode evaluate runs/toluene
  gfnode evaluate runs/toluene --json errors.json
  gfnode evaluate runs/toluene --json - | jq .verdicts
  gfnode evaluate runs/toluene --data another_trajectory.npz"""
)
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder of gfnode train.", metavar="RUN")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Evaluate on every window of this trajectory of the same molecule, not on the "
            "test part of the training data. Repeatable.",
        ),
    ] = None,
    top: Top = None,
    step: Step = None,
    select: Select = None,
    stride: Stride = None,
    whole: Whole = None,
    mapping: Map = None,
    each_molecule: EachMolecule = None,
    json_file: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write every number as JSON; - prints it."),
    ] = None,
    plot: Annotated[
        bool, typer.Option(help="Draw error against lag into the run folder (test part only).")
    ] = True,
) -> None:
    """Compare a trained model with the trivial baselines on held-out windows."""
    with plain_errors():
        from gfnode import report
        from gfnode.files import to_json, write_json
        from gfnode.readers import Reader
        from gfnode.run import Run

        target = json_target(json_file)
        found = Run.open(run)
        reader = Reader(top, step, select, stride, whole, mapping, each_molecule)
        given = load_for(found, data, reader) if data else found.trajectories()
        own = found.provenance.arrange(given) is not None
        result = json.loads(to_json(found.evaluate(given).to_dict()))  # null: not finite
        terminal = console(stderr=json_file == "-")
        terminal.print(report.describe_evaluation(found, given, result, own), soft_wrap=True)
        terminal.print()
        terminal.print(report.error_table(result))
        terminal.print(report.lag_table(result))
        for line in report.verdicts(result):
            terminal.print(line, soft_wrap=True)
        if plot and own and not found.exported:
            terminal.print(f"plot: {report.plot_error_against_lag(run)}", soft_wrap=True)
        if target is not None:
            write_json(target, result)
            terminal.print(f"numbers: {target}", soft_wrap=True)
        elif json_file == "-":
            typer.echo(to_json(result))
