"""Options that several commands take, and what they stand for."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfnode import runfiles
from gfnode.cli.console import console, note
from gfnode.errors import InputError

if TYPE_CHECKING:
    from gfnode.readers import Reader
    from gfnode.run import Run
    from gfnode.trajectory import Trajectory

Top = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Topology (PDB, GRO, …) for files without elements: XTC, TRR, NetCDF, DCD, and "
        "LAMMPS dumps without a column element.",
    ),
]
Step = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Time between frames, e.g. 2fs, if the file stores no or wrong times (rMD17: time "
        "step of the original series).",
    ),
]

Select = Annotated[
    str | None,
    typer.Option(
        metavar="ATOMS",
        help="Atoms to keep: all, heavy, solute, indices (0-7,12) or an expression such as "
        "'protein and not element H'. Default: all but water and ions, if there is anything "
        "else.",
    ),
]
Stride = Annotated[int | None, typer.Option(metavar="N", help="Keep every N-th frame.")]
Map = Annotated[
    str | None,
    typer.Option(
        "--map",
        metavar="WHAT=ARRAY:UNIT,...",
        help="What the arrays of an npz file hold, e.g. positions=coords:nm,numbers=Z,times=t:ps.",
    ),
]
Unit = Annotated[
    str | None,
    typer.Option(
        metavar="UNIT",
        help="Unit of length in the file, if not the usual one of its format: angstrom, nm, bohr "
        "or pm.",
    ),
]
Whole = Annotated[
    bool | None,
    typer.Option(
        "--whole/--as-stored",
        help="Make molecules cut by a periodic box whole and their motion continuous (default if "
        "there is a box), or keep frames as stored.",
    ),
]
EachMolecule = Annotated[
    bool | None,
    typer.Option(
        "--each-molecule", help="Split a box of identical molecules: each becomes a replica."
    ),
]

RunFolder = Annotated[Path, typer.Argument(help="Run folder of gfnode train.", metavar="RUN")]
Start = Annotated[
    str,
    typer.Option(metavar="FILE", help="Trajectory of the same molecule that contains the start."),
]
StartFrame = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        help="Frame of --start to start from, counted from 0; -1 is the last one. Default: the "
        "first that has velocities.",
    ),
]

Frames = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        help="File to write: .xtc, .npz, .extxyz, .traj, .trr, .nc, .lammpstrj, .dcd, .h5 or .pdb.",
    ),
]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace --out if it already exists.")]

Json = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Write all numbers as JSON; - prints them."),
]

Geometry = Annotated[
    str,
    typer.Option(
        metavar="mean|molecule",
        help="What is predicted: the mean of all possible outcomes, which has the least squared "
        "error, or a molecule close to it with usual bond lengths and angles.",
    ),
]


@dataclass(frozen=True)
class Reading:
    """How the user wants files to be read; see :class:`gfnode.readers.Reader`."""

    top: Top = None
    step: Step = None
    select: Select = None
    stride: Stride = None
    whole: Whole = None
    mapping: Map = None
    unit: Unit = None
    each_molecule: EachMolecule = None

    def reader(self) -> "Reader":
        """The reader that does so."""
        from gfnode.readers import Reader

        return Reader(**vars(self))

    def check_used(self, files: Sequence[str] | None) -> None:
        """Refuse to be given where no file of ``--data`` is read: it would change nothing.

        Raises
        ------
        InputError
            Names the options.
        """
        names = {"mapping": "map", "whole": "whole" if self.whole else "as-stored"}
        given = [names.get(key, key) for key, value in vars(self).items() if value is not None]
        if given and not files:
            said = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise InputError(
                f"{said}: only for files given with --data, and there are none; the training data "
                "is read as in training: give files with --data, or leave this out"
            )


AS_STORED = Reading()


def reads(*, without: Sequence[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command, in place of its parameter ``reading``, the options of :class:`Reading`."""

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        kinds = {k: v for k, v in Reading.__annotations__.items() if k not in without}
        keyword = inspect.Parameter.KEYWORD_ONLY
        options = [
            inspect.Parameter(k, keyword, default=None, annotation=v) for k, v in kinds.items()
        ]
        signature = inspect.signature(command)
        parameters: list[inspect.Parameter] = []
        for each in signature.parameters.values():
            parameters += options if each.name == "reading" else [each.replace(kind=keyword)]

        @wraps(command)
        def run(**given: Any) -> None:
            reading = Reading(**{key: given.pop(key) for key in kinds})
            command(reading=reading, **given)

        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return wrap


def read_settings(
    items: Sequence[str], option: str = "--set", example: str = "training.epochs=5"
) -> dict[str, Any]:
    """Read ``key=value``."""
    from gfnode.settings import read_value

    changes = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not (equals and key.strip()):
            raise InputError(f"{option} {item}: expected key=value, e.g. {option} {example}")
        changes[key.strip()] = read_value(text)
    return changes


def load(files: Sequence[str], reader: "Reader") -> "list[Trajectory]":
    """Read the files of a command."""
    return [trajectory for file in files for trajectory in reader.load(file)]


def load_for(run: "Run", files: Sequence[str], given: "Reader") -> "list[Trajectory]":
    """Read files as said, else as the run's own; what a user should know goes to stderr."""
    found: list[Trajectory] = []
    for file in files:
        reader = run.provenance.reader(file, given)
        said = given.options()
        taken = {key: value for key, value in reader.options().items() if key not in said}
        if taken:
            words = reader.of(taken).command()
            note(f"{file} is read as in training: {words}")
        found += reader.load(file)
    for each in dict.fromkeys(each for trajectory in found for each in trajectory.notes):
        note(each)
    return found


def load_start(run: "Run", start: str, given: "Reader") -> "list[Trajectory]":
    """Read the file of a start, which lies in the first of what it holds; several are told of."""
    found = load_for(run, [start], given)
    if len(found) > 1:
        taken_apart = run.provenance.reader(start, given).each_molecule
        what = "molecules" if taken_apart else "runs"
        other = "--select ATOMS" if taken_apart else f"--start {start}/1"
        note(
            f"{start} holds {len(found)} {what}: starting from the first; choose another with "
            f"{other}"
        )
    return found


def keep_inputs(
    outputs: Iterable[Path | None],
    files: Iterable[str],
    top: str | None,
    run: "Run | None" = None,
) -> None:
    """Refuse to write over anything that a command reads, or twice to one file.

    Parameters
    ----------
    outputs
        What it writes; None: nothing.
    files, top
        What the user names.
    run
        Whose own files and training data are read as well.

    Raises
    ------
    InputError
        Names the output.
    """
    from gfnode.files import check_apart
    from gfnode.readers import FORMATS
    from gfnode.readers.saving import topology_path

    inputs: list[str | Path] = [*files, *filter(None, [top])]
    if run is not None:
        from gfnode.run.exported import CONFIG

        inputs += [run.folder / name for name in (runfiles.RUN, CONFIG)]
        inputs += run.folder.glob("*.safetensors")
        inputs += () if run.exported else run.provenance.inputs  # of strangers: names, no places
    written: dict[Path, str] = {}
    for path in filter(None, outputs):
        check_apart(path, inputs)
        topology = topology_path(path) if path.suffix.lower() in FORMATS else None
        for each in filter(None, (path, topology)):
            if (place := each.expanduser().resolve()) in written:
                raise InputError(
                    f"{each}: would be written twice{written[place]}: name another file"
                )
            written[place] = "" if each == path else f", once as the topology of {path}"


def keep_results(outputs: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse trajectories that cannot be written, or not without ``overwrite``.

    Raises
    ------
    InputError
        Names the file.
    """
    from gfnode.readers.saving import check_target

    for path in outputs:
        check_target(path.expanduser())
        if path.expanduser().exists() and not overwrite:
            raise InputError(
                f"{path}: already exists: give another name, or replace it with --overwrite"
            )


class Output:
    """Words on the terminal, and the numbers where ``--json`` wants them.

    Attributes
    ----------
    terminal
        Of words: stderr where the numbers are printed.
    target
        File of the numbers; None: the console, or none.
    """

    def __init__(self, json_file: str | None) -> None:
        self.target = _json_target(json_file)
        self._printed = json_file == "-"
        self.terminal = console(stderr=self._printed)

    def say(self, *lines: str) -> None:
        """Print lines of words, which a terminal wraps."""
        for line in lines:
            self.terminal.print(line, soft_wrap=True)

    def numbers(self, result: Any) -> None:
        """Write them, or print them, or neither."""
        from gfnode.files import to_json, write_json

        if self.target is not None:
            write_json(self.target, result)
            self.say(f"numbers: {self.target}")
        elif self._printed:
            typer.echo(to_json(result))


def _json_target(text: str | None) -> Path | None:
    if text is None or text == "-":
        return None
    path = Path(text)
    if not path.parent.is_dir():
        raise InputError(f"--json {path}: the folder {path.parent} does not exist")
    try:
        TemporaryFile(dir=path.parent).close()
    except OSError as error:
        said = f"cannot write to the folder {path.parent}: {error.strerror}"
        raise InputError(f"--json {path}: {said}") from error
    if path.exists() and not path.is_file():  # a rename would replace a device
        raise InputError(f"--json {path}: is not a file; give a file name, or - for the console")
    return path


def with_geometry(run: "Run", geometry: str) -> "Run":
    """Give a run whose predictions are as asked for.

    Raises
    ------
    InputError
        For an unknown kind, or where molecules cannot be made.
    """
    if geometry not in ("mean", "molecule"):
        raise InputError(f"--geometry {geometry}: expected mean or molecule")
    return run.as_molecules() if geometry == "molecule" else run
