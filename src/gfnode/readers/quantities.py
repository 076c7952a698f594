"""Units that files may be in: how they are spelt, and what they are worth in Å, fs and u."""

import re
from collections.abc import Mapping

from gfnode.errors import InputError
from gfnode.units import BOHR, ELECTRONVOLT, FS_PER, HARTREE, KCAL_MOL, KJ_MOL

LENGTHS = {"angstrom": 1.0, "nm": 10.0, "pm": 0.01, "bohr": BOHR}
"""Å in one unit of length."""

SPEEDS = {
    f"{length}/{time}": LENGTHS[length] / FS_PER[time] for length in LENGTHS for time in FS_PER
}
"""Å/fs in one unit of velocity."""

ENERGIES = {
    "kcal/mol": KCAL_MOL,
    "kj/mol": KJ_MOL,
    "ev": ELECTRONVOLT,
    "hartree": HARTREE,
}
"""u Å²/fs² in one unit of energy."""

FORCES = {"u*angstrom/fs^2": 1.0} | {
    f"{energy}/{length}": ENERGIES[energy] / LENGTHS[length]
    for energy in ENERGIES
    for length in LENGTHS
}
"""u Å/fs² in one unit of force."""

DIMENSIONS: dict[str, Mapping[str, float]] = {
    "positions": LENGTHS,
    "cell": LENGTHS,
    "velocities": SPEEDS,
    "forces": FORCES,
    "deviations": LENGTHS,
    "times": FS_PER,
    "time_step": FS_PER,
}
"""Units of what a file may hold."""

_SECONDS = {"atto": "as", "femto": "fs", "pico": "ps", "nano": "ns", "micro": "us", "milli": "ms"}

SPELLINGS = (
    dict.fromkeys(("a", "å", "ang", "angs", "angstroms", "ångström", "ångstrom"), "angstrom")
    | dict.fromkeys(("bohrs", "a0"), "bohr")
    | dict.fromkeys(("ha", "eh", "hartrees"), "hartree")
    | dict.fromkeys(("electronvolt", "electronvolts"), "ev")
    | {f"{long}{meter}{s}": unit for long, unit in (("nano", "nm"), ("pico", "pm"))
       for meter in ("meter", "metre") for s in ("", "s")}
    | {f"{long}second{s}": unit for long, unit in _SECONDS.items() for s in ("", "s")}
    | {"μs": "us", "kilocalorie": "kcal", "kilojoule": "kj", "mole": "mol"}
)  # fmt: skip
"""Other spellings of a unit, in small letters."""


def canonical(unit: str) -> str:
    """A unit as the tables above spell it: ``eV / Ang`` is ``ev/angstrom``."""
    bare = "".join(unit.lower().split())
    if grouped := re.fullmatch(r"(.+)/\((.+)\)", bare):  # kcal/(mol*Å)
        bare = f"{grouped[1]}/{re.sub('[*·.]', '/', grouped[2])}"
    return "/".join(SPELLINGS.get(part, part) for part in bare.split("/"))


def factor(where: str, what: str, unit: str, known: Mapping[str, float]) -> float:
    """What a unit is worth; ``where`` and ``what`` are for the error where it is none."""
    if (found := known.get(canonical(unit))) is None:
        raise InputError(f"{where}: {what} is {unit!r}, expected one of {', '.join(known)}")
    return found


def told_by(name: str, known: Mapping[str, float]) -> str:
    """The unit that ends the name of an array, or nothing: nm for ``coords_nm``."""
    _, *words = (word for word in re.split(r"[\W_]+", name) if word.lower() != "per")
    tails = (canonical("/".join(words[-n:])) for n in (3, 2, 1) if n <= len(words))
    return next((tail for tail in tails if tail in known), "")
