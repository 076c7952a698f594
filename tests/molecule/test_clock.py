"""The time between frames, told by bonds and by stored velocities."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from ase.build import molecule

from gfnode.graph import bonds_from_distances
from gfnode.molecule.clock import look_at_time
from gfnode.simulate import harmonic_network
from gfnode.trajectory import Trajectory
from gfnode.trajectory.clock import Clock
from gfnode.trajectory.series import Series
from gfnode.units import WAVENUMBER

BONDS = np.array([[0, k] for k in (1, 2, 3, 4)])


@cache
def methane(apart: int, wavenumber: float = 3000.0) -> Trajectory:
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
        temperature=300.0,
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
