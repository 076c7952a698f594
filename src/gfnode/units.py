"""Times and other quantities as people write them: ``"100fs"``, ``"1.5 ps"``.

Inside the package lengths are Å and times fs; this module is where text with a unit becomes such a
number and where a number gets its unit back.
"""

import math
import re
from collections.abc import Sequence

from gfnode.errors import InputError

FS_PER = {"as": 1e-3, "fs": 1.0, "ps": 1e3, "ns": 1e6, "us": 1e9, "µs": 1e9, "ms": 1e12, "s": 1e15}
"""Femtoseconds in one unit of time."""

BOLTZMANN = 8.31446261815324e-7
"""k_B in u Å² fs⁻² K⁻¹ (CODATA 2018: 8.31446261815324 J mol⁻¹ K⁻¹; 1 u Å² fs⁻² = 10⁷ J mol⁻¹)."""

ELECTRONVOLT = 9.648533212331e-3
"""One eV (a particle) in u Å² fs⁻² (CODATA 2018: e N_A = 96485.33212331 C mol⁻¹)."""

HARTREE = 27.211386245988 * ELECTRONVOLT
"""One hartree (a particle) in u Å² fs⁻² (CODATA 2018)."""

BOHR = 0.529177210903
"""One bohr in Å (CODATA 2018)."""

ATOMIC_TIME = 2.4188843265857e-2
"""One ħ/Eₕ in fs (CODATA 2018)."""

WAVENUMBER = 2 * math.pi * 2.99792458e-5
"""One cm⁻¹, as an angular frequency, in 1/fs."""

KJ_MOL = 1e-4
"""One kJ/mol in u Å² fs⁻²."""

KCAL_MOL = 4.184e-4
"""One kcal/mol in u Å² fs⁻²."""

_NUMBER = r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*"
_TEMPERATURE = re.compile(rf"{_NUMBER}(K?)\s*")
_TIME = re.compile(rf"{_NUMBER}([a-zµ]+)\s*")


def parse_time(text: str | float) -> float:
    """Read a time with its unit and return it in fs.

    Parameters
    ----------
    text
        ``"100fs"``, ``"1.5 ps"``, ``"2ns"``; a plain number is taken as fs.

    Raises
    ------
    InputError
        When the text is not a finite number followed by a unit of time.
    """
    if not isinstance(text, str):
        try:
            return float(text)
        except (TypeError, ValueError):
            raise InputError(
                f"the time is {text!r}, expected a number of fs, or text such as '1.5ps'"
            ) from None
    match = _TIME.fullmatch(text.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}"))
    if not match or match[2] not in FS_PER:
        raise InputError(
            f"cannot read the time {text!r}: expected a number with a unit such as 100fs, 1.5ps or "
            f"2ns (units: {', '.join(FS_PER)})"
        )
    if not math.isfinite(fs := float(match[1]) * FS_PER[match[2]]):
        raise InputError(f"the time {text!r} is too large: expected a finite one, such as 1.5ps")
    return fs


def parse_step(step: float | str | None) -> float | None:
    """Read a time step in fs; None stays None.

    Raises
    ------
    InputError
        Unless it is finite and above zero.
    """
    if step is None:
        return None
    fs = parse_time(step)
    if not (math.isfinite(fs) and fs > 0):
        raise InputError(f"the time step is {step}, expected a time above zero, e.g. 2fs")
    return fs


def parse_temperature(text: str | float) -> float:
    """Read a temperature in K: ``"500K"``, ``"300 K"`` or a plain number.

    Raises
    ------
    InputError
        Unless it is a finite number from zero, in K.
    """
    match = _TEMPERATURE.fullmatch(str(text))
    if not match or not 0 <= (kelvin := float(match[1])) < math.inf:
        raise InputError(
            f"the temperature is {text!r}, expected a number of kelvin, not negative, e.g. 300K"
        )
    return kelvin


def parse_times(text: str) -> list[float]:
    """Read a comma-separated list of times, in fs: ``"100fs,500fs,1.5ps"``.

    ``first:last:step`` stands for a range with both ends: ``"100fs:1.5ps:100fs"``.

    Raises
    ------
    InputError
        When there is no time, or one that cannot be read.
    """
    found: list[float] = []
    for part in filter(None, map(str.strip, text.split(","))):
        ends = [0.0 if each.strip() == "0" else parse_time(each) for each in part.split(":")]
        found += ends if len(ends) == 1 else _range(part, ends)
    if not found:
        raise InputError(f"no time in {text!r}: expected a list such as 100fs,500fs,1.5ps")
    return found


def _range(text: str, ends: list[float]) -> list[float]:
    if len(ends) != 3 or ends[2] <= 0 or not 0 <= (ends[1] - ends[0]) / ends[2] < 1e6:
        raise InputError(
            f"cannot read the range {text!r}: expected first:last:step such as 100fs:1.5ps:100fs, "
            "with last not before first, a step above zero and fewer than a million times"
        )
    first, last, step = ends
    return [first + i * step for i in range(int((last - first) / step * (1 + 1e-9)) + 1)]


def format_time(fs: float, digits: int = 4) -> str:
    """Write a time with the unit that reads best: ``"500 fs"``, ``"1.5 ps"``, ``"50 ns"``."""
    for unit in ("s", "ms", "us", "ns", "ps"):
        if abs(fs) >= FS_PER[unit]:
            return f"{fs / FS_PER[unit]:.{digits}g} {unit}"
    return f"{fs:.{digits}g} fs"


def format_duration(seconds: float) -> str:
    """Write a time that people wait, rounded: ``40 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def count(number: int, what: str) -> str:
    """A number of things, in English: ``1 lag``, ``8 lags``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """One or more words, in English: ``H, C and O``."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
