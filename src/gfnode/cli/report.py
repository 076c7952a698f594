"""``gfnode report``."""

from pathlib import Path
from typing import Annotated

import typer

from gfnode.cli.app import app
from gfnode.cli.console import plain_errors
from gfnode.cli.options import Step, Top, load_for


@app.command(
    epilog="""\b
Examples:
  gfnode report runs/toluene
  gfnode report runs/toluene --out toluene.html
  gfnode report runs/replicas --data moved1.xtc --data moved2.xtc --top molecule.pdb --out r.html"""
)
def report(
    run: Annotated[Path, typer.Argument(help="Run folder of gfnode train.", metavar="RUN")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="HTML file to write; default report.html in RUN."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="The training data, where it has moved. Repeat it for replicas."
        ),
    ] = None,
    top: Top = None,
    step: Step = None,
) -> None:
    """Write one HTML page about a run: errors, structures in 3D, training, settings.

    The page needs no network and no other file. A run that is not evaluated yet is evaluated first.
    """
    with plain_errors():
        from gfnode import examples, report
        from gfnode.readers import Reader
        from gfnode.run import Run

        out = report.check_target(out or run / "report.html")
        found = Run.open(run)
        examples.check_run(found)
        if data or not examples.up_to_date(run):
            given = load_for(found, data, Reader(top, step)) if data else found.trajectories()
            examples.check_own(found, given)
            if not examples.evaluated(run):
                typer.echo("not evaluated yet: comparing with the trivial baselines first")
                found.evaluate(given)
                typer.echo(f"plot: {report.plot_error_against_lag(run)}")
            typer.echo("following a typical, the best and the worst test window")
            examples.make_examples(found, given).save(run)
        report.write_page(run, out)
        typer.echo(f"report: {out} ({out.stat().st_size / 1e6:.1f} MB; open it in a browser)")
