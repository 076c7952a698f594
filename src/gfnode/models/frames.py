"""Where the molecule is, apart from its shape: what is taken off before the graph Fourier transform.

A frame splits a start into a placement and two channels an atom, (position, velocity), that the
modes carry; and puts the molecule back together at every lag.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gfnode.geometry import (
    center,
    inertia_tensor,
    mean_conformer,
    momentum,
    rotation_matrix,
    superpose,
)
from gfnode.models.egnn import lag_embedding, perceptron
from gfnode.system import System
from gfnode.windows import Windows


class Centred(nn.Module):
    """The paper's frame: the mean position of the start is taken off and added back."""

    invariants = 0

    def prepare(self, windows: Windows) -> None:
        """Nothing to fit."""

    def place(self, positions: Tensor, velocities: Tensor) -> Tensor:
        """Mean position of the start, ``(batch, 1, 3)``."""
        return center(positions)

    def scalars(self, placement: Tensor) -> None:
        """No invariants are added to the atoms' scalars."""

    def channels(self, placement: Tensor, x: Tensor, v: Tensor) -> Tensor:
        """Position and velocity, ``(batch, atom, 3, 2)``."""
        return torch.stack([x - placement, v], -1)

    def restore(
        self, placement: Tensor, channels: Tensor, h: Tensor, lags: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Positions and velocities at the lags, ``(batch, time, atom, 3)`` each."""
        x, v = channels.unbind(-1)
        return x + placement[:, None], v

    def correct(self, x: Tensor, decoded: Tensor, lags: Tensor) -> Tensor:
        """The decoder has the last word."""
        return decoded


class Placement(NamedTuple):
    """A start as a rigid body that carries the mean conformer, plus what is left of it."""

    centre: Tensor  # (batch, 1, 3) centre of mass, Å
    drift: Tensor  # (batch, 1, 3) velocity of the centre of mass, Å/fs
    body: Tensor  # (batch, atom, 3) the mean conformer placed on the start, about the centre, Å
    spins: Tensor  # (batch, atom, 3) I⁻¹ m_i r_i × v_i: each atom's share of the turn, 1/fs
    displacement: Tensor  # (batch, atom, 3) start less body, Å
    vibration: Tensor  # (batch, atom, 3) velocity less drift and turn, Å/fs


class Anchored(nn.Module):
    """A rigid body that carries the mean conformer, and the displacements from it.

    The mean conformer of the training frames is placed on the start (mirror images allowed, so that
    reflections are kept). What the modes carry is the displacement u from it and the velocity w
    that is left after drift V and turn ω = I⁻¹ Σ_i m_i r_i × v_i. At a lag τ::

        θ(τ) = s_r(τ) Σ_i c_i(τ) I⁻¹ m_i r_i × v_i
        x(τ) = x_c + s_t(τ) V + exp([θ]×) (body + u(τ))

    c_i are learned of each atom's features and equal one at τ = 0, so that a group that spins
    against the rest (a methyl rotor at zero total angular momentum) can turn the frame.
    s(τ) = τ_p (1 − e^(−τ/τ_p)) lets the momenta be forgotten after a learned time τ_p, so that
    free flight, solvent and aligned targets are all in reach. At τ = 0 the start comes back, and
    the first-order change is the velocity.

    Parameters
    ----------
    system
        The molecular system.
    width
        Features an atom.
    lag_width
        Width of the lag embedding.
    """

    invariants = 3
    _onset = 100.0  # fs in which what is learned of a start sets in

    conformer: Tensor
    masses: Tensor
    score: Tensor

    def __init__(self, system: System, width: int, lag_width: int) -> None:
        super().__init__()
        self.time_step, self.horizon = system.time_step, system.horizon
        self.lag_width = lag_width
        masses = torch.as_tensor(system.masses, dtype=torch.float32)
        self.register_buffer("masses", masses, persistent=False)
        self.register_buffer("score", torch.as_tensor(system.score), persistent=False)
        self.register_buffer("conformer", torch.zeros(system.n_atoms, 3))
        self.log_memory = nn.Parameter(torch.zeros(2))  # of drift and turn, in horizons
        self.share = perceptron(width + lag_width, width, 1)
        nn.init.zeros_(self.share[2].weight)
        nn.init.zeros_(self.share[2].bias)

    @torch.no_grad()
    def prepare(self, windows: Windows) -> None:
        """Take the mean conformer, and find how long drift and turn last in the training data."""
        self.conformer.copy_(mean_conformer(windows.conformations(), self.masses, reflect=True))
        batch = windows.batch(windows.evenly(500))
        placement = self.place(batch.positions, batch.velocities)
        best = torch.zeros(2)
        memories = torch.logspace(-3, 1.5, 19).log()
        for k in (0, 1):
            self.log_memory.copy_(best)
            errors = []
            for memory in memories:
                self.log_memory[k] = memory
                x, _ = self._carry(placement, batch.lags, placement.body[:, None], None)
                miss = (x - batch.targets)[..., self.score, :]
                errors.append((miss.mean(-2) if k == 0 else miss).square().mean())
            # the longest that is as good as any: where a momentum is zero, all are
            good = torch.stack(errors) <= 1.01 * torch.stack(errors).min()
            best[k] = memories[good].max()
        self.log_memory.copy_(best)

    def place(self, positions: Tensor, velocities: Tensor) -> Placement:
        """Split a start; ``(batch, atom, 3)`` in Å and Å/fs."""
        m = self.masses
        centre = center(positions, m)
        r = positions - centre
        drift = momentum(velocities, m)[:, None] / m.sum()
        body = superpose(self.conformer.expand_as(r), r, m, reflect=True)
        inertia = inertia_tensor(positions, m)
        # the axis of a linear molecule, and a lone atom, have no inertia: keep the solve finite
        floor = 1e-4 * inertia.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None] + 1e-4
        inertia = inertia + floor * torch.eye(3, device=m.device)
        spins = torch.linalg.solve(
            inertia, (m[:, None] * torch.linalg.cross(r, velocities - drift)).mT
        ).mT
        turning = torch.linalg.cross(spins.sum(-2, keepdim=True).expand_as(r), r)
        return Placement(centre, drift, body, spins, r - body, velocities - drift - turning)

    def scalars(self, placement: Placement) -> Tensor:
        """Invariants of the displacement, ``(batch, atom, 3)``: |u|, |w| a step, and u·w/|u|."""
        u, w = placement.displacement, placement.vibration * self.time_step
        size = (u.square().sum(-1) + 1e-6).sqrt()
        speed = (w.square().sum(-1) + 1e-12).sqrt()
        return torch.stack([size, speed, (u * w).sum(-1) / size], -1)

    def channels(self, placement: Placement, x: Tensor, v: Tensor) -> Tensor:
        """Displacement and vibration, ``(batch, atom, 3, 2)``."""
        return torch.stack([placement.displacement, placement.vibration], -1)

    def restore(
        self, placement: Placement, channels: Tensor, h: Tensor, lags: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Positions and vibrations at the lags, ``(batch, time, atom, 3)`` each."""
        u, w = channels.unbind(-1)
        embedding = lag_embedding(lags / self.time_step, self.lag_width)[:, :, None]
        embedding = embedding.expand(*h.shape[:-1], -1)
        share = 1 + self._begun(lags) * self.share(torch.cat([h, embedding], -1))
        x, rotation = self._carry(placement, lags, placement.body[:, None] + u, share)
        return x, w @ rotation.mT * self.time_step

    def correct(self, x: Tensor, decoded: Tensor, lags: Tensor) -> Tensor:
        """What the decoder changes sets in with the lag, so that the start comes back at zero."""
        return x + self._begun(lags) * (decoded - x)

    def _begun(self, lags: Tensor) -> Tensor:
        return -torch.expm1(-lags / self._onset)[..., None, None]

    def _carry(
        self, placement: Placement, lags: Tensor, body: Tensor, share: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        memory = self.log_memory.exp() * self.horizon
        elapsed = -memory * torch.expm1(-lags[..., None] / memory)  # (batch, time, 2) fs
        spins = placement.spins[:, None] if share is None else share * placement.spins[:, None]
        rotation = rotation_matrix(elapsed[..., 1:] * spins.sum(-2))
        moved = placement.centre[:, None] + elapsed[..., :1, None] * placement.drift[:, None]
        return moved + body @ rotation.mT, rotation
