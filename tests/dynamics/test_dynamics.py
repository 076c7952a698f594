"""Dynamics against exact exponentials, independent solvers, and the symmetries they promise."""

import math
import time

import networkx as nx
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import torch
import torchdiffeq

from gfnode.dynamics import (
    FeedForwardDynamics,
    IdentityDynamics,
    LinearDynamics,
    NeuralDynamics,
    SolverError,
    linear,
    solve,
)
from gfnode.dynamics.linear import exponential
from gfnode.dynamics.oscillator import OscillatorDynamics
from gfnode.dynamics.resonance import Moments, find_anharmonicity, find_resonance, kernels
from gfnode.dynamics.settling import SettlingDynamics
from gfnode.errors import InputError
from gfnode.fourier import eigenbasis
from gfnode.graph import hop_edges, laplacian

RING = hop_edges(np.array(nx.cycle_graph(6).edges), 6)
BENZENE = eigenbasis(laplacian(RING.index, 6))
BUFFERS = {"members", "present", "places", "frequency"}
VALUES, SPACES = torch.tensor(BENZENE.values).float(), torch.tensor(BENZENE.spaces)
KINDS = ["random", "damped", "decay", "skew", "nonnormal"]


def matrix(kind, width, seed=0):
    """A float64 matrix of spectral norm one."""
    rng = np.random.default_rng(seed)
    R = rng.standard_normal((width, width))
    W = {
        "random": R,
        "damped": -R @ R.T,
        "decay": -np.eye(width) + 0.05 * R / width**0.5,
        "skew": R - R.T,
        "nonnormal": np.triu(R, 1) - np.diag(rng.uniform(size=width)),
    }[kind]
    return W / np.linalg.norm(W, 2)


def rotation(size, seed=0):
    rng = np.random.default_rng(seed)
    return torch.tensor(scipy.linalg.qr(rng.standard_normal((size, size)))[0]).float()


def rough(dynamics, scale=0.3, seed=0):
    """Give a module weights large enough to matter."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in dynamics.parameters():
            weight.normal_(0, scale)
    return dynamics


def every_dynamics(width=4):
    torch.manual_seed(1)
    return {
        "linear": rough(LinearDynamics(SPACES, width)),
        "neural": rough(NeuralDynamics(VALUES, SPACES, width, 16)),
        "feed-forward": rough(FeedForwardDynamics(SPACES, width)),
        "identity": IdentityDynamics(),
    }


def relative(found, expected, dims):
    """Largest error over some axes relative to the largest value there."""
    found, expected = found.detach().double(), expected.detach().double()
    scale = expected.abs().amax(dims).clamp(min=1e-300)
    return float(((found - expected).abs().amax(dims) / scale).max())


# The closed form


@pytest.mark.parametrize("norm", [0.0, 1e-3, 0.1, 1.0, 5.0, 10.0, 20.0])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [2, 64])
def test_closed_form_value_and_gradient(kind, width, norm):
    """In float32, relative to the size of the exact result at each time, damped or not."""
    torch.manual_seed(0)
    dynamics = LinearDynamics(torch.tensor([0]), width)
    dynamics.weight.data[0] = torch.tensor(norm * matrix(kind, width))
    H = torch.randn(5, 1, 3, width, requires_grad=True)
    times = torch.rand(5, 8)
    times[:, 0], times[:, 1] = 0, 1
    found = dynamics(H, times)

    W = dynamics.weight.detach().double().requires_grad_()
    start = H.detach().double().requires_grad_()
    reference = np.stack(
        [
            [scipy.linalg.expm(t * W[0].detach().numpy()) for t in row]
            for row in times.double().numpy()
        ]
    )
    expected = torch.einsum("bmrf,btfg->btmrg", start.detach(), torch.tensor(reference))
    assert relative(found, expected, (2, 3, 4)) < 5e-5

    exact = start[:, None] @ torch.linalg.matrix_exp(times.double()[..., None, None, None] * W)
    weights = torch.randn(exact.shape)
    mine = torch.autograd.grad((found * weights).sum(), (dynamics.weight, H))
    theirs = torch.autograd.grad((exact * weights.double()).sum(), (W, start))
    assert relative(mine[0], theirs[0], (0, 1, 2)) < 2e-5
    assert relative(mine[1], theirs[1], (0, 1, 2, 3)) < 2e-5


@pytest.mark.parametrize("kind", KINDS)
def test_closed_form_of_late_times_alone(kind):
    """The gradient of strongly damped results, which a sum over all times would hide."""
    torch.manual_seed(0)
    W = torch.tensor(10 * matrix(kind, 8)).float().requires_grad_()
    H, times = torch.randn(3, 1, 1, 8), torch.full((3, 1), 1.0)
    found = exponential(H, W[None], torch.tensor([0]), times)
    exact = H.double() @ torch.linalg.matrix_exp(W64 := W.detach().double().requires_grad_())
    (mine,) = torch.autograd.grad(found.sum(), W)
    (theirs,) = torch.autograd.grad(exact.sum(), W64)
    assert relative(found[:, 0], exact, (0, 1, 2, 3)) < 5e-5
    assert relative(mine, theirs, (0, 1)) < 5e-5


def test_closed_form_against_a_solver():
    torch.manual_seed(0)
    dynamics = LinearDynamics(torch.tensor([0, 1, 1]), 6)
    for k, kind in enumerate(["skew", "nonnormal"]):
        dynamics.weight.data[k] = torch.tensor(8 * matrix(kind, 6, k))
    H, grid = torch.randn(4, 3, 2, 6), torch.linspace(0, 1, 7)
    W = dynamics.weight.detach()[dynamics.spaces]
    expected = torchdiffeq.odeint(lambda t, y: y @ W, H, grid, rtol=1e-6, atol=1e-7)
    found = dynamics(H, grid.expand(4, 7))
    assert torch.allclose(found, expected.transpose(0, 1), atol=2e-4, rtol=1e-4)


def test_damped_oscillator_over_position_and_velocity():
    """ẍ = −ω²x − 2γẋ, with x(t) = e^(−γt) (x₀ cos Ωt + (v₀ + γx₀)/Ω sin Ωt), past t = 1 too."""
    omega, gamma = 7.0, 1.5
    dynamics = LinearDynamics(torch.tensor([0]), 2)
    dynamics.weight.data[0] = torch.tensor([[0, -(omega**2)], [1, -2 * gamma]])
    times = torch.tensor([[0.0, 0.013, 0.21, 0.5, 1.0]])
    # In units of v/ω the matrix has norm about ω: keep ‖tW‖ inside the range
    scale = torch.tensor([1.0, 1 / omega])
    dynamics.weight.data = dynamics.weight * scale / scale[:, None]
    x, v, big = 0.8, -2.0, (omega**2 - gamma**2) ** 0.5
    found = dynamics(torch.tensor([[[[x, v / omega]]]]), times)[0, :, 0, 0, 0]
    t = times[0]
    wave = x * torch.cos(big * t) + (v + gamma * x) / big * torch.sin(big * t)
    assert torch.allclose(found, torch.exp(-gamma * t) * wave, atol=2e-6)


def test_gradients_against_finite_differences():
    torch.manual_seed(0)
    H = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    W = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    times = torch.tensor([[0.03, 0.97], [0.41, 1.73]], dtype=torch.float64)
    spaces = torch.tensor([0, 1, 1])
    assert torch.autograd.gradcheck(lambda h, w: exponential(h, w, spaces, times), (H, W))
    # The clock of nodes follows the largest time, so this one must not be varied.
    late = torch.full((2, 1), 2.0, dtype=torch.float64)
    early = torch.tensor([[0.03, 0.97], [0.41, 1.5]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda t: exponential(H.detach(), W.detach(), spaces, torch.cat([t, late], 1)), early
    )


def test_weights_that_start_at_zero_learn():
    dynamics = LinearDynamics(SPACES, 3)
    torch.nn.init.zeros_(dynamics.weight)
    H = torch.randn(2, 6, 1, 3)
    out = dynamics(H, torch.ones(2, 2))
    assert torch.equal(out, H[:, None].expand_as(out))
    out.sum().backward()
    assert (dynamics.weight.grad.abs() > 1e-3).all()


def test_times_past_the_horizon():
    torch.manual_seed(0)
    dynamics = LinearDynamics(torch.tensor([0]), 5)
    dynamics.weight.data[0] = torch.tensor(4 * matrix("random", 5))
    H, times = torch.randn(2, 1, 1, 5), torch.tensor([[0.3, 4.0], [2.0, 5.0]])
    exact = H[:, None] @ torch.matrix_exp(times[..., None, None, None] * dynamics.weight)
    assert relative(dynamics(H, times), exact, (2, 3, 4)) < 5e-5


@pytest.mark.parametrize("norm", [0, 1e-7, 1e-3, 0.1, 1, 3, 6])
def test_as_many_nodes_and_terms_as_are_needed(norm):
    """Values and gradients are exact to rounding, however few there are."""
    W = torch.tensor(norm * matrix("random", 6)).requires_grad_()
    H = torch.randn(4, 1, 2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    times = torch.linspace(0, 1, 12, dtype=torch.float64).view(4, 3)
    for kind, accuracy in ((torch.float64, 2e-13), (torch.float32, 2e-6)):
        found = exponential(H.to(kind), W.to(kind)[None], torch.tensor([0]), times.to(kind))
        exact = H[:, None] @ torch.matrix_exp(times[..., None, None, None] * W)
        assert relative(found, exact, (0, 1, 2, 3, 4)) < accuracy
        mine, theirs = (torch.autograd.grad(y.square().sum(), W)[0] for y in (found, exact))
        assert relative(mine, theirs, (0, 1)) < 2 * accuracy


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e18, 1e30, math.inf, math.nan])
def test_weights_that_exploded_give_no_number(size, kind):
    weight, times = torch.full((1, 3, 3), size, dtype=kind), torch.ones(2, 2, dtype=kind)
    found = exponential(torch.ones(2, 1, 1, 3, dtype=kind), weight, SPACES[:1], times)
    assert found.isnan().all()


def test_the_size_is_not_read_from_a_device():
    assert linear._nodes_and_order(torch.zeros(1, 3, 3, device="meta")) == (8, 12)
    assert linear._nodes_and_order(torch.zeros(1, 3, 3)) == (1, 1)


def test_never_silently_wrong():
    """Errors grow past ‖tW‖ = 20, and NaN comes before they reach one per cent."""
    for kind in KINDS:
        for norm in [15, 20, 25, 30, 35, 40, 60, 100, 1000]:
            W = torch.tensor(norm * matrix(kind, 6)).float()
            H, times = torch.eye(6)[:, None, None], torch.linspace(0, 1, 9).expand(6, 9)
            found = exponential(H, W[None], torch.tensor([0]), times)
            exact = H[:, None].double() @ torch.matrix_exp(
                times.double()[..., None, None, None] * W.double()
            )
            known = found.isfinite().flatten(2).all(2)[0]  # (time,)
            assert known[0]
            assert known.all() or norm > 20
            assert relative(found[:, known], exact[:, known], (0, 2, 3, 4)) < 1e-2, (kind, norm)
    assert not known.all()


def test_no_number_before_the_start():
    """The series is about nodes at t ≥ 0, and errors grow without bound before them."""
    W, H = torch.tensor(5 * matrix("random", 6)).float(), torch.eye(6)[:, None, None]
    times = torch.tensor([[-4.0, -1e-3, 0.0, 1.0]]).expand(6, -1)
    found = exponential(H, W[None], torch.tensor([0]), times).flatten(2)
    assert found[:, :2].isnan().all()
    assert found[:, 2:].isfinite().all()


@pytest.mark.parametrize("longest", [1.0, 4.0, 100.0, 1e6])
def test_a_long_lag_does_not_spoil_a_short_one(longest):
    W, H = torch.tensor(10 * matrix("random", 6)).float(), torch.eye(6)[:, None, None]

    def asked(*times):
        return exponential(H, W[None], torch.tensor([0]), torch.tensor([times]).expand(6, -1))

    torch.testing.assert_close(asked(0.1, longest)[:, :1], asked(0.1), rtol=2e-5, atol=2e-5)


def test_cost_hardly_depends_on_the_number_of_lags():
    dynamics, H = LinearDynamics(torch.arange(2), 64), torch.randn(50, 2, 1, 64)

    def cost(lags):
        times, best = torch.rand(50, lags), float("inf")
        for _ in range(15):
            started = time.perf_counter()
            dynamics(H, times).sum().backward()
            best = min(best, time.perf_counter() - started)
        return best

    assert cost(100) < 3 * cost(8)


def test_published_initial_weights():
    torch.manual_seed(0)
    weight = LinearDynamics(torch.arange(2), 64).weight.detach()
    assert weight.shape == (2, 64, 64)
    assert weight.min() >= 0
    assert weight.max() <= 1 / 64**2
    assert abs(float(weight.mean()) * 64**2 - 0.5) < 0.02


def test_feed_forward_is_one_application():
    dynamics = rough(FeedForwardDynamics(SPACES, 3))
    H = torch.randn(2, 6, 3, 3)
    out = dynamics(H, torch.rand(2, 4))
    for mode, space in enumerate(SPACES):
        expected = (H[:, mode] @ dynamics.weight[space])[:, None].expand(2, 4, 3, 3)
        assert torch.allclose(out[:, :, mode], expected, atol=1e-6)
    dynamics.weight.data.copy_(torch.eye(3))
    same = dynamics(H, torch.rand(2, 4))
    assert torch.allclose(same, IdentityDynamics()(H, torch.rand(2, 4)))


# What every dynamics promises


@pytest.mark.parametrize("name", list(every_dynamics()))
class TestEveryDynamics:
    def test_shape_and_order_of_times(self, name):
        dynamics, H = every_dynamics()[name], torch.randn(3, 6, 3, 4)
        times = torch.tensor([[0.9, 0.0, 0.2, 0.2, 1e-7]] * 3)
        out = dynamics(H, times)
        assert out.shape == (3, 5, 6, 3, 4)
        assert torch.equal(out[:, 2], out[:, 3])
        order = torch.tensor([3, 1, 4, 0, 2])
        assert torch.allclose(dynamics(H, times[:, order]), out[:, order], atol=1e-6)

    def test_start(self, name):
        dynamics, H = every_dynamics()[name], torch.randn(3, 6, 3, 4)
        out = dynamics(H, torch.tensor([[0.0, 0.5, 1e-6]] * 3))
        if name != "feed-forward":
            assert torch.equal(out[:, 0], H)
            assert torch.allclose(out[:, 2], H, atol=1e-4)

    def test_independence_from_other_lags_and_samples(self, name):
        dynamics, H = every_dynamics()[name], torch.randn(3, 6, 3, 4)
        times = torch.tensor([[0.1, 0.7, 1.0], [0.4, 0.2, 2.6], [0.9, 0.5, 1.3]])
        out = dynamics(H, times)
        for b in range(3):
            for t in range(3):
                alone = dynamics(H[b : b + 1], times[b : b + 1, t : t + 1])
                assert relative(alone[0, 0], out[b, t], (0, 1, 2)) < 1e-5

    def test_basis_independence(self, name):
        """Rotating eigenvectors inside eigenspaces changes nothing after the inverse transform."""
        dynamics, nodes = every_dynamics()[name], torch.randn(3, 6, 3 * 4)
        U = torch.tensor(BENZENE.vectors).float()
        mix = torch.block_diag(-torch.ones(1, 1), rotation(3), rotation(2, 1))
        times = torch.rand(3, 5)
        results = [
            V @ dynamics((V.T @ nodes).reshape(3, 6, 3, 4), times).flatten(-2).detach()
            for V in (U, U @ mix, U * torch.tensor([1, -1, 1, 1, -1, 1]))
        ]
        moved = (results[0] - nodes[:, None]).abs().max()
        assert moved > 0.3 or name == "identity"
        for other in results[1:]:
            assert (other - results[0]).abs().max() < 1e-5 * max(1.0, float(moved))

    def test_rotation_of_rows(self, name):
        dynamics, H = every_dynamics()[name], torch.randn(3, 6, 3, 4)
        times, Q = torch.rand(3, 5), rotation(3, 2)
        turned, out = dynamics(Q @ H, times).detach(), dynamics(H, times).detach()
        assert (turned - Q @ out).abs().max() < 1e-5 * max(1.0, float(out.abs().max()))


# Neural dynamics and its solver


def test_neural_against_an_independent_solver():
    torch.manual_seed(0)
    dynamics = rough(NeuralDynamics(VALUES, SPACES, 4, 16, rtol=1e-8, atol=1e-9)).double()
    H = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    times = torch.rand(2, 5, dtype=torch.float64).sort(1).values
    out = dynamics(H, times)
    for b in range(2):
        for space in range(3):
            members, frequency = (
                (space == SPACES).nonzero().flatten(),
                dynamics.frequency[space : space + 1],
            )
            expected = torchdiffeq.odeint(
                lambda t, z, f=frequency: dynamics.derivative(z, t[None], f),
                H[b, members].reshape(1, -1, 4),
                torch.cat([torch.zeros(1, dtype=torch.float64), times[b]]),
                rtol=1e-9,
                atol=1e-10,
            )[1:]
            found = out[b][:, members].reshape(expected.shape)
            assert relative(found, expected, (1, 2, 3)) < 1e-6


def test_default_tolerances_hold():
    coarse = rough(NeuralDynamics(VALUES, SPACES, 4, 16), 0.25)
    fine = NeuralDynamics(VALUES, SPACES, 4, 16, rtol=1e-9, atol=1e-10).double()
    fine.load_state_dict(coarse.state_dict())
    H, times = torch.randn(8, 6, 3, 4), torch.rand(8, 10)
    exact = fine(H.double(), times.double())
    assert (exact - H[:, None]).abs().max() > 0.3
    assert relative(coarse(H, times), exact, (0, 1, 2, 3, 4)) < 5e-3


@pytest.mark.parametrize("kind", ["skew", "nonnormal"])
def test_solver_agrees_with_the_closed_form(kind):
    W = torch.tensor(3 * matrix(kind, 4))
    start = torch.randn(6, 4, dtype=torch.float64)
    times = torch.rand(6, 5, dtype=torch.float64) * 1.8
    found, steps = solve(lambda t, y: y @ W, start, times, rtol=1e-9, atol=1e-10)
    exact = start[:, None, None] @ torch.matrix_exp(times[..., None, None] * W)
    assert torch.allclose(found, exact[:, :, 0], atol=1e-7)
    assert (steps.accepted <= steps.taken).all()
    assert (steps.accepted > 5).all()


def test_order_five():
    """y' = y cos t and a rotation: halving the step divides the error by 32."""

    def field(t, y):
        return torch.stack([y[:, 0] * torch.cos(t), -3 * y[:, 2], 3 * y[:, 1]], dim=1)

    start = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    exact = torch.stack([one.sin().exp(), (3 * one).cos(), (3 * one).sin()]).flatten()
    errors = [
        float((solve(field, start, one, step=2.0**-k)[0][0, 0] - exact).norm()) for k in range(2, 7)
    ]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(abs(orders[1:] - 5) < 0.3), orders


def test_dense_output_has_order_four():
    start, W = (
        torch.tensor([[1.0, 0.0]], dtype=torch.float64),
        3 * torch.tensor([[0.0, 1], [-1, 0]]),
    )
    times = torch.linspace(0, 1, 41, dtype=torch.float64)[None]
    exact = torch.stack([(3 * times[0]).cos(), (3 * times[0]).sin()], dim=-1)
    errors = [
        float((solve(lambda t, y: y @ W.double(), start, times, step=h)[0][0] - exact).abs().max())
        for h in (0.2, 0.1, 0.05)
    ]
    assert np.all(np.log2(np.array(errors[:-1]) / errors[1:]) > 3.7), errors


def test_stiffer_modes_take_more_steps():
    dynamics = NeuralDynamics(torch.tensor([0.0, 1.0, 9.0]), torch.arange(3), 2, 8)
    rate = torch.tensor([0.1, 3.0, 40.0])

    def decay(z, t, frequency):
        return -z * rate.repeat(4)[:, None, None]

    dynamics.derivative = decay
    H = torch.ones(4, 3, 1, 2)
    out = dynamics(H, torch.full((4, 1), 0.5))
    taken = dynamics.last_steps.taken
    assert taken.shape == (4, 3)
    assert (taken[:, 0] < taken[:, 1]).all()
    assert (taken[:, 1] < taken[:, 2]).all()
    assert torch.allclose(out[:, 0, :, 0, 0], torch.exp(-0.5 * rate).expand(4, 3), atol=2e-3)


def test_neural_gradients_against_finite_differences():
    torch.manual_seed(0)
    spaces = torch.tensor([0, 1, 0])
    dynamics = NeuralDynamics(torch.tensor([1.0, 2.0, 1.0]), spaces, 2, 3, rtol=1e-10, atol=1e-11)
    rough(dynamics, 0.5).double()
    H = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    times = torch.tensor([[0.31, 0.87]], dtype=torch.float64)
    names, weights = zip(*dynamics.named_parameters(), strict=True)

    def run(h, *values):
        return torch.func.functional_call(
            dynamics, dict(zip(names, values, strict=True)), (h, times)
        )

    assert torch.autograd.gradcheck(run, (H, *weights), atol=1e-6, rtol=1e-5, fast_mode=True)


def test_members_of_an_eigenspace_may_stand_apart():
    """Modes are sorted by eigenvalue in practice, but nothing relies on it."""
    values, spaces = torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1, 0, 1])
    dynamics = rough(NeuralDynamics(values, spaces, 3, 8))
    H, times, order = torch.randn(2, 3, 1, 3), torch.rand(2, 4), torch.tensor([1, 2, 0])
    sorted_one = NeuralDynamics(values[order], spaces[order], 3, 8)
    sorted_one.load_state_dict(
        {k: v for k, v in dynamics.state_dict().items() if k.split(".")[0] not in BUFFERS},
        strict=False,
    )
    assert torch.allclose(
        dynamics(H, times)[:, :, order], sorted_one(H[:, order], times), atol=1e-6
    )


def test_eigenvalues_of_a_basis_are_taken_as_they_are():
    """A basis is in double precision; the network has PyTorch's default."""
    basis = eigenbasis(laplacian(RING.index, 6), 3)
    values, spaces = torch.as_tensor(basis.values), torch.as_tensor(basis.spaces)
    H, times = torch.randn(2, len(values), 1, 4), torch.rand(2, 5)
    assert NeuralDynamics(values, spaces, 4)(H, times).dtype == torch.float32


def test_failure_is_named():
    start, times = torch.ones(2, 1), torch.ones(2, 1)
    with pytest.raises(SolverError, match=r"2 of 2 instances: 20 steps were not enough"):
        solve(lambda t, y: -1e4 * y, start, times, max_steps=20)
    with pytest.raises(SolverError, match="no longer finite"):
        solve(lambda t, y: y * torch.inf, start, times)
    with pytest.raises(SolverError, match="the ODE solver failed in 1 of 2"):
        solve(lambda t, y: y**2, torch.tensor([[0.1], [5.0]]), times)
    with pytest.raises(InputError, match="expected none before the start"):
        solve(lambda t, y: y, start, -times)
    with pytest.raises(InputError, match="expected none before the start"):
        solve(lambda t, y: y, start, times * torch.nan)
    for step in (0.0, -0.1):  # neither would ever arrive
        with pytest.raises(InputError, match=f"fixed step is {step}, expected more than 0"):
            solve(lambda t, y: y, start, times, step=step)
    for wrong in (times[0], times[:1]):
        with pytest.raises(InputError, match=r"start \(2, 1\) and times \(1,.*instance, feature"):
            solve(lambda t, y: y, start, wrong)


# Oscillators


def oscillators(spaces, count=3, *, seed=0, harmonic=False):
    dynamics = OscillatorDynamics(
        torch.tensor(spaces), 1000.0, torch.logspace(np.log10(60), np.log10(900), count)
    ).double()
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in dynamics.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
        if harmonic:
            dynamics.stretch.zero_()
            dynamics.broadening.zero_()
    return dynamics


def test_oscillators_return_the_start_and_its_velocity():
    dynamics = oscillators([0, 1, 1])
    state = torch.randn(2, 3, 3, 2, dtype=torch.float64)
    moved = dynamics(state, torch.tensor([[0.0, 1e-7], [0.0, 1e-7]], dtype=torch.float64))
    assert torch.allclose(moved[:, 0], state, atol=1e-14)
    slope = (moved[:, 1, ..., 0] - state[..., 0]) / 1e-4
    assert torch.allclose(slope, state[..., 1], atol=1e-4)


def test_one_oscillator_solves_its_equation():
    """u̇ = w, ẇ = −(ω² + γ²) u − 2γ w, by the matrix exponential."""
    dynamics = oscillators([0, 1], 1, harmonic=True)
    state = torch.randn(2, 2, 3, 2, dtype=torch.float64)
    times = torch.tensor([[0.01, 0.4, 1.0], [0.2, 0.6, 3.0]], dtype=torch.float64)
    moved = dynamics(state, times).detach().numpy()
    for mode in range(2):
        omega = float(dynamics.log_frequency[mode, 0].detach().exp())
        gamma = float(dynamics.log_damping[mode, 0].detach().exp())
        W = np.array([[0, 1], [-(omega**2 + gamma**2), -2 * gamma]])
        for sample in range(2):
            for k, t in enumerate(times[sample].tolist()):
                expected = state[sample, mode].numpy() @ scipy.linalg.expm(1000 * t * W).T
                np.testing.assert_allclose(moved[sample, k, mode], expected, atol=1e-12)


def test_a_mixture_is_the_derivative_consistent_sum_of_its_oscillators():
    """The velocity that comes out is the time derivative of the position that comes out."""
    dynamics = oscillators([0], 4)
    share = dynamics.logits.detach().softmax(-1)
    assert float(share.sum()) == pytest.approx(1)
    state = torch.randn(1, 1, 3, 2, dtype=torch.float64)
    times = torch.tensor([[0.3]], dtype=torch.float64, requires_grad=True)
    moved = dynamics(state, times)
    for row in range(3):
        (slope,) = torch.autograd.grad(moved[0, 0, 0, row, 0], times, retain_graph=True)
        assert float(slope) / 1000 == pytest.approx(float(moved[0, 0, 0, row, 1].detach()))


def test_oscillators_forget():
    dynamics = oscillators([0, 1])
    state = torch.randn(1, 2, 3, 2, dtype=torch.float64)
    far = dynamics(state, torch.tensor([[1e4]], dtype=torch.float64))
    assert far.abs().max() < 1e-12


def test_modes_of_one_eigenspace_move_alike():
    dynamics = oscillators([0, 1, 1])
    state = torch.randn(2, 3, 3, 2, dtype=torch.float64)
    times = torch.rand(2, 4, dtype=torch.float64)
    Q = rotation(2).double()
    turned = state.clone()
    turned[:, 1:] = torch.einsum("ij,bjrf->birf", Q, state[:, 1:])
    expected = dynamics(state, times)
    expected[:, :, 1:] = torch.einsum("ij,btjrf->btirf", Q, expected[:, :, 1:].clone())
    assert torch.allclose(dynamics(turned, times), expected, atol=1e-12)


def test_a_stationary_mixture_is_the_best_linear_prediction():
    """Undamped oscillators of random phase: regression on u and w finds these coefficients."""
    rng = np.random.default_rng(0)
    periods, shares = np.array([70.0, 300.0, 800.0]), np.array([0.2, 0.5, 0.3])
    omega = 2 * np.pi / periods
    dynamics = OscillatorDynamics(torch.tensor([0]), 1000.0, [1.0, 1.0, 1.0]).double()
    with torch.no_grad():
        dynamics.log_frequency.copy_(torch.from_numpy(np.log(omega))[None])
        dynamics.log_damping.fill_(-40.0)
        dynamics.logits.copy_(torch.from_numpy(np.log(shares))[None])
    size = np.sqrt(shares) * rng.rayleigh(size=(200_000, 3))  # Gaussian amplitudes
    phase = rng.uniform(0, 2 * np.pi, size.shape)

    def signal(tau):
        return (size * np.cos(omega * tau + phase)).sum(1)

    start = np.stack([signal(0.0), -(size * omega * np.sin(phase)).sum(1)], 1)
    unit = torch.eye(2, dtype=torch.float64)[None, None]  # rows: u alone, w alone
    for tau in (20.0, 150.0, 610.0):
        found = dynamics(unit, torch.tensor([[tau / 1000]], dtype=torch.float64))[0, 0, 0, :, 0]
        fitted = np.linalg.lstsq(start, signal(tau), rcond=None)[0]
        scale = np.array([1.0, start[:, 0].std() / start[:, 1].std()])
        np.testing.assert_allclose(found.detach().numpy() / scale, fitted / scale, atol=0.01)


def test_shares_are_fitted_to_motion_that_is_known():
    """The shares that made a motion are found; what never changes belongs to the slowest."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(40, 3, 3, generator=generator)
    times = torch.rand(40, 5, generator=generator)
    dynamics = OscillatorDynamics(torch.tensor([0, 1, 1]), 1000.0, [60.0, 500.0, 1e6])
    shares = torch.tensor([[0.2, 0.7, 0.1], [0.6, 0.1, 0.3]])
    dynamics.logits.data.copy_(shares.log())
    still = torch.stack([start, torch.zeros_like(start)], -1)
    later = dynamics(still, times)[..., 0].detach()
    dynamics.logits.data.zero_()
    dynamics.fit_shares(start, later, times)
    torch.testing.assert_close(dynamics.logits.softmax(-1), shares, atol=0.02, rtol=0)

    dynamics.fit_shares(start, start[:, None].expand_as(later), times)
    assert (dynamics.logits.softmax(-1)[:, 2] > 0.98).all()
    dynamics.fit_shares(start, torch.zeros_like(later), times)  # forgotten at once
    assert (dynamics.logits.softmax(-1)[:, 2] < 0.05).all()


def test_what_begins_at_zero_but_for_rounding_has_the_resonance_alone():
    """Rounding errors say nothing of shares: a slow one would carry the velocity far away."""
    generator = torch.Generator().manual_seed(0)
    velocity = 1e-2 * torch.randn(200, 1, 3, generator=generator)
    later = 1e-2 * torch.randn(200, 6, 1, 3, generator=generator)
    times = torch.rand(200, 6, generator=generator)
    start = 1e-6 * (later * torch.exp(-3 * times)[..., None, None]).mean(1)
    dynamics = OscillatorDynamics(torch.zeros(1, dtype=torch.long), 1500.0)
    dynamics.fit(start, velocity, later, times)
    assert dynamics.logits.softmax(-1)[0, 0] > 0.99
    found = dynamics(torch.stack([start, velocity], -1), times)[..., 0]
    assert (found - later).square().mean() < 1.02 * later.square().mean()


def recorded(positions, velocities, samples, lags, generator):
    """Windows of two long signals ``(step,)`` of 1 fs: start, velocity, later, t of a horizon."""
    starts = torch.randint(0, len(positions) - 1001, (samples,), generator=generator)
    steps = torch.randint(1, 1001, (samples, lags), generator=generator)
    later = positions[starts[:, None] + steps]
    return (
        positions[starts, None, None],
        velocities[starts, None, None],
        later[..., None, None],
        steps.double() / 1000.0,
    )


def test_a_resonance_is_found():
    """A damped oscillator driven by noise: its frequency and damping, from windows of it."""
    omega, gamma, generator = 2 * math.pi / 180, 1 / 700, torch.Generator().manual_seed(0)
    W = np.array([[0, 1], [-(omega**2 + gamma**2), -2 * gamma]])
    step, kicks = scipy.linalg.expm(W), torch.randn(100_000, generator=generator).numpy()
    state, states = np.zeros(2), []
    for kick in kicks:
        state = step @ state + np.array([0.0, kick])
        states.append(state)
    signal = torch.tensor(np.array(states))[5000:]
    dynamics = OscillatorDynamics(torch.tensor([0]), 1000.0).double()
    dynamics.fit(*recorded(*signal.T, 2000, 8, generator))
    assert float(dynamics.log_frequency[0, 0].detach().exp()) == pytest.approx(omega, rel=0.05)
    assert float(dynamics.log_damping[0, 0].detach().exp()) == pytest.approx(gamma, rel=0.5)
    assert float(dynamics.logits.detach().softmax(-1)[0, 0]) > 0.9
    torch.testing.assert_close(
        dynamics.size[:, 0], signal.square().mean(0).sqrt(), rtol=0.1, atol=0
    )


def duffing(amplitudes, softening, steps=1000):
    """u̇̇ = −ω² u (1 − softening u²) with a period of 150 fs for small u, from rest; (step, 2)."""
    omega = 2 * math.pi / 150

    def slope(_, y):
        u, w = y.reshape(2, -1)
        return np.concatenate([w, -(omega**2) * u * (1 - softening * u**2)])

    start = np.concatenate([amplitudes, np.zeros_like(amplitudes)])
    found = scipy.integrate.solve_ivp(
        slope, (0, steps), start, t_eval=np.arange(steps + 1), rtol=1e-9, atol=1e-9
    )
    return torch.from_numpy(found.y.reshape(2, len(amplitudes), -1))


def test_the_period_grows_with_the_energy():
    """Duffing oscillators of many energies: exact periods, and prediction over seven of them."""
    generator = torch.Generator().manual_seed(1)
    amplitudes = 2 * torch.rand(200, generator=generator, dtype=torch.float64) + 0.1
    u, w = duffing(amplitudes.numpy(), softening=0.05, steps=1200)
    first = torch.randint(0, 200, (200,), generator=generator)
    steps = torch.randint(1, 1001, (200, 8), generator=generator)
    each = torch.arange(200)
    start, velocity = u[each, first], w[each, first]
    later, times = u[each[:, None], first[:, None] + steps], steps / 1000.0
    dynamics = OscillatorDynamics(torch.tensor([0]), 1000.0).double()
    dynamics.fit(
        start[:, None, None], velocity[:, None, None], later[..., None, None], times.double()
    )
    state = torch.stack([start, velocity], -1)[:, None, None]

    def error():
        moved = dynamics(state, times.double())[..., 0, 0, 0]
        return float((moved - later).square().mean().detach() / later.square().mean())

    anharmonic = error()
    # a pendulum-like softening: the period grows by 3/8 of softening times amplitude², to first
    # order; the mean of amplitude²/2 is the energy of size one
    expected = 3 / 8 * 0.05 * float(amplitudes.square().mean())
    assert float(dynamics.stretch[0, 0].detach()) / 10 == pytest.approx(expected, rel=0.35)
    dynamics.stretch.data.zero_()
    assert anharmonic < 0.1
    assert error() > 0.3


def test_anharmonic_oscillators_are_odd_and_do_not_know_the_eigenvectors():
    dynamics = oscillators([0, 1, 1])
    state = torch.randn(2, 3, 3, 2, dtype=torch.float64)
    times = torch.rand(2, 4, dtype=torch.float64)
    assert dynamics.stretch.abs().min() > 0
    torch.testing.assert_close(dynamics(-state, times), -dynamics(state, times))
    loud = dynamics(3 * state, times)
    assert not torch.allclose(loud, 3 * dynamics(state, times), atol=1e-3)
    far = dynamics(1e3 * state, times)  # energies count up to a limit
    torch.testing.assert_close(far, 2 * dynamics(500 * state, times))


def test_a_mode_that_moves_by_rounding_alone_moves_no_other():
    dynamics = oscillators([0, 1, 2])
    dynamics.size[:, 1] = 1e-9
    state = torch.randn(2, 3, 3, 2, dtype=torch.float64)
    state[:, 1] = 0.0
    times = torch.rand(2, 4, dtype=torch.float64)
    still = dynamics(state, times)
    state[:, 1] = 1e-7
    others = dynamics(state, times)[:, :, [0, 2]]
    torch.testing.assert_close(others, still[:, :, [0, 2]], atol=1e-5, rtol=1e-5)


# Settling


def test_what_settles_returns_the_start_and_its_velocity():
    dynamics = SettlingDynamics(oscillators([0, 1, 2]), 3, 1000.0).double()
    dynamics.curves.data.copy_(torch.randn(2, 3, 17))
    dynamics.log_times.data.copy_(torch.tensor([400.0, 300.0]).log()[:, None].expand(2, 3))
    state = torch.randn(2, 3, 1, 2, dtype=torch.float64)
    rest, drift = dynamics.rest(state[..., 0])
    assert min(rest.abs().max(), drift.abs().max()) > 0.1
    times = torch.tensor([[0.0, 1e-7, 1e4]] * 2, dtype=torch.float64)
    moved = dynamics(state, times)
    torch.testing.assert_close(moved[:, 0], state)
    slope = (moved[:, 1, ..., 0] - state[..., 0]) / 1e-4
    torch.testing.assert_close(slope, state[..., 1], atol=1e-4, rtol=0)
    torch.testing.assert_close(moved[:, 2, ..., 0], drift)  # it has drifted, and all else faded

    later = torch.tensor([[0.3]] * 2, dtype=torch.float64, requires_grad=True)
    moved = dynamics(state, later)
    (slope,) = torch.autograd.grad(moved[..., 0].sum(), later)
    torch.testing.assert_close(slope[:, 0] / 1000, moved[..., 1].sum((1, 2, 3)).detach())


def test_out_of_a_plane_both_sides_are_alike():
    """Curves of an odd mode are Σ_j c_j (G_j(u) − G_j(−u)); those of others are as they are."""
    dynamics = SettlingDynamics(oscillators([0, 1]), 2, 1000.0).double()
    dynamics.odd[1] = True
    dynamics.curves.data.copy_(torch.randn(2, 2, 17, generator=torch.Generator().manual_seed(0)))
    u = torch.tensor([[[0.7], [1.1]], [[-2.0], [0.4]], [[0.0], [0.0]]], dtype=torch.float64)
    centres = np.arange(-4, 4.1, 0.5)
    for curve, found in zip(dynamics.curves.detach().numpy(), dynamics.rest(u), strict=True):
        for sample, expected in zip(u[..., 0].numpy(), found[..., 0].detach().numpy(), strict=True):
            near, far = (np.exp(-((side * sample[:, None] - centres) ** 2)) for side in (1, -1))
            assert expected[0] == pytest.approx(curve[0] @ near[0])
            assert expected[1] == pytest.approx(curve[1] @ (near[1] - far[1]))


def test_another_conformer_stays_while_it_vibrates():
    """Far from all of training in one mode, no mode falls back to its mean."""
    generator = torch.Generator().manual_seed(0)
    start, velocity = torch.randn(2, 400, 3, 1, generator=generator)
    later = torch.randn(400, 4, 3, 1, generator=generator)
    times = torch.rand(400, 4, generator=generator)
    dynamics = SettlingDynamics(oscillators([0, 1, 2]), 3, 1000.0).float()
    start[:, 2] = later[:, :, 2] = 0.0  # a mode without motion
    dynamics.fit(start, 0.01 * velocity, later, times)
    largest = torch.maximum(start.abs().amax(0), later.abs().amax((0, 1)))
    within = torch.stack([1.4 * largest, torch.zeros(3, 1)], -1)
    beyond = torch.stack([torch.tensor([[2.5], [0.5], [0.0]]) * largest, torch.zeros(3, 1)], -1)
    far = dynamics(torch.stack([within, beyond]), torch.full((2, 1), 1.0))[:, 0, ..., 0]
    assert far[0].abs().max() < 0.2 * largest.max()
    torch.testing.assert_close(far[1], beyond[..., 0], rtol=0.01, atol=0.01)
    rest, _ = dynamics.rest(start)
    assert rest.isfinite().all()


def test_another_conformer_stays_whatever_is_known_of_its_other_modes():
    """Curves of the modes that are within their range do not move it (rings of ferrocene)."""
    dynamics = SettlingDynamics(oscillators([0, 1, 2]), 3, 1000.0).float()
    dynamics.largest.fill_(3.0)
    dynamics.curves.data.copy_(torch.randn(2, 3, 17, generator=torch.Generator().manual_seed(0)))
    u = torch.tensor([[8.0], [0.5], [-1.0]])[None]
    rest, drift = dynamics.rest(u)
    torch.testing.assert_close(rest, u)
    assert not drift.any()
    later = dynamics(torch.stack([u, torch.zeros_like(u)], -1), torch.tensor([[0.03, 0.3, 1.0]]))
    torch.testing.assert_close(later[..., 0], u[:, None].expand(-1, 3, -1, -1), rtol=0.01, atol=0)


def test_a_mode_that_was_cold_in_training_is_hot_and_no_other_conformer():
    """Its amplitude at the mean temperature counts, by the velocities of all modes."""
    generator = torch.Generator().manual_seed(0)
    start, velocity = torch.randn(2, 4000, 2, 1, generator=generator)
    later = torch.randn(4000, 4, 2, 1, generator=generator)
    cold = torch.tensor([1.0, 0.2])[:, None]
    dynamics = SettlingDynamics(oscillators([0, 1]), 2, 1000.0).float()
    dynamics.inertia.copy_(torch.tensor([[3.0], [3.0]]))
    times = torch.rand(4000, 4, generator=generator)
    dynamics.fit(cold * start, cold * velocity, cold * later, times)
    expected = 4 * ((1 + 0.2**2) / 2) ** 0.5  # as both would vibrate at the mean temperature
    assert float(dynamics.largest[1]) == pytest.approx(expected, rel=0.1)
    assert float(dynamics.largest[0]) > expected  # which has been seen there


def test_a_mode_of_two_minima_settles_in_its_own(monkeypatch):
    """u = ±1 for good, with a vibration on it, beside a mode of one minimum."""
    generator = torch.Generator().manual_seed(0)
    count, omega = 600, 2 * math.pi / 120
    side = torch.randint(0, 2, (count,), generator=generator) * 2.0 - 1
    phase = 2 * math.pi * torch.rand(count, 2, generator=generator)
    steps = torch.randint(1, 1001, (count, 8), generator=generator)
    centre = torch.stack([side, torch.zeros(count)], -1)

    def at(time):
        return 0.3 * torch.cos(omega * time + phase[:, None]) + centre[:, None]

    start, later = at(torch.zeros(count, 1, 1))[:, 0], at(steps[..., None])
    velocity = -0.3 * omega * torch.sin(phase)
    dynamics = SettlingDynamics(OscillatorDynamics(torch.arange(2), 1000.0), 2, 1000.0)
    fit, given = dynamics.vibrations.fit, []
    monkeypatch.setattr(dynamics.vibrations, "fit", lambda *each: (given.extend(each), fit(*each)))
    dynamics.fit(start[..., None], velocity[..., None], later[..., None], steps / 1000.0)
    # what vibrates is what is left without the sides
    assert (given[0][..., 0] - (start - centre)).square().mean() < 0.01
    assert (given[2][..., 0] - (later - centre[:, None])).square().mean() < 0.01
    rest, drift = dynamics.rest(torch.tensor([[[1.0], [0.2]], [[-1.2], [0.3]]]))
    torch.testing.assert_close(rest[:, 0, 0].detach(), torch.tensor([1.0, -1.0]), atol=0.15, rtol=0)
    assert drift[:, 0].abs().max() < 0.1
    assert not torch.stack([rest, drift])[:, :, 1].any()  # nothing to be known, no curve
    state = torch.stack([start, velocity], -1)[:, :, None]
    moved = dynamics(state, steps / 1000.0)[..., 0, 0]
    assert (moved - later).square().mean() < 0.01


def test_a_mode_that_drifts_to_a_side_is_followed_there():
    """Vibrations fade, and the side of the start is reached in a third of the horizon."""
    generator, horizon = torch.Generator().manual_seed(0), 1500.0
    start = torch.randn(600, 1, 1, generator=generator)
    velocity = 0.06 * torch.randn(600, 1, 1, generator=generator)
    times = torch.rand(600, 8, generator=generator)
    c, s = kernels(torch.tensor(0.06), torch.tensor(0.02), horizon * times)
    arrived = 1 - torch.exp(-3 * times) * (1 + 3 * times)
    later = c * start[..., 0] + s * velocity[..., 0] + arrived * (1.5 * start[..., 0]).tanh()
    later = later[..., None, None]
    dynamics = SettlingDynamics(OscillatorDynamics(torch.tensor([0]), horizon), 1, horizon)
    dynamics.fit(start, velocity, later, times)
    rest, drift = dynamics.rest(torch.tensor([[[1.0]], [[-1.0]]]))
    expected = torch.tensor([1.5, -1.5]).tanh()
    torch.testing.assert_close(drift.flatten().detach(), expected, atol=0.05, rtol=0)
    assert rest.abs().max() < 0.05
    moved = dynamics(torch.stack([start, velocity], -1), times)[..., 0]
    assert (moved - later).square().mean() < 0.02 * later.square().mean()


def _recorded(omega, gamma, noise, seed=0):
    """Motion of damped oscillators, one in each space, of many starts and irregular lags.

    Frequencies ``(space,)``, or one for each start, ``(60, 1, space)``.
    """
    generator = torch.Generator().manual_seed(seed)
    lags = (1500 * torch.rand(60, 8, generator=generator)).round().double()
    u, w = torch.randn(2, 60, 1, len(gamma), generator=generator, dtype=torch.float64)
    w = w * omega
    c, s = kernels(omega, gamma, lags[..., None])
    y = c * u + s * w + noise * torch.randn(c.shape, generator=generator, dtype=torch.float64)

    def flat(x):
        return x.expand(60, 8, -1).flatten(0, 1)

    products = (u * u, w * w, u * w, u * y, w * y, y * y)
    return Moments(lags.reshape(-1, 1), *map(flat, products))


@pytest.mark.parametrize("size", [1.0, 1e-6])
def test_anharmonicity_is_found_where_there_is_some_and_worth_it(size):
    """Periods that grow by χ (E − 1), or shrink, or are the same for all starts."""
    omega = torch.tensor([0.02, 0.05, 0.03], dtype=torch.float64)
    gamma = torch.tensor([0.002, 0.001, 0.002], dtype=torch.float64)
    chi = torch.tensor([0.05, -0.03, 0.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    energy = torch.rand(60, 1, 1, generator=generator).double().log().neg().clamp(max=3) - 1
    longer = torch.where(chi * energy > 0, 1 + chi * energy, 0.5 + 0.5 * (2 * chi * energy).exp())
    motion = _recorded(omega / longer, gamma, 0.3)
    motion = Moments(motion.lags, *(size * x for x in motion[1:]))
    energy = energy.expand(60, 8, 3).flatten(0, 1)
    found = find_anharmonicity(1.03 * omega, 2 * gamma, motion, energy)
    torch.testing.assert_close(found[0], omega, rtol=0.01, atol=0)
    torch.testing.assert_close(found[1], gamma, rtol=0.01, atol=0)  # one of ¼, ½ and 1
    torch.testing.assert_close(found[2], chi, rtol=0, atol=0.006)
    assert found[2][2] == 0


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_no_other_oscillator_explains_a_motion_better_than_the_resonance_found(noise):
    omega = torch.tensor([0.01, 0.05, 0.3], dtype=torch.float64)
    gamma = torch.tensor([0.008, 0.001, 0.002], dtype=torch.float64)
    motion = _recorded(omega, gamma, noise)
    natural = (omega**2 + gamma**2).sqrt()
    found = find_resonance(natural, motion, torch.full_like(natural, 1.6))
    if noise == 0:
        assert found[0] == pytest.approx(omega, rel=0.03)
        assert found[1] == pytest.approx(gamma, rel=0.2)

    least = motion.error(*kernels(*found, motion.lags))
    for ratio in torch.logspace(-3, 0.6, 25).tolist():
        for total in torch.linspace(0.64, 1.56, 93).tolist():
            rate = total * natural / math.hypot(1, ratio)
            error = motion.error(*kernels(rate, ratio * rate, motion.lags))
            # the grid may lie a little aside of the best
            assert (least <= error + 0.005 * motion.yy.sum(0)).all()
