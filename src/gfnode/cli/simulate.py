"""``gfnode simulate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfnode.cli.app import app
from gfnode.cli.bars import new_bar
from gfnode.cli.console import WITH_RESUME, resumable
from gfnode.cli.options import keep_inputs, read_settings
from gfnode.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress

    from gfnode.progress import Report
    from gfnode.simulate.run import Simulation


@app.command(
    epilog="""\b
Examples:
  gfnode simulate ethanol --engine xtb --temperature 500K --steps 100000
  gfnode simulate "CC(C)O" --length 20ps --every 2fs --out isopropanol.npz
  gfnode simulate cluster.xyz --engine emt --temperature 300K --length 50ps
  gfnode simulate water.xyz --engine my_module:Calculator --option cutoff=6.0 --length 5ps
  gfnode simulate ala2 --engine openmm --force-field amber99sbildn --solvent obc --length 50ns
  gfnode simulate ala2 --engine openmm --solvent tip3p --length 1ns --every 1ps --out ala2.xtc
  gfnode simulate toluene --temperature 500K --length 50ps --replicas 4 --resume"""
)
def simulate(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="A built-in molecule (aspirin, azobenzene, benzene, ethanol, malonaldehyde, "
            "naphthalene, paracetamol, salicylic, toluene, uracil, ala2), a structure file, or "
            "SMILES.",
        ),
    ],
    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="xtb (GFN2-xTB), openmm (force fields), an ASE calculator by name (emt), or any "
            "other as module:Class.",
        ),
    ] = "xtb",
    temperature: Annotated[
        str, typer.Option(metavar="KELVIN", help="Temperature, e.g. 500K.")
    ] = "300K",
    steps: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="Time steps after equilibration; or give --length."),
    ] = None,
    length: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Simulated time after equilibration, e.g. 50ps."),
    ] = None,
    time_step: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Integration time step. Default: 0.5fs; openmm 2fs."),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time between frames. Default: 5fs; openmm 1ps."),
    ] = None,
    equilibrate: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Equilibration time before the first frame. Default: 2ps; openmm 100ps.",
        ),
    ] = None,
    thermostat: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="bussi (keeps momenta at zero; not for openmm), langevin, or none (constant "
            "energy after equilibration). Default: bussi; openmm langevin.",
        ),
    ] = None,
    coupling: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Time constant of the thermostat. Default: 100fs; openmm 1ps."
        ),
    ] = None,
    degrees: Annotated[
        str,
        typer.Option(
            metavar="free|3N",
            help="Degrees of freedom counted in the temperature: those that move, or all 3N, as "
            "in MD17.",
        ),
    ] = "free",
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="Keyword argument of an ASE calculator. Repeatable."
        ),
    ] = None,
    force_field: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="OpenMM force field, or an XML file. Default: amber99sbildn."
        ),
    ] = None,
    solvent: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="obc (implicit water), vacuum, or a water box: tip3p, spce or tip3pfb. Default: "
            "obc.",
        ),
    ] = None,
    padding: Annotated[
        float | None,
        typer.Option(
            metavar="ANGSTROM",
            help="Minimum distance from the molecule to the faces of the box. Default: 10.",
        ),
    ] = None,
    constraints: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="hbonds (rigid bonds to hydrogen) or none (use --time-step 0.5fs). Default: "
            "hbonds.",
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(metavar="solute|all", help="Atoms to store. Default: solute."),
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="OpenMM platform: Reference, CPU, CUDA, … Default: the fastest in a short test.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="NUMBER", help="The same seed gives the same trajectory.")
    ] = 0,
    replica: Annotated[
        int,
        typer.Option(metavar="NUMBER", help="Number of the (first) replica, for the same seed."),
    ] = 0,
    replicas: Annotated[
        int,
        typer.Option(
            metavar="NUMBER", help="Independent runs, one after the other; e.npz becomes e-0.npz, …"
        ),
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write: .npz, .extxyz, .xtc, … Default: the molecule's name with .npz.",
        ),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            metavar="ANGSTROM",
            help="Round positions in an npz file, e.g. 1e-4, which makes it three times smaller.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue where it stopped; start if there is nothing yet."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start over, and replace the file at the end.")
    ] = False,
) -> None:
    """Simulate a molecule with xTB, OpenMM or ASE calculators.

    Frames have velocities, and the file records how they were made. A simulation that was killed
    is kept in FILE.unfinished; the same command with --resume continues it.
    """
    from gfnode.readers.unfinished import check_one_way
    from gfnode.simulate.run import prepare

    check_one_way(resume=resume, overwrite=overwrite)
    if replicas < 1:
        raise InputError(f"--replicas is {replicas}, expected a whole number from 1")
    box: dict[str, Any] = {
        "force_field": force_field,
        "solvent": solvent,
        "padding": padding,
        "constraints": constraints,
        "keep": keep,
        "platform": platform,
    }
    for number in range(replicas):
        simulation = prepare(
            what,
            engine=engine,
            options=read_settings(option or [], "--option", "accuracy=0.1"),
            openmm={key: value for key, value in box.items() if value is not None},
            temperature=temperature,
            steps=steps,
            length=length,
            time_step=time_step,
            every=every,
            equilibrate=equilibrate,
            thermostat=thermostat,
            coupling=coupling,
            degrees=degrees,
            seed=seed,
            replica=replica + number,
        )
        path = out or Path(f"{simulation.molecule.name}.npz")
        if replicas > 1:
            path = path.with_stem(f"{path.stem}-{replica + number}")
        keep_inputs([path], [what], None)
        _run(simulation, path, resume, overwrite, precision)


def _run(
    simulation: "Simulation", path: Path, resume: bool, overwrite: bool, precision: float | None
) -> None:
    from rich.progress import BarColumn

    from gfnode.readers.saving import check_target
    from gfnode.simulate.report import describe_outcome, describe_plan

    check_target(path)
    typer.echo(describe_plan(simulation, path))
    columns = "{task.description}", BarColumn(), "{task.fields[said]}"
    with resumable([WITH_RESUME]), new_bar(*columns, leaves=True) as bar:
        outcome = simulation.run(
            path,
            resume=resume,
            overwrite=overwrite,
            precision=precision,
            progress=_told(bar, simulation),
        )
    for line in describe_outcome(simulation, outcome, path):
        typer.echo(line)


def _told(bar: "Progress", simulation: "Simulation") -> "Report":
    """What shows the progress: where it stands, how fast it goes, and the time that is left."""
    from gfnode.simulate.report import Pace

    task = bar.add_task("simulating", total=simulation.protocol.last_step or 1, said="")
    pace = Pace(simulation.protocol)

    def told(step: int, _last: int) -> None:
        phase = "equilibrating" if step < simulation.protocol.equilibrate else "simulating"
        bar.update(task, completed=step, description=phase, said=pace.describe(step))

    return told
