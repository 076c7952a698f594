"""Names and bonds of a molecular system, apart from where its atoms are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.trajectory.checks import Integers, as_array, within


@dataclass(frozen=True)
class Topology:
    """Names and bonds of a molecular system.

    Parameters
    ----------
    names
        Atom names, one an atom.
    residue_names, residue_ids
        Name and number of the residue that each atom belongs to.
    bonds
        Index pairs, ``(bond, 2)``; empty when the source names none.
    """

    names: tuple[str, ...]
    residue_names: tuple[str, ...]
    residue_ids: tuple[int, ...]
    bonds: Integers

    def __post_init__(self) -> None:
        bonds = as_array("the topology: ", "bonds", self.bonds, np.int64)
        object.__setattr__(self, "bonds", bonds if bonds.size else bonds.reshape(-1, 2))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Topology":
        """Inverse of :meth:`to_arrays`."""
        return cls(
            tuple(arrays["names"].astype(str).tolist()),
            tuple(arrays["residue_names"].astype(str).tolist()),
            tuple(arrays["residue_ids"].astype(np.int64).tolist()),
            arrays["bonds"].astype(np.int64).reshape(-1, 2),
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as arrays by name, for files."""
        return {
            "names": np.array(self.names, dtype=str),
            "residue_names": np.array(self.residue_names, dtype=str),
            "residue_ids": np.array(self.residue_ids, dtype=np.int64),
            "bonds": self.bonds,
        }

    def check(self, atoms: int, where: str = "") -> None:
        """Raise InputError unless this names ``atoms`` atoms and bonds between them."""
        for key in ("names", "residue_names", "residue_ids"):
            if (got := len(getattr(self, key))) != atoms:
                raise InputError(
                    f"{where}the topology has {got} {key}, expected {atoms}, one per atom"
                )
        bonds = self.bonds
        if bonds.ndim != 2 or bonds.shape[1] != 2 or (bonds.size and not within(bonds, atoms)):
            raise InputError(f"{where}bonds must be pairs of atoms from 0 to {atoms - 1}")

    def select(self, atoms: Integers) -> "Topology":
        """Keep some atoms, in the order given, and the bonds between them.

        Two atoms that are joined through at most five atoms left out count as bonded, so that a
        chain of Cα (three bonds from one to the next) or of phosphorus stays a chain.
        """
        bonds = kept_bonds(self.bonds, len(self.names), atoms)
        return Topology(
            tuple(self.names[i] for i in atoms),
            tuple(self.residue_names[i] for i in atoms),
            tuple(self.residue_ids[i] for i in atoms),
            bonds,
        )


def residues_of(topology: Topology) -> tuple[Integers, Integers]:
    """The residue of each atom, ``(atom,)``, and the first atom of each residue, ``(residue,)``.

    Runs of atoms with one residue number and name are a residue, so numbers may repeat in another
    chain.
    """
    ids, names = np.array(topology.residue_ids), np.array(topology.residue_names)
    begins = np.r_[True, (ids[1:] != ids[:-1]) | (names[1:] != names[:-1])][: len(ids)]
    return np.cumsum(begins) - 1, np.flatnonzero(begins)


def kept_bonds(bonds: Integers, n_atoms: int, atoms: Integers) -> Integers:
    """Bonds among some of the atoms, ``(bond, 2)``, as numbers of ``atoms``.

    A bond is added between atoms that a path of at most five atoms left out joins.
    """
    from scipy import sparse

    left = np.ones(n_atoms, dtype=bool)
    left[atoms] = False
    i, j = bonds.reshape(-1, 2).T
    ones = np.ones(2 * len(i), dtype=bool)
    graph = sparse.csr_array((ones, (np.r_[i, j], np.r_[j, i])), shape=(n_atoms, n_atoms))
    joined, out = graph[atoms], graph[left]
    found, reached = joined[:, atoms], joined[:, left]
    for _ in range(5):
        found = found + reached @ out[:, atoms]
        reached = reached + reached @ out[:, left]
    pairs = np.stack(sparse.triu(found, k=1, format="coo").nonzero(), 1)
    return pairs.astype(np.int64)
