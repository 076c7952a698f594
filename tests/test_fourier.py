"""Eigenbases against dense solutions and exact spectra; the transform and its inverse."""

import time

import networkx as nx
import numpy as np
import pytest
import torch

from gfnode.errors import InputError
from gfnode.fourier import GraphFourier, IdentityTransform, eigenbasis
from gfnode.graph import hop_edges, laplacian


def graph_laplacian(graph, hops=2, kind="combinatorial"):
    n_atoms = graph.number_of_nodes()
    return laplacian(hop_edges(np.array(graph.edges), n_atoms, hops).index, n_atoms, kind)


def projectors(basis):
    return [
        part @ part.T
        for k in range(basis.spaces.max() + 1)
        for part in [basis.vectors[:, basis.spaces == k]]
    ]


BENZENE = graph_laplacian(nx.cycle_graph(6))


def test_eigenspaces_of_benzene():
    basis = eigenbasis(BENZENE)
    assert np.allclose(basis.values, [0, 4, 4, 4, 6, 6], atol=1e-12)
    assert basis.spaces.tolist() == [0, 1, 1, 1, 2, 2]
    assert np.allclose(basis.vectors.T @ basis.vectors, np.eye(6), atol=1e-12)
    assert np.allclose(basis.vectors[:, 0], 6**-0.5)


@pytest.mark.parametrize(("modes", "kept"), [(1, 1), (2, 4), (3, 4), (4, 4), (5, 6), (None, 6)])
def test_a_cut_never_goes_through_an_eigenspace(modes, kept):
    assert len(eigenbasis(BENZENE, modes).values) == kept


def test_the_published_cut_is_as_printed():
    basis = eigenbasis(BENZENE, 2, whole=False)
    assert basis.vectors.shape == (6, 2)
    assert np.allclose(basis.values, [0, 4], atol=1e-12)
    assert eigenbasis(BENZENE, 3, whole=False).spaces.tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", ["combinatorial", "normalised"])
def test_sparse_agrees_with_dense(kind):
    """Trees have eigenspaces of many dimensions: compare projectors, not vectors."""
    matrix = graph_laplacian(nx.random_labeled_tree(800, seed=1), kind=kind)
    dense, sparse = eigenbasis(matrix, 40), eigenbasis(matrix, 40, dense_below=100)
    assert np.allclose(dense.values, sparse.values, atol=1e-10)
    assert dense.spaces.tolist() == sparse.spaces.tolist()
    for one, other in zip(projectors(dense), projectors(sparse), strict=True):
        assert np.allclose(one, other, atol=1e-7)


@pytest.mark.parametrize(
    ("graph", "modes"),
    [
        (nx.balanced_tree(2, 8), 31),
        (nx.disjoint_union_all([nx.path_graph(30)] * 30), 31),
        # a search ends beyond the cut before it has met all copies: only the next one tells
        (nx.disjoint_union_all([nx.path_graph(5)] * 100), 8),
    ],
    ids=["dendrimer", "thirty molecules", "a hundred molecules"],
)
def test_sparse_finds_eigenspaces_of_high_multiplicity(graph, modes):
    """Branches or molecules may swap, so eigenvalues repeat; plain Lanczos misses copies here."""
    matrix = graph_laplacian(graph)
    dense = eigenbasis(matrix, modes, dense_below=10**6)
    sparse = eigenbasis(matrix, modes, dense_below=100)
    assert np.bincount(dense.spaces).max() >= 15
    assert dense.spaces.tolist() == sparse.spaces.tolist()
    assert np.allclose(dense.values, sparse.values, atol=1e-10)
    for one, other in zip(projectors(dense), projectors(sparse), strict=True):
        assert np.allclose(one, other, atol=1e-7)


def test_disconnected_pieces_share_one_eigenspace_of_zero():
    graph = nx.disjoint_union_all([nx.random_labeled_tree(60, seed=k) for k in range(12)])
    for dense_below in (100, 1000):
        basis = eigenbasis(graph_laplacian(graph), 3, dense_below=dense_below)
        assert basis.spaces.tolist() == [0] * 12
        assert np.allclose(basis.values, 0, atol=1e-12)
        exact = np.kron(np.eye(12), np.full((60, 60), 1 / 60))
        assert np.allclose(basis.vectors @ basis.vectors.T, exact, atol=1e-9)


@pytest.mark.parametrize("modes", [2, 5, 8, 12])
def test_few_distinct_eigenvalues_are_no_trouble(modes):
    """The Laplacian of K(m, n) has 0, m (n − 1 times), n (m − 1 times) and m + n."""
    graph = nx.complete_bipartite_graph(20, 200)
    basis = eigenbasis(graph_laplacian(graph, hops=1), modes, dense_below=100)
    np.testing.assert_allclose(basis.values, [0] + [20] * 199, atol=1e-9)
    assert basis.spaces.tolist() == [0] + [1] * 199
    exact = np.zeros((220, 220))
    exact[20:, 20:] = np.eye(200) - 1 / 200
    found = basis.vectors[:, 1:]
    np.testing.assert_allclose(found @ found.T, exact, atol=1e-9)


def test_a_large_graph_has_all_its_modes():
    """Lanczos iteration finds few: a ring has λ = 2 − 2 cos(2πk/n) for k = 0 … n − 1."""
    basis = eigenbasis(graph_laplacian(nx.cycle_graph(101), hops=1), dense_below=100)
    exact = 2 - 2 * np.cos(2 * np.pi * np.arange(101) / 101)
    np.testing.assert_allclose(basis.values, np.sort(exact), atol=1e-12)
    np.testing.assert_allclose(basis.vectors @ basis.vectors.T, np.eye(101), atol=1e-12)


@pytest.mark.parametrize("shape", ["tree", "chain", "ring"])
def test_ten_thousand_atoms(shape):
    graph = {
        "tree": lambda: nx.random_labeled_tree(10_000, seed=2),
        "chain": lambda: nx.path_graph(10_000),
        "ring": lambda: nx.cycle_graph(10_000),
    }[shape]()
    matrix = graph_laplacian(graph)
    started = time.perf_counter()
    basis = eigenbasis(matrix, 16)
    assert time.perf_counter() - started < 5
    residual = matrix @ basis.vectors - basis.vectors * basis.values
    assert abs(residual).max() < 1e-11
    assert np.allclose(basis.vectors.T @ basis.vectors, np.eye(len(basis.values)), atol=1e-11)
    if shape == "ring":  # λ = 6 − 2 cos q − 2 cos 2q − 2, q = 2πk/n: pairs, so the cut moves to 17
        q = 2 * np.pi * np.array([0, *np.repeat(np.arange(1, 9), 2)]) / 10_000
        exact = 4 * np.sin(q / 2) ** 2 + 4 * np.sin(q) ** 2
        assert np.allclose(basis.values, exact, rtol=1e-7, atol=1e-13)
        assert basis.spaces.tolist() == [0, *np.repeat(np.arange(1, 9), 2)]
    else:
        assert len(basis.values) == 16


def test_the_basis_is_reproducible():
    matrix = graph_laplacian(nx.random_labeled_tree(1200, seed=3))
    first, second = eigenbasis(matrix, 8), eigenbasis(matrix, 8)
    assert np.array_equal(first.vectors, second.vectors)


def test_all_modes_invert_exactly():
    transform = GraphFourier(eigenbasis(graph_laplacian(nx.random_labeled_tree(30, seed=5))))
    nodes = torch.randn(4, 7, 30, 5)
    modes = transform(nodes)
    assert modes.shape == (4, 7, 30, 5)
    assert torch.allclose(transform.inverse(modes), nodes, atol=1e-5)
    assert torch.allclose(modes.square().sum(), nodes.square().sum())


def test_few_modes_project():
    basis = eigenbasis(BENZENE, 4)
    transform = GraphFourier(basis)
    nodes = torch.randn(3, 6, 2)
    smooth = transform.inverse(transform(nodes))
    assert transform(nodes).shape == (3, 4, 2)
    assert torch.allclose(transform.inverse(transform(smooth)), smooth, atol=1e-6)
    assert torch.allclose(smooth.mean(1), nodes.mean(1), atol=1e-6)
    expected = np.einsum(
        "am,ijf,im->ajf", basis.vectors, nodes.numpy().swapaxes(0, 1), basis.vectors
    )
    assert np.allclose(smooth.numpy().swapaxes(0, 1), expected, atol=1e-5)


def test_transforms_show_one_face():
    fourier, identity = GraphFourier(eigenbasis(BENZENE)), IdentityTransform(6)
    assert (fourier.n_modes, fourier.n_spaces) == (6, 3)
    assert (identity.n_modes, identity.n_spaces) == (6, 6)
    assert fourier.spaces.tolist() == [0, 1, 1, 1, 2, 2]
    assert identity.spaces.tolist() == list(range(6))
    assert identity.eigenvalues.shape == fourier.eigenvalues.shape == (6,)
    assert fourier.eigenvalues.dtype == torch.float32
    nodes = torch.randn(2, 6, 3)
    assert identity.inverse(identity(nodes)) is nodes
    assert set(fourier.state_dict()) == {"vectors", "eigenvalues", "spaces"}


def test_bad_input_is_named():
    with pytest.raises(InputError, match="cannot keep 7 modes: expected 1 to 6"):
        eigenbasis(BENZENE, 7)
    with pytest.raises(InputError, match=r"cannot keep 2\.5 modes"):
        eigenbasis(BENZENE, 2.5)
    with pytest.raises(InputError, match="cannot keep 0 modes"):
        eigenbasis(BENZENE, 0)
    one_way = laplacian(np.array([[0], [1]]), 3)
    with pytest.raises(InputError, match="both directions"):
        eigenbasis(one_way)


@pytest.mark.parametrize("n_atoms", [5, 1100])
def test_without_edges_all_modes_are_one_eigenspace(n_atoms):
    edges = np.zeros((2, 0), dtype=np.int64)
    basis = eigenbasis(laplacian(edges, n_atoms), n_atoms // 5)
    assert basis.vectors.shape == (n_atoms, n_atoms)
    assert not basis.spaces.any()
    assert not basis.values.any()
