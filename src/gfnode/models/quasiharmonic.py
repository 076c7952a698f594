"""Quasi-harmonic modes: principal components of mass-weighted displacements."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class QuasiHarmonic(nn.Module):
    """Principal modes of mass-weighted displacements, each of unit variance.

    With C = ⟨d dᵀ⟩ of d = √m u and C = Σ_k σ_k² e_k e_kᵀ, the amplitude of mode k is
    q_k = e_k·d / σ_k, largest σ_k (softest mode) first. In a harmonic molecule at temperature T
    these are the normal modes, with σ_k² = k_B T / ω_k². Displacements are given in the conformer
    frame, so amplitudes are invariant under rotation.

    M. Karplus, J. N. Kushick, Macromolecules 14, 325 (1981).

    Parameters
    ----------
    masses
        ``(atom,)`` in u.
    n_modes
        Modes kept, at most 3 × atom.
    """

    # directions of less variance count as rigid: relative to the largest, and in u Å²
    _smallest = 1e-6
    _least = 1e-6  # a C-H bond at room temperature has 1e-3
    _alike = 0.3  # modes whose log σ differ by less may be mixed by sampling noise
    _bins = 12  # of lags
    _sweeps = 2
    _worth = 0.1  # least relative reduction of the off-diagonal terms by a Jacobi rotation

    masses: Tensor
    analysis: Tensor
    synthesis: Tensor

    def __init__(self, masses: Tensor, n_modes: int) -> None:
        super().__init__()
        self.n_modes = n_modes
        self.register_buffer("masses", masses, persistent=False)
        self.register_buffer("analysis", torch.zeros(len(masses), 3, n_modes))
        self.register_buffer("synthesis", torch.zeros(n_modes, len(masses), 3))

    @property
    def spaces(self) -> Tensor:
        """Every mode is an eigenspace of its own, ``(mode,)``."""
        return torch.arange(self.n_modes)

    @property
    def odd(self) -> Tensor:
        """Modes that are odd under z → −z, ``(mode,)``: out of plane in a planar molecule."""
        return torch.einsum("aik,kai->ki", self.analysis, self.synthesis)[:, 2] > 0.5

    @property
    def inertia(self) -> Tensor:
        """σ_k² = Σ_i m_i |u_i|² of displacements u at unit amplitude, ``(mode,)`` in u Å²."""
        return (self.masses[:, None] * self.synthesis.square()).sum((1, 2))

    @torch.no_grad()
    def fit(
        self, displacements: Tensor, motion: Sequence[Tensor], lags: Tensor, *, planar: bool = False
    ) -> None:
        """Compute the modes of displacements.

        Modes beyond the rank of the displacements are zero, and so are their amplitudes.

        Parameters
        ----------
        displacements
            All known ones, ``(sample, atom, 3)`` in Å.
        motion
            Displacement and velocity of starts, ``(batch, atom, 3)``, and later displacements,
            ``(batch, time, atom, 3)``, by which modes of similar σ are separated.
        lags
            Of the latter in fs, ``(batch, time)``.
        planar
            The mean conformer lies in the plane z = 0: modes are in plane or out of plane.
        """
        root = self.masses.double().sqrt()[:, None]
        seen = displacements.double()
        if planar:
            seen = torch.cat([seen, seen * seen.new_tensor([1.0, 1.0, -1.0])])
        rows = (root * seen).flatten(1) / len(seen) ** 0.5
        if rows.shape[0] < rows.shape[1]:
            variances, mixed = torch.linalg.eigh(rows @ rows.mT)
            vectors = rows.mT @ mixed / variances.clamp(min=1e-300).sqrt()
        else:
            variances, vectors = torch.linalg.eigh(rows.mT @ rows)
        kept = variances > max(self._smallest * float(variances[-1]), self._least)
        sizes = variances[kept].sqrt().flip(0)[: self.n_modes]
        vectors = vectors[:, kept].flip(1)[:, : self.n_modes]
        found, shape = len(sizes), displacements.shape[1:]
        self.analysis.zero_()
        self.synthesis.zero_()
        self.analysis[..., :found] = (vectors / sizes).unflatten(0, shape) * root[..., None]
        self.synthesis[:found] = (vectors * sizes).mT.unflatten(1, shape) / root
        self._separate(sizes, motion, lags, planar=planar)
        # fix the sign independently of the order of atoms: positive skewness of amplitudes
        skewed = (self(displacements)[..., 0] ** 3).sum(0)
        sign = torch.where(skewed < 0, -1.0, 1.0)
        self.analysis *= sign
        self.synthesis *= sign[:, None, None]

    def _separate(
        self, sizes: Tensor, motion: Sequence[Tensor], lags: Tensor, *, planar: bool
    ) -> None:
        """Rotate modes of similar σ, which sampling noise mixes, to decouple their dynamics.

        A normal mode of frequency ω moves as q(τ) = Re(z e^(iωτ)), z = q − i q̇/ω. So the matrix
        ⟨q_j(τ) z̄_k⟩ e^(−iωτ) of two modes is diagonal at all lags, and changes slowly with them
        where their frequencies are close. It is averaged over bins of lags, and a Jacobi rotation
        minimises the off-diagonal terms of all of them (approximate joint diagonalisation: Cardoso
        & Souloumiac, SIAM J. Matrix Anal. Appl. 17, 161, 1996).
        """
        order = lags.flatten().argsort()[: lags.numel() // self._bins * self._bins]
        start = torch.div(order, lags.shape[1], rounding_mode="floor")
        u, w, y = (self(x)[..., : len(sizes), 0].flatten(0, -2).T for x in motion)
        moved = torch.stack([y[:, order], u[:, start], w[:, start]], 1)  # (mode, 3, sample)
        tau = lags.flatten()[order]
        side = self.odd if planar else torch.zeros_like(sizes, dtype=torch.bool)
        logs, odd = sizes.log().tolist(), side.tolist()
        pairs = [
            [a, b]
            for b in range(len(sizes))
            for a in range(b)
            if logs[a] - logs[b] < self._alike and odd[a] == odd[b]
        ]
        whole = torch.eye(len(sizes), dtype=moved.dtype, device=moved.device)
        fresh = set(range(len(sizes)))  # modes rotated in the previous sweep
        for _ in range(self._sweeps):
            fresh, before = set(), fresh
            for pair in pairs:
                turn = self._jacobi(moved[pair], tau) if before & {*pair} else None
                if turn is not None:
                    moved[pair] = torch.einsum("kl,kcn->lcn", turn, moved[pair])
                    whole[:, pair] = whole[:, pair] @ turn
                    fresh |= {*pair}
        kept = slice(len(sizes))
        self.analysis[..., kept] = self.analysis[..., kept] @ whole
        self.synthesis[kept] = torch.einsum("kl,kai->lai", whole, self.synthesis[kept])

    def _jacobi(self, moved: Tensor, lags: Tensor) -> Tensor | None:
        """Jacobi rotation ``(2, 2)`` of modes ``(2, 3, sample)``; None where it gains little."""
        y, u, w = moved.unbind(1)
        omega = (w.square().sum() / u.square().sum().clamp(min=1e-30)).sqrt().clamp(min=1e-12)
        c, s = torch.cos(omega * lags), torch.sin(omega * lags)
        w = w / omega
        rows = y.unflatten(1, (self._bins, -1)).transpose(0, 1)  # (bin, mode, sample)
        M = torch.stack(
            [rows @ x.T.unflatten(0, (self._bins, -1)) for x in (c * u + s * w, c * w - s * u)]
        )  # real and imaginary parts, (2, bin, mode, mode)
        h = torch.stack([M[..., 0, 0] - M[..., 1, 1], M[..., 0, 1] + M[..., 1, 0]]).flatten(1)
        (apart, both), (_, mixed) = (h @ h.T).tolist()
        length = math.hypot(apart - mixed, 2 * both)
        if mixed - (apart + mixed - length) / 2 <= self._worth * (apart + mixed):
            return None
        angle = 0.5 * math.atan2(2 * both, apart - mixed + length)
        cosine, sine = math.cos(angle), math.sin(angle)
        return moved.new_tensor([[cosine, -sine], [sine, cosine]])

    def forward(self, displacements: Tensor) -> Tensor:
        """Dimensionless amplitudes ``(..., mode, 1)`` of displacements ``(..., atom, 3)`` in Å."""
        return (displacements.flatten(-2) @ self.analysis.flatten(0, 1)).unsqueeze(-1)

    def inverse(self, amplitudes: Tensor) -> Tensor:
        """Displacements ``(..., atom, 3)`` in Å of amplitudes ``(..., mode, 1)``."""
        flat = amplitudes.squeeze(-1) @ self.synthesis.flatten(1)
        return flat.unflatten(-1, self.synthesis.shape[1:])
