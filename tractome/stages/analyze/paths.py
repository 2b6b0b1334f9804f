"""Shortest paths and what follows from them: efficiency, path length, betweenness."""

from __future__ import annotations

import numpy as np

from tractome.stages.analyze.network import Matrix, Vector


def distances(lengths: Matrix) -> Matrix:
    """Length of the shortest path between any two regions, infinite where there is none (Dijkstra 1959)."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    edges = np.where(np.isfinite(lengths), lengths, 0.0)
    found: Matrix = dijkstra(csr_array(edges), directed=False)
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


def betweenness(lengths: Matrix) -> Vector:
    """Share of the shortest paths between two others that pass each region (Freeman 1977), by networkx."""
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(range(len(lengths)))
    first, second = np.nonzero(np.triu(np.isfinite(lengths), k=1))
    graph.add_weighted_edges_from(
        zip(first.tolist(), second.tolist(), lengths[first, second].tolist(), strict=True), weight="length"
    )
    found = nx.betweenness_centrality(graph, weight="length", normalized=True)
    return np.array([found[node] for node in range(len(lengths))])
