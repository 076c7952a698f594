"""Molecules near a prediction: right distances, the least of the objective, all symmetries."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gfnode.errors import InputError
from gfnode.models import Model, build
from gfnode.models.calibration import Calibration
from gfnode.models.molecular import MOST, Molecular
from making import permuted, reordered, rotation, roughen, samples_of, system_of, windows_of


def made(name: str = "toluene", lag: float = 1500.0) -> tuple[Model, Molecular, list[Tensor]]:
    """A rough model of a molecule, and the same with molecules."""
    system = system_of(name)
    windows = windows_of(samples_of(name, system), times=3)
    torch.manual_seed(0)
    model = build("gfnode", system, {"width": 8, "encoder_layers": 1, "decoder_layers": 1})
    model.prepare(windows)
    roughen(model, scale=0.3)
    n = system.n_atoms
    fitted = Calibration.fit(model, windows, windows)
    calibration = replace(fitted, lags=torch.tensor([lag]), sizes=torch.linspace(0.1, 0.6, n)[None])
    batch = windows.batch(slice(0, 4))
    lags = torch.tensor([[30.0, 700.0, 1500.0]]).expand(4, -1)
    return (
        model.eval(),
        Molecular(model, calibration).eval(),
        [
            batch.positions,
            batch.velocities,
            lags,
        ],
    )


def objective(x: Tensor, mean: Tensor, lags: Tensor, c: Calibration) -> Tensor:
    """What a molecule is the least of, written as in the docstring."""
    sizes = c.deviations(lags)[..., None]
    i, j = c.pairs.T
    apart = (x[..., i, :] - x[..., j, :]).norm(dim=-1)
    far = ((x - mean) / sizes).square().sum((-1, -2)) / 2
    return far + ((apart - c.lengths) / c.spreads).square().sum(-1) / 2


@pytest.mark.parametrize("name", ["toluene", "ethanol", "benzene"])
def test_it_is_the_least_of_the_objective(name):
    model, molecular, (x, v, lags) = made(name)
    with torch.no_grad():
        mean = model(x, v, lags).double()
        found = molecular.double()(x.double(), v.double(), lags.double())
        mean = molecular.model(x.double(), v.double(), lags.double())
    found.requires_grad_()
    value = objective(found, mean, lags.double(), molecular.calibration)
    (slope,) = torch.autograd.grad(value.sum(), found)
    sizes = molecular.calibration.deviations(lags.double())[..., None]
    assert (slope * sizes).abs().max() < 0.05  # of a deviation away from the least
    with torch.no_grad():
        for scale in (1e-3, 1e-2):
            other = found + scale * torch.randn(found.shape, dtype=torch.double)
            worse = objective(other, mean, lags.double(), molecular.calibration)
            assert (worse > value).all()


def test_distances_come_right_where_the_model_is_uncertain():
    model, molecular, (x, v, lags) = made()
    c = molecular.calibration
    i, j = c.pairs.T

    @torch.no_grad()
    def miss(predictor: Model) -> float:
        y = predictor(x, v, lags)[:, -1]
        return float(((y[:, i] - y[:, j]).norm(dim=-1) - c.lengths).abs().mean())

    assert miss(model) > 0.03
    assert miss(molecular) < 0.2 * miss(model)


def test_what_is_not_finite_stays_so_and_spoils_nothing_else():
    model, molecular, (x, v, lags) = made()
    with torch.no_grad():
        sound, mean = molecular(x, v, lags), model(x, v, lags)
        mean[1, 2, 3] = torch.nan
        model.with_spread = lambda *_: (mean, None)
        found = molecular(x, v, lags)
    assert found[1, 2].isnan().all()
    found[1, 2] = sound[1, 2]
    torch.testing.assert_close(found, sound)


def test_at_no_lag_the_start_comes_back():
    _, molecular, (x, v, _) = made()
    with torch.no_grad():
        found = molecular(x, v, torch.full((4, 1), 1e-3))
    assert (found[:, 0] - x).abs().max() < 1e-4


def test_symmetries_of_the_model_are_kept():
    model, molecular, (x, v, lags) = made()
    assert molecular.kept == model.kept
    with torch.no_grad():
        plain = molecular(x, v, lags).double()
        for matrix in (rotation(1), -torch.eye(3).double()):
            x_, v_ = ((y.double() @ matrix.mT).float() for y in (x, v))
            assert (molecular(x_ + 2, v_, lags) - 2 - plain @ matrix.mT).abs().max() < 1e-3
        one = molecular(x[1:2], v[1:2], lags[1:2, 2:])
        assert (one[0, 0] - plain[1, 2]).abs().max() < 1e-4


def test_renumbering_atoms_renumbers_molecules():
    system = system_of("ethanol")
    order = [4, 0, 2, 8, 1, 7, 3, 6, 5]
    frames = samples_of("ethanol", system)
    found = []
    for each, shown in ((system, frames), (permuted(system, order), reordered(frames, order))):
        windows = windows_of(shown)
        model = build("mean-conformer", each)
        model.prepare(windows)
        calibration = Calibration.fit(model, windows, windows)
        batch = windows.batch(slice(0, 3))
        with torch.no_grad():
            molecular = Molecular(model, calibration)
            found.append(molecular(batch.positions, batch.velocities, batch.lags))
    assert (found[0][:, :, order] - found[1]).abs().max() < 2e-3


def test_gradients_by_finite_differences():
    _, molecular, (x, v, lags) = made("ethanol")
    molecular = molecular.double()
    x, v = x[:1].double().requires_grad_(), v[:1].double()

    def project(start: Tensor) -> Tensor:
        found: Tensor = molecular(start, v, lags[:1, 1:2].double())
        return found.square().sum()

    assert torch.autograd.gradcheck(project, (x,), eps=1e-6, atol=1e-4, rtol=1e-3)


def test_too_many_atoms_are_an_error():
    model, molecular, _ = made("ethanol")
    large = replace(model.system, atoms=torch.arange(MOST + 1).numpy())
    model.system = large
    with pytest.raises(InputError, match=f"at most {MOST} atoms"):
        Molecular.of(model, molecular.calibration, "a run")
