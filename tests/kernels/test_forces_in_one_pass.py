"""Forces in one pass: those of the potential, whatever else is asked for to the last bit."""

import copy
import pickle

import pytest
import torch

from compilers import compiled
from gfnode.dynamics.potential import Potential
from gfnode.kernels import build
from making import system_of


def potential(molecule="CH3CH2OH", **options):
    """Weights drawn at random, about distances that are near those of `places`."""
    made = Potential(system_of(molecule), **options)
    generator = torch.Generator().manual_seed(1)
    for weight, drawn in zip(made._weights, made._initial_weights(generator), strict=True):
        weight.copy_(drawn.detach() + 0.02 * torch.randn(drawn.shape, generator=generator))
    with torch.no_grad():
        q = 1 / made._pair_vectors(places(molecule, 50, members=1)[0]).norm(dim=-2)
    made.mean.copy_(q.mean(0))
    made.spread.copy_(q.std(0))
    made.scale.fill_(0.3)
    return made


def places(molecule, batch, members=2):
    atoms = system_of(molecule).n_atoms
    generator = torch.Generator().manual_seed(2)
    x = 2.0 * torch.randn(atoms, 3, generator=generator)
    return x + 0.1 * torch.randn(members, batch, atoms, 3, generator=generator)


@compiled
@pytest.mark.parametrize("molecule", ["H2O", "CH3CH2OH"])
@pytest.mark.parametrize("batch", [1, 7, 24, 100])
@pytest.mark.parametrize("spread", [1.0, 0.2])  # in that of the places
@torch.no_grad()
def test_forces_are_those_of_the_plain_form(molecule, batch, spread):
    made, x = potential(molecule), places(molecule, batch)
    made.spread.mul_(spread)
    assert made.packed is not None
    found, expected = made(x), made.scale * made._forces(x, made._weights)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@compiled
def test_forces_are_the_slope_of_the_energy():
    made, x = potential(), places("CH3CH2OH", 5)
    with torch.no_grad():
        found = made(x)
    double = copy.deepcopy(made).double()
    x = x.double().requires_grad_()
    (slope,) = torch.autograd.grad(double.energy(x).sum(), x)
    assert (found + slope).abs().max() <= 1e-4 * slope.abs().max()


@compiled
@pytest.mark.parametrize("threads", [1, 3])
@torch.no_grad()
def test_no_bit_depends_on_other_conformations_or_threads(threads):
    made, x = potential(), places("CH3CH2OH", 61)
    whole, before = made(x), torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for few in (slice(0, 1), slice(7, 40), slice(60, 61)):
            assert torch.equal(made(x[:, few]), whole[:, few])
    finally:
        torch.set_num_threads(before)


@compiled
@torch.no_grad()
def test_changed_weights_count():
    made, x = potential(), places("CH3CH2OH", 3)
    before = made(x)
    made.scale.mul_(2)
    torch.testing.assert_close(made(x), 2 * before)
    made.weight1.zero_()
    expected = made.scale * made._forces(x, made._weights)
    torch.testing.assert_close(made(x), expected, rtol=1e-4, atol=1e-5)
    other = potential()
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(x), made(x))
    assert torch.equal(pickle.loads(pickle.dumps(made))(x), made(x))
    fresh = potential()(x)
    with torch.inference_mode():  # weights made here have no version to be counted by
        assert torch.equal(potential()(x), fresh)


def test_the_plain_form_elsewhere(monkeypatch):
    made, x = potential(), places("CH3CH2OH", 3)
    assert potential(width=20).packed is None
    assert copy.deepcopy(made).double().packed is None
    plain = made(x)  # with gradients
    with torch.no_grad():
        monkeypatch.setenv(build.OFF, "1")
        build.loaded.cache_clear()
        assert potential().packed is None
        torch.testing.assert_close(potential()(x), plain)
    build.loaded.cache_clear()
