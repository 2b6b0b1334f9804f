"""Layouts of other projects' data sets: DGL's CSV folder, BrainGB's `.mat`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.graph import BrainGraph, GraphSet
from tractome.errors import OptionError
from tractome.io.atomic import replacing
from tractome.io.export.given import Export, ExportSet
from tractome.io.matrices import write_mat_file

_DGL_META = """version: 1.0.0
dataset_name: tractome
edge_data:
- file_name: edges.csv
node_data:
- file_name: nodes.csv
"""
_DGL_SEVERAL = "graph_data:\n  file_name: graphs.csv\n"


def write_dgl(export: Export) -> list[Path]:
    """Write one graph in the layout of ``dgl.data.CSVDataset``."""
    return _write_dgl(export.path("dgl"), [export.graph], None)


def write_dgl_set(export: ExportSet) -> list[Path]:
    """Write many graphs in the layout of ``dgl.data.CSVDataset``, labels in ``graphs.csv``."""
    return _write_dgl(export.path("dgl"), export.graphs.graphs, export.graphs)


def _write_dgl(folder: Path, graphs: Sequence[BrainGraph], graph_set: GraphSet | None) -> list[Path]:
    """``meta.yaml``, ``nodes.csv``, ``edges.csv``, ``graphs.csv``; names, which DGL cannot hold, in ``names.json``.

    The columns are those of DGL's user guide, "Loading data from CSV files": feat is a quoted list of numbers. A single
    graph has no ``graphs.csv``: DGL cannot read one of a single line.
    """
    first, is_several = graphs[0], len(graphs) > 1
    files = {
        "meta.yaml": _DGL_META + (_DGL_SEVERAL if is_several else ""),
        "nodes.csv": "".join(_node_lines(graphs)),
        "edges.csv": "".join(_edge_lines(graphs)),
        **({"graphs.csv": _graph_lines(len(graphs), graph_set)} if is_several else {}),
        "names.json": json.dumps(
            {
                "node_names": first.node_names,
                "node_features": first.node_features,
                "edge_features": first.edge_features,
                "subjects": graph_set.subjects if graph_set is not None else [],
                "classes": graph_set.classes if graph_set is not None else [],
                "metadata": first.metadata,
            },
            indent=2,
            sort_keys=True,
            ensure_ascii=False,
        )
        + "\n",
    }
    made = []
    for name, text in files.items():
        made.append(folder / name)
        with replacing(made[-1]) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return made


def _node_lines(graphs: Sequence[BrainGraph]) -> Iterator[str]:
    yield "graph_id,node_id,feat,pos\n"
    for number, graph in enumerate(graphs):
        for node, (features, position) in enumerate(zip(graph.x, graph.pos, strict=True)):
            yield f'{number},{node},"{_list(features)}","{_list(position)}"\n'


def _edge_lines(graphs: Sequence[BrainGraph]) -> Iterator[str]:
    yield "graph_id,src_id,dst_id,feat\n"
    for number, graph in enumerate(graphs):
        for (source, target), values in zip(graph.edge_index.T.tolist(), graph.edge_attr, strict=True):
            yield f'{number},{source},{target},"{_list(values)}"\n'


def _graph_lines(n_graphs: int, graph_set: GraphSet | None) -> str:
    if graph_set is None or graph_set.y is None:
        return "graph_id\n" + "".join(f"{number}\n" for number in range(n_graphs))
    return "graph_id,label\n" + "".join(f"{number},{label}\n" for number, label in enumerate(graph_set.y.tolist()))


def _list(values: NDArray[np.float32]) -> str:
    # One number would be read as a number and not as a list of one: the brackets make it a list for DGL's parser.
    return "[" + ", ".join(str(value) for value in values) + "]"


def write_braingb(export: ExportSet) -> list[Path]:
    """Write the `.mat` that BrainGB reads its data sets from.

    ``dti`` (N, N, subjects) is the edge measure, **NaN where there is no edge**: BrainGB makes an edge of whatever is
    not NaN, so a 0 would be one. ``label`` (subjects, 1) holds the classes from 0; ``regions``, ``subjects`` and
    ``classes`` name rows, subjects and labels. The layout is that of ``src/dataset/brain_dataset.py`` of BrainGB (Cui
    et al. 2022, IEEE Transactions on Medical Imaging), with which it was compared; the program itself was not run.

    Raises
    ------
    OptionError
        The graphs have no labels, or labels that are not classes.
    """
    y = export.graphs.y
    if y is None or y.dtype.kind != "i":
        message = "BrainGB needs a class for every subject. Name a column of the participants' table with --target."
        raise OptionError(message)
    stacked = []
    for connectome in export.connectomes:
        matrix = connectome.matrices[export.weight].copy()
        if not connectome.measures[export.weight].is_mean:
            matrix[matrix == 0] = np.nan
        stacked.append(matrix)
    path = export.path("braingb.mat")
    write_mat_file(
        path,
        {
            "dti": np.stack(stacked, axis=2),
            "label": y[:, None],
            "regions": export.connectomes[0].regions.names,
            "subjects": export.graphs.subjects,
            "classes": export.graphs.classes,
            "edge_measure": export.weight,
            "about": json.dumps(dict(export.sidecar), sort_keys=True, ensure_ascii=False),
        },
    )
    return [path]
