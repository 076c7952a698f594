"""Names of atoms that a reader of a report can find in the file."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gfnode
from gfnode.molecule.labels import atom_labels
from gfnode.molecule.torsions import named_torsions
from gfnode.trajectory import Topology, Trajectory

MOLECULE = gfnode.load(Path(gfnode.__file__).parent / "data" / "alanine-dipeptide.pdb", step="1fs")
N = MOLECULE.n_atoms


def with_topology(topology: Topology, copies: int) -> Trajectory:
    return Trajectory(
        numbers=np.tile(MOLECULE.numbers, copies),
        positions=np.tile(MOLECULE.positions[:1], (1, copies, 1)),
        times=np.zeros(1),
        topology=topology,
    )


def topology(copies: int) -> Topology:
    """Of copies of alanine dipeptide with the same names and numbers."""
    one = MOLECULE.topology
    assert one is not None
    return Topology(
        one.names * copies,
        one.residue_names * copies,
        one.residue_ids * copies,
        np.concatenate([one.bonds + N * k for k in range(copies)]),
    )


def test_atoms_of_one_chain_are_called_by_residue_and_name() -> None:
    labels = atom_labels(with_topology(topology(1), 1))
    assert labels[:2] == ("ACE1 H1", "ACE1 CH3")
    assert labels[8] == "ALA2 CA"


def test_atoms_of_two_chains_are_told_apart_as_their_torsions_are() -> None:
    both = with_topology(topology(2), 2)
    labels = atom_labels(both)
    assert max(Counter(labels).values()) == 1
    middle = named_torsions(both.topology)["phi_ALA2#2"][2]
    assert (labels[8], labels[middle], middle) == ("ALA2 CA", "ALA2#2 CA", 8 + N)


@pytest.mark.parametrize("residue", ["MOL", ""])
def test_names_that_one_residue_repeats_are_told_apart(residue: str) -> None:
    alike = replace(topology(2), residue_names=(residue,) * 2 * N, residue_ids=(1,) * 2 * N)
    labels = atom_labels(with_topology(alike, 2))
    assert (labels[8], labels[8 + N]) == ("CA", "CA#2")


def test_without_names_atoms_are_elements_and_numbers() -> None:
    toluene = gfnode.load("sample:toluene")
    assert atom_labels(toluene)[:2] == ("C0", "C1")


def test_atoms_of_a_trace_are_named_by_residue() -> None:
    """All are called CA: what tells them apart is the residue, not their number in the file."""
    names = Topology(("CA",) * 3, ("ALA", "GLY", "ALA"), (53, 54, 55), np.empty((0, 2), np.int64))
    x = np.arange(9.0).reshape(1, 3, 3)
    trace = Trajectory(x, np.zeros(1), np.full(3, 6), topology=names)
    assert atom_labels(trace) == ("ALA53 CA", "GLY54 CA", "ALA55 CA")


def test_names_of_elements_are_no_names() -> None:
    """As in a PDB file that another program wrote: two molecules whose atoms share names."""
    elements = gfnode.load("sample:toluene").symbols
    names = Topology(elements * 2, ("MOL",) * 30, (1,) * 15 + (2,) * 15, np.empty((0, 2), np.int64))
    toluene = gfnode.load("sample:toluene")[:1]
    twice = Trajectory(
        np.tile(toluene.positions, (1, 2, 1)),
        np.zeros(1),
        np.tile(toluene.numbers, 2),
        topology=names,
    )
    assert atom_labels(twice)[14:16] == ("H14", "C15")
