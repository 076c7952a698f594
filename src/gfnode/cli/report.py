"""``gfnode report``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfnode import runfiles
from gfnode.cli.app import app
from gfnode.cli.bars import naming
from gfnode.cli.console import note
from gfnode.cli.options import Reading, Step, Top, keep_inputs, load_for
from gfnode.errors import InputError

if TYPE_CHECKING:
    from gfnode.readers import Reader
    from gfnode.run import Run


@app.command(
    epilog="""\b
Examples:
  gfnode report runs/toluene
  gfnode report runs/toluene --out toluene.html
  gfnode report runs/gfnode runs/egnn runs/ito --out comparison.html
  gfnode report runs/toluene --figures figures --format pdf,png
  gfnode report runs/replicas --data moved1.xtc --data moved2.xtc --top molecule.pdb --out r.html"""
)
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folder of gfnode train; several are compared side by side.", metavar="RUN..."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="HTML file to write; default: report.html in RUN, or comparison.html here for "
            "several runs.",
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Also write every figure to files for one and two journal columns (85 and 170 mm "
            "wide), with its numbers as CSV.",
        ),
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMATS",
            help="Formats of the figures: png, pdf, svg. Default: png,pdf.",
        ),
    ] = None,
    physics: Annotated[
        bool, typer.Option(help="Measure how physical predictions are, if not done yet.")
    ] = True,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="The training data, if it has moved. Repeat it for replicas."
        ),
    ] = None,
    top: Top = None,
    step: Step = None,
) -> None:
    """Write an HTML page about a run, or compare several runs.

    It shows errors, how physical predictions are, structures in 3D, training, and settings. The
    page needs no network and no other file. Runs not evaluated yet are evaluated first.
    """
    from gfnode import examples, report
    from gfnode.files import make_folder
    from gfnode.run import Run

    reading = Reading(top, step)
    reading.check_used(data)
    several = len(runs) > 1
    out = out or (Path("comparison.html") if several else runs[0] / "report.html")
    if formats and figures is None:
        raise InputError(
            f"--format {formats} applies to figures, and none are written: add --figures DIR, "
            "or leave it out"
        )
    kinds = [each.strip() for each in (formats or "png,pdf").split(",")]
    report.check_formats(kinds)
    if several:
        report.check_compared(runs)
    opened = [Run.open(run) for run in runs]
    for found in opened:
        examples.check_run(found)  # all, before any is measured
        if not data and not examples.up_to_date(found.folder):
            found.provenance.check(str(found.folder))
        keep_inputs([out], data or [], top, found)
    report.check_target(out)
    if figures:
        make_folder(figures)
    for run, found in zip(runs, opened, strict=True):
        name = f"{run}: " if several else ""
        _complete(found, data, reading.reader(), name, physics=physics)
    if several:
        report.write_comparison(runs, out)
    else:
        report.write_page(runs[0], out)
    typer.echo(f"report: {out} ({out.stat().st_size / 1e6:.1f} MB; open it in a browser)")
    if figures:
        written = report.write_figures(runs, figures, kinds)
        typer.echo(f"figures: {figures} ({len(written)} files)")


def _complete(
    found: "Run", data: list[str] | None, reader: "Reader", name: str, *, physics: bool
) -> None:
    """Make what the report of a run lacks."""
    from gfnode import examples, report
    from gfnode.files import check_writable

    run = found.folder
    shown = examples.up_to_date(run) and not data
    physics = physics and (bool(data) or not examples.measured(run))
    if shown and not physics:
        return
    try:
        given = load_for(found, data, reader) if data else found.trajectories()
        examples.check_own(found, given)
        check_writable(
            run / runfiles.EVALUATION,
            "a report stores its measurements in the run folder: copy the run folder, and report "
            "on the copy",
        )
    except InputError as error:
        if not shown:
            raise
        note(f"{name}the report has no physics section: {error}")
        return
    if not examples.evaluated(run):
        typer.echo(f"{name}not evaluated yet: comparing with the trivial baselines first")
        found.evaluate(given)
        typer.echo(f"plot: {report.plot_error_against_lag(run)}")
    if physics:
        from gfnode.physics import assess, stages

        typer.echo(f"{name}measuring how physical predictions are")
        with naming("physics", "predicting", stages(found)) as advance:
            assess(found, given, advance=advance).save(run)
    if not shown:
        typer.echo(f"{name}predicting a typical, the best and the worst test window")
        examples.make_examples(found, given).save(run)
