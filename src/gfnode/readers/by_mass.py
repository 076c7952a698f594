"""Elements of atoms whose masses alone are known."""

from pathlib import Path

import numpy as np

from gfnode.errors import InputError
from gfnode.trajectory import Doubles, Integers

NEAR_MASS = 0.3
"""u by which a mass may differ from that of its element."""


def elements_by_mass(path: Path, masses: Doubles, remedy: str) -> tuple[Integers, str]:
    """Atomic numbers of the elements whose masses in u are nearest, and a note that says so.

    Raises
    ------
    InputError
        For a mass that is near that of no element, with a remedy.
    """
    from ase.data import atomic_masses

    off = np.abs(atomic_masses[1:] - masses[:, None])
    if (far := ~(off.min(1) < NEAR_MASS)).any():
        atom = int(np.argmax(far))
        raise InputError(
            f"{path}: gives no elements for its atoms, and atom {atom} has a mass of "
            f"{masses[atom]:g} u, which is that of no element: {remedy}. Beads of a "
            "coarse-grained model may be given any element but H, if a column mass of the dump, or "
            "masses of extended XYZ, holds their masses"
        )
    note = (
        f"{path.name} gives no elements: they were inferred from the masses; check that the "
        "formula is right"
    )
    return off.argmin(1) + 1, note
