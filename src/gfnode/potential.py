"""A potential energy learned from forces: what a molecule's own motion follows."""

from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from gfnode.graph import renumberings
from gfnode.system import System


class Potential(nn.Module):
    """Potential energy as a network of inverse distances, and its forces.

    With q_ij = 1/|x_i − x_j| over all pairs, μ and σ their mean and spread in training::

        U(x) = φ((q − μ)/σ),   F_i = −∂U/∂x_i = Σ_j ∂U/∂q_ij q_ij³ (x_i − x_j)

    φ has two hidden layers with SiLU. Forces are the exact gradient, written out, so they conserve
    energy, momentum and angular momentum, and turn, move and are mirrored with the molecule.
    Weights are buffers: they come from :meth:`fit`, and training leaves them alone.

    Parameters
    ----------
    system
        The molecular system; all atoms act on one another, so its cost grows as atoms squared.
    width
        Of the hidden layers.
    members
        Networks that are learned side by side, from other weights and in another order.
    """

    _names = ("first", "first_bias", "second", "second_bias", "last")
    _most_renumberings = 64  # they are drawn from

    mean: Tensor
    spread: Tensor
    scale: Tensor
    pair: Tensor
    receiving: Tensor
    sending: Tensor

    def __init__(self, system: System, width: int = 128, members: int = 3) -> None:
        super().__init__()
        self.members = members
        self.seed = torch.initial_seed()  # that of the run: another seed, another potential
        atoms = system.n_atoms
        receiving, sending = np.triu_indices(atoms, 1)
        pairs = len(receiving)
        place = np.full((atoms, atoms), pairs)  # beyond the pairs stands a zero, for i = j
        place[receiving, sending] = place[sending, receiving] = np.arange(pairs)
        for name, index in (("receiving", receiving), ("sending", sending), ("pair", place)):
            self.register_buffer(name, torch.from_numpy(index.flatten()), persistent=False)
        shapes = ((width, pairs), (1, width), (width, width), (1, width), (1, width))
        for name, shape in zip(self._names, shapes, strict=True):
            self.register_buffer(name, torch.zeros(members, *shape))
        self.register_buffer("mean", torch.zeros(pairs))
        self.register_buffer("spread", torch.ones(pairs))
        self.register_buffer("scale", torch.ones(()))  # u Å/fs², the size of forces
        alike = renumberings(system.bonds, system.numbers)
        self.alike = torch.from_numpy(np.stack(list(islice(alike, self._most_renumberings))))

    def forward(self, positions: Tensor) -> Tensor:
        """Forces in u Å/fs² at positions in Å, ``(member, batch, atom, 3)`` both."""
        return self.scale * self._forces(positions, self._weights)

    def energy(self, positions: Tensor) -> Tensor:
        """Energy in u Å²/fs², ``(member, batch)``, up to a constant."""
        first, first_bias, second, second_bias, last = self._weights
        _, two = self._hidden(self._inverse(positions), first, first_bias, second, second_bias)
        return self.scale * (silu(two) @ last.mT)[..., 0]

    @property
    def _weights(self) -> list[Tensor]:
        return [getattr(self, name) for name in self._names]

    def _inverse(self, positions: Tensor) -> Tensor:
        apart = positions[..., self.receiving, :] - positions[..., self.sending, :]
        return apart.square().sum(-1).rsqrt()

    def _hidden(self, q: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        """What the hidden layers are given, before their activation."""
        first, first_bias, second, second_bias = weights
        one = torch.baddbmm(first_bias, (q - self.mean) / self.spread, first.mT)
        return one, torch.baddbmm(second_bias, silu(one), second.mT)

    def _forces(self, positions: Tensor, weights: Sequence[Tensor]) -> Tensor:
        first, _, second, _, last = weights
        q = self._inverse(positions)
        one, two = self._hidden(q, *weights[:4])
        slope = ((last * _slope(two)) @ second * _slope(one)) @ first / self.spread
        pull = pad(slope * q**3, (0, 1))[..., self.pair].unflatten(-1, (positions.shape[-2], -1))
        return positions * pull.sum(-1, keepdim=True) - pull @ positions

    def fit(
        self,
        positions: Tensor,
        forces: Tensor,
        shown: Tensor,
        *,
        steps: int,
        batch: int = 32,
        rate: float = 2e-3,
        report: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Learn from forces, by stochastic gradients.

        The loss is the mean square error of forces, and of the displacements C F/kT that they
        bring about, C being the covariance of positions: small errors along soft directions, such
        as torsions, lead a trajectory astray. Frames are renumbered at random among all numberings
        of the molecule's graph that change nothing.

        Parameters
        ----------
        positions, forces
            ``(frame, atom, 3)`` in Å and u Å/fs², turned so that the molecule lies as in the mean.
        shown
            Which frames each member learns from, ``(member, frame)``.
        steps, batch, rate
            Steps, frames a step, and the largest learning rate.
        report
            Told steps done and steps in all.
        """
        generator = torch.Generator().manual_seed(self.seed)
        frames, members = len(positions), self.members
        q = self._inverse(positions)
        self.mean.copy_(q.mean(0))
        self.spread.copy_(q.std(0).clamp(min=1e-6))
        self.scale.copy_(forces.square().mean().sqrt())
        forces = forces / self.scale
        moved = (positions - positions.mean(0)).flatten(1).double()
        size, axes = torch.linalg.eigh(moved.T @ moved / frames)
        soft = (axes * size.clamp(min=0).sqrt()).float()
        soft = soft / (forces.flatten(1) @ soft).square().mean().sqrt()
        chances = shown.float().cpu()
        weights = [nn.Parameter(self._draw(weight, generator)) for weight in self._weights]
        optimizer = torch.optim.AdamW(weights, rate, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rate, total_steps=steps, pct_start=0.05
        )
        for step in range(steps):
            index = torch.multinomial(chances, batch, replacement=True, generator=generator)
            drawn = torch.randint(len(self.alike), (members, batch), generator=generator)
            order = self.alike[drawn].to(positions.device)[..., None].expand(-1, -1, -1, 3)
            index = index.to(positions.device)
            found = self._forces(positions[index].gather(2, order), weights)
            found = torch.zeros_like(found).scatter(2, order, found)
            wrong = (found - forces[index]).flatten(2)
            loss = wrong.square().mean((1, 2)) + (wrong @ soft).square().mean((1, 2))
            optimizer.zero_grad()
            torch.autograd.backward(loss.sum())
            optimizer.step()
            schedule.step()
            report(step + 1, steps)
        for buffer, weight in zip(self._weights, weights, strict=True):
            buffer.copy_(weight.detach())

    def _draw(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """Weights to begin with, uniform within ±1/√inputs."""
        drawn = 2 * torch.rand(like.shape, generator=generator) - 1
        return (drawn * like.shape[-1] ** -0.5).to(like.device)


def _slope(x: Tensor) -> Tensor:
    """Derivative of SiLU."""
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s))
