"""Free rotation in closed form against numerical integration and exact special cases."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation

from gfnode.dynamics.rigid import free_rotation, steered_rotation
from gfnode.geometry import rotation_matrix
from processes import python

TIMES = np.linspace(0, 40, 21)


def integrate(L: np.ndarray, J: np.ndarray) -> np.ndarray:
    inverse = np.linalg.inv(J)

    def rate(_: float, y: np.ndarray) -> np.ndarray:
        R = y.reshape(3, 3)
        return np.cross((R @ inverse @ R.T @ L)[:, None], R, axis=0).ravel()

    start = np.eye(3).ravel()
    found = solve_ivp(rate, (0, TIMES[-1]), start, "DOP853", TIMES, rtol=1e-12, atol=1e-13)
    return found.y.T.reshape(-1, 3, 3)


def rotate(L: np.ndarray, J: np.ndarray, times: np.ndarray) -> np.ndarray:
    tensors = (torch.from_numpy(np.asarray(a, dtype=float))[None] for a in (L, J, times))
    return free_rotation(*tensors)[0].numpy()


# principal moments and angular momentum along the principal axes
TOPS = {
    "low energy": ([1, 2, 2.5], [0.3, 0.5, 2.0]),
    "low energy, backwards": ([1, 2, 2.5], [0.3, -0.5, -2.0]),
    "high energy": ([1, 2, 2.5], [1.0, 0.5, 0.3]),
    "high energy, backwards": ([1, 2, 2.5], [-1.0, -0.5, 0.3]),
    "oblate": ([1, 1, 1.5], [0.3, 0.5, 0.7]),
    "oblate, about the equator": ([1, 1, 1.5], [0.6, 0.8, 0.0]),
    "prolate": ([1, 2, 2], [0.3, 0.5, 0.7]),
    "prolate, about the equator": ([1, 2, 2], [0.0, 0.6, 0.8]),
    "nearly prolate": ([1, 2, 2 + 1e-9], [0.3, 0.5, 0.7]),
    "sphere": ([2, 2, 2], [0.3, 0.5, 0.7]),
    "first axis": ([1, 2, 2.5], [1, 0, 0]),
    "last axis": ([1, 2, 2.5], [0, 0, -1]),
    "close to the middle axis": ([1, 2, 2.5], [1e-5, 1, 1e-5]),
    "nearly linear": ([0.02, 2, 2.01], [0.01, 0.5, 0.7]),
    "at rest": ([1, 2, 2.5], [0, 0, 0]),
}


@pytest.mark.parametrize("name", TOPS)
def test_agrees_with_integration(name: str) -> None:
    moments, ell = TOPS[name]
    axes = Rotation.random(rng=1).as_matrix()
    J, L = axes @ np.diag(moments) @ axes.T, axes @ ell
    np.testing.assert_allclose(rotate(L, J, TIMES), integrate(L, J), atol=1e-9)


@pytest.mark.parametrize("ell", [[0, 1, 0], [1.0, 0.5, np.sqrt(5.0)]])
def test_on_the_separatrix(ell: list[float]) -> None:
    """The unstable motion amplifies rounding; up to some radians it is still right."""
    J, early = np.diag([1, 2, 2.5]), slice(0, 6)
    np.testing.assert_allclose(
        rotate(np.array(ell), J, TIMES)[early], integrate(np.array(ell), J)[early], atol=1e-5
    )


def test_linear_body_ignores_momentum_along_its_axis() -> None:
    found = rotate(np.array([5.0, 0.4, 0.0]), np.diag([1e-9, 2.0, 2.0]), TIMES)
    expected = rotation_matrix(
        torch.from_numpy(TIMES)[:, None] * torch.tensor([0, 0.2, 0], dtype=torch.float64)
    )
    np.testing.assert_allclose(found, expected, atol=1e-7)
    np.testing.assert_array_equal(rotate(np.ones(3), np.zeros((3, 3)), TIMES[:1])[0], np.eye(3))


vector = st.tuples(*[st.floats(-3, 3)] * 3).map(np.array)


@given(vector, vector, st.floats(0, 1e4), st.integers(0, 100))
@example(np.zeros(3), np.array([0.0, 0.0, 9.7e-161]), 0.0, 0)  # their squares underflow
@example(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 2.5e-213]), 0.0, 0)
def test_any_body(half_widths: np.ndarray, L: np.ndarray, time: float, seed: int) -> None:
    """A rotation that keeps the energy; going on from half way gives the same."""
    axes = Rotation.random(rng=seed).as_matrix()
    squares = half_widths**2 + 1e-3
    J = axes @ np.diag(squares.sum() - squares) @ axes.T  # of six masses on the axes
    half, whole = rotate(L, J, np.array([time / 2, time]))
    np.testing.assert_allclose(whole @ whole.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(whole), 1, atol=1e-12)
    scale = max(L @ np.linalg.solve(J, L), 1e-12)
    for R in (half, whole):
        ell = R.T @ L
        assert ell @ np.linalg.solve(J, ell) == pytest.approx(scale, rel=1e-5, abs=1e-9)


def steered(L, J, s, times, **options):
    return steered_rotation(L[:, None], torch.linalg.inv(J)[:, None], s, times, **options)


def test_steering_without_spins_is_free_rotation_to_fourth_order() -> None:
    generator = torch.Generator().manual_seed(0)
    J = torch.diag(torch.tensor([15.0, 50.0, 60.0])).double().expand(4, 3, 3)
    L = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    times = torch.tensor([[10.0, 60.0]]).double().expand(4, 2)
    exact, none = free_rotation(L, J, times), torch.zeros(4, 2, 3, dtype=torch.float64)
    errors = [float((steered(L, J, none, times, steps=n) - exact).abs().max()) for n in (8, 16, 32)]
    assert errors[1] < 2e-4
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.2)
    assert errors[1] / errors[2] == pytest.approx(16, rel=0.2)


def test_too_few_steps_keep_the_size_of_the_angular_momentum():
    """What is asked of a spin that is far too fast is wrong, but it is a rotation."""
    J = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 4.0]]])
    L = torch.tensor([[3.0, 2.0, 1.0]])
    turns = steered(L, J, torch.tensor([[0.1, 0.2, 0.3]]), torch.tensor([[30.0, 100.0]]), steps=4)
    eye = torch.eye(3).expand(1, 2, 3, 3)
    torch.testing.assert_close(turns @ turns.mT, eye, atol=1e-5, rtol=0)


def test_parts_that_spin_turn_the_rest() -> None:
    """Against the equation, integrated with scipy; without total momentum it is one turn."""
    J = torch.tensor([[[20.0, 2.0, 0.0], [2.0, 45.0, 3.0], [0.0, 3.0, 55.0]]]).double()
    L, s = torch.tensor([[0.6, -0.3, 0.4]]).double(), torch.tensor([[[0.5, 0.2, -0.7]]]).double()
    times = torch.tensor([[80.0]]).double()
    inverse = np.linalg.inv(J[0].numpy())

    def slope(_: float, flat: np.ndarray) -> np.ndarray:
        R = flat.reshape(3, 3)
        x, y, z = inverse @ (R.T @ L[0].numpy() - s[0, 0].numpy())
        return (R @ np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])).ravel()

    exact = solve_ivp(slope, (0, 80), np.eye(3).ravel(), rtol=1e-10, atol=1e-12).y[:, -1]
    found = steered(L, J, s, times, steps=32)[0, 0].numpy()
    np.testing.assert_allclose(found, exact.reshape(3, 3), atol=1e-4)
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-12)

    found = steered(0 * L, J, s, times, steps=1)
    once = rotation_matrix(-80 * (torch.linalg.inv(J)[0] @ s[0, 0]))
    torch.testing.assert_close(found[0, 0], once)


def test_steering_is_differentiable() -> None:
    J = torch.diag(torch.tensor([15.0, 50.0, 60.0])).double()[None]
    L, s = (torch.randn(1, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    times = torch.tensor([[7.0]], dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda L, s, t: steered(L, J, s[:, None], t, steps=3), (L, s, times))


def test_nothing_heavy_is_loaded():
    """PyTorch's broadcast_shapes loads sympy, a second of every prediction."""
    code = (
        "import sys, torch; from gfnode.dynamics.rigid import steered_rotation as turn; "
        "turn(torch.ones(3), torch.eye(3), torch.zeros(3), torch.ones(2)); "
        "sys.exit('sympy' in sys.modules)"
    )
    python("-c", code)
