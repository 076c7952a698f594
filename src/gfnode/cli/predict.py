"""``gfnode predict``."""

from typing import Annotated

import typer

from gfnode.cli.app import app
from gfnode.cli.console import note
from gfnode.cli.options import (
    AS_STORED,
    Frames,
    Geometry,
    Overwrite,
    Reading,
    RunFolder,
    Start,
    StartFrame,
    keep_inputs,
    keep_results,
    load_start,
    reads,
    with_geometry,
)
from gfnode.units import count, format_time, parse_times


@app.command(
    epilog="""\b
Examples:
  gfnode predict runs/toluene --start sample:toluene --times 100fs,500fs,1.5ps --out traj.xtc
  gfnode predict runs/toluene --start sample:toluene --frame 2000 --times 0.1ps:1.5ps:0.1ps \\
      --out traj.extxyz
  gfnode predict runs/toluene --start sample:toluene --times 1.5ps --geometry molecule --out m.pdb
  gfnode predict runs/replicas --start run3.xtc --top molecule.pdb --times 50ps --out traj.npz"""
)
@reads()
def predict(
    run: RunFolder,
    start: Start,
    times: Annotated[
        str,
        typer.Option(
            metavar="TIMES",
            help="Times after the start, with units, e.g. 100fs,500fs,1.5ps or a range "
            "first:last:step.",
        ),
    ],
    out: Frames,
    frame: StartFrame = None,
    geometry: Geometry = "mean",
    overwrite: Overwrite = False,
    reading: Reading = AS_STORED,
) -> None:
    """Predict conformations at any times after one start."""
    from gfnode.convert import times_lost
    from gfnode.prediction import not_in_loss
    from gfnode.readers.formats import format_of
    from gfnode.readers.saving import topology_path
    from gfnode.run import Run

    lags = parse_times(times)
    found = Run.open(run)
    keep_inputs([out], [start], reading.top, found)
    keep_results([out], overwrite=overwrite)
    trajectory = load_start(found, start, reading.reader())[0]
    frame = found.velocity_rule.first(trajectory) if frame is None else frame
    predicted = with_geometry(found, geometry).predict(trajectory, lags, frame=frame)
    keep_results([out], overwrite=overwrite)  # another process may have been here meanwhile
    predicted.save(out)
    holds = format_of(out).holds
    if holds is not None:
        for lost in times_lost(predicted, out.suffix.lower(), holds):
            typer.echo(lost.line, err=True)
    began = float(trajectory.times[frame])
    first, last = (format_time(float(time) - began) for time in predicted.times[[0, -1]])
    span = f"{first} to {last}" if len(predicted) > 1 else last
    typer.echo(
        f"{out}: {count(len(predicted), 'frame')} of {predicted.n_atoms} atoms "
        f"({predicted.formula}), {span} after "
        f"frame {frame % len(trajectory)} of {trajectory.label} (at {format_time(began)})"
    )
    if unseen := not_in_loss(found.model):
        note(f"{unseen}; to include them, train with --set windows.score=all")
    if predicted.deviations is not None:
        low, high = predicted.deviations.min(), predicted.deviations.max()
        where = (holds and holds.deviations) or (
            f"{out.suffix.lower()} cannot store them; .npz, .extxyz and .pdb can"
        )
        typer.echo(f"standard deviations of coordinates: {low:.2g} to {high:.2g} Å ({where})")
    if (topology := topology_path(out)) is not None:
        typer.echo(f"{topology}: its topology")
