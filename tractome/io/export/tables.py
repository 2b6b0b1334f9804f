"""Edges and nodes as two tables, one line each: for R (igraph, data frames), pandas, spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tractome.io.atomic import replacing
from tractome.io.export.given import Export


def write_edge_table(export: Export) -> list[Path]:
    """Write ``edges.csv`` (from, to, one column per measure) and ``vertices.csv`` (name and what is known of it).

    An undirected edge stands once, in row order; every measure is a column, empty where it has no value. In R:
    ``igraph::graph_from_data_frame(read.csv(edges), directed = FALSE, vertices = read.csv(vertices))``.
    """
    connectome = export.connectome
    names, weight = connectome.regions.names, connectome.matrices[export.weight]
    rows, targets = np.nonzero(np.triu(np.nan_to_num(weight) != 0))
    # By columns first: looking up single entries of many matrices is slow.
    columns = [matrix[rows, targets].tolist() for matrix in connectome.matrices.values()]
    edges = (
        [names[one], names[other], *(_cell(column[k]) for column in columns)]
        for k, (one, other) in enumerate(zip(rows.tolist(), targets.tolist(), strict=True))
    )
    edge_path, vertex_path = export.path("edges.csv"), export.path("vertices.csv")
    _write(edge_path, ["from", "to", *connectome.matrices], edges)
    _write(vertex_path, *_vertices(export))
    return [edge_path, vertex_path, export.write_about(edge_path, "an empty cell; no line where there is no edge")]


def _vertices(export: Export) -> tuple[list[str], Iterable[Sequence[str]]]:
    connectome = export.connectome
    regions = connectome.regions
    header = ["name", "row", "label", "hemisphere", "structure", "network", "x_mm", "y_mm", "z_mm", "volume_mm3"]
    header += list(connectome.node_features)
    lines = [
        [
            regions.names[row],
            str(row + 1),
            str(int(regions.labels[row])),
            regions.hemispheres[row],
            regions.structures[row],
            regions.networks[row],
            *(_cell(value) for value in connectome.centroids_mm[row].tolist()),
            _cell(float(connectome.volumes_mm3[row])),
            *(_cell(float(values[row])) for values in connectome.node_features.values()),
        ]
        for row in range(connectome.n_regions)
    ]
    return header, lines


def _cell(value: float) -> str:
    return "" if value != value else repr(value)


def _write(path: Path, header: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(header)
    table.writerows(lines)
    with replacing(path) as temporary:
        temporary.write_text(stream.getvalue(), encoding="utf-8", newline="\n")
