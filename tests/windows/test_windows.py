"""Windows: the right frames, lags, velocities and atoms, and clear refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gfnode import readers
from gfnode.errors import InputError
from gfnode.experiment import configure, prepare
from gfnode.geometry import superpose
from gfnode.trajectory import Trajectory
from gfnode.windows import Frames, Windows, to_device
from gfnode.windows.cutting import WindowSettings, choose_atoms, choose_horizon, make_windows
from making import wiggle

PARTS = ("train", "validation", "test")


def ramp(frames=400, step=2.0, *, velocities=False, seed=0, times=None, offset=0.0):
    """A trajectory in which every coordinate names its frame: x = frame number."""
    rng = np.random.default_rng(seed)
    number = np.arange(frames, dtype=np.float32)[:, None, None] + offset
    shape = rng.normal(size=(1, 4, 3)).astype(np.float32)
    return Trajectory(
        number + shape,
        step * np.arange(frames) if times is None else times,
        np.array([6, 8, 1, 1]),
        rng.normal(size=(frames, 4, 3)).astype(np.float32) if velocities else None,
        name="ramp",
    )


def uneven(frames=600, seed=1, **options):
    steps = np.random.default_rng(seed).choice([1.0, 2.0, 7.0], frames - 1)
    return ramp(frames, times=np.concatenate([[0.0], np.cumsum(steps)]), **options)


def cut(trajectories, **options):
    trajectories = [trajectories] if isinstance(trajectories, Trajectory) else trajectories
    return make_windows(trajectories, WindowSettings(**options))


def frames_used(windows):
    used = [windows.starts, windows.targets.flatten()]
    if windows.neighbours is not None:
        used.append(windows.neighbours)
    return set(torch.cat(used).tolist())


# Blocked windows


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    many=st.integers(1, 3),
    even=st.booleans(),
    horizon=st.floats(8.0, 30.0),
    lags=st.sampled_from(["irregular", "fresh"]),
    stored=st.booleans(),
)
def test_parts_of_a_blocked_split_share_no_frame(**drawn):
    seed, many, even = drawn["seed"], drawn["many"], drawn["even"]
    horizon, lags, stored = drawn["horizon"], drawn["lags"], drawn["stored"]
    make = ramp if even else uneven
    trajectories = [make(700, seed=seed + k, velocities=stored) for k in range(many)]
    parts, found = cut(trajectories, horizon=horizon, lags=lags, times=2)
    assert found <= horizon < found + 2.0  # the frame before
    frames = parts["train"].frames
    for name in PARTS:
        windows = parts[name]
        start, target = windows.starts.numpy(), windows.targets.numpy()
        assert (frames.segments[start][:, None] == frames.segments[target]).all()
        assert (windows.lags > 0).all()
        assert (windows.lags <= found + 2e-3).all()
        assert (windows.lags.diff(dim=1) > 0).all()
    for a, b in (("train", "validation"), ("validation", "test"), ("train", "test")):
        assert not frames_used(parts[a]) & frames_used(parts[b])
        for segment in range(many):
            ends = [
                [frames.times[i] for i in frames_used(parts[k]) if frames.segments[i] == segment]
                for k in (a, b)
            ]
            if all(ends):
                assert min(ends[1]) - max(ends[0]) >= found - 2e-3


def test_what_is_shown_are_the_frames_from_each_start_up_to_its_horizon():
    trajectories = [uneven(seed=1), uneven(seed=2)]
    parts, horizon = cut(trajectories, horizon=60.0, times=2, most=(7, 3, 5))
    for name in PARTS:
        windows = parts[name]
        times, segments = windows.frames.times.numpy(), windows.frames.segments
        expected: set[int] = set()
        for start in windows.starts.tolist():
            later = (times >= times[start]) & (times <= times[start] + horizon + 1e-3)
            expected |= set(np.flatnonzero(later & (segments == segments[start])).tolist())
        assert windows.shown.tolist() == sorted(expected)


def test_most_windows_are_evenly_chosen():
    parts, _ = cut(ramp(2000), horizon=100.0, most=(50, 10, 20))
    assert [len(parts[name]) for name in PARTS] == [50, 10, 20]
    assert np.ptp(np.diff(parts["train"].starts)) <= 1


def test_all_is_test():
    parts, _ = cut(ramp(300), horizon=50.0, split="all")
    assert list(parts) == ["test"]
    assert parts["test"].starts.tolist() == list(range(275))  # the last has no frame but one left


@pytest.mark.parametrize("span", [400.0, 3_000.0, 16_000.0, 200_000.0])
@pytest.mark.parametrize("step", [0.5, 5.0, 40.0])
def test_the_horizon_that_is_chosen_fits_the_split_that_is_chosen(span, step):
    frames = int(span / step)
    if frames < 200:
        pytest.skip("too short for anything")
    trajectory = Trajectory(
        np.zeros((frames, 1, 3), np.float32), step * np.arange(frames), np.array([18])
    )
    parts, horizon = cut(trajectory)
    assert horizon <= span / 10
    assert horizon == pytest.approx(round(horizon / step) * step)
    assert all(len(parts[name]) for name in PARTS)


def test_the_longest_trajectory_decides_on_the_horizon():
    pair = [ramp(76), ramp(1501)]  # 150 fs and 3 ps
    assert choose_horizon(pair, WindowSettings()) == 200.0
    assert choose_horizon(pair, WindowSettings(horizon=1000.0)) == 1000.0


def test_frames_thinned_evenly_have_the_horizon_of_a_file_of_such_frames():
    thinned = ramp(6400, step=5.0)[::400]  # every 2 ps
    alone = Trajectory(thinned.positions, thinned.times, thinned.numbers)
    assert choose_horizon([thinned], WindowSettings()) == 2000.0
    assert choose_horizon([alone], WindowSettings()) == 2000.0
    with pytest.raises(InputError, match=r"horizon 2 fs does not fit.*at least 5 fs"):
        choose_horizon([ramp(6400, step=1.0)[::5]], WindowSettings(horizon="2fs"))


@pytest.mark.parametrize(("asked", "found"), [(7.0, 6.0), (2.0, 2.0), (1e-7 + 8.0, 8.0)])
def test_a_horizon_between_frames_ends_at_the_frame_before(asked, found):
    """Nothing can be learnt of lags at which there are no frames."""
    assert cut(ramp(step=2.0), horizon=asked)[1] == pytest.approx(found, rel=1e-6)


def test_a_single_heavy_atom_is_not_scored_alone():
    assert choose_atoms(wiggle(), "heavy", "score").tolist() == [0, 1, 2]
    assert choose_atoms(wiggle(), "heavy", "state").tolist() == [0]


def test_horizons_of_the_protocol():
    long = ramp(24_000, step=0.5)
    assert choose_horizon([long], WindowSettings(split="published")) == 1500.0
    assert choose_horizon([long], WindowSettings(split="published", horizon="1ps")) == 1000.0
    given = WindowSettings(lags="given", given_lags=["1ps", "200fs"])
    assert choose_horizon([long], given) == 1000.0


# Lags


def test_regular_lags_are_eighths_of_the_horizon():
    parts, _ = cut(ramp(2000, step=0.5), horizon=40.0, lags="regular")
    for name in PARTS:
        expected = torch.arange(1, 9, dtype=torch.float64) * 5.0
        assert torch.equal(parts[name].lags, expected.expand(len(parts[name]), -1))


def test_regular_lags_between_frames_go_to_the_nearest():
    parts, _ = cut(ramp(2000, step=2.0), horizon=50.0, lags="regular", times=4)
    assert parts["test"].lags[0].tolist() == [12.0, 24.0, 38.0, 50.0]


def test_given_lags():
    parts, horizon = cut(uneven(), lags="given", given_lags=["3fs", 9.0])
    assert horizon == 9.0
    assert torch.equal(parts["train"].lags, torch.tensor([3.0, 9.0]).expand(len(parts["train"]), 2))


def test_fresh_lags_are_redrawn_as_the_seed_says():
    parts, horizon = cut(uneven(), horizon=60.0, times=4)
    train = parts["train"]
    first, again, other = (train.redraw(horizon, seed) for seed in ([3, 0], [3, 0], [3, 1]))
    assert torch.equal(first.targets, again.targets)
    assert not torch.equal(first.targets, other.targets)
    assert not torch.equal(first.targets, train.targets)
    assert torch.equal(first.starts, train.starts)
    assert (first.lags > 0).all()
    assert first.lags.max() <= 60.0 + 1e-3
    assert not frames_used(first) & frames_used(parts["validation"])


def test_irregular_lags_depend_on_seed_and_part_alone():
    one, _ = cut(ramp(2000), horizon=100.0, lags="irregular")
    two, _ = cut(ramp(2000), horizon=100.0, lags="irregular")
    other, _ = cut(ramp(2000), horizon=100.0, lags="irregular", seed=1)
    for name in PARTS:
        assert torch.equal(one[name].targets, two[name].targets)
        assert not torch.equal(one[name].targets, other[name].targets)


# The published protocol


def test_published_windows_are_bit_exact():
    """Starts of the split, and lags drawn for each part by a generator of its own."""
    frames = 26_000
    trajectory = Trajectory(
        np.zeros((frames, 1, 3), np.float32), 0.5 * np.arange(frames), np.array([18])
    )
    settings = configure("published").windows
    parts, horizon = make_windows([trajectory], settings)
    assert horizon == 1500.0
    for name in PARTS:
        generator = np.random.RandomState(0)
        starts = parts[name].starts.tolist()
        expected = [
            sorted(generator.choice(np.arange(s + 1, s + 3001), 8, replace=False).tolist())
            for s in starts
        ]
        assert parts[name].targets.tolist() == expected
        assert torch.equal(parts[name].neighbours, parts[name].starts + 1)
    regular, _ = make_windows([trajectory], settings.model_copy(update={"lags": "regular"}))
    expected = regular["test"].starts[:, None] + 375 * torch.arange(1, 9)
    assert torch.equal(regular["test"].targets, expected)


def test_published_alanine_windows_may_straddle_runs():
    runs = [ramp(2500, step=1000.0, seed=k) for k in range(2)]
    parts, horizon = cut(runs, split="published-alanine", lags="regular", horizon="1ns")
    assert horizon == 1e6
    starts, targets = parts["train"].starts, parts["train"].targets
    assert ((starts < 2500) & (targets[:, -1] >= 2500)).any()
    assert parts["train"].frames.positions.mean(1).abs().max() < 1e-3
    assert sum(len(p) for p in parts.values()) == 5000 - 1 - 1000


@pytest.mark.parametrize("lags", ["irregular", "fresh"])
def test_published_lags_need_as_many_frames(lags):
    said = r"windows\.times=8, but a horizon of 3 fs has room for 6 frames: lower windows\.times"
    with pytest.raises(InputError, match=said):
        cut(ramp(24_000, 0.5), split="published", lags=lags, horizon="3fs", times=8)


def test_published_needs_one_even_series():
    with pytest.raises(InputError, match=r"needs a single, evenly spaced trajectory.*blocked"):
        cut([ramp(24_000, 0.5), ramp(24_000, 0.5)], split="published")
    with pytest.raises(InputError, match="needs a single, evenly spaced trajectory"):
        cut(uneven(30_000), split="published")


# Velocities


def test_stored_velocities_are_used_first():
    trajectory = ramp(velocities=True)
    parts, _ = cut(trajectory, horizon=20.0)
    windows = parts["train"]
    assert windows.neighbours is None
    batch = windows.batch(torch.arange(5))
    np.testing.assert_array_equal(batch.velocities, trajectory.velocities[windows.starts[:5]])


def test_forward_velocities_are_differences():
    for trajectory in (ramp(), ramp(velocities=True)):
        parts, _ = cut(trajectory, horizon=20.0, velocities="forward")
        batch = parts["test"].batch(slice(0, 7))
        torch.testing.assert_close(batch.velocities, torch.full((7, 4, 3), 0.5))


def test_successors_give_velocities_where_frames_are_sparse():
    """As in rMD17: a start is a frame whose successor lies at most a few steps on."""
    rng = np.random.default_rng(2)
    index = np.sort(rng.choice(30_000, 3000, replace=False))
    trajectory = replace(ramp(3000, times=0.5 * index), time_step=0.5)
    parts, _ = cut(trajectory, horizon=500.0)
    gap = np.append(np.diff(index), 10**9)
    for name in PARTS:
        windows = parts[name]
        assert (gap[windows.starts] <= 4).all()
        assert torch.equal(windows.neighbours, windows.starts + 1)
        found = windows.batch(slice(None)).velocities[:, 0, 0]
        torch.testing.assert_close(found, torch.from_numpy(1 / (0.5 * gap[windows.starts])).float())
    every, _ = cut(trajectory, horizon=500.0, split="all")
    ends = 0.5 * index + 500.0 <= 0.5 * index[-1]
    assert every["test"].starts.tolist()[:500] == np.flatnonzero((gap <= 4) & ends).tolist()[:500]


def test_the_last_frame_of_a_trajectory_has_no_forward_velocity():
    parts, _ = cut([ramp(300), ramp(300, offset=1e4)], horizon=20.0, split="all", lags="regular")
    windows = parts["test"]
    assert 299 not in windows.starts
    assert (
        windows.frames.segments[windows.starts] == windows.frames.segments[windows.starts + 1]
    ).all()
    assert windows.batch(slice(None)).velocities.max() < 1


# Batches


def test_a_batch_is_what_the_trajectory_holds():
    trajectory = uneven(velocities=True)
    windows = cut(trajectory, horizon=60.0, times=5)[0]["train"]
    index = torch.tensor([3, 0, 17, 3])
    batch = windows.batch(index)
    for row, number in enumerate(index.tolist()):
        start = int(windows.starts[number])
        np.testing.assert_array_equal(batch.positions[row], trajectory.positions[start])
        np.testing.assert_array_equal(batch.velocities[row], trajectory.velocities[start])
        for k, target in enumerate(windows.targets[number].tolist()):
            np.testing.assert_array_equal(batch.targets[row, k], trajectory.positions[target])
            lag = trajectory.times[target] - trajectory.times[start]
            assert float(batch.lags[row, k]) == pytest.approx(lag, rel=1e-6)
    assert {x.dtype for x in vars(batch).values()} == {torch.float32}


def test_lags_stay_exact_late_in_a_long_series():
    """Differences are taken in double precision: 50 ns are 5e7 fs, where float32 steps by 4."""
    trajectory = ramp(2000, times=5e7 + 0.5 * np.arange(2000))
    second = replace(trajectory, times=trajectory.times + 1e9)
    windows = cut([trajectory, second], horizon=50.0, lags="regular")[0]["test"]
    batch = windows.batch(slice(None))
    expected = (torch.round(torch.arange(1, 9) * 6.25 / 0.5) * 0.5).expand_as(batch.lags)
    assert torch.equal(batch.lags, expected)


def test_a_batch_does_not_loop_over_windows(monkeypatch):
    windows = cut(ramp(2000), horizon=100.0)[0]["train"]
    calls = []
    original = torch.Tensor.__getitem__
    monkeypatch.setattr(
        torch.Tensor, "__getitem__", lambda self, i: (calls.append(1), original(self, i))[1]
    )
    for count in (1, 300):
        calls.clear()
        windows.batch(torch.arange(count))
        assert len(calls) < 15


def test_targets_are_superposed_on_the_start_over_the_scored_atoms():
    trajectory = wiggle(600)
    windows = cut(trajectory, horizon=60.0, align=True, score=[0, 1])[0]["train"]
    plain = cut(trajectory, horizon=60.0, align=False, score=[0, 1])[0]["train"]
    assert windows.align.tolist() == [0, 1]
    assert plain.align is None
    a, b = windows.batch(slice(0, 9)), plain.batch(slice(0, 9))
    weights = torch.tensor([1.0, 1.0, 0.0])
    torch.testing.assert_close(a.targets, superpose(b.targets, b.positions[:, None], weights))
    assert torch.equal(a.positions, b.positions)
    assert (a.targets - b.targets).abs().max() > 1e-3
    pair = windows.select(np.array([2, 1, 0]))
    assert pair.align.tolist() == [2, 1]
    torch.testing.assert_close(pair.batch(slice(0, 9)).targets, a.targets[:, :, [2, 1, 0]])
    fewer = windows.select(np.array([1, 0]))
    torch.testing.assert_close(fewer.batch(slice(0, 9)).targets, a.targets[:, :, [1, 0]])
    with pytest.raises(InputError, match="superposed over atoms that are not among"):
        windows.select(np.array([1, 2]))


def test_alignment_is_on_by_default_where_frames_are_far_apart():
    assert cut(ramp(500, 99.0), horizon=990.0)[0]["train"].align is None
    assert cut(ramp(500, 100.0), horizon=1000.0)[0]["train"].align.tolist() == [0, 1]


def test_select_keeps_the_other_atoms_out():
    trajectory = ramp(velocities=True)
    windows = cut(trajectory, horizon=20.0)[0]["train"]
    some = windows.select(np.array([3, 1]))
    a, b = windows.batch(slice(0, 4)), some.batch(slice(0, 4))
    for whole, part in zip(vars(a).items(), vars(b).items(), strict=True):
        expected = whole[1] if whole[0] == "lags" else whole[1][..., [3, 1], :]
        assert torch.equal(part[1], expected)


def test_conformations_are_those_of_evenly_chosen_starts():
    trajectory = ramp(2000)
    windows = cut(trajectory, horizon=20.0)[0]["train"]
    found = windows.conformations(10)
    assert found.shape == (10, 4, 3)
    np.testing.assert_array_equal(found[0], trajectory.positions[windows.starts[0]])
    np.testing.assert_array_equal(found[-1], trajectory.positions[windows.starts[-1]])
    assert len(windows.conformations(10**6)) == len(windows)


def test_parts_share_their_frames_on_the_device():
    parts, _ = cut(ramp(2000), horizon=20.0)
    moved = to_device(parts, "meta")
    assert moved["train"].frames is moved["test"].frames
    assert moved["train"].starts.device.type == "meta"
    assert moved["train"].device.type == "meta"
    assert parts["train"].to("cpu").batch(slice(0, 2)).positions.shape == (2, 4, 3)


# Atoms


def test_state_and_score_are_separate_choices():
    trajectory = wiggle(600)
    changes = {"windows": {"horizon": 60.0, "state": [0, 2], "score": [2]}}
    dataset = prepare([trajectory], configure(changes=changes))
    assert dataset.system.atoms.tolist() == [0, 2]
    assert dataset.system.score.tolist() == [1]
    assert dataset.system.numbers.tolist() == [8, 1]
    assert dataset.whole_system.score.tolist() == [2]
    assert dataset.parts["train"].frames.positions.shape[1] == 3  # baselines see all atoms


def test_scored_atoms_must_be_in_the_state():
    changes = {"windows": {"horizon": 60.0, "state": [0, 2], "score": "all"}}
    with pytest.raises(InputError, match="scored atom 1 is not among the state atoms"):
        prepare([wiggle(600)], configure(changes=changes))


def test_a_single_heavy_atom_is_no_state():
    """Water as the presets of the paper take it, whose score nobody has chosen."""
    changes = {"windows": {"horizon": 60.0, "state": "heavy"}}
    with pytest.raises(InputError, match=r"a single atom has no conformation .* windows\.state"):
        prepare([wiggle(600)], configure(changes=changes))


def test_choices_of_atoms():
    acid = Trajectory(np.zeros((1, 4, 3)), [0], [1, 6, 1, 8])
    assert choose_atoms(acid, "all", "state").tolist() == [0, 1, 2, 3]
    assert choose_atoms(acid, "heavy", "state").tolist() == [1, 3]
    assert choose_atoms(acid, "element O", "state").tolist() == [3]
    assert choose_atoms(acid, [3, 0], "state").tolist() == [3, 0]
    for wrong, said in ([4], "from 0 to 3"), ([-1], "from 0 to 3"), ([], "expected all, heavy"):
        with pytest.raises(InputError, match=f"windows.score: atoms .*{said}"):
            choose_atoms(acid, wrong, "score")
    with pytest.raises(InputError, match="name an atom twice"):
        choose_atoms(acid, [1, 1], "state")


# Refusals


@pytest.mark.parametrize("horizon", ["0fs", "-5fs", "1ns", 800.0])
def test_a_horizon_that_does_not_fit_is_refused(horizon):
    with pytest.raises(
        InputError, match=r"horizon .* does not fit: the longest trajectory spans 798 fs"
    ):
        cut(ramp(400), horizon=horizon)


def test_a_horizon_too_long_for_blocks_is_refused_with_what_would_do():
    with pytest.raises(InputError, match=r"must span more than 2.4 ps.*shorten windows.horizon"):
        cut(ramp(400), horizon=200.0)


def test_fewer_frames_inside_the_horizon_than_lags_are_refused():
    with pytest.raises(InputError, match=r"no train window fits.*windows.times"):
        cut(ramp(400), horizon=6.0, times=8)


def test_two_frames_are_too_few():
    with pytest.raises(InputError, match=r"horizon 2 fs does not fit.*give a longer trajectory"):
        cut(ramp(2))


def test_a_short_horizon_gets_as_many_lags_as_it_has_frames():
    parts, _ = make_windows([ramp(400)], WindowSettings(horizon=6.0, lags="fresh"))
    assert {part.targets.shape[1] for part in parts.values()} == {3}
    parts, horizon = make_windows([ramp(90)], WindowSettings())
    assert horizon == 12.0
    assert all(len(part) for part in parts.values())


def test_missing_velocities_are_refused():
    with pytest.raises(InputError, match=r"stores no velocities: use windows.velocities=forward"):
        cut(ramp(), horizon=20.0, velocities="stored")


def test_no_near_successor_is_refused():
    trajectory = replace(ramp(600, step=10.0), time_step=1.0)
    with pytest.raises(InputError, match=r"a successor within 4 steps of 1 fs.*successor_steps"):
        cut(trajectory, horizon=100.0, velocities="successor")
    assert cut(trajectory, horizon=100.0, velocities="successor", successor_steps=10)


@pytest.mark.parametrize("given_lags", [["0fs"], [-5.0], [5.0, -1.0], [], None])
def test_given_lags_must_lie_after_the_start(given_lags):
    with pytest.raises(InputError, match=r"given_lags .* expected times above zero"):
        cut(ramp(), lags="given", given_lags=given_lags)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"horizon": 40.0}, r"windows.horizon=40fs .* imply 10fs"),
        ({"times": 3}, r"windows.times=3 .* imply 2"),
        ({"given_lags": [4.0, 4.0]}, "each lag only once"),
    ],
)
def test_what_does_not_go_with_given_lags_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        cut(ramp(), **{"lags": "given", "given_lags": [4.0, 10.0]} | changes)
    assert cut(ramp(), lags="given", given_lags=[4.0, 10.0], horizon=10.0, times=2)


def test_given_lags_that_no_frame_has_are_refused():
    with pytest.raises(InputError, match="no train start has frames at all given lags"):
        cut(ramp(), lags="given", given_lags=[3.0])  # frames every 2 fs


def test_regular_lags_of_uneven_frames_are_refused():
    with pytest.raises(InputError, match=r"missing at regular lags: use windows.lags=irregular"):
        cut(uneven(), horizon=60.0, lags="regular")


def test_trajectories_of_different_atoms_are_refused():
    with pytest.raises(InputError, match="hold different atoms"):
        cut([ramp(), wiggle()], horizon=20.0)


def test_a_single_frame_is_refused():
    with pytest.raises(InputError, match="has a single frame"):
        cut(ramp(1))


def test_runs_of_one_kind_join_even_if_one_stores_no_velocities():
    parts, _ = cut([ramp(700), ramp(700, velocities=True)], horizon=20.0)
    assert parts["train"].frames.velocities is None
    assert parts["train"].neighbours is not None


# Real, sparse data


def test_rmd17_windows(shared_data):
    trajectory = readers.load(shared_data / "rmd17" / "rmd17_uracil.npz")
    parts, horizon = cut(trajectory)
    assert horizon == 1500.0
    for name in PARTS:
        windows = parts[name]
        assert len(windows) > 10
        gap = trajectory.times[windows.neighbours] - trajectory.times[windows.starts]
        assert (gap <= 2.0 + 1e-3).all()  # four steps of 0.5 fs
        assert (windows.lags > 0).all()
        assert windows.lags.max() <= 1500.0 + 1e-3
        speed = windows.batch(slice(None)).velocities.square().sum(-1).mean(0).sqrt()
        assert 1e-3 < float(speed.min()) < float(speed.max()) < 0.1  # thermal, Å/fs


def test_windows_can_be_made_by_hand():
    frames = Frames.of([ramp(velocities=True)])
    windows = Windows(frames, torch.tensor([0]), torch.tensor([[1, 2]]), None)
    assert len(windows) == 1
    assert windows.lags.tolist() == [[2.0, 4.0]]
