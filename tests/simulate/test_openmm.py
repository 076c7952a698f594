"""Simulations with OpenMM."""

import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gfnode
from gfnode import InputError
from gfnode.geometry import bond_lengths
from gfnode.simulate import simulate
from gfnode.simulate.openmm_dynamics import Box, OpenMMDynamics
from gfnode.simulate.run import prepare
from gfnode.units import BOLTZMANN

pytest.importorskip("openmm")
SHORT: dict[str, Any] = {"engine": "openmm", "equilibrate": "4ps", "every": "200fs"}
REFERENCE: dict[str, Any] = SHORT | {"openmm": {"platform": "Reference"}}


class Stopped(Exception):
    """Stands for a kill."""


def test_resumed_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfnode.simulate.run.SAVE_EVERY_S", 0.0)
    out = tmp_path / "a.xtc"
    whole = simulate("ala2", **REFERENCE, length="4ps")

    def stop(step: int, _last: int) -> None:
        if step >= 3000:
            raise Stopped

    with pytest.raises(Stopped):
        simulate("ala2", **REFERENCE, length="4ps", out=out, progress=stop)
    resumed = simulate("ala2", **REFERENCE, length="4ps", out=out, resume=True)
    assert np.array_equal(whole.positions, resumed.positions)
    assert len(resumed) == 20
    assert resumed.topology is not None
    assert resumed.topology.names[:3] == ("H1", "CH3", "H2")
    read = gfnode.load(out, top=tmp_path / "a.pdb")
    np.testing.assert_allclose(read.positions, resumed.positions, atol=0.006)
    other = simulate("ala2", **REFERENCE, length="4ps", seed=1)
    assert np.abs(other.positions - whole.positions).max() > 0.5


def test_temperature_and_constraints() -> None:
    simulation = prepare("ala2", **REFERENCE, length="30ps")
    outcome = simulation.run(None)
    summary, made = outcome.summary, outcome.trajectory
    assert summary is not None
    assert summary.degrees == 66 - 12  # bonds of hydrogen
    assert summary.temperature.value == pytest.approx(300, rel=0.06)
    assert made.velocities is not None
    assert made.topology is not None
    kinetic = (made.masses * np.square(made.velocities.astype(float)).sum(-1)).sum(1) / 2
    temperature = 2 * kinetic.mean() / (54 * BOLTZMANN)
    assert temperature == pytest.approx(summary.temperature.value, rel=2e-3)
    bonds = made.topology.bonds
    rigid = (made.numbers[bonds] == 1).any(1)
    import torch

    lengths = bond_lengths(torch.from_numpy(made.positions), torch.from_numpy(bonds)).numpy()
    assert lengths[:, rigid].std(0).max() < 1e-4
    assert lengths[:, ~rigid].std(0).min() > 0.01
    assert "amber99sbildn in obc, rigid bonds of hydrogen (OpenMM" in made.source


def test_constant_energy() -> None:
    """Without constraints and at a short step, velocity and energy are those of leapfrog."""
    simulation = prepare(
        "ala2",
        **SHORT | {"every": "10fs"},
        length="1ps",
        time_step="0.5fs",
        thermostat="none",
        openmm={"platform": "Reference", "constraints": "none", "solvent": "vacuum"},
    )
    summary = simulation.run(None).summary
    assert summary is not None
    assert summary.degrees == 66
    assert summary.spread < 0.01
    assert abs(summary.drift) < 5


def test_the_platform_is_tried() -> None:
    simulation = prepare("ala2", **SHORT, length="200fs")
    assert isinstance(simulation.dynamics, OpenMMDynamics)
    assert simulation.dynamics.platform is None
    simulation.dynamics.prepare()
    assert simulation.dynamics.platform in {"Reference", "CPU", "CUDA", "OpenCL", "HIP"}
    assert f"{simulation.dynamics.platform} platform" in simulation.describe()


def test_another_platform_goes_on_from_positions() -> None:
    first = prepare("ala2", **REFERENCE, length="4ps").dynamics
    first.prepare()
    first.advance(50, equilibrating=True)
    second = prepare("ala2", **SHORT, openmm={"platform": "CPU"}, length="4ps").dynamics
    with pytest.warns(UserWarning, match="continuing from positions and velocities"):
        second.from_arrays(first.to_arrays())
    np.testing.assert_allclose(second.snapshot().positions, first.snapshot().positions, atol=1e-4)
    second.advance(10, equilibrating=False)


def test_a_box_of_water(tmp_path: Path) -> None:
    """Whole molecule, its water left out or kept, the volume fixed after equilibration."""
    openmm = {"platform": "CPU", "solvent": "tip3p", "padding": 4.0}
    how = SHORT | {"equilibrate": "200fs", "every": "20fs"}
    out = tmp_path / "a.npz"
    made = simulate("ala2", **how, length="100fs", openmm=openmm, out=out)
    assert made.n_atoms == 22
    assert made.cell is not None
    assert np.ptp(made.cell, axis=0).max() == 0
    assert 10 < made.cell[0, 0, 0] < 40
    simulation = prepare("ala2", **how, length="100fs", openmm=openmm | {"keep": "all"})
    everything = simulation.run(None).trajectory
    assert everything.n_atoms > 100
    assert everything.topology is not None
    assert set(everything.topology.residue_names) == {"ACE", "ALA", "NME", "HOH"}
    assert simulation.dynamics.degrees < 3 * everything.n_atoms - 100  # rigid water
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gfnode.load(out).n_atoms == 22


def test_a_pdb_file(tmp_path: Path) -> None:
    text = (files("gfnode") / "data" / "alanine-dipeptide.pdb").read_text()
    (tmp_path / "mine.pdb").write_text(text)
    made = simulate(str(tmp_path / "mine.pdb"), **REFERENCE | {"equilibrate": "0fs"}, length="1ps")
    assert made.name == "mine"
    assert len(made) == 5


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("toluene", {}, "needs residues and bonds: give ala2 or a PDB file"),
    ("ala2", {"thermostat": "bussi"}, "takes --thermostat langevin or none, got bussi"),
    ("ala2", {"degrees": "3N"}, "not openmm"),
    ("ala2", {"options": {"a": 1}}, "--option is for ASE calculators"),
    ("ala2", {"openmm": {"solvent": "beer"}}, "unknown solvent 'beer'"),
    ("ala2", {"openmm": {"force_field": "amber1"}}, "cannot be loaded"),
    ("ala2", {"openmm": {"force_field": "tip3p", "solvent": "vacuum"}}, "does not describe"),
    ("ala2", {"openmm": {"constraints": "all"}}, "expected hbonds or none"),
    ("ala2", {"openmm": {"keep": "water"}}, "expected solute or all"),
    ("ala2", {"openmm": {"padding": -1.0}}, "expected a length above zero"),
    ("ala2", {"openmm": {"platform": "Abacus"}}, "cannot use the platform Abacus"),
]


@pytest.mark.parametrize(("what", "change", "message"), BAD, ids=lambda each: str(each)[:40])
def test_bad_input(what: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate(what, **REFERENCE | {"length": "1ps"} | change)


def test_too_long_a_step() -> None:
    simulation = prepare("ala2", **REFERENCE | {"every": "1ps"}, length="9ps", time_step="50fs")
    with pytest.raises(InputError, match="use a shorter --time-step"):
        simulation.run(None)


def test_settings() -> None:
    assert "padding" not in Box().settings()
    assert "platform" not in Box(platform="CPU").settings()
    assert Box(solvent="tip3p").settings()["padding"] == 10
