"""Forces that can be learned, in one pass: values and gradients of the plain form."""

import copy

import pytest
import torch

from compilers import compiled
from gfnode.kernels import build
from gfnode.kernels.learning import learnable_forces
from kernels.test_forces_in_one_pass import places, potential


def slopes(made, forces, x):
    """Forces, and gradients of a weighted sum of them by all weights."""
    weights = [weight.clone().requires_grad_() for weight in made._weights]
    found = forces(x, weights)
    along = torch.sin(torch.arange(found.numel(), dtype=torch.float64)).view_as(found)
    return found.detach(), torch.autograd.grad((found * along.to(found)).sum(), weights)


def fused(made):
    def forces(x, weights):
        found = learnable_forces(x, made._inputs, *made._layers_and_ends(weights))
        assert found is not None
        return found

    return forces


@compiled
@pytest.mark.parametrize("molecule", ["H2O", "CH3CH2OH"])
@pytest.mark.parametrize("batch", [1, 64, 150])
@pytest.mark.parametrize("spread", [1.0, 0.2])  # in that of the places: most pairs are held
def test_values_and_gradients_are_those_of_the_plain_form(molecule, batch, spread):
    made, x = potential(molecule), places(molecule, batch)
    made.spread.mul_(spread)
    found, ours = slopes(made, fused(made), x)
    exact = copy.deepcopy(made).double()
    expected, theirs = slopes(exact, exact._forces, x.double())
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    for name, mine, right in zip(made._names, ours, theirs, strict=True):
        assert right.abs().max() > 0, name
        assert (mine - right).abs().max() <= 1e-5 * right.abs().max(), name


@compiled
@pytest.mark.parametrize("name", ["weight0", "bias1", "weight2", "last", "square", "line"])
def test_gradients_are_finite_differences(name):
    """Of the plain form in double precision, along a random direction."""
    made, x = potential(), places("CH3CH2OH", 20)
    _, gradients = slopes(made, fused(made), x)
    exact = copy.deepcopy(made).double()
    weights, place = exact._weights, exact._names.index(name)
    direction = torch.randn(weights[place].shape, generator=torch.Generator().manual_seed(7))
    along = torch.sin(torch.arange(x.numel(), dtype=torch.float64)).view_as(x)

    def value(step):
        moved = list(weights)
        moved[place] = weights[place] + step * direction.double()
        return float((exact._forces(x.double(), moved) * along).sum())

    expected = (value(1e-5) - value(-1e-5)) / 2e-5
    size = float(gradients[place].norm() * direction.norm())
    assert abs(float((gradients[place] * direction).sum()) - expected) <= 1e-5 * size


@compiled
@pytest.mark.parametrize(
    ("threads", "batch"),
    [(1, 100), (3, 100), (5, 100), (7, 5)],  # one to three parts of each of two members
)
def test_threads_share_the_gradients(threads, batch):
    made, x = potential(), places("CH3CH2OH", batch)
    _, expected = slopes(made, made._forces, x)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        _, found = slopes(made, fused(made), x)
    finally:
        torch.set_num_threads(before)
    for mine, right in zip(found, expected, strict=True):
        assert (mine - right).abs().max() <= 1e-5 * right.abs().max()


def test_the_plain_form_is_learned_elsewhere(monkeypatch):
    made, x = potential(), places("CH3CH2OH", 3)
    expected = slopes(made, made._learnable, x)
    double = copy.deepcopy(made).double()
    parts = double._layers_and_ends(double._weights)
    assert learnable_forces(x.double(), double._inputs, *parts) is None
    monkeypatch.setenv(build.OFF, "1")
    build.loaded.cache_clear()
    try:
        parts = made._layers_and_ends(made._weights)
        assert learnable_forces(x, made._inputs, *parts) is None
        found = slopes(made, made._learnable, x)
    finally:
        build.loaded.cache_clear()
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-3)
