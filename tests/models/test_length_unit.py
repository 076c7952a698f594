"""Networks that work in another unit of length: the same function of rescaled starts."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gfnode.errors import InputError
from gfnode.experiment import configure, refuse_idle
from gfnode.models import Model
from making import build_variant, roughen, samples_of, system_of, windows_of

NM = 10.0  # Å
SMALL = {"width": 8, "lag_width": 4}
CASES = [
    ("ndcn", {"width": 8}),
    ("ndcn", {"width": 8, "predicts": "position"}),
    ("egnn", SMALL),
    ("egno", SMALL),
    ("egno", SMALL | {"times": "as-if-regular"}),
    ("preset:paper", SMALL),
    ("preset:published", SMALL),
]


def made(name: str, options: dict[str, Any], **unit: float) -> tuple[Model, tuple[Tensor, ...]]:
    """A model with weights that matter, in double precision, and starts of it."""
    system = system_of("ethanol", "heavy")
    model = build_variant(name, options | unit, system)
    roughen(model, scale=0.3)
    batch = windows_of(samples_of("ethanol", system)).batch(slice(0, 3))
    start = batch.positions, batch.velocities, batch.lags
    return model.double().eval(), tuple(each.double() for each in start)


@pytest.mark.parametrize(("name", "options"), CASES)
@torch.no_grad()
def test_networks_see_the_start_in_their_unit(name: str, options: dict[str, Any]) -> None:
    """With the same weights, x̂ in nm of a start in nm; and it differs from x̂ in Å."""
    model, (x, v, lags) = made(name, options, length_unit=NM)
    plain, _ = made(name, options)
    found = model(x, v, lags)
    torch.testing.assert_close(found, NM * plain(x / NM, v / NM, lags), rtol=1e-9, atol=1e-9)
    assert (found - plain(x, v, lags)).abs().max() > 1e-3


@torch.no_grad()
def test_the_anchored_frame_is_in_angstrom() -> None:
    start = made("preset:default", {"newton": False})[1]
    here, other = (
        made("preset:default", {"newton": False}, **unit)[0](*start)
        for unit in ({}, {"length_unit": NM})
    )
    torch.testing.assert_close(here, other, rtol=0, atol=0)
    changes = {"model.length_unit": NM}
    with pytest.raises(InputError, match=r"length_unit.*model\.frame=centred"):
        refuse_idle(configure("default", changes), changes)
    refuse_idle(configure("paper", changes), changes)


@pytest.mark.parametrize("unit", [0, -1, "nm", 1000])
def test_what_is_no_unit_is_refused(unit: object) -> None:
    with pytest.raises(InputError, match="length_unit"):
        configure("paper", {"model.length_unit": unit})
