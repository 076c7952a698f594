"""``gfnode predict``."""

from pathlib import Path
from typing import Annotated

import typer

from gfnode.cli.app import app
from gfnode.cli.console import plain_errors
from gfnode.cli.options import EachMolecule, Map, Select, Step, Stride, Top, Whole, load_for
from gfnode.units import format_time, parse_times


@app.command(
    epilog="""\b
Examples:
  gfnode predict runs/toluene --start sample:toluene --times 100fs,500fs,1.5ps --out traj.xtc
  gfnode predict runs/toluene --start sample:toluene --frame 2000 --times 0.1ps:1.5ps:0.1ps \\
      --out traj.extxyz
  gfnode predict runs/replicas --start run3.xtc --top molecule.pdb --times 50ps --out traj.npz"""
)
def predict(
    run: Annotated[Path, typer.Argument(help="Run folder of gfnode train.", metavar="RUN")],
    start: Annotated[
        str,
        typer.Option(metavar="FILE", help="Trajectory of the same molecule that holds the start."),
    ],
    times: Annotated[
        str,
        typer.Option(
            metavar="TIMES",
            help="Times after the start with their units, 100fs,500fs,1.5ps; first:last:step "
            "stands for a range.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="File to write: .xtc, .npz, .extxyz, .trr, .dcd, .h5 or .pdb."
        ),
    ],
    frame: Annotated[
        int, typer.Option(metavar="NUMBER", help="Frame of --start to begin from, counted from 0.")
    ] = 0,
    top: Top = None,
    step: Step = None,
    select: Select = None,
    stride: Stride = None,
    whole: Whole = None,
    mapping: Map = None,
    each_molecule: EachMolecule = None,
) -> None:
    """Predict the conformations at any later times of one start."""
    with plain_errors():
        from gfnode.readers import Reader
        from gfnode.run import Run

        lags = parse_times(times)
        found = Run.open(run)
        reader = Reader(top, step, select, stride, whole, mapping, each_molecule)
        trajectory = load_for(found, [start], reader)[0]
        predicted = found.predict(trajectory, lags, frame=frame)
        predicted.save(out)
        began = float(trajectory.times[frame])
        first, last = (format_time(float(time) - began) for time in predicted.times[[0, -1]])
        frames = f"{len(predicted)} frames" if len(predicted) > 1 else "1 frame"
        span = f"{first} to {last}" if len(predicted) > 1 else last
        typer.echo(
            f"{out}: {frames} of {predicted.n_atoms} atoms ({predicted.formula}), {span} after "
            f"frame {frame} of {trajectory.label} (at {format_time(began)})"
        )
        if out.suffix.lower() in (".xtc", ".trr", ".dcd"):
            typer.echo(f"{out.with_suffix('.pdb')}: its topology")
