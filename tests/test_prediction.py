"""Samples of motions, some of which leave the range of their model; what is refused."""

import warnings

import numpy as np
import pytest
import torch

from gfnode import prediction
from gfnode.errors import InputError
from gfnode.models import Model, build
from gfnode.prediction import begin, check_finite, check_seed, check_whole, sample
from gfnode.trajectory import Trajectory
from making import geometry_of, system_of


class Numbered(Model):
    """Motion k moves all atoms by k mÅ/fs; some of them are lost by the last lag."""

    promises = build("persistence", system_of("ethanol")).promises
    follows = True
    lost = 3  # every third motion

    def __init__(self, system):
        super().__init__(system)
        self.asked, self.drawn = [], 0

    def forward(self, positions, velocities, lags):
        return positions.unsqueeze(1).repeat(1, lags.shape[1], 1, 1)

    def trajectories(self, positions, velocities, lags, generator, *, exact=False):
        number = self.drawn + torch.arange(len(positions))
        self.asked.append(len(positions))
        self.drawn += len(positions)
        moved = positions[:, None] + 1e-3 * (number[:, None] * lags)[..., None, None]
        moved[number % self.lost == 0, -1, -1] = torch.nan
        return moved, torch.zeros_like(moved)


def start_of(model, times=("20fs", 40.0)):
    numbers, positions = geometry_of("ethanol")
    v = np.zeros((1, 9, 3), np.float32)
    return begin(model, Trajectory(positions[None], [7.0], numbers, v, name="ethanol"), times, 0)


def test_motions_that_are_lost_are_drawn_again(monkeypatch):
    """All that are kept are whole, in the order drawn, and no more are drawn than are missing."""
    monkeypatch.setattr(prediction, "TOGETHER", 4)
    model, told = Numbered(system_of("ethanol")), []
    start = start_of(model)
    with pytest.warns(UserWarning, match=r"^3 of 9 motions left the range"):
        found = sample(model, start, 6, advance=told.append)
    # 0 to 3, 4 to 7, and 8, of which 0, 3 and 6 are lost
    assert model.asked == [4, 4, 1]
    numbers = np.array([1, 2, 4, 5, 7, 8])
    assert list(found) == [20.0, 40.0]
    for lag, motions in found.items():
        moved = (motions.positions - start.now.positions).mean((1, 2))
        np.testing.assert_allclose(moved, 1e-3 * lag * numbers, atol=1e-4)
        assert motions.times.tolist() == list(range(6))
    assert sum(told) == 12


def test_motions_of_which_none_is_lost_are_not_warned_of():
    model = Numbered(system_of("ethanol"))
    model.drawn, model.lost = 1, 100
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(sample(model, start_of(model), 5)[40.0]) == 5
    assert model.asked == [5]


def test_a_start_from_which_all_are_lost_is_given_up():
    model = Numbered(system_of("ethanol"))
    model.lost = 1
    said = r"only 0 of 12 motions from ethanol, frame 0 stay .* up to 40 fs: ask for shorter"
    with pytest.raises(InputError, match=said):
        sample(model, start_of(model), 3)


@pytest.mark.parametrize("how", [{"solver": "dpm"}, {"steps": 9}])
def test_motions_have_no_solver(how):
    model = Numbered(system_of("ethanol"))
    with pytest.raises(InputError, match="samples motions in its potential, so a solver"):
        sample(model, start_of(model), 2, **how)


def test_whole_numbers_and_seeds_have_bounds():
    assert check_seed(np.int64(0)) == 0
    assert check_seed(2**63 - 1) == 2**63 - 1
    for wrong in (-1, 2**63, 1.0, True, "1"):
        with pytest.raises(InputError, match="whole number from 0, below"):
            check_seed(wrong)
    check_whole(3, "it", 3)
    for wrong in (2, 3.0, True):
        with pytest.raises(InputError, match=f"it is {wrong!r}, expected a whole number from 3"):
            check_whole(wrong, "it", 3)


def test_the_first_lag_that_is_not_finite_is_named():
    """And whether the model was asked for more than it was trained for."""
    found = torch.zeros(4, 2, 3)
    check_finite(found, [10.0, 20.0, 30.0, 40.0], 40.0, "it")
    found[1:3, 1, 2] = torch.inf
    with pytest.raises(InputError, match="not finite 20 fs after the start: its training failed"):
        check_finite(found, [10.0, 20.0, 30.0, 40.0], 40.0, "it")
    with pytest.raises(InputError, match=r"20 fs after .* trained up to 35 fs, so ask for shorter"):
        check_finite(found, [10.0, 20.0, 30.0, 40.0], 35.0, "it")
