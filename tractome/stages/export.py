"""export: from matrices to a graph in the names and shapes of graph learning libraries."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome
from tractome.datatypes.graph import BrainGraph
from tractome.errors import OptionError
from tractome.options import ExportOptions

DEFAULT_NODE_FEATURES = ("centroid", "volume", "fa", "md", "strength")
DEFAULT_EDGE_FEATURES = ("count", "fa", "md", "length")

NODE_FEATURES: dict[str, tuple[tuple[str, ...], Callable[[Connectome], NDArray[np.float64]]]] = {
    "centroid": (("x_mm", "y_mm", "z_mm"), lambda connectome: connectome.centroids_mm),
    "volume": (("volume_mm3",), lambda connectome: connectome.volumes_mm3),
    "strength": (("strength",), lambda connectome: connectome.strength(edge_measure(connectome))),
}
"""Name to (columns, values). Each of the connectome's own node features, such as mean FA, is one more."""


def edge_measure(connectome: Connectome) -> str:
    """The measure that says which edges exist: the count, or the only thing there is."""
    return "count" if "count" in connectome.matrices else next(iter(connectome.matrices))


def to_graph(connectome: Connectome, options: ExportOptions) -> BrainGraph:
    """Make a graph: a node per region, an edge where streamlines run.

    Parameters
    ----------
    connectome : Connectome
    options : ExportOptions

    Returns
    -------
    BrainGraph
        Node i is row i, also for a region that the subject lacks: its features and position are then 0, its volume
        too, and ``metadata["missing_regions"]`` names it. An edge with a feature that is absent (all of its
        streamlines missed the map) is left out and counted in ``metadata["edges_without_value"]``.

    Raises
    ------
    OptionError
        A feature is not known.
    """
    node_names = _chosen(
        options.node_features, DEFAULT_NODE_FEATURES, [*NODE_FEATURES, *connectome.node_features], "node_features"
    )
    edge_names = _chosen(options.edge_features, DEFAULT_EDGE_FEATURES, list(connectome.matrices), "edge_features")
    columns: list[str] = []
    values: list[NDArray[np.float64]] = []
    for name in node_names:
        titles, compute = NODE_FEATURES.get(name, ((name,), lambda c, name=name: c.node_features[name]))
        columns.extend(titles)
        values.append(compute(connectome).reshape(connectome.n_regions, -1))
    x = np.concatenate(values, axis=1) if values else np.zeros((connectome.n_regions, 0))

    rows, targets = np.nonzero(present_edges(connectome, options))
    attributes = np.stack([connectome.matrices[name][rows, targets] for name in edge_names], axis=1)
    complete = np.isfinite(attributes).all(axis=1)
    missing = [n for n, v in zip(connectome.regions.names, connectome.volumes_mm3, strict=True) if v == 0]
    metadata = {
        **connectome.metadata,
        "edges_from": edge_measure(connectome),
        "min_count": f"{options.min_count:g}",
        "self_connections": "kept" if options.keep_self_connections else "dropped",
        "edges_without_value": str(int(np.count_nonzero(~complete & (rows <= targets)))),
        "missing_regions": "; ".join(missing),
        "node_frame": "RAS+ mm",
    }
    return BrainGraph(
        x=np.nan_to_num(x, nan=0.0).astype(np.float32),
        edge_index=np.stack([rows[complete], targets[complete]]),
        edge_attr=attributes[complete].astype(np.float32),
        pos=np.nan_to_num(connectome.centroids_mm, nan=0.0).astype(np.float32),
        node_names=connectome.regions.names,
        node_features=tuple(columns),
        edge_features=edge_names,
        metadata=metadata,
    )


def present_edges(connectome: Connectome, options: ExportOptions) -> NDArray[np.bool_]:
    """Which entries are edges of the graph, (N, N) bool: not 0, not absent, and enough streamlines."""
    name = edge_measure(connectome)
    matrix = connectome.matrices[name]
    present: NDArray[np.bool_] = np.isfinite(matrix) & (matrix != 0)
    if name == "count":
        present &= matrix >= options.min_count
    if not options.keep_self_connections:
        np.fill_diagonal(present, False)
    return present


def _chosen(
    wanted: tuple[str, ...] | None, default: tuple[str, ...], available: list[str], option: str
) -> tuple[str, ...]:
    if wanted is None:
        found = tuple(name for name in default if name in available)
        return found or tuple(available[:1])
    for name in wanted:
        if name not in available:
            close = difflib.get_close_matches(name, available, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            message = f"{option}: {name!r} is not there; choose among: {', '.join(available)}.{hint}"
            raise OptionError(message)
    if option == "edge_features" and not wanted:
        message = "edge_features is empty; a graph needs at least one, such as count."
        raise OptionError(message)
    return tuple(wanted)
