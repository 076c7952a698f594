"""The columns of extended XYZ, and which of them are forces.

``Properties=species:S:1:pos:R:3:forces:R:3`` of a comment line names them: name, type and width.
Data sets for learning potentials call forces after what made them (``REF_forces``,
``mace_forces``), lest ASE takes them for its own.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from gfnode.errors import InputError

PROPERTIES = re.compile(r"""\bProperties\s*=\s*["'{]?([^\s"'}]+)""")

FORCES = "forces"
KINDS = {"S": "text", "L": "true or false"}

Columns = dict[str, tuple[str, int]]
"""Type (R for reals) and width of each column, by its name."""


def columns_of(comment: str) -> Columns:
    """The columns that a comment line names; none where it names none."""
    found = PROPERTIES.search(comment)
    return {} if found is None else _split(found[1])


@lru_cache  # all frames of a file name the same
def _split(text: str) -> Columns:
    parts = text.split(":")
    named = zip(parts[::3], parts[1::3], parts[2::3], strict=False)
    return {name: (kind, int(width)) for name, kind, width in named if width.isdecimal()}


def check_numbers(path: Path, frames: Sequence[Columns], names: Sequence[str]) -> None:
    """Refuse columns of these names that hold no numbers."""
    for row, columns in enumerate(frames):
        for name in names:
            kind, width = columns.get(name, ("R", 3))
            if kind not in "RI":
                raise InputError(
                    f"{path}: column {name} of frame {row} holds {KINDS.get(kind, kind)} "
                    f"({name}:{kind}:{width}), expected numbers ({name}:R:3); rename the column "
                    f"if it is something else"
                )


def find_forces(name: str, frames: Sequence[Columns]) -> tuple[str | None, tuple[str, ...]]:
    """The column of forces in eV/Å that every frame has, and what is to be said of the choice.

    It is ``forces``; where there is none, the only one whose name ends so. ``name`` is the file's.
    """
    of_three = [[key for key, kind in each.items() if kind == ("R", 3)] for each in frames]
    seen = dict.fromkeys(key for keys in of_three for key in keys)
    named = [key for key in seen if key.lower().endswith(("force", "forces"))]
    if FORCES in named:
        named = [FORCES]
    if len(named) > 1:
        return None, (
            f"{name}: columns {', '.join(named)} may all be forces, so none is read: rename the "
            f"one that drives the motion, in eV/Å, to {FORCES}",
        )
    if not named:
        return None, ()
    (column,) = named
    if without := [i for i, keys in enumerate(of_three) if column not in keys]:
        return None, (
            f"{name}: column {column} is left out: {len(without)} of {len(frames)} frames do not "
            f"have it (the first is frame {without[0]})",
        )
    said = f"{name}: column {column} is read as forces, in eV/Å; rename it if it is something else"
    return column, () if column == FORCES else (said,)
