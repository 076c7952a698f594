"""Newton's equations in the default model: a molecule of springs, from forces to predictions."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from gfnode.experiment import build_model, configure, prepare
from gfnode.models import Symmetry
from gfnode.models.newton import Newton
from gfnode.trajectory import Trajectory
from making import rotation, springs

HORIZON = 150.0


@cache
def trajectory(temperature=500.0):
    molecule = springs()
    x, v, f = (y[200:] for y in molecule.run(4600, 0.5, temperature=temperature))
    times = np.arange(len(x)) * 0.5
    return Trajectory(x, times, molecule.system.numbers, velocities=v, forces=f, name="springs")


def prepared(motion=None, **changes):
    experiment = configure(changes={"windows.horizon": HORIZON} | changes)
    dataset = prepare([trajectory() if motion is None else motion], experiment)
    model = build_model(experiment, dataset.system)
    parts = dataset.of(model)
    model.prepare(parts["train"])
    return model.eval(), parts


@pytest.fixture(scope="module")
def briefly():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Newton, "_steps", (1000, 1000))
        patch.setattr(Newton, "_batch", 64)
        yield


@pytest.fixture(scope="module")
def fitted(briefly):
    return prepared()


@torch.no_grad()
def error(model, windows):
    b = windows.batch(windows.evenly(100))
    found = model(b.positions, b.velocities, b.lags)
    return float((found - b.targets)[..., model.scored, :].square().mean())


def test_unseen_windows_are_foretold(fitted):
    model, parts = fitted
    assert model.newton.trust[0] > 0.9
    assert model.newton.reach > 50
    assert "no thermostat" in model.found
    assert "% at 15 fs" in model.found
    plain, _ = prepared(**{"model.newton": False})
    assert plain.newton is None
    assert error(model, parts["test"]) < 0.5 * error(plain, parts["test"])


def test_predictions_survive_saving(fitted):
    model, parts = fitted
    experiment = configure(changes={"windows.horizon": HORIZON})
    other = build_model(experiment, model.system).eval()
    assert other.newton.reach == 0
    other.load_state_dict(model.state_dict())
    assert other.newton.reach == model.newton.reach
    assert error(other, parts["test"]) == error(model, parts["test"])


def test_what_is_trained_is_the_rest(fitted):
    model, parts = fitted
    b = parts["test"].batch(slice(0, 8))
    model.train()
    modes = model(b.positions, b.velocities, b.lags)
    model.eval()
    assert (modes - model(b.positions, b.velocities, b.lags)).abs().max() > 1e-3
    assert not any("newton" in name for name, _ in model.named_parameters())


@torch.no_grad()
def test_symmetries_hold_and_the_start_comes_back(fitted):
    model, parts = fitted
    b = parts["test"].batch(slice(0, 8))
    found = model(b.positions, b.velocities, b.lags)
    shift = torch.tensor([3.0, -2.0, 1.0])
    for mirror in (1.0, -1.0):
        matrix = rotation(5) * torch.tensor([1.0, 1.0, mirror])
        x, v, expected = (
            (y.double() @ matrix.mT).float() for y in (b.positions, b.velocities, found)
        )
        ours = model(x + shift, v, b.lags) - shift
        moved = (found - b.positions[:, None]).norm(dim=-1).mean()
        assert (ours - expected).norm(dim=-1).max() < 1e-3 * moved
    alone = model(b.positions[3:4], b.velocities[3:4], b.lags[3:4, [5, 1]])
    assert torch.allclose(alone[0], found[3, [5, 1]], atol=1e-5)
    zero = torch.zeros_like(b.lags)
    assert torch.allclose(
        model(b.positions, b.velocities, zero), b.positions[:, None].expand_as(found), atol=1e-5
    )
    assert Symmetry.PERMUTATION not in model.kept  # another order is another fit
    assert Symmetry.ROTATION in model.kept


@torch.no_grad()
def test_a_trajectory_that_leaves_what_is_known_says_nothing(fitted):
    model, parts = fitted
    b = parts["test"].batch(slice(0, 4))
    torn = b.velocities.clone()
    torn[1, 2] += 1.0  # 1 Å/fs: this atom flies away
    found, _ = model.newton(b.targets, model.frame, b.positions, torn, b.lags)
    assert torch.equal(found[1, -1], b.targets[1, -1])
    assert not torch.equal(found[0, -1], b.targets[0, -1])
    broken = b.positions.clone()
    broken[:, 1] = broken[:, 0]  # two atoms in one place: forces are not finite
    found, spread = model.newton(b.targets, model.frame, broken, torn, b.lags)
    assert torch.equal(found, b.targets)
    assert torch.equal(spread, torch.zeros_like(spread))


@pytest.mark.parametrize("wrong", ["wild", "not finite"])
def test_what_foretells_nothing_is_not_trusted(monkeypatch, wrong):
    monkeypatch.setattr(Newton, "_steps", (50, 50))
    trajectory_ = trajectory()
    if wrong == "wild":
        forces = np.random.default_rng(0).permutation(trajectory_.forces)
        trajectory_ = replace(trajectory_, forces=30 * forces)
    else:
        monkeypatch.setattr(
            "gfnode.dynamics.potential.Potential.forward", lambda self, x: x * torch.nan
        )
    experiment = configure(changes={"windows.horizon": HORIZON})
    dataset = prepare([trajectory_], experiment)
    model = build_model(experiment, dataset.system)
    parts = dataset.of(model)
    model.prepare(parts["train"])
    b = parts["test"].batch(slice(0, 5))
    found = model.eval()(b.positions, b.velocities, b.lags)
    plain = model.modes(b.positions, b.velocities, b.lags)
    assert model.newton.trust.max() < 0.3
    assert (found - plain).square().mean() < 0.1 * (plain - b.targets).square().mean()


def test_forces_need_not_be_stored(briefly, fitted):
    shown, parts = prepared(replace(trajectory(), forces=None))
    assert shown.newton.trust[0] > 0.9
    assert error(shown, parts["test"]) < 1.5 * error(fitted[0], fitted[1]["test"])


def test_without_forces_nothing_changes():
    model, _ = prepared(replace(trajectory(), forces=None)[::4])  # every 2 fs
    assert model.newton.reach == 0
    assert Symmetry.PERMUTATION in model.kept
