"""Choosing a few of many: as many as asked for, none twice, the ends among them; and groups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfnode.thinning import among, chunks, evenly, groups, places


@given(st.integers(2, 10**9), st.integers(2, 3000))
def test_the_chosen_are_even_and_none_is_chosen_twice(count, most):
    kept = evenly(count, most)
    assert len(kept) == min(count, most) == len(np.unique(kept))
    assert kept[0] == 0
    assert kept[-1] == count - 1
    assert np.ptp(np.diff(kept)) <= 1


@pytest.mark.parametrize(("count", "most", "kept"), [(0, 5, []), (7, 1, [0]), (7, 0, [])])
def test_few(count, most, kept):
    assert evenly(count, most).tolist() == kept


@pytest.mark.parametrize(
    ("count", "most", "each", "kept"),
    [(7, 6, 2, [[0, 1, 2], [3, 4, 5], [6]]), (2, 3, 9, [[0], [1]]), (3, 9, 0, [[0, 1, 2]])],
)
def test_chunks_hold_all_in_order(count, most, each, kept):
    assert [[*range(count)][part] for part in chunks(count, most, each)] == kept
    assert list(chunks(0, most, each)) == []


def test_places_of_what_is_kept():
    found = places(np.array([4, 1, 2]), 6)
    assert found.tolist() == [-1, 1, 2, -1, 0, -1]


def test_rows_among_what_is_kept():
    rows = np.array([[0, 1], [1, 4], [2, 4], [4, 5]])
    assert among(rows, np.array([4, 1, 2]), 6).tolist() == [[1, 0], [2, 0]]


@given(st.lists(st.integers(0, 6), max_size=50), st.booleans())
def test_groups_are_those_of_one_mask_a_label(labels, in_order):
    labels = np.array(sorted(labels) if in_order else labels, dtype=np.int64)
    expected = {int(k): np.flatnonzero(labels == k).tolist() for k in np.unique(labels)}
    found = [(label, places.tolist()) for label, places in groups(labels)]
    assert dict(found) == expected
    assert len(found) == len(expected)
