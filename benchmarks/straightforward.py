"""GF-NODE written down as the equations stand, the form that published experiments run.

It is what the product is compared with: the same mathematics and the same weights, with nothing
done about its cost. Every edge is told its two ends and its scalars side by side and sent through
one linear layer; messages are gathered and summed by index; and one adaptive solver carries all
samples through the union of all lags of the batch, of which each sample then picks its own.

Written for this benchmark from the equations (Satorras, Hoogeboom & Welling 2021, eq. 3 to 6;
GF-NODE eq. 4 to 9, design of the published experiments in :mod:`gfnode.presets`).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchdiffeq import odeint

from gfnode.models.gfnode import GraphFourierODE
from gfnode.models.layers import lag_embedding, perceptron

RTOL, ATOL = 1e-3, 1e-4
"""Tolerances of the published solver."""


class Layer(nn.Module):
    """One layer of messages on ``(node, feature)``, the atoms of all samples in one long list."""

    def __init__(self, width: int, scalars: int) -> None:
        super().__init__()
        self.message_in = nn.Linear(2 * width + 1 + scalars, width)
        self.message_out = nn.Linear(width, width)
        self.feature = perceptron(2 * width, width, width)
        self.shift = perceptron(width, width, 1)
        self.drive = perceptron(width, width, 1)

    def forward(
        self, h: Tensor, x: Tensor, v: Tensor, scalars: Tensor, edges: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update features and positions; ``edges (2, edge)``, ``scalars (edge, scalar)``."""
        i, j = edges
        difference = x[i] - x[j]
        distance = difference.square().sum(-1, keepdim=True)
        m = functional.silu(self.message_in(torch.cat([h[i], h[j], distance, scalars], -1)))
        m = functional.silu(self.message_out(m))
        shift = torch.zeros_like(x).index_add(0, i, difference * self.shift(m))
        degree = torch.bincount(i, minlength=len(x)).clamp(min=1)[:, None]
        x = x + (shift / degree).clamp(-100, 100) + self.drive(h) * v
        summed = h.new_zeros(len(h), m.shape[1]).index_add(0, i, m)
        return self.feature(torch.cat([h, summed], -1)), x


class Stack(nn.Module):
    """Layers one after the other."""

    def __init__(self, width: int, layers: int, scalars: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, scalars) for _ in range(layers))

    def forward(
        self, h: Tensor, x: Tensor, v: Tensor, scalars: Tensor, edges: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run all layers on ``(batch, atom, …)`` and ``(batch, edge, scalar)``."""
        batch, atoms = h.shape[:2]
        offsets = torch.arange(batch, device=h.device)[:, None] * atoms
        many = (edges[:, None] + offsets).flatten(1)  # (2, batch · edge)
        h, x, v, scalars = (y.flatten(0, 1) for y in (h, x, v, scalars))
        for layer in self.layers:
            h, x = layer(h, x, v, scalars, many)
        return h.unflatten(0, (batch, atoms)), x.unflatten(0, (batch, atoms))


class Block(nn.Module):
    """y(t) = x + SiLU(U H̃(t)), dH̃_k/dt = H̃_k W_k from H̃(0) = Uᵀ x, solved numerically."""

    vectors: Tensor

    def __init__(self, vectors: Tensor, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors.clone())
        self.weight = nn.Parameter(weight.detach().clone())

    def forward(self, nodes: Tensor, times: Tensor, rtol: float, atol: float) -> Tensor:
        """Carry ``(batch, atom, …, feature)`` to ``times (batch, time)``."""
        modes = torch.einsum("am,ba...f->bm...f", self.vectors, nodes)
        union, place = torch.unique(
            torch.cat([times.new_zeros(1), times.flatten()]), return_inverse=True
        )

        def slope(_: Tensor, state: Tensor) -> Tensor:
            return torch.einsum("bm...f,mfg->bm...g", state, self.weight)

        path = odeint(slope, modes, union, rtol=rtol, atol=atol, method="dopri5")
        sample = torch.arange(len(nodes), device=nodes.device)[:, None]
        picked = path[place[1:].reshape(times.shape), sample]  # (batch, time, mode, …, feature)
        back = torch.einsum("am,btm...f->bta...f", self.vectors, picked)
        return nodes[:, None] + functional.silu(back)


class Straightforward(nn.Module):
    """The ``published`` GF-NODE in its straightforward form, with the weights of the product.

    Parameters
    ----------
    product
        A model of the ``published`` preset; its weights are copied.
    rtol, atol
        Tolerances of the solver.
    """

    def __init__(self, product: GraphFourierODE, rtol: float = RTOL, atol: float = ATOL) -> None:
        super().__init__()
        s = product.settings
        if s.frame != "centred" or not s.coordinate_activation or s.whole_eigenspaces:
            raise ValueError("the straightforward form is that of the published preset only")
        self.system, self.lag_width = product.system, s.lag_width
        self.tolerances = (rtol, atol)
        self.inputs = product.inputs.__class__(product.system, 0, s.width)
        scalars = self.inputs.n_edge_scalars
        self.encoder = Stack(s.width, s.encoder_layers, scalars)
        self.decoder = Stack(s.width + s.lag_width, s.decoder_layers, scalars)
        weights = product.state_dict()
        vectors = weights["features.transform.vectors"]
        self.features = Block(vectors, weights["features.dynamics.weight"])
        self.coordinates = Block(vectors, weights["coordinates.dynamics.weight"])
        self.to(vectors.dtype)
        for name in ("inputs", "encoder", "decoder"):
            part: nn.Module = getattr(self, name)
            part.load_state_dict(_below(weights, name))

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """See :meth:`gfnode.models.base.Model.forward`."""
        times = lags / self.system.horizon
        edges = self.inputs.edges
        centre = positions.mean(1, keepdim=True)
        v = velocities * self.system.time_step
        h, scalars = self.inputs(positions, v, None)
        h, scalars = h.transpose(0, 1), scalars.transpose(0, 1)
        h, x = self.encoder(h, positions, v, scalars, edges)

        h = self.features(h, times, *self.tolerances)
        channels = self.coordinates(torch.stack([x - centre, v], -1), times, *self.tolerances)
        x, v = channels.unbind(-1)
        x = x + centre[:, None]

        steps = lag_embedding(lags / self.system.time_step, self.lag_width)
        h = torch.cat([h, steps[:, :, None].expand(-1, -1, h.shape[2], -1)], -1)
        scalars = scalars.repeat_interleave(lags.shape[1], 0)
        _, x = self.decoder(*(y.flatten(0, 1) for y in (h, x, v)), scalars, edges)
        return x.unflatten(0, lags.shape)


def _below(weights: dict[str, Any], name: str) -> dict[str, Any]:
    """Entries of a state whose names begin with ``name.``, without it."""
    start = f"{name}."
    return {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
