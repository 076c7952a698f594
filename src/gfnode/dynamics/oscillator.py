"""Damped oscillators: the closed-form dynamics of position and velocity in one mode."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


class OscillatorDynamics(nn.Module):
    """Each mode moves as a stationary mixture of damped harmonic oscillators.

    With τ the lag, and position u and velocity w of a mode at the start::

        u(τ) = u Σ_c a_c e^(−γ_c τ) (cos ω_c τ + γ_c sin(ω_c τ)/ω_c)
             + w Σ_c b_c e^(−γ_c τ) sin(ω_c τ)/ω_c

    Oscillator c holds the share a_c of the mode's ⟨u²⟩, hence b_c = a_c ω_c² / Σ a ω² of its ⟨w²⟩;
    this is then the best linear prediction from u and w. Each term is exp(τ W) of a 2×2
    W = [[0, 1], [−(ω²+γ²), −2γ]], in closed form. At τ = 0 it returns u, its first derivative
    there is w, and at long lags it decays to zero, the mean. A graph mode holds several normal
    modes, hence several oscillators; the slowest, which outlasts the horizon, stands for what does
    not come back to the mean in that time. Modes of one eigenspace share a, ω and γ.

    Parameters
    ----------
    spaces
        Eigenspace of each mode, ``(mode,)``.
    horizon
        The lag at t = 1, in fs.
    periods
        What the periods of the oscillators start from, in fs; default: six from 25 fs to 2.5 ps or
        more, and one of a hundred horizons.
    """

    physical = ("log_frequency", "log_damping", "logits")
    spaces: Tensor

    def __init__(
        self, spaces: Tensor, horizon: float, periods: Sequence[float] | Tensor | None = None
    ) -> None:
        super().__init__()
        if periods is None:
            slowest = max(2500.0, 5 / 3 * horizon)
            periods = [*np.geomspace(25, slowest, 6), 100 * horizon]
        self.horizon = horizon
        self.register_buffer("spaces", spaces.clone())
        log_period = torch.as_tensor(periods, dtype=torch.float32).log()
        shape = (int(spaces.max()) + 1, len(log_period))
        self.log_frequency = nn.Parameter((math.log(2 * math.pi) - log_period).repeat(shape[0], 1))
        self.log_damping = nn.Parameter((-log_period - 0.5).repeat(shape[0], 1))
        self.logits = nn.Parameter(torch.zeros(shape))

    @torch.no_grad()
    def fit(self, start: Tensor, later: Tensor, times: Tensor, *, steps: int = 1000) -> None:
        """Fit the shares to motion that is known, by least squares over positions alone.

        With k_c the kernel of oscillator c, Σ ‖u(τ) − Σ_c a_c k_c(τ) u‖² is made small over a ≥ 0,
        Σ a = 1, in every eigenspace, by exponentiated gradient. No share becomes quite zero, so
        that training can go on from there.

        Parameters
        ----------
        start, later
            Positions at the start and at the times, ``(batch, mode, row)`` and
            ``(batch, time, mode, row)`` in Å.
        times
            t = lag/horizon, ``(batch, time)``.
        """
        tau = (times * self.horizon)[..., None]  # (batch, time, 1)
        # frequencies start alike in all eigenspaces
        omega, gamma = self.log_frequency[0].exp(), self.log_damping[0].exp()
        kernel = torch.exp(-gamma * tau) * (
            torch.cos(omega * tau) + gamma * torch.sin(omega * tau) / omega
        )  # (batch, time, oscillator)
        size = start.new_zeros(len(self.logits), len(start))
        size.index_add_(0, self.spaces, start.square().sum(-1).T)
        along = start.new_zeros(len(self.logits), *times.shape)
        along.index_add_(0, self.spaces, (start[:, None] * later).sum(-1).movedim(2, 0))
        gram = torch.einsum("btc,btd,sb->scd", kernel, kernel, size)
        wanted = torch.einsum("btc,sbt->sc", kernel, along)
        rate = 4.0 / gram.diagonal(dim1=1, dim2=2).amax(1, keepdim=True).clamp(min=1e-12)
        share = torch.full_like(self.logits, 1 / self.logits.shape[1])
        for _ in range(steps):
            slope = torch.einsum("scd,sd->sc", gram, share) - wanted
            share = (share.log() - rate * slope).softmax(-1).clamp(min=1e-12)
        self.logits.copy_((0.98 * share + 0.02 / share.shape[1]).log())

    def forward(self, amplitudes: Tensor, times: Tensor) -> Tensor:
        """Carry ``(batch, mode, row, 2)`` (position in Å, velocity in Å/fs) to times t.

        Parameters
        ----------
        times
            t = lag/horizon, ``(batch, time)``.

        Returns
        -------
        Tensor
            ``(batch, time, mode, row, 2)``.
        """
        tau = (times * self.horizon)[..., None, None]  # (batch, time, 1, 1)
        omega, gamma = self.log_frequency.exp(), self.log_damping.exp()
        share = self.logits.softmax(-1)
        decay = torch.exp(-gamma * tau)  # (batch, time, space, oscillator)
        of_u = share * decay
        of_w = share * omega**2 / (share * omega**2).sum(-1, keepdim=True) * decay
        cosine = torch.cos(omega * tau)
        sine = torch.sin(omega * tau) / omega
        kernel = torch.stack(
            [
                of_u * (cosine + gamma * sine),  # u → u
                of_w * sine,  # w → u
                -of_u * (omega**2 + gamma**2) * sine,  # u → w
                of_w * (cosine - gamma * sine),  # w → w
            ]
        ).sum(-1)  # (4, batch, time, space)
        uu, wu, uw, ww = kernel[..., self.spaces, None]  # each (batch, time, mode, 1)
        u, w = amplitudes[:, None].unbind(-1)
        return torch.stack([uu * u + wu * w, uw * u + ww * w], -1)
