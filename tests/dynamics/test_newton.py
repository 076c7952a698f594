"""Newton's equations: against SciPy, conserved energy, reversed time, and known thermostats."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch

from gfnode.dynamics.newton import NewtonDynamics
from gfnode.dynamics.thermostat import choose_thermostat, random_numbers
from gfnode.rollout.apply import without_momenta
from gfnode.units import WAVENUMBER
from gfnode.windows import Batch
from making import conformations, springs, system_of

ETHANOL = system_of("ethanol")
OMEGA = 1700 * WAVENUMBER


class Springy(torch.nn.Module):
    """Exact forces of springs, in place of learned ones."""

    members = 1

    def __init__(self, molecule):
        super().__init__()
        self.molecule = molecule

    def forward(self, x):
        return torch.from_numpy(self.molecule.forces(x.double().numpy())).to(x)


def dynamics_of(potential, frequency=0.0, kinetic=0.02, gap=0.0):
    dynamics = NewtonDynamics(ETHANOL, potential).double()
    for buffer, value in (("frequency", frequency), ("kinetic", kinetic), ("gap", gap)):
        getattr(dynamics, buffer).fill_(value)
    dynamics.load_state_dict(dynamics.state_dict())  # which the host takes note of
    return dynamics


def starts(count=3):
    generator = torch.Generator().manual_seed(2)
    x = conformations(count, noise=0.03)
    v = 5e-3 * torch.randn(x.shape, generator=generator).double()
    return x, v - v.mean(1, keepdim=True)


@pytest.mark.parametrize("frequency", [0.0, OMEGA])
def test_scipy_integrates_to_the_same_positions(frequency):
    molecule, (x, v) = springs(), starts(1)
    m, kinetic = molecule.masses, 0.02
    dynamics = dynamics_of(Springy(molecule), frequency, kinetic)
    lags = torch.tensor([[0.0, 17.3, 40.0, 99.9]]).double()
    errors = []
    for step in (0.4, 0.1):
        dynamics.step = step
        found = dynamics(x, v, lags)
        error = 0.0
        for number, friction in enumerate(dynamics.friction.flatten().tolist()):

            def slope(_, y):
                r, u, xi = y[:27].reshape(9, 3), y[27:54].reshape(9, 3), y[54]
                heat = frequency**2 * (0.5 * (m * u**2).sum() / kinetic - 1)
                return np.concatenate(
                    [u.ravel(), (molecule.forces(r) / m - xi * u).ravel(), [heat]]
                )

            began = [*x.flatten().tolist(), *v.flatten().tolist()]
            began.append(friction * frequency / math.sqrt(27))
            exact = scipy.integrate.solve_ivp(
                slope, (0, 100), began, "DOP853", lags[0].numpy(), rtol=1e-10, atol=1e-12
            )
            expected = exact.y[:27].T.reshape(4, 9, 3)
            error = max(error, np.abs(found[number, 0].numpy() - expected).max())
        errors.append(error)
    assert errors[1] < 2e-3
    assert errors[1] < errors[0] / 10  # second order: 16


def test_trajectories_begin_with_every_sixth_of_the_frictions_there_are():
    """Quantiles of a Gaussian, of its variance."""
    expected = scipy.stats.norm.ppf((np.arange(6) + 0.5) / 6)
    expected /= np.sqrt(np.square(expected).mean())
    found = dynamics_of(Springy(springs())).friction[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_velocities_are_the_slope_of_positions_between_steps_too():
    """And go on smoothly with the next step, to second order in its length."""
    dynamics, (x, v) = dynamics_of(Springy(springs()), OMEGA), starts()

    def at(*lags):
        lags = torch.tensor(lags, dtype=torch.float64).expand(3, -1)
        generator = torch.Generator().manual_seed(0)
        found, speeds = dynamics.sample(x, v, lags, generator, exact=True)
        return found[:, 0], speeds[:, 0]

    jumps = []
    for dynamics.step in (0.2, 0.1):
        found, speeds = at(10.42, 10.43, 10.44)
        slope = (found[:, 2] - found[:, 0]) / 0.02
        np.testing.assert_allclose(speeds[:, 1], slope, rtol=0, atol=1e-10)
        _, speeds = at(10.4 - 1e-6, 10.4 + 1e-6)
        jumps.append((speeds[:, 1] - speeds[:, 0]).norm())
    assert jumps[1] < jumps[0] / 3


def test_energy_is_conserved_and_time_runs_backwards():
    molecule, (x, v) = springs(), starts()
    dynamics = dynamics_of(Springy(molecule))
    at = x.expand(dynamics.trajectories, *x.shape)
    still = torch.zeros(*at.shape[:2], 1, 1).double()
    state = (at, v.expand_as(at), still, dynamics._accelerations(at))
    zero = torch.tensor(0.0).double()

    def energy(state):
        motion = 0.5 * (dynamics.masses * state[1].square()).sum((2, 3))
        return motion + torch.from_numpy(molecule.energy(state[0].numpy()))

    before = energy(state)
    moved = state
    for _ in range(400):
        moved = dynamics._verlet_step(moved, 0.25, zero)
    assert (moved[0] - x).abs().max() > 0.1
    assert (energy(moved) - before).abs().max() < 5e-3 * before.max()
    back = (moved[0], -moved[1], *moved[2:])
    for _ in range(400):
        back = dynamics._verlet_step(back, 0.25, zero)
    assert torch.allclose(back[0], x.expand_as(back[0]), atol=1e-8)


@pytest.mark.parametrize("rate", [0.0, 0.02])
def test_lags_and_batch_do_not_count(rate):
    x, v = starts()
    dynamics = dynamics_of(Springy(springs()), 0.0 if rate else OMEGA)
    dynamics.rate.fill_(rate)
    lags = torch.tensor([[30.0, 5.5, 12.0], [7.0, 7.0, 29.2], [0.0, 1.0, 60.0]]).double()
    found = dynamics(x, v, lags)
    assert (found[:, 2, 0] - x[2]).abs().max() == 0
    alone = dynamics(x[1:2], v[1:2], lags[1:2, [2, 0]])
    assert torch.allclose(alone[:, 0], found[:, 1, [2, 0]], atol=1e-10)


@pytest.mark.parametrize("gap", [2.0, -2.0, 8.0, -8.0])
def test_differences_over_a_gap_are_taken_to_the_start(gap):
    molecule, (x, v) = springs(), starts()
    dynamics = dynamics_of(Springy(molecule))
    lags = torch.full((3, 1), 60.0).double()
    exact = dynamics(x, v, lags)
    dynamics.step = 0.5
    # before the start is after it with velocities turned round
    beside = dynamics(x, math.copysign(1, gap) * v, torch.full((3, 1), abs(gap)).double())[0, :, 0]
    dynamics.step = 1.0
    over = (beside - x) / gap
    wrong = (dynamics(x, over, lags) - exact).abs().max()
    over_gap = dynamics_of(Springy(molecule), gap=gap)
    assert (over_gap(x, over, lags) - exact).abs().max() < (0.03 if abs(gap) < 3 else 0.1) * wrong


def test_a_random_thermostat_makes_a_canonical_ensemble():
    """⟨K⟩ = K̄ and ⟨δK²⟩ = 2 K̄²/g, from far below, in free flight."""
    dynamics = dynamics_of(Springy(springs(stiffness=0.0)), kinetic=0.03)
    x, v = (y.expand(400, -1, -1) for y in starts(1))
    rate = torch.tensor(1 / 50).double()
    dynamics.rate.copy_(rate)
    state = (x[None], 0.3 * v[None], torch.zeros(1, 400, 1, 1).double(), 0 * x[None])
    generator = torch.Generator().manual_seed(3)
    found = []
    for step in range(600):
        along = torch.randn(1, 400, 1, 1, generator=generator).double()
        others = torch.randn(1, 400, 1, 26, generator=generator).square().sum(-1, keepdim=True)
        state = dynamics._rescale_velocities(state, rate, along, others.double())
        if step > 300 and step % 100 == 0:
            found.append(0.5 * (dynamics.masses * state[1].square()).sum((2, 3)) / 0.03)
    kinetic = torch.cat(found)
    assert kinetic.mean() == pytest.approx(1.0, abs=0.03)
    assert kinetic.var() == pytest.approx(2 / 27, rel=0.15)
    along, others = random_numbers(0, 6, 27)
    assert along.shape == others.shape == (256, 6)
    assert torch.equal(along[:, :3], -along[:, 3:])
    assert float(others.mean()) == pytest.approx(26, rel=0.03)


@pytest.mark.parametrize("thermostat", ["random", "friction"])
def test_samples_come_to_equilibrium(thermostat):
    """19 of 21 internal motions have a spring (two torsions have none): U = 19/21 K̄."""
    molecule = springs()
    dynamics = dynamics_of(Springy(molecule), kinetic=0.02)
    x = torch.from_numpy(molecule.positions).expand(200, -1, -1)
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(4)).double()
    v = without_momenta(x, v, dynamics.masses[:, 0])
    colder = 0.5 * 0.02 / (0.5 * (dynamics.masses * v.square()).sum((1, 2)))
    v = v * colder.sqrt()[:, None, None]
    if thermostat == "random":
        dynamics.rate.fill_(1 / 50)
    else:
        dynamics.frequency.fill_(OMEGA)
    lags = torch.tensor([[600.0, 700.0, 800.0]]).double().expand(200, -1)
    found, speeds = dynamics.sample(x, v, lags, torch.Generator().manual_seed(5))
    found = found[:, 0]
    energy = molecule.energy(found.flatten(0, 1).numpy())
    assert energy.mean() == pytest.approx(0.02 * 19 / 21, rel=0.1)
    kinetic = 0.5 * (dynamics.masses * speeds.square()).sum((-2, -1))
    assert kinetic.mean() == pytest.approx(0.02, rel=0.05)
    assert not torch.equal(found[0], dynamics.sample(x, v, lags, torch.Generator())[0][0, 0])


def test_the_energy_of_all_windows_counts_and_whether_the_whole_moves():
    molecule = springs()
    dynamics = NewtonDynamics(ETHANOL, Springy(molecule)).double()
    m, (x, v) = dynamics.masses, starts(50)
    v = without_momenta(x, v, m[:, 0])
    none = torch.zeros(50, 1).double()
    dynamics.measure(Batch(x, v, none, x[:, None]), 0.0)
    expected = float(0.5 * (m * v.square()).sum((1, 2)).mean())
    assert float(dynamics.kinetic) == pytest.approx(expected)
    assert dynamics.freedoms == 21
    again = NewtonDynamics(ETHANOL, Springy(molecule)).double()
    again.load_state_dict(dynamics.state_dict())
    assert again.freedoms == 21
    flying = v + 2e-3 * torch.randn(50, 1, 3, generator=torch.Generator().manual_seed(1)).double()
    dynamics.measure(Batch(x, flying, none, x[:, None]), 0.0)
    assert dynamics.freedoms == 27


@pytest.mark.parametrize("gap", [-2.0, -5.0, 8.0])
def test_the_energy_behind_differences_over_a_gap(gap):
    """Those alone have lost a part of it."""
    molecule = springs()
    x, v, _ = (torch.from_numpy(y) for y in molecule.run(6000, 0.5, memory=100.0))
    at = torch.arange(400, 5600, 20)
    over = (x[at + int(gap / 0.5)] - x[at]) / gap
    dynamics = NewtonDynamics(ETHANOL, Springy(molecule)).double()
    true, differences = (
        float(0.5 * (dynamics.masses * y.square()).sum((1, 2)).mean()) for y in (v[at], over)
    )
    dynamics.measure(Batch(x[at], over, torch.zeros(len(at), 1).double(), x[at, None]), gap)
    found = float(dynamics.kinetic)
    assert found == pytest.approx(true, rel=0.07)
    assert abs(found - true) < 0.5 * abs(differences - true)


@pytest.mark.parametrize("still", [True, False])
def test_what_has_no_momenta_in_training_gets_none(still):
    """Random scaling would make the little that rounding leaves grow without end."""
    dynamics = dynamics_of(Springy(springs()))
    dynamics.rate.fill_(1 / 50)
    if still:
        dynamics.directions.fill_(21)
        dynamics.load_state_dict(dynamics.state_dict())
    x, v = starts(4)
    v = v + 1e-4
    lags = torch.full((4, 1), 50.0).double()
    found, speeds = dynamics.sample(x, v, lags, torch.Generator().manual_seed(0), exact=True)
    total = (dynamics.masses * speeds[:, 0, 0]).sum(1).norm(dim=1)
    turn = torch.linalg.cross(found[:, 0, 0], dynamics.masses * speeds[:, 0, 0]).sum(1).norm(dim=1)
    largest = max(total.max(), turn.max())
    assert largest < 1e-12 if still else largest > 1e-3


@pytest.mark.parametrize("thermostat", [{}, {"frequency": OMEGA}, {"memory": 50.0}])
def test_the_thermostat_of_a_simulation_is_found(thermostat):
    molecule = springs()
    x, v, _ = (torch.from_numpy(y) for y in molecule.run(3000, 0.5, **thermostat))
    at = torch.arange(400, 2600, 40)
    lags = torch.tensor([20.0, 60.0, 120.0, 180.0]).double().expand(len(at), -1)
    targets = x[at[:, None] + (lags / 0.5).long()]
    dynamics = NewtonDynamics(ETHANOL, Springy(molecule)).double()
    windows = Batch(x[at], v[at], lags, targets)
    dynamics.measure(windows, 0.0)
    dynamics.tune(windows)
    assert float(dynamics.frequency) == pytest.approx(thermostat.get("frequency", 0.0))
    assert (float(dynamics.rate) > 0) == ("memory" in thermostat)
    if "memory" in thermostat:
        assert 1 / float(dynamics.rate) <= 100


@pytest.mark.parametrize(("share", "worth"), [(0.94, True), (0.96, False)])
def test_a_thermostat_is_worth_having_for_a_twentieth_of_the_error(share, worth):
    """Of the three best on few windows, that which is best on all."""
    none, best = (0.0, 0.0), [(0.0, 1 / 100), (OMEGA, 0.0), (0.0, 1 / 50)]
    decided = {none: 1.0, best[0]: 2.0, best[1]: share, best[2]: 0.97}

    def preselect(*bath):
        return best.index(bath) if bath in best else 3.0

    def decide(*bath):
        return math.log(decided[bath])  # KeyError: of no others

    assert choose_thermostat(preselect, decide) == (best[1] if worth else none)


@pytest.mark.parametrize("step", [0.5, 1.0])
def test_velocities_of_half_a_step_before_are_taken_to_the_start(step):
    """As leapfrog integrators store them."""
    molecule = springs()
    x, v, _ = (torch.from_numpy(y) for y in molecule.run(round(4000 / step), step))
    at = torch.arange(round(400 / step), len(x) - round(100 / step), round(6 / step))
    lags = torch.full((len(at), 1), 60.0).double()
    batch = Batch(x[at], v[at], lags, x[at + round(60 / step)][:, None])
    exact, early = (NewtonDynamics(ETHANOL, Springy(molecule)).double() for _ in range(2))
    exact.measure(batch, 0.0)
    assert float(exact.behind) == 0.0
    before = replace(batch, velocities=(x[at] - x[at - 1]) / step)
    early.measure(before, 0.0)
    assert float(early.behind) == pytest.approx(step / 2, rel=0.2)
    assert float(early.kinetic) == pytest.approx(float(exact.kinetic), rel=0.02)
    some = slice(0, 20)
    found, wrong, wanted = (
        dynamics(x[at[some]], given.velocities[some], lags[some]).mean(0)
        for dynamics, given in ((early, before), (exact, before), (exact, batch))
    )
    assert (found - wanted).norm() < 0.3 * (wrong - wanted).norm()


def test_atoms_that_are_held_stay_and_the_others_move_about_them():
    molecule, (x, v) = springs(), starts(30)
    still = np.array([0, 4, 5])
    system = replace(ETHANOL, held=still)
    dynamics = NewtonDynamics(system, Springy(molecule)).double()
    dynamics.step = 0.25
    lags = torch.full((30, 1), 80.0).double()
    dynamics.measure(Batch(x, v, lags, x[:, None]), 0.0)
    assert dynamics.freedoms == 18
    found = dynamics(x, v, lags)[0, :, 0].numpy()
    np.testing.assert_allclose(found[:, still], x[:, still], rtol=0, atol=1e-7)
    free = ~np.isin(np.arange(9), still)[:, None]

    def slope(_, y):
        r, u = y.reshape(2, 9, 3)
        return np.stack([u, free * molecule.forces(r) / molecule.masses]).ravel()

    began = torch.stack([x[0], v[0]]).numpy() * np.stack([np.ones((9, 1)), free])
    exact = scipy.integrate.solve_ivp(slope, (0, 80), began.ravel(), "DOP853", rtol=1e-10)
    np.testing.assert_allclose(found[0], exact.y[:27, -1].reshape(9, 3), atol=2e-3)
