"""Data of the published experiments that cannot be derived by a rule."""

import numpy as np

from gfnode.thinning import among
from gfnode.trajectory import Integers, formula_of

# Pairs of heavy atoms, numbered in file order, that the published experiments mark as rigid.
_RIGID_PAIRS = {
    "C6H6": "0-1 2-3 4-5",
    "C9H8O4": "0-2 1-3 5-6 7-10 11-12",
    "C2H6O": "0-1",
    "C3H4O2": "1-2",
    "C10H8": "0-1 2-3 4-9 5-6 7-8",
    "C7H6O3": "0-9 1-2 4-5 6-7",
    "C7H8": "2-3 5-6 0-1",
    "C4H4N2O2": "0-1 3-4",
}
_ALANINE_DIPEPTIDE = "C6H12N2O2"


def rigid_pairs(source_numbers: Integers, atoms: Integers, bonds: Integers) -> Integers:
    """Pairs of state atoms that the published protocol marks as rigid.

    They refer to the order of atoms in the published files, and are meaningless for another order.

    Parameters
    ----------
    source_numbers
        Atomic numbers of every atom of the file, ``(source_atom,)``.
    atoms
        State atoms, as indices into these, ``(atom,)``.
    bonds
        Bonds among the state atoms, ``(bond, 2)``.

    Returns
    -------
    Integers
        ``(pair, 2)``: for alanine dipeptide all bonds, for a molecule outside the protocol none.
    """
    formula = formula_of(source_numbers)
    if formula == _ALANINE_DIPEPTIDE:
        return bonds
    heavy = np.flatnonzero(source_numbers > 1)
    named = [text.split("-") for text in _RIGID_PAIRS.get(formula, "").split()]
    pairs = heavy[np.asarray(named, dtype=np.int64).reshape(-1, 2)]
    return among(pairs, atoms, len(source_numbers))
