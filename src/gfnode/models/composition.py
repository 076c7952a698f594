"""Settings of a GF-NODE, and the modules that they select."""

from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
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
from gfnode.fourier import GraphFourier, IdentityTransform, eigenbasis
from gfnode.graph import laplacian
from gfnode.models.quasiharmonic import QuasiHarmonic
from gfnode.models.spectral import SpectralBlock, SpectralPropagator, Transform
from gfnode.molecule.system import System
from gfnode.settings import Layers, LengthUnit, Settings, Width


class GraphFourierODESettings(Settings):
    """What a GF-NODE is composed of; the defaults are the ``default`` preset."""

    frame: Literal["centred", "anchored"] = "anchored"
    """`anchored`: displacements from the mean conformer on a rotating body; `centred`: as in the
    paper, the mean position is subtracted."""
    transform: Literal["graph", "identity"] = "graph"
    """`graph` Fourier transform, or `identity` (each atom separately)."""
    basis: Literal["graph", "path"] = "graph"
    """Modes of the molecular `graph`, or of a `path` through the atoms in file order, which breaks
    permutation symmetry."""
    laplacian: Literal["combinatorial", "normalised"] = "combinatorial"
    """`combinatorial` D − A, or `normalised`."""
    modes: int | None = Field(None, ge=1)
    """Number of modes kept, lowest first; null: all, or the lowest 256 of a larger system."""
    whole_eigenspaces: bool = True
    """Keep eigenspaces whole when higher modes are dropped."""
    dynamics: Literal["linear", "neural", "feedforward", "identity"] = "linear"
    """Dynamics of the features: `linear` (closed form), `neural` (adaptive Dormand–Prince),
    `feedforward` (one application of W, no ODE) or `identity`."""
    coordinate_dynamics: Literal["linear", "neural", "feedforward", "identity", "oscillator"] = (
        "oscillator"
    )
    """Dynamics of the coordinates: `oscillator` with the anchored frame; the four above with the
    centred one."""
    coordinate_basis: Literal["quasiharmonic", "graph"] = "quasiharmonic"
    """With `oscillator`: `quasiharmonic` modes, the directions in which the molecule vibrates in
    the data, or modes of the `graph`."""
    anharmonic: bool = True
    """With `oscillator`: periods and dampings depend on the energy of the modes."""
    settling: bool = True
    """With `quasiharmonic`: modes may have several equilibrium positions."""
    rotors: bool = True
    """With the anchored frame: groups that spin about a bond make the rest counter-rotate."""
    newton: bool = True
    """Learn a potential, given the anchored frame, at most 64 atoms, all in the state, and forces
    in the data or frames at most 1 fs apart; false: modes only, fitted in seconds."""
    mode_interaction: Literal["none", "attention", "concatenation"] = "none"
    """How feature modes gate each other: `attention`, `concatenation` or `none`."""
    time_input: Literal["scalar", "sinusoidal", "none"] = "scalar"
    """Time input of neural dynamics: `scalar`, `sinusoidal` or `none`."""
    coordinate_activation: bool = False
    """Pass Cartesian components through SiLU, as in the published code; breaks rotation and
    reflection symmetry. Not with `oscillator`."""
    encoder: Literal["egnn", "graphsage", "gcn"] = "egnn"
    """`egnn`, or `graphsage` or `gcn`, which see the graph but neither distances nor elements, and
    leave positions unchanged."""
    width: Width = 32
    """Features per atom."""
    encoder_layers: Layers = 3
    """Layers of the encoder."""
    decoder_layers: Layers = 2
    """Layers of the decoder, whose width is that of features plus lag embedding."""
    lag_width: Width = Field(16, ge=4, multiple_of=2)
    """Width of the lag embedding."""
    length_unit: LengthUnit = 1.0
    """Unit of length in the networks, in Å; 10 (nm) in the published experiments on alanine
    dipeptide; with `centred`."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        """Refuse dynamics that do not fit the frame, and options that they do not use."""
        oscillators, anchored = self.coordinate_dynamics == "oscillator", self.frame == "anchored"
        if oscillators and not anchored:
            raise ValueError(
                "model.coordinate_dynamics=oscillator propagates displacements from the mean "
                "conformer and needs model.frame=anchored: with model.frame=centred, set "
                "model.coordinate_dynamics=linear, for example"
            )
        if oscillators and self.coordinate_activation:
            raise ValueError(
                "model.coordinate_activation has no effect on oscillators: leave it out, or set "
                "model.frame=centred and model.coordinate_dynamics=linear"
            )
        if anchored and not oscillators:
            raise ValueError(
                f"model.coordinate_dynamics={self.coordinate_dynamics} does not return the start "
                "at lag zero: use oscillator with model.frame=anchored"
            )
        neural = "neural" in (self.dynamics, self.coordinate_dynamics)
        if self.time_input != "scalar" and not neural:
            raise ValueError(f"model.time_input={self.time_input} needs model.dynamics=neural")
        return self

    @property
    def unit(self) -> float:
        """Unit of length in the networks; the anchored frame has physical modes, in Å."""
        return self.length_unit if self.frame == "centred" else 1.0

    @property
    def idle(self) -> Mapping[str, str]:
        """Options of the anchored frame, given another one, or of modes that are not used."""
        of_graph = "basis", "laplacian", "whole_eigenspaces"
        of_frame = "newton", "rotors", "anharmonic", "settling", "coordinate_basis"
        found: dict[str, str] = {}
        if self.transform == "identity":
            found |= dict.fromkeys(of_graph, "model.transform=graph")
        if self.frame != "anchored":
            found |= dict.fromkeys(of_frame, "model.frame=anchored")
        else:
            found["length_unit"] = "model.frame=centred"
            if self.coordinate_basis != "quasiharmonic":
                found["settling"] = "model.coordinate_basis=quasiharmonic"
        return found


def graph_transform(s: GraphFourierODESettings, system: System) -> Transform:
    """Transform of the features, and of coordinates with ``coordinate_basis="graph"``."""
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


def feature_dynamics(s: GraphFourierODESettings, transform: Transform) -> nn.Module:
    """Dynamics of the features in the modes."""
    dynamics = _dynamics(s.dynamics, s, transform, s.width)
    if s.mode_interaction == "none":
        return dynamics
    return InteractingDynamics(
        dynamics, transform.eigenvalues, transform.spaces, s.width, kind=s.mode_interaction
    )


def coordinate_block(s: GraphFourierODESettings, system: System, transform: Transform) -> nn.Module:
    """Dynamics of positions and velocities, or displacements and vibrations, in the modes."""
    if s.coordinate_dynamics == "oscillator":
        return _propagator(s, system, transform)
    activation = nn.SiLU() if s.coordinate_activation else nn.Identity()
    return SpectralBlock(transform, _dynamics(s.coordinate_dynamics, s, transform, 2), activation)


def _dynamics(kind: str, s: GraphFourierODESettings, transform: Transform, width: int) -> nn.Module:
    if kind == "linear":
        return LinearDynamics(transform.spaces, width)
    if kind == "feedforward":
        return FeedForwardDynamics(transform.spaces, width)
    if kind == "neural":
        told = s.time_input
        return NeuralDynamics(transform.eigenvalues, transform.spaces, width, time_input=told)
    return IdentityDynamics()


def _propagator(s: GraphFourierODESettings, system: System, graph: Transform) -> SpectralPropagator:
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
