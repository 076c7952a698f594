"""Propagation in modes: transform, evolve, invert."""

import torch
from torch import Tensor, nn

from gfnode.dynamics.oscillator import OscillatorDynamics
from gfnode.dynamics.settling import SettlingDynamics
from gfnode.fourier import GraphFourier, IdentityTransform
from gfnode.models.anchored import Anchored
from gfnode.models.quasiharmonic import QuasiHarmonic
from gfnode.trajectory import SHORT_GAP
from gfnode.windows import Windows

Transform = GraphFourier | IdentityTransform


class SpectralBlock(nn.Module):
    """Residual update from the modes: y(t) = x + σ(U φ_t(Uᵀ x)).

    After eq. 4 to 9 of the paper, whose text has neither the residual nor σ.

    ``nodes (batch, atom, row, feature)`` at times ``t (batch, time)`` become
    ``(batch, time, atom, row, feature)``.
    """

    def __init__(self, transform: Transform, dynamics: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.transform, self.dynamics, self.activation = transform, dynamics, activation

    def forward(self, nodes: Tensor, times: Tensor) -> Tensor:
        """Evolve the nodes to the times."""
        modes = self.transform(nodes.flatten(-2)).unflatten(-1, nodes.shape[-2:])
        moved = self.dynamics(modes, times)
        back = self.transform.inverse(moved.flatten(-2)).unflatten(-1, nodes.shape[-2:])
        return nodes[:, None] + self.activation(back)


class SpectralPropagator(nn.Module):
    """Evolve displacements in the modes, without a residual: y = U φ_t(Uᵀ x) + φ'_t(x − U Uᵀ x).

    The part outside the kept modes has dynamics φ' of its own, so that y(0) = x.
    """

    _most_seen = 10_000_000  # atom positions that modes and oscillators are fitted to

    def __init__(
        self,
        transform: Transform | QuasiHarmonic,
        dynamics: OscillatorDynamics | SettlingDynamics,
        rest: OscillatorDynamics,
    ) -> None:
        super().__init__()
        self.transform, self.dynamics, self.rest = transform, dynamics, rest

    def forward(self, nodes: Tensor, times: Tensor) -> Tensor:
        """Evolve ``(batch, atom, 3, 2)``, displacement and vibration, to the times."""
        modes, rest = self._split(nodes.movedim(-1, 0))
        moved = self.dynamics(modes.movedim(0, -1), times).movedim(-1, 0)
        back = self.transform.inverse(moved).movedim(0, -1)
        return back + self.rest(rest.movedim(0, -1), times)

    def _split(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Amplitudes of ``(..., atom, 3)``, and the part outside the modes."""
        modes = self.transform(nodes)
        return modes, nodes - self.transform.inverse(modes)

    def prepare(self, frame: Anchored, windows: Windows) -> None:
        """Fit modes and oscillators to the motion in training windows."""
        room = self._most_seen // (windows.targets.shape[1] * self.rest.spaces.numel())
        batch = windows.batch(windows.evenly(min(500, max(200, room))))
        motion = frame.displacements(batch)
        if isinstance(self.transform, QuasiHarmonic):
            conformer = frame.conformer
            seen = conformer.superposed(torch.cat([batch.positions, batch.targets.flatten(0, 1)]))
            shapes, planar = seen - conformer.positions, conformer.planar
            self.transform.fit(shapes, motion, batch.lags, planar=planar)
            if isinstance(self.dynamics, SettlingDynamics):
                self.dynamics.odd.copy_(self.transform.odd & planar)
                if abs(windows.gap or 0.0) <= SHORT_GAP:  # velocities tell temperatures
                    self.dynamics.inertia.copy_(self.transform.inertia[:, None])
        times = batch.lags / self.rest.horizon
        (u, u0), (w, w0), (y, y0) = map(self._split, motion)
        self.dynamics.fit(u, w, y, times)
        self.rest.fit(u0, w0, y0, times)
