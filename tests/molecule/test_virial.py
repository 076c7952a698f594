"""The temperature that forces hold bonds at, and forces that do not fit the motion."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from ase.build import molecule

from gfnode.experiment import configure, prepare
from gfnode.inspection import inspect
from gfnode.molecule.virial import UNITS, _temperatures, off_forces
from gfnode.simulate import harmonic_network
from gfnode.trajectory import Trajectory
from gfnode.units import WAVENUMBER

BONDS = np.array([[0, 1], *([0, k] for k in (2, 3, 4)), *([1, k] for k in (5, 6, 7))])


@cache
def ethane(apart: int = 10, *, velocities: bool = False) -> Trajectory:
    """Bonds at 300 K, frames 0.5 fs times ``apart``, with forces, which differences show."""
    built = molecule("C2H6")
    mass = 12.011 * 1.008 / (12.011 + 1.008)
    stiffness = np.array([0.3, *[mass * (3000 * WAVENUMBER) ** 2] * 6])
    network = harmonic_network(
        built.positions, BONDS, built.numbers, stiffness=stiffness, temperature=300.0
    )
    dense = network.trajectory(8002, 0.5)
    x = dense.positions.astype(np.float64)
    forces = dense.masses[:, None] * (x[2:] - 2 * x[1:-1] + x[:-2]) / 0.25
    found = replace(dense[1:-1], forces=forces.astype(np.float32), source="ethane.extxyz")
    return replace(found if velocities else replace(found, velocities=None))[::apart]


def scaled(trajectory: Trajectory, factor: float) -> Trajectory:
    assert trajectory.forces is not None
    return replace(trajectory, forces=trajectory.forces * np.float32(factor))


@pytest.mark.parametrize("apart", [1, 10, 100])
def test_sound_forces_are_passed_over_at_any_spacing(apart):
    assert off_forces([ethane(apart)], BONDS, None) is None
    assert off_forces([ethane(apart)], BONDS, 300.0) is None


@pytest.mark.parametrize("heat", [1 / 30, 20.0])
def test_forces_that_fit_a_very_cold_or_hot_motion_are_passed_over(heat):
    """10 K and 6000 K: displacements, velocities and forces are so many times smaller or larger."""
    sound = ethane(velocities=True)
    mean = sound.positions.mean(0)
    root = np.float32(np.sqrt(heat))
    other = replace(
        scaled(sound, root),
        positions=mean + root * (sound.positions - mean),
        velocities=root * sound.velocities,
    )
    assert off_forces([other], BONDS, None) is None
    assert off_forces([replace(other, velocities=None)], BONDS, 300.0 * heat) is None
    assert off_forces([scaled(other, 500.0)], BONDS, None) is not None


@pytest.mark.parametrize("unit", ["kcal/mol/Å", "kJ/mol/Å", "hartree/bohr"])
def test_another_unit_is_told_and_named(unit):
    factor = UNITS["eV/Å"] / UNITS[unit]
    for temperature in (None, 300.0):
        found = off_forces([scaled(ethane(), factor)], BONDS, temperature)
        assert found is not None
        assert found.unit == unit
        assert found.factor == pytest.approx(factor)
        assert f"they appear to be in {unit}, expected eV/Å" in found.words


def test_gradients_are_told():
    found = off_forces([scaled(ethane(), -1)], BONDS, None)
    assert found is not None
    assert "multiply them by −1" in found.words


def test_forces_of_zero_are_told():
    found = off_forces([scaled(ethane(), 0.0)], BONDS, None)
    assert found is not None
    assert "practically zero" in found.words


def test_a_factor_of_less_than_three_is_passed_over():
    found = off_forces([scaled(ethane(), 100.0)], BONDS, 300.0)
    assert found is not None
    held = found.holds / 100.0  # its bonds are not at 300 K: energy is kept
    for factor in (0.45, 2.2):
        assert off_forces([scaled(ethane(), factor)], BONDS, held) is None
    other = off_forces([scaled(ethane(), 7.0)], BONDS, 300.0)
    assert other is not None


def test_what_tells_nothing_is_passed_over():
    wrong = scaled(ethane(), 23.06)
    assert off_forces([replace(wrong, forces=None)], BONDS, None) is None
    assert off_forces([wrong[:10]], BONDS, None) is None
    assert off_forces([wrong], BONDS[:0], None) is None
    x = wrong.positions.copy()  # a bond that is held
    x[:, 2] = x[:, 0] + [0.0, 0.0, 1.09]
    assert off_forces([replace(wrong, positions=x)], BONDS, None) is None


def test_it_is_told_of_some_of_the_atoms():
    atoms = np.array([0, 1, 2, 3, 4])
    found = off_forces([scaled(ethane(), 23.06)], BONDS[:4], None, atoms)
    assert found is not None
    assert found.unit == "kcal/mol/Å"


def test_gfnode_data_and_train_say_so():
    wrong = scaled(ethane(10, velocities=True), 23.06)
    changes = configure(changes={"windows.horizon": 100.0})
    (note,) = (each for each in prepare([wrong], changes).notes if "forces" in each)
    assert "they appear to be in kcal/mol/Å, expected eV/Å" in note
    (finding,) = (each for each in inspect(wrong).findings if each.code == "force-unit")
    assert finding.level == "warning"
    assert finding.values["unit"] == "kcal/mol/Å"
    sound = ethane(10, velocities=True)
    assert not [each for each in prepare([sound], changes).notes if "forces" in each]
    assert "force-unit" not in [each.code for each in inspect(sound).findings]


def two_atoms() -> Trajectory:
    """N₂ that does nothing but vibrate along its bond, with forces, which differences show."""
    times, mass, omega = 0.5 * np.arange(4002), 14.007, 2300 * WAVENUMBER
    x = np.zeros((len(times), 2, 3))
    x[:, 1, 0] = 1.1 + 0.05 * np.cos(omega * times)
    x[..., 0] -= x[..., 0].mean(1, keepdims=True)
    forces = mass * (x[2:] - 2 * x[1:-1] + x[:-2]) / 0.25
    return Trajectory(
        x[1:-1], times[1:-1], [7, 7], velocities=x[2:] - x[:-2], forces=forces, source="n2.extxyz"
    )


def test_a_small_molecule_that_neither_moves_nor_turns_is_not_taken_for_cold():
    """Over 3N degrees of freedom it is six times as cold as its one vibration."""
    trajectory, bond = two_atoms(), np.array([[0, 1]])
    whole = trajectory.temperature()
    assert whole is not None
    assert off_forces([replace(trajectory, velocities=None)], bond, whole) is not None
    assert off_forces([trajectory], bond, whole) is None
    assert inspect(trajectory).facts.forces is None
    changes = configure(changes={"windows.horizon": 100.0})
    assert not [each for each in prepare([trajectory], changes).notes if "forces" in each]


@pytest.mark.parametrize("apart", [1, 10])
def test_forces_and_velocities_hold_the_same_bonds_at_the_same_temperature(apart):
    found = _temperatures(ethane(apart, velocities=True), BONDS, None)
    assert found is not None
    holds, moves = found
    assert moves == pytest.approx(holds, rel=0.03)


def test_what_turns_as_it_swings_has_a_centrifugal_share():
    """An identity of any bounded motion: N₂ that turns faster while it is long."""
    times, mass, omega = 0.1 * np.arange(8002), 14.007, 2300 * WAVENUMBER
    half = (1.1 + 0.05 * np.cos(omega * times)) / 2
    turn = 0.05 * (times + 0.8 * np.sin(omega * times) / omega)
    end = np.stack([half * np.cos(turn), half * np.sin(turn), 0 * turn], -1)
    x = np.stack([-end, end], 1)
    turning = Trajectory(
        x[1:-1],
        times[1:-1],
        [7, 7],
        velocities=(x[2:] - x[:-2]) / 0.2,
        forces=mass * (x[2:] - 2 * x[1:-1] + x[:-2]) / 0.01,
    )
    found = _temperatures(turning, np.array([[0, 1]]), None)
    assert found is not None
    assert found[1] == pytest.approx(found[0], rel=0.02)


def test_a_factor_of_no_unit_names_none():
    found = off_forces([scaled(ethane(), 2e4)], BONDS, 300.0)
    assert found is not None
    assert found.unit is None
    assert "check their unit" in found.words


def test_bonds_that_stay_cold_are_compared_with_themselves():
    """A molecule that flies fast is no hotter inside, and nothing is wrong with its forces."""
    rest, bond = two_atoms(), np.array([[0, 1]])
    assert rest.velocities is not None
    drift = np.array([0.0, 0.3, 0.0], dtype=np.float32)
    moved = rest.positions + rest.times[:, None, None].astype(np.float32) * drift
    flying = replace(rest, positions=moved, velocities=rest.velocities + drift)
    heat = flying.temperature()
    assert heat is not None
    assert heat > 10 * 6 * (rest.temperature() or 0.0)
    assert off_forces([flying], bond, heat) is None
    off = off_forces([scaled(flying, 0.2)], bond, heat)
    assert off is not None
    assert off.temperature == pytest.approx(6 * (rest.temperature() or 0.0), rel=0.02)


def test_temperatures_are_plain_numbers():
    found = off_forces([scaled(ethane(), 4 / 3)], BONDS, 60.0)
    assert found is not None
    assert re.search(r"a temperature of \d{3} K, but the motion has 60 K", found.words)
