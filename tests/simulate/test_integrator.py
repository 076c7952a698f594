"""Integrator and thermostats against statistical mechanics."""

import numpy as np
import pytest
from scipy import stats
from springs import FIVE, FIVE_MASSES, MASSES, WATER, pair_springs

from gfnode.simulate import harmonic_network
from gfnode.simulate.integrator import (
    Bussi,
    Conserved,
    Langevin,
    State,
    Thermostat,
    advance,
    degrees_of_freedom,
    kinetic_energy,
    thermal_velocities,
    without_momenta,
    without_torque,
)
from gfnode.units import BOLTZMANN

KELVIN = 300.0
HEAT = BOLTZMANN * KELVIN


def begin(
    forces, masses: np.ndarray, x: np.ndarray, conserved: Conserved = "momenta", seed: int = 0
) -> State:
    random = np.random.default_rng(seed)
    v = thermal_velocities(masses, KELVIN, random)
    v = without_momenta(masses, x, v, conserved)
    energy, force = forces(x)
    return State(x.copy(), v, force, energy, 0.0, random)


def momenta(masses: np.ndarray, x: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Momentum, and angular momentum about the centre of mass, ``(3,)``."""
    return masses @ v, masses @ np.cross(x - masses @ x / masses.sum(), v)


def sample(
    state: State,
    forces,
    masses: np.ndarray,
    thermostat: Thermostat,
    *,
    count: int,
    between: int = 20,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, velocities and conserved energies after every so many steps of 0.5 fs."""
    found = []
    for _ in range(count):
        advance(state, forces, masses, step=0.5, steps=between, thermostat=thermostat)
        kinetic = kinetic_energy(masses, state.velocities)
        found.append((state.positions, state.velocities, state.potential + kinetic - state.heat))
    x, v, energy = zip(*found, strict=True)
    return np.array(x), np.array(v), np.array(energy)


def agrees(values: np.ndarray, expected: float, blocks: int = 20) -> bool:
    """Whether a mean lies within its 99.9 % interval over blocks of time."""
    means = values[: len(values) // blocks * blocks].reshape(blocks, -1).mean(1)
    test = stats.ttest_1samp(means, expected)
    return bool(test.pvalue > 1e-3)


def test_energy_error_is_of_second_order() -> None:
    forces = pair_springs(WATER)
    errors = []
    for step in (0.4, 0.2, 0.1):
        state = begin(forces, MASSES, WATER)
        energies = []
        for _ in range(round(200 / step)):
            advance(state, forces, MASSES, step=step, steps=1, thermostat=None)
            energies.append(state.potential + kinetic_energy(MASSES, state.velocities))
        errors.append(np.std(energies))
    assert errors[0] < 0.03 * HEAT
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)


def test_reversible() -> None:
    forces = pair_springs(WATER)
    state = begin(forces, MASSES, WATER)
    advance(state, forces, MASSES, step=0.5, steps=400, thermostat=None)
    assert np.abs(state.positions - WATER).max() > 0.02
    state.velocities = -state.velocities
    advance(state, forces, MASSES, step=0.5, steps=400, thermostat=None)
    np.testing.assert_allclose(state.positions, WATER, atol=1e-8)


def test_against_the_closed_form() -> None:
    """Masses and springs on a ring, whose motion is known exactly."""
    network = harmonic_network(seed=3)

    def forces(x: np.ndarray) -> tuple[float, np.ndarray]:
        pull = -network.laplacian @ (x - network.reference)
        return float(-(pull * (x - network.reference)).sum() / 2), pull

    (x,), (v,) = network.state([0.0])
    state = State(x, v, forces(x)[1], forces(x)[0])
    for _ in range(5):
        advance(state, forces, network.masses, step=0.05, steps=400, thermostat=None)
    expected, speed = network.state([100.0])
    np.testing.assert_allclose(state.positions, expected[0], atol=1e-4)
    np.testing.assert_allclose(state.velocities, speed[0], atol=1e-5)


def test_momenta_stay_zero() -> None:
    """P = L = 0 to rounding over 10 000 steps."""
    forces = pair_springs(FIVE)
    state = begin(forces, FIVE_MASSES, FIVE)
    thermostat = Bussi(KELVIN, 50.0, 9)
    x, v, _ = sample(state, forces, FIVE_MASSES, thermostat, count=100, between=100)
    linear, angular = zip(*map(momenta, [FIVE_MASSES] * 100, x, v), strict=True)
    spread = FIVE_MASSES @ ((FIVE - FIVE_MASSES @ FIVE / FIVE_MASSES.sum()) ** 2).sum(1)
    assert np.abs(linear).max() < 1e-12 * np.sqrt(FIVE_MASSES.sum() * HEAT)
    assert np.abs(angular).max() < 1e-12 * np.sqrt(spread * HEAT)


def test_kinetic_energy_is_canonical() -> None:
    """Five atoms that neither drift nor turn: K is that of 9 degrees of freedom, not of 15."""
    forces = pair_springs(FIVE)
    state = begin(forces, FIVE_MASSES, FIVE)
    thermostat = Bussi(KELVIN, 10.0, degrees_of_freedom(5, "momenta"))
    sample(state, forces, FIVE_MASSES, thermostat, count=20)
    x, v, conserved = sample(state, forces, FIVE_MASSES, thermostat, count=800, between=50)
    kinetic = (FIVE_MASSES[:, None] * v**2).sum((1, 2)) / 2
    assert stats.kstest(kinetic, stats.gamma(4.5, scale=HEAT).cdf).pvalue > 1e-3
    for wrong in (stats.gamma(7.5, scale=HEAT), stats.gamma(4.5, scale=15 / 9 * HEAT)):
        assert stats.kstest(kinetic, wrong.cdf).pvalue < 1e-9
    assert agrees(kinetic, 4.5 * HEAT)
    # springs between all pairs are nearly harmonic
    potential = np.array([forces(each)[0] for each in x])
    assert potential.mean() == pytest.approx(4.5 * HEAT, rel=0.1)
    assert np.ptp(conserved) < 0.05 * HEAT
    assert abs(state.heat) > 2 * HEAT  # energy went in and out


@pytest.mark.parametrize("kind", ["bussi", "langevin"])
def test_equipartition(kind: str) -> None:
    """Each mode of a harmonic ring holds k_B T/2 of kinetic and of potential energy."""
    network = harmonic_network(stiffness=0.2)
    masses, roots = network.masses, np.sqrt(network.masses)[:, None]

    def forces(x: np.ndarray) -> tuple[float, np.ndarray]:
        pull = -network.laplacian @ (x - network.reference)
        return float(-(pull * (x - network.reference)).sum() / 2), pull

    conserved: Conserved = "momentum" if kind == "bussi" else "nothing"
    state = begin(forces, masses, network.reference, conserved)
    free = degrees_of_freedom(len(masses), conserved)
    thermostat = Bussi(KELVIN, 20.0, free) if kind == "bussi" else Langevin(KELVIN, 40.0)
    sample(state, forces, masses, thermostat, count=100)
    x, v, _ = sample(state, forces, masses, thermostat, count=1500)
    q = np.einsum("ak,fax->fkx", network.modes, roots * (x - network.reference))
    rate = np.einsum("ak,fax->fkx", network.modes, roots * v)
    potential = (network.frequencies[:, None] * q) ** 2 / 2
    kinetic = rate**2 / 2
    assert agrees(kinetic.sum((1, 2)), free / 2 * HEAT)
    if kind == "langevin":  # every mode by itself; Bussi's only exchanges energy of all together
        for mode in range(1, len(masses)):
            assert agrees(kinetic[:, mode].sum(1), 1.5 * HEAT), mode
            assert agrees(potential[:, mode].sum(1), 1.5 * HEAT), mode
        assert agrees(kinetic[:, 0].sum(1), 1.5 * HEAT)  # it drifts
    else:
        assert agrees(potential.sum((1, 2)), free / 2 * HEAT)


def test_bussi_in_one_long_step_draws_the_canonical_energy() -> None:
    """With Δt ≫ τ, K forgets what it was."""
    thermostat, random = Bussi(KELVIN, 1.0, 7), np.random.default_rng(0)
    scales = np.array([thermostat.scale(3 * HEAT, 100.0, random) for _ in range(4000)])
    drawn = scales**2 * 3 * HEAT
    assert stats.kstest(drawn, stats.gamma(3.5, scale=HEAT).cdf).pvalue > 1e-3
    gentle = np.array([thermostat.scale(3 * HEAT, 1e-6, random) for _ in range(100)])
    np.testing.assert_allclose(gentle, 1, atol=1e-2)
    assert Bussi(KELVIN, 1.0, 1).scale(HEAT, 0.5, random) != 1  # two atoms
    assert thermostat.scale(0.0, 0.5, random) == 1


@pytest.mark.parametrize(
    ("atoms", "conserved", "expected"),
    [
        (1, "momenta", 0),
        (2, "momenta", 1),
        (3, "momenta", 3),
        (15, "momenta", 39),
        (15, "momentum", 42),
        (15, "nothing", 45),
    ],
)
def test_degrees_of_freedom(atoms: int, conserved: Conserved, expected: int) -> None:
    """As many as velocities have independent directions once momenta are out."""
    assert degrees_of_freedom(atoms, conserved) == expected
    random = np.random.default_rng(1)
    masses, x = random.uniform(1, 20, atoms), random.normal(size=(atoms, 3))
    space = [
        without_momenta(masses, x, unit.reshape(atoms, 3), conserved).ravel()
        for unit in np.eye(3 * atoms)
    ]
    assert np.linalg.matrix_rank(np.array(space), tol=1e-8) == expected


def test_without_momenta_of_a_line() -> None:
    """Carbon dioxide, exactly straight: it turns about two axes only."""
    masses, x = np.array([16.0, 12, 16]), np.array([[0, 0, -1.16], [0, 0, 0], [0, 0, 1.16]])
    v = np.random.default_rng(0).normal(size=(3, 3))
    still = without_momenta(masses, x, v, "momenta")
    assert np.abs(np.concatenate(momenta(masses, x, still))).max() < 1e-12
    assert np.abs(still).max() > 0.1


def test_without_torque() -> None:
    """What comes out is balanced; exact forces stay as they are."""
    random = np.random.default_rng(2)
    exact = pair_springs(WATER)(WATER + 0.1 * random.normal(size=(3, 3)))[1]
    x = WATER + 5.0
    noisy = random.normal(size=(3, 3))
    found = without_torque(MASSES, x, noisy)
    centre = MASSES @ x / MASSES.sum()
    assert np.abs(found.sum(0)).max() < 1e-12
    assert np.abs(np.cross(x - centre, found).sum(0)).max() < 1e-12
    x = WATER + 0.1 * np.random.default_rng(2).normal(size=(3, 3))
    np.testing.assert_allclose(without_torque(MASSES, x, exact), exact, atol=1e-12)
    np.testing.assert_allclose(without_torque(MASSES, WATER + 5.0, found), found, atol=1e-12)


def test_state_goes_through_arrays() -> None:
    forces = pair_springs(WATER)
    thermostat = Langevin(KELVIN, 30.0)
    state = begin(forces, MASSES, WATER)
    advance(state, forces, MASSES, step=0.5, steps=37, thermostat=thermostat)
    again = State.from_arrays(state.to_arrays())
    for each in (state, again):
        advance(each, forces, MASSES, step=0.5, steps=50, thermostat=thermostat)
    assert np.array_equal(state.positions, again.positions)
    assert np.array_equal(state.velocities, again.velocities)
    assert state.heat == again.heat
