"""``gfnode ramachandran``."""

from pathlib import Path
from typing import Annotated

import typer

from gfnode.cli.app import app
from gfnode.cli.options import AS_STORED, Json, Output, Reading, keep_inputs, load, reads


@app.command(
    epilog="""\b
Examples:
  gfnode ramachandran run1.xtc run2.xtc --top molecule.pdb --out rama.png
  gfnode ramachandran md.xtc --top md.pdb --residue LYS7 --json populations.json
  gfnode ramachandran md.xtc --top md.pdb --basin helix=-100:-30,-80:-5
  gfnode ramachandran sample:toluene --torsion a=0-1-4-6 --torsion b=1-4-6-9 --out ab.png"""
)
@reads()
def ramachandran(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Trajectory file; several files of the same atoms are compared as runs.",
        ),
    ],
    reading: Reading = AS_STORED,
    residue: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Residue such as ALA2; default: the first with φ and ψ."),
    ] = None,
    torsion: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=A-B-C-D",
            help="Two dihedrals instead of φ and ψ; atoms by number from 0, name, or "
            "RESIDUE:NAME. Give it twice.",
        ),
    ] = None,
    basin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PHI:PHI,PSI:PSI",
            help="A basin in degrees, from:to; it crosses 180° if from is larger. Repeatable; "
            "default: alpha_R, beta, alpha_L for φ and ψ, none for two --torsion.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Plot densities and marginals: .png, .svg or .pdf."),
    ] = None,
    json_file: Json = None,
) -> None:
    """Show the distribution of two dihedrals and its basins."""
    from gfnode.errors import InputError
    from gfnode.files import as_json
    from gfnode.metrics.ramachandran import read_basins
    from gfnode.molecule.torsions import read_torsions
    from gfnode.physics.landscape import landscape, phi_psi
    from gfnode.report import landscape as words
    from gfnode.report.plots import check_picture, save_figure

    output = Output(json_file)
    keep_inputs([out, output.target], files, reading.top)
    check_picture(out)
    if torsion and len(torsion) != 2:
        raise InputError(f"--torsion: expected two dihedrals, got {len(torsion)}")
    if torsion and residue:
        raise InputError(
            f"--residue {residue} and --torsion both say which dihedrals: give one of them"
        )
    basins = read_basins(basin) if basin else None
    trajectories = load(files, reading.reader())
    first = trajectories[0]
    named = list(read_torsions(torsion or [], first.n_atoms, first.topology).items())
    found = landscape(
        trajectories,
        residue=residue,
        pair=(named[0], named[1]) if named else None,
        basins=basins,
    )
    result = as_json(found.to_dict())
    if found.basins:
        output.terminal.print(words.landscape_table(result))
    output.say(*words.landscape_words(result))
    if residue is None and not torsion and len(others := list(phi_psi(first))[1:]) > 0:
        output.say(f"other residues with φ and ψ (--residue): {', '.join(others[:12])}")
    if out is not None:
        densities = [found.density(run) for run in range(len(trajectories))]
        save_figure(words.draw_landscape(result, densities), out, dpi=100)
        output.say(f"plot: {out}")
    output.numbers(result)
