"""Noise schedules and samplers, against distributions whose denoiser is known exactly."""

from functools import partial
from itertools import count

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from gfnode.errors import InputError
from gfnode.models.diffusion import (
    FIRST,
    SAMPLERS,
    SCHEDULES,
    ancestral,
    dpm_solver,
    even_times,
    noise_loss,
)

MEAN = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
COVARIANCE = torch.tensor(
    [[1.0, 0.7, 0.1], [0.7, 0.9, -0.2], [0.1, -0.2, 0.3]], dtype=torch.float64
)
STEPS = {"dpm": 40, "ancestral": 400}


def spread_at(schedule, t):
    """Covariance of the noisy data, α² Σ + σ²."""
    return schedule.alpha(t) ** 2 * COVARIANCE + schedule.sigma(t) ** 2 * torch.eye(3).double()


def of_a_gaussian(schedule, z, t):
    """ε̂ = E[ε | z] = σ (α² Σ + σ²)⁻¹ (z − α μ)."""
    centred = z - schedule.alpha(t) * MEAN
    return centred @ (schedule.sigma(t) * torch.linalg.inv(spread_at(schedule, t)))


def draws(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return partial(torch.randn, shape, generator=generator, dtype=torch.float64)


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    return SCHEDULES[request.param]()


class TestSchedules:
    def test_identities(self, schedule):
        t = torch.linspace(0, schedule.last, 500, dtype=torch.float64)
        alpha, sigma, log_snr = schedule.alpha(t), schedule.sigma(t), schedule.log_snr(t)
        torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(t), rtol=0, atol=1e-14)
        assert float(alpha[0]) == 1
        assert float(sigma[0]) == 0
        assert float(alpha[-1]) < 0.01  # what is left of the data is pure noise
        assert (alpha.diff() < 0).all()
        assert (log_snr[1:].diff() < 0).all()
        torch.testing.assert_close(log_snr[1:], (alpha / sigma)[1:].log())
        torch.testing.assert_close(schedule.time(log_snr[1:]), t[1:], rtol=0, atol=1e-9)

    def test_steps_of_the_forward_process_have_variances(self, schedule):
        """β_k = 1 − α_k²/α_{k−1}² lies in (0, 1), and their product gives α back."""
        t = torch.linspace(0, schedule.last, 1001, dtype=torch.float64)
        beta = 1 - (schedule.alpha(t)[1:] / schedule.alpha(t)[:-1]) ** 2
        assert ((beta > 0) & (beta < 1)).all()
        assert (beta.diff() > 0).all()
        torch.testing.assert_close((1 - beta).cumprod(0), schedule.alpha(t)[1:] ** 2)

    def test_linear_is_that_of_ddpm(self):
        """Ho et al.: 1000 steps, β from 1e-4 to 0.02."""
        kept = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
        t = torch.arange(1, 1001, dtype=torch.float64) / 1000
        ours = 2 * SCHEDULES["linear"]().log_alpha(t).numpy()
        np.testing.assert_allclose(ours, np.log(kept), rtol=0.011, atol=2e-4)

    def test_cosine_is_that_of_nichol_and_dhariwal(self):
        t = np.linspace(0, 0.9946, 50)
        f = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2
        ours = SCHEDULES["cosine"]().alpha(torch.from_numpy(t)).numpy() ** 2
        np.testing.assert_allclose(ours, f / f[0], atol=1e-14)

    def test_noise_is_accurate_where_there_is_little(self, schedule):
        t = torch.tensor([1e-6, 1e-5, 1e-4])
        exact = schedule.sigma(t.double())
        torch.testing.assert_close(schedule.sigma(t).double(), exact, rtol=2e-2, atol=0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_correlated_gaussian(name, schedule):
    """Mean and covariance within 3 %, the sampling error of 30 000 samples being 1 %."""
    denoiser = partial(of_a_gaussian, schedule)
    found = SAMPLERS[name](denoiser, schedule, draws((30_000, 3)), STEPS[name])
    assert (found.mean(0) - MEAN).norm() < 0.03 * MEAN.norm()
    assert (found.T.cov() - COVARIANCE).norm() < 0.03 * COVARIANCE.norm()


@pytest.mark.parametrize("name", SAMPLERS)
def test_two_narrow_states(name, schedule):
    """A mixture of two normal distributions: shares of 0.3 and 0.7, widths of 0.1."""
    share, centre, width = (
        torch.tensor(v, dtype=torch.float64) for v in ([0.3, 0.7], [-1.2, 0.8], 0.1)
    )

    def denoiser(z, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        variance = (alpha * width) ** 2 + sigma**2
        misfit = z[:, None] - alpha * centre
        weight = torch.softmax(share.log() - misfit**2 / (2 * variance), 1)
        return (weight * misfit).sum(1) * sigma / variance

    found = SAMPLERS[name](denoiser, schedule, draws((6_000,)), STEPS[name])
    right = found > 0
    assert abs(right.double().mean() - 0.7) < 0.02  # by sampling alone: 0.006
    for chosen, middle in ((right, 0.8), (~right, -1.2)):
        assert abs(found[chosen].mean() - middle) < 0.01
        assert abs(found[chosen].std() - 0.1) < 0.015


def test_order_of_dpm_solver(schedule):
    """Second order: against the exact solution of the probability-flow ODE."""
    start = draws((64, 3))()

    def root(t):
        values, vectors = torch.linalg.eigh(spread_at(schedule, t))
        return vectors @ values.sqrt().diag() @ vectors.T

    first, last = torch.tensor([FIRST, schedule.last], dtype=torch.float64)
    moved = root(first) @ torch.linalg.inv(root(last))
    exact = schedule.alpha(first) * MEAN + (start - schedule.alpha(last) * MEAN) @ moved.T
    exact = exact - schedule.sigma(first) * of_a_gaussian(schedule, exact, first)
    exact = exact / schedule.alpha(first)
    errors = []
    for steps in (41, 81, 161, 321):
        found = dpm_solver(partial(of_a_gaussian, schedule), schedule, lambda: start, steps)
        errors.append(float((found - exact).norm() / exact.norm()))
    orders = -np.diff(np.log2(errors))
    assert ((orders > 1.85) & (orders < 2.3)).all(), (errors, orders)
    assert errors[-1] < 1e-4


def test_order_of_ancestral_sampling(schedule):
    """First order in the variance, computed without chance.

    For one normal variable the chain is linear in its noise: fed with unit vectors, it answers
    with the factor of each, and their squares add up to the variance.
    """
    variance = 0.4

    def denoiser(z, t):
        return schedule.sigma(t) * z / (schedule.alpha(t) ** 2 * variance + schedule.sigma(t) ** 2)

    errors = []
    for steps in (100, 200, 400):
        numbers = count()
        unit = torch.eye(steps, dtype=torch.float64)
        factors = ancestral(denoiser, schedule, lambda: unit[next(numbers)], steps)  # noqa: B023
        assert next(numbers) == steps
        errors.append(abs(float(factors.square().sum()) - variance))
    orders = -np.diff(np.log2(errors))
    assert ((orders > 0.85) & (orders < 1.2)).all(), (errors, orders)
    assert errors[-1] < 0.04 * variance


def test_dpm_solver_needs_few_steps(schedule):
    """The covariance, again without chance: fed with unit vectors, the solver gives its root."""

    def denoiser(z, t):
        return of_a_gaussian(schedule, z + schedule.alpha(t) * MEAN, t)

    for steps, most in ((10, 0.1), (20, 0.035), (40, 0.01)):
        root = dpm_solver(denoiser, schedule, lambda: torch.eye(3, dtype=torch.float64), steps)
        assert (root.T @ root - COVARIANCE).norm() < most * COVARIANCE.norm()


def whitened(noise):
    """The same noise with mean zero and covariance one: less chance in what is tested."""

    def white():
        z = noise()
        z = z - z.mean(0)
        return z @ torch.linalg.inv(torch.linalg.cholesky(z.T.cov().reshape(2 * z.shape[1:]))).T

    return white


class Learned(torch.nn.Module):
    """A small denoiser of data that goes with a condition."""

    def __init__(self, size, known, width=64):
        super().__init__()
        torch.manual_seed(0)
        layers = [torch.nn.Linear(size + known + 9, width), torch.nn.SiLU()]
        for _ in range(2):
            layers += [torch.nn.Linear(width, width), torch.nn.SiLU()]
        self.net = torch.nn.Sequential(*layers, torch.nn.Linear(width, size))
        self.schedule = SCHEDULES["cosine"]()

    def forward(self, z, t, known):
        t = t.expand(len(z))[:, None]
        waves = [f(k * torch.pi * t) for k in (0.5, 1, 2, 4) for f in (torch.sin, torch.cos)]
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return sigma * z + alpha * self.net(torch.cat([z, known, t, *waves], 1))

    def fit(self, data, known, *, steps, velocity=False, batch=1024, rate=5e-3):
        optimizer = torch.optim.Adam(self.parameters(), rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        generator = torch.Generator().manual_seed(0)
        for _ in range(steps):
            index = torch.randint(len(data), (batch,), generator=generator)
            denoiser = partial(self, known=known[index])
            times = even_times(self.schedule, (batch,), generator)
            optimizer.zero_grad()
            loss = noise_loss(
                denoiser, self.schedule, data[index], times, generator, velocity=velocity
            )
            loss.backward()
            optimizer.step()
            schedule.step()

    @torch.no_grad()
    def draw(self, name, known, noise, steps=None):
        """Samples; ``noise`` is what to begin with, or how many numbers to draw each time."""
        drawn = isinstance(noise, int)
        random = whitened(draws((len(known), noise))) if drawn else lambda: noise
        denoiser = partial(self, known=known)
        return SAMPLERS[name](
            denoiser, self.schedule, lambda: random().float(), steps or STEPS[name]
        )


def test_random_times_are_spread_evenly(schedule):
    """Density ∝ t: the squares fall evenly into bins, and follow the seed."""
    generator = torch.Generator().manual_seed(3)
    times = even_times(schedule, (40, 25), generator)
    bins = torch.histc((times / schedule.last) ** 2, 20, 0, 1)
    assert ((bins - 50).abs() <= 1).all()
    assert times.min() > 0
    assert times.max() <= schedule.last
    assert not torch.equal(times, even_times(schedule, (40, 25), generator))
    assert torch.equal(times, even_times(schedule, (40, 25), generator.manual_seed(3)))


def test_noise_loss_of_the_exact_denoiser(schedule):
    """It is the smallest: E |ε − ε̂|² = tr(1 − σ² (α²Σ + σ²)⁻¹)/3 at each time."""
    data = MEAN + draws((200_000, 3), 8)() @ torch.linalg.cholesky(COVARIANCE).T
    for fraction in (0.2, 0.6):
        t = torch.tensor(fraction, dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        exact = 1 - schedule.sigma(t) ** 2 * torch.linalg.inv(spread_at(schedule, t)).trace() / 3

        def denoiser(z, times, t=t):
            return of_a_gaussian(schedule, z, t)

        found = noise_loss(denoiser, schedule, data, t.expand(len(data)), generator)
        assert found == pytest.approx(float(exact), rel=0.01)


def test_a_learned_gaussian():
    """A correlated normal distribution, learned from samples: mean and covariance within 5 %."""
    data = (MEAN + draws((40_000, 3), 7)() @ torch.linalg.cholesky(COVARIANCE).T).float()
    model = Learned(3, 0)
    model.fit(data, data[:, :0], steps=1800)
    for name, steps in (("dpm", 40), ("ancestral", 300)):
        found = model.draw(name, data[:16_000, :0], 3, steps).double()
        assert (found.mean(0) - MEAN).norm() < 0.05 * MEAN.norm(), name
        assert (found.T.cov() - COVARIANCE).norm() < 0.05 * COVARIANCE.norm(), name


def test_a_learned_jump_process():
    """Two states with known rates, given the start and the lag: within 0.03 at every lag."""
    rates = np.array([[-1 / 60, 1 / 60], [1 / 25, -1 / 25]])
    lags = torch.tensor([10.0, 30.0, 90.0])
    jumps = torch.from_numpy(np.stack([expm(rates * float(lag)) for lag in lags])).float()
    generator = torch.Generator().manual_seed(2)
    count = 60_000
    start = torch.randint(2, (count,), generator=generator)
    lag = torch.randint(3, (count,), generator=generator)
    ends = torch.rand(count, generator=generator) < jumps[lag, start, 1]
    known = torch.stack([start.float(), lags[lag] / 90, (lags[lag] / 90).log()], 1)
    places = 2 * ends[:, None] - 1 + 0.15 * torch.randn(count, 1, generator=generator)
    model = Learned(1, 3)
    model.fit(places, known, steps=1200, velocity=True)
    asked = torch.tensor(
        [[s, t / 90, np.log(t / 90)] for s in (0, 1) for t in lags.tolist()], dtype=torch.float32
    )
    quantiles = torch.erfinv(torch.linspace(-1, 1, 1003)[1:-1]) * 2**0.5
    even = model.draw("dpm", asked.repeat_interleave(1001, 0), quantiles.repeat(6)[:, None])
    drawn = model.draw("ancestral", asked.repeat_interleave(6000, 0), 1, steps=150)
    for found in (even.view(2, 3, -1), drawn.view(2, 3, -1)):  # chance: 0.006 in the second
        assert ((found > 0).float().mean(-1) - jumps[:, :, 1].T).abs().max() < 0.03
        assert (found.abs().mean(-1) - 1).abs().max() < 0.05


def test_too_few_steps_are_refused():
    schedule = SCHEDULES["cosine"]()
    denoiser = partial(of_a_gaussian, schedule)
    with pytest.raises(InputError, match="at least 2 steps, got 1"):
        dpm_solver(denoiser, schedule, draws((2, 3)), 1)
    with pytest.raises(InputError, match="number of steps is 0"):
        ancestral(denoiser, schedule, draws((2, 3)), 0)
