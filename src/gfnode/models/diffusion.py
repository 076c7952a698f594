"""Denoising diffusion, independent of the data: noise schedules, the loss and samplers.

A variance-preserving process turns data z₀ into noise as t goes from 0 to 1::

    z_t = α_t z₀ + σ_t ε,   α² + σ² = 1,   λ = log(α/σ) falling,   ε ~ N(0, 1)

A *denoiser* ε̂(z, t) is trained to predict the noise, E |ε − ε̂(z_t, t)|² (Ho, Jain & Abbeel 2020,
eq. 14). The samplers go from noise to data with nothing but a denoiser.

References
----------
J. Ho, A. Jain, P. Abbeel, Denoising diffusion probabilistic models, NeurIPS 2020.
A. Nichol, P. Dhariwal, Improved denoising diffusion probabilistic models, ICML 2021.
C. Lu et al., DPM-Solver: a fast ODE solver for diffusion probabilistic model sampling in around 10
steps, NeurIPS 2022.
C. Lu et al., DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models, 2022.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gfnode.errors import InputError

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""Maps noisy data z and diffusion times to the noise ε̂; samplers pass one time, a scalar."""

Noise = Callable[[], Tensor]
"""Returns new standard normal numbers in the shape of the data with every call."""

FIRST = 1e-3
"""Diffusion time at which DPM-Solver denoises in one last step: σ is then 0.6 % of the cosine
schedule, and 1 % of the linear one."""


class Schedule:
    """A noise schedule in continuous time, given by log α.

    Attributes
    ----------
    last
        The time of pure noise.
    """

    last = 1.0

    def log_alpha(self, t: Tensor) -> Tensor:
        """Give log α_t for t in 0 … `last`."""
        raise NotImplementedError

    def time(self, log_snr: Tensor) -> Tensor:
        """The time t at which λ is as given."""
        raise NotImplementedError

    def alpha(self, t: Tensor) -> Tensor:
        """α_t, the coefficient of the data in z_t."""
        return self.log_alpha(t).exp()

    def sigma(self, t: Tensor) -> Tensor:
        """σ_t, the coefficient of the noise in z_t, without cancellation where it is small."""
        return (-torch.expm1(2 * self.log_alpha(t))).clamp(min=0).sqrt()

    def log_snr(self, t: Tensor) -> Tensor:
        """λ = log(α/σ), half the logarithm of the signal-to-noise ratio."""
        return self.log_alpha(t) - self.sigma(t).log()


class LinearSchedule(Schedule):
    """β grows linearly: log α = −(β₁ − β₀) t²/4 − β₀ t/2.

    The limit of many steps of Ho et al. 2020, whose β_k from 10⁻⁴ to 0.02 over 1000 steps is
    β₀ = 0.1 and β₁ = 20; the inverse is that of Lu et al. 2022 (appendix D.4).
    """

    low, high = 0.1, 20.0

    def log_alpha(self, t: Tensor) -> Tensor:
        """Give log α_t."""
        return -t * (t * (self.high - self.low) / 4 + self.low / 2)

    def time(self, log_snr: Tensor) -> Tensor:
        """The time t at which λ is as given."""
        y = 2 * (self.high - self.low) * torch.nn.functional.softplus(-2 * log_snr)
        return y / ((self.low**2 + y).sqrt() + self.low) / (self.high - self.low)


class CosineSchedule(Schedule):
    """α follows a cosine: α = cos(½π (t + s)/(1 + s)) / cos(½π s/(1 + s)), s = 0.008.

    Nichol & Dhariwal 2021, eq. 17. It ends at t = 0.9946, before λ diverges, as in Lu et al. 2022
    (appendix D.4).
    """

    last = 0.9946
    offset = 0.008

    def log_alpha(self, t: Tensor) -> Tensor:
        """Give log α_t."""
        # cos(a + b)/cos(b), whose logarithm would lose its digits at small t
        a = t / (1 + self.offset) * math.pi / 2
        return torch.log1p(-2 * (a / 2).sin().square() - a.sin() * math.tan(self._begin))

    def time(self, log_snr: Tensor) -> Tensor:
        """The time t at which λ is as given."""
        log_alpha = -torch.nn.functional.softplus(-2 * log_snr) / 2
        angle = torch.acos(log_alpha.exp() * math.cos(self._begin))
        return angle * 2 / math.pi * (1 + self.offset) - self.offset

    @property
    def _begin(self) -> float:
        """The angle at t = 0."""
        return self.offset / (1 + self.offset) * math.pi / 2


SCHEDULES: dict[str, type[Schedule]] = {"linear": LinearSchedule, "cosine": CosineSchedule}
"""Noise schedules by name."""


def even_times(schedule: Schedule, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random diffusion times of density ∝ t on (0, `last`], stratified over its quantiles.

    Even spacing lowers the variance of a loss (Kingma et al., Variational diffusion models, NeurIPS
    2021, appendix I.1). High noise is sampled more often than low, because there it is decided
    which of several states a sample falls into, to which the loss of the noise is insensitive.
    """
    count, device = math.prod(shape), generator.device
    even = torch.arange(count, device=device) / count
    shift = torch.rand((), generator=generator, device=device)
    return schedule.last * (1 - (even + shift) % 1).sqrt().view(shape)  # never zero


def noise_loss(
    denoiser: Denoiser,
    schedule: Schedule,
    data: Tensor,
    times: Tensor,
    generator: torch.Generator,
    *,
    velocity: bool = False,
) -> Tensor:
    """Mean squared error of the predicted noise, |ε − ε̂(α z₀ + σ ε, t)|² (Ho et al., eq. 14).

    Parameters
    ----------
    denoiser
        ε̂, the network to be trained.
    schedule
        The noise schedule.
    data
        z₀, of any shape.
    times
        t, of a shape that broadcasts with all axes of the data but the last.
    generator
        Random numbers of the noise, on the device of the data.
    velocity
        Divide by α² (not below 0.05²): the error of the velocity α ε − σ z₀ of Salimans & Ho,
        Progressive distillation, ICLR 2022, which weights high noise more.
    """
    noise = torch.randn(data.shape, generator=generator, device=data.device)
    alpha, sigma = schedule.alpha(times)[..., None], schedule.sigma(times)[..., None]
    error = noise - denoiser(alpha * data + sigma * noise, times)
    return (error / alpha.clamp(min=0.05) if velocity else error).square().mean()


def ancestral(denoiser: Denoiser, schedule: Schedule, noise: Noise, steps: int) -> Tensor:
    """Draw samples by the reversed Markov chain (Ho et al. 2020, algorithm 2).

    From t to s < t, with α_ts = α_t/α_s, σ²_ts = σ_t² − α_ts² σ_s² and ẑ₀ = (z_t − σ_t ε̂)/α_t,
    z_s is normal with::

        mean = α_ts σ_s²/σ_t² z_t + α_s σ²_ts/σ_t² ẑ₀,   variance = σ²_ts σ_s²/σ_t²

    Times are evenly spaced, and s = 0 in the last step. The error falls with 1/steps.

    Parameters
    ----------
    denoiser, schedule
        The trained network, and its noise schedule.
    noise
        Called once for the initial state and once for every step but the last.
    steps
        Evaluations of the denoiser.

    Returns
    -------
    Tensor
        In the shape that ``noise`` gives.
    """
    if steps < 1:
        raise InputError(f"the number of steps is {steps}, expected at least 1")
    z = noise()
    times = torch.linspace(schedule.last, 0, steps + 1, dtype=z.dtype, device=z.device)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    for k in range(steps):
        found = (z - sigma[k] * denoiser(z, times[k])) / alpha[k]
        ratio = alpha[k] / alpha[k + 1]
        share = (sigma[k + 1] / sigma[k]).square()
        added = sigma[k].square() - (ratio * sigma[k + 1]).square()  # σ²_ts
        z = ratio * share * z + alpha[k + 1] * added / sigma[k].square() * found
        if k + 1 < steps:
            z = z + (added * share).sqrt() * noise()
    return z


def dpm_solver(denoiser: Denoiser, schedule: Schedule, noise: Noise, steps: int) -> Tensor:
    """Draw samples by DPM-Solver++ of second order, multistep (Lu et al. 2022, algorithm 2).

    Solves the probability-flow ODE, whose solution between times s and t is::

        z_t = σ_t/σ_s z_s + σ_t ∫ e^λ ẑ₀ dλ   over λ_s … λ_t

    with the denoised ẑ₀ = (z − σ ε̂)/α extrapolated linearly in λ from its last two values. Steps
    are even in λ down to t = 0.001, where the last evaluation removes the remaining noise.

    Parameters
    ----------
    denoiser, schedule
        The trained network, and its noise schedule.
    noise
        Called once: the sample is a smooth function of it.
    steps
        Evaluations of the denoiser, at least two.

    Returns
    -------
    Tensor
        In the shape that ``noise`` gives.
    """
    if steps < 2:
        raise InputError(f"DPM-Solver takes at least 2 steps, got {steps}")
    z = noise()
    ends = torch.tensor([schedule.last, FIRST], dtype=torch.float64)
    first, last = schedule.log_snr(ends).tolist()
    times = schedule.time(torch.linspace(first, last, steps, dtype=torch.float64))
    log_snr = schedule.log_snr(times).to(z)
    alpha, sigma, times = (x.to(z) for x in (schedule.alpha(times), schedule.sigma(times), times))

    def clean(k: int) -> Tensor:
        return (z - sigma[k] * denoiser(z, times[k])) / alpha[k]

    before = None
    for k in range(steps - 1):
        found = clean(k)
        direction = found if before is None else 1.5 * found - 0.5 * before
        before = found
        shrunk = torch.expm1(log_snr[k] - log_snr[k + 1])
        z = sigma[k + 1] / sigma[k] * z - alpha[k + 1] * shrunk * direction
    return clean(steps - 1)


Sampler = Callable[[Denoiser, Schedule, Noise, int], Tensor]

SAMPLERS: dict[str, Sampler] = {"dpm": dpm_solver, "ancestral": ancestral}
"""Samplers by name."""
