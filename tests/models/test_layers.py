"""EGNN layers against their equations, written out edge by edge."""

import numpy as np
import pytest
import torch

from gfnode.graph import hop_edges
from gfnode.models.layers import EGNNLayer, EGNNLayers, Incidence, lag_embedding
from making import system_of

SYSTEM = system_of("CH3CH2OH")
WIDTH, SCALARS, BATCH = 5, 3, 2
N_EDGES = len(SYSTEM.edges)


def silu(x):
    return x / (1 + np.exp(-x))


def weights_of(module):
    return {k: v.detach().double().numpy() for k, v in module.named_parameters()}


def perceptron(w, name, x):
    hidden = silu(w[f"{name}.0.weight"] @ x + w[f"{name}.0.bias"])
    return w[f"{name}.2.weight"] @ hidden + w[f"{name}.2.bias"]


def literal(layer, h, x, v, scalars, index):  # noqa: PLR0917
    """One sample; ``h (atom, feature)``, ``x, v (atom, 3)``, ``scalars (edge, scalar)``."""
    w, n_atoms = weights_of(layer), len(h)
    messages = np.zeros_like(h)
    shift, degree = np.zeros_like(x), np.zeros(n_atoms)
    for (i, j), e in zip(index.T.tolist(), scalars, strict=True):
        d = ((x[i] - x[j]) ** 2).sum()
        m = np.concatenate([h[i], h[j], [d], e])
        m = silu(w["message_in.weight"] @ m + w["message_in.bias"])
        m = silu(w["message_out.weight"] @ m + w["message_out.bias"])
        messages[i] += m
        degree[i] += 1
        if layer.shift is not None:
            shift[i] += perceptron(w, "shift", m) * (x[i] - x[j])
    new = np.stack(
        [perceptron(w, "feature", np.concatenate([h[i], messages[i]])) for i in range(n_atoms)]
    )
    if layer.shift is not None:
        drive = np.stack([perceptron(w, "drive", h[i]) for i in range(n_atoms)])
        x = x + np.clip(shift / np.maximum(degree, 1)[:, None], -100, 100) + drive * v
    return (h + new if layer.residual else new), x


def inputs(seed=0, n_atoms=SYSTEM.n_atoms, n_edges=N_EDGES):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    return (
        draw(n_atoms, BATCH, WIDTH),
        2 * draw(n_atoms, BATCH, 3),
        draw(n_atoms, BATCH, 3),
        draw(n_edges, BATCH, SCALARS),
    )


@pytest.mark.parametrize("dense_below", [64, 0], ids=["dense", "indexed"])
@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_layer_is_its_equations(dense_below, moves, residual):
    torch.manual_seed(3)
    layer = EGNNLayer(WIDTH, SCALARS, moves=moves, residual=residual)
    h, x, v, scalars = inputs()
    edges = Incidence(SYSTEM.edges, SYSTEM.n_atoms, dense_below)
    assert edges.dense == (dense_below > 0)
    found_h, found_x = layer(h, x, v, scalars, edges)
    for sample in range(BATCH):
        arrays = (y[:, sample].double().numpy() for y in (h, x, v, scalars))
        expected_h, expected_x = literal(layer, *arrays, SYSTEM.edges.index)
        np.testing.assert_allclose(found_h[:, sample].detach(), expected_h, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found_x[:, sample].detach(), expected_x, rtol=1e-5, atol=1e-5)


def test_dense_and_indexed_agree_in_value_and_gradient():
    torch.manual_seed(4)
    stack = EGNNLayers(SYSTEM.n_atoms, SYSTEM.edges, WIDTH, 2, SCALARS)
    results = []
    for dense_below in (64, 0):
        stack.edges = Incidence(SYSTEM.edges, SYSTEM.n_atoms, dense_below)
        arrays = [y.requires_grad_() for y in inputs(1)]
        h, x = stack(*arrays)
        loss = h.sin().sum() + x.cos().sum()
        gradients = torch.autograd.grad(loss, [*arrays, *stack.parameters()])
        results.append([h, x, *gradients])
    for dense, indexed in zip(*results, strict=True):
        assert (dense - indexed).abs().max() <= 1e-5 * (1 + indexed.abs().max())


def test_an_atom_without_edges_is_moved_by_its_velocity_alone():
    edges = hop_edges(np.array([[0, 1]]), 3)
    layer = EGNNLayer(WIDTH, SCALARS)
    h, x, v, scalars = inputs(2, 3, len(edges))
    for dense_below in (64, 0):
        _, moved = layer(h, x, v, scalars, Incidence(edges, 3, dense_below))
        drive = layer.drive(h[2])
        torch.testing.assert_close(moved[2], x[2] + drive * v[2])
        assert not torch.allclose(moved[0], x[0] + layer.drive(h[0]) * v[0], atol=1e-4)


def test_the_shift_is_clamped():
    layer = EGNNLayer(WIDTH, SCALARS)
    with torch.no_grad():
        layer.shift[2].bias.fill_(1e4)
        layer.drive[2].weight.zero_()
        layer.drive[2].bias.zero_()
    h, x, v, scalars = inputs(3)
    _, moved = layer(h, x, v, scalars, Incidence(SYSTEM.edges, SYSTEM.n_atoms))
    assert float((moved - x).abs().max().detach()) == pytest.approx(100, rel=1e-5)


def test_silence_leaves_atoms_where_they_are():
    stack = EGNNLayers(SYSTEM.n_atoms, SYSTEM.edges, WIDTH, 2, SCALARS)
    h, x, v, scalars = inputs(5)
    assert (stack(h, x, v, scalars)[1] - x).abs().max() > 1e-3
    stack.silence()
    assert torch.equal(stack(h, x, v, scalars)[1], x)


def test_lag_embedding_is_its_formula():
    lags = np.array([[0.0, 1.0, 375.0], [3000.0, 0.5, 12.25]])
    found = lag_embedding(torch.tensor(lags), 32)
    assert found.shape == (2, 3, 32)
    for k in range(16):
        angle = lags * 10_000 ** (-k / 15)
        np.testing.assert_allclose(found[..., k], np.sin(angle), atol=2e-4)
        np.testing.assert_allclose(found[..., 16 + k], np.cos(angle), atol=2e-4)
    assert lag_embedding(torch.ones(1), 2).isfinite().all()
