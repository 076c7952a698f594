"""How the files of a data set are read: what the command line takes and a run remembers."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from gfnode.errors import InputError
from gfnode.readers.formats import load
from gfnode.readers.places import sources_of
from gfnode.trajectory import Trajectory, given

Data = Trajectory | str | Path | Sequence[Trajectory | str | Path]
"""A trajectory, a file, or several of one molecule."""


@dataclass(frozen=True)
class Reader:
    """How files are to be read; see :func:`gfnode.readers.load` for all but the last.

    Parameters
    ----------
    top, step, select, stride, whole, mapping, unit
        As of :func:`gfnode.readers.load`.
    each_molecule
        Take a box of several molecules of one kind apart: a trajectory for each.
    """

    top: str | None = None
    step: str | float | None = None
    select: str | Sequence[int] | None = None
    stride: int | None = None
    whole: bool | None = None
    mapping: str | None = None
    unit: str | None = None
    each_molecule: bool | None = None

    def load(self, source: str | Path) -> list[Trajectory]:
        """Read a file: one trajectory, or one of each molecule, or of each run of a data set."""
        from gfnode.molecule.replicas import split_molecules

        given = {key: value for key, value in vars(self).items() if value is not None}
        split = given.pop("each_molecule", False)
        found = [load(each, **given) for each in sources_of(source)]
        return [part for each in found for part in (split_molecules(each) if split else [each])]

    def gather(self, data: Data) -> tuple[list[Trajectory], list[str]]:
        """Read what is not read yet.

        Returns
        -------
        list, list
            Trajectories, and the file of each (empty: it was in memory).
        """
        trajectories: list[Trajectory] = []
        files: list[str] = []
        for source in given.several(data):
            if isinstance(source, Trajectory):
                found, file = [source], ""
            else:
                found, file = self.load(source), str(source)
            trajectories += found
            files += [file] * len(found)
        if not trajectories:
            raise InputError("no data: give a trajectory or a file")
        return trajectories, files

    def options(self) -> dict[str, Any]:
        """The options that were given, for a run to remember; the topology from any folder."""
        given = {key: value for key, value in asdict(self).items() if value is not None}
        if "top" in given:
            given["top"] = str(Path(given["top"]).expanduser().resolve())
        if not isinstance(given.get("select", ""), str):
            given["select"] = [int(atom) for atom in given["select"]]
        return given

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`options`.

        Raises
        ------
        InputError
            For options that this gfnode does not know.
        """
        if unknown := options.keys() - {field.name for field in fields(cls)}:
            raise InputError(f"unknown reader options: {', '.join(sorted(unknown))}")
        return cls(**options)

    @classmethod
    def chosen(cls, reader: object) -> "Reader":
        """A reader that a caller gave, or one of no options for None; InputError for others."""
        if reader is None:
            return cls()
        if not isinstance(reader, Reader):
            raise InputError(
                f"the reader is {reader!r:.80}, expected a gfnode.readers.Reader, such as "
                "Reader(step='2fs')"
            )
        return reader

    def over(self, other: "Reader") -> "Reader":
        """These options, and those of another reader where these name none."""
        return replace(other, **{k: v for k, v in asdict(self).items() if v is not None})

    def command(self, anywhere: bool = False) -> str:
        """The options as they are written on the command line.

        The topology is shown from the folder at hand if it lies below it, else, and with
        ``anywhere``, so that the command works in any folder.
        """
        words: list[str] = []
        for key, value in self.options().items():
            if key == "whole":
                words.append("--whole" if value else "--as-stored")
            elif key == "each_molecule":
                words += ["--each-molecule"] if value else []
            elif key == "select" and not isinstance(value, str):
                words += ["--select", ",".join(map(str, value))]
            else:
                shown = str(value) if key != "top" or anywhere else _from_here(value)
                words += ["--map" if key == "mapping" else f"--{key}", shown]
        return shlex.join(words)


def _from_here(path: str) -> str:
    here = Path.cwd().resolve()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
