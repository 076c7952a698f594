"""The time between frames, told by bonds and by stored velocities."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule

from gfnode.graph import bonds_from_distances
from gfnode.molecule.clock import STRETCHING, displacement_temperature, look_at_time
from gfnode.simulate import harmonic_network
from gfnode.trajectory import Trajectory
from gfnode.trajectory.clock import Clock
from gfnode.trajectory.series import Series
from gfnode.units import WAVENUMBER

BONDS = np.array([[0, k] for k in (1, 2, 3, 4)])


@cache
def methane(apart: int, wavenumber: float = 3000.0, temperature: float = 300.0) -> Trajectory:
    """Frames 0.5 fs times ``apart``. Its carbon moves by what the hydrogens push, and not else."""
    built = molecule("CH4")
    pairs = [*BONDS.tolist(), *([i, j] for i in range(1, 5) for j in range(i + 1, 5))]
    reduced = 12.011 * 1.008 / (12.011 + 1.008)
    stretching = reduced * (wavenumber * WAVENUMBER) ** 2
    network = harmonic_network(
        built.positions,
        pairs,
        built.numbers,
        stiffness=np.array([stretching] * 4 + [0.01 * stretching] * 6),
        temperature=temperature,
    )
    return network.trajectory(6000, 0.5)[::apart]


def timed(trajectory: Trajectory, factor: float) -> Clock:
    """The clock of frames whose times are wrong by a factor."""
    assert trajectory.step is not None
    wrong = replace(trajectory, times=factor * trajectory.times, time_step=factor * trajectory.step)
    assert np.array_equal(bonds_from_distances(wrong.numbers, wrong.positions[:9]), BONDS)
    return look_at_time(Series.of([wrong]), BONDS, None)


@pytest.mark.parametrize("apart", [1, 2, 4, 6, 8, 10, 14])
def test_the_right_step_of_a_light_molecule_is_believed(apart: int) -> None:
    """Every n-th frame too; 4 fs apart the trapezoidal rule says 4.9 fs, of carbon's velocities."""
    assert timed(methane(apart), 1.0).wrong is None


@pytest.mark.parametrize("apart", [1, 2, 4])
@pytest.mark.parametrize("wavenumber", [1700.0, 2200.0])
def test_heavy_hydrogens_are_no_wrong_step_where_velocities_fit(
    apart: int, wavenumber: float
) -> None:
    """Those of 4 u, as xTB has them unless told otherwise, swing at 1700 cm⁻¹; of 2 u at 2200."""
    slow = methane(apart, wavenumber)
    found = timed(slow, 1.0)
    assert found.swing_fits is False
    assert found.heavy
    assert found.wrong is None
    assert not timed(methane(apart), 1.0).heavy
    assert timed(slow, 2.0).wrong == "time-step"
    blind = look_at_time(Series.of([replace(slow, velocities=None)]), BONDS, None)
    assert blind.wrong == "time-step"  # of the two there is no telling


@pytest.mark.parametrize("apart", [1, 2, 4, 6])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_one_is_told(apart: int, factor: float) -> None:
    found = timed(methane(apart), factor)
    assert found.wrong is not None
    if found.wrong == "time-step":
        assert found.better_fs == pytest.approx(0.5 * apart, rel=0.1)


@pytest.mark.parametrize("apart", [1, 2, 3])
def test_velocities_tell_it_to_a_hundredth(apart: int) -> None:
    assert timed(methane(apart), 1.5).step_stored_fs == pytest.approx(0.5 * apart, rel=0.01)


@pytest.mark.parametrize("apart", [9, 10])
def test_velocities_that_change_too_much_between_frames_tell_nothing(apart: int) -> None:
    assert timed(methane(apart), 1.0).step_stored_fs is None


def test_clocks_that_agree_are_believed_of_hot_atoms() -> None:
    """At 5000 K atoms move further than the clock expects of any simulation, at the right step."""
    found = timed(methane(1, temperature=5000.0), 1.0)
    assert found.too_hot
    assert found.wrong is None


@pytest.mark.parametrize(
    ("element", "wavenumbers"),
    [
        (5, (2524, 2612)),  # B2H6
        (6, (2917, 3019)),  # CH4
        (7, (3337, 3444)),  # NH3
        (8, (3657, 3756)),  # H2O
        (9, (3961,)),
        (14, (2187, 2191)),  # SiH4
        (15, (2323, 2328)),  # PH3
        (16, (2615, 2626)),  # H2S
        (17, (2886,)),
        (35, (2559,)),
        (53, (2230,)),
    ],
)
def test_bonds_swing_as_in_measured_spectra(element: int, wavenumbers: tuple[int, ...]) -> None:
    """Fundamentals of hydrides as gases, in 1/cm; hydrogen bonds and heavier groups lower some."""
    assert STRETCHING[element] == pytest.approx(np.mean(wavenumbers), rel=0.06)


def test_bonds_of_hydrogen_are_read_and_no_others() -> None:
    """A hydroxyl group on carbon, which has no hydrogen of its own."""
    times = 0.5 * np.arange(3000)
    x = np.zeros((3000, 3, 3))
    x[:, 1, 0] = 1.4 + 0.1 * np.cos(1000 * WAVENUMBER * times)
    x[:, 2, 0] = x[:, 1, 0] + 0.97 + 0.05 * np.cos(3600 * WAVENUMBER * times + 0.3)
    bonds = np.array([[0, 1], [1, 2]])
    found = look_at_time(Series.of([Trajectory(x, times, [6, 8, 1])]), bonds, None)
    assert (found.bond, found.bonds) == ("O-H", 1)
    assert found.wavenumber == pytest.approx(3600, rel=0.01)


@pytest.mark.parametrize("numbers", [[6, 8, 7, 1, 1], [1, 1, 1, 1]])
def test_temperatures_of_displacements_are_those_of_ase(numbers: list[int]) -> None:
    """Of free flight, of frames that are not evenly spaced, without the drift of what is asked."""
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=(2, len(numbers), 3))
    v = 0.01 + 0.01 * v
    times = np.array([0.0, 0.5, 1.0, 1.5, 4.5])
    flight = Series.of([Trajectory(x + times[:, None, None] * v, times, numbers)])

    def kelvin(chosen: list[int]) -> float:
        atoms = Atoms([numbers[k] for k in chosen], velocities=v[chosen] / units.fs)
        drift = atoms.get_momenta().sum(0) / atoms.get_masses().sum()
        atoms.set_velocities(atoms.get_velocities() - drift)
        return float(atoms.get_temperature())

    every = list(range(len(numbers)))
    heavy = [k for k in every if numbers[k] > 1] or every
    assert displacement_temperature(flight) == pytest.approx(kelvin(every), rel=1e-3)
    assert displacement_temperature(flight, heavy=True) == pytest.approx(kelvin(heavy), rel=1e-3)


def test_two_atoms_that_fly_together_are_warm() -> None:
    """Of a diatomic molecule that moves as one, no motion would be left without its drift."""
    v = np.full((2, 3), 0.01)
    times = 0.5 * np.arange(5.0)
    flight = Series.of([Trajectory(np.eye(2, 3) + times[:, None, None] * v, times, [7, 7])])
    expected = Atoms("N2", velocities=v / units.fs).get_temperature()
    assert displacement_temperature(flight) == pytest.approx(expected, rel=1e-3)
