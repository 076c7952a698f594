"""GF-NODE, the Graph Fourier Neural ODE: encode, transform, evolve, invert, decode."""

import torch
from torch import Tensor, nn

from gfnode.models.anchored import Anchored
from gfnode.models.base import ALONE, EUCLIDEAN, Model, Symmetry
from gfnode.models.composition import (
    GraphFourierODESettings,
    coordinate_block,
    feature_dynamics,
    graph_transform,
)
from gfnode.models.encoders import ENCODERS
from gfnode.models.frames import Centred, Frame
from gfnode.models.inputs import AtomInputs
from gfnode.models.layers import EGNNLayers, lag_embedding
from gfnode.models.newton import Newton
from gfnode.models.spectral import SpectralBlock, SpectralPropagator
from gfnode.molecule.system import System
from gfnode.progress import Report, silent
from gfnode.windows import Windows

TOGETHER = 64
"""Least batch size where trajectories are integrated: alone, a start takes ten times as long."""


class GraphFourierODE(Model):
    """Graph Fourier Neural ODE ("Joint modeling of spatial and temporal multiscales in MD").

    Parameters
    ----------
    system
        The molecular system.
    settings
        What it is composed of.
    """

    promises = EUCLIDEAN | ALONE | {Symmetry.START}

    def __init__(self, system: System, settings: GraphFourierODESettings) -> None:
        super().__init__(system)
        self.settings = s = settings
        anchored = s.frame == "anchored"
        self.frame: Frame = Centred()
        if anchored:
            self.frame = Anchored(system, s.width, s.lag_width, rotors=s.rotors)
        self.inputs = AtomInputs(system, self.frame.invariants, s.width)
        scalars = self.inputs.n_edge_scalars
        self.encoder = ENCODERS[s.encoder](
            system.n_atoms, system.edges, s.width, s.encoder_layers, scalars, anchored=anchored
        )
        transform = graph_transform(s, system)
        self.features = SpectralBlock(transform, feature_dynamics(s, transform), nn.SiLU())
        self.coordinates = coordinate_block(s, system, transform)
        wide = s.width + s.lag_width
        self.decoder = EGNNLayers(
            system.n_atoms, system.edges, wide, s.decoder_layers, scalars, residual=anchored
        )
        if anchored:
            self.decoder.silence()
        self.newton = Newton(system) if s.newton and anchored and Newton.suits(system) else None

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """See :meth:`gfnode.models.base.Model.forward`."""
        return self.with_spread(positions, velocities, lags)[0]

    def with_spread(
        self, positions: Tensor, velocities: Tensor, lags: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Predict; the ensemble is that of trajectories in the learned potential."""
        if self.newton is None or self.training:  # gradient descent trains the modes only
            return self.modes(positions, velocities, lags), None
        x = self.estimate(positions, velocities, lags)
        found: tuple[Tensor, Tensor | None] = self.newton(
            x, self._anchored.conformer, positions, velocities, lags
        )
        return found

    @property
    def _anchored(self) -> Anchored:
        """The frame, where oscillators or a potential need it to carry a mean conformer."""
        assert isinstance(self.frame, Anchored)
        return self.frame

    @property
    def follows(self) -> bool:
        """Whether a potential was learned, and trajectories in it are reliable for some time."""
        return self.newton is not None and self.newton.reach > 0

    def trajectories(
        self,
        positions: Tensor,
        velocities: Tensor,
        lags: Tensor,
        generator: torch.Generator,
        *,
        exact: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Trajectories in the learned potential, without the modes."""
        assert self.newton is not None
        found, speeds = self.newton.sample(
            self._anchored.conformer, positions, velocities, lags, generator, exact=exact
        )
        rest = torch.zeros_like(positions)
        found = self.restore_fixed_atoms(positions, found)
        return found, self.restore_fixed_atoms(rest, speeds)

    def modes(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Predict by encoder, modes and decoder, without the learned potential."""
        t, unit = lags / self.system.horizon, self.settings.unit
        positions = positions / unit
        placement = self.frame.place(positions, velocities)
        # units of length a step: of order 0.01, as published
        velocities = velocities * (self.system.time_step / unit)

        # encode
        h, scalars = self.inputs(positions, velocities, self.frame.scalars(placement))
        h, x = self.encoder(h, positions.transpose(0, 1), velocities.transpose(0, 1), scalars)
        h, x = h.transpose(0, 1), x.transpose(0, 1)

        # transform, evolve, invert: every mode has dynamics of its own
        h = self.features(h[:, :, None], t).squeeze(-2)  # (batch, time, atom, feature)
        channels = self.coordinates(self.frame.channels(placement, x, velocities), t)
        x, v = self.frame.restore(placement, channels, h, lags)

        # decode, all lags as one batch
        steps = lag_embedding(lags / self.system.time_step, self.settings.lag_width)
        h = torch.cat([h, steps[:, :, None].expand(-1, -1, h.shape[2], -1)], -1)
        _, shifted = self.decoder(
            *(y.flatten(0, 1).transpose(0, 1) for y in (h, x, v)),
            scalars.repeat_interleave(lags.shape[1], 1),
            positions_only=True,
        )
        shifted = shifted.transpose(0, 1).unflatten(0, lags.shape)
        return self.frame.correct(x, shifted, lags) * unit

    def estimate(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Prediction of the modes: trajectories are not trained, and take a hundred times more."""
        few = super().at_once(lags.shape[1])
        pieces = (y.split(few) for y in (positions, velocities, lags))
        return torch.cat([self.modes(*piece) for piece in zip(*pieces, strict=True)])

    def at_once(self, times: int) -> int:
        """At least `TOGETHER` with a potential: trajectories are cheaper in larger batches."""
        return max(super().at_once(times), 0 if self.newton is None else TOGETHER)

    def prepare(self, windows: Windows, report: Report = silent) -> None:
        """Fit frame, modes and oscillators to the training windows, and learn a potential."""
        self.frame.prepare(windows)
        if isinstance(self.coordinates, SpectralPropagator):
            self.coordinates.prepare(self._anchored, windows)
        if self.newton is not None:
            self.newton.prepare(windows, self._anchored.conformer, self.modes, report)

    @property
    def comes_fitted(self) -> bool:
        """True with oscillators, which are fitted to the training windows."""
        return isinstance(self.coordinates, SpectralPropagator)

    @property
    def long_fit(self) -> str:
        """Only a potential takes long."""
        return "learning a potential from the forces"

    @property
    def found(self) -> str:
        """Message about the learned potential, if any."""
        return "" if self.newton is None else self.newton.found

    @property
    def doubt(self) -> str:
        """Warning that the learned potential is of no use, if so."""
        return "" if self.newton is None else self.newton.doubt

    @property
    def widest(self) -> int:
        """Features of the decoder."""
        return self.settings.width + self.settings.lag_width

    @property
    def kept(self) -> frozenset[Symmetry]:
        """The promises, minus those that the options break."""
        s, broken = self.settings, set()
        if s.frame == "centred":
            broken |= {Symmetry.START}
        if s.coordinate_activation:
            broken |= {Symmetry.ROTATION, Symmetry.REFLECTION}
        if s.transform == "identity" or s.basis == "path" or not s.whole_eigenspaces:
            broken |= {Symmetry.PERMUTATION}
        # a potential fitted to permuted atoms is the same only within the accuracy of the fit
        if self.newton is not None and self.newton.reach:
            broken |= {Symmetry.PERMUTATION}
        return self.promises - broken
