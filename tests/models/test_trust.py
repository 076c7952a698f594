"""The weight of trajectories against the modes."""

import math

import pytest
import torch

from gfnode.models.trust import Trust


@pytest.mark.parametrize("size", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("lags", ["regular", "fresh"])
def test_trust_of_all_lags_follows_from_those_of_training(lags: str, size: float) -> None:
    trust = Trust(1500.0)
    generator = torch.Generator().manual_seed(0)
    regular = 187.5 * torch.arange(1, 9).expand(162, 8)
    at = {"regular": regular, "fresh": 1500 * torch.rand(162, 8, generator=generator)}[lags]
    square = size * (at / 1500) ** 2 * (0.5 + torch.rand(at.shape, generator=generator))
    trust.fit(at, square, 0.9 * square)
    # below the first lag, too, where nothing is known; to a ten thousandth of rounding
    assert torch.allclose(trust.weights, torch.full((16,), 0.9), atol=1e-4)
    assert trust.reach == math.inf
    trust.fit(at, square, (0.9 - at / 2000) * square)  # 0.15 at the end
    assert float((trust(at) - 0.9 + at / 2000)[at > 150].abs().max()) < 0.08
    assert (trust.weights.diff() <= 1e-6).all()


def test_it_reaches_as_far_as_it_is_worth_something() -> None:
    trust = Trust(1000.0)
    at = torch.logspace(0.5, 3, 500)[None]
    trust.fit(at, torch.ones_like(at), (at < 100).float())
    assert 100 < trust.reach < 200
    assert float(trust(torch.tensor(50.0))) > 0.9
    assert float(trust(torch.tensor([trust.reach, 1000.0])).max()) < 1e-6
    again = Trust(1000.0)
    again.load_state_dict(trust.state_dict())
    assert again.reach == trust.reach
    trust.forget()
    assert trust.reach == 0 == float(trust(torch.tensor(5.0)))
