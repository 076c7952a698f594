"""Names and bonds to and from mdtraj's topology."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from gfnode.trajectory.checks import Doubles, Integers
from gfnode.trajectory.formula import masses_of
from gfnode.trajectory.topology import Topology, residues_of

DEUTERIUM = 2.01410
"""Its mass in u."""


def from_mdtraj(topology: Any) -> tuple[Integers, Topology]:
    """Convert an mdtraj topology; standard bonds are added where the file names none.

    So are those along a trace, where residues in sequence are single Cα atoms.

    Atoms without an element, such as virtual sites, get the number 0, which
    :func:`gfnode.readers.topology.check_elements` refuses.
    """
    atoms = list(topology.atoms)
    if topology.n_bonds == 0:
        topology = topology.copy()
        topology.create_standard_bonds()
        for a, b in _along_traces(topology):
            topology.add_bond(a, b)
    bonds = {tuple(sorted((a.index, b.index))) for a, b in topology.bonds}
    numbers = [0 if atom.element is None else max(atom.element.atomic_number, 0) for atom in atoms]
    found = np.array(numbers, dtype=np.int64)
    names = Topology(
        tuple(atom.name for atom in atoms),
        tuple(atom.residue.name for atom in atoms),
        tuple(atom.residue.resSeq for atom in atoms),
        np.array(sorted(bonds), dtype=np.int64).reshape(-1, 2),
    )
    return found, names


def _along_traces(topology: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs of Cα atoms of residues in sequence that have no other atom."""
    for chain in topology.chains:
        for here, there in pairwise(chain.residues):
            if there.resSeq == here.resSeq + 1 and all(map(_is_alpha_carbon, (here, there))):
                yield next(here.atoms), next(there.atoms)


def _is_alpha_carbon(residue: Any) -> bool:
    """Whether a residue is one Cα atom: neither a calcium ion nor a bead without an element."""
    atoms = [(atom.name, atom.element and atom.element.symbol) for atom in residue.atoms]
    return atoms == [("CA", "C")]


def masses_in(topology: Any) -> Doubles | None:
    """Masses in u, ``(atom,)``, of an mdtraj topology that names deuterium; of all others None."""
    atoms = list(topology.atoms)
    heavy = np.array([atom.element is not None and atom.element.symbol == "D" for atom in atoms])
    if not heavy.any():
        return None
    numbers, _ = from_mdtraj(topology)
    return np.where(heavy, DEUTERIUM, masses_of(numbers))


def to_mdtraj(numbers: Integers, names: Topology | None) -> Any:
    """Convert elements, names and bonds, or make up names: one residue MOL."""
    import mdtraj

    elements = [mdtraj.core.element.Element.getByAtomicNumber(int(z)) for z in numbers]
    names = names or Topology(
        tuple(f"{element.symbol}{i + 1}"[:4] for i, element in enumerate(elements)),
        ("MOL",) * len(elements),
        (1,) * len(elements),
        np.empty((0, 2), dtype=np.int64),
    )
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    of, first = residues_of(names)
    called, ids = names.residue_names, names.residue_ids
    residues = [topology.add_residue(called[i], chain, resSeq=ids[i]) for i in first]
    atoms = [
        topology.add_atom(name, element, residues[residue])
        for name, element, residue in zip(names.names, elements, of, strict=True)
    ]
    for a, b in names.bonds:
        topology.add_bond(atoms[a], atoms[b])
    return topology
