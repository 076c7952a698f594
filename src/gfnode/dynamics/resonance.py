"""Least-squares fit of a damped oscillator to observed motion, by a search on a grid."""

import math
from typing import NamedTuple, Self

import torch
from torch import Tensor


class Moments(NamedTuple):
    """Second moments of motion at each lag: sufficient statistics of the least-squares fit.

    Products of the position u and velocity w at a start and the position y at a lag, summed over
    the modes and rows of an eigenspace.
    """

    lags: Tensor  # (lag, 1) in fs
    uu: Tensor  # (lag, space) each
    ww: Tensor
    uw: Tensor
    uy: Tensor
    wy: Tensor
    yy: Tensor

    def every(self, step: int) -> Self:
        """Every ``step``-th lag."""
        return type(self)(*(x[::step] for x in self))

    def summed(self) -> Self:
        """Merge lags that are equal to 0.001 fs, adding up their products."""
        lags, place = self.lags[:, 0].round(decimals=3).unique(return_inverse=True)

        def add(x: Tensor) -> Tensor:
            return x.new_zeros(len(lags), x.shape[1]).index_add(0, place, x)

        return type(self)(lags[:, None], *map(add, self[1:]))

    def error(self, c: Tensor, s: Tensor) -> Tensor:
        """Σ (c u + s w − y)² − Σ y², with kernels c and s ``(lag, space)``: ``(space,)``."""
        at_lags = c * (c * self.uu + 2 * (s * self.uw - self.uy)) + s * (s * self.ww - 2 * self.wy)
        return at_lags.sum(0)


def kernels(omega: Tensor, gamma: Tensor, lags: Tensor) -> tuple[Tensor, Tensor]:
    """Kernels of u and w: c = e^(−γτ) (cos ωτ + γ sin(ωτ)/ω) and s = e^(−γτ) sin(ωτ)/ω."""
    return _damped(*_undamped(omega, lags), gamma, torch.exp(-gamma * lags))


def _undamped(omega: Tensor, lags: Tensor) -> tuple[Tensor, Tensor]:
    turn = omega * lags
    return torch.cos(turn), torch.sin(turn) / omega


def _damped(c: Tensor, s: Tensor, gamma: Tensor, decay: Tensor) -> tuple[Tensor, Tensor]:
    s = decay * s
    return decay * c + gamma * s, s


def find_resonance(natural: Tensor, motion: Moments, reach: Tensor) -> tuple[Tensor, Tensor]:
    """ω and γ of least squared error.

    The grid is geometric in ω and in γ/ω, and the ratio of γ/ω is a power of that of ω: cosines of
    ω τ and exponentials of γ τ are then computed once for all pairs. The kernels are the same for
    all spaces, so that errors are matrix products. The best point is refined to a tenth of a step.

    Parameters
    ----------
    natural
        √(⟨w²⟩/⟨u²⟩), ``(space,)`` in 1/fs, not all zero: for an oscillator it is
        Ω = √(ω² + γ²).
    motion
        The observed motion.
    reach
        The grid covers Ω from ``natural / reach`` to ``natural * reach``, ``(space,)``.

    Returns
    -------
    Tensor, Tensor
        ``(space,)`` each, in 1/fs.
    """
    step = 0.01  # of the grid of ω, relative
    motion = motion.summed()
    lags, uu, ww, uw, uy, wy, _ = motion
    some = natural > 0
    least, most = (natural / reach)[some].min(), (natural * reach)[some].max()
    count = int(torch.log(most / least) / step) + 1
    apart = int(0.62 / step)  # steps of ω in one of γ/ω
    ratios = [4.6 * math.exp(-step * apart * n) for n in range(16)]  # γ/ω, down to 4e-4
    # Ω/ω in steps: a row of the grid is one Ω, with all γ/ω
    lower = [round(math.log(math.hypot(1, ratio)) / step) for ratio in ratios]
    first = [lower[0] - each for each in lower]
    slower = apart * (len(ratios) - 1)
    powers = torch.exp(step * torch.arange(-slower, count + lower[0], device=lags.device))[:, None]
    omega = least * math.exp(-step * lower[0]) * powers
    error = natural.new_zeros(len(ratios), count, len(natural))
    for part in torch.arange(len(lags), device=lags.device).split(256):
        tau = lags[part].T
        cosine, sine = _undamped(omega[slower:], tau)
        decay = torch.exp((-ratios[0] * omega * tau).clamp(min=-40.0))  # denormals are slow
        known = torch.cat([x[part] for x in (uu, ww, 2 * uw, -2 * uy, -2 * wy)])
        for n, ratio in enumerate(ratios):
            rows = slice(first[n], first[n] + count)
            gamma = ratio * omega[slower:][rows]
            c, s = _damped(cosine[rows], sine[rows], gamma, decay[slower - apart * n :][rows])
            error[n] += torch.cat([c * c, s * s, c * s, c, s], 1) @ known
    near = (least * powers[slower:][:count] / natural).log().abs() <= reach.log()
    best = torch.where(near, error, torch.inf).flatten(0, 1).argmin(0)
    chosen, row = best // count, best % count
    middle = omega[slower + row + torch.tensor(first, device=row.device)[chosen], 0]
    damping = middle * omega.new_tensor(ratios)[chosen]
    # the grid is too coarse for motion that stays coherent over many periods
    found = torch.stack([torch.full_like(middle, torch.inf), middle, damping])
    for shift in torch.linspace(-0.5 * step, 0.5 * step, 11).tolist():
        for factor in (0.75, 1.0, 1.33):
            trial = torch.stack([middle * (1 + shift), damping * factor])
            missed = motion.error(*kernels(trial[0], trial[1], lags))
            found = torch.where(missed < found[0], torch.cat([missed[None], trial]), found)
    return found[1], found[2]


def find_anharmonicity(
    omega: Tensor, gamma: Tensor, motion: Moments, energy: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Refine ω and γ together with the anharmonicity χ: the period is multiplied by s(χ (E − 1)).

    χ is zero unless it reduces the squared error by 0.3 % of Σ y². For s, see :func:`bounded`.

    Parameters
    ----------
    omega, gamma
        Of the resonance, ``(space,)`` in 1/fs.
    motion
        The observed motion.
    energy
        E − 1, ``(lag, space)``.
    """
    step = max(1, round(energy.numel() / 100_000))
    motion, energy = motion.every(step), energy[::step]
    dampings = [(g, torch.exp(-g * motion.lags)) for g in (0.25 * gamma, 0.5 * gamma, gamma)]
    price = 0.003 * motion.yy.sum(0)

    def better(
        found: Tensor, chi: Tensor, trial: Tensor, tried: list[tuple[Tensor, Tensor]]
    ) -> Tensor:
        free = _undamped(trial / bounded(chi * energy), motion.lags)
        for damping, decay in tried:
            error = motion.error(*_damped(*free, damping, decay)) + price * (chi != 0)
            candidate = torch.stack([error, trial, damping, chi])
            found = torch.where(error < found[0], candidate, found)
        return found

    # a coarse grid of χ and of shifts of ω with one damping, then finer ones about the best
    found = torch.stack([torch.full_like(omega, torch.inf), omega, gamma, 0 * omega])
    for chi in (0.02 * n for n in range(-3, 4)):
        for shift in (0.02 * n for n in range(-2, 3)):
            found = better(found, torch.full_like(omega, chi), omega * (1 + shift), dampings[1:2])
    for fine in (0.01, 0.005):
        _, middle, _, best = found
        for chi in (-fine, 0.0, fine):
            for shift in (-2 * fine, -fine, 0.0, fine, 2 * fine):
                near = (best + chi).round(decimals=3)
                found = better(found, near, middle + shift * omega, dampings)
    return found[1], found[2], found[3]


def bounded(x: Tensor) -> Tensor:
    """s(x) = 1 + x for x > 0, else ½ + ½ e^(2x): smooth, and above ½."""
    return torch.where(x > 0, 1 + x, 0.5 + 0.5 * torch.exp(2 * x.clamp(max=0.0)))
