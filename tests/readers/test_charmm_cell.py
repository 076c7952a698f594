"""The cell of a triclinic CHARMM run, whose DCD stores a symmetric matrix."""

import itertools

import numpy as np
import pytest
from MDAnalysisTests.datafiles import (
    DCD_NAMD_TRICLINIC,
    DCD_TRICLINIC,
    PSF_NAMD_TRICLINIC,
    PSF_TRICLINIC,
)

from gfnode import load

IMAGES = np.array(list(itertools.product((-1, 0, 1), repeat=3)))


def test_the_matrix_of_charmm_is_read_and_lies_as_the_atoms_do():
    """No two oxygens of the box of water come near through it; they do if it is turned."""
    water = load(DCD_TRICLINIC, top=PSF_TRICLINIC, step="1ps", select="all", whole=False)
    assert water.cell is not None
    np.testing.assert_array_equal(water.cell, water.cell.swapaxes(1, 2))
    np.testing.assert_allclose(  # as MDAnalysis reads it
        np.linalg.norm(water.cell[0], axis=1), [35.446037, 35.06156, 34.158504], rtol=1e-6
    )
    for x, cell in zip(water.positions[:, ::3], water.cell, strict=True):
        apart = np.linalg.norm(x[:, None, None] - x[:, None] + IMAGES @ cell, axis=-1)
        assert apart[apart > 1e-3].min() > 2.4


def test_angles_and_cosines_of_others_stay_so():
    crystal = load(DCD_NAMD_TRICLINIC, top=PSF_NAMD_TRICLINIC, step="1ps", whole=False)
    assert crystal.cell is not None
    cosine = (
        crystal.cell[0, 0]
        @ crystal.cell[0, 1]
        / np.prod(np.linalg.norm(crystal.cell[0, :2], axis=1))
    )
    assert np.degrees(np.arccos(cosine)) == pytest.approx(60.0289, abs=1e-3)
