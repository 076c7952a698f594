"""``gfnode convert``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfnode.cli.app import app
from gfnode.cli.bars import counting
from gfnode.cli.console import note
from gfnode.cli.options import AS_STORED, Reading, keep_inputs, reads
from gfnode.errors import InputError
from gfnode.units import count, format_time

if TYPE_CHECKING:
    from gfnode.trajectory import Trajectory


@app.command(
    epilog="""\b
Examples:
  gfnode convert run.xtc run.npz --top molecule.pdb
  gfnode convert run.dcd run.extxyz --top molecule.pdb --step 5fs --stride 10
  gfnode convert md.xtc protein.xtc --top md.pdb --select "protein and not element H" --align heavy
  gfnode convert part1.xtc part2.xtc all.xtc --top molecule.pdb
  gfnode convert part1.dcd part2.dcd all.npz --top molecule.pdb --step 2fs --in-sequence
  gfnode convert md17:ethanol ethanol.xtc
  gfnode convert sample:toluene toluene.npz --precision 0.001

\b
The suffix of OUT determines its format: .npz, .extxyz, .xyz, .traj, .h5, .xtc, .trr, .nc,
.lammpstrj, .dcd or .pdb. What the format cannot store is reported on stderr. With .xtc, .trr, .nc
and .dcd, a topology is written as .pdb."""
)
@reads(without=["each_molecule"])
def convert(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="IN...",
            help="Trajectory; several files are joined if they are parts of one series.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write.")],
    reading: Reading = AS_STORED,
    in_sequence: Annotated[
        bool,
        typer.Option(
            "--in-sequence",
            help="Files follow one another in the order given; times continue from one to the "
            "next.",
        ),
    ] = False,
    align: Annotated[
        str | None,
        typer.Option(
            metavar="ATOMS",
            help="Superpose all frames on these of the atoms that are kept (see --select).",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="With --align: superpose on the first frame (default) or on the mean.",
        ),
    ] = None,
    no_cell: Annotated[bool, typer.Option("--no-cell", help="Drop the periodic cell.")] = False,
    precision: Annotated[
        float | None,
        typer.Option(
            metavar="ANGSTROM",
            help="npz: round positions to this many Å (at most 0.1), which takes a third of the "
            "space.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace OUT and its topology if they exist.")
    ] = False,
) -> None:
    """Convert trajectories: format, atoms, stride, box, alignment."""
    from dataclasses import replace

    from gfnode import convert as work
    from gfnode.readers.joined import load_joined
    from gfnode.readers.saving import topology_path
    from gfnode.trajectory.selection import choose

    keep_inputs([out], files, reading.top)
    work.check_target(out.expanduser(), files, force=force, precision=precision)
    if reference is not None and align is None:
        raise InputError(
            f"--reference {reference} has no effect without --align: add --align ATOMS, or "
            "leave it out"
        )
    with counting("reading", "frames") as read:
        how = {key: value for key, value in vars(reading).items() if key != "each_molecule"}
        trajectory = load_joined(files, in_sequence=in_sequence, progress=read, **how)
    if no_cell:
        trajectory = replace(trajectory, cell=None)
    aligner = None
    if align is not None:
        atoms = choose(align, trajectory.numbers, trajectory.topology, "--align")
        aligner = work.Aligner(trajectory, atoms, reference or "first")
    for each in trajectory.notes:
        note(each)
    for lost in work.losses(trajectory, out.suffix, turned=aligner is not None):
        typer.echo(lost.line, err=True)
    read_from = files if reading.top is None else [*files, reading.top]
    there = work.beside(out.expanduser(), trajectory, read_from, force=force)
    with counting("writing", "frames") as written:
        path = work.write(
            trajectory,
            out.expanduser(),
            aligner=aligner,
            precision=precision,
            anew=there is None,
            new=not force,
            progress=written,
        )
    typer.echo(f"{path}: {_what(trajectory)}, {path.stat().st_size / 1e6:.3g} MB")
    if (topology := topology_path(path)) is not None:
        was = " (was there)" if there is not None else ""
        typer.echo(f"{topology}: its topology{was}")


def _what(trajectory: "Trajectory") -> str:
    said = f"{count(len(trajectory), 'frame')} of {trajectory.n_atoms} atoms ({trajectory.formula})"
    if len(trajectory) == 1:
        return said
    even = trajectory.spacing
    said += f", every {format_time(even)}" if even else ", unevenly spaced in time"
    return f"{said}, {format_time(trajectory.span)}"
