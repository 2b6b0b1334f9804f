"""One table of all formats that a connectome, or a set of graphs, is written in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tractome.errors import OptionError
from tractome.io.export.drawing import require_nilearn, write_nilearn
from tractome.io.export.given import Export, ExportSet
from tractome.io.export.hdf5 import write_hdf5
from tractome.io.export.layouts import write_braingb, write_dgl, write_dgl_set
from tractome.io.export.networks import write_gexf, write_graphml, write_node_link
from tractome.io.export.simulation import require_tvb, write_tvb
from tractome.io.export.tables import write_edge_table
from tractome.io.export.torch_files import require_torch, write_pyg, write_pyg_set
from tractome.io.graphs import write_graph, write_graph_set
from tractome.io.matrices import write_connectome, write_mat
from tractome.io.matrix_text import relmat_sidecar, write_label_text, write_matrix_csv, write_matrix_tsv


def _npz(export: Export) -> list[Path]:
    path = export.path("connectome.npz")
    write_connectome(path, export.original)
    return [path]


def _tsv(export: Export) -> list[Path]:
    made = []
    for name, matrix in export.matrices(absent=np.nan).items():
        path = export.path(f"stat-{name}_relmat.tsv")
        sidecar = {**export.about(name, "n/a"), **relmat_sidecar(export.connectome, name)}
        write_matrix_tsv(path, matrix, export.connectome.regions, sidecar)
        made += [path, path.with_suffix(".json")]
    return made


def _csv(export: Export) -> list[Path]:
    made = [export.path("labels.txt")]
    write_label_text(made[0], export.connectome.regions)
    for name, matrix in export.matrices(absent=0.0).items():
        path = export.path(f"stat-{name}.csv")
        write_matrix_csv(path, matrix, export.about(name, "0"))
        made += [path, path.with_suffix(".json")]
    return made


def _mat(export: Export) -> list[Path]:
    path = export.path("connectome.mat")
    write_mat(path, export.connectome, export.matrices(absent=0.0))
    return [path]


def _graph(export: Export) -> list[Path]:
    path = export.path("graph.npz")
    write_graph(path, export.graph)
    return [path]


def _graph_set(export: ExportSet) -> list[Path]:
    path = export.path("dataset.npz")
    write_graph_set(path, export.graphs)
    return [path]


@dataclass(frozen=True)
class Exporter:
    """One row of `EXPORTERS`."""

    reader: str
    """What reads the files, in words."""
    absent: str
    """What stands where there is no value."""
    checked: str
    """How we know that it is read: the program that opens it in the tests, or the schema it was compared with."""
    write: Callable[[Export], list[Path]] | None = None
    """Writes one connectome; None where the format holds sets only."""
    write_set: Callable[[ExportSet], list[Path]] | None = None
    """Writes a set of graphs with labels; None where the format has no such thing."""
    require: Callable[[Export | ExportSet], object] | None = None
    """Raises where something lacks that the format needs: asked for every format before the first is written."""


EXPORTERS: dict[str, Exporter] = {
    "npz": Exporter("NumPy, tractome", "NaN; nothing is left out, not even the diagonal", "numpy", _npz),
    "tsv": Exporter(
        "anything that reads tables; BIDS relmat with JSON sidecars",
        "n/a",
        "pandas, R; sidecar compared with the BIDS extension proposal 17, a draft",
        _tsv,
    ),
    "csv": Exporter("MRtrix3, R, MATLAB", "0", "numpy.loadtxt, R, MRtrix3", _csv),
    "mat": Exporter("Brain Connectivity Toolbox, MATLAB, Octave", "0", "bctpy, Octave", _mat),
    "h5": Exporter("h5py, MATLAB's h5read, Julia", "NaN", "h5py", write_hdf5),
    "edges": Exporter("R (data frames, igraph), pandas", "no such line; a mean without value: empty", "R, pandas",
        write_edge_table),
    "graphml": Exporter("NetworkX, igraph, Cytoscape", "no such edge", "networkx", write_graphml),
    "gexf": Exporter("Gephi, NetworkX", "no such edge", "networkx", write_gexf),
    "json": Exporter("NetworkX node-link, D3", "no such edge", "networkx", write_node_link),
    "graph": Exporter("NumPy; PyTorch Geometric in one line", "no such edge", "numpy, torch_geometric", _graph,
        _graph_set),
    "pyg": Exporter("PyTorch Geometric (needs torch to be written)", "no such edge",
        "torch_geometric, weights_only=True", write_pyg, write_pyg_set, require_torch),
    "dgl": Exporter("DGL's CSVDataset", "no such edge", "dgl 1.1 where installed; else its published columns",
        write_dgl, write_dgl_set),
    "braingb": Exporter("BrainGB", "NaN, which is BrainGB's no edge; 0 would be one",
        "compared with BrainGB's published loader only", None, write_braingb),
    "nilearn": Exporter("nilearn's plot_connectome and view_connectome", "0", "nilearn", write_nilearn,
        require=require_nilearn),
    "tvb": Exporter("The Virtual Brain (tvb-library)", "weight 0 and length 0", "tvb-library where installed",
        write_tvb, require=require_tvb),
}  # fmt: skip
"""Format to writer: a format is one row."""


def export_connectome(export: Export, formats: Sequence[str]) -> list[Path]:
    """Write a connectome in every format named; the paths written, in order.

    Raises
    ------
    OptionError
        A format is not known, or is one of sets.
    OutputError
        A file cannot be written, or a format needs a package that is not installed.
    """
    return _written(export, formats, {name: row.write for name, row in EXPORTERS.items()})


def export_set(export: ExportSet, formats: Sequence[str]) -> list[Path]:
    """Write a set of graphs in every format named; the paths written, in order. Raises as `export_connectome`."""
    return _written(export, formats, {name: row.write_set for name, row in EXPORTERS.items()})


def require_formats(export: Export | ExportSet, formats: Sequence[str]) -> None:
    """Raise what writing would raise, before anything is written.

    Raises
    ------
    OutputError
        A package is not installed, or the connectome lacks what a format needs.
    """
    for name in formats:
        row = EXPORTERS.get(name)
        if row is not None and row.require is not None:
            row.require(export)


def _written(export: Any, formats: Sequence[str], writers: dict[str, Any]) -> list[Path]:
    known = [name for name, write in writers.items() if write is not None]
    unknown = [name for name in formats if name not in known]
    if unknown:
        message = f"The format {unknown[0]!r} is not known; choose among: {', '.join(known)}."
        raise OptionError(message)
    require_formats(export, formats)
    return [path for name in formats for path in writers[name](export)]
