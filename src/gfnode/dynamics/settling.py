"""Where a mode comes to rest: the position that it vibrates about, given where it is now."""

import math

import torch
from torch import Tensor, nn

from gfnode.dynamics.oscillator import OscillatorDynamics


class SettlingDynamics(nn.Module):
    """Vibrations about a position of rest that depends on the start.

    A mode with several minima (a torsion, say) vibrates about the one it is in, not about its
    mean. With φ the vibrations, which begin at the distance from rest::

        u(τ) = φ_τ(u − r(u), w) + e^(−τ/τ_r) (1 + τ/τ_r) r(u),   r(u) = Σ_j c_j φ_j(u)

    r is what remains at long lags, ⟨u(τ) | u⟩, a curve for each mode: a sum of Gaussians. It is
    forgotten in the time τ_r, which begins far beyond the horizon. At τ = 0 the start comes back,
    and the first-order change is the velocity.

    Parameters
    ----------
    vibrations
        What moves the rest of each mode.
    n_modes
        Number of modes of one row, with amplitudes of about unit variance.
    horizon
        The lag at t = 1, in fs.
    """

    physical = ("log_time",)
    _late = 0.3  # horizons from which on motion counts as settled
    _folds = 5
    _least = 0.05  # of its variance that a curve must explain, to be worth its noise
    _ridges = (1e-2, 1e-1, 1.0, 10.0)

    centres: Tensor

    def __init__(self, vibrations: OscillatorDynamics, n_modes: int, horizon: float) -> None:
        super().__init__()
        self.vibrations, self.horizon = vibrations, horizon
        self.register_buffer("centres", torch.linspace(-4, 4, 17), persistent=False)
        self.curve = nn.Parameter(torch.zeros(n_modes, 17))
        self.log_time = nn.Parameter(torch.full((n_modes, 1), math.log(100 * horizon)))

    def rest(self, position: Tensor) -> Tensor:
        """Where positions ``(batch, mode, 1)`` settle."""
        return (self._features(position) * self.curve).sum(-1, keepdim=True)

    def _features(self, position: Tensor) -> Tensor:
        return torch.exp(-((position - self.centres) ** 2))

    def forward(self, amplitudes: Tensor, times: Tensor) -> Tensor:
        """Carry ``(batch, mode, 1, 2)`` to times; see :meth:`OscillatorDynamics.forward`."""
        u, w = amplitudes.unbind(-1)
        rest = self.rest(u)
        moved = self.vibrations(torch.stack([u - rest, w], -1), times)
        rate = torch.exp(-self.log_time)
        k = (times * self.horizon)[..., None, None] * rate  # (batch, time, mode, 1)
        stays = torch.stack([1 + k, -k * rate], -1) * torch.exp(-k)[..., None]
        return moved + stays * rest[:, None, ..., None]

    @torch.no_grad()
    def fit(self, start: Tensor, velocity: Tensor, later: Tensor, times: Tensor) -> None:
        """Fit the curves, then the vibrations about them; see :meth:`OscillatorDynamics.fit`."""
        late = (times > self._late).double()
        features = self._features(start).double()  # (batch, mode, φ)
        self.curve.copy_(self._curves(features, later[..., 0].double(), late))
        rest = self.rest(start)
        self.vibrations.fit(start - rest, velocity, later - rest[:, None], times)

    def _curves(self, features: Tensor, later: Tensor, late: Tensor) -> Tensor:
        """Ridge regression of late positions, each mode as stiff as cross-validation likes best.

        Windows come in the order of time: folds are stretches of it.
        """
        fold = torch.arange(len(features), device=late.device) * self._folds // len(features)
        parts = [fold == number for number in range(self._folds)]
        wanted = torch.einsum("btm,bt->bm", later, late)
        square = torch.stack(
            [torch.einsum("bmi,bmj,b->mij", *(features[p],) * 2, late[p].sum(1)) for p in parts]
        )
        along = torch.stack([torch.einsum("bmi,bm->mi", features[p], wanted[p]) for p in parts])
        total, total_along = square.sum(0), along.sum(0)
        scale = total.diagonal(dim1=1, dim2=2).amax(1).clamp(min=1e-12)
        unit = scale[:, None, None] * torch.eye(total.shape[-1], device=late.device)
        best = -self._least * torch.einsum("btm,bt->m", later.square(), late)  # without a curve
        chosen = torch.zeros_like(total_along)
        for ridge in self._ridges:
            others = torch.linalg.solve(total - square + ridge * unit, total_along - along)
            error = torch.einsum("fmi,fmij,fmj->m", others, square, others)
            error = error - 2 * (others * along).sum((0, 2))
            better = error < best
            best = torch.where(better, error, best)
            found = torch.linalg.solve(total + ridge * unit, total_along)
            chosen = torch.where(better[:, None], found, chosen)
        return chosen
