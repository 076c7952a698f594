"""Splits: bit-exact with the published experiments, and blocks that share nothing."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfnode.errors import InputError
from gfnode.trajectory import Trajectory
from gfnode.windows import splits

PUBLISHED = {
    "uracil": (
        133_770,
        (11_376, 5_688, 5_688),
        [21338, 81681, 97586, 50165],
        [89977, 80191, 79111, 109186],
        [79288, 10726, 48916, 84110],
    ),
    "aspirin": (
        211_762,
        (19_176, 9_588, 9_588),
        [78845, 12943, 13421, 97777],
        [147336, 139140, 170002, 109372],
        [91374, 75502, 185641, 39544],
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_starts_are_bit_exact(name):
    frames, sizes, *firsts = PUBLISHED[name]
    parts = splits.published(frames, 3000)
    assert list(parts) == ["train", "validation", "test"]
    for part, size, first, used in zip(
        parts.values(), sizes, firsts, (500, 2000, 2000), strict=True
    ):
        assert part[:4].tolist() == first
        assert len(part) == min(size, used)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_before_the_cut(name, monkeypatch):
    """As many are drawn as the design counts, before the first 500 and 2000 are used."""
    frames, sizes, *_ = PUBLISHED[name]
    drawn = []

    class Counting(np.random.RandomState):
        def choice(self, a, size=None, replace=True, p=None):
            drawn.append(size)
            return super().choice(a, size, replace, p)

    monkeypatch.setattr(np.random, "RandomState", Counting)
    splits.published(frames, 3000)
    assert tuple(drawn) == sizes


def test_published_parts_share_no_start():
    parts = splits.published(133_770, 3000)
    starts = np.concatenate(list(parts.values()))
    assert len(np.unique(starts)) == len(starts)
    assert starts.min() >= 10_000
    assert starts.max() < 133_769 - 10_000


def test_published_needs_a_long_series():
    with pytest.raises(InputError, match=r"needs more than 23001 frames.*has 23001"):
        splits.published(23_001, 3000)
    assert len(splits.published(23_010, 3000)["train"])


def test_published_alanine_is_a_legacy_shuffle():
    parts = splits.published_alanine(10_000, 3000)
    count = 10_000 - 1 - 3000
    shuffled = np.arange(count)
    np.random.RandomState(100).shuffle(shuffled)
    assert np.array_equal(np.concatenate(list(parts.values())), shuffled)
    assert [len(p) for p in parts.values()] == [5599, 699, 701]
    assert shuffled.max() + 3000 <= 10_000 - 2
    with pytest.raises(InputError, match="needs more than 3010 frames, got 3010"):
        splits.published_alanine(3010, 3000)
    assert [len(p) for p in splits.published_alanine(3011, 3000).values()] == [8, 1, 1]


def test_alanine_runs_are_joined_and_centred():
    rng = np.random.default_rng(0)
    runs = [
        Trajectory(
            rng.normal(size=(20, 3, 3)).astype(np.float32), 7.0 + 2.0 * np.arange(20), [6, 8, 1]
        )
        for _ in range(3)
    ]
    joined = splits.join_alanine(runs)
    assert len(joined) == 60
    assert joined.spacing == 2.0
    assert abs(joined.positions.mean(1)).max() < 1e-6
    middle = runs[1].positions - runs[1].positions.mean(1, keepdims=True)
    np.testing.assert_array_equal(joined.positions[20:40], middle)
    uneven = Trajectory(runs[0].positions[:3], np.array([0.0, 1.0, 5.0]), [6, 8, 1])
    with pytest.raises(InputError, match="evenly spaced runs"):
        splits.join_alanine([runs[0], uneven])


def timeline(seed, lengths, uneven):
    """Times and segments of a few trajectories."""
    rng = np.random.default_rng(seed)
    times, segments = [], []
    for number, length in enumerate(lengths):
        steps = rng.uniform(0.2, 3.0, length - 1) if uneven else np.ones(length - 1)
        times.append(np.concatenate([[0.0], np.cumsum(steps)]))
        segments.append(np.full(length, number))
    return np.concatenate(times), np.concatenate(segments)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    lengths=st.lists(st.integers(2, 400), min_size=1, max_size=4),
    kinds=st.tuples(st.booleans(), st.booleans()),
    horizon=st.floats(0.5, 20.0),
    weights=st.tuples(*[st.floats(0.05, 1.0)] * 3),
)
def test_blocks_share_no_frame_and_keep_a_horizon_apart(seed, lengths, kinds, horizon, weights):
    uneven, before = kinds
    times, segments = timeline(seed, lengths, uneven)
    fractions = tuple(np.array(weights) / sum(weights))
    usable = np.flatnonzero(np.random.default_rng(seed).random(len(times)) < 0.9)
    since = times
    if before:  # starts show the frame before them
        usable = usable[np.isin(usable, np.flatnonzero(np.diff(segments, prepend=-1) == 0))]
        since = np.append(times[0], times[:-1])
    try:
        parts = splits.blocked(times, segments, usable, horizon, fractions, since=since)
    except InputError as error:
        spans = [times[segments == s].max() for s in np.unique(segments)]
        assert max(spans) <= 2 * horizon + horizon / min(fractions) + 1e-9
        assert "no trajectory is long enough" in str(error)  # noqa: PT017
        return
    order = ["train", "validation", "test"]
    assert list(parts) == order
    for segment in np.unique(segments):
        reaches = []
        for name in order:
            mine = parts[name][segments[parts[name]] == segment]
            assert np.isin(mine, usable).all()
            if len(mine):
                first = times[mine].min(), since[mine].min()
                reaches.append((*first, times[mine].max() + horizon))
        for (*_, end), (begin, shown, _) in pairwise(reaches):
            assert begin - end >= horizon * (1 - 1e-6)
            assert shown > end
        if reaches:
            assert reaches[-1][-1] <= times[segments == segment].max() * (1 + 1e-6)


def test_blocks_have_the_shares_asked_for():
    times = np.arange(10_001.0)
    segments = np.zeros(10_001, dtype=np.int64)
    parts = splits.blocked(times, segments, np.arange(10_001), 500.0, (0.5, 0.2, 0.3))
    spans = {k: (p.min(), p.max() + 500) for k, p in parts.items()}
    assert spans == {"train": (0, 4500), "validation": (5000, 6800), "test": (7300, 10_000)}
    assert all((np.diff(p) == 1).all() for p in parts.values())


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 0.0), (0.5, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_fractions_must_be_shares(fractions):
    times = np.arange(1000.0)
    with pytest.raises(InputError, match="expected three positive fractions"):
        splits.blocked(times, np.zeros(1000, dtype=np.int64), np.arange(1000), 5.0, fractions)


def test_the_smallest_block_must_hold_a_horizon():
    """Two gaps of 100 fs, and 500 fs of which a fifth holds a window: 700 fs are too short."""

    def split(span):
        frames = np.arange(span + 1)
        return splits.blocked(1.0 * frames, 0 * frames, frames, 100.0, (0.5, 0.2, 0.3))

    with pytest.raises(InputError, match=r"more than 700 fs.* longest spans 700 fs"):
        split(700)
    assert split(710)["validation"].tolist() == [355, 356, 357]  # 0.2 × 510 fs from 355 fs on


def test_a_short_trajectory_is_left_out_of_a_blocked_split():
    times, segments = timeline(0, [1000, 20], False)
    parts = splits.blocked(times, segments, np.arange(1020), 10.0, (0.6, 0.1, 0.3))
    assert all((segments[p] == 0).all() for p in parts.values())


def test_many_trajectories_are_split_as_each_alone():
    lengths = [400, 7, 300, 500]
    times, segments = timeline(1, lengths, True)
    usable = np.flatnonzero(segments != 2)[::2]  # none in one of them
    alone = []
    for number, (end, size) in enumerate(zip(np.cumsum(lengths), lengths, strict=True)):
        here = np.arange(end - size, end)
        if number == 1:  # too short
            continue
        mine = np.flatnonzero(np.isin(here, usable))
        flat = np.zeros(size, dtype=np.int64)
        found = splits.blocked(times[here], flat, mine, 10.0, (0.6, 0.1, 0.3))
        alone.append({name: part + here[0] for name, part in found.items()})
    parts = splits.blocked(times, segments, usable, 10.0, (0.6, 0.1, 0.3))
    for name, part in parts.items():
        assert part.tolist() == np.concatenate([each[name] for each in alone]).tolist()


def test_everything_has_a_whole_horizon_after_it():
    times, segments = timeline(3, [50, 60], True)
    found = splits.everything(times, segments, np.arange(110), 10.0)["test"]
    expected = [
        i for i in range(110) if times[i] + 10.0 <= times[segments == segments[i]].max() + 1e-6
    ]
    assert found.tolist() == expected
