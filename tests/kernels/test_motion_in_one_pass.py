"""Steps in one pass: those of the plain form, whatever else moves to the last bit."""

import pytest
import torch

from compilers import compiled
from gfnode.dynamics.newton import NewtonDynamics
from kernels.test_forces_in_one_pass import places, potential
from making import system_of

STEPS, LENGTH = 30, 0.5


def made():
    dynamics = NewtonDynamics(system_of("CH3CH2OH"), potential())
    dynamics.potential.scale.fill_(1e-3)  # weights at random make a wild potential
    dynamics.kinetic.fill_(0.02)
    dynamics.step = LENGTH
    return dynamics


def begun(dynamics, batch, seed=3):
    generator = torch.Generator().manual_seed(seed)
    x = places("CH3CH2OH", batch)
    v = 5e-3 * torch.randn(x.shape, generator=generator)
    friction = 1e-3 * torch.randn(*x.shape[:2], 1, 1, generator=generator)
    return x, v, friction, dynamics._accelerations(x)


def thermostat(kind, batch):
    """ω, and what scales at random."""
    generator = torch.Generator().manual_seed(4)
    shape = 2, batch, 1, 1
    if kind == "friction":
        return 0.3 * torch.rand(shape, generator=generator), ()
    along = torch.randn(STEPS, *shape, generator=generator)
    others = 26 + torch.randn(STEPS, *shape, generator=generator)
    return torch.zeros(shape), (torch.full(shape, 0.02), along, others)


@compiled
@pytest.mark.parametrize("kind", ["friction", "random"])
@torch.no_grad()
def test_steps_are_those_of_the_plain_form(kind):
    dynamics = made()
    state = begun(dynamics, 25)
    kept = [y.clone() for y in state]
    frequency, scaling = thermostat(kind, 25)
    found = dynamics._run_steps(state, STEPS, LENGTH, frequency, scaling)
    assert all(torch.equal(y, before) for y, before in zip(state, kept, strict=True))
    for step in range(STEPS):
        state = dynamics._verlet_step(state, LENGTH, frequency)
        if scaling:
            rate, along, others = scaling
            state = dynamics._rescale_velocities(state, rate, along[step], others[step])
    moved = (state[0] - kept[0]).abs().max()
    assert moved > 0.05
    assert (state[1] - kept[1]).abs().max() > 1e-3
    for mine, expected in zip(found, state, strict=True):
        assert (mine - expected).abs().max() <= 1e-4 * expected.abs().max()


@compiled
@pytest.mark.parametrize("kind", ["friction", "random"])
@torch.no_grad()
def test_no_bit_depends_on_other_rows_or_threads(kind):
    dynamics, before = made(), torch.get_num_threads()
    state, (frequency, scaling) = begun(dynamics, 61), thermostat(kind, 61)
    whole = dynamics._run_steps(state, STEPS, LENGTH, frequency, scaling)
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            for few in (slice(0, 1), slice(7, 40)):
                rate, *noise = scaling or (None,)
                part = () if rate is None else (rate[:, few], *(y[:, :, few] for y in noise))
                mine = [y[:, few] for y in state]
                found = dynamics._run_steps(mine, STEPS, LENGTH, frequency[:, few], part)
                for y, all_ in zip(found, whole, strict=True):
                    assert torch.equal(y, all_[:, few])
    finally:
        torch.set_num_threads(before)


@compiled
@torch.no_grad()
def test_predictions_are_those_of_the_plain_form(monkeypatch):
    dynamics = made()
    dynamics.frequency.fill_(0.3)
    dynamics.gap.fill_(0.5)
    x, v, _, _ = begun(dynamics, 3)
    lags = torch.tensor([[3.0, 10.2, 0.0], [7.7, 7.7, 12.0], [1.0, 2.0, 3.0]])
    found = dynamics(x[0], v[0], lags)
    monkeypatch.setattr(type(dynamics.potential), "packed", None)
    expected = dynamics(x[0], v[0], lags)
    assert (expected[:, :2, :2] - x[0][:2, None]).abs().max() > 0.05
    assert (found - expected).abs().max() < 1e-4
