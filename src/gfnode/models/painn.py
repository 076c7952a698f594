"""Polarizable atom interaction layers (PaiNN), sensitive to chirality: SO(3)-equivariant.

K. Schütt, O. Unke, M. Gastegger, Equivariant message passing for the prediction of tensorial
properties and molecular spectra, ICML 2021. An atom has scalars s, invariant under rotation, and
vectors V, which rotate with the molecule. Cross products of vectors are added, as the score network
of ITO needs (Schreiner, Winther & Olsson 2023): they rotate with the molecule, but break
equivariance under reflection.

Arrays are ``(atom, batch, draw, …)``, scalars ending in ``feature``, vectors in ``3 feature``. The
draws are the lags and samples evaluated for one start; arrays common to all of them have one draw,
and are broadcast.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gfnode.graph import Edges
from gfnode.models.layers import Incidence, perceptron, zero_last

SOFT = 0.1
"""Å; softening length of edge directions, so that their gradient is finite everywhere."""


class Radial(nn.Module):
    """Bessel radial basis of a distance d, √k sinc(k d/c) for k = 1, 2, …; zero for d ≥ c.

    Functions of Schütt et al. 2021 (sin(kπ d/c)/d, before eq. 10) with another prefactor, and
    without their cosine cut-off: edges are those of the molecular graph, whatever their length.

    Parameters
    ----------
    count
        Number of functions.
    reach
        c in Å.
    """

    def __init__(self, count: int, reach: float) -> None:
        super().__init__()
        self.reach, self.count = reach, count
        self.register_buffer("order", torch.arange(1.0, count + 1), persistent=False)

    order: Tensor

    def forward(self, distance: Tensor) -> Tensor:
        """``(…)`` in Å to ``(…, count)``."""
        scaled = distance[..., None].clamp(max=self.reach) * (self.order / self.reach)
        return torch.sinc(scaled) * self.order.sqrt()


class Neighbours(Incidence):
    """The edges of a graph, and means over the neighbours of atoms."""

    mean_matrix: Tensor

    def __init__(self, edges: Edges, n_atoms: int) -> None:
        super().__init__(edges, n_atoms)
        matrix = self.own.mT @ (self.own - self.less) if self.dense else torch.empty(0)
        self.register_buffer("mean_matrix", matrix / self._degree(2), persistent=False)

    def _degree(self, axes: int) -> Tensor:
        return self.degree.view(-1, *[1] * (axes - 1))

    def mean(self, m: Tensor) -> Tensor:
        """Mean over an atom's edges, ``(edge, …)`` to ``(atom, …)``."""
        return self.sum(m) / self._degree(m.ndim)

    def mean_of_neighbours(self, x: Tensor) -> Tensor:
        """Mean over an atom's neighbours, ``(atom, …)`` to ``(atom, …)``."""
        if self.dense:
            return (self.mean_matrix @ x.flatten(1)).view_as(x)
        return self.mean(x.index_select(0, self.index[1]))


class Normalise(nn.Module):
    """Normalises scalars and vectors, so that their magnitude does not grow from layer to layer.

    Scalars by layer normalisation; vectors as V / √(1 + mean_f |V_f|²). PaiNN has no such step, but
    products of vectors can grow without bound.

    Parameters
    ----------
    width
        Features an atom.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scalars = nn.LayerNorm(width)

    def forward(self, s: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        """Normalise, in the shapes of :class:`Message`."""
        size = (1 + V.square().sum(-2, keepdim=True).mean(-1, keepdim=True)).sqrt()
        return self.scalars(s), V / size


class Geometry(NamedTuple):
    """Directions and scalars of edges."""

    along: Tensor  # (edge, batch, draw, 3) unit vectors
    static: Tensor  # (edge, batch, 1, scalar) of the start
    current: Tensor | None = None  # (edge, batch, draw, scalar) of the noisy conformation


class Message(nn.Module):
    """Messages along edges and from the whole molecule (after Schütt et al. 2021, eq. 7 and 8).

    With filters W of the edge, φ of the sending atom, the unit vector u along the edge, and s and V
    inside means normalised::

        s_i ← s_i + mean_j φ_s(s_j) W_s(e_ij) + A mean_k s_k
        V_i ← V_i + mean_j (φ_v(s_j) V_j + φ_u(s_j) W_u(e_ij) u_ij) + B mean_k V_k

    The means over all atoms k are not part of PaiNN: they make the rotation of the whole molecule
    known to every atom after one layer. And V_j has no filter, since distances between neighbours
    in the molecular graph hardly change: this leaves a single array of size edges × vectors.

    Parameters
    ----------
    width
        Features an atom, as many scalars as vectors.
    static, current
        Number of edge scalars of the start, and of the noisy conformation.
    """

    def __init__(self, width: int, static: int, current: int = 0) -> None:
        super().__init__()
        self.normalise = Normalise(width)
        self.node = perceptron(width, width, 3 * width)
        self.static = nn.Linear(static, 2 * width)
        self.current = nn.Linear(current, 2 * width, bias=False) if current else None
        self.all_scalars = nn.Linear(width, width, bias=False)
        self.all_vectors = nn.Linear(width, width, bias=False)

    def forward(
        self, s: Tensor, V: Tensor, geometry: Geometry, edges: Neighbours
    ) -> tuple[Tensor, Tensor]:
        """Update scalars ``(atom, batch, draw, feature)``, vectors ``(…, 3, feature)``."""
        filters = self.static(geometry.static)
        if self.current is not None:
            filters = filters + self.current(geometry.current)
        width = s.shape[-1]
        known, vectors = self.normalise(s, V)
        sent, carried = self.node(known).split([2 * width, width], -1)
        scalars, size = (sent.index_select(0, edges.index[1]) * filters).chunk(2, -1)
        directed = edges.mean(size.unsqueeze(-2) * geometry.along.unsqueeze(-1))
        carried = edges.mean_of_neighbours(carried.unsqueeze(-2) * vectors)
        s = s + edges.mean(scalars) + self.all_scalars(known.mean(0))
        return s, V + directed + carried + self.all_vectors(vectors.mean(0))


class Update(nn.Module):
    """Atomwise update (Schütt et al. 2021, eq. 9 and 10), with a cross product.

    With P = V W_P and Q = V W_Q of normalised vectors::

        a, b, c, d = MLP(s, |Q|)
        s ← s + a + b P·Q,   V ← V + c P + d P × Q

    P × Q is an axial vector: adding it to polar ones breaks equivariance under reflection only.

    Parameters
    ----------
    width
        Features an atom.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.normalise = Normalise(width)
        self.mix = nn.Linear(width, 2 * width, bias=False)
        self.gates = perceptron(2 * width, width, 4 * width)

    def forward(self, s: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        """Update scalars and vectors, in the shapes of :class:`Message`."""
        known, vectors = self.normalise(s, V)
        P, Q = self.mix(vectors).chunk(2, -1)
        size = (Q.square().sum(-2) + 1e-6).sqrt()
        a, b, c, d = self.gates(torch.cat([known, size], -1)).chunk(4, -1)
        V = V + c.unsqueeze(-2) * P + d.unsqueeze(-2) * _cross(P, Q)
        return s + a + b * (P * Q).sum(-2), V


class Readout(nn.Module):
    """One vector per atom, Σ_f g_f(s) V_f; initialised to zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.normalise = Normalise(width)
        self.gates = perceptron(width, width, width)
        zero_last(self.gates)

    def forward(self, s: Tensor, V: Tensor) -> Tensor:
        """``(atom, batch, draw, 3)``."""
        return (V @ self.gates(self.normalise(s, V)[0]).unsqueeze(-1)).squeeze(-1)


def unit(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Softened directions r/√(r² + SOFT²), ``(…, 3)``, and lengths √(r² + SOFT²), ``(…)``."""
    length = (vectors.square().sum(-1) + SOFT**2).sqrt()
    return vectors / length.unsqueeze(-1), length


def _cross(P: Tensor, Q: Tensor) -> Tensor:
    """P × Q over the last axis but one; four times faster than torch.linalg.cross along it."""
    p0, p1, p2 = P.unbind(-2)
    q0, q1, q2 = Q.unbind(-2)
    return torch.stack([p1 * q2 - p2 * q1, p2 * q0 - p0 * q2, p0 * q1 - p1 * q0], -2)
