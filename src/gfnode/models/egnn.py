"""E(n)-equivariant graph layers (Satorras, Hoogeboom & Welling, ICML 2021).

Inside a stack of layers the arrays are ``(atom, batch, feature)``: with the atoms first, gathering
the ends of edges and summing over neighbours move whole rows of memory.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from gfnode.graph import Edges


def perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Build a network with one hidden layer, SiLU inside."""
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, outputs))


class EdgeLinear(nn.Module):
    """A linear layer on edges ``[h_i, h_j, e_ij]``, applied to the atoms before gathering.

    ``W [h_i, h_j, e_ij] + b = W_i h_i + W_j h_j + (W_e e_ij + b)``: the two large products are
    taken once an atom and not once an edge.
    """

    def __init__(self, width: int, scalars: int, outputs: int) -> None:
        super().__init__()
        self.width, self.outputs = width, outputs
        whole = nn.Linear(2 * width + scalars, outputs)
        self.weight, self.bias = whole.weight, whole.bias

    def forward(self, h: Tensor, scalars: Tensor, edges: Tensor) -> Tensor:
        """Map ``h (atom, batch, width)`` and ``scalars (edge, batch, scalar)`` to edges."""
        own, other, rest = self.weight.split(
            [self.width, self.width, self.weight.shape[1] - 2 * self.width], dim=1
        )
        out = functional.linear(scalars, rest, self.bias)
        out += functional.linear(h, own).index_select(0, edges[0])
        out += functional.linear(h, other).index_select(0, edges[1])
        return out


class EGNNLayer(nn.Module):
    """One layer of messages.

    With d²_ij = ‖x_i − x_j‖² and edge scalars e_ij::

        m_ij = φ_e(h_i, h_j, d²_ij, e_ij)
        x_i ← x_i + mean_j ψ(m_ij)(x_i − x_j) + φ_v(h_i) v_i
        h_i ← φ_h(h_i, Σ_j m_ij)

    Parameters
    ----------
    width
        Features an atom.
    scalars
        Edge scalars, besides the current squared distance.
    moves
        Whether positions are updated; if not, ψ and φ_v do not exist.
    residual
        Whether φ_h adds to the features (the published layers replace them).
    """

    def __init__(
        self, width: int, scalars: int, *, moves: bool = True, residual: bool = False
    ) -> None:
        super().__init__()
        self.residual = residual
        self.message_in = EdgeLinear(width, scalars + 1, width)
        self.message_out = nn.Linear(width, width)
        self.feature = perceptron(2 * width, width, width)
        self.shift = perceptron(width, width, 1) if moves else None
        self.drive = perceptron(width, width, 1) if moves else None

    def forward(
        self, h: Tensor, x: Tensor, v: Tensor, scalars: Tensor, edges: Tensor, mean: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update features and positions; ``mean (atom, 1, 1)`` is one over the degree."""
        i, j = edges
        difference = x.index_select(0, i) - x.index_select(0, j)
        distance = difference.square().sum(-1, keepdim=True)
        m = self.message_in(h, torch.cat([distance, scalars], -1), edges)
        m = functional.silu(self.message_out(functional.silu(m)))
        if self.shift is not None and self.drive is not None:
            shift = torch.zeros_like(x).index_add(0, i, difference * self.shift(m)) * mean
            x = x + shift.clamp(-100, 100) + self.drive(h) * v
        total = torch.zeros_like(h).index_add(0, i, m)
        updated = self.feature(torch.cat([h, total], -1))
        return (h + updated if self.residual else updated), x


class EGNN(nn.Module):
    """A stack of :class:`EGNNLayer`; velocities are never changed.

    Parameters
    ----------
    n_atoms, edges
        Atoms of the system and directed edges between them.
    width, layers, scalars, moves, residual
        See :class:`EGNNLayer`.
    """

    edges: Tensor
    mean: Tensor

    def __init__(
        self,
        n_atoms: int,
        edges: Edges,
        width: int,
        layers: int,
        scalars: int,
        *,
        moves: bool = True,
        residual: bool = False,
    ) -> None:
        super().__init__()
        index = torch.as_tensor(edges.index)
        degree = torch.bincount(index[0], minlength=n_atoms).clamp(min=1)
        self.register_buffer("edges", index, persistent=False)
        self.register_buffer("mean", degree.reciprocal()[:, None, None], persistent=False)
        self.layers = nn.ModuleList(
            EGNNLayer(width, scalars, moves=moves, residual=residual) for _ in range(layers)
        )

    def silence(self) -> None:
        """Set what moves positions to zero, so that training begins with none moved."""
        for layer in self.layers:
            assert isinstance(layer, EGNNLayer)
            for network in (layer.shift, layer.drive):
                if network is not None:
                    nn.init.zeros_(network[2].weight)
                    nn.init.zeros_(network[2].bias)

    def forward(self, h: Tensor, x: Tensor, v: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor]:
        """Run all layers.

        Parameters
        ----------
        h, x, v
            ``(atom, batch, feature)`` and ``(atom, batch, 3)``.
        scalars
            ``(edge, batch, scalar)``.
        """
        for layer in self.layers:
            h, x = layer(h, x, v, scalars, self.edges, self.mean)
        return h, x


def lag_embedding(lags: Tensor, width: int) -> Tensor:
    """Sinusoids of the lag: sin, then cos, of lag × 10000^(−k/(width/2 − 1)).

    Parameters
    ----------
    lags
        In time steps, any shape.

    Returns
    -------
    Tensor
        ``(…, width)``.
    """
    half = width // 2
    rates = torch.exp(
        torch.arange(half, device=lags.device) * (-math.log(10_000.0) / max(half - 1, 1))
    )
    angles = lags[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1)
