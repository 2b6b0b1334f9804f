"""Brain graphs as files: GraphML, PyTorch Geometric's names with and without torch, nilearn's arrays."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome
from tractome.datatypes.graph import BrainGraph
from tractome.datatypes.parcellation import RegionTable
from tractome.errors import OutputError, TableError
from tractome.io.atomic import replacing
from tractome.io.matrices import write_npz


def write_graph(path: str | Path, graph: BrainGraph) -> None:
    """Write a graph as `.npz` with PyTorch Geometric's names and shapes; neither torch nor pickle is needed.

    With torch_geometric at hand, one line makes a ``Data`` of it::

        Data(**{k: torch.from_numpy(v) for k, v in numpy.load(path).items() if v.dtype.kind in "fi"})
    """
    write_npz(
        Path(path),
        {
            **_tensors(graph),
            "node_names": np.array(graph.node_names),
            "node_features": np.array(graph.node_features, dtype=np.str_),
            "edge_features": np.array(graph.edge_features, dtype=np.str_),
            "metadata": np.array(json.dumps(graph.metadata, ensure_ascii=False)),
        },
    )


def read_graph(path: str | Path) -> BrainGraph:
    """Read what `write_graph` wrote."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return BrainGraph(
            x=arrays["x"],
            edge_index=arrays["edge_index"],
            edge_attr=arrays["edge_attr"],
            pos=arrays["pos"],
            node_names=tuple(map(str, arrays["node_names"])),
            node_features=tuple(map(str, arrays["node_features"])),
            edge_features=tuple(map(str, arrays["edge_features"])),
            y=arrays.get("y"),
            metadata=json.loads(str(arrays["metadata"])),
        )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        message = f"{path} cannot be read as a graph ({error}). Give a graph .npz written by `tractome export`."
        raise TableError(message) from error


def _tensors(graph: BrainGraph) -> dict[str, NDArray[Any]]:
    """The arrays that become tensors, by PyTorch Geometric's names."""
    arrays: dict[str, NDArray[Any]] = {
        "x": graph.x,
        "edge_index": graph.edge_index,
        "edge_attr": graph.edge_attr,
        "pos": graph.pos,
    }
    return arrays if graph.y is None else {**arrays, "y": graph.y}


def write_pyg(path: str | Path, graph: BrainGraph) -> None:
    """Write a graph for PyTorch Geometric, loadable without trusting its source.

    The file holds a dict of tensors and strings, not an object of a class, because torch refuses to load a pickled
    ``Data`` with ``weights_only=True``. One line gives the ``Data``::

        data = Data.from_dict(torch.load(path, weights_only=True))

    Raises
    ------
    OutputError
        torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        message = (
            "The format pyg needs torch, which is not installed. Install it with `pip install 'tractome[gnn]'`, or "
            "choose the format graph: the same arrays as a .npz that needs only NumPy."
        )
        raise OutputError(message) from error
    content: dict[str, Any] = {name: torch.from_numpy(array.copy()) for name, array in _tensors(graph).items()}
    content["node_names"] = list(graph.node_names)
    content["node_features"] = list(graph.node_features)
    content["edge_features"] = list(graph.edge_features)
    content["metadata"] = dict(graph.metadata)
    # Through memory: torch writes the name of the file it is given, here a temporary one, into the file.
    buffer = BytesIO()
    torch.save(content, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def write_graphml(path: str | Path, graph: BrainGraph, regions: RegionTable) -> None:
    """Write a graph as undirected GraphML: nodes are called by region name and stand in row order.

    Node attributes: row, label, hemisphere, structure, network and the node features; edge attributes: the edge
    features. ``networkx.read_graphml(path)`` reads all of it back.
    """
    import networkx

    made = networkx.Graph(**graph.metadata)
    for row, name in enumerate(graph.node_names):
        made.add_node(
            name,
            row=row,
            label=int(regions.labels[row]),
            hemisphere=regions.hemispheres[row],
            structure=regions.structures[row],
            network=regions.networks[row],
            **_named(graph.node_features, graph.x[row]),
        )
    for (source, target), values in zip(graph.edge_index.T.tolist(), graph.edge_attr, strict=True):
        if source <= target:
            made.add_edge(graph.node_names[source], graph.node_names[target], **_named(graph.edge_features, values))
    buffer = BytesIO()
    networkx.write_graphml_xml(made, buffer, encoding="utf-8", prettyprint=True)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def _named(names: tuple[str, ...], values: NDArray[np.float32]) -> dict[str, float]:
    # Through the shortest text of the float32, so that 0.45 is written as 0.45 and not as 0.44999998807907104.
    return {name: float(str(value)) for name, value in zip(names, values, strict=True)}


def write_nilearn(path: str | Path, connectome: Connectome, adjacency: NDArray[np.float64]) -> None:
    """Write what ``nilearn.plotting.plot_connectome`` takes, as `.npz`.

    ``adjacency_matrix`` (N, N) with 0 where there is no edge and ``node_coords`` (N, 3) in RAS+ mm; `frame` says which
    space they are in: the atlas's template where the region table has its centroids (what a glass brain wants), else
    the subject's own. ``node_names`` names the rows.
    """
    coordinates, frame = node_coordinates(connectome)
    write_npz(
        Path(path),
        {
            "adjacency_matrix": adjacency,
            "node_coords": coordinates,
            "node_names": np.array(connectome.regions.names),
            "frame": np.array(frame),
        },
    )


def node_coordinates(connectome: Connectome) -> tuple[NDArray[np.float64], str]:
    """Where to draw each region, (N, 3) float64 RAS+ mm, and in which space: ``"template"`` or ``"subject"``."""
    template = connectome.regions.centroids_mm
    if np.isfinite(template).all():
        return template, "template"
    return connectome.centroids_mm, "subject"


def write_node_table(path: str | Path, names: tuple[str, ...], coordinates: NDArray[np.float64], frame: str) -> None:
    """Write name and coordinates of each node as TSV, ``n/a`` where not known."""
    lines = ["name\tx_mm\ty_mm\tz_mm\tframe"]
    for name, point in zip(names, coordinates.tolist(), strict=True):
        cells = ["n/a" if value != value else repr(round(value, 4)) for value in point]
        lines.append("\t".join([name, *cells, frame]))
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
