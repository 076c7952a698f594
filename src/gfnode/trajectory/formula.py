"""Molecular formulas and masses."""

from functools import lru_cache

import numpy as np

from gfnode.trajectory.checks import Doubles, Integers


def formula_of(numbers: Integers) -> str:
    """Molecular formula of atomic numbers, in Hill order."""
    kinds, counts = np.unique(numbers, return_counts=True)
    return _hill(tuple(zip(kinds.tolist(), counts.tolist(), strict=True)))


@lru_cache(maxsize=4096)
def _hill(counts: tuple[tuple[int, int], ...]) -> str:
    from ase.data import chemical_symbols
    from ase.formula import Formula

    return str(Formula.from_dict({chemical_symbols[z]: n for z, n in counts}).format("hill"))


def masses_of(numbers: Integers) -> Doubles:
    """Standard atomic masses in u."""
    from ase.data import atomic_masses

    return np.asarray(atomic_masses[numbers], dtype=np.float64)
