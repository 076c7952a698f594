"""What a GF-NODE is composed of: the choices, and the parts that they name."""

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
from gfnode.models.quasiharmonic import QuasiHarmonic
from gfnode.models.spectral import SpectralBlock, SpectralPropagator, Transform
from gfnode.molecule.system import System
from gfnode.settings import Layers, Settings, Width


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
    width: Width = 32
    encoder_layers: Layers = 3
    decoder_layers: Layers = 2
    lag_width: Width = Field(16, ge=4, multiple_of=2)


def graph_transform(s: GFNODESettings, system: System) -> Transform:
    """The transform of features, and of coordinates that move in modes of the graph."""
    n_atoms = system.n_atoms
    if s.transform == "identity":
        return IdentityTransform(n_atoms)
    edges = system.edges.index
    if s.basis == "path":
        ends = np.arange(n_atoms - 1)
        edges = np.concatenate([[ends, ends + 1], [ends + 1, ends]], axis=1)
    matrix = laplacian(edges, n_atoms, s.laplacian)
    modes = min(s.modes or 256, n_atoms)
    return GraphFourier(eigenbasis(matrix, modes, whole=s.whole_eigenspaces))


def feature_dynamics(s: GFNODESettings, transform: Transform) -> nn.Module:
    """How features move in the modes.

    Raises
    ------
    InputError
        For a time input of dynamics that know no time.
    """
    if s.time_input != "scalar" and "neural" not in (s.dynamics, s.coordinate_dynamics):
        raise InputError(
            f"model.time_input={s.time_input} is of neural dynamics: it needs model.dynamics=neural"
        )
    dynamics = _dynamics(s.dynamics, s, transform, s.width)
    if s.mode_interaction == "none":
        return dynamics
    return InteractingDynamics(
        dynamics, transform.eigenvalues, transform.spaces, s.width, kind=s.mode_interaction
    )


def coordinate_block(s: GFNODESettings, system: System, transform: Transform) -> nn.Module:
    """How positions and velocities, or displacements and vibrations, move in the modes.

    Raises
    ------
    InputError
        For dynamics that do not go with the frame.
    """
    if s.coordinate_dynamics == "oscillator":
        if s.frame != "anchored":
            raise InputError(
                "model.coordinate_dynamics=oscillator carries displacements from the mean "
                "conformer: it needs model.frame=anchored"
            )
        return _propagator(s, system, transform)
    if s.frame == "anchored":
        raise InputError(
            f"model.coordinate_dynamics={s.coordinate_dynamics} does not return the start at "
            "lag zero: with model.frame=anchored use oscillator"
        )
    activation = nn.SiLU() if s.coordinate_activation else nn.Identity()
    return SpectralBlock(transform, _dynamics(s.coordinate_dynamics, s, transform, 2), activation)


def _dynamics(kind: str, s: GFNODESettings, transform: Transform, width: int) -> nn.Module:
    if kind == "linear":
        return LinearDynamics(transform.spaces, width)
    if kind == "feedforward":
        return FeedForwardDynamics(transform.spaces, width)
    if kind == "neural":
        told = s.time_input
        return NeuralDynamics(transform.eigenvalues, transform.spaces, width, time_input=told)
    return IdentityDynamics()


def _propagator(s: GFNODESettings, system: System, graph: Transform) -> SpectralPropagator:
    n_atoms, horizon = system.n_atoms, system.horizon

    def oscillators(spaces: Tensor) -> OscillatorDynamics:
        return OscillatorDynamics(spaces, horizon, anharmonic=s.anharmonic)

    rest = oscillators(torch.zeros(n_atoms, dtype=torch.long))
    if s.coordinate_basis == "graph":
        return SpectralPropagator(graph, oscillators(graph.spaces), rest)
    masses = torch.as_tensor(system.masses, dtype=torch.float32)
    modes = QuasiHarmonic(masses, min(s.modes or 256, max(1, 3 * n_atoms - 6)))
    vibrations = oscillators(modes.spaces)
    if not s.settling:
        return SpectralPropagator(modes, vibrations, rest)
    return SpectralPropagator(modes, SettlingDynamics(vibrations, modes.n_modes, horizon), rest)
