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
