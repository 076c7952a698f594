"""Small molecules, windows and trajectories that several test files build."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from ase.build import molecule
from torch import nn

import gfnode
from gfnode.experiment import configure
from gfnode.graph import bonds_from_distances, hop_edges
from gfnode.models import MODELS, Entry, Model, Symmetry, build
from gfnode.molecule.system import System
from gfnode.readers.reader import Data
from gfnode.run import Run
from gfnode.settings import Settings
from gfnode.trajectory import Trajectory
from gfnode.units import BOLTZMANN
from gfnode.windows import Frames, Windows
from gfnode.windows.published import rigid_pairs

G2_NAMES = {
    "ethanol": "CH3CH2OH",
    "benzene": "C6H6",
    "toluene": None,
    "ethane": "C2H6",
    "butane": "trans-butane",
}

QUICK = {
    "windows": {"horizon": 60.0, "times": 3, "most": [70, 20, 40], "score": "all"},
    "model": {"width": 6, "encoder_layers": 1, "decoder_layers": 1, "lag_width": 4},
    "training": {"epochs": 2, "batch": 16},
    "accelerator": "cpu",
}
"""Changes of settings with which training on :func:`wiggle` takes a second."""


@cache
def geometry_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers and positions (Å) of a molecule; toluene is the bundled sample's."""
    if name == "toluene":
        sample = gfnode.load("sample:toluene")[0]
        return sample.numbers, sample.positions[0].astype(float)
    built = molecule(G2_NAMES.get(name, name))
    return np.asarray(built.numbers, dtype=np.int64), np.asarray(built.positions)


def system_of(name: str, state: str = "all", *, horizon: float = 1500.0) -> System:
    """A molecule as a system, all or its heavy atoms in the state, heavy ones scored."""
    numbers, positions = geometry_of(name)
    atoms = np.flatnonzero(numbers > (1 if state == "heavy" else 0))
    bonds = bonds_from_distances(numbers[atoms], positions[None, atoms])
    score = np.flatnonzero(numbers[atoms] > 1)
    edges = hop_edges(bonds, len(atoms))
    rigid = rigid_pairs(numbers, atoms, bonds)
    return System(numbers, atoms, score, bonds, edges, 0.5, horizon, rigid)


def permuted(system: System, order: Sequence[int]) -> System:
    """The same system with its state atoms in another order."""
    order = np.asarray(order)
    place = np.argsort(order)
    bonds = np.sort(place[system.bonds], 1)
    return replace(
        system,
        atoms=system.atoms[order],
        score=place[system.score],
        bonds=bonds,
        edges=hop_edges(bonds, system.n_atoms),
        rigid=place[system.rigid],
    )


def samples_of(name: str, system: System, count: int = 40, seed: int = 0) -> Frames:
    """Conformations about a geometry, each turned and shifted, with velocities."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(*shape, generator=generator)

    base = torch.from_numpy(geometry_of(name)[1][system.atoms]).float()
    turn, _ = torch.linalg.qr(noise(count, 3, 3))
    turn = turn * torch.linalg.det(turn)[:, None, None]
    n_atoms = system.n_atoms
    x = (base + 0.08 * noise(count, n_atoms, 3)) @ turn.mT + 0.3 * noise(count, 1, 3)
    v = 5e-3 * noise(count, n_atoms, 3)
    times = torch.arange(count, dtype=torch.float64) * 37.5
    return Frames(x, v, times, np.zeros(count, dtype=np.int64))


def windows_of(frames: Frames, count: int = 20, times: int = 4) -> Windows:
    """Windows over such frames; the targets are no motion, they only have the right shapes."""
    starts = torch.arange(count)
    return Windows(frames, starts, starts[:, None] + 1 + torch.arange(times), None)


def reordered(frames: Frames, order: Sequence[int]) -> Frames:
    """The same frames with their atoms in another order."""
    index = list(order)
    assert frames.velocities is not None
    return replace(
        frames, positions=frames.positions[:, index], velocities=frames.velocities[:, index]
    )


def build_variant(name: str, options: dict, system: System, seed: int = 0) -> Model:
    """A registered model, or (``preset:...``) a preset's GF-NODE, with some options changed."""
    torch.manual_seed(seed)
    if name.startswith("preset:"):
        changes = {f"model.{key}": value for key, value in options.items()}
        options = dict(configure(name.removeprefix("preset:"), changes).model)
        return build(options.pop("name"), system, options)
    assert name in MODELS
    return build(name, system, options)


@torch.no_grad()
def roughen(model: nn.Module, seed: int = 1, scale: float = 1.0) -> None:
    """Give a model random weights that matter, those that begin at zero among them."""
    generator = torch.Generator().manual_seed(seed)
    for key, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        if weight.ndim == 3:  # one matrix a mode: norm about one
            weight.copy_(scale * 0.5 * noise / weight.shape[-1] ** 0.5)
        elif weight.ndim == 2 and not key.rsplit(".", 1)[-1].startswith(("log", "logits")):
            weight.copy_(scale * noise / weight.shape[1] ** 0.5)
        else:
            weight.add_(0.2 * noise)


def rotation(seed: int = 0) -> torch.Tensor:
    """A proper rotation, ``(3, 3)`` in float64."""
    generator = torch.Generator().manual_seed(seed)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    return turn * torch.linalg.det(turn)


def wiggle(
    frames: int = 400, step: float = 5.0, seed: int = 0, *, velocities: bool = True
) -> Trajectory:
    """Water that swings in two modes, without momenta: there is something to learn of it."""
    rng = np.random.default_rng(seed)
    times = np.arange(frames) * step
    base = np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    masses = np.array([15.999, 1.008, 1.008])
    base -= masses @ base / masses.sum()
    modes = 0.15 * rng.normal(size=(2, 3, 3))
    modes -= (masses @ modes / masses.sum())[:, None]
    inertia = (masses * (base**2).sum(1)).sum() * np.eye(3) - (masses[:, None] * base).T @ base
    momentum = (masses[:, None] * np.cross(base, modes)).sum(1)
    modes -= np.cross(np.linalg.solve(inertia, momentum.T).T[:, None], base)
    rate = 2 * np.pi / np.array([160.0, 410.0])
    phase = rng.uniform(0, 2 * np.pi, 2)
    angle = times[:, None] * rate + phase
    x = base + np.einsum("tk,kad->tad", np.cos(angle), modes)
    v = -np.einsum("tk,kad->tad", np.sin(angle) * rate, modes)
    return Trajectory(
        x.astype(np.float32),
        times,
        np.array([8, 1, 1]),
        v.astype(np.float32) if velocities else None,
        name="wiggle",
    )


class Springs:
    """A molecule of springs between atoms up to two bonds apart, at rest in its G2 geometry."""

    def __init__(self, name: str, stiffness: float) -> None:
        self.system, self.stiffness = system_of(name), stiffness  # u/fs²
        self.masses, self.positions = self.system.masses[:, None], geometry_of(name)[1]
        self.ends = np.unique(np.sort(self.system.edges.index, axis=0), axis=1)
        i, j = self.ends
        self.lengths = np.linalg.norm(self.positions[i] - self.positions[j], axis=-1)

    def forces(self, x: np.ndarray) -> np.ndarray:
        """In u Å/fs², ``(..., atom, 3)``."""
        i, j = self.ends
        apart = x[..., i, :] - x[..., j, :]
        length = np.linalg.norm(apart, axis=-1, keepdims=True)
        pull = self.stiffness * (length - self.lengths[:, None]) * apart / length
        found = np.zeros_like(x)
        np.add.at(found, (..., i, slice(None)), -pull)
        np.add.at(found, (..., j, slice(None)), pull)
        return found

    def energy(self, x: np.ndarray) -> np.ndarray:
        """In u Å²/fs², ``(...)``."""
        i, j = self.ends
        length = np.linalg.norm(x[..., i, :] - x[..., j, :], axis=-1)
        return 0.5 * self.stiffness * np.square(length - self.lengths).sum(-1)

    def run(
        self, frames: int, step: float, *, temperature=500.0, frequency=0.0, memory=0.0, seed=0
    ):
        """Positions, velocities and forces at all steps, with a thermostat.

        Its own integrator: velocities and friction of Nosé and Hoover by half steps, iterated to
        agree; with a memory in fs, the stochastic equation of Bussi's for the kinetic energy.
        """
        rng = np.random.default_rng(seed)
        x, kt, m = self.positions.copy(), temperature * BOLTZMANN, self.masses
        v = rng.standard_normal(x.shape) * np.sqrt(2 * kt / m)
        v -= (m * v).sum(0) / m.sum()
        mean, friction = 1.5 * len(m) * kt, 0.0
        f, kept = self.forces(x), []
        for _ in range(frames):
            kept.append((x, v, f))
            middle = friction
            for _ in range(4):  # implicit midpoint of friction
                half = (v + step / 2 * f / m) / (1 + step / 2 * middle)
                heat = frequency**2 * (0.5 * (m * half**2).sum() / mean - 1)
                middle = friction + step / 2 * heat
            friction = friction + step * heat
            x = x + step * half
            f = self.forces(x)
            v = half * (1 - step / 2 * middle) + step / 2 * f / m
            if memory:
                now, few = 0.5 * (m * v**2).sum(), 3 * len(m)
                noise = 2 * np.sqrt(now * mean / few * step / memory) * rng.standard_normal()
                v = v * np.sqrt(max(1 + ((mean - now) * step / memory + noise) / now, 0.0))
        return tuple(np.stack(each) for each in zip(*kept, strict=True))


def quick_run(data: Data, out: Path | None, **changes: object) -> Run:
    """A run of the quick settings, of which whole groups (``windows=…``) may be others."""
    return gfnode.fit(data, changes=QUICK | changes, out=out, progress=False)


@cache
def springs(name: str = "ethanol", stiffness: float = 0.1) -> Springs:
    """Springs of about 240 kcal/mol/Å² between atoms up to two bonds apart."""
    return Springs(name, stiffness)


def conformations(count: int = 5, noise: float = 0.1, seed: int = 1) -> torch.Tensor:
    """Conformations about the rest of :func:`springs`, ``(frame, atom, 3)``."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.from_numpy(springs().positions)
    return base + noise * torch.randn(count, *base.shape, generator=generator).double()


class Layered(Model):
    """A plug-in's model of layers that PyTorch has, which draw and remember."""

    promises: ClassVar[frozenset[Symmetry]] = frozenset()

    def __init__(self, system: System, settings: Settings) -> None:
        super().__init__(system)
        self.layers = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))

    def forward(
        self, positions: torch.Tensor, velocities: torch.Tensor, lags: torch.Tensor
    ) -> torch.Tensor:
        """As of every model."""
        known = torch.cat([positions - positions.mean(-2, keepdim=True), velocities], -1)
        moved = self.layers(known.flatten(0, 1)).view_as(positions)
        return positions[:, None] + 1e-3 * lags[..., None, None] * moved[:, None]


@contextmanager
def layered() -> Iterator[str]:
    """Register :class:`Layered`, and give its name."""
    MODELS["layered"] = Entry(Layered, Settings, "layers that draw and remember")
    try:
        yield "layered"
    finally:
        del MODELS["layered"]
