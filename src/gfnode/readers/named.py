"""Names of atoms where XYZ has symbols of elements, as VMD and mdtraj write, and force fields.

Most are no elements and told by that. Others happen to be: CA of an amino acid is read as calcium,
HG as mercury, CD as cadmium, NE as neon. Those are told by their letters, all
capital or small, and by their nearest atom, which is at the distance of a bond of the first letter
(carbon, hydrogen, …), and far too near for the element. The Cα atoms of a protein by themselves are
as far from one another as atoms of calcium, and told by all being called CA.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.trajectory import Integers

TOO_NEAR = 0.72
"""Share of the sum of covalent radii that no bond is as short as: Os≡N has 0.75, and calcium for a
carbon 0.6 or less."""

BONDED = (0.5, 1.15)
"""Shares of the sum of covalent radii that the nearest atom is at where the first letter is the
element. Nearer, positions are in another unit than Å; further off, it may be a short bond of a
metal (Nb≡N has 1.17)."""

REMEDY = (
    "the first column holds atom names, expected element symbols. Write the trajectory as XTC, "
    "TRR, NetCDF or DCD and give a topology with elements as --top, or put element symbols into "
    "the first column (for beads of a coarse-grained model any but H, and a column masses)"
)

NAMES = {
    symbol: letter
    for letter, symbols in {
        "H": "He Hf Hg Ho Hs",
        "C": "Ca Cd Ce Cm Co Cr Cs",
        "N": "Na Nb Nd Ne",
        "O": "Os Og",
        "S": "Sg",
    }.items()
    for symbol in symbols.split()
}
"""Elements that force fields and protein files have names of atoms like, and what these are."""

_UNBOUND = (2, 10)  # helium and neon are near nothing
_KNOWN = 96  # radii of heavier elements are not known


def check_symbols(path: Path, row: int, text: str, name: str) -> None:
    """Say so where what ASE took for an element is the name of an atom and no element.

    ASE writes it with a capital and small letters.
    """
    column = first_column(text)
    names = [word.capitalize() for word in column]
    if name in names:
        atom = names.index(name)
        raise InputError(
            f"{path}: atom {atom} of frame {row} is called {column[atom]}, which is not an "
            f"element: {REMEDY}"
        )


def check_elements(
    path: Path, row: int, text: str, numbers: Integers, positions: NDArray[np.float64]
) -> None:
    """Refuse symbols that are names of atoms, by the nearest atom of each, or all of them CA.

    Parameters
    ----------
    path, row, text
        The file, the number of the frame and its lines.
    numbers, positions
        Elements as they were read, ``(atom,)``, and where they are, ``(atom, 3)`` in Å.
    """
    from ase.data import atomic_names, atomic_numbers, chemical_symbols, covalent_radii
    from scipy.spatial import cKDTree

    first = np.zeros(len(numbers), dtype=np.int64)  # 0: the symbol stands for nothing else
    column = np.array(first_column(text))
    names = np.char.capitalize(column)
    for element in np.unique(numbers).tolist():
        symbol = chemical_symbols[element]
        if (letter := NAMES.get(symbol)) is not None:
            first[(names == symbol) & (column != symbol)] = atomic_numbers[letter]
    doubtful = np.flatnonzero(first)
    if not len(doubtful) or len(numbers) < 2 or not np.isfinite(positions).all():
        return
    if len(doubtful) == len(numbers) > 2 and set(names) == {"Ca"}:
        raise InputError(
            f"{path}: all {len(numbers)} atoms of frame {row} are called {column[0]}, which would "
            f"be calcium, but is the usual name of Cα atoms in proteins: {REMEDY} (Ca if it is "
            "calcium)"
        )
    radii = np.array(covalent_radii, dtype=np.float64)
    strange = radii.copy()
    strange[[*_UNBOUND, *range(_KNOWN + 1, len(radii))]] = np.inf
    # a neighbour may be a name too
    least = np.where(first > 0, np.minimum(radii[first], radii[numbers]), radii[numbers])
    distances, nearest = cKDTree(positions).query(positions[doubtful], k=2)
    distance, other = distances[:, 1], nearest[:, 1]
    bond = radii[first[doubtful]] + least[other]
    found = (distance > BONDED[0] * bond) & (distance < BONDED[1] * bond)
    found &= distance < TOO_NEAR * (strange[numbers[doubtful]] + least[other])
    if not found.any():
        return
    k = int(np.argmax(found))
    atom, near = int(doubtful[k]), int(other[k])
    element, meant = int(numbers[atom]), int(first[atom])
    raise InputError(
        f"{path}: atom {atom} of frame {row} is called {column[atom]}, which would be "
        f"{atomic_names[element].lower()}, but is {distance[k]:.2f} Å from atom {near} "
        f"({column[near]}), as {atomic_names[meant].lower()} would be: {REMEDY}"
    )


def first_column(text: str) -> list[str]:
    """The first word of the line of each atom."""
    return [line.split(maxsplit=1)[0] for line in text.splitlines()[2:] if line.strip()]
