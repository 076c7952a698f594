"""Named torsions: φ, ψ, ω and χ of residues, and those that a user defines by their atoms."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.molecule.internal import directed_bonds
from gfnode.molecule.labels import residue_labels
from gfnode.trajectory import Integers, Topology
from gfnode.trajectory.topology import residues_of

SIDE = (
    ("CG", "CG1", "SG", "OG", "OG1"),
    ("CD", "CD1", "OD1", "ND1", "SD"),
    ("CE", "NE", "OE1"),
    ("CZ", "NZ"),
    ("NH1",),
)
"""IUPAC names of the atoms γ, δ, ε, ζ and η of side chains, the last atoms of χ1 to χ5."""


@dataclass(frozen=True, eq=False)
class Residues:
    """Residues of a topology, and look-up of their atoms by name."""

    topology: Topology
    of: Integers  # (atom,) the residue
    first: Integers  # (residue,) its first atom

    @classmethod
    def read(cls, topology: Topology) -> "Residues":
        """Find the residues."""
        return cls(topology, *residues_of(topology))

    def find(self, *names: str) -> Integers:
        """Atom of each residue with the first of these names that occurs in it, else −1."""
        known = np.array(self.topology.names)
        found = np.full(len(self.first), -1)
        for name in reversed(names):
            atoms = np.flatnonzero(known == name)[::-1]  # the first of several stays
            found[self.of[atoms]] = atoms
        return found


def named_torsions(topology: Topology | None, bonds: Integers | None = None) -> dict[str, Integers]:
    """φ, ψ, ω and χ1 to χ5 of every residue that has them.

    φ is C−N−CA−C with the C of the previous residue, ψ N−CA−C−N and ω CA−C−N−CA with atoms of the
    next residue, χ1 N−CA−CB−XG and so on. Adjacent residues are those bonded to N and C; without
    bonds, those that are next to it in the file, with consecutive numbers.

    Parameters
    ----------
    bonds
        ``(bond, 2)``; None for those of the topology.

    Returns
    -------
    dict
        Atoms ``(4,)`` by ``phi_ALA2``, ``psi_ALA2``, ``omega_ALA2``, ``chi1_LYS7`` …, all φ first.
    """
    if topology is None:
        return {}
    residues = Residues.read(topology)
    bonds = topology.bonds if bonds is None else bonds
    n, ca, c = (residues.find(name) for name in ("N", "CA", "C"))
    before = _bonded(residues, bonds, n, "C", -1)
    behind = _bonded(residues, bonds, c, "N", +1)
    after = np.where(behind >= 0, ca[residues.of[behind]], -1)
    chain = [n, ca, residues.find("CB"), *(residues.find(*names) for names in SIDE)]
    rows = {
        "phi": [before, n, ca, c],
        "psi": [n, ca, c, behind],
        "omega": [ca, c, behind, after],
    } | {f"chi{k + 1}": chain[k : k + 4] for k in range(5)}
    labels = residue_labels(topology)
    found = {}
    for kind, atoms in rows.items():
        table = np.stack(atoms, 1)
        for residue in np.flatnonzero((table >= 0).all(1)):
            found[f"{kind}_{labels[residue]}"] = table[residue]
    return found


def backbone(topology: Topology | None) -> Integers:
    """Atoms of φ (C, N, CA, C) and ψ (N, CA, C, N) of the first residue with both, ``(2, 4)``.

    Raises
    ------
    InputError
        When there is no such residue.
    """
    for pair in ramachandran_pairs(named_torsions(topology)).values():
        return pair
    raise InputError(
        "no residue has the torsions φ and ψ: they need atoms named N, CA and C, and the C and N "
        "of neighbouring residues"
    )


def ramachandran_pairs(torsions: Mapping[str, Integers]) -> dict[str, Integers]:
    """Atoms of φ and ψ, ``(2, 4)``, of residues that have both, by residue."""
    names = (name.removeprefix("phi_") for name in torsions if name.startswith("phi_"))
    return {
        name: np.stack([torsions[f"phi_{name}"], torsions[f"psi_{name}"]])
        for name in names
        if f"psi_{name}" in torsions
    }


def read_torsions(
    items: Iterable[str], n_atoms: int, topology: Topology | None
) -> dict[str, Integers]:
    """Parse user-defined torsions, ``NAME=A-B-C-D``.

    Each atom is given by its index from 0, its name (``CA``) if that is unique, or the number of
    its residue and its name (``2:CA``).

    Raises
    ------
    InputError
        For another form, or an atom that does not exist, is ambiguous or occurs twice.
    """
    found = {}
    for item in items:
        name, _, text = item.partition("=")
        words = text.split("-")
        if not name.strip() or len(words) != 4 or name.strip() in found:
            raise InputError(
                f"--torsion {item}: expected a new name and four atoms, NAME=A-B-C-D, e.g. "
                "spin=0-1-4-6 or phi=1:C-2:N-2:CA-2:C"
            )
        atoms = np.array([_atom(word.strip(), n_atoms, topology, item) for word in words])
        if len(set(atoms.tolist())) < 4:
            raise InputError(f"--torsion {item}: names an atom twice")
        found[name.strip()] = atoms
    return found


def _atom(word: str, n_atoms: int, topology: Topology | None, item: str) -> int:
    if word.isdecimal():
        if int(word) >= n_atoms:
            raise InputError(
                f"--torsion {item}: there is no atom {word}, expected 0 to {n_atoms - 1}"
            )
        return int(word)
    if topology is None:
        raise InputError(
            f"--torsion {item}: the data has no atom names; give atoms by number, 0 to "
            f"{n_atoms - 1}"
        )
    residue, colon, name = word.rpartition(":")
    matching: NDArray[np.bool_] = np.array(topology.names) == name
    if colon:
        matching &= np.array(topology.residue_ids).astype(str) == residue
    atoms = np.flatnonzero(matching)
    if len(atoms) != 1:
        why = "no atom is" if not len(atoms) else f"{len(atoms)} atoms are"
        raise InputError(
            f"--torsion {item}: {why} called {word}; give RESIDUE:NAME, e.g. 2:CA, or the number "
            f"of the atom, 0 to {n_atoms - 1}"
        )
    return int(atoms[0])


def _bonded(residues: Residues, bonds: Integers, atoms: Integers, name: str, step: int) -> Integers:
    """Atom called ``name``, of another residue, that each atom is bonded to, else −1."""
    found = np.full(len(atoms), -1)
    if not len(bonds):
        ids = np.array(residues.topology.residue_ids)[residues.first]
        beside = np.arange(len(atoms)) + step
        inside = (beside >= 0) & (beside < len(atoms))
        beside = np.clip(beside, 0, len(atoms) - 1)
        follows = inside & (ids[beside] == ids + step)
        return np.where(follows & (atoms >= 0), residues.find(name)[beside], -1)
    here, there = directed_bonds(bonds)
    named = np.array(residues.topology.names)
    of = residues.of
    joined = (named[there] == name) & (of[here] != of[there]) & (atoms[of[here]] == here)
    found[of[here[joined]]] = there[joined]
    return found
