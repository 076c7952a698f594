"""What callers hand over as data: trajectories and files, and nothing of other libraries."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gfnode.errors import InputError
from gfnode.trajectory.core import Trajectory

PACKED = (".gz", ".bz2", ".xz")
"""Suffixes of compressed files that are read."""


def one(data: Any) -> Trajectory | str | Path:
    """A trajectory or a file.

    Raises
    ------
    InputError
        For anything else.
    """
    if isinstance(data, Trajectory | str | Path):
        return data
    raise _foreign(data, "a gfnode.Trajectory or a file")


def several(data: Any) -> list[Trajectory | str | Path]:
    """A trajectory, a file, or several of both, as a list; InputError as of :func:`one`."""
    if isinstance(data, Trajectory | str | Path):
        return [data]
    return _each(data, (Trajectory, str, Path), "a gfnode.Trajectory, a file, or several")


def loaded(
    data: Any,
    otherwise: Callable[[], Sequence[Trajectory]] | None = None,
    read: Callable[[str | Path], Sequence[Trajectory]] | None = None,
) -> list[Trajectory]:
    """A trajectory or several, as a list; InputError for anything else.

    ``otherwise`` gives those that stand in for None, or for an empty list. Files are read by
    ``read``, and refused without it.
    """
    if otherwise is not None and (data is None or (isinstance(data, list | tuple) and not data)):
        return list(otherwise())
    if isinstance(data, Trajectory):
        return [data]
    if read is not None:
        mixed = several(data)
        return [t for x in mixed for t in ([x] if isinstance(x, Trajectory) else read(x))]
    return _each(data, (Trajectory,), "a gfnode.Trajectory or several (gfnode.load reads a file)")


def unpacked_name(path: str | Path) -> Path:
    """The name of a file, of a compressed one without the suffix that says so."""
    path = Path(path)
    return path.with_suffix("") if path.suffix.lower() in PACKED else path


def place(path: Any, what: str) -> Path:
    """Where a file or folder lies, a leading ``~`` resolved; InputError for what is no name."""
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"got {_kind(path)}, expected the name of {what}")
    return Path(path).expanduser()


def check_file(path: Any, what: str) -> None:
    """Raise InputError for what is no name of a file."""
    if not isinstance(path, str | os.PathLike):
        raise _foreign(path, f"the name of a file as {what}")


def check_text(value: Any, what: str, expected: str) -> None:
    """Raise InputError for what is neither text nor None."""
    if not isinstance(value, str | None):
        raise InputError(f"{what} is {value!r:.80}, expected text, {expected}")


def _each(data: Any, kinds: tuple[type, ...], expected: str) -> list[Any]:
    try:
        items = iter(data)
    except TypeError:
        raise _foreign(data, expected) from None
    found = []
    for item in items:
        if not isinstance(item, kinds):  # frames of other libraries are iterable, too
            raise _foreign(item if isinstance(data, list | tuple) else data, expected)
        found.append(item)
    return found


def _foreign(data: Any, expected: str) -> InputError:
    return InputError(
        f"got {_kind(data)}, expected {expected}; use Trajectory.from_ase, Trajectory.from_mdtraj "
        "or Trajectory.from_mdanalysis for objects of ASE, mdtraj or MDAnalysis, and "
        "Trajectory(positions, times, numbers) for arrays"
    )


def _kind(data: Any) -> str:
    kind = type(data)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
