"""A potential energy of a molecule, learned from forces."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from gfnode.dynamics.muon import Muon
from gfnode.graph import automorphisms, hop_edges
from gfnode.kernels.forces import Packed, forces, pack
from gfnode.kernels.learning import learnable_forces
from gfnode.molecule.system import System
from gfnode.progress import Report, silent


class Potential(nn.Module):
    """Potential energy as a network of inverse distances, and its forces.

    With q_ij = 1/|x_i − x_j| over all pairs, μ and σ their mean and spread in training::

        z = (q − μ)/σ,   U(x) = φ(z) + zᵀ A z + bᵀ z
        F_i = −∂U/∂x_i = Σ_j ∂U/∂q_ij q_ij³ (x_i − x_j)

    φ has three hidden layers with SiLU; the quadratic form, of pairs up to three bonds apart,
    accounts for most of the bond and angle energy. To keep bonds and angles intact where a torsion
    leaves the range of training, z of pairs three bonds apart and more saturates: it is unchanged
    up to the limit l = 5, and constant, 7, from 9 on, with o = max(0, |z| − l) and u = min(o, 4)::

        |z| − o + u − u²/8

    Forces are the exact gradient, coded explicitly, so they conserve energy, momentum and angular
    momentum, and are equivariant under translation, rotation and reflection. Weights are buffers:
    they are set by :meth:`fit`, and not changed by training the model.

    Parameters
    ----------
    system
        The molecular system; all pairs of atoms interact, so the cost is quadratic in atoms.
    width
        Width of the hidden layers.
    members
        Number of networks in the ensemble, with other initial weights and orders of the data.
    """

    _depth = 3  # hidden layers; also in the kernels
    _fade = 4.0  # also in potential.hpp
    _limit, _unlimited = 5.0, 1e6

    mean: Tensor
    spread: Tensor
    scale: Tensor
    between: Tensor
    limit: Tensor
    near: Tensor
    usual: Tensor
    moving: Tensor
    constant: Tensor

    def __init__(self, system: System, width: int = 128, members: int = 2) -> None:
        super().__init__()
        self.members = members
        self.seed = torch.initial_seed()  # the seed of the run
        atoms = system.n_atoms
        receiving, sending = torch.triu_indices(atoms, atoms, 1)
        pairs = len(receiving)
        between = torch.zeros(pairs, atoms)
        between[torch.arange(pairs), receiving] = 1.0
        between[torch.arange(pairs), sending] = -1.0
        self.register_buffer("between", between, persistent=False)
        apart = torch.full((atoms, atoms), atoms + 3)  # not connected: further than any
        edges = hop_edges(system.bonds, atoms, hops=3)
        apart[tuple(edges.index)] = torch.from_numpy(edges.hop).to(apart)
        apart = apart[receiving, sending]
        limit = torch.where(apart > 2, self._limit, self._unlimited)
        self.register_buffer("limit", limit, persistent=False)
        near = torch.nonzero(apart <= 3).flatten()
        self.register_buffer("near", near, persistent=False)
        moving = torch.zeros(atoms, 1).index_fill(0, torch.as_tensor(system.moving), 1.0)
        self.register_buffer("moving", moving, persistent=False)
        # between atoms that are held; what starts are rounded to is no change of it
        constant = (moving[receiving] + moving[sending] == 0).flatten()
        self.register_buffer("constant", constant, persistent=False)
        shapes: dict[str, tuple[int, int]] = {}
        for layer in range(self._depth):
            shapes[f"weight{layer}"] = width, width if layer else pairs
            shapes[f"bias{layer}"] = 1, width
        shapes |= {"last": (1, width), "square": (len(near),) * 2, "line": (1, len(near))}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(members, *shape))
        self._names = tuple(shapes)
        self._share = 1.5 * pairs**-0.5  # scale of the quadratic form, for its learning rate
        self.register_buffer("mean", torch.zeros(pairs))
        self.register_buffer("spread", torch.ones(pairs))
        self.register_buffer("scale", torch.ones(()))  # u Å/fs², the size of forces
        # u Å²/fs², mean and spread of energies in training
        self.register_buffer("usual", torch.zeros(2, members, 1))
        self.bonds, self.numbers = system.bonds, system.numbers
        self._packed: tuple[list[tuple[int, int]], list[Tensor], Packed | None] = [], [], None

    def forward(self, positions: Tensor) -> Tensor:
        """Forces in u Å/fs² at positions in Å, both ``(member, batch, atom, 3)``."""
        packed = None if torch.is_grad_enabled() else self.packed
        if packed is not None:
            return forces(positions, packed)
        return self.scale * self._forces(positions, self._weights)

    @property
    def packed(self) -> Packed | None:
        """Weights for the fused kernel of forces, where there is one; repacked when they change."""
        parts = [*self._inputs, self.scale, *self._weights]
        state = [(id(y), 0 if y.is_inference() else y._version) for y in parts]
        if state != self._packed[0]:
            layers, ends = self._layers_and_ends(self._weights)
            ends = [self.scale * end for end in ends]
            packed = pack(self.between.shape[1], self._inputs, layers, ends)
            self._packed = state, parts, packed  # parts: no other tensor gets the id of one
        return self._packed[-1]

    def energy(self, positions: Tensor) -> Tensor:
        """Energy in u Å²/fs², ``(member, batch)``, up to a constant."""
        z, _ = self._saturated(_inverse(self._pair_vectors(positions)))
        *layers, last, square, line = self._weights
        near = z[..., self.near]
        form = ((near @ square + line) * near).sum(-1)
        network = (_hidden(z, layers)[-1][0] @ last.mT)[..., 0]
        return self.scale * (network + self._share * form)

    def knows(self, positions: Tensor) -> Tensor:
        """Whether conformations are in the domain of the training data, ``(member, batch)``.

        That is, whether their energy is within ten standard deviations of the mean in training; a
        molecule that falls apart is far beyond.
        """
        mean, spread = self.usual
        return (self.energy(positions) - mean).abs() <= 10 * spread  # false for NaN

    @property
    def _inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.mean, self.spread, self.limit, self.near

    @property
    def _weights(self) -> list[Tensor]:
        return [getattr(self, name) for name in self._names]

    def _layers_and_ends(self, weights: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Those of the hidden layers, and of ∂U/∂z: l, the whole quadratic form and its line."""
        *layers, last, square, line = weights
        return layers, [last, self._share * (square + square.mT), self._share * line]

    def _pair_vectors(self, positions: Tensor) -> Tensor:
        """Vectors x_i − x_j of all pairs, ``(..., 3, pair)``.

        One matrix product for contiguous rows; without that, one for each conformation.
        """
        return positions.mT.contiguous() @ self.between.mT

    def _saturated(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Saturated z of inverse distances q, and its derivative by (q − μ)/σ."""
        z = (q - self.mean) / self.spread
        over = (z.abs() - self.limit).clamp(min=0)
        inside = over.clamp(max=self._fade)
        off = over - inside + inside.square() / (2 * self._fade)
        return z - off * z.sign(), 1 - inside / self._fade

    def _forces(self, positions: Tensor, weights: Sequence[Tensor]) -> Tensor:
        layers, (last, form, line) = self._layers_and_ends(weights)
        apart = self._pair_vectors(positions)
        q = _inverse(apart)
        z, rising = self._saturated(q)
        slope = last
        for weight, (_, bend) in zip(layers[-2::-2], _hidden(z, layers)[::-1], strict=True):
            slope = (slope * bend) @ weight
        slope = slope.index_add(-1, self.near, torch.baddbmm(line, z[..., self.near], form))
        pull = (slope * rising / self.spread * q**3)[..., None, :] * apart
        return (pull @ self.between).mT

    def _learnable(self, positions: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Forces before their scale, differentiable by the weights, by the fused kernel if any."""
        fused = learnable_forces(positions, self._inputs, *self._layers_and_ends(weights))
        return self._forces(positions, weights) if fused is None else fused

    def fit(
        self,
        positions: Tensor,
        forces: Tensor,
        shown: Tensor,
        *,
        steps: int,
        batch: int = 256,
        rates: tuple[float, float] = (0.015, 6e-3),
        unknown: Tensor | None = None,
        report: Report = silent,
    ) -> None:
        """Learn from forces, by stochastic gradient descent.

        The loss is the mean squared error of F plus that of C^(1/2) F, each relative to its size in
        training, C being the covariance of positions: small errors along soft directions, such as
        torsions, lead a trajectory astray. Equivalent atoms are permuted at random, see
        :func:`gfnode.graph.automorphisms`. Forces on fixed atoms do not count: some programs store
        zeros for them.

        Parameters
        ----------
        positions, forces
            ``(frame, atom, 3)`` in Å and u Å/fs², superposed on the mean conformer.
        shown
            Frames that each member learns from, ``(member, frame)`` of bool.
        steps, batch, rates
            Steps, frames a step, and the largest learning rates: of the network's matrices, by
            :class:`~gfnode.dynamics.muon.Muon`, and of the rest, by AdamW.
        unknown
            For each frame, a direction along which the forces are not known, ``(frame, atom, 3)``:
            errors along it are projected out.
        report
            Called with the steps done and in all.
        """
        generator = torch.Generator().manual_seed(self.seed)
        forces = self._standardise(positions, forces * self.moving)
        soft = _soft_directions(positions, forces)
        aside = None if unknown is None else nn.functional.normalize(unknown.flatten(1), dim=-1)
        alike = torch.from_numpy(automorphisms(self.bonds, self.numbers))
        chances = shown.float().cpu()
        weights = self._initial_weights(generator)
        optimizers = self._optimizers(weights, rates, steps)
        for step in range(steps):
            index = torch.multinomial(chances, batch, replacement=True, generator=generator)
            drawn = torch.randint(len(alike), index.shape, generator=generator)
            index, order = index.to(positions.device), alike[drawn].to(positions.device)
            found = self._permuted_forces(positions[index], order, weights)
            wrong = (found * self.moving - forces[index]).flatten(2)
            if aside is not None:
                along = aside[index]
                wrong = wrong - (wrong * along).sum(-1, keepdim=True) * along
            loss = wrong.square().mean((1, 2)) + (wrong @ soft).square().mean((1, 2))
            for optimizer, _ in optimizers:
                optimizer.zero_grad()
            torch.autograd.backward(loss.sum())
            for optimizer, schedule in optimizers:
                optimizer.step()
                schedule.step()
            report(step + 1, steps)
        for buffer, weight in zip(self._weights, weights, strict=True):
            buffer.copy_(weight.detach())
        some = positions[:: max(1, len(positions) // 1000)]
        with torch.no_grad():
            energies = self.energy(some.expand(self.members, *some.shape))
        self.usual.copy_(torch.stack([energies.mean(1), energies.std(1)])[..., None])

    def _standardise(self, positions: Tensor, forces: Tensor) -> Tensor:
        """Set μ, σ and the size of forces from the training frames; forces relative to that."""
        q = _inverse(self._pair_vectors(positions))
        self.mean.copy_(q.mean(0))
        spread = q.std(0).clamp(min=1e-6)
        self.spread.copy_(torch.where(self.constant, self._unlimited, spread))
        self.scale.copy_(forces.square().mean().sqrt())
        return forces / self.scale

    def _permuted_forces(
        self, positions: Tensor, order: Tensor, weights: Sequence[Tensor]
    ) -> Tensor:
        """Forces ``(member, batch, atom, 3)``, evaluated with atoms in another order.

        ``order (member, batch, atom)``: which atom stands at each place. Equivalent atoms only, so
        that the potential of the molecule is the same; the network's becomes the same in training.
        """
        order = order[..., None].expand_as(positions)
        found = self._learnable(positions.gather(2, order), weights)
        return torch.zeros_like(found).scatter(2, order, found)

    def _optimizers(
        self, weights: Sequence[nn.Parameter], rates: tuple[float, float], steps: int
    ) -> list[tuple[torch.optim.Optimizer, OneCycleLR]]:
        """Optimizers and their schedules: of the hidden layers' matrices, and of the rest."""
        *layers, last, square, line = weights
        matrices, rest = layers[::2], [*layers[1::2], last, square, line]
        optimizers: tuple[torch.optim.Optimizer, ...] = (
            Muon(matrices, rates[0]),
            AdamW(rest, rates[1], weight_decay=1e-4, fused=True),
        )
        return [
            (each, OneCycleLR(each, rate, steps, pct_start=0.05, cycle_momentum=False))
            for each, rate in zip(optimizers, rates, strict=True)
        ]

    def _initial_weights(self, generator: torch.Generator) -> list[nn.Parameter]:
        """Initial weights: uniform within ±1/√inputs, and zero for the quadratic form."""
        drawn = []
        for name, like in zip(self._names, self._weights, strict=True):
            weight = 2 * torch.rand(like.shape, generator=generator) - 1
            if name in ("square", "line"):  # of no pair at all where there are no bonds
                weight.zero_()
            else:
                weight *= like.shape[-1] ** -0.5
            drawn.append(nn.Parameter(weight.to(like.device)))
        return drawn


def _soft_directions(positions: Tensor, forces: Tensor) -> Tensor:
    """C^(1/2), ``(3 atom, 3 atom)``, scaled so that C^(1/2) F has mean square one in training.

    C is the covariance of the positions. The root is V diag(√c) of the eigenvectors V of C, which
    gives C^(1/2) F up to a rotation.
    """
    moved = (positions - positions.mean(0)).flatten(1).double()
    size, axes = torch.linalg.eigh(moved.T @ moved / len(positions))
    soft = (axes * size.clamp(min=0).sqrt()).float()
    return soft / (forces.flatten(1) @ soft).square().mean().sqrt()


def _inverse(apart: Tensor) -> Tensor:
    """Inverse lengths of vectors ``(..., 3, pair)``, ``(..., pair)``."""
    return apart.square().sum(-2).rsqrt()


def _hidden(z: Tensor, layers: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Values of the hidden layers and derivatives of SiLU; layers alternate weight and bias."""
    found: list[tuple[Tensor, Tensor]] = []
    for weight, bias in zip(layers[::2], layers[1::2], strict=True):
        given = torch.baddbmm(bias, z, weight.mT)
        share = torch.sigmoid(given)
        z = given * share  # SiLU
        found.append((z, torch.lerp(z, z.new_ones(()), share)))  # σ + x σ (1 − σ)
    return found
