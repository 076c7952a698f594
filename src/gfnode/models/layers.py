"""E(n)-equivariant graph layers (Satorras, Hoogeboom & Welling, ICML 2021).

Inside a stack of layers the arrays are ``(atom, batch, feature)``: with the atom axis first,
gathering the ends of edges and summing over neighbours move contiguous rows of memory.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from gfnode.errors import InputError
from gfnode.graph import Edges
from gfnode.kernels.messages import messages, suits


def perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Build a network with one hidden layer, SiLU inside."""
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, outputs))


def zero_last(network: nn.Sequential) -> None:
    """Initialise the last layer to zero, so that the network's output is zero at first."""
    for parameter in network[-1].parameters():
        nn.init.zeros_(parameter)


class Incidence(nn.Module):
    """Gathers atoms to the ends of directed edges (i, j), and sums edges over their atom i.

    On small graphs these are products with dense incidence matrices, which are faster on a CPU
    than indexed copies and whose gradients are products again; on large ones they are indexed.

    Parameters
    ----------
    edges
        ``(2, edge)``.
    n_atoms
        Number of atoms.
    dense_below
        Graphs of fewer atoms use dense matrices.
    """

    index: Tensor
    own: Tensor
    less: Tensor
    both: Tensor
    degree: Tensor

    def __init__(self, edges: Edges, n_atoms: int, dense_below: int = 64) -> None:
        super().__init__()
        index = torch.as_tensor(edges.index)
        degree = torch.bincount(index[0], minlength=n_atoms).clamp(min=1)
        dense = n_atoms < dense_below
        own, other = torch.eye(n_atoms)[index] if dense else torch.empty(2, 0)
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("own", own, persistent=False)  # (edge, atom)
        self.register_buffer("less", own - other, persistent=False)
        self.register_buffer("both", torch.cat([own, other], -1), persistent=False)
        self.register_buffer("degree", degree[:, None, None], persistent=False)
        self.dense, self.n_atoms = dense, n_atoms

    def difference(self, x: Tensor) -> Tensor:
        """x_i − x_j, ``(atom, batch, 3)`` to ``(edge, batch, 3)``."""
        if self.dense:
            return (self.less @ x.flatten(1)).unflatten(1, x.shape[1:])
        return x.index_select(0, self.index[0]) - x.index_select(0, self.index[1])

    def pair_sum(self, own: Tensor, other: Tensor) -> Tensor:
        """own_i + other_j, ``(atom, batch, feature)`` to ``(edge, batch, feature)``."""
        if self.dense:
            stacked = torch.cat([own, other]).flatten(1)
            return (self.both @ stacked).unflatten(1, own.shape[1:])
        return own.index_select(0, self.index[0]) + other.index_select(0, self.index[1])

    def sum(self, m: Tensor) -> Tensor:
        """Σ_j m_ij, ``(edge, batch, feature)`` to ``(atom, batch, feature)``."""
        if self.dense:
            return (self.own.mT @ m.flatten(1)).unflatten(1, m.shape[1:])
        return m.new_zeros(self.n_atoms, *m.shape[1:]).index_add(0, self.index[0], m)


class AtomMatrix(nn.Module):
    """A fixed matrix over atoms: y_i = Σ_j M_ij x_j; dense for small graphs, else sparse.

    Parameters
    ----------
    matrix
        M, ``(atom, atom)``.
    dense_below
        Graphs of fewer atoms use a dense matrix.
    """

    dense: Tensor
    ends: Tensor
    values: Tensor

    def __init__(self, matrix: sparse.sparray, dense_below: int = 512) -> None:
        super().__init__()
        entries = sparse.coo_array(matrix)
        small, kind = matrix.shape[0] < dense_below, torch.get_default_dtype()
        dense = entries.toarray() if small else np.empty((0, 0))
        self.register_buffer("dense", torch.as_tensor(dense, dtype=kind), persistent=False)
        ends = torch.as_tensor(np.stack(entries.coords), dtype=torch.long)
        self.register_buffer("ends", ends, persistent=False)  # (2, entry)
        values = torch.as_tensor(entries.data, dtype=kind)
        self.register_buffer("values", values, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply ``(atom, …)``."""
        flat = x.flatten(1)
        if len(self.dense):
            return (self.dense @ flat).view_as(x)
        rows, columns = self.ends
        entries = self.values[:, None] * flat.index_select(0, columns)
        return torch.zeros_like(flat).index_add(0, rows, entries).view_as(x)


class EdgeLinear(nn.Module):
    """A linear layer on edges ``[h_i, h_j, e_ij]``, applied to the atoms before gathering.

    ``W [h_i, h_j, e_ij] + b = (W_i h_i + b) + W_j h_j + W_e e_ij``: the two large products are
    computed once per atom instead of once per edge.
    """

    def __init__(self, width: int, scalars: int, outputs: int) -> None:
        super().__init__()
        self.sizes = [width, width, scalars]
        whole = nn.Linear(2 * width + scalars, outputs)
        self.weight, self.bias = whole.weight, whole.bias

    def forward(self, h: Tensor, scalars: Tensor, edges: Incidence) -> Tensor:
        """Map ``h (atom, batch, width)`` and ``scalars (edge, batch, scalar)`` to edges."""
        own, other, rest = self.weight.split(self.sizes, dim=1)
        ends = edges.pair_sum(functional.linear(h, own, self.bias), functional.linear(h, other))
        flat = torch.addmm(ends.flatten(0, 1), scalars.flatten(0, 1), rest.mT)
        return flat.unflatten(0, ends.shape[:2])


class EGNNLayer(nn.Module):
    """One message-passing layer.

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
        Whether positions are updated; if not, there is no ψ and no φ_v.
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

    def silence(self) -> None:
        """Initialise ψ and φ_v to zero, so that positions are unchanged at first."""
        for network in (self.shift, self.drive):
            if network is not None:
                zero_last(network)

    def forward(
        self,
        h: Tensor,
        x: Tensor,
        v: Tensor,
        scalars: Tensor,
        edges: Incidence,
        *,
        positions_only: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Update features ``(atom, batch, feature)`` and positions ``(atom, batch, 3)``."""
        difference = edges.difference(x)
        distance = difference.square().sum(-1, keepdim=True)
        m = self.message_in(h, torch.cat([distance, scalars], -1), edges)
        m = functional.silu(self.message_out(functional.silu(m)))
        if self.shift is not None and self.drive is not None:
            shift = edges.sum(difference * self.shift(m)) / edges.degree
            x = x + shift.clamp(-100, 100) + self.drive(h) * v
        if positions_only:
            return h, x
        updated = self.feature(torch.cat([h, edges.sum(m)], -1))
        return (h + updated if self.residual else updated), x

    def weights(self, *, positions_only: bool) -> list[Tensor | None]:
        """Weights in the order of :data:`gfnode.kernels.messages.Weights`."""
        linear: list[Any] = [self.message_in, self.message_out]
        for network in (self.shift, self.drive, None if positions_only else self.feature):
            linear += [None, None] if network is None else [network[0], network[2]]
        return [y for one in linear for y in ((one.weight, one.bias) if one else (None, None))]


def pass_messages(
    layers: Sequence[EGNNLayer],
    arrays: Sequence[Tensor],
    edges: Incidence,
    *,
    positions_only: bool = False,
) -> tuple[Tensor, Tensor]:
    """Run layers of one form, as one fused operation where there is code for it.

    `arrays` are h, x, v and scalars of :meth:`EGNNLayers.forward`.
    """
    _check_shapes(layers[0], arrays, edges)  # the fused operation would read beyond arrays
    h, x, v, scalars = arrays
    last = layers[-1] if positions_only else None
    if edges.dense and suits(*arrays, layers[0].message_out.weight):
        weights = [layer.weights(positions_only=layer is last) for layer in layers]
        residual = layers[0].residual
        return messages((*arrays, edges.index), weights, residual=residual)
    for layer in layers:
        h, x = layer(h, x, v, scalars, edges, positions_only=layer is last)
    return h, x


def _check_shapes(layer: EGNNLayer, arrays: Sequence[Tensor], edges: Incidence) -> None:
    width, _, scalars = layer.message_in.sizes
    batch = arrays[1].shape[1] if arrays[1].ndim > 1 else 1
    atoms, number = edges.n_atoms, edges.index.shape[1]
    expected = [(atoms, batch, n) for n in (width, 3, 3)] + [(number, batch, scalars - 1)]
    for name, array, shape in zip(["h", "x", "v", "scalars"], arrays, expected, strict=True):
        if array.shape != shape:
            raise InputError(
                f"{name} has the shape {tuple(array.shape)}, expected {shape}: atoms (for scalars, "
                "edges) come first, then the batch"
            )


class EGNNLayers(nn.Module):
    """A stack of :class:`EGNNLayer`; velocities are never changed.

    Parameters
    ----------
    n_atoms, edges
        Atoms of the system and directed edges between them.
    width, layers, scalars, moves, residual
        See :class:`EGNNLayer`.
    """

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
        self.edges = Incidence(edges, n_atoms)
        self.layers = nn.ModuleList(
            EGNNLayer(width, scalars, moves=moves, residual=residual) for _ in range(layers)
        )

    def silence(self) -> None:
        """Silence every layer."""
        for layer in self.layers:
            assert isinstance(layer, EGNNLayer)
            layer.silence()

    def forward(
        self, h: Tensor, x: Tensor, v: Tensor, scalars: Tensor, *, positions_only: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Run all layers.

        Parameters
        ----------
        h, x, v
            ``(atom, batch, feature)`` and ``(atom, batch, 3)``.
        scalars
            ``(edge, batch, scalar)``.
        positions_only
            The caller ignores the features: the last layer does not update them.

        Raises
        ------
        InputError
            For arrays of other shapes.
        """
        layers: Any = self.layers
        arrays = (h, x, v, scalars)
        return pass_messages(layers, arrays, self.edges, positions_only=positions_only)


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
