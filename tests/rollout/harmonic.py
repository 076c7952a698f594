"""A model whose predictions are exact."""

import numpy as np
import torch
from torch import Tensor

from gfnode.graph import hop_edges
from gfnode.models import Model
from gfnode.models.base import ALONE, EUCLIDEAN
from gfnode.molecule.system import System
from gfnode.simulate.synthetic import HarmonicNetwork


class Harmonic(Model):
    """The exact flow of a harmonic network, about the centre of the start."""

    promises = EUCLIDEAN | ALONE

    def __init__(self, network: HarmonicNetwork) -> None:
        atoms = np.arange(len(network.numbers))
        bonds = np.stack([atoms, np.roll(atoms, -1)], 1)
        edges = hop_edges(bonds, len(atoms))
        super().__init__(System(network.numbers, atoms, atoms, bonds, edges, 0.5, 200.0))
        self.omega, self.modes, self.reference = (
            torch.from_numpy(a) for a in (network.frequencies, network.modes, network.reference)
        )

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        rest = self.reference - self.reference.mean(0) + positions.mean(1, keepdim=True)
        q, p = (self.modes.T @ y.double() for y in (positions - rest, velocities))
        phase = (self.omega * lags.double()[..., None])[..., None]  # (batch, time, mode, 1)
        lag = lags.double()[..., None, None]
        still = self.omega[:, None] < 1e-6
        sine = torch.where(still, lag, torch.sin(phase) / self.omega.clamp(min=1e-6)[:, None])
        moved = self.modes @ (torch.cos(phase) * q[:, None] + sine * p[:, None])
        return (rest[:, None] + moved).to(positions.dtype)
