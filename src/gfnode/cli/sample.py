"""``gfnode sample``."""

from pathlib import Path
from typing import Annotated

import typer

from gfnode.cli.app import app
from gfnode.cli.bars import new_bar
from gfnode.cli.options import (
    AS_STORED,
    Overwrite,
    Reading,
    Start,
    StartFrame,
    keep_inputs,
    keep_results,
    load_start,
    reads,
)
from gfnode.units import format_time, parse_times


@app.command(
    epilog="""\b
Examples:
  gfnode sample runs/ethanol --start ethanol.npz --times 0.1ps:1.5ps:0.1ps --samples 50 --out e.npz
  gfnode train --data sample:toluene --set model.name=ito --out runs/ito
  gfnode sample runs/ito --start sample:toluene --frame 4000 --times 1ps --samples 100 --out e.npz
  gfnode sample runs/ito --start sample:toluene --times 100fs,1ps --solver ancestral --out e.xtc"""
)
@reads()
def sample(
    run: Annotated[
        Path, typer.Argument(help="Run folder of a model that can sample.", metavar="RUN")
    ],
    start: Start,
    times: Annotated[
        str,
        typer.Option(
            metavar="TIMES",
            help="Times after the start, with units, e.g. 100fs,1ps or a range first:last:step.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="File to write: .xtc, .npz, .extxyz, …; with several times, one file each (e.npz "
            "becomes e-100fs.npz).",
        ),
    ],
    samples: Annotated[
        int, typer.Option(metavar="NUMBER", help="Conformations to draw at each time.")
    ] = 100,
    frame: StartFrame = None,
    solver: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="For model ito: dpm (DPM-Solver, few steps; the default) or ancestral (DDPM).",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="Solver steps; default 40, ancestral 500."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="NUMBER", help="The same seed gives the same samples.")
    ] = 0,
    overwrite: Overwrite = False,
    reading: Reading = AS_STORED,
) -> None:
    """Draw an ensemble of conformations at times after one start.

    This needs a model with a learned potential, or the model ito. The frames of a file are
    independent samples, not a time series. With a learned potential, frame k of all files belongs
    to one motion; for a trajectory in time see gfnode rollout.
    """
    from gfnode.readers.saving import topology_path
    from gfnode.run import Run

    lags = list(dict.fromkeys(parse_times(times)))
    found = Run.open(run)
    several = len(lags) > 1
    outputs = [_path(out, lag, several) for lag in lags]
    keep_inputs(outputs, [start], reading.top, found)
    keep_results(outputs, overwrite=overwrite)
    trajectory = load_start(found, start, reading.reader())[0]
    frame = found.velocity_rule.first(trajectory) if frame is None else frame
    with new_bar() as bar:
        task = bar.add_task("samples", total=samples * len(lags))
        drawn = found.sample(
            trajectory,
            lags,
            samples,
            frame=frame,
            solver=solver,
            steps=steps,
            seed=seed,
            advance=lambda done: bar.advance(task, done),
        )
    keep_results(outputs, overwrite=overwrite)  # another process may have been here meanwhile
    place = frame % len(trajectory)
    for lag, ensemble in drawn.items():
        said = format_time(lag)
        path = _path(out, lag, several)
        ensemble.save(path)
        typer.echo(
            f"{path}: {len(ensemble)} samples of {ensemble.n_atoms} atoms "
            f"({ensemble.formula}), {said} after frame {place} of {trajectory.label}"
        )
        if (topology := topology_path(path)) is not None:
            typer.echo(f"{topology}: its topology")


def _path(out: Path, lag: float, several: bool) -> Path:
    """Where the samples at a lag go."""
    exact = format_time(lag, digits=12).replace(" ", "")
    return out.with_stem(f"{out.stem}-{exact}") if several else out
