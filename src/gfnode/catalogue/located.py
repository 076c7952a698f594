"""Files of the catalogue that are in the cache, and how they are read."""

import re
from dataclasses import dataclass
from pathlib import Path

from gfnode.catalogue import cache
from gfnode.catalogue.entries import Entry, Part, find
from gfnode.errors import InputError


@dataclass(frozen=True)
class Located:
    """A trajectory file on this machine, and what is known of it beforehand.

    Parameters
    ----------
    path, top
        The file, and the topology that it needs.
    step_fs
        Time between frames, where the file names none.
    formula
        What it must hold.
    name
        By which it, and no other run, is asked for in the catalogue.
    molecule
        What it is called, where the file names none.
    """

    path: Path
    top: Path | None = None
    step_fs: float | None = None
    formula: str | None = None
    name: str = ""
    molecule: str = ""


def locate(name: str) -> Located:
    """Find the trajectory of a name, ``md17:aspirin`` or, of several runs, ``ala2/0``.

    Raises
    ------
    InputError
        For a name that the catalogue has not, or that stands for several runs, and for files that
        are not here or have changed.
    """
    found = locate_all(name)
    if len(found) > 1:
        raise InputError(
            f"{name}: has {len(found)} separate runs: name one of them, "
            f"{', '.join(each.name for each in found)}; commands with --data accept all of them"
        )
    return found[0]


def locate_all(name: str) -> list[Located]:
    """Find all runs of a name; see :func:`locate`."""
    match = re.fullmatch(r"(.+)/(\d+)", name)
    entry = find(match[1] if match else name)
    numbers = range(len(entry.runs))
    if match:
        if int(match[2]) not in numbers:
            raise InputError(
                f"{name}: {match[1]} has no run {match[2]}: expected 0 to {len(entry.runs) - 1}"
            )
        numbers = range(int(match[2]), int(match[2]) + 1)
    top = None if entry.top is None else _here(entry, entry.top)
    shown = match[1] if match else name
    return [
        Located(
            _here(entry, entry.runs[number]),
            top,
            None if entry.times_stored else entry.step_fs,
            entry.formula,
            f"{shown}/{number}" if len(entry.runs) > 1 else name,
            entry.name.partition(":")[2],
        )
        for number in numbers
    ]


def missing(entry: Entry) -> list[Part]:
    """Parts of an entry whose files are not here; the content of the others is not looked at."""
    return [part for part in entry.parts if not cache.path_of(part.remote.place).is_file()]


def in_cache(entry: Entry) -> bool:
    """Whether all files of an entry are here."""
    return not missing(entry)


def _here(entry: Entry, part: Part) -> Path:
    path = cache.path_of(part.remote.place)
    if not path.is_file():
        raise InputError(
            f"{entry.name}: {path.name} is not in {path.parent}: get it with `gfnode fetch "
            f"{entry.name}` (about {entry.mb:.0f} MB)"
        )
    cache.verify(part.remote.place)
    return path
