"""Where the file of a source lies: the user's own, the sample, or one of the catalogue."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path

from gfnode import catalogue
from gfnode.catalogue import Located
from gfnode.errors import InputError
from gfnode.readers.source import Source
from gfnode.trajectory import formula_of

SAMPLES = ("toluene",)
"""Trajectories that come with the package, opened as ``sample:toluene``."""


@contextmanager
def place_of(source: str | Path) -> Iterator[Located]:
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
            yield Located(path)
    elif isinstance(source, str) and _in_catalogue(source):
        yield catalogue.locate(source)
    else:
        yield Located(Path(source).expanduser())


def check_formula(place: Located, source: Source) -> None:
    """Refuse another molecule than the one expected."""
    if place.formula is not None and (formula := formula_of(source.numbers)) != place.formula:
        raise InputError(f"{place.path}: holds {formula}, expected {place.formula}")


def sources_of(source: str | Path) -> list[str | Path]:
    """One source for each trajectory: an entry of the catalogue may hold several runs."""
    if isinstance(source, str) and _in_catalogue(source):
        return [found.name for found in catalogue.locate_all(source)]
    return [source]


def _in_catalogue(source: str) -> bool:
    if source.startswith("sample:"):
        return False
    return catalogue.is_name(source) and not Path(source).exists()
