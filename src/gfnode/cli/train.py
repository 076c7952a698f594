"""``gfnode train``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfnode.cli.app import app
from gfnode.cli.console import resumable
from gfnode.cli.options import AS_STORED, Reading, read_settings, reads
from gfnode.errors import InputError

if TYPE_CHECKING:
    from gfnode.experiment import Dataset
    from gfnode.run import Run


@app.command(
    epilog="""\b
Examples:
  gfnode train --data sample:toluene --out runs/toluene
  gfnode train --data md17_ethanol.npz --preset published --set training.epochs=100 --out runs/e
  gfnode train run1.xtc run2.xtc --top molecule.pdb --out runs/replicas
  gfnode train --data sample:toluene --set windows.horizon=500fs --set model.width=32 --out runs/s
  gfnode train --data sample:toluene --set model.name=mean-conformer --out runs/mean
  gfnode train --resume --out runs/toluene

\b
Settings changed most often, with example values:
  training.epochs=60        windows.horizon=1.5ps     model.width=64
  training.batch=64         windows.times=8           model.name=gfnode (see: gfnode models)
  training.rate=2e-3        windows.lags=irregular    seed=1"""
)
@reads()
def train(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE", help="Same as --data; several files may be given, e.g. run*.xtc."
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="Trajectory file, or sample:toluene; repeat for replicas."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Run folder; default runs/<name of the molecule>."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="default, paper or published; see gfnode models."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting; the value is JSON or text, times need units. Repeatable.",
        ),
    ] = None,
    reading: Reading = AS_STORED,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the interrupted run in --out.")
    ] = False,
) -> None:
    """Train a model on trajectories; the result is a run folder.

    It holds weights, configuration, splits and logs (TensorBoard: --logdir RUN). --resume continues
    interrupted training; at most one epoch is lost, or a second or two if epochs are short.
    """
    from gfnode import report

    how: list[str] = []

    def said(run: "Run", dataset: "Dataset") -> None:
        how.append(f"continue with: gfnode train --resume --out {run.folder}")
        for line in report.describe_training(run, dataset):
            typer.echo(line)

    with resumable(how):
        changes = read_settings(settings or [])
        if resume and out is None:
            raise InputError("--resume needs the run folder to continue: --out RUN")
        from gfnode.run import fitting

        reader = reading.reader()
        data = [*(files or []), *(data or [])]
        if resume and (data or preset or changes or reader.options()):
            raise InputError(
                "--resume uses the data and settings of the run: leave out --data, --preset, "
                "--set and options for reading files"
            )
        if not (resume or data):
            raise InputError("no data: give a trajectory, e.g. gfnode train sample:toluene")

        if resume:
            run = fitting.resume(str(out), said=said)
            if not how:
                typer.echo(report.describe_end(run))
        else:
            run = fitting.fit(
                data,
                preset=preset or "default",
                changes=changes,
                out=out,
                reader=reader,
                said=said,
            )
    for line in report.describe_result(run):
        typer.echo(line)
