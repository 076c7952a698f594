"""Synthetic systems: conservation laws, closed forms, and the rigid rotor's answer to them."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from gfnode import geometry
from gfnode.dynamics.rigid import free_rotation
from gfnode.errors import InputError
from gfnode.simulate import Motion, asymmetric_top, counter_rotors, harmonic_network
from gfnode.units import BOLTZMANN

TIMES = np.linspace(0, 1500, 61)


def momenta(motion: Motion) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P, L and kinetic energy at every time, and the sizes they are made of."""
    x, v = (torch.from_numpy(a) for a in motion.state(TIMES))
    masses = torch.from_numpy(motion.masses)
    kinetic = (masses[:, None] * v.square()).sum((1, 2)) / 2
    P = geometry.momentum(v, masses)
    return P.numpy(), geometry.angular_momentum(x, v, masses).numpy(), kinetic.numpy()


MOTIONS = {
    "network": harmonic_network(seed=3),
    "mixed network": harmonic_network(
        np.random.default_rng(0).normal(size=(5, 3)),
        [[0, 1], [1, 2], [2, 3], [3, 4], [1, 3]],
        [6, 8, 1, 7, 1],
        stiffness=[0.03, 0.1, 0.05, 0.2, 0.01],
    ),
    "top": asymmetric_top(drift=(1e-3, 0, -2e-3)),
    "rotors": counter_rotors(),
}


@pytest.mark.parametrize("name", MOTIONS)
def test_velocities_are_the_derivative(name: str) -> None:
    motion = MOTIONS[name]
    h = 1e-3
    ahead, behind = motion.state(TIMES + 2 * h)[0], motion.state(TIMES)[0]
    np.testing.assert_allclose((ahead - behind) / (2 * h), motion.state(TIMES + h)[1], atol=1e-7)


def test_trajectory_holds_the_motion() -> None:
    motion = counter_rotors(seed=2)
    trajectory = motion.trajectory(frames=200, step=0.5)
    assert len(trajectory) == 200
    assert trajectory.spacing == 0.5
    assert trajectory.formula == "C7H8"
    x, v = motion.state(trajectory.times)
    np.testing.assert_allclose(trajectory.positions, x, atol=1e-6)
    np.testing.assert_allclose(trajectory.velocities, v, atol=1e-8)
    again = counter_rotors(seed=2).trajectory(frames=200, step=0.5)
    assert again.fingerprint == trajectory.fingerprint
    assert counter_rotors(seed=3).trajectory(200).fingerprint != trajectory.fingerprint


def test_network_modes_are_those_of_the_graph_laplacian() -> None:
    """Equal masses: amplitude of each Laplacian mode is a cosine of frequency √(Kλ/m)."""
    motion = harmonic_network(stiffness=0.07, seed=1)
    ring = np.roll(np.eye(6), 1, 0)
    values, vectors = np.linalg.eigh(2 * np.eye(6) - ring - ring.T)
    np.testing.assert_allclose(values, [0, 1, 1, 3, 3, 4], atol=1e-12)
    omega = np.sqrt(0.07 * np.maximum(values, 0) / motion.masses[0])
    x, v = motion.state(TIMES)
    modes = vectors.T @ (x - motion.reference)
    q0, p0 = modes[0], (vectors.T @ v)[0]
    assert np.abs(q0[1:]).min() > 1e-4
    phase = (omega * TIMES[:, None])[..., None]
    expected = q0 * np.cos(phase) + np.divide(p0, omega[:, None] + 1e-30) * np.sin(phase)
    np.testing.assert_allclose(modes[:, 1:], expected[:, 1:], atol=1e-12)
    np.testing.assert_allclose(modes[:, 0], 0, atol=1e-12)


@pytest.mark.parametrize("name", ["network", "mixed network"])
def test_network_conserves_energy_and_momentum(name: str) -> None:
    motion = MOTIONS[name]
    energy = motion.energy(TIMES)
    np.testing.assert_allclose(energy, energy[0], rtol=1e-12)
    P, _, kinetic = momenta(motion)
    np.testing.assert_allclose(P, 0, atol=1e-12)
    assert np.ptp(kinetic) > 0.1 * energy[0]


@pytest.mark.parametrize("damping", [0.0, 1e-3, 2 * np.sqrt(0.05 / 12.011), 1.0])
def test_network_solves_its_equation(damping: float) -> None:
    """Also at critical damping of one mode, and far beyond."""
    motion = harmonic_network(damping=damping, seed=5)
    masses = motion.masses[:, None]

    def rate(_: float, y: np.ndarray) -> np.ndarray:
        u, v = y.reshape(2, 6, 3)
        return np.stack([v, -motion.laplacian @ u / masses - damping * v]).ravel()

    x, v = motion.state(TIMES)
    begin = np.stack([x[0] - motion.reference, v[0]])
    found = solve_ivp(rate, (0, 1500), begin.ravel(), "DOP853", TIMES, rtol=1e-11, atol=1e-12)
    u, speed = np.moveaxis(found.y.T.reshape(-1, 2, 6, 3), 1, 0)
    np.testing.assert_allclose(x - motion.reference, u, atol=1e-7)
    np.testing.assert_allclose(v, speed, atol=1e-7)


def test_network_is_thermal() -> None:
    energies = [harmonic_network(seed=s).energy([0.0])[0] for s in range(300)]
    assert np.mean(energies) == pytest.approx(15 * BOLTZMANN * 300, rel=0.05)  # (6 − 1) × 3 modes


TOPS = {
    "thermal": {},
    "round the greatest": {"spin": [1e-3, 2e-3, 6e-3]},
    "round the smallest, backwards": {"spin": [-9e-3, 2e-3, 1e-3]},
    "near the middle axis": {"spin": [1e-4, 6e-3, 1e-4]},
    "water": {"molecule": "H2O", "seed": 4},
}


@pytest.mark.parametrize("name", TOPS)
def test_top_conserves_its_momenta_and_energy(name: str) -> None:
    motion = asymmetric_top(drift=(1e-3, 2e-3, 0), **TOPS[name])
    P, L, kinetic = momenta(motion)
    mass = motion.masses.sum()
    np.testing.assert_allclose(P, mass * motion.drift + np.zeros((61, 1)), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(L, L[:1] + np.zeros((61, 1)), atol=1e-8 * np.abs(L).max())
    np.testing.assert_allclose(kinetic, kinetic[0], rtol=1e-10)
    distances = torch.cdist(*[torch.from_numpy(motion.state(TIMES)[0])] * 2)
    np.testing.assert_allclose(distances, distances[:1].expand_as(distances), atol=1e-7)


@pytest.mark.parametrize("name", TOPS)
def test_elliptic_functions_solve_eulers_equations(name: str) -> None:
    motion = asymmetric_top(**TOPS[name])
    J = motion.moments

    def euler(_: float, w: np.ndarray) -> np.ndarray:
        return np.cross(J * w, w) / J

    found = solve_ivp(euler, (0, 1500), motion.spin, "DOP853", TIMES, rtol=1e-12, atol=1e-15)
    spin = motion.body_spin(TIMES)
    np.testing.assert_allclose(spin, found.y.T, atol=1e-8 * np.abs(motion.spin).max())
    assert np.ptp(spin, 0).max() > 0.1 * np.abs(spin).max()  # it does tumble


@pytest.mark.parametrize("spin", [[0, 0, 2e-3], [-2e-3, 0, 0], [0, 0, 0]])
def test_top_on_a_principal_axis(spin: list[float]) -> None:
    motion = asymmetric_top(spin=spin)
    np.testing.assert_allclose(motion.body_spin(TIMES), np.tile(spin, (61, 1)), atol=1e-15)


@pytest.mark.parametrize("name", TOPS)
def test_free_rotation_is_the_attitude_of_the_top(name: str) -> None:
    motion = asymmetric_top(**TOPS[name])
    x, v = (torch.from_numpy(a[0]) for a in motion.state([0.0]))
    masses = torch.from_numpy(motion.masses)
    found = free_rotation(
        geometry.angular_momentum(x, v, masses)[None],
        geometry.inertia_tensor(x, masses)[None],
        torch.from_numpy(TIMES)[None],
    )
    np.testing.assert_allclose(found[0], motion.attitude(TIMES), atol=1e-7)


def test_counter_rotors_have_no_momentum() -> None:
    motion = counter_rotors(rate=0.02, seed=1)
    P, L, kinetic = momenta(motion)
    methyl = np.array([0, 7, 8, 9])
    arms = motion.state([0.0])[0][0, methyl] - motion.origin
    part = 0.02 * (motion.masses[methyl, None] * np.cross(motion.axis, arms) ** 2).sum()
    assert part > 0.05  # what each part has
    np.testing.assert_allclose(L, 0, atol=1e-13 * part / 1e-1)
    np.testing.assert_allclose(P, 0, atol=1e-14)
    np.testing.assert_allclose(kinetic, kinetic[0], rtol=1e-12)
    x = motion.state(TIMES)[0]
    assert np.linalg.norm(x[:, 10] - x[0, 10], axis=-1).max() > 1.0  # the ring does turn
    lengths = np.linalg.norm(x[:, 0, None] - x[:, [1, 7, 8, 9]], axis=-1)
    np.testing.assert_allclose(lengths, lengths[:1] + 0 * lengths, atol=1e-12)
    np.testing.assert_allclose(lengths[0], [1.51, 1.09, 1.09, 1.09])


def test_bad_input() -> None:
    with pytest.raises(InputError, match="not an asymmetric top"):
        asymmetric_top("CH4")
    with pytest.raises(InputError, match="disagree"):
        harmonic_network(np.zeros((3, 3)), [[0, 5]])
    with pytest.raises(InputError, match="negative"):
        asymmetric_top().state([-1.0])
