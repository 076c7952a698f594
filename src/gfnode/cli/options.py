"""Options that several commands take, and what they stand for."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfnode.errors import InputError

if TYPE_CHECKING:
    from gfnode.trajectory import Trajectory

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


def read_settings(items: Sequence[str]) -> dict[str, Any]:
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


def load(files: Sequence[str], top: str | None, step: str | None) -> "list[Trajectory]":
    """Read the files of a command."""
    from gfnode import readers

    return [readers.load(file, top=top, step=step) for file in files]


def json_target(text: str | None) -> Path | None:
    """Where JSON goes: a file, or None for the console or nowhere."""
    if text is None or text == "-":
        return None
    path = Path(text)
    if path.exists() and not path.is_file():  # a rename would replace a device
        raise InputError(f"--json {path}: is not a file; give a file name, or - for the console")
    return path
