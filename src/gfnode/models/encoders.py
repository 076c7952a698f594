"""Encoders of GF-NODE by name: an equivariant one, and two that use the graph alone.

An encoder turns features ``(atom, batch, feature)``, positions, velocities ``(atom, batch, 3)`` and
edge scalars ``(edge, batch, scalar)`` into features and positions.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from gfnode.graph import Edges, adjacency
from gfnode.models.layers import AtomMatrix, EGNNLayers


class GraphLayers(nn.Module):
    """Graph convolutions of the features; positions pass through, edge scalars are ignored.

    The features are invariants of the start, and so are those returned.

    Parameters
    ----------
    matrix
        Weights with which features of neighbours are summed, ``(atom, atom)``.
    width, layers
        Features an atom, and layers.
    own
        Whether an atom's own features are concatenated to the sum.
    residual
        Whether layers add to the features.
    """

    def __init__(
        self, matrix: sparse.sparray, width: int, layers: int, *, own: bool, residual: bool
    ) -> None:
        super().__init__()
        self.matrix, self.own, self.residual = AtomMatrix(matrix), own, residual
        inputs = 2 * width if own else width
        self.layers = nn.ModuleList(nn.Linear(inputs, width) for _ in range(layers))

    def forward(self, h: Tensor, x: Tensor, v: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor]:
        """Run all layers."""
        for layer in self.layers:
            gathered = self.matrix(h)
            updated = functional.silu(layer(torch.cat([h, gathered], -1) if self.own else gathered))
            h = h + updated if self.residual else updated
        return h, x


def egnn(
    n_atoms: int, edges: Edges, width: int, layers: int, scalars: int, *, anchored: bool
) -> nn.Module:
    """Equivariant layers; in the anchored frame they are residual and leave positions alone."""
    return EGNNLayers(n_atoms, edges, width, layers, scalars, moves=not anchored, residual=anchored)


def graphsage(
    n_atoms: int, edges: Edges, width: int, layers: int, scalars: int, *, anchored: bool
) -> nn.Module:
    """Mean of neighbours: h_i ← SiLU(W [h_i, mean_j h_j] + b) (Hamilton et al., NeurIPS 2017)."""
    linked = adjacency(edges.index, n_atoms)
    mean = sparse.diags_array(1 / np.maximum(linked.sum(axis=1), 1)) @ linked
    return GraphLayers(mean, width, layers, own=True, residual=anchored)


def gcn(
    n_atoms: int, edges: Edges, width: int, layers: int, scalars: int, *, anchored: bool
) -> nn.Module:
    """H ← SiLU(D̃^(−1/2) (A + I) D̃^(−1/2) H W + b) (Kipf & Welling, ICLR 2017)."""
    looped = adjacency(edges.index, n_atoms) + sparse.eye_array(n_atoms)
    scale = sparse.diags_array(looped.sum(axis=1) ** -0.5)
    return GraphLayers(scale @ looped @ scale, width, layers, own=False, residual=anchored)


ENCODERS: dict[str, Callable[..., nn.Module]] = {"egnn": egnn, "graphsage": graphsage, "gcn": gcn}
"""Encoders by name: a function of n_atoms, edges, width, layers, edge scalars, and the frame."""
