"""Damped oscillators: the closed-form dynamics of position and velocity in one mode."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from gfnode.dynamics.resonance import (
    Moments,
    bounded,
    find_anharmonicity,
    find_resonance,
    kernels,
)

_LEAST = 1e-12


class OscillatorDynamics(nn.Module):
    """Each mode is a stationary mixture of damped anharmonic oscillators.

    With τ the lag, and position u and velocity w of a mode at the start::

        u(τ) = u Σ_c a_c e^(−γ_c τ) (cos ω_c τ + γ_c sin(ω_c τ)/ω_c)
             + w Σ_c b_c e^(−γ_c τ) sin(ω_c τ)/ω_c

    Oscillator c has the share a_c of the mode's ⟨u²⟩, hence b_c = a_c Ω_c² / Σ a Ω² of its ⟨w²⟩
    with Ω² = ω² + γ²; this is then the best linear prediction from u and w. Each term is exp(τ W)
    of a 2×2 W = [[0, 1], [−Ω², −2γ]], in closed form. At τ = 0 it returns u, its first derivative
    there is w, and at long lags it decays to zero, the mean.

    The first oscillator is the resonance of the mode, the others are slow relaxation; the last one
    outlasts the horizon, for displacements that do not return to the mean in that time.

    **Anharmonicity.** The period depends on the amplitude of vibration, to first order linearly
    on the energies (as in second-order perturbation theory). With E the energy of the mode's
    eigenspace relative to its mean, and Ē the mean of E over all eigenspaces::

        ω = ω_c / s(χ (E − 1) + χ̄ (Ē − 1)),   γ = γ_c s(ζ (E − 1) + ζ̄ (Ē − 1))

    with s(x) = 1 + x for x ≥ 0, bounded below. So the dynamics stay odd in the amplitudes, and do
    not depend on the choice of eigenvectors in an eigenspace, whose modes share all of this.

    Parameters
    ----------
    spaces
        Eigenspace of each mode, ``(mode,)``.
    horizon
        The lag at t = 1, in fs.
    periods
        Initial periods of the oscillators in fs, before :meth:`fit`.
    anharmonic
        Whether periods and dampings depend on the energies.
    """

    physical = ("log_frequency", "log_damping", "logits", "stretch", "broadening")
    _most = 8.0  # E − 1 is clipped here
    _rounds = 1000  # iterations of fitting shares

    spaces: Tensor
    members: Tensor
    size: Tensor

    def __init__(
        self,
        spaces: Tensor,
        horizon: float,
        periods: Sequence[float] | Tensor | None = None,
        *,
        anharmonic: bool = True,
    ) -> None:
        super().__init__()
        if periods is None:
            periods = [*np.geomspace(100, 5 * horizon, 3), 100 * horizon]
        self.horizon = horizon
        self.register_buffer("spaces", spaces.clone())
        count = int(spaces.max()) + 1
        members = torch.zeros(len(spaces), count)
        members[torch.arange(len(spaces)), spaces] = 1.0
        self.register_buffer("members", members / members.sum(0), persistent=False)
        log_period = torch.as_tensor(periods, dtype=torch.float32).log()
        shape = (count, len(log_period))
        self.register_buffer("size", torch.ones(2, count))  # rms of u (Å) and of w (Å/fs)
        self.log_frequency = nn.Parameter((math.log(2 * math.pi) - log_period).repeat(count, 1))
        self.log_damping = nn.Parameter((-log_period - 0.5).repeat(count, 1))
        self.logits = nn.Parameter(torch.zeros(shape))
        self.anharmonic = anharmonic
        # 10 χ and 10 χ̄, and 10 ζ and 10 ζ̄
        self.stretch = nn.Parameter(torch.zeros(2, count), requires_grad=anharmonic)
        self.broadening = nn.Parameter(torch.zeros(2, count), requires_grad=anharmonic)

    @torch.no_grad()
    def fit(self, start: Tensor, velocity: Tensor, later: Tensor, times: Tensor) -> None:
        """Fit sizes, resonances and shares to observed motion, by least squares.

        Parameters
        ----------
        start, velocity
            Positions and velocities of starts, ``(batch, mode, row)`` in Å and Å/fs.
        later
            Positions at the times, ``(batch, time, mode, row)`` in Å.
        times
            t = lag/horizon, ``(batch, time)``.
        """
        size, later_size, rate = (self._mean_square(x) for x in (start, later, velocity))
        size, later_size, rate = (x.flatten(0, -2).mean(0).sqrt() for x in (size, later_size, rate))
        # modes that are zero at the start by construction, as rotations of the frame: use their
        # later size, from which the frequency is less certain
        still = size < 1e-3 * later_size
        self.size.copy_(torch.stack([torch.where(still, later_size, size), rate]))
        reach = torch.where(still, 20.0, 1.6)
        self._fit_resonance(start, velocity, later, times * self.horizon, reach)
        self.fit_shares(start, later, times)

    def _mean_square(self, x: Tensor) -> Tensor:
        """Mean square over each eigenspace, ``(…, mode, row)`` to ``(…, space)``."""
        return x.square().mean(-1) @ self.members

    def _fit_resonance(
        self, start: Tensor, velocity: Tensor, later: Tensor, lags: Tensor, reach: Tensor
    ) -> None:
        """Fit a single damped oscillator to the motion of each eigenspace."""
        natural = self.size[1] / self.size[0].clamp(min=_LEAST)
        moving = natural > 0
        if not bool(moving.any()):
            return
        u, w, y = start[:, None], velocity[:, None], later

        def over_lags(product: Tensor) -> Tensor:  # (batch, time or 1, mode, row) → (lag, space)
            return (product.sum(-1) @ self.members).expand(*lags.shape, -1).flatten(0, 1)

        motion = Moments(
            lags.reshape(-1, 1), *map(over_lags, (u * u, w * w, u * w, u * y, w * y, y * y))
        )
        omega, gamma = find_resonance(natural, motion, reach)
        if self.anharmonic:
            energy = self._energies(start, velocity)[:, None].expand(*lags.shape, -1).flatten(0, 1)
            omega, gamma, chi = find_anharmonicity(omega, gamma, motion, energy)
            self.stretch[0] = torch.where(moving, 10 * chi, 0.0)

        slow = torch.linspace(0, 1, self.logits.shape[1], device=omega.device)[1:-1]
        # slow relaxation: ω = γ, with times between that of the resonance and the horizon
        first = omega.log()[:, None]
        relaxing = first * (1 - slow) - math.log(self.horizon) * slow
        lasting = torch.full_like(first, -math.log(100 * self.horizon))
        found = torch.cat([first, relaxing, lasting], 1)
        self.log_frequency.copy_(torch.where(moving[:, None], found, self.log_frequency))
        found = torch.cat([gamma.log()[:, None], relaxing, lasting], 1)
        self.log_damping.copy_(torch.where(moving[:, None], found, self.log_damping))

    @torch.no_grad()
    def fit_shares(self, start: Tensor, later: Tensor, times: Tensor) -> None:
        """Fit the shares, by least squares over positions alone; arguments as of :meth:`fit`.

        With k_c the kernel of oscillator c, Σ ‖u(τ) − Σ_c a_c k_c(τ) u‖² is minimised over a ≥ 0,
        Σ a = 1, in every eigenspace, by exponentiated gradient. Shares stay above zero, so that
        training can continue from there. Eigenspaces that are zero at the start do not determine
        shares, and get the resonance alone.
        """
        tau = (times * self.horizon)[None, ..., None]  # (1, batch, time, 1)
        omega, gamma = (x.exp()[:, None, None] for x in (self.log_frequency, self.log_damping))
        kernel, _ = kernels(omega, gamma, tau)  # (space, batch, time, oscillator)
        size = self._mean_square(start).T
        along = ((start[:, None] * later).mean(-1) @ self.members).movedim(2, 0)
        gram = torch.einsum("sbtc,sbtd,sb->scd", kernel, kernel, size)
        wanted = torch.einsum("sbtc,sbt->sc", kernel, along)
        rate = 4.0 / gram.diagonal(dim1=1, dim2=2).amax(1, keepdim=True).clamp(min=_LEAST)
        share = torch.full_like(self.logits, 1 / self.logits.shape[1])
        still = size.mean(1) < 1e-6 * self._mean_square(later).flatten(0, 1).mean(0)
        first = torch.zeros_like(share).index_fill(1, torch.tensor(0, device=share.device), 1.0)
        for _ in range(self._rounds):
            slope = (gram @ share[..., None])[..., 0] - wanted
            share = (share.log() - rate * slope).softmax(-1).clamp(min=_LEAST)
        share = torch.where(still[:, None], first, share)
        self.logits.copy_((0.998 * share + 0.002 / share.shape[1]).log())

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
        stretched, broadened = self._anharmonicity(amplitudes)
        omega, gamma = self.log_frequency.exp() / stretched, self.log_damping.exp() * broadened
        squared = omega**2 + gamma**2  # (batch, 1, space, oscillator)
        share = self.logits.softmax(-1)
        share_of_w = share * squared / (share * squared).sum(-1, keepdim=True)
        decay = torch.exp(-gamma * tau)  # (batch, time, space, oscillator)
        of_u, of_w = share * decay, share_of_w * decay
        cosine = torch.cos(omega * tau)
        sine = torch.sin(omega * tau) / omega
        kernel = torch.stack(
            [
                (of_u * (cosine + gamma * sine)).sum(-1),  # u → u
                (of_w * sine).sum(-1),  # w → u
                (-of_u * squared * sine).sum(-1),  # u → w
                (of_w * (cosine - gamma * sine)).sum(-1),  # w → w
            ]
        )  # (4, batch, time, space)
        uu, wu, uw, ww = kernel[..., self.spaces, None]  # each (batch, time, mode, 1)
        u, w = amplitudes[:, None].unbind(-1)
        return torch.stack([uu * u + wu * w, uw * u + ww * w], -1)

    def _anharmonicity(self, amplitudes: Tensor) -> tuple[Tensor, Tensor]:
        """Factors of periods and dampings, ``(batch, 1, space, 1)`` each."""
        own = self._energies(*amplitudes.unbind(-1))
        excess = 0.1 * torch.stack([own, own.mean(-1, keepdim=True).expand_as(own)], 1)
        period = bounded((excess * self.stretch).sum(1))
        damping = bounded((excess * self.broadening).sum(1))
        return period[:, None, :, None], damping[:, None, :, None]

    def _energies(self, u: Tensor, w: Tensor) -> Tensor:
        """E − 1 of positions and velocities ``(batch, mode, row)``: ``(batch, space)``."""
        # motion at the level of rounding counts as none
        size = torch.maximum(self.size, 1e-4 * self.size.amax(1, keepdim=True)).clamp(min=_LEAST)
        own = self._mean_square(u) / size[0] ** 2 + self._mean_square(w) / size[1] ** 2
        return (own / 2 - 1).clamp(max=self._most)
