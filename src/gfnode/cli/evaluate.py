"""``gfnode evaluate``."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gfnode import runfiles
from gfnode.cli.app import app
from gfnode.cli.bars import counting, naming
from gfnode.cli.console import note
from gfnode.cli.options import (
    AS_STORED,
    Geometry,
    Json,
    Output,
    Reading,
    RunFolder,
    keep_inputs,
    load_for,
    reads,
    with_geometry,
)
from gfnode.errors import InputError

if TYPE_CHECKING:
    from gfnode.run import Run


@app.command(
    epilog="""\b
Examples:
  gfnode evaluate runs/toluene
  gfnode evaluate runs/toluene --json errors.json
  gfnode evaluate runs/toluene --json - | jq .verdicts
  gfnode evaluate runs/toluene --data another_trajectory.npz
  gfnode evaluate runs/toluene --no-physics
  gfnode evaluate runs/toluene --geometry molecule --json molecules.json
  gfnode evaluate runs/toluene --atoms all --torsion spin=0-1-4-6
  gfnode evaluate runs/ala2 --torsion "peptide=1:C-2:N-2:CA-2:CB" """
)
@reads()
def evaluate(
    run: RunFolder,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Evaluate on every window of this trajectory of the same molecule, instead of "
            "the test part of the training data. Repeatable.",
        ),
    ] = None,
    reading: Reading = AS_STORED,
    json_file: Json = None,
    physics: Annotated[
        bool,
        typer.Option(
            "--physics/--no-physics",
            help="Measure how physical the predictions are: bonds, angles, torsions, clashes, "
            "shape, spectra.",
        ),
    ] = True,
    atoms: Annotated[
        str,
        typer.Option(
            metavar="heavy|all",
            help="Measure geometry and shape of the heavy atoms, or of all atoms of the model.",
        ),
    ] = "heavy",
    torsion: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=A-B-C-D",
            help="Also compare this dihedral; atoms by number from 0, name, or RESIDUE:NAME. "
            "Repeatable.",
        ),
    ] = None,
    energy: Annotated[
        str | None,
        typer.Option(
            metavar="ENGINE",
            help="Also compute potential energies, with xtb or openmm (takes minutes).",
        ),
    ] = None,
    geometry: Geometry = "mean",
    plot: Annotated[
        bool, typer.Option(help="Plot error against lag in the run folder (test part only).")
    ] = True,
) -> None:
    """Compare a model with trivial baselines on held-out windows.

    Reports errors with verdicts, and how physical the predictions are.
    """
    from gfnode import report
    from gfnode.files import as_json
    from gfnode.molecule.torsions import read_torsions
    from gfnode.physics.energy import check_engine
    from gfnode.run import Run

    output = Output(json_file)
    terminal = output.terminal
    looked = _atoms(atoms)
    reading.check_used(data)
    found = with_geometry(Run.open(run), geometry)
    keep_inputs([output.target], data or [], reading.top, found)
    given = load_for(found, data, reading.reader()) if data else found.trajectories()
    own = found.provenance.arrange(given) is not None
    if torsion and not physics:
        raise InputError("--torsion is compared with the physics: leave --no-physics out")
    if energy and not physics:
        raise InputError("--energy is measured with the physics: leave --no-physics out")
    if energy:
        check_engine(found.model.system, energy, given[0].topology)
    read_torsions(torsion or [], given[0].n_atoms, given[0].topology)  # says what is wrong
    keeps = own and not found.exported and geometry == "mean" and _can_keep(found)
    with counting("predicting", "windows") as report_windows:
        evaluation = found.evaluate(given, save=keeps, report=report_windows)
    result = as_json(evaluation.to_dict())
    output.say(report.describe_evaluation(found, given, result, own))
    terminal.print()
    terminal.print(report.error_table(result))
    terminal.print(report.lag_table(result))
    output.say(*report.verdicts(result))
    doubt = found.facts.get("doubt")
    output.say(*filter(None, (doubt, report.error_bars(result), report.symmetries(result))))
    if physics:
        from gfnode.physics import stages

        with naming("physics", "predicting", stages(found)) as advance:
            measured = found.physics(
                given,
                save=keeps,
                atoms=looked,
                torsions=torsion or [],
                energy=energy,
                evaluation=evaluation,
                advance=advance,
            )
        result["physics"] = as_json(measured.numbers)
        terminal.print()
        terminal.print(report.physics_table(result["physics"]))
        if (moving := report.motion_table(result["physics"])) is not None:
            terminal.print(moving)
        output.say(*report.motion_reasons(result["physics"]))
    if plot and keeps:
        output.say(f"plot: {report.plot_error_against_lag(run)}")
    output.numbers(result)


def _can_keep(run: "Run") -> bool:
    """Whether the run folder takes results: told at once where it does not."""
    from gfnode.files import check_writable

    try:
        check_writable(run.folder / runfiles.EVALUATION)
    except InputError as error:
        note(f"{error}: results are shown, but only --json FILE saves them")
        return False
    return True


def _atoms(text: str) -> Literal["heavy", "all"]:
    if text == "heavy":
        return "heavy"
    if text == "all":
        return "all"
    raise InputError(f"--atoms {text}: expected heavy or all")
