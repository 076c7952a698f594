"""Forces that motion shows: against the forces that made it, and where they are not to be had."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gfnode.experiment import configure, prepare
from gfnode.trajectory import Trajectory
from gfnode.units import WAVENUMBER
from gfnode.windows.forces import LONGEST, find_forces
from making import springs

OMEGA = 1700 * WAVENUMBER
BONDS = torch.from_numpy(springs().system.bonds)


def motion(frames=1500, step=0.5, *, frequency=0.0, forces=False):
    x, _, f = springs().run(frames, step, frequency=frequency)
    return Trajectory(x, step * np.arange(frames), springs().system.numbers, forces=f), f


def train_windows(trajectory, **changes):
    changes = {"windows.horizon": 60.0, "windows.most": [200, 20, 20]} | changes
    return prepare([trajectory], configure(changes=changes)).parts["train"]


def plain(trajectory, **changes):
    return train_windows(replace(trajectory, forces=None), **changes)


def share_of_error(found, exact):
    """Root mean square error over root mean square force."""
    exact = torch.from_numpy(exact).float()[found.frames]
    error = found.values - exact
    if found.unknown is not None:
        along = torch.nn.functional.normalize(found.unknown.flatten(1), dim=-1)
        error = error.flatten(1)
        error = error - (error * along).sum(-1, keepdim=True) * along
    return float(error.square().mean().sqrt() / exact.square().mean().sqrt())


def test_three_frames_in_a_row_show_the_force():
    trajectory, exact = motion()
    found = find_forces(plain(trajectory), BONDS, 300)
    assert found.values.shape == found.unknown.shape == (len(found.frames), 9, 3)
    assert 290 < len(found.frames) <= 300
    assert share_of_error(found, exact) < 2e-3
    assert share_of_error(found._replace(unknown=None), exact) < 2e-3  # there is no thermostat


def test_a_thermostat_leaves_one_direction_unknown():
    trajectory, exact = motion(frequency=OMEGA)
    found = find_forces(plain(trajectory), BONDS, 300)
    assert share_of_error(found._replace(unknown=None), exact) > 0.02
    assert share_of_error(found, exact) < 3e-3


def test_stored_forces_are_taken_as_they_are():
    trajectory, exact = motion()
    found = find_forces(train_windows(trajectory), BONDS, 300)
    assert found.unknown is None
    assert len(found.frames) == 300
    assert share_of_error(found, exact) < 1e-6


@pytest.mark.parametrize("forces", [True, False])
def test_one_frame_shows_no_rigid_bond(forces):
    """PyTorch warned of a standard deviation of one number."""
    trajectory, _ = motion()
    windows = (train_windows if forces else plain)(trajectory)
    assert len(find_forces(windows, BONDS, 1).frames) == 1


@pytest.mark.parametrize("step", [1, 2, 3])
def test_frames_far_apart_show_none(step):
    trajectory, _ = motion(3000)
    found = find_forces(plain(trajectory[::step]), BONDS, 300)
    assert (found is None) == (0.5 * step > LONGEST)


@pytest.mark.parametrize(("decimals", "step", "shown"), [(4, 0.5, False), (4, 1.0, True)])
def test_rounding_hides_them(decimals, step, shown):
    trajectory, _ = motion(step=step)
    rounded = replace(trajectory, positions=trajectory.positions.round(decimals))
    assert (find_forces(plain(rounded), BONDS, 300) is not None) == shown


def test_far_from_the_origin_single_precision_hides_them():
    trajectory, _ = motion()
    for away, shown in ((100.0, True), (5000.0, False)):
        far = replace(trajectory, positions=trajectory.positions + np.float32(away))
        assert (find_forces(plain(far), BONDS, 300) is not None) == shown


@pytest.mark.parametrize("stored", [False, True])
def test_a_bond_of_fixed_length_tells_of_no_potential(stored):
    """Nor do stored forces: programs leave out those that hold the length."""
    trajectory, _ = motion()
    x = trajectory.positions.copy()
    i, j = BONDS[0].tolist()
    apart = x[:, j] - x[:, i]
    x[:, j] = x[:, i] + 1.1 * apart / np.linalg.norm(apart, axis=-1, keepdims=True)
    held = replace(trajectory, positions=x, forces=trajectory.forces if stored else None)
    assert find_forces(train_windows(held), BONDS, 300) is None


def test_published_windows_stand_alone():
    trajectory, _ = motion()
    assert find_forces(replace(plain(trajectory), shown=None), BONDS, 300) is None


def test_nothing_is_taken_from_other_parts_over_gaps_or_from_leaps():
    trajectory, exact = motion()
    x = trajectory.positions.copy()
    x[400:] += 0.5  # a leap between frames 399 and 400
    kept = np.r_[0:200, 201:1500]  # frame 200 is missing
    cut = replace(trajectory, positions=x, forces=None, time_step=0.5)[kept]
    windows = plain(cut)
    found = find_forces(windows, BONDS, 10_000)
    numbers = set(found.frames.tolist())
    assert not {199, 200} & numbers  # neighbours of the missing one
    assert not {398, 399} & numbers  # 399 and 400 before it was taken out
    assert {198, 201, 397, 400} <= numbers
    seen = set(windows.seen.tolist())
    assert all({k - 1, k, k + 1} <= seen for k in numbers)
    assert share_of_error(found, exact[kept]) < 2e-3


def test_two_trajectories_do_not_follow_one_another():
    trajectory, _ = motion(800)
    twice = [replace(trajectory, forces=None)] * 2
    windows = prepare(twice, configure(changes={"windows.horizon": 30.0})).parts["train"]
    found = find_forces(replace(windows, shown=torch.arange(2 * 800)), BONDS, 10_000)
    assert len(found.frames) == 2 * 798
    assert not {0, 799, 800, 1599} & set(found.frames.tolist())
