"""Choosing a few of many: as many as asked for, none twice, the ends among them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfnode.thinning import evenly, places


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


def test_places_of_what_is_kept():
    found = places(np.array([4, 1, 2]), 6)
    assert found.tolist() == [-1, 1, 2, -1, 0, -1]
