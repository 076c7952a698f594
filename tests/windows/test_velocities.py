"""Velocities of starts: differences over uneven gaps, made even by forces."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from gfnode.errors import InputError
from gfnode.trajectory import Trajectory
from gfnode.windows.cutting import WindowSettings, make_windows
from gfnode.windows.velocities import VelocityRule, over_gap

MASSES = np.array([15.999, 1.008, 1.008])
PLACES = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
SPEED = np.array([[0.01, 0.0, 0.02], [-0.03, 0.02, 0.0], [0.0, 0.01, -0.02]])
PERIOD = 9.0  # fs, of an O–H stretch


def moving(gaps, *, forces=True):
    """Every atom of water swings along its own direction; frames at uneven times."""
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    w = 2 * np.pi / PERIOD
    phase = w * times[:, None, None]
    x = PLACES + SPEED / w * np.sin(phase)
    pull = -MASSES[:, None] * w * SPEED * np.sin(phase)
    return Trajectory(
        x, times, np.array([8, 1, 1]), forces=pull if forces else None, time_step=0.5, name="water"
    )


def mean_velocity(trajectory, gap):
    w = 2 * np.pi / PERIOD
    t = trajectory.times[:, None, None]
    return SPEED / w * (np.sin(w * (t + gap)) - np.sin(w * t)) / gap


def uneven(seed=0, count=600):
    return np.random.default_rng(seed).choice([0.5, 1.0, 1.0, 1.5, 2.0], count)


def test_exact_for_a_constant_jerk():
    a, j, v = 0.3, -0.7, 1.1

    def mean(gap):
        return np.array(v + a * gap / 2 + j * gap**2 / 6)

    found = over_gap(mean(2.0), np.array(2.0), 0.5, np.array(a), np.array(a + 2.0 * j))
    assert found == pytest.approx(mean(0.5), rel=1e-12)


@pytest.mark.parametrize("forces", [True, False])
def test_windows_with_forces_have_velocities_over_one_gap(forces):
    trajectory = moving(uneven(), forces=forces)
    settings = WindowSettings(horizon=20.0, score="all", align=False)
    windows = make_windows([trajectory], settings)[0]["train"]
    assert windows.gap == 1.0
    found = windows.batch(slice(None)).velocities.numpy()
    expected = mean_velocity(trajectory, 1.0)[windows.starts]
    error = np.abs(found - expected).max(axis=(1, 2)) / np.abs(SPEED).max()
    even = (windows.frames.times[windows.neighbours] - windows.frames.times[windows.starts]) == 1.0
    assert error[even].max() < 1e-4
    assert (error.max() < 0.08) == forces
    assert (np.median(error[~even]) < 0.02) == forces


def test_prediction_takes_the_velocities_of_training():
    trajectory = moving(uneven())
    settings = WindowSettings(horizon=20.0, score="all", align=False)
    windows = make_windows([trajectory], settings)[0]["train"]
    some = slice(0, 50)
    rule = VelocityRule.of(settings, {"velocity_gap_fs": windows.gap})
    found = rule.at(trajectory, windows.starts[some].numpy(), 0.5)
    np.testing.assert_allclose(found, windows.batch(some).velocities.numpy(), atol=2e-6)
    without = VelocityRule.of(settings, {})
    assert np.abs(without.at(trajectory, windows.starts[some].numpy(), 0.5) - found).max() > 1e-3


@pytest.mark.parametrize("part", ["validation", "test"])
def test_all_parts_and_some_of_their_windows_have_the_velocities_of_training(part):
    """Gaps of 1 fs in the training block, of 1.5 fs after it; and a few windows of other gaps."""
    gaps = np.concatenate([np.full(700, 1.0), uneven(count=500), np.full(300, 1.5)])
    trajectory = moving(gaps)
    settings = WindowSettings(horizon=20.0, score="all", align=False)
    parts = make_windows([trajectory], settings)[0]
    windows = parts[part]
    rule = VelocityRule.of(settings, {"velocity_gap_fs": parts["train"].gap})
    expected = rule.at(trajectory, windows.starts.numpy(), 0.5)
    found = windows.batch(slice(None)).velocities.numpy()
    np.testing.assert_allclose(found, expected, atol=2e-6)
    some = windows.take(torch.arange(0, len(windows), 7)).batch(slice(None)).velocities.numpy()
    np.testing.assert_array_equal(some, found[::7])


def test_other_data_has_the_velocities_of_training():
    settings = WindowSettings(horizon=20.0, score="all", align=False, split="all")
    parts, _ = make_windows([moving(np.full(300, 1.5))], settings, gap=1.0)
    expected = mean_velocity(moving(np.full(300, 1.5)), 1.0)[parts["test"].starts]
    found = parts["test"].batch(slice(None)).velocities.numpy()
    assert np.abs(found - expected).max() < 0.05 * np.abs(SPEED).max()


def test_frames_far_apart_are_left_alone():
    trajectory = moving([40.0, 60.0] * 300)
    settings = WindowSettings(horizon=500.0, velocities="forward", score="all", align=False)
    windows = make_windows([trajectory], settings)[0]["train"]
    gap = windows.frames.times[windows.neighbours] - windows.frames.times[windows.starts]
    x = windows.frames.positions
    plain = (x[windows.neighbours] - x[windows.starts]) / gap[:, None, None]
    assert torch.allclose(windows.batch(slice(None)).velocities, plain.float())


def test_every_tenth_frame_is_as_far_apart_as_in_training():
    """Frames thinned in Python are judged as those of a file of such frames."""
    trajectory = moving(np.full(3000, 0.5), forces=False)[::10]
    settings = WindowSettings(horizon=50.0, score="all", align=False)
    windows = make_windows([trajectory], settings)[0]["train"]
    rule = VelocityRule.of(settings, {"velocity_gap_fs": windows.gap})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rule.at(trajectory, np.array([3]), trajectory.step)
    with pytest.warns(UserWarning, match="25 fs before the start, .* mostly 5 fs apart"):
        rule.at(trajectory[::5], np.array([3]), trajectory.step)


def cut(trajectory, **changes):
    settings = WindowSettings(**({"horizon": 400.0, "score": "all", "align": False} | changes))
    return make_windows([trajectory], settings)[0]


@pytest.mark.parametrize("even", [True, False])
def test_frames_far_apart_say_nothing_of_what_comes_later(even):
    """A start and its velocity stay as they are whatever happens afterwards."""
    gaps = np.full(900, 10.0) if even else np.random.default_rng(0).choice([10.0, 20.0], 900)
    trajectory = replace(moving(gaps, forces=False), time_step=10.0)
    changed = replace(trajectory, positions=trajectory.positions.copy())
    for part, windows in cut(trajectory).items():
        s, known = windows.starts, trajectory
        assert windows.gap < 0
        assert torch.equal(windows.neighbours, s - 1)
        gap = (known.times[s] - known.times[s - 1])[:, None, None]
        assert (gap <= 40.0).all()
        found = windows.batch(slice(None)).velocities
        expected = (known.positions[s] - known.positions[s - 1]) / gap
        np.testing.assert_allclose(found, expected, atol=1e-6)
        middle = int(s[len(s) // 2])
        changed.positions[:] = known.positions
        changed.positions[middle + 1 :] += 5.0
        early = torch.nonzero(s <= middle).flatten()
        other = cut(changed)[part].batch(early)
        assert torch.equal(other.positions, windows.batch(early).positions)
        assert torch.equal(other.velocities, found[early])


def test_what_auto_takes():
    fine, coarse = (
        moving(np.full(count, gap), forces=False) for count, gap in ((2000, 0.5), (25_000, 10.0))
    )
    for settings, trajectory, toward in (
        ({"horizon": 40.0}, fine, 1),
        ({"horizon": 40.0, "velocities": "backward"}, fine, -1),
        ({}, coarse, -1),
        ({"velocities": "forward"}, coarse, 1),
        ({"split": "published", "horizon": 500.0}, coarse, 1),
    ):
        windows = cut(trajectory, **settings)["validation"]
        assert torch.equal(windows.neighbours, windows.starts + toward)
        assert np.sign(windows.gap) == toward
        rule = VelocityRule(settings.get("velocities", "auto"), gap=windows.gap, steady=False)
        assert rule.toward(trajectory) == toward
        found = rule.at(trajectory, windows.starts.numpy(), trajectory.step)
        np.testing.assert_allclose(found, windows.batch(slice(None)).velocities, atol=1e-6)
    with pytest.raises(InputError, match="without a frame before them: use windows"):
        cut(coarse, split="published", horizon=500.0, velocities="backward")


def test_models_of_other_velocities_are_judged_on_the_same_windows():
    """Else rows of a table could not be compared: Table 2 could not be written."""
    several = [moving(np.full(count, 10.0), forces=False) for count in (25_000, 9_000)]
    settings = WindowSettings(score="all", align=False, horizon=500.0, most=(50, 40, 60))
    both = [
        make_windows(several, settings.model_copy(update={"velocities": kind}))[0]
        for kind in ("forward", "backward")
    ]
    for part in ("validation", "test"):
        assert torch.equal(both[0][part].starts, both[1][part].starts)


def test_the_frame_before_a_start_is_in_no_other_part_either():
    """Blocks that end at 600 and begin at 610 fs: the frame before the latter is a target."""
    trajectory = moving(np.full(102, 10.0), forces=False)
    shown = []
    for windows in cut(trajectory, horizon=10.0, times=1, velocities="backward").values():
        assert torch.equal(windows.neighbours, windows.starts - 1)
        every = windows.neighbours, windows.starts, windows.targets.flatten()
        shown.append(set(torch.cat(every).tolist()))
    assert all(shown)
    assert len(set.union(*shown)) == sum(map(len, shown))


def test_backward_differences_start_from_the_last_frame_and_not_from_the_first():
    trajectory = moving(np.full(9, 10.0), forces=False)
    rule = VelocityRule(gap=-10.0)
    assert rule.first(trajectory) == 1
    assert rule.first(stored(trajectory)) == 1  # stored velocities are of an instant
    assert VelocityRule(gap=10.0).first(trajectory) == 0
    found = rule.at(trajectory, np.array([1, 9]), 10.0)
    x = trajectory.positions
    np.testing.assert_allclose(found, (x[[1, 9]] - x[[0, 8]]) / 10.0, atol=1e-7)
    with pytest.raises(InputError, match=r"frame 0 .* no frame before it.* after the first"):
        rule.at(trajectory, np.array([1, 0]), 10.0)
    with pytest.warns(UserWarning, match="together with the frame before it"):
        assert (rule.at(stored(trajectory), np.array([0]), 10.0) == 7.0).all()


@pytest.mark.parametrize(
    ("gap", "step", "apart", "told"),
    [
        (10.0, 10.0, 20.0, None),
        (10.0, 10.0, 30.0, "frames mostly 10 fs apart"),  # within four steps, but thrice as far
        (20.0, 10.0, 40.0, None),  # the median of uneven gaps
        (0.5, 0.5, 2.0, None),  # all are as good as instants
        (0.5, 0.5, 3.0, "frames mostly 0.5 fs apart"),
        (None, 10.0, 40.0, None),
        (None, 10.0, 50.0, "frames at most 40 fs apart"),
    ],
)
def test_a_start_beside_a_frame_further_than_in_training_says_so(gap, step, apart, told):
    trajectory = moving([apart] * 9, forces=False)
    rule = VelocityRule("forward", gap=gap)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        rule.at(trajectory, np.array([3]), step)
    assert [told in str(each.message) for each in said] == ([] if told is None else [True])


def stored(trajectory):
    """The same frames with velocities of an instant."""
    return replace(trajectory, velocities=np.full(trajectory.positions.shape, 7.0))


@pytest.mark.parametrize(("gap", "instants"), [(None, True), (1.0, True), (40.0, False)])
def test_stored_velocities_are_not_taken_for_differences_over_a_long_time(gap, instants):
    trajectory = stored(moving([40.0] * 20, forces=False))
    rule = VelocityRule(gap=gap)
    found = rule.at(trajectory, np.array([3, 5]), 40.0)
    assert (found == 7.0).all() == instants
    if not instants:
        expected = VelocityRule(gap=gap).at(
            replace(trajectory, velocities=None), np.array([3, 5]), 40.0
        )
        np.testing.assert_array_equal(found, expected)
        with pytest.warns(UserWarning, match="trained on velocities from frames 40 fs apart"):
            assert (rule.at(trajectory, np.array([20]), 40.0) == 7.0).all()


def test_trajectories_of_two_spacings_are_refused_where_velocities_are_differences():
    pair = [moving([5.0] * 1000, forces=False), moving([100.0] * 400, forces=False)]
    settings = WindowSettings(horizon=1000.0, score="all", align=False)
    with pytest.raises(
        InputError, match="frames are 5 fs apart in one trajectory and 100 fs in another"
    ):
        make_windows(pair, settings)
    assert make_windows([stored(each) for each in pair], settings)[0]["train"].gap is None


@pytest.mark.parametrize(
    ("gap", "alike", "other"),
    [
        (None, [None, 0.5, -2.5], [2.6, 40.0]),  # of an instant, as over up to 2.5 fs
        (2.0, [None, 0.5, 4.0], [4.1]),
        (-10.0, [5.0, 10.0, -20.0], [None, 2.5, 4.9, 20.1]),  # up to twice as long or short
    ],
)
def test_velocities_compare_if_their_gaps_are_short_or_much_the_same(gap, alike, other):
    rule = VelocityRule(gap=gap)
    assert all(rule.alike(each) for each in alike)
    assert not any(rule.alike(each) for each in other)


def test_the_last_frame_has_its_stored_velocity_even_if_others_are_differences():
    """Trained on differences over so short a time that they are velocities of an instant."""
    trajectory = stored(moving([1.0] * 20, forces=False))
    rule = VelocityRule("forward", gap=1.0)
    found = rule.at(trajectory, np.array([3, 20]), 1.0)
    x = trajectory.positions
    np.testing.assert_allclose(found[0], x[4] - x[3], atol=1e-7)
    assert (found[1] == 7.0).all()


@pytest.mark.parametrize("gap", [10.0, -10.0])
def test_differences_over_a_long_time_are_not_made_from_those_over_a_short_one(gap):
    """Forces tell what follows within a femtosecond or two, not within ten."""
    trajectory = moving([1.0] * 20)
    rule = VelocityRule("forward" if gap > 0 else "backward", gap=gap, steady=False)
    found = rule.at(trajectory, np.array([7]), 1.0)[0]
    beside = 8 if gap > 0 else 6
    expected = (trajectory.positions[beside] - trajectory.positions[7]) * np.sign(gap)
    np.testing.assert_allclose(found, expected, atol=1e-7)
