"""Simulations of atoms of other masses than the standard ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write
from springs import MOLECULES

from gfnode.simulate import simulate
from gfnode.simulate.molecules import Molecule, find
from gfnode.simulate.report import describe_plan
from gfnode.simulate.run import prepare

FREE: dict[str, Any] = {"thermostat": "none", "equilibrate": "0fs", "seed": 3}


def heavier(light: Molecule, times: float = 4.0) -> Molecule:
    return replace(light, atom_masses=times * light.masses)


def test_four_times_the_mass_takes_twice_the_time() -> None:
    """m x″ = F(x): in double time the same positions, at half the velocities of the same heat."""
    light = MOLECULES["five"]
    how = {"engine": "springs:Springs", **FREE, "steps": 200}
    one = simulate(light, **how, time_step="0.5fs", every="1fs")
    two = simulate(heavier(light), **how, time_step="1fs", every="2fs")
    assert np.ptp(one.positions, axis=0).max() > 0.1
    np.testing.assert_allclose(two.positions, one.positions, atol=1e-5)
    assert one.velocities is not None
    assert two.velocities is not None
    np.testing.assert_allclose(2 * two.velocities, one.velocities, atol=1e-6)
    np.testing.assert_allclose(two.masses, 4 * one.masses)
    assert two.temperature() == pytest.approx(one.temperature())


def test_four_times_the_mass_takes_twice_the_time_in_openmm() -> None:
    pytest.importorskip("openmm")
    box = {"platform": "Reference", "constraints": "none", "solvent": "vacuum"}
    how = {"engine": "openmm", **FREE, "steps": 40, "openmm": box}
    light = find("ala2")
    one = simulate(light, **how, time_step="0.25fs", every="2.5fs")
    two = simulate(heavier(light), **how, time_step="0.5fs", every="5fs")
    assert np.ptp(one.positions, axis=0).max() > 0.05
    np.testing.assert_allclose(two.positions, one.positions, atol=2e-4)
    np.testing.assert_allclose(two.masses, 4 * light.masses)


def test_structures_that_name_masses(tmp_path: Path) -> None:
    water = molecule("H2O")
    water.set_masses([15.999, 2.014, 2.014])
    write(tmp_path / "d2o.extxyz", water)
    write(tmp_path / "d2o.traj", water)
    heavy = heavier(MOLECULES["water"], 2.0)
    simulate(heavy, engine="springs:Springs", steps=4, every="1fs", out=tmp_path / "w.npz")
    for name in ("d2o.extxyz", "d2o.traj"):
        np.testing.assert_allclose(find(str(tmp_path / name)).masses, [15.999, 2.014, 2.014])
    found = find(str(tmp_path / "w.npz"))
    np.testing.assert_allclose(found.masses, heavy.masses)
    assert found.to_ase().get_masses() == pytest.approx(heavy.masses)
    assert find("ethanol").atom_masses is None


def test_they_are_said_and_are_settings(tmp_path: Path) -> None:
    light = MOLECULES["water"]
    how = {"engine": "springs:Springs", "steps": 10}
    plain, heavy = prepare(light, **how), prepare(heavier(light), **how)
    assert "H 4.032 u (standard 1.008)" in describe_plan(heavy, tmp_path / "a.npz")
    assert "u (standard" not in describe_plan(plain, tmp_path / "a.npz")
    assert plain.settings() != heavy.settings()


def test_isotopes_of_smiles() -> None:
    pytest.importorskip("rdkit")
    found = find("[2H]C([2H])([2H])O")
    masses = sorted(found.masses[found.numbers == 1])
    assert masses == pytest.approx([1.008, 2.014, 2.014, 2.014], abs=1e-3)
    assert find("CO").atom_masses is None
