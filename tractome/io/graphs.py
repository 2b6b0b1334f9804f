"""Brain graphs as `.npz` with PyTorch Geometric's names and shapes: one graph, or a set; neither torch nor pickle."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.graph import BrainGraph, GraphSet
from tractome.errors import TableError
from tractome.io.matrices import write_npz


def write_graph(path: str | Path, graph: BrainGraph) -> None:
    """Write a graph as `.npz` with PyTorch Geometric's names and shapes; neither torch nor pickle is needed.

    With torch_geometric at hand, one line makes a ``Data`` of it::

        Data(**{k: torch.from_numpy(v) for k, v in numpy.load(path).items() if v.dtype.kind in "fi"})
    """
    write_npz(Path(path), {**as_arrays(graph), **_names(graph), "metadata": _json(graph.metadata)})


def read_graph(path: str | Path) -> BrainGraph:
    """Read what `write_graph` wrote."""
    arrays = _arrays(path)
    try:
        return BrainGraph(
            x=arrays["x"],
            edge_index=arrays["edge_index"],
            edge_attr=arrays["edge_attr"],
            pos=arrays["pos"],
            y=arrays.get("y"),
            metadata=json.loads(str(arrays["metadata"])),
            **_read_names(arrays),
        )
    except (ValueError, KeyError) as error:
        raise _unreadable(path, error) from error


def write_graph_set(path: str | Path, graphs: GraphSet) -> None:
    """Write many graphs as one `.npz`.

    ``x`` (graphs, nodes, features) and ``pos`` (graphs, nodes, 3); ``edge_index`` (2, edges) and ``edge_attr`` of all
    graphs one after the other, those of graph i between ``edge_slices[i]`` and ``edge_slices[i + 1]``; ``y`` with
    ``classes``; ``subjects``; names of nodes and features; ``metadata``, JSON, a list with one entry per graph.
    """
    labels = {} if graphs.y is None else {"y": graphs.y}
    write_npz(
        Path(path),
        {
            **set_arrays(graphs),
            **labels,
            **_names(graphs.graphs[0]),
            "subjects": np.array(graphs.subjects),
            "classes": np.array(graphs.classes, dtype=np.str_),
            "metadata": _json([graph.metadata for graph in graphs.graphs]),
        },
    )


def read_graph_set(path: str | Path) -> GraphSet:
    """Read what `write_graph_set` wrote."""
    arrays = _arrays(path)
    try:
        names, cuts = _read_names(arrays), arrays["edge_slices"]
        graphs = tuple(
            BrainGraph(
                x=arrays["x"][i],
                pos=arrays["pos"][i],
                edge_index=arrays["edge_index"][:, cuts[i] : cuts[i + 1]],
                edge_attr=arrays["edge_attr"][cuts[i] : cuts[i + 1]],
                metadata=metadata,
                **names,
            )
            for i, metadata in enumerate(json.loads(str(arrays["metadata"])))
        )
        subjects, classes = (tuple(map(str, arrays[name])) for name in ("subjects", "classes"))
        return GraphSet(graphs, subjects, arrays.get("y"), classes)
    except (ValueError, KeyError) as error:
        raise _unreadable(path, error) from error


def as_arrays(graph: BrainGraph) -> dict[str, NDArray[Any]]:
    """The arrays that become tensors, by PyTorch Geometric's names."""
    arrays: dict[str, NDArray[Any]] = {
        "x": graph.x,
        "edge_index": graph.edge_index,
        "edge_attr": graph.edge_attr,
        "pos": graph.pos,
    }
    return arrays if graph.y is None else {**arrays, "y": graph.y}


def set_arrays(graphs: GraphSet) -> dict[str, NDArray[Any]]:
    """The arrays of all graphs together: nodes stacked, edges one graph after the other, cut by ``edge_slices``."""
    each = graphs.graphs
    return {
        "x": np.stack([graph.x for graph in each]),
        "pos": np.stack([graph.pos for graph in each]),
        "edge_index": np.concatenate([graph.edge_index for graph in each], axis=1),
        "edge_attr": np.concatenate([graph.edge_attr for graph in each]),
        "edge_slices": np.cumsum([0, *(graph.n_edges for graph in each)]),
    }


def _names(graph: BrainGraph) -> dict[str, NDArray[Any]]:
    return {
        "node_names": np.array(graph.node_names),
        "node_features": np.array(graph.node_features, dtype=np.str_),
        "edge_features": np.array(graph.edge_features, dtype=np.str_),
    }


def _read_names(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    return {name: tuple(map(str, arrays[name])) for name in ("node_names", "node_features", "edge_features")}


def _json(content: Any) -> NDArray[Any]:
    return np.array(json.dumps(content, ensure_ascii=False))


def _arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str | Path, error: Exception) -> TableError:
    message = f"{path} cannot be read as a graph ({error}). Give a graph .npz written by `tractome export`."
    return TableError(message)
