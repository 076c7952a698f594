"""Molecular formulas and masses."""

from functools import lru_cache

import numpy as np

from gfnode.trajectory.checks import Doubles, Integers


def formula_of(numbers: Integers) -> str:
    """Molecular formula of atomic numbers, in Hill order: C, H, then the alphabet; B₂H₆ is B2H6."""
    kinds, counts = np.unique(numbers, return_counts=True)
    return _hill(tuple(zip(kinds.tolist(), counts.tolist(), strict=True)))


@lru_cache(maxsize=4096)
def _hill(counts: tuple[tuple[int, int], ...]) -> str:
    from ase.data import chemical_symbols

    found = {chemical_symbols[z]: n for z, n in counts}
    first = ["C", "H"] if "C" in found else []  # without carbon hydrogen has no place of its own
    order = [each for each in first if each in found] + sorted(found.keys() - {*first})
    return "".join(each + (str(found[each]) if found[each] > 1 else "") for each in order)


def masses_of(numbers: Integers) -> Doubles:
    """Standard atomic masses in u."""
    from ase.data import atomic_masses

    return np.asarray(atomic_masses[numbers], dtype=np.float64)


def radii_of(numbers: Integers) -> Doubles:
    """Covalent radii in Å (Cordero et al., Dalton Trans. 2832 (2008)), in the shape of numbers."""
    from ase.data import covalent_radii

    return np.asarray(covalent_radii[numbers], dtype=np.float64)


def differ(masses: Doubles, others: Doubles) -> bool:
    """Whether some masses are further than 1 % from the others, ``(atom,)`` each."""
    return not np.allclose(masses, others, rtol=0.01, atol=0.0)


def unusual(masses: Doubles, numbers: Integers) -> bool:
    """Whether some masses in u are further than 1 % from the standard ones."""
    return differ(masses, masses_of(numbers))


def other_masses(masses: Doubles, numbers: Integers) -> Doubles | None:
    """Masses in u, ``(atom,)``, or None where all may be taken for the standard ones."""
    return masses if unusual(masses, numbers) else None


def describe_masses(masses: Doubles, numbers: Integers) -> str:
    """Name the elements of unusual masses: ``H 3.024 u (standard 1.008)``."""
    from ase.data import chemical_symbols

    said = []
    for z in np.unique(numbers):
        mine, standard = masses[numbers == z], masses_of(z)
        if unusual(mine, z):
            ends = dict.fromkeys(f"{each:.4g}" for each in (mine.min(), mine.max()))
            said.append(f"{chemical_symbols[z]} {' to '.join(ends)} u (standard {standard:.4g})")
    return ", ".join(said)
