"""Modes with several equilibrium positions: vibrations about one that depends on the start."""

import torch
from torch import Tensor, nn

from gfnode.dynamics.oscillator import OscillatorDynamics


class SettlingDynamics(nn.Module):
    """Vibrations about an equilibrium position that depends on the start.

    A mode with several minima (a torsion, say) vibrates about the one it is in, not about its
    mean; and a molecule rotates while its torsions relax. With φ_τ the vibrations, which start from
    the distance to equilibrium, and Gaussians G_j::

        u(τ) = φ_τ(u − r(u), w) + e^(−τ/τ_r) (1 + τ/τ_r) r(u) + (1 − e^(−τ/τ_d) (1 + τ/τ_d)) d(u)
        r(u) = (1 − s) Σ_j r_j G_j(u) + s u,   d(u) = (1 − s) Σ_j d_j G_j(u)

    r is the equilibrium position of the start, which decays with the time τ_r, initialised far
    beyond the horizon; d is the drift in the time τ_d. Together they are ⟨u(τ) | u⟩ once vibrations
    have decayed, a curve for each mode. A start that is twice as far from the mean in some mode as
    all of training is an unknown conformer, for which the molecule is assumed to stay where it is:
    s, the same for all modes, grows smoothly from 0 at 1.5 times the largest |u| of training to 1
    at 2 times. That largest |u| is taken as at least four thermal standard deviations of the mode
    at the mean temperature T of all modes, ⟨u²⟩^½ (T/T_k)^½, since a mode may be colder in
    training, as in a crystal at constant energy. For modes out of the plane of a planar molecule
    the curves are odd, of G_j(u) − G_j(−u). At τ = 0 the prediction is u, and its first derivative
    w.

    Parameters
    ----------
    vibrations
        Dynamics of the deviation from equilibrium.
    n_modes
        Number of modes, each of one row, with amplitudes of about unit variance.
    horizon
        The lag at t = 1, in fs.
    """

    physical = ("log_times",)
    _late = 0.05  # least lag, in horizons, that curves are fitted to
    _folds = 5
    _usual, _other = 1.5, 2.0  # s is 0 below, 1 above these multiples of the largest |u|
    _thermal = 4.0  # largest |u| in thermal standard deviations, at least
    _least = 0.05  # fraction of the variance that a curve must explain, to be used
    # ridge penalties, and the ratio to the best error so far below which one is chosen: the
    # smallest penalty is for motion that the curves explain almost completely
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
        rest, drift = (1 - stays) * found[..., None]
        return rest + stays * position, drift

    def _features(self, position: Tensor) -> Tensor:
        found = torch.exp(-((position - self.centres) ** 2))
        return torch.where(self.odd[:, None], found - found.flip(-1), found)  # centres are even

    def _staying(self, times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(1 + k) e^(−k) and −k e^(−k), k = τ/τ_r and τ/τ_d, and 1/τ_r and 1/τ_d.

        ``(2, batch, time, mode)`` twice, and ``(2, 1, 1, mode)`` in 1/fs.
        """
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
        """Ridge regression of late positions, with a penalty cross-validated for each mode.

        Windows are in the order of time: folds are blocks of it.
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
