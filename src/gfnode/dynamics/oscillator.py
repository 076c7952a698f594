"""Damped oscillators: the closed-form dynamics of position and velocity in one mode."""

import math

import torch
from torch import Tensor, nn


class OscillatorDynamics(nn.Module):
    """Each mode moves as a weighted sum of damped harmonic oscillators.

    With τ the lag, and position u and velocity w of a mode at the start::

        u(τ) = Σ_c a_c e^(−γ_c τ) [u cos ω_c τ + (w + γ_c u) sin(ω_c τ) / ω_c],   Σ_c a_c = 1

    This is the linear family, exp(τ W) of a 2×2 W = [[0, 1], [−(ω²+γ²), −2γ]] per oscillator, in
    its closed form. At τ = 0 it returns u, its first derivative there is w, and at long lags it
    decays to zero, the mean. A graph mode holds several normal modes, hence several oscillators.
    Modes of one eigenspace share a, ω and γ.

    Parameters
    ----------
    spaces
        Eigenspace of each mode, ``(mode,)``.
    horizon
        The lag at t = 1, in fs.
    count
        Oscillators a mode; their periods start between ``fastest`` and ``slowest``, in fs.
    """

    spaces: Tensor

    def __init__(
        self,
        spaces: Tensor,
        horizon: float,
        count: int = 6,
        fastest: float = 25.0,
        slowest: float = 2500.0,
    ) -> None:
        super().__init__()
        self.horizon = horizon
        self.register_buffer("spaces", spaces.clone())
        shape = (int(spaces.max()) + 1, count)
        log_period = torch.linspace(math.log(fastest), math.log(slowest), count)
        self.log_frequency = nn.Parameter((math.log(2 * math.pi) - log_period).repeat(shape[0], 1))
        self.log_damping = nn.Parameter((-log_period - 0.5).repeat(shape[0], 1))
        self.logits = nn.Parameter(torch.zeros(shape))

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
        weight = self.logits.softmax(-1) * torch.exp(-gamma * tau)  # (batch, time, space, c)
        cosine = torch.cos(omega * tau)
        sine = torch.sin(omega * tau) / omega
        kernel = torch.stack(
            [
                weight * (cosine + gamma * sine),  # u → u
                weight * sine,  # w → u
                -weight * (omega**2 + gamma**2) * sine,  # u → w
                weight * (cosine - gamma * sine),  # w → w
            ]
        ).sum(-1)  # (4, batch, time, space)
        uu, wu, uw, ww = kernel[..., self.spaces, None]  # each (batch, time, mode, 1)
        u, w = amplitudes[:, None].unbind(-1)
        return torch.stack([uu * u + wu * w, uw * u + ww * w], -1)
