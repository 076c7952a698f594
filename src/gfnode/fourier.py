"""The graph Fourier transform: eigenvectors of the Laplacian, the transform and its inverse.

Eigenvectors are not unique: their signs are arbitrary, and those of a repeated eigenvalue may be
rotated into each other. What is well defined is the *eigenspace*, so a basis stores the eigenspace
of each of its modes, and by default contains only complete ones.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh, splu
from torch import Tensor, nn

from gfnode.errors import InputError
from gfnode.trajectory import Doubles, Integers

EQUAL = 1e-11
"""Eigenvalues closer than this, relative to the bound ‖L‖∞ on the largest, count as equal.

Rounding is about 1e-15 on that scale, and the eigenvalues of a chain of 10 000 atoms are 1e-7
apart."""

MOST_ROUNDS = 300
"""Restarts of a Lanczos search, at most; a search that converges needs about ten."""


@dataclass(frozen=True, eq=False)
class Basis:
    """Modes of a molecular graph, in ascending order of eigenvalue.

    Parameters
    ----------
    vectors
        Orthonormal eigenvectors as columns, ``(atom, mode)``.
    values
        Eigenvalues, ``(mode,)``.
    spaces
        Which eigenspace each mode belongs to, ``(mode,)``, counted from 0.
    """

    vectors: Doubles
    values: Doubles
    spaces: Integers


def eigenbasis(
    laplacian: sparse.csr_array,
    modes: int | None = None,
    *,
    whole: bool = True,
    dense_below: int = 1000,
) -> Basis:
    """Find the lowest modes of a graph Laplacian, L u = λ u.

    Parameters
    ----------
    laplacian
        Symmetric and positive semidefinite, ``(atom, atom)``.
    modes
        How many to keep; None keeps all.
    whole
        Keep complete eigenspaces: where the cut would go through one, its other modes are kept too.
        False cuts after ``modes`` and takes every mode as an eigenspace of its own, as the
        published experiments do; results then depend on an arbitrary choice of eigenvectors.
    dense_below
        Graphs of at least this many atoms are solved by Lanczos iteration, unless more than a
        quarter of the modes is wanted.

    Returns
    -------
    Basis
        Deterministic: the start vector of the iteration and the signs are fixed.

    Raises
    ------
    InputError
        For a matrix that is not square and symmetric, or more modes than atoms.
    """
    n_atoms = laplacian.shape[0]
    laplacian = sparse.csr_array(laplacian, dtype=np.float64)
    if laplacian.shape != (n_atoms, n_atoms) or abs(laplacian - laplacian.T).max() > 1e-12:
        raise InputError(
            f"the Laplacian, {laplacian.shape}, is not a symmetric matrix (atom, atom); every "
            "edge must be given in both directions"
        )
    count = n_atoms if modes is None else modes
    if count not in range(1, n_atoms + 1):  # nor are fractions
        raise InputError(
            f"cannot keep {modes} modes: expected 1 to {n_atoms}, at most one per atom"
        )
    tolerance = EQUAL * float(abs(laplacian).sum(axis=1).max())
    if n_atoms < dense_below or count > n_atoms // 4:
        values, vectors = np.linalg.eigh(laplacian.toarray())
    else:
        try:
            values, vectors = _lowest(laplacian, count, tolerance)
        except ArpackError:  # no convergence, as with few distinct eigenvalues
            values, vectors = np.linalg.eigh(laplacian.toarray())
    spaces = _spaces(values, tolerance)
    kept = int(np.searchsorted(spaces, spaces[count - 1], side="right")) if whole else count
    return Basis(
        _orient(vectors[:, :kept]), values[:kept], spaces[:kept] if whole else np.arange(kept)
    )


class GraphFourier(nn.Module):
    """The transform H̃ = Uᵀ H and its inverse U H̃ (eq. 4 and 8 of the paper; 5 and 9 for positions).

    Parameters
    ----------
    basis
        The modes to keep.
    """

    vectors: Tensor
    eigenvalues: Tensor
    spaces: Tensor

    def __init__(self, basis: Basis) -> None:
        super().__init__()
        dtype = torch.get_default_dtype()
        self.register_buffer("vectors", torch.as_tensor(basis.vectors, dtype=dtype))
        self.register_buffer("eigenvalues", torch.as_tensor(basis.values, dtype=dtype))
        self.register_buffer("spaces", torch.as_tensor(basis.spaces, dtype=torch.long))
        self.n_modes = len(basis.values)
        self.n_spaces = int(basis.spaces.max()) + 1

    def forward(self, nodes: Tensor) -> Tensor:
        """Turn ``(..., atom, feature)`` into ``(..., mode, feature)``."""
        return self.vectors.mT @ nodes

    def inverse(self, modes: Tensor) -> Tensor:
        """Turn ``(..., mode, feature)`` into ``(..., atom, feature)``."""
        return self.vectors @ modes


class IdentityTransform(nn.Module):
    """No transform: every atom is a mode and an eigenspace of its own (the paper's ablation).

    Parameters
    ----------
    n_atoms
        Number of atoms.
    """

    eigenvalues: Tensor
    spaces: Tensor

    def __init__(self, n_atoms: int) -> None:
        super().__init__()
        self.register_buffer("eigenvalues", torch.zeros(n_atoms))
        self.register_buffer("spaces", torch.arange(n_atoms))
        self.n_modes = self.n_spaces = n_atoms

    def forward(self, nodes: Tensor) -> Tensor:
        """Return ``(..., atom, feature)`` as it is."""
        return nodes

    def inverse(self, modes: Tensor) -> Tensor:
        """Return ``(..., mode, feature)`` as it is."""
        return modes


def _lowest(laplacian: sparse.csr_array, count: int, tolerance: float) -> tuple[Doubles, Doubles]:
    """Find the lowest modes of a sparse Laplacian: ``count``, and the rest of the last eigenspace.

    Shift-and-invert Lanczos iteration with a shift just below zero. From a single start vector it
    finds one direction of each eigenspace, and further ones only through rounding. So the modes
    found are projected out, and the search is repeated until the lowest remaining mode lies above
    the cut.
    """
    n_atoms = laplacian.shape[0]
    if not tolerance:  # no edges: all modes are one eigenspace
        return np.zeros(n_atoms), np.eye(n_atoms)
    shift = 1e-7 / EQUAL * tolerance
    inverse = splu(sparse.csc_array(laplacian + shift * sparse.eye_array(n_atoms)))
    start = np.random.default_rng(0).standard_normal(n_atoms)
    found = np.empty((n_atoms, 0))
    new = _search(inverse, found, count + 4, start)
    while True:
        values, found = _ritz(laplacian, np.hstack([found, new]))
        spaces = _spaces(values, tolerance)
        end = int(np.searchsorted(spaces, spaces[count - 1], side="right"))
        complete = end < len(values)
        more = 4 if complete else max(4, end - count)
        if len(values) + more > n_atoms // 2:
            values, found = np.linalg.eigh(laplacian.toarray())
            return values, found
        new = _search(inverse, found, more, start)
        if complete and _ritz(laplacian, new)[0][0] > values[end - 1] + tolerance:
            return values[:end], found[:, :end]


def _search(inverse: Any, found: Doubles, count: int, start: Doubles) -> Doubles:
    """Find the lowest eigenvectors orthogonal to those found, ``(atom, count)``."""

    def project(x: Doubles) -> Doubles:
        return x - found @ (found.T @ x)

    size = len(start)
    operator = LinearOperator((size, size), lambda x: project(inverse.solve(project(x))))
    _, vectors = eigsh(
        operator, k=count, which="LA", v0=project(start), ncv=2 * count + 20, maxiter=MOST_ROUNDS
    )
    return np.asarray(vectors)


def _ritz(laplacian: sparse.csr_array, vectors: Doubles) -> tuple[Doubles, Doubles]:
    """Ritz values and vectors of L in the span of vectors (Rayleigh-Ritz)."""
    span, _ = np.linalg.qr(vectors)
    values, mix = np.linalg.eigh(span.T @ (laplacian @ span))
    return values, span @ mix


def _spaces(values: Doubles, tolerance: float) -> Integers:
    """Eigenspace of each mode, ``(mode,)``: a new one where eigenvalues rise by > tolerance."""
    return np.concatenate([[0], np.cumsum(np.diff(values) > tolerance)]).astype(np.int64)


def _orient(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fix signs: the first entry at least half as large as the largest is positive."""
    size = abs(vectors)
    first = (size >= 0.5 * size.max(axis=0)).argmax(axis=0)
    return np.ascontiguousarray(vectors * np.sign(vectors[first, np.arange(vectors.shape[1])]))
