"""Quasi-harmonic modes: the directions in which a molecule is seen to vibrate."""

import torch
from torch import Tensor, nn


class QuasiHarmonic(nn.Module):
    """Principal modes of mass-weighted displacements, each of unit variance.

    With C = ⟨d dᵀ⟩ of d = √m u and C = Σ_k σ_k² e_k e_kᵀ, the amplitude of mode k is
    q_k = e_k·d / σ_k, largest σ_k (softest mode) first. In a harmonic molecule at temperature T
    these are the normal modes, with σ_k² = k_B T / ω_k². Displacements are given in the molecule's
    own frame, so amplitudes do not change when it is turned.

    M. Karplus, J. N. Kushick, Macromolecules 14, 325 (1981).

    Parameters
    ----------
    masses
        ``(atom,)`` in u.
    n_modes
        Modes kept, at most 3 × atom.
    """

    _smallest = 1e-6  # of the largest variance: below it a direction counts as rigid,
    _least = 1e-6  # u Å², and below that; a C-H bond at room temperature has 1e-3
    _alike = 0.05  # sizes closer than this, relative, count as nearly equal

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
        """Every mode moves by itself."""
        return torch.arange(self.n_modes)

    @torch.no_grad()
    def fit(self, displacements: Tensor, velocities: Tensor) -> None:
        """Take the modes of displacements ``(sample, atom, 3)`` in Å.

        Modes of nearly equal size are mixed by chance. They are turned so that velocities
        ``(sample, atom, 3)``, not necessarily of the same samples, are uncorrelated in them, which
        tells modes of different frequency apart. Modes beyond the rank of the displacements stay
        empty: their amplitude is zero.
        """
        root = self.masses.double().sqrt()[:, None]
        rows = (root * displacements.double()).flatten(1) / len(displacements) ** 0.5
        if rows.shape[0] < rows.shape[1]:
            variances, mixed = torch.linalg.eigh(rows @ rows.mT)
            vectors = rows.mT @ mixed / variances.clamp(min=1e-300).sqrt()
        else:
            variances, vectors = torch.linalg.eigh(rows.mT @ rows)
        kept = variances > max(self._smallest * float(variances[-1]), self._least)
        sizes = variances[kept].sqrt().flip(0)[: self.n_modes]
        vectors = vectors[:, kept].flip(1)[:, : self.n_modes]
        analysis, synthesis = vectors / sizes, (vectors * sizes).mT

        rates = (root * velocities.double()).flatten(1) @ analysis
        alike = (sizes[:, None] / sizes).log().abs() < self._alike
        _, turn = torch.linalg.eigh((rates.mT @ rates) * alike)
        analysis, synthesis = analysis @ turn, turn.mT @ synthesis
        # a sign that does not depend on the order of atoms: amplitudes are skewed upwards
        skewed = ((rows @ analysis) ** 3).sum(0)
        sign = torch.where(skewed < 0, -1.0, 1.0)
        analysis, synthesis = analysis * sign, sign[:, None] * synthesis
        found, shape = len(sizes), displacements.shape[1:]
        self.analysis.zero_()
        self.synthesis.zero_()
        self.analysis[..., :found] = analysis.unflatten(0, shape) * root[..., None]
        self.synthesis[:found] = synthesis.unflatten(1, shape) / root

    def forward(self, displacements: Tensor) -> Tensor:
        """Turn ``(..., atom, 3)`` in Å into amplitudes ``(..., mode, 1)``, without unit."""
        return (displacements.flatten(-2) @ self.analysis.flatten(0, 1)).unsqueeze(-1)

    def inverse(self, amplitudes: Tensor) -> Tensor:
        """Turn ``(..., mode, 1)`` into ``(..., atom, 3)`` in Å."""
        flat = amplitudes.squeeze(-1) @ self.synthesis.flatten(1)
        return flat.unflatten(-1, self.synthesis.shape[1:])
