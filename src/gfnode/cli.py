"""The command line: ``gfnode train``, ``evaluate``, ``predict`` and ``models``.

Heavy libraries are imported inside the commands, so that ``gfnode --help`` answers at once.
"""

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gfnode import __version__
from gfnode.errors import InputError
from gfnode.presets import SUMMARIES
from gfnode.units import format_time, parse_times

if TYPE_CHECKING:
    from gfnode.experiment import Dataset
    from gfnode.run import Run
    from gfnode.trajectory import Trajectory

WIDTH = 110  # columns where there is no terminal: wide enough for every table

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: examples keep their lines
    pretty_exceptions_enable=False,
    help="Learn how a molecule moves: graph Fourier neural ODEs for molecular dynamics.",
    epilog="""\b
A first run with the trajectory that comes with gfnode:
  gfnode train --data sample:toluene --set training.epochs=5 --out runs/toluene
  gfnode evaluate runs/toluene
  gfnode predict runs/toluene --start sample:toluene --times 100fs,500fs,1.5ps --out traj.xtc""",
)

Top = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Topology (PDB, GRO, …) for XTC, TRR and DCD files, which name no elements.",
    ),
]
Step = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Time between frames, e.g. 2fs, where the file names none or a wrong one (rMD17: "
        "time step of the original series).",
    ),
]


def main() -> None:
    """Entry point of the ``gfnode`` command."""
    # OpenMP's threads spin while they wait for one another: alone on a machine that is free, beside
    # other work it costs a factor of eight. A short spin is as fast and leaves half of that.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    app()


@contextmanager
def _plain_errors(begun: Sequence[Path] = ()) -> Iterator[None]:
    """Bad input, a full disk and warnings as one line each on stderr; exit codes 2 and 130.

    ``begun`` holds the run folder once there is something to go on with.
    """
    said: set[str] = set()

    def say(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in said:
            said.add(str(message))
            typer.echo(f"warning: {message}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = say
        try:
            yield
        except InputError as error:
            raise _ends_with(str(error)) from error
        except ArithmeticError as error:
            from gfnode.dynamics.solver import SolverError

            if not isinstance(error, SolverError):
                raise
            raise _ends_with(str(error)) from error
        except OSError as error:
            if error.strerror is None or isinstance(error, BrokenPipeError):
                raise
            where = f"{error.filename}: " if error.filename else ""
            raise _ends_with(f"{where}{error.strerror}") from error
        except KeyboardInterrupt as error:
            hint = f"; go on with: gfnode train --resume --out {begun[0]}" if begun else ""
            typer.echo(f"\ninterrupted{hint}", err=True)
            raise typer.Exit(130) from error


def _ends_with(error: str) -> typer.Exit:
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(2)


@app.callback(invoke_without_command=True)
def _gfnode(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"gfnode {__version__}")
        raise typer.Exit


@app.command(
    epilog="""\b
Examples:
  gfnode train --data sample:toluene --out runs/toluene
  gfnode train --data md17_ethanol.npz --preset published --set training.epochs=100 --out runs/e
  gfnode train --data run1.xtc --data run2.xtc --top molecule.pdb --out runs/replicas
  gfnode train --data sample:toluene --set windows.horizon=500fs --set model.width=32 --out runs/s
  gfnode train --data sample:toluene --set model.name=mean-conformer --out runs/mean
  gfnode train --resume --out runs/toluene

\b
Settings that are changed most:
  training.epochs=60        windows.horizon=1.5ps     model.width=64
  training.batch=64         windows.times=8           model.name=gfnode (see: gfnode models)
  training.rate=2e-3        windows.lags=irregular    seed=1"""
)
def train(
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="Trajectory file, or sample:toluene; repeat it for replicas."
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
            help="Change one setting; the value is JSON or text, times take units. Repeatable.",
        ),
    ] = None,
    top: Top = None,
    step: Step = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted run in --out.")
    ] = False,
) -> None:
    """Train a model on trajectories; the result is a run folder.

    It holds weights, configuration, splits and logs (TensorBoard: --logdir RUN). Training that was
    interrupted goes on with --resume and loses at most one epoch.
    """
    from gfnode import report

    begun: list[Path] = []

    def said(run: "Run", dataset: "Dataset") -> None:
        begun.append(run.folder)
        for line in report.describe_training(run, dataset):
            typer.echo(line)

    with _plain_errors(begun):
        changes = _settings(settings or [])
        if resume and out is None:
            raise InputError("--resume needs the run folder to go on with: --out RUN")
        if resume and (data or preset or changes or top or step):
            raise InputError(
                "--resume goes on with the data and settings of the run; leave out --data, "
                "--preset, --set, --top and --step"
            )
        if not (resume or data):
            raise InputError("no data: give a trajectory with --data, e.g. --data sample:toluene")

        from gfnode import fitting

        if resume:
            run = fitting.resume(str(out), said=said)
        else:
            run = fitting.fit(
                list(data or []),
                preset=preset or "default",
                changes=changes,
                out=out,
                reader=fitting.Reader(top, step),
                said=said,
            )
    for line in report.describe_result(run):
        typer.echo(line)


@app.command(
    epilog="""\b
Examples:
  gfnode evaluate runs/toluene
  gfnode evaluate runs/toluene --json errors.json
  gfnode evaluate runs/toluene --json - | jq .verdicts
  gfnode evaluate runs/toluene --data another_trajectory.npz"""
)
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder of gfnode train.", metavar="RUN")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Evaluate on every window of this trajectory of the same molecule, not on the "
            "test part of the training data. Repeatable.",
        ),
    ] = None,
    top: Top = None,
    step: Step = None,
    json_file: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write every number as JSON; - prints it."),
    ] = None,
    plot: Annotated[
        bool, typer.Option(help="Draw error against lag into the run folder (test part only).")
    ] = True,
) -> None:
    """Compare a trained model with the trivial baselines on held-out windows."""
    with _plain_errors():
        from gfnode import report
        from gfnode.files import to_json, write_json
        from gfnode.run import Run

        target = _json_target(json_file)
        found = Run.open(run)
        given = _load(data, top, step) if data else found.trajectories()
        trained_on = [data["fingerprint"] for data in found.facts["data"]]
        own = [each.fingerprint for each in given] == trained_on
        result = json.loads(to_json(found.evaluate(given).to_dict()))  # null: not finite
        console = _console(stderr=json_file == "-")
        console.print(report.describe_evaluation(found, given, result, own), soft_wrap=True)
        console.print()
        console.print(report.error_table(result))
        console.print(report.lag_table(result))
        for line in report.verdicts(result):
            console.print(line, soft_wrap=True)
        if plot and own:
            console.print(f"plot: {report.plot_error_against_lag(run)}", soft_wrap=True)
        if target is not None:
            write_json(target, result)
            console.print(f"numbers: {target}", soft_wrap=True)
        elif json_file == "-":
            typer.echo(to_json(result))


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
) -> None:
    """Predict the conformations at any later times of one start."""
    with _plain_errors():
        from gfnode.run import Run

        lags = parse_times(times)
        found = Run.open(run)
        trajectory = _load([start], top, step)[0]
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


@app.command(
    epilog="""\b
Examples:
  gfnode models
  gfnode train --data sample:toluene --set model.name=rigid-rotor --out runs/rotor"""
)
def models() -> None:
    """List the models and what they promise, and the presets."""
    with _plain_errors():
        from gfnode.models import MODELS, Symmetry

        console = _console()
        table = Table(title="Models (--set model.name=NAME)", title_justify="left", box=SIMPLE_HEAD)
        for title in ("name", "what it is", "symmetries it keeps"):
            table.add_column(title)
        for name, entry in MODELS.items():
            broken = ", ".join(each for each in Symmetry if each not in entry.model.promises)
            table.add_row(name, entry.summary, f"all but {broken}" if broken else "all")
        console.print(table)
        console.print(
            f"All symmetries: {', '.join(Symmetry)}. The prediction moves, turns, is mirrored "
            "and renumbered as the start is, does not depend on the other starts of a batch nor "
            "on the other lags asked for, and comes back to the start as the lag goes to zero.\n"
        )
        for name, entry in MODELS.items():
            if entry.settings is not None:
                options = ", ".join(f"{k}={v}" for k, v in entry.settings().model_dump().items())
                console.print(f"Options of {name} (--set model.OPTION=VALUE): {options}\n")
        for name, summary in SUMMARIES.items():
            console.print(f"--preset {name}: {summary}")


@app.command(
    epilog="""\b
Examples:
  gfnode settings
  gfnode settings --preset published"""
)
def settings(
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="default, paper or published.")
    ] = "default",
) -> None:
    """List every setting that --set changes, with its value in a preset; times in fs."""
    with _plain_errors():
        from gfnode.experiment import configure

        for section, values in configure(preset).model_dump(mode="json").items():
            for key, value in values.items() if isinstance(values, dict) else [("", values)]:
                typer.echo(f"{section}{'.' if key else ''}{key}={json.dumps(value)}")


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=WIDTH)


def _settings(items: Sequence[str]) -> dict[str, Any]:
    """Read ``key=value``: JSON where it is JSON, else text."""
    changes = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not (equals and key.strip()):
            raise InputError(f"--set {item}: expected key=value, e.g. --set training.epochs=5")
        try:
            changes[key.strip()] = json.loads(text)
        except ValueError:
            changes[key.strip()] = text.strip()
    return changes


def _load(files: Sequence[str], top: str | None, step: str | None) -> "list[Trajectory]":
    from gfnode import readers

    return [readers.load(file, top=top, step=step) for file in files]


def _json_target(text: str | None) -> Path | None:
    """Where JSON goes: a file, or None for the console or nowhere."""
    if text is None or text == "-":
        return None
    path = Path(text)
    if path.exists() and not path.is_file():  # a rename would replace a device
        raise InputError(f"--json {path}: is not a file; give a file name, or - for the console")
    return path
