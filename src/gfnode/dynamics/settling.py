"""Where a mode comes to rest: the position that it vibrates about, given where it is now."""

import torch
from torch import Tensor, nn

from gfnode.dynamics.oscillator import OscillatorDynamics


class SettlingDynamics(nn.Module):
    """Vibrations about a position of rest that depends on the start.

    A mode with several minima (a torsion, say) vibrates about the one it is in, not about its
    mean; and a molecule turns while its torsions relax. With φ_τ the vibrations, which begin at
    the distance from rest, and Gaussians G_j::

        u(τ) = φ_τ(u − r(u), w) + e^(−τ/τ_r) (1 + τ/τ_r) r(u) + (1 − e^(−τ/τ_d) (1 + τ/τ_d)) d(u)
        r(u) = Σ_j r_j G_j(u) + s u,   d(u) = Σ_j d_j G_j(u)

    r is where the start lies but for its vibrations, forgotten in the time τ_r, which begins far
    beyond the horizon; d is where it drifts in the time τ_d. Together they are ⟨u(τ) | u⟩ once
    vibrations have faded, a curve for each mode. A start that is twice as far from the mean in any
    mode as all of training is another conformer, of which nothing is known but that the molecule
    stays in it for a while: s, the same for all modes, grows smoothly from 0 at 1.5 times the
    largest |u| of training to 1 at 2 times. That largest |u| is at least four times what the mode
    has at the temperature of them all, ⟨u²⟩^½ (T/T_k)^½: one that was cold in training, as in a
    crystal at constant energy, vibrates when it is hot. Of a mode out of the plane of a planar
    molecule, whose sides are alike, the curves are odd: of G_j(u) − G_j(−u). At τ = 0 the start
    comes back, and the first-order change is the velocity.

    Parameters
    ----------
    vibrations
        What moves the rest of each mode.
    n_modes
        Number of modes of one row, with amplitudes of about unit variance.
    horizon
        The lag at t = 1, in fs.
    """

    physical = ("log_times",)
    _late = 0.05  # horizons from which on curves are fitted
    _folds = 5
    _usual, _other = 1.5, 2.0  # of the largest |u| of training: up to which, and from which on
    _thermal = 4.0  # standard deviations at the temperature of all modes that were seen, at least
    _least = 0.05  # of its variance that a curve must explain, to be worth its noise
    # ridges, and what share of the best error so far their own must lie below: nearly none is for
    # motion that the curves explain nearly wholly
    _ridges = ((1e-2, 1.0), (1e-1, 1.0), (1.0, 1.0), (10.0, 1.0), (1e-5, 0.5))

    centres: Tensor
    largest: Tensor
    inertia: Tensor
    odd: Tensor

    def __init__(self, vibrations: OscillatorDynamics, n_modes: int, horizon: float) -> None:
        super().__init__()
        self.vibrations, self.horizon = vibrations, horizon
        self.register_buffer("largest", torch.full((n_modes, 1), torch.inf))  # |u| of training
        self.register_buffer("inertia", torch.zeros(n_modes, 1), persistent=False)  # u Å²
        self.register_buffer("odd", torch.zeros(n_modes, dtype=torch.bool))  # whose curves are odd
        self.register_buffer("centres", torch.linspace(-4, 4, 17), persistent=False)
        self.curves = nn.Parameter(torch.zeros(2, n_modes, 17))  # r_j and d_j
        times = torch.tensor([100 * horizon, horizon / 3]).log()  # of r and d
        self.log_times = nn.Parameter(times[:, None].repeat(1, n_modes))

    def rest(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Curves r and d at positions ``(batch, mode, 1)``, of the same shape each."""
        found = torch.einsum("bmj,cmj->cbm", self._features(position), self.curves)
        farthest = (position.abs() / self.largest.clamp(min=1e-6)).amax(1, keepdim=True)
        other = ((farthest - self._usual) / (self._other - self._usual)).clamp(0, 1)
        stays = other**2 * (3 - 2 * other)
        return found[0, ..., None] + stays * position, found[1, ..., None]

    def _features(self, position: Tensor) -> Tensor:
        found = torch.exp(-((position - self.centres) ** 2))
        return torch.where(self.odd[:, None], found - found.flip(-1), found)  # centres are even

    def _staying(self, times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(1 + k) e^(−k) and −k e^(−k), ``(2, batch, time, mode)``, and 1/τ_r, 1/τ_d."""
        rate = torch.exp(-self.log_times)[:, None, None]
        k = (times * self.horizon)[..., None] * rate
        decay = torch.exp(-k)
        return (1 + k) * decay, -k * decay, rate

    def forward(self, amplitudes: Tensor, times: Tensor) -> Tensor:
        """Carry ``(batch, mode, 1, 2)`` to times; see :meth:`OscillatorDynamics.forward`."""
        u, w = amplitudes.unbind(-1)
        rest, drift = self.rest(u)
        moved = self.vibrations(torch.stack([u - rest, w], -1), times)
        stays, slope, rate = self._staying(times)
        slope = slope * rate
        of_rest = torch.stack([stays[0], slope[0]], -1)  # (batch, time, mode, 2)
        of_drift = torch.stack([1 - stays[1], -slope[1]], -1)
        shift = of_rest * rest[:, None] + of_drift * drift[:, None]
        return moved + shift[..., None, :]

    @torch.no_grad()
    def fit(self, start: Tensor, velocity: Tensor, later: Tensor, times: Tensor) -> None:
        """Fit the curves, then the vibrations about them; see :meth:`OscillatorDynamics.fit`."""
        stays, _, _ = self._staying(times)
        grown = torch.stack([stays[0], 1 - stays[1]]).double()  # (2, batch, time, mode)
        grown = grown * (times > self._late)[..., None]
        features = self._features(start).double()  # (batch, mode, φ)
        self.curves.copy_(self._ridge(features, later[..., 0].double(), grown))
        heat = velocity.square().mean(0) * self.inertia  # k_B T of each mode
        mean = heat.sum() / (heat > 0).sum().clamp(min=1)
        thermal = (start.square().mean(0) * mean / heat.clamp(min=1e-30)).sqrt()
        seen = torch.maximum(start.abs().amax(0), later.abs().amax((0, 1)))
        self.largest.copy_(torch.maximum(seen, self._thermal * thermal))
        rest, drift = self.rest(start)
        shift = stays[0][..., None] * rest[:, None] + (1 - stays[1])[..., None] * drift[:, None]
        self.vibrations.fit(start - rest, velocity, later - shift, times)

    def _ridge(self, features: Tensor, later: Tensor, grown: Tensor) -> Tensor:
        """Ridge regression of late positions, each mode as stiff as cross-validation likes best.

        Windows come in the order of time: folds are stretches of it.
        """
        fold = torch.arange(len(features), device=later.device) * self._folds // len(features)
        late = (grown[0] > 0).to(later)

        def of(part: Tensor) -> tuple[Tensor, Tensor]:
            f, g, y = features[part].movedim(1, 0), grown[:, part], later[part]
            weight = torch.stack([(g * each).sum(2) for each in g])  # (c, d, batch, mode)
            weighted = weight.permute(3, 0, 1, 2)[..., None] * f[:, None, None]
            square = weighted.mT @ f[:, None, None]  # (mode, c, d, i, j)
            along = (g * y).sum(2).permute(2, 0, 1) @ f  # (mode, c, i)
            return square.transpose(2, 3).flatten(3).flatten(1, 2), along.flatten(1)

        squares, alongs = zip(*(of(fold == number) for number in range(self._folds)), strict=True)
        square, along = torch.stack(squares), torch.stack(alongs)
        total, total_along = square.sum(0), along.sum(0)
        scale = total.diagonal(dim1=1, dim2=2).amax(1).clamp(min=1e-12)
        unit = scale[:, None, None] * torch.eye(total.shape[-1], device=later.device)
        power = (later.square() * late).sum((0, 1))
        best = (1 - self._least) * power  # without a curve
        chosen = torch.zeros_like(total_along)
        for ridge, below in self._ridges:
            others = torch.linalg.solve(total - square + ridge * unit, total_along - along)
            error = torch.einsum("fmi,fmij,fmj->m", others, square, others)
            error = power + error - 2 * (others * along).sum((0, 2))
            better = error < below * best
            best = torch.where(better, error, best)
            found = torch.linalg.solve(total + ridge * unit, total_along)
            chosen = torch.where(better[:, None], found, chosen)
        return chosen.unflatten(1, (2, -1)).movedim(1, 0)
