"""Where the file of a source lies: the user's own, the sample, or one of the catalogue."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from gfnode import catalogue
from gfnode.errors import InputError
from gfnode.readers.source import Source

SAMPLES = ("toluene",)
"""Trajectories that come with the package, opened as ``sample:toluene``."""


@dataclass(frozen=True)
class Place:
    """A file, and what is known of it beforehand.

    Parameters
    ----------
    path
        The file.
    top, step
        Topology, and time between frames in fs, for where the user names none.
    formula
        What it must hold.
    name
        What the molecule is called, for where the file names none.
    """

    path: Path
    top: Path | None = None
    step: float | None = None
    formula: str | None = None
    name: str = ""

    def check(self, source: Source) -> None:
        """Refuse another molecule than the one expected.

        Raises
        ------
        InputError
            See above.
        """
        if self.formula is None:
            return
        from gfnode.trajectory import formula_of

        if (formula := formula_of(source.numbers)) != self.formula:
            raise InputError(f"{self.path}: holds {formula}, expected {self.formula}")


@contextmanager
def place_of(source: str | Path) -> Iterator[Place]:
    """Give the file of a source.

    Raises
    ------
    InputError
        For an unknown sample or data set, and one that is not on this machine.
    """
    text = str(source)
    if text.startswith("sample:"):
        sample = text.removeprefix("sample:")
        if sample not in SAMPLES:
            known = ", ".join(f"sample:{each}" for each in SAMPLES)
            raise InputError(f"unknown sample {source}: expected {known}")
        with as_file(files("gfnode") / "data" / f"{sample}.npz") as path:
            yield Place(path)
    elif isinstance(source, str) and _in_catalogue(source):
        found = catalogue.locate(source)
        yield Place(found.path, found.top, found.step_fs, found.formula, found.molecule)
    else:
        yield Place(Path(source).expanduser())


def sources_of(source: str | Path) -> list[str | Path]:
    """One source for each trajectory: an entry of the catalogue may hold several runs."""
    if isinstance(source, str) and _in_catalogue(source):
        return [found.name for found in catalogue.locate_all(source)]
    return [source]


def _in_catalogue(source: str) -> bool:
    if source.startswith("sample:"):
        return False
    return catalogue.is_name(source) and not Path(source).exists()
