"""Damped oscillators: the closed-form dynamics of position and velocity in one mode."""

import math

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
    modes, hence several oscillators. Modes of one eigenspace share a, ω and γ.

    Parameters
    ----------
    spaces
        Eigenspace of each mode, ``(mode,)``.
    horizon
        The lag at t = 1, in fs.
    count
        Oscillators a mode; their periods start between ``fastest`` and ``slowest``, in fs.
    """

    physical = ("log_frequency", "log_damping", "logits")
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
