"""The molecular graph: which atoms a model sees, their bonds, k-hop edges and the Laplacian."""
