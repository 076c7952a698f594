"""Another order of atoms is told by bonds, and nothing else is taken for it."""

import numpy as np
import pytest

import gfnode
from gfnode.graph import bonds_from_distances
from gfnode.molecule.order import misfit, misfit_of
from making import geometry_of

NAMES = ("ethanol", "toluene", "butane", "CH3COOH", "C5H5N")


@pytest.mark.parametrize("name", NAMES)
def test_atoms_that_changed_places_are_found(name):
    """Any two atoms of one element, unless that leaves the bonds of the molecule as they were."""
    numbers, x = geometry_of(name)
    bonds = bonds_from_distances(numbers, x[None])
    known = {tuple(bond) for bond in bonds.tolist()}
    assert misfit(bonds, numbers, [(x, None)]) is None
    tried = 0
    for i in range(len(numbers)):
        for j in range(i):
            if numbers[i] != numbers[j]:
                continue
            order = np.arange(len(numbers))
            order[[i, j]] = j, i
            after = bonds_from_distances(numbers, x[None, order])
            broken = len(known - {tuple(bond) for bond in after.tolist()})
            found = misfit(bonds, numbers, [(x[order], None)])
            if broken < 2:
                assert found is None
                continue
            tried += 1
            assert found is not None, (i, j)
            assert found.length > 1.5 * found.usual
            assert 2 <= found.long <= broken
    assert tried > 3


def test_it_is_said_in_words():
    numbers, x = geometry_of("ethanol")
    bonds = bonds_from_distances(numbers, x[None])
    order = np.arange(9)
    order[[3, 5]] = order[[5, 3]]  # a hydrogen at the oxygen, and one at a carbon
    found = misfit(bonds, numbers, [(x[order], None)])
    assert found is not None
    assert found.words(numbers).startswith(f"2 of {len(bonds)} bonds are far too long, ")
    assert " Å instead of about " in found.words(numbers)
    called = found.words(numbers, np.arange(9) + 100)
    assert "–H10" in called or "–O10" in called


def test_real_motion_is_not_taken_for_it():
    sample = gfnode.load("sample:toluene")
    bonds = bonds_from_distances(sample.numbers, sample.positions)
    frames = range(0, len(sample), 40)
    assert misfit_of(bonds, sample) is None
    assert all(misfit_of(bonds, sample[k]) is None for k in frames)


def test_what_comes_apart_is_not_taken_for_it():
    """Broken bonds without others in their place: a molecule that dissociates."""
    numbers, x = geometry_of("ethanol")
    bonds = bonds_from_distances(numbers, x[None])
    apart = x + np.arange(9)[:, None] * [4.0, 0, 0]
    assert misfit(bonds, numbers, [(apart, None)]) is None


def test_a_proton_that_goes_over_is_not_taken_for_it():
    numbers, x = geometry_of("CH3COOH")
    bonds = bonds_from_distances(numbers, x[None])
    oxygen = np.flatnonzero(numbers == 8)
    proton = next(
        atom for bond in bonds for atom in bond if numbers[atom] == 1 and set(bond) & set(oxygen)
    )
    free = next(atom for atom in oxygen if not any({proton, atom} == set(bond) for bond in bonds))
    moved = x.copy()
    moved[proton] = x[free] + 0.97 * (x[free] - x.mean(0)) / np.linalg.norm(x[free] - x.mean(0))
    assert misfit(bonds, numbers, [(moved, None)]) is None


def test_chains_of_beads_are_not_taken_for_it():
    """Bonds between Cα atoms are 3.8 Å long."""
    x = np.arange(12)[:, None] * [3.8, 0.0, 0.0]
    bonds = np.stack([np.arange(11), np.arange(1, 12)], 1)
    assert misfit(bonds, np.full(12, 6), [(x, None)]) is None


def test_a_molecule_that_the_box_cuts_is_not_taken_for_it():
    numbers, x = geometry_of("toluene")
    bonds = bonds_from_distances(numbers, x[None])
    cell = np.diag([9.0, 9.0, 9.0])
    wrapped = np.mod(x, 9.0)
    assert misfit(bonds, numbers, [(wrapped, None)]) is None  # far, but nothing instead
    assert misfit(bonds, numbers, [(wrapped, cell)]) is None


def test_another_unit_of_length_is_not_taken_for_it():
    numbers, x = geometry_of("toluene")
    bonds = bonds_from_distances(numbers, x[None])
    for factor in (0.1, 1.89, 10.0):
        assert misfit(bonds, numbers, [(factor * x, None)]) is None
