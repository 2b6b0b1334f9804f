"""Shortest paths and what follows from them: efficiency, path length, betweenness."""

from __future__ import annotations

import numpy as np

from tractome.stages.analyze.network import Matrix, Vector


def distances(lengths: Matrix) -> Matrix:
    """Length of the shortest path between any two regions, infinite where there is none, by scipy.

    By the method of Dijkstra, or where most pairs have an edge of Floyd and Warshall.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import shortest_path

    edges = np.where(np.isfinite(lengths), lengths, 0.0)
    found: Matrix = shortest_path(csr_array(edges), directed=False)
    return found


def nodal_efficiency(apart: Matrix) -> Vector:
    """Mean of 1 / distance from each region to all others (Latora and Marchiori 2001)."""
    with np.errstate(divide="ignore"):
        closeness = 1.0 / apart
    np.fill_diagonal(closeness, 0.0)
    found: Vector = closeness.sum(axis=1) / (len(apart) - 1)
    return found


def path_length(apart: Matrix) -> float:
    """Mean distance over the pairs of regions that a path joins."""
    upper = apart[np.triu_indices(len(apart), k=1)]
    joined = np.isfinite(upper)
    return float(upper[joined].mean()) if joined.any() else float("nan")


_ALIKE = 1e-9
"""Relative difference below which a way round may be as short as an edge: two sums of the same lengths."""


def betweenness(lengths: Matrix, apart: Matrix) -> Vector:
    """Share of the shortest paths between two others that pass each region (Freeman 1977), by networkx.

    Parameters
    ----------
    lengths : (n, n) float64
        Of the edges, infinite where there is none.
    apart : (n, n) float64
        `distances` of them.
    """
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(range(len(lengths)))
    # An edge that is longer than the way round it is on no shortest path; in a dense graph that is nearly all of them.
    is_direct = np.isfinite(lengths) & (lengths <= apart * (1 + _ALIKE))
    first, second = np.nonzero(np.triu(is_direct, k=1))
    graph.add_weighted_edges_from(
        zip(first.tolist(), second.tolist(), lengths[first, second].tolist(), strict=True), weight="length"
    )
    found = nx.betweenness_centrality(graph, weight="length", normalized=True)
    return np.array([found[node] for node in range(len(lengths))])
