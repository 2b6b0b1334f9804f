"""Graphs for NetworkX and what reads its formats (Gephi, igraph, Cytoscape, D3): GraphML, GEXF, node-link JSON."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.graph import BrainGraph
from tractome.datatypes.parcellation import RegionTable
from tractome.io.atomic import replacing, write_json
from tractome.io.export.given import Export


def write_graphml(export: Export) -> list[Path]:
    """Write undirected GraphML: ``networkx.read_graphml(path)`` reads all of it back."""
    import networkx

    path, buffer = export.path("graph.graphml"), BytesIO()
    made = as_networkx(export.graph, export.connectome.regions, export.weight)
    networkx.write_graphml_xml(made, buffer, encoding="utf-8", prettyprint=True)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return [path]


def write_gexf(export: Export) -> list[Path]:
    """Write undirected GEXF 1.2 with the nodes in their places, as Gephi draws them (x and y of the centroids).

    The label value is called ``label_value``: a node's ``label`` is what Gephi shows, its name.
    """
    import networkx

    path, buffer = export.path("graph.gexf"), BytesIO()
    made = as_networkx(export.graph, export.connectome.regions, export.weight)
    for name, position in zip(export.graph.node_names, export.graph.pos.tolist(), strict=True):
        made.nodes[name]["label_value"] = made.nodes[name].pop("label")
        made.nodes[name]["viz"] = {"position": dict(zip("xyz", position, strict=True))}
    networkx.write_gexf(made, buffer, encoding="utf-8", prettyprint=True)
    # NetworkX writes today's date and its own version: equal graphs shall give equal bytes.
    text = re.sub(r' lastmodifieddate="[^"]*"', "", buffer.getvalue().decode("utf-8"))
    text = re.sub(r"<creator>[^<]*</creator>", "<creator>tractome</creator>", text)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return [path]


def write_node_link(export: Export) -> list[Path]:
    """Write node-link JSON: ``networkx.node_link_graph(json.load(file), edges="edges")`` reads it back."""
    made = as_networkx(export.graph, export.connectome.regions, export.weight)
    path = export.path("graph.json")
    content = {
        "directed": False,
        "multigraph": False,
        "graph": dict(made.graph),
        "nodes": [{"id": name, **attributes} for name, attributes in made.nodes(data=True)],
        "edges": [{"source": one, "target": other, **values} for one, other, values in made.edges(data=True)],
    }
    write_json(path, content)
    return [path]


def as_networkx(graph: BrainGraph, regions: RegionTable, weight: str) -> Any:
    """An undirected ``networkx.Graph``: nodes are called by region name and stand in row order.

    Node attributes: row, label, hemisphere, structure, network and the node features; edge attributes: the edge
    features, and ``weight``, the edge measure, when it is one of them.
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
            named = _named(graph.edge_features, values)
            if weight in named:
                named.setdefault("weight", named[weight])
            made.add_edge(graph.node_names[source], graph.node_names[target], **named)
    return made


def _named(names: tuple[str, ...], values: NDArray[np.float32]) -> dict[str, float]:
    # Through the shortest text of the float32, so that 0.45 is written as 0.45 and not as 0.44999998807907104.
    return {name: float(str(value)) for name, value in zip(names, values, strict=True)}
