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
    shapes = {key: archive.shape(key) for key in archive}
    kinds = {key: archive.dtype(key).kind for key in archive}
    found: dict[str, str] = {}

    def put(what: str, initials: str, fits: list[str]) -> None:
        left = [key for key in fits if key not in found.values()]
        named = [key for key in left if key[:1].lower() in initials]
        by_name_only = what in ("velocities", "forces", "times")
        if chosen := (named or ([] if by_name_only else left))[:1]:
            found[what] = chosen[0]

    real = [key for key in archive if kinds[key] in "fiu"]
    put("positions", "prcx", [k for k in real if len(shapes[k]) == 3 and shapes[k][2:] == (3,)])
    if "positions" not in found:
        return f"e.g. {EXAMPLE}"
    frames, atoms, _ = shapes[found["positions"]]
    of_atoms = [k for k in archive if shapes[k] in ((atoms,), (frames, atoms))]
    put("numbers", "zn", [k for k in of_atoms if kinds[k] in "iuUS"])
    whens = [k for k in real if shapes[k] == (frames,) and kinds[k] == "f"]
    put("times", "t", [k for k in whens if not k.lower().startswith("temp")])
    moving = [k for k in real if shapes[k] == (frames, atoms, 3)]
    put("velocities", "v", moving)
    put("forces", "f", moving)
    put("cell", "cblu", [k for k in real if shapes[k] in ((frames, 3, 3), (3, 3))])
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
