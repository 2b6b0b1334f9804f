"""A connectome as graph learning libraries want it: PyTorch Geometric's names and shapes, without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen, require_shape
from tractome.errors import TableError


@dataclass(frozen=True, eq=False)
class BrainGraph:
    """One graph.

    Parameters
    ----------
    x : (n_nodes, n_node_features) float32
    edge_index : (2, n_edges) int64
        Source and target node of each edge; an undirected edge stands twice, once in each direction.
    edge_attr : (n_edges, n_edge_features) float32
        Finite: an edge exists only where a streamline runs, so no mean is absent.
    pos : (n_nodes, 3) float32
        Centroids, RAS+ mm.
    node_names : tuple of str
    node_features, edge_features : tuple of str
        Names of the columns of `x` and `edge_attr`.
    y : (k,) float32 or None
        Graph label, if any.
    metadata : dict of str to str
        Threshold, normalisation and what else was done.
    """

    x: NDArray[np.float32]
    edge_index: NDArray[np.int64]
    edge_attr: NDArray[np.float32]
    pos: NDArray[np.float32]
    node_names: tuple[str, ...]
    node_features: tuple[str, ...]
    edge_features: tuple[str, ...]
    y: NDArray[np.float32] | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_nodes = len(self.node_names)
        x, pos = frozen(self.x, np.float32), frozen(self.pos, np.float32)
        edge_index, edge_attr = frozen(self.edge_index, np.int64), frozen(self.edge_attr, np.float32)
        require_shape(x, (n_nodes, len(self.node_features)), "x", TableError)
        require_shape(pos, (n_nodes, 3), "pos", TableError)
        require_shape(edge_index, (2, None), "edge_index", TableError)
        require_shape(edge_attr, (edge_index.shape[1], len(self.edge_features)), "edge_attr", TableError)
        if edge_index.size and (edge_index.min() < 0 or edge_index.max() >= n_nodes):
            message = "edge_index names a node that the graph does not have."
            raise TableError(message)
        if not np.isfinite(edge_attr).all():
            message = "edge_attr has values that are not finite; drop such edges or features before making the graph."
            raise TableError(message)
        for name, value in (("x", x), ("pos", pos), ("edge_index", edge_index), ("edge_attr", edge_attr)):
            object.__setattr__(self, name, value)

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.node_names)

    @property
    def n_edges(self) -> int:
        """Number of directed edges: twice the undirected ones."""
        return int(self.edge_index.shape[1])


@dataclass(frozen=True, eq=False)
class GraphSet:
    """Graphs of many subjects that can be learned from together: same nodes, same features.

    Parameters
    ----------
    graphs : tuple of BrainGraph
    subjects : tuple of str
        One per graph, distinct.
    y : (n_graphs,) int64 or float32, or None
        Class of each graph, from 0, or a number such as an age.
    classes : tuple of str
        Names of the classes in the order of their numbers; empty when `y` is no class.
    """

    graphs: tuple[BrainGraph, ...]
    subjects: tuple[str, ...]
    y: NDArray[Any] | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n_graphs = len(self.graphs)
        if n_graphs == 0:
            message = "A set of graphs needs at least one graph."
            raise TableError(message)
        if len(self.subjects) != n_graphs or len(set(self.subjects)) != n_graphs:
            message = "Every graph of a set needs a subject of its own; give each a name that no other has."
            raise TableError(message)
        first = self.graphs[0]
        for subject, graph in zip(self.subjects, self.graphs, strict=True):
            for what in ("node_names", "node_features", "edge_features"):
                if getattr(graph, what) != getattr(first, what):
                    message = (
                        f"{subject} has other {what.replace('_', ' ')} than {self.subjects[0]}. Only graphs of one "
                        "atlas with the same features go into one set."
                    )
                    raise TableError(message)
        if self.y is not None:
            kind = np.int64 if self.classes else np.float32
            y = frozen(self.y, kind)
            require_shape(y, (n_graphs,), "y", TableError)
            if self.classes and (y.min() < 0 or y.max() >= len(self.classes)):
                message = "y names a class that the set does not have."
                raise TableError(message)
            object.__setattr__(self, "y", y)
