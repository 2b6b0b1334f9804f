"""Graphs of network programs: GraphML, GEXF, node-link JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tractome.datatypes.given_matrix import GivenMatrix
from tractome.errors import TableError
from tractome.io.reading.edges import Entry, from_entries

_NO_MEASURE = ("weight", "value", "id")


def read_network(path: Path) -> list[GivenMatrix]:
    """Read a graph file: one matrix per numeric edge attribute, nodes in the file's order.

    An attribute ``weight`` or ``value`` says nothing about what it holds, and is passed over where another one does.

    Raises
    ------
    TableError
        Not readable, several edges between two nodes, or edges without a number.
    """
    import networkx

    try:
        if path.suffix.lower() == ".json":
            content = json.loads(path.read_text(encoding="utf-8"))
            key = "edges" if "edges" in content else "links"
            graph: Any = networkx.node_link_graph(content, edges=key)
        elif path.suffix.lower() == ".gexf":
            graph = networkx.read_gexf(path)
        else:
            graph = networkx.read_graphml(path)
    except Exception as error:
        message = f"{path} cannot be read as a graph ({error}). Write it again as GraphML, or give a list of edges."
        raise TableError(message) from error
    if graph.is_multigraph():
        message = f"{path} has several edges between two nodes. One edge per pair of regions is needed; merge them."
        raise TableError(message)
    columns: dict[str, list[Entry]] = {}
    for one, other, values in graph.edges(data=True):
        for name, value in values.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                columns.setdefault(name, []).append((str(one), str(other), float(value)))
    named = {name: entries for name, entries in columns.items() if name not in _NO_MEASURE}
    unnamed = next((columns[name] for name in ("weight", "value") if name in columns), None)
    chosen = named or ({"": unnamed} if unnamed is not None else {})
    if not chosen:
        message = f"{path} has no edge with a number. Each edge needs an attribute such as weight or count."
        raise TableError(message)
    return from_entries(path.name, chosen, map(str, graph.nodes), is_directed=graph.is_directed())
