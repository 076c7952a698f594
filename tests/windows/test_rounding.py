"""Rounded coordinates: they are seen, and momenta are taken over a longer time."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from gfnode import geometry
from gfnode.trajectory import Trajectory
from gfnode.windows.cutting import WindowSettings, make_windows
from gfnode.windows.forces import find_forces
from gfnode.windows.rounding import rounded_to, steadied
from gfnode.windows.velocities import VelocityRule
from making import springs

DRIFT = np.array([2e-3, -1e-3, 3e-3])  # Å/fs
SPIN = 4e-3  # 1/fs, at the mean radius
TILT = Rotation.from_euler("xyz", [0.5, -0.8, 0.3]).as_matrix()
SETTINGS = WindowSettings(horizon=200.0, score="all", align=False)


def ring(times, size=None):
    """Six carbon atoms that breathe, turn about their axis and fly, all momenta conserved."""
    fine = np.arange(0.0, times[-1] + 1, 0.05)
    radius = 1.4 + 0.03 * np.sin(2 * np.pi * fine / 33.0)
    angle = np.cumsum(SPIN * (1.4 / radius) ** 2) * 0.05
    now = np.searchsorted(fine, times - 1e-6)
    turned = angle[now][:, None] + np.arange(6) * np.pi / 3
    flat = np.stack([np.cos(turned), np.sin(turned), 0 * turned], -1)
    x = radius[now][:, None, None] * flat @ TILT.T + 40.0 + DRIFT * times[:, None, None]
    x = x if size is None else np.round(x / size) * size
    return Trajectory(x, times, np.full(6, 6), time_step=0.5, name="ring")


def uneven(seed=0, count=400):
    """Every third frame has a successor half a femtosecond or one later."""
    gaps = np.random.default_rng(seed).choice([5.0, 9.0, 14.0], (count, 3))
    gaps[:, 0] = np.random.default_rng(seed + 1).choice([0.5, 1.0], count)
    return np.concatenate([[0.0], gaps.ravel().cumsum()])


def momenta(windows):
    batch = windows.batch(slice(None))
    x, v, m = batch.positions.double(), batch.velocities.double(), torch.full((6,), 12.011)
    return geometry.momentum(v, m) / m.sum(), geometry.angular_momentum(x, v, m)


@pytest.mark.parametrize("size", [1e-3, 1e-2])
def test_momenta_of_rounded_frames(size):
    windows = make_windows([ring(uneven(), size)], SETTINGS)[0]["train"]
    bare = make_windows([ring(uneven(), size)], SETTINGS)[0]["train"]
    object.__setattr__(bare, "steady", None)
    expected = torch.from_numpy(DRIFT), torch.from_numpy(TILT[:, 2] * 6 * 12.011 * 1.4**2 * SPIN)
    for found, rough, true in zip(momenta(windows), momenta(bare), expected, strict=True):
        off, before = ((y - true).norm(dim=-1)[5:] / true.norm() for y in (found, rough))
        assert off.square().mean().sqrt() < 0.03 * (size / 1e-3) ** 0.5
        assert off.square().mean() < 0.05 * before.square().mean()


def test_nothing_but_momenta_is_changed():
    trajectory = ring(uneven(), 1e-3)
    windows = make_windows([trajectory], SETTINGS)[0]["train"]
    rough = windows._differences(windows.starts, windows.neighbours)
    change = windows.batch(slice(None)).velocities - rough
    x = trajectory.positions[windows.starts]
    apart, change = x[:, :1] - x[:, 1:], (change[:, :1] - change[:, 1:]).numpy()
    scale = np.abs(change).max()
    assert scale > 1e-4
    np.testing.assert_allclose((apart * change).sum(-1), 0.0, atol=1e-4 * scale)  # distances stay


def test_exact_frames_are_left_alone():
    assert make_windows([ring(uneven())], SETTINGS)[0]["train"].steady is None


def test_published_splits_are_left_alone():
    even = ring(np.arange(0.0, 15_000.0, 0.5), 1e-2)
    for split, changed in (("published", False), ("blocked", True)):
        settings = WindowSettings(split=split, horizon=200.0, score="all", most=(50, 20, 20))
        assert (make_windows([even], settings)[0]["train"].steady is not None) is changed
        rule = VelocityRule.of(settings, {})
        assert rule.steady is changed


def test_coarse_steps_are_left_alone():
    trajectory = ring(np.arange(0.0, 6000.0, 5.0), 1e-2)
    assert make_windows([trajectory], SETTINGS)[0]["train"].steady is None


def test_trajectories_are_steadied_one_by_one():
    many = [ring(uneven(seed), 1e-2) for seed in range(3)]
    settings = SETTINGS.model_copy(update={"split": "all", "most": (1, 1, 10_000)})
    together = make_windows(many, settings)[0]["test"].steady
    alone = [make_windows([each], settings)[0]["test"].steady for each in many]
    assert torch.equal(together, torch.cat(alone))


def test_frames_are_taken_in_pieces(monkeypatch):
    """Memory does not grow with the number of starts times that of atoms."""
    settings = SETTINGS.model_copy(update={"split": "all", "most": (1, 1, 10_000)})
    whole = make_windows([ring(uneven(), 1e-3)], settings)[0]["test"].steady
    for few in (1, 100):  # a frame; five frames of six atoms
        monkeypatch.setattr("gfnode.windows.rounding._CHUNK", few)
        pieces = make_windows([ring(uneven(), 1e-3)], settings)[0]["test"].steady
        np.testing.assert_allclose(pieces, whole, rtol=1e-5, atol=1e-9)


def test_where_no_earlier_frame_helps():
    first = ring(np.array([0.0, 0.5, 150.0, 150.5, 165.0, 165.5]), 1e-3)
    starts = np.array([0, 2, 4])
    found = steadied(first.positions, first.times, first.masses, starts, starts + 1)
    assert found is not None
    assert not found[:2].any()  # the first frame, and 150 fs after its predecessor
    assert found[2].any()


def test_prediction_does_as_training():
    trajectory = ring(uneven(), 1e-3)
    windows = make_windows([trajectory, trajectory], SETTINGS)[0]["train"]
    starts = windows.starts[:60].numpy()
    rule = VelocityRule.of(SETTINGS, {})
    expected = windows.batch(slice(0, 60)).velocities.numpy()
    np.testing.assert_allclose(rule.at(trajectory, starts, 0.5), expected, atol=1e-6)
    one = rule.at(trajectory, starts[40:41], 0.5)[0]
    np.testing.assert_allclose(one, expected[40], atol=1e-6)
    half = trajectory.select(np.array([0, 2, 4]))
    found = rule.at(half, starts, 0.5, trajectory)
    np.testing.assert_allclose(found, expected[:, ::2], atol=1e-6)


@given(
    size=st.sampled_from([1e-4, 1e-3, 1e-2, 0.1]),
    scale=st.floats(0.5, 50.0),
    seed=st.integers(0, 1000),
)
def test_rounding_is_told_of_each_frame(size, scale, seed):
    x = np.random.default_rng(seed).normal(size=(6, 9, 3)) * scale
    x[::2] = np.round(x[::2] / size) * size
    seen = 20 * np.spacing(np.float32(np.abs(x).max())) < size
    found = rounded_to(x.astype(np.float32))
    assert (found[1::2] < 0.1 * size).all() or not seen
    assert (found[::2] == size).all() or not seen or np.abs(x).max() < 2 * size


@given(
    unit=st.sampled_from([1.0, 10.0, 0.529177210903]),
    scale=st.floats(0.5, 50.0),
    seed=st.integers(0, 1000),
)
def test_numbers_of_half_precision_are_told_of_each_frame(unit, scale, seed):
    """In Å, nm or bohr: the root mean square of the steps between such numbers."""
    x = np.random.default_rng(seed).normal(size=(6, 9, 3)) * scale
    half = x[::2].astype(np.float16)
    x[::2] = half
    found = rounded_to((x * unit).astype(np.float32))
    assert not found[1::2].any()
    steps = unit * 2.0 ** (np.floor(np.log2(np.abs(half.astype(float)))) - 10)
    expected = np.sqrt(np.square(steps).mean((1, 2)))
    np.testing.assert_allclose(found[::2], expected, rtol=1e-3)


def test_frames_of_half_precision_show_no_forces():
    fine = springs("ethanol").run(400, 0.5)[0]
    for x, shown in ((fine, True), (fine.astype(np.float16), False)):
        trajectory = Trajectory(x, np.arange(400) * 0.5, springs("ethanol").system.numbers)
        settings = WindowSettings(horizon=5.0, score="all", state="all")
        windows = make_windows([trajectory], settings)[0]["train"]
        bonds = torch.from_numpy(springs("ethanol").system.bonds)
        assert (find_forces(windows, bonds, 50) is not None) is shown
