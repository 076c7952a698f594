"""Which later frames a start is paired with."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gfnode.windows import lags


def timeline(seed, lengths):
    rng = np.random.default_rng(seed)
    times = [np.concatenate([[0.0], np.cumsum(rng.uniform(0.2, 3.0, n - 1))]) for n in lengths]
    return np.concatenate(times), np.repeat(np.arange(len(lengths)), lengths)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    horizon=st.floats(0.1, 100.0),
)
def test_reach_against_a_loop(seed, lengths, horizon):
    times, segments = timeline(seed, lengths)
    starts = np.arange(len(times))
    first, last = lags.reach(times, segments, starts, horizon)
    for start in starts:
        later = [
            i
            for i in range(start + 1, len(times))
            if segments[i] == segments[start] and times[i] - times[start] <= horizon + 1e-3
        ]
        assert list(range(first[start], last[start])) == later


def test_a_frame_exactly_one_horizon_later_is_inside():
    times = np.arange(11) * 0.1  # 0.1 is not exact
    first, last = lags.reach(times, np.zeros(11, dtype=np.int64), np.array([0, 4]), 0.3)
    assert first.tolist() == [1, 5]
    assert last.tolist() == [4, 8]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**31), lengths=st.lists(st.integers(1, 60), min_size=1, max_size=4))
def test_given_lags_against_a_loop(seed, lengths):
    times, segments = timeline(seed, lengths)
    times = np.round(times)  # so that there are hits; repeats are made unique
    times += 0.01 * np.arange(len(times))
    starts, asked = np.arange(len(times)), np.array([1.01, 2.02, 7.03])
    found = lags.at(times, segments, starts, asked)
    for start, k in itertools.product(starts, range(3)):
        hits = [
            i
            for i in range(len(times))
            if segments[i] == segments[start] and abs(times[i] - times[start] - asked[k]) < 1e-3
        ]
        assert found[start, k] == (hits[0] if hits else -1)


def test_floyd_draws_sorted_subsets_without_repeats_inside_the_reach():
    rng = np.random.default_rng(1)
    first = rng.integers(0, 1000, 5000)
    last = first + rng.integers(8, 40, 5000)
    last[:50] = first[:50] + 8  # nothing to choose
    drawn = lags.irregular(first, last, 8, rng)
    assert drawn.shape == (5000, 8)
    assert (np.diff(drawn, axis=1) > 0).all()
    assert (drawn[:, 0] >= first).all()
    assert (drawn[:, -1] < last).all()
    assert np.array_equal(drawn[:50], first[:50, None] + np.arange(8))


@pytest.mark.parametrize(("size", "count"), [(6, 3), (5, 1), (7, 5)])
def test_every_subset_is_equally_likely(size, count):
    subsets = list(itertools.combinations(range(size), count))
    number = 600 * len(subsets)
    first = np.full(number, 10)
    drawn = lags.irregular(first, first + size, count, np.random.default_rng(2)) - 10
    counts = dict.fromkeys(subsets, 0)
    for row in drawn.tolist():
        counts[tuple(row)] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_published_irregular_lags_against_a_loop():
    starts = np.array([21338, 81681, 97586, 50165])
    generator = np.random.RandomState(0)
    expected = []
    for start in starts:
        frames = generator.choice(np.arange(start + 1, start + 3001), 8, replace=False)
        expected.append(sorted(frames.tolist()))
    assert lags.published_irregular(starts, 3000, 8).tolist() == expected
