"""EGNO: its convolution against a direct Fourier sum, its layers, and what times it runs on."""

import numpy as np
import pytest
import torch
from checking import check_gradients
from test_layers import literal as literal_layer

from gfnode.models.egno import EGNOSettings, TimeConvolution, interpolate_grid
from gfnode.models.layers import Incidence
from making import build_variant, roughen, samples_of, system_of, windows_of

HORIZON = 1500.0
REGULAR = torch.arange(1.0, 9.0)[None] * HORIZON / 8
TINY = {"width": 6, "layers": 2, "lag_width": 4}


def prepared(options, name="ethanol", state="heavy", seed=0):
    system = system_of(name, state, horizon=HORIZON)
    model = build_variant("egno", options, system, seed)
    roughen(model, scale=0.5)
    batch = windows_of(samples_of(name, system)).batch(slice(0, 3))
    return model.eval(), batch.positions, batch.velocities


def direct(x, weight):
    """Σ over times and frequencies, term by term; ``x (time, …, channel)``."""
    n_times, result = len(x), np.zeros(x.shape)
    for k in range(min(len(weight), n_times // 2 + 1)):
        amplitude = sum(x[t] * np.exp(-2j * np.pi * k * t / n_times) for t in range(n_times))
        twice = 1 if k == 0 or 2 * k == n_times else 2  # frequency −k is the complex conjugate
        for t in range(n_times):
            wave = amplitude @ weight[k] * np.exp(2j * np.pi * k * t / n_times)
            result[t] += twice * wave.real / n_times
    return result


@pytest.mark.parametrize("n_times", [1, 2, 5, 8, 31])
@pytest.mark.parametrize("modes", [1, 2, 5])
def test_convolution_is_a_direct_fourier_sum(n_times, modes):
    """To 1e-5 in float32, for coordinates (with Cartesian components) and for features."""
    torch.manual_seed(0)
    for channels, between in ((2, (3,)), (7, ())):
        convolution = TimeConvolution(channels, modes)
        torch.nn.init.normal_(convolution.weight)
        x = torch.randn(4, 3, n_times, *between, channels)
        with torch.no_grad():
            found = convolution(x).double().numpy()
        weight = torch.view_as_complex(convolution.weight.detach()).numpy().astype(complex)
        expected = np.empty(found.shape)
        for atom, sample in np.ndindex(4, 3):
            expected[atom, sample] = direct(x[atom, sample].double().numpy(), weight)
        assert np.abs(expected).max() > 0.3
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_convolution_is_the_circular_one_of_its_kernel():
    """By the convolution theorem: y_t = Σ_s x_(t−s) κ_s, κ the inverse transform of the weights."""
    torch.manual_seed(1)
    convolution = TimeConvolution(3, 4).double()
    torch.nn.init.normal_(convolution.weight)
    x = torch.randn(1, 1, 9, 3, dtype=torch.float64)
    weight = torch.view_as_complex(convolution.weight.detach())
    kernel = torch.fft.irfft(weight, n=9, dim=0)
    expected = sum(x.roll(s, 2) @ kernel[s] for s in range(9))
    torch.testing.assert_close(convolution(x), expected, rtol=1e-12, atol=1e-12)


def test_layer_is_its_equations():
    """Convolutions first, of features and of (x, v); then messages at each time for itself."""
    model, _, _ = prepared({"width": 5, "layers": 1, "lag_width": 4})
    layer, system = model.layers[0], model.system
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    n_times, n_edges = 6, len(system.edges)
    h, x, v = draw(3, 2, n_times, 5), 2 * draw(3, 2, n_times, 3), draw(3, 2, n_times, 3)
    scalars = draw(n_edges, 2 * n_times, 5)
    with torch.no_grad():
        found = layer(h, x, v, scalars, Incidence(system.edges, 3))
    weights = [
        torch.view_as_complex(part.weight.detach()).numpy().astype(complex)
        for part in (layer.features, layer.coordinates)
    ]
    for sample in range(2):
        H, X, V = (y[:, sample].double().numpy().swapaxes(0, 1) for y in (h, x, v))
        moved = direct(H, weights[0])
        H = H + moved / (1 + np.exp(-moved))
        X, V = np.moveaxis(np.stack([X, V], -1) + direct(np.stack([X, V], -1), weights[1]), -1, 0)
        for t in range(n_times):
            e = scalars[:, sample * n_times + t].double().numpy()
            expected = literal_layer(layer.graph, H[t], X[t], V[t], e, system.edges.index)
            for ours, theirs in zip(found[:2], expected, strict=True):
                np.testing.assert_allclose(ours[:, sample, t], theirs, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(found[2][:, sample, t], V[t], rtol=1e-4, atol=1e-5)


def test_both_kinds_of_times_agree_on_the_grid():
    """The paper's regular lags are the points of the default grid."""
    results = []
    for times in ("grid", "as-if-regular"):
        model, x, v = prepared({"times": times})
        with torch.no_grad():
            results.append(model(x, v, REGULAR.expand(3, -1)))
    moved = (results[0] - x[:, None]).abs().max()
    assert moved > 0.1
    assert (results[0] - results[1]).abs().max() < 1e-5 * moved


def test_between_points_of_the_grid_time_is_linear():
    model, x, v = prepared({})
    lags = torch.tensor([[187.5, 375.0, 375.0 - 46.875, 46.875, 0.0, 1500.0, 1312.5, 1687.5]])
    with torch.no_grad():
        first, second, between, early, start, last, before, beyond = model(
            x, v, lags.expand(3, -1)
        ).unbind(1)
    torch.testing.assert_close(between, 0.25 * first + 0.75 * second)
    torch.testing.assert_close(early, 0.75 * x + 0.25 * first)
    assert torch.equal(start, x)
    torch.testing.assert_close(beyond, 2 * last - before)


def test_interpolation_of_straight_lines_is_exact():
    values = torch.arange(5.0)[None, :, None, None] * torch.tensor([1.0, -2.0, 0.5])
    places = torch.tensor([[0.0, 0.1, 3.999, 4.0, 2.5]])
    expected = places[..., None, None] * torch.tensor([1.0, -2.0, 0.5])
    torch.testing.assert_close(interpolate_grid(values, places), expected)


def test_as_if_regular_goes_by_rank_whatever_the_order():
    model, x, v = prepared({"times": "as-if-regular"})
    lags, order = REGULAR.expand(3, -1), [5, 0, 7, 2, 1, 6, 4, 3]
    with torch.no_grad():
        found = model(x, v, lags)
        shuffled = model(x, v, lags[:, order])
        fewer = model(x, v, lags[:, :4])
    torch.testing.assert_close(shuffled, found[:, order])
    assert (fewer - found[:, :4]).abs().max() > 1e-2  # coupled, by design


def test_a_fresh_model_does_not_swell():
    """The weights over coordinates begin as zero: only messages move atoms at first."""
    model = build_variant("egno", {"still": True}, system_of("toluene", "heavy"))
    batch = windows_of(samples_of("toluene", model.system)).batch(slice(0, 3))
    found = model(batch.positions, batch.velocities, REGULAR.expand(3, -1))
    torch.testing.assert_close(found, batch.positions[:, None].expand_as(found))
    for layer in model.layers:
        assert not layer.coordinates.weight.any()
        scaled = layer.features.weight.detach() * model.settings.width**2
        assert 0 <= scaled.min() < scaled.max() <= 1


@pytest.mark.parametrize("times", ["grid", "as-if-regular"])
def test_gradients_against_finite_differences(times):
    model, x, v = prepared(TINY | {"times": times, "grid": 3})
    check_gradients(model, x[:1], v[:1], torch.tensor([[20.0, 700.0, 1500.0]]))


def test_memory_goes_by_what_is_computed():
    system = system_of("toluene")
    grid, regular = (
        build_variant("egno", TINY | {"times": times, "grid": 200}, system)
        for times in ("grid", "as-if-regular")
    )
    assert grid.rows(1) == grid.rows(200) == regular.rows(200) > regular.rows(20)


def test_defaults_are_the_published_size():
    s = EGNOSettings()
    assert (s.width, s.layers, s.lag_width, s.time_modes, s.grid) == (64, 5, 32, 2, 8)
