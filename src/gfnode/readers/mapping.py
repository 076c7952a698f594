"""What the arrays of an unknown npz file are, in the user's words.

``positions=coords,numbers=Z,times=t:ps,velocities=v:nm/ps,forces=F:ev/angstrom,cell=box:nm``: what
it is, the name in the file, and the unit where it is none of Å, fs, Å/fs and kcal/mol/Å.
"""

import difflib

from gfnode.errors import InputError
from gfnode.readers.archive import Archive
from gfnode.readers.quantities import DIMENSIONS, told_by
from gfnode.units import listed

KEYS = ("positions", "numbers", "times", "velocities", "forces", "cell", "masses")
USUAL = {
    "positions": "angstrom",
    "times": "fs",
    "velocities": "angstrom/fs",
    "forces": "kcal/mol/angstrom",
    "cell": "angstrom",
}
"""Units where a mapping names none."""

EXAMPLE = "--map positions=coords:nm,numbers=Z,times=t:ps"


def parse(text: str) -> dict[str, tuple[str, str]]:
    """Read a mapping: name in the file and unit (or nothing) by what it is."""
    found: dict[str, tuple[str, str]] = {}
    for item in text.split(","):
        key, equals, value = (part.strip() for part in item.partition("="))
        array, _, unit = (part.strip() for part in value.partition(":"))
        if not (equals and array):
            raise InputError(f"--map {text}: expected what=array:unit, …, e.g. {EXAMPLE}")
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(
                f"--map {text}: unknown name {key}, expected some of {', '.join(KEYS)}{hint}"
            )
        if key in found:
            raise InputError(f"--map {text}: names {key} twice")
        found[key] = (array, unit)
    if "positions" not in found:
        raise InputError(f"--map {text}: names no positions, e.g. {EXAMPLE}")
    return found


def propose(archive: Archive) -> str:
    """A mapping that would fit the shapes in the file, with units where names end with one."""
    found: dict[str, str] = {}

    def put(what: str, initials: str, kinds: str, *shapes: tuple[int, ...]) -> None:
        """Take the first array of such a type and shape, if one can be, with such an initial."""
        left = [key for key in archive if key not in found.values()]
        fits = [key for key in left if archive.dtype(key).kind in kinds]
        fits = [key for key in fits if archive.shape(key) in shapes]
        named = [key for key in fits if key[:1].lower() in initials]
        named = [key for key in named if not key.lower().startswith("temp")]  # no time
        by_name_only = what in ("velocities", "forces", "times")
        if chosen := named or ([] if by_name_only else fits):
            found[what] = chosen[0]

    shapes = [archive.shape(key) for key in archive]
    put("positions", "prcx", "fiu", *(each for each in shapes if each[2:] == (3,)))
    if "positions" not in found:
        return f"e.g. {EXAMPLE}"
    frames, atoms, _ = archive.shape(found["positions"])
    put("numbers", "zn", "iuUS", (atoms,), (frames, atoms))
    put("times", "t", "f", (frames,))
    put("velocities", "v", "fiu", (frames, atoms, 3))
    put("forces", "f", "fiu", (frames, atoms, 3))
    put("cell", "cblu", "fiu", (frames, 3, 3), (3, 3))
    units = {what: told_by(key, DIMENSIONS[what]) for what, key in found.items() if what in USUAL}
    untold = [found[what] for what, unit in units.items() if not unit]
    units = {what: unit or USUAL[what] for what, unit in units.items()}
    named = [f"{what}={key}:{units.get(what, '')}".rstrip(":") for what, key in found.items()]
    line = f"perhaps --map {','.join(named)}"
    line += "" if "numbers" in found else " with --top molecule.pdb"
    line += "" if "times" in found else " and --step"
    if untold:
        line += f"; the unit of {listed(untold)} is a guess: put in that of the file"
    return line
