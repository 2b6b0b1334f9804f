"""Graphs for PyTorch Geometric: tensors and strings, loadable with ``weights_only=True``."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.graph import BrainGraph
from tractome.errors import OutputError
from tractome.io.atomic import replacing
from tractome.io.export.given import Export, ExportSet
from tractome.io.graphs import as_arrays, set_arrays


def write_pyg(export: Export) -> list[Path]:
    """Write one graph: ``Data.from_dict(torch.load(path, weights_only=True))``."""
    path = export.path("graph.pt")
    write_pyg_graph(path, export.graph)
    return [path]


def write_pyg_graph(path: str | Path, graph: BrainGraph) -> None:
    """Write a graph for PyTorch Geometric, loadable without trusting its source.

    The file holds a dict of tensors and strings, not an object of a class, because torch refuses to load a pickled
    ``Data`` with ``weights_only=True``.

    Raises
    ------
    OutputError
        torch is not installed.
    """
    torch = require_torch()
    content: dict[str, Any] = {name: torch.from_numpy(array.copy()) for name, array in as_arrays(graph).items()}
    content["node_names"] = list(graph.node_names)
    content["node_features"] = list(graph.node_features)
    content["edge_features"] = list(graph.edge_features)
    content["metadata"] = dict(graph.metadata)
    _save(torch, path, content)


def write_pyg_set(export: ExportSet) -> list[Path]:
    """Write many graphs as the pair (dict of tensors, slices) that ``InMemoryDataset.load`` reads.

    ``dataset = InMemoryDataset(); dataset.load(path)``, then ``dataset[i]`` is a ``Data`` with x, edge_index,
    edge_attr, pos and y. ``dataset._data`` has what is common to all: node_names, node_features, edge_features,
    classes, subjects. Tensors, numbers and strings only: ``torch.load(path, weights_only=True)`` reads it too.

    Raises
    ------
    OutputError
        torch is not installed.
    """
    torch = require_torch()
    arrays, graphs = set_arrays(export.graphs), export.graphs
    n_graphs, n_nodes = len(graphs.graphs), graphs.graphs[0].n_nodes
    of_nodes, of_graphs = np.arange(n_graphs + 1) * n_nodes, np.arange(n_graphs + 1)
    content: dict[str, Any] = {
        "x": arrays["x"].reshape(n_graphs * n_nodes, -1),
        "pos": arrays["pos"].reshape(n_graphs * n_nodes, 3),
        "edge_index": arrays["edge_index"],
        "edge_attr": arrays["edge_attr"],
    }
    slices: dict[str, NDArray[Any]] = {
        "x": of_nodes,
        "pos": of_nodes,
        "edge_index": arrays["edge_slices"],
        "edge_attr": arrays["edge_slices"],
    }
    if graphs.y is not None:
        content["y"], slices["y"] = graphs.y, of_graphs
    tensors = {name: torch.from_numpy(np.array(values)) for name, values in content.items()}
    common = {
        "node_names": list(graphs.graphs[0].node_names),
        "node_features": list(graphs.graphs[0].node_features),
        "edge_features": list(graphs.graphs[0].edge_features),
        "classes": list(graphs.classes),
        "subjects": list(graphs.subjects),
    }
    cuts = {name: torch.from_numpy(np.array(values)) for name, values in slices.items()}
    path = export.path("dataset.pt")
    _save(torch, path, ({**tensors, **common}, cuts))
    return [path]


def _save(torch: Any, path: str | Path, content: Any) -> None:
    # Through memory: torch writes the name of the file it is given, here a temporary one, into the file.
    buffer = BytesIO()
    torch.save(content, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def require_torch(_: Export | ExportSet | None = None) -> Any:
    """Give torch.

    Raises
    ------
    OutputError
        It is not installed.
    """
    try:
        import torch
    except ImportError as error:
        message = (
            "The format pyg needs torch, which is not installed. Install it with `pip install 'tractome[gnn]'`, or "
            "choose the format graph: the same arrays as a .npz that needs only NumPy."
        )
        raise OutputError(message) from error
    return torch
