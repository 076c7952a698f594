"""Energies of conformations: the same as in files made elsewhere, and as the engines give alone."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT

import gfnode
from gfnode import InputError
from gfnode.simulate import Engine, energies
from gfnode.simulate import extra as module

EV = 23.060548  # kcal/mol


def test_energies_of_a_file(shared_data: Path) -> None:
    """The files of the project hold what GFN2-xTB gave when they were made (by ASE and tblite)."""
    pytest.importorskip("tblite")
    with np.load(shared_data / "xtb" / "md17_ethanol.npz") as file:
        frames = np.arange(0, 64000, 6400)
        stored, positions, numbers = file["E"][frames], file["R"][frames], file["z"]
    found = energies(numbers, positions)
    stored = stored - stored.mean()
    assert np.abs(stored).max() > 2
    np.testing.assert_allclose(found - found.mean(), stored, atol=2e-3)


def test_an_energy_does_not_depend_on_the_frame_before() -> None:
    pytest.importorskip("tblite")
    water = molecule("H2O")
    positions = water.positions + 0.05 * np.random.default_rng(0).normal(size=(6, 3, 3))
    forward = energies(water.numbers, positions)
    assert np.array_equal(forward, energies(water.numbers, positions[::-1])[::-1])


def test_a_charge_counts() -> None:
    """Proton affinity of ammonia: 204 kcal/mol from experiment, with GFN2-xTB within 40 of it."""
    pytest.importorskip("tblite")
    z = 0.5887 * np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
    ammonium = energies([7, 1, 1, 1, 1], z[None], charge=1)
    ammonia = energies([7, 1, 1, 1], z[None, :4])
    proton = energies([1], np.zeros((1, 1, 3)), charge=1)
    assert 160 < (ammonia + proton - ammonium).item() < 250


def test_any_ase_calculator() -> None:
    copper = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]])
    positions = np.stack([copper.positions, copper.positions * 1.1])
    expected = []
    for each in positions:
        alone = Atoms("Cu2", each, calculator=EMT())
        expected.append(alone.get_potential_energy() * EV)
    for name in ("emt", "ase.calculators.emt:EMT"):
        told: list[int] = []
        found = energies(copper.numbers, positions, name, advance=told.append)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert told == [1, 1]
    with pytest.raises(InputError, match="cannot handle this molecule"):
        energies([92, 92], positions, "emt")


def ala2() -> gfnode.Trajectory:
    return gfnode.load(str(files("gfnode") / "data" / "alanine-dipeptide.pdb"), step="1fs")


@pytest.mark.parametrize(("solvent", "second"), [("obc", "amber99_obc.xml"), ("vacuum", None)])
def test_openmm_by_itself(solvent: str, second: str | None) -> None:
    app = pytest.importorskip("openmm.app")
    import openmm

    start = ala2()
    positions = start.positions + 0.05 * np.random.default_rng(0).normal(size=(3, 22, 3))
    found = energies(start.numbers, positions, "openmm", topology=start.topology, solvent=solvent)
    pdb = app.PDBFile(str(files("gfnode") / "data" / "alanine-dipeptide.pdb"))
    field = app.ForceField("amber99sbildn.xml", *([second] if second else []))
    system = field.createSystem(pdb.topology)
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("CPU")
    )
    for value, each in zip(found, positions, strict=True):
        context.setPositions(each / 10)
        energy = context.getState(energy=True).getPotentialEnergy()
        assert value == pytest.approx(energy._value / 4.184, abs=2e-3)


def test_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    z, x = [1, 1], np.array([[[0.0, 0, 0], [0, 0, 0.74]]])
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: energies(z, x[0]), r"shape \(2, 3\), expected \(frame, 2, 3\)"),
        (lambda: energies(z, x, "quantum"), "unknown engine 'quantum'"),
        (lambda: energies(z, x, "no.such:Thing"), "cannot be imported"),
        (lambda: energies(z, x, "ase.calculators.emt:Nothing"), "cannot be imported"),
        (lambda: energies(z, x, options={"method": "GFN7"}), "cannot handle .*GFN7"),
        (lambda: Engine("tip3p", {"colour": 1}).calculator(), "cannot be created with colour=1"),
        (lambda: energies(z, x, "openmm"), "needs a topology"),
        (lambda: energies(z, x, "openmm", solvent="beer"), "unknown solvent 'beer'"),
        (lambda: energies(z, x, "openmm", solvent="tip3p"), "use obc"),
        (lambda: energies(z, x, "openmm", force_field="amber1"), "cannot be loaded"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    for engine, package in (("xtb", "tblite"), ("openmm", "openmm")):
        with pytest.raises(InputError, match=rf"needs {package}.*pip install 'gfnode\[simulate\]'"):
            energies(z, x, engine)


@pytest.mark.parametrize(
    ("engine", "option"), [("xtb", "accurracy"), ("lj", "sigmaa"), ("emt", "cutoff")]
)
def test_a_mistyped_option_of_an_engine_is_refused(engine: str, option: str) -> None:
    """ASE keeps any keyword, and the record of the simulation said it had counted."""
    if engine == "xtb":
        pytest.importorskip("tblite")
    with pytest.raises(InputError, match=f"{engine} has no option {option}: expected "):
        Engine(engine, {option: 0.1}).calculator()
