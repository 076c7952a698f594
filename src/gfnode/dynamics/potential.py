"""A potential energy learned from forces: what a molecule's own motion follows."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from gfnode.dynamics.muon import Muon
from gfnode.graph import hop_edges, renumberings
from gfnode.kernels.forces import Packed, forces, pack
from gfnode.molecule.system import System
from gfnode.progress import Report, silent


class Potential(nn.Module):
    """Potential energy as a network of inverse distances, and its forces.

    With q_ij = 1/|x_i − x_j| over all pairs, μ and σ their mean and spread in training::

        z = (q − μ)/σ,   U(x) = φ(z) + zᵀ A z + bᵀ z
        F_i = −∂U/∂x_i = Σ_j ∂U/∂q_ij q_ij³ (x_i − x_j)

    φ has three hidden layers with SiLU; the quadratic form takes from it what bonds and angles ask
    for, of pairs up to three bonds apart. Where a torsion leads to what training has not seen,
    bonds and angles are still themselves: z of pairs three bonds apart and more is as it is up to a
    limit of l = 5, comes to rest at 9 and counts as 7 from there on, with o = max(0, |z| − l) and
    u = min(o, 4)::

        |z| − o + u − u²/8

    Forces are the exact gradient, written out, so they conserve energy, momentum and angular
    momentum, and turn, move and are mirrored with the molecule. Weights are buffers: they come from
    :meth:`fit`, and training leaves them alone.

    Parameters
    ----------
    system
        The molecular system; all atoms act on one another, so its cost grows as atoms squared.
    width
        Of the hidden layers.
    members
        Networks that are learned side by side, from other weights and in another order.
    """

    _depth = 3  # of forces.cpp too
    _fade = 4.0  # of forces.cpp too
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
        self.seed = torch.initial_seed()  # that of the run: another seed, another potential
        atoms = system.n_atoms
        receiving, sending = torch.triu_indices(atoms, atoms, 1)
        pairs = len(receiving)
        between = torch.zeros(pairs, atoms)
        between[torch.arange(pairs), receiving] = 1.0
        between[torch.arange(pairs), sending] = -1.0
        self.register_buffer("between", between, persistent=False)
        apart = torch.full((atoms, atoms), atoms)
        edges = hop_edges(system.bonds, atoms, hops=3)
        apart[tuple(edges.index)] = torch.from_numpy(edges.hop).to(apart)
        apart = apart[receiving, sending]
        limit = torch.where(apart > 2, self._limit, self._unlimited)
        self.register_buffer("limit", limit, persistent=False)
        self.register_buffer("near", (apart <= 3).float(), persistent=False)
        moving = torch.zeros(atoms, 1).index_fill(0, torch.as_tensor(system.moving), 1.0)
        self.register_buffer("moving", moving, persistent=False)
        # between atoms that are held; what starts are rounded to is no change of it
        constant = (moving[receiving] + moving[sending] == 0).flatten()
        self.register_buffer("constant", constant, persistent=False)
        shapes: dict[str, tuple[int, int]] = {}
        for layer in range(self._depth):
            shapes[f"weight{layer}"] = width, width if layer else pairs
            shapes[f"bias{layer}"] = 1, width
        shapes |= {"last": (1, width), "square": (pairs, pairs), "line": (1, pairs)}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(members, *shape))
        self._names = tuple(shapes)
        self._share = 1.5 * pairs**-0.5  # of the quadratic form, that all its elements may learn
        self.register_buffer("mean", torch.zeros(pairs))
        self.register_buffer("spread", torch.ones(pairs))
        self.register_buffer("scale", torch.ones(()))  # u Å/fs², the size of forces
        # u Å²/fs², mean and spread of energies in training
        self.register_buffer("usual", torch.zeros(2, members, 1))
        self.bonds, self.numbers = system.bonds, system.numbers
        self._packed: tuple[list[tuple[int, int]], list[Tensor], Packed | None] = [], [], None

    def forward(self, positions: Tensor) -> Tensor:
        """Forces in u Å/fs² at positions in Å, ``(member, batch, atom, 3)`` both."""
        packed = None if torch.is_grad_enabled() else self.packed
        if packed is not None:
            return forces(positions, packed)
        return self.scale * self._forces(positions, self._weights)

    @property
    def packed(self) -> Packed | None:
        """The weights for forces in one pass, where there is such; made anew when they change."""
        inputs = self.mean, self.spread, self.limit
        parts = [*inputs, self.scale, *self._weights]
        state = [(id(y), 0 if y.is_inference() else y._version) for y in parts]
        if state != self._packed[0]:
            *layers, last, square, line = self._weights
            form = self._share * (square + square.mT)
            ends = [self.scale * y for y in (last, form, self._share * line)]
            atoms = self.between.shape[1]
            packed = pack(atoms, inputs, layers, ends)
            self._packed = state, parts, packed  # parts: no other tensor gets the id of one
        return self._packed[-1]

    def energy(self, positions: Tensor) -> Tensor:
        """Energy in u Å²/fs², ``(member, batch)``, up to a constant."""
        z, _ = self._held(_inverse(self._apart(positions)))
        *layers, last, square, line = self._weights
        form = ((z @ square + line) * z).sum(-1)
        network = (_hidden(z, layers)[-1][0] @ last.mT)[..., 0]
        return self.scale * (network + self._share * form)

    def knows(self, positions: Tensor) -> Tensor:
        """Whether conformations are like those of training, by their energy, ``(member, batch)``.

        Up to ten standard deviations are normal; what falls apart is far beyond.
        """
        mean, spread = self.usual
        return (self.energy(positions) - mean).abs() <= 10 * spread  # false of what is not a number

    @property
    def _weights(self) -> list[Tensor]:
        return [getattr(self, name) for name in self._names]

    def _apart(self, positions: Tensor) -> Tensor:
        """From one atom to the other of each pair, ``(..., 3, pair)``.

        One matrix product, where rows are neighbours in memory; else as many as conformations.
        """
        return positions.mT.contiguous() @ self.between.mT

    def _held(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Values z of inverse distances, held within limits, and their slope in (q − μ)/σ."""
        z = (q - self.mean) / self.spread
        over = (z.abs() - self.limit).clamp(min=0)
        inside = over.clamp(max=self._fade)
        off = over - inside + inside.square() / (2 * self._fade)
        return z - off * z.sign(), 1 - inside / self._fade

    def _forces(self, positions: Tensor, weights: Sequence[Tensor]) -> Tensor:
        *layers, last, square, line = weights
        apart = self._apart(positions)
        q = _inverse(apart)
        z, rising = self._held(q)
        slope = last
        for weight, (_, bend) in zip(layers[-2::-2], _hidden(z, layers)[::-1], strict=True):
            slope = (slope * bend) @ weight
        slope = slope + self._share * torch.baddbmm(line, z, square + square.mT)
        pull = (slope * rising / self.spread * q**3)[..., None, :] * apart
        return (pull @ self.between).mT

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
        """Learn from forces, by stochastic gradients.

        The loss is the mean square error of forces, and of the displacements C F/kT that they
        bring about, C being the covariance of positions: small errors along soft directions, such
        as torsions, lead a trajectory astray. Frames are renumbered at random, see
        :func:`gfnode.graph.renumberings`. Forces on atoms that are held do not count: programs
        store them, or zeros.

        Parameters
        ----------
        positions, forces
            ``(frame, atom, 3)`` in Å and u Å/fs², turned so that the molecule lies as in the mean.
        shown
            Which frames each member learns from, ``(member, frame)``.
        steps, batch, rates
            Steps, frames a step, and the largest learning rates: of the network's matrices, by
            :class:`~gfnode.dynamics.muon.Muon`, and of the rest, by AdamW.
        unknown
            A direction in which the forces on each frame are not known, ``(frame, atom, 3)``:
            errors along it do not count.
        report
            Told steps done and steps in all.
        """
        generator = torch.Generator().manual_seed(self.seed)
        alike = torch.from_numpy(renumberings(self.bonds, self.numbers))
        frames, members = len(positions), self.members
        q = _inverse(self._apart(positions))
        self.mean.copy_(q.mean(0))
        spread = q.std(0).clamp(min=1e-6)
        self.spread.copy_(torch.where(self.constant, self._unlimited, spread))
        forces = forces * self.moving
        self.scale.copy_(forces.square().mean().sqrt())
        forces = forces / self.scale
        moved = (positions - positions.mean(0)).flatten(1).double()
        size, axes = torch.linalg.eigh(moved.T @ moved / frames)
        soft = (axes * size.clamp(min=0).sqrt()).float()
        soft = soft / (forces.flatten(1) @ soft).square().mean().sqrt()
        aside = None if unknown is None else nn.functional.normalize(unknown.flatten(1), dim=-1)
        chances = shown.float().cpu()
        weights = self._drawn(generator)
        square, line = weights[-2:]  # zero to begin with, and zero they stay for far pairs
        square.register_hook(lambda slope: slope * self.near[:, None] * self.near)
        line.register_hook(lambda slope: slope * self.near)
        matrices, biases = weights[: 2 * self._depth : 2], weights[1 : 2 * self._depth : 2]
        rest = biases + weights[2 * self._depth :]
        optimizers = Muon(matrices, rates[0]), torch.optim.AdamW(rest, rates[1], weight_decay=1e-4)
        schedules = [
            OneCycleLR(optimizer, rate, steps, pct_start=0.05, cycle_momentum=False)
            for optimizer, rate in zip(optimizers, rates, strict=True)
        ]
        for step in range(steps):
            index = torch.multinomial(chances, batch, replacement=True, generator=generator)
            drawn = torch.randint(len(alike), (members, batch), generator=generator)
            order = alike[drawn].to(positions.device)[..., None].expand(-1, -1, -1, 3)
            index = index.to(positions.device)
            found = self._forces(positions[index].gather(2, order), weights)
            found = torch.zeros_like(found).scatter(2, order, found)
            wrong = (found * self.moving - forces[index]).flatten(2)
            if aside is not None:
                along = aside[index]
                wrong = wrong - (wrong * along).sum(-1, keepdim=True) * along
            loss = wrong.square().mean((1, 2)) + (wrong @ soft).square().mean((1, 2))
            for weight in weights:
                weight.grad = None
            torch.autograd.backward(loss.sum())
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                schedule.step()
            report(step + 1, steps)
        for buffer, weight in zip(self._weights, weights, strict=True):
            buffer.copy_(weight.detach())
        some = positions[:: max(1, frames // 1000)]
        with torch.no_grad():
            energies = self.energy(some.expand(members, *some.shape))
        self.usual.copy_(torch.stack([energies.mean(1), energies.std(1)])[..., None])

    def _drawn(self, generator: torch.Generator) -> list[nn.Parameter]:
        """Weights to begin with: uniform within ±1/√inputs, and no quadratic form."""
        drawn = []
        for name, like in zip(self._names, self._weights, strict=True):
            weight = (2 * torch.rand(like.shape, generator=generator) - 1) * like.shape[-1] ** -0.5
            if name in ("square", "line"):
                weight.zero_()
            drawn.append(nn.Parameter(weight.to(like.device)))
        return drawn


def _inverse(apart: Tensor) -> Tensor:
    """Distances to the power −1."""
    return apart.square().sum(-2).rsqrt()


def _hidden(z: Tensor, layers: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Values of hidden layers and the slopes of their activation; weights and biases by turns."""
    found: list[tuple[Tensor, Tensor]] = []
    for weight, bias in zip(layers[::2], layers[1::2], strict=True):
        given = torch.baddbmm(bias, z, weight.mT)
        share = torch.sigmoid(given)
        z = given * share  # SiLU
        found.append((z, torch.lerp(z, z.new_ones(()), share)))  # σ + x σ (1 − σ)
    return found
