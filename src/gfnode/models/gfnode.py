"""GF-NODE, the Graph Fourier Neural ODE: encode, transform, evolve, invert, decode."""

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from gfnode.dynamics import (
    FeedForwardDynamics,
    IdentityDynamics,
    InteractingDynamics,
    LinearDynamics,
    NeuralDynamics,
)
from gfnode.dynamics.oscillator import OscillatorDynamics
from gfnode.dynamics.settling import SettlingDynamics
from gfnode.errors import InputError
from gfnode.fourier import GraphFourier, IdentityTransform, eigenbasis
from gfnode.graph import laplacian
from gfnode.models.base import ALONE, EUCLIDEAN, Model, Symmetry
from gfnode.models.encoders import ENCODERS
from gfnode.models.frames import Anchored, Centred, Frame
from gfnode.models.inputs import AtomInputs
from gfnode.models.layers import EGNNLayers, lag_embedding
from gfnode.models.newton import Newton
from gfnode.models.quasiharmonic import QuasiHarmonic
from gfnode.molecule.system import System
from gfnode.progress import Report, silent
from gfnode.settings import Settings
from gfnode.windows import Windows

TOGETHER = 64
"""Starts whose trajectories are integrated together: alone, one takes ten times as long."""


class GFNODESettings(Settings):
    """What a GF-NODE is composed of; the defaults are the ``default`` preset.

    Parameters
    ----------
    frame
        ``centred``: the paper's, the mean is taken off. ``anchored``: a rigid body carrying the
        mean conformer is taken off, the modes carry displacements, and the start comes back at
        lag zero.
    transform
        ``graph`` Fourier transform, or ``identity`` (every atom for itself).
    basis
        The modes are those of the molecular ``graph``, or of a ``path`` through the atoms in file
        order, which knows no bonds (and breaks permutation).
    laplacian
        ``combinatorial`` L = D − A, or ``normalised``.
    modes
        Modes kept; None keeps all, the lowest 256 of larger systems.
    whole_eigenspaces
        No cut goes through an eigenspace.
    dynamics
        How features move: ``linear`` (closed form), ``neural`` (adaptive Dormand–Prince),
        ``feedforward`` (one application of W, no ODE) or ``identity``.
    coordinate_dynamics
        The same for positions and velocities, or ``oscillator`` (anchored frame only).
    coordinate_basis
        With ``oscillator``: ``quasiharmonic``, the directions in which the molecule is seen to
        vibrate, see :class:`~gfnode.models.quasiharmonic.QuasiHarmonic`; or the modes of the
        ``graph``.
    anharmonic, settling, rotors
        With ``oscillator``: whether periods depend on energies, see
        :class:`~gfnode.dynamics.oscillator.OscillatorDynamics`; whether quasi-harmonic modes may
        have several minima, see :class:`~gfnode.dynamics.settling.SettlingDynamics`; whether groups
        that spin about a bond turn the rest, see :class:`~gfnode.models.frames.Anchored`.
    newton
        With the ``anchored`` frame, all atoms in the state, and forces in the training data:
        whether a potential is learned from them, and trusted at short lags; see
        :class:`~gfnode.models.newton.Newton`.
    mode_interaction
        After moving, the modes of the features gate each other by ``attention`` or
        ``concatenation``, see :class:`~gfnode.dynamics.InteractingDynamics`; or ``none``.
    time_input
        What neural dynamics are told of the time: ``scalar``, ``sinusoidal`` or ``none``.
    coordinate_activation
        Pass Cartesian components through SiLU, as the published code does. It breaks rotation and
        reflection.
    encoder
        ``egnn``, or ``graphsage`` or ``gcn``, which see the graph but neither distances between
        atoms nor elements at the ends of edges, and leave positions alone.
    width, encoder_layers, decoder_layers, lag_width
        Features an atom, layers, width of the lag embedding (the decoder is ``width + lag_width``
        wide).
    """

    frame: Literal["centred", "anchored"] = "anchored"
    transform: Literal["graph", "identity"] = "graph"
    basis: Literal["graph", "path"] = "graph"
    laplacian: Literal["combinatorial", "normalised"] = "combinatorial"
    modes: int | None = Field(None, ge=1)
    whole_eigenspaces: bool = True
    dynamics: Literal["linear", "neural", "feedforward", "identity"] = "linear"
    coordinate_dynamics: Literal["linear", "neural", "feedforward", "identity", "oscillator"] = (
        "oscillator"
    )
    coordinate_basis: Literal["quasiharmonic", "graph"] = "quasiharmonic"
    anharmonic: bool = True
    settling: bool = True
    rotors: bool = True
    newton: bool = True
    mode_interaction: Literal["none", "attention", "concatenation"] = "none"
    time_input: Literal["scalar", "sinusoidal", "none"] = "scalar"
    coordinate_activation: bool = False
    encoder: Literal["egnn", "graphsage", "gcn"] = "egnn"
    width: int = Field(32, ge=1)
    encoder_layers: int = Field(3, ge=1)
    decoder_layers: int = Field(2, ge=1)
    lag_width: int = Field(16, ge=4, multiple_of=2)


Transform = GraphFourier | IdentityTransform


class SpectralBlock(nn.Module):
    """Evolve in the modes and add: y(t) = x + σ(U φ_t(Uᵀ x)), eq. 4 to 9.

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
    """Evolve displacements in the modes alone: y(t) = U φ_t(Uᵀ x) + φ'_t(x − U Uᵀ x).

    What the kept modes do not hold moves by dynamics of its own, so that y(0) = x.
    """

    _most_seen = 10_000_000  # positions of atoms that modes and oscillators are fitted to

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
        """Amplitudes of ``(..., atom, 3)``, and what they leave over."""
        modes = self.transform(nodes)
        return modes, nodes - self.transform.inverse(modes)

    def prepare(self, frame: Anchored, windows: Windows) -> None:
        """Find modes and oscillators of the motion in training windows."""
        room = self._most_seen // (windows.targets.shape[1] * self.rest.spaces.numel())
        batch = windows.batch(windows.evenly(min(500, max(200, room))))
        motion = frame.displacements(batch)
        if isinstance(self.transform, QuasiHarmonic):
            seen = torch.cat([batch.positions, batch.targets.flatten(0, 1)])
            self.transform.fit(frame.shapes(seen), motion[1])
        times = batch.lags / self.rest.horizon
        (u, u0), (w, w0), (y, y0) = map(self._split, motion)
        self.dynamics.fit(u, w, y, times)
        self.rest.fit(u0, w0, y0, times)


class GFNODE(Model):
    """Graph Fourier Neural ODE ("Joint modeling of spatial and temporal multiscales in MD").

    Parameters
    ----------
    system
        The molecular system.
    settings
        What it is composed of.
    """

    promises = EUCLIDEAN | ALONE | {Symmetry.START}

    def __init__(self, system: System, settings: GFNODESettings) -> None:
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
        transform = self._transform()
        self.features = SpectralBlock(transform, self._features(transform), nn.SiLU())
        self.coordinates = self._coordinates(transform)
        wide = s.width + s.lag_width
        self.decoder = EGNNLayers(
            system.n_atoms, system.edges, wide, s.decoder_layers, scalars, residual=anchored
        )
        if anchored:
            self.decoder.silence()
        # turns are integrated in many small steps, which no compiler is done with soon
        self.compiles = not anchored and s.dynamics == s.coordinate_dynamics == "linear"
        self.newton = Newton(system) if s.newton and anchored and Newton.suits(system) else None

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """See :meth:`gfnode.models.base.Model.forward`."""
        return self.with_spread(positions, velocities, lags)[0]

    def with_spread(
        self, positions: Tensor, velocities: Tensor, lags: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Predict; the outcomes are the trajectories in the learned potential."""
        if self.newton is None or self.training:  # what is trained is the rest
            return self.modes(positions, velocities, lags), None
        x = self.estimate(positions, velocities, lags)
        assert isinstance(self.frame, Anchored)
        found: tuple[Tensor, Tensor | None] = self.newton(
            x, self.frame, positions, velocities, lags
        )
        return found

    def modes(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Predict by encoder, modes and decoder alone."""
        t = lags / self.system.horizon
        placement = self.frame.place(positions, velocities)
        velocities = velocities * self.system.time_step  # Å a step: of order 0.01, as published

        # encode
        h, scalars = self.inputs(positions, velocities, self.frame.scalars(placement))
        h, x = self.encoder(h, positions.transpose(0, 1), velocities.transpose(0, 1), scalars)
        h, x = h.transpose(0, 1), x.transpose(0, 1)

        # transform, evolve, invert: every scale moves by its own dynamics
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
        return self.frame.correct(x, shifted, lags)

    def estimate(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Those alone: the rest is not trained, and takes a hundred times as long."""
        few = super().at_once(lags.shape[1])
        pieces = (y.split(few) for y in (positions, velocities, lags))
        return torch.cat([self.modes(*piece) for piece in zip(*pieces, strict=True)])

    def at_once(self, times: int) -> int:
        """More where trajectories are integrated, each of which is cheaper among others."""
        return max(super().at_once(times), 0 if self.newton is None else TOGETHER)

    def prepare(self, windows: Windows, report: Report = silent) -> None:
        """Let the frame take what it needs from the training windows."""
        self.frame.prepare(windows)
        if isinstance(self.coordinates, SpectralPropagator):
            assert isinstance(self.frame, Anchored)
            self.coordinates.prepare(self.frame, windows)
        if self.newton is not None:
            assert isinstance(self.frame, Anchored)
            self.newton.prepare(windows, self.frame, self.modes, report)

    @property
    def comes_fitted(self) -> bool:
        """With oscillators, which are fitted to the training windows."""
        return isinstance(self.coordinates, SpectralPropagator)

    @property
    def found(self) -> str:
        """What was found of Newton's equations."""
        return "" if self.newton is None else self.newton.found

    @property
    def widest(self) -> int:
        """Those of the decoder."""
        return self.settings.width + self.settings.lag_width

    @property
    def kept(self) -> frozenset[Symmetry]:
        """The promises, less what the options break."""
        s, broken = self.settings, set()
        if s.frame == "centred":
            broken |= {Symmetry.START}
        if s.coordinate_activation:
            broken |= {Symmetry.ROTATION, Symmetry.REFLECTION}
        if s.transform == "identity" or s.basis == "path" or not s.whole_eigenspaces:
            broken |= {Symmetry.PERMUTATION}
        if self.newton is not None and self.newton.reach:  # for other numbers it is learned anew
            broken |= {Symmetry.PERMUTATION}
        return self.promises - broken

    def _transform(self) -> Transform:
        s, n_atoms = self.settings, self.system.n_atoms
        if s.transform == "identity":
            return IdentityTransform(n_atoms)
        edges = self.system.edges.index
        if s.basis == "path":
            ends = np.arange(n_atoms - 1)
            edges = np.concatenate([[ends, ends + 1], [ends + 1, ends]], axis=1)
        matrix = laplacian(edges, n_atoms, s.laplacian)
        modes = min(s.modes or 256, n_atoms)
        return GraphFourier(eigenbasis(matrix, modes, whole=s.whole_eigenspaces))

    def _dynamics(self, kind: str, transform: Transform, width: int) -> nn.Module:
        if kind == "linear":
            return LinearDynamics(transform.spaces, width)
        if kind == "feedforward":
            return FeedForwardDynamics(transform.spaces, width)
        if kind == "neural":
            told = self.settings.time_input
            return NeuralDynamics(transform.eigenvalues, transform.spaces, width, time_input=told)
        return IdentityDynamics()

    def _features(self, transform: Transform) -> nn.Module:
        s = self.settings
        if s.time_input != "scalar" and "neural" not in (s.dynamics, s.coordinate_dynamics):
            raise InputError(
                f"model.time_input={s.time_input} is of neural dynamics: it needs "
                "model.dynamics=neural"
            )
        dynamics = self._dynamics(s.dynamics, transform, s.width)
        if s.mode_interaction == "none":
            return dynamics
        return InteractingDynamics(
            dynamics, transform.eigenvalues, transform.spaces, s.width, kind=s.mode_interaction
        )

    def _coordinates(self, transform: Transform) -> nn.Module:
        s = self.settings
        if s.coordinate_dynamics == "oscillator":
            if s.frame != "anchored":
                raise InputError(
                    "model.coordinate_dynamics=oscillator carries displacements from the mean "
                    "conformer: it needs model.frame=anchored"
                )
            return self._propagator(transform)
        if s.frame == "anchored":
            raise InputError(
                f"model.coordinate_dynamics={s.coordinate_dynamics} does not return the start at "
                "lag zero: with model.frame=anchored use oscillator"
            )
        activation = nn.SiLU() if s.coordinate_activation else nn.Identity()
        return SpectralBlock(
            transform, self._dynamics(s.coordinate_dynamics, transform, 2), activation
        )

    def _propagator(self, graph: Transform) -> SpectralPropagator:
        s, n_atoms, horizon = self.settings, self.system.n_atoms, self.system.horizon

        def oscillators(spaces: Tensor) -> OscillatorDynamics:
            return OscillatorDynamics(spaces, horizon, anharmonic=s.anharmonic)

        rest = oscillators(torch.zeros(n_atoms, dtype=torch.long))
        if s.coordinate_basis == "graph":
            return SpectralPropagator(graph, oscillators(graph.spaces), rest)
        masses = torch.as_tensor(self.system.masses, dtype=torch.float32)
        modes = QuasiHarmonic(masses, min(s.modes or 256, max(1, 3 * n_atoms - 6)))
        vibrations = oscillators(modes.spaces)
        if not s.settling:
            return SpectralPropagator(modes, vibrations, rest)
        settling = SettlingDynamics(vibrations, modes.n_modes, horizon)
        return SpectralPropagator(modes, settling, rest)
