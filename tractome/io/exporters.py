"""One table of all formats that a connectome is written in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome
from tractome.datatypes.graph import BrainGraph
from tractome.errors import OptionError
from tractome.io.graphs import (
    node_coordinates,
    write_graph,
    write_graphml,
    write_nilearn,
    write_node_table,
    write_pyg,
)
from tractome.io.matrices import matrix_sidecar, write_connectome, write_mat
from tractome.io.matrix_text import write_label_text, write_matrix_csv, write_matrix_tsv
from tractome.options import ExportOptions


@dataclass(frozen=True, eq=False)
class Export:
    """What an exporter is given.

    Parameters
    ----------
    prefix : Path
        Folder and beginning of every file name, such as ``graph/sub-01_seg-desikan``.
    connectome : Connectome
    graph : BrainGraph
        Of that connectome.
    options : ExportOptions
    sidecar : mapping
        What goes into every JSON sidecar besides the measure's own line: options, hashes of inputs, version.
    """

    prefix: Path
    connectome: Connectome
    graph: BrainGraph
    options: ExportOptions
    sidecar: Mapping[str, Any] = field(default_factory=dict)

    def path(self, ending: str) -> Path:
        """Path of a file of this export."""
        return self.prefix.with_name(f"{self.prefix.name}_{ending}")

    def matrices(self, absent: float) -> dict[str, NDArray[np.float64]]:
        """Every matrix as this export wants it: the diagonal dropped unless kept, `absent` where there is no value."""
        result = {}
        for name, matrix in self.connectome.matrices.items():
            result[name] = matrix.copy()
            if not self.options.keep_self_connections:
                np.fill_diagonal(result[name], np.nan if self.connectome.measures[name].is_mean else 0.0)
            result[name][np.isnan(result[name])] = absent
        return result


def _npz(export: Export) -> list[Path]:
    path = export.path("connectome.npz")
    write_connectome(path, export.connectome)
    return [path]


def _tsv(export: Export) -> list[Path]:
    made = []
    for name, matrix in export.matrices(absent=np.nan).items():
        path = export.path(f"stat-{name}_relmat.tsv")
        kept = "kept" if export.options.keep_self_connections else "dropped"
        own = {**matrix_sidecar(export.connectome, name), "SelfConnections": kept, "AbsentValue": "n/a"}
        write_matrix_tsv(path, matrix, export.connectome.regions, {**export.sidecar, **own})
        made += [path, path.with_suffix(".json")]
    return made


def _csv(export: Export) -> list[Path]:
    made = [export.path("labels.txt")]
    write_label_text(made[0], export.connectome.regions)
    for name, matrix in export.matrices(absent=0.0).items():
        made.append(export.path(f"stat-{name}.csv"))
        write_matrix_csv(made[-1], matrix)
    return made


def _mat(export: Export) -> list[Path]:
    path = export.path("connectome.mat")
    write_mat(path, export.connectome, export.matrices(absent=0.0))
    return [path]


def _graphml(export: Export) -> list[Path]:
    path = export.path("graph.graphml")
    write_graphml(path, export.graph, export.connectome.regions)
    return [path]


def _graph(export: Export) -> list[Path]:
    path = export.path("graph.npz")
    write_graph(path, export.graph)
    return [path]


def _pyg(export: Export) -> list[Path]:
    path = export.path("graph.pt")
    write_pyg(path, export.graph)
    return [path]


def _nilearn(export: Export) -> list[Path]:
    made = [export.path("nilearn.npz"), export.path("nodes.tsv")]
    matrices = export.matrices(absent=0.0)
    weights = matrices["count"] if "count" in matrices else next(iter(matrices.values()))
    write_nilearn(made[0], export.connectome, weights)
    coordinates, frame = node_coordinates(export.connectome)
    write_node_table(made[1], export.connectome.regions.names, coordinates, frame)
    return made


@dataclass(frozen=True)
class Exporter:
    """One row of `EXPORTERS`."""

    write: Callable[[Export], list[Path]]
    reader: str
    """What reads the files, in words."""
    absent: str
    """What stands where there is no value."""


EXPORTERS: dict[str, Exporter] = {
    "npz": Exporter(_npz, "NumPy, tractome", "NaN; the diagonal is always kept"),
    "tsv": Exporter(_tsv, "anything that reads tables; BIDS relmat with JSON sidecars", "n/a"),
    "csv": Exporter(_csv, "MRtrix3, R, MATLAB", "0"),
    "mat": Exporter(_mat, "Brain Connectivity Toolbox, MATLAB, Octave", "0"),
    "graphml": Exporter(_graphml, "NetworkX, Gephi, igraph", "no such edge"),
    "graph": Exporter(_graph, "NumPy; PyTorch Geometric in one line", "no such edge"),
    "pyg": Exporter(_pyg, "PyTorch Geometric (needs torch to be written)", "no such edge"),
    "nilearn": Exporter(_nilearn, "nilearn's plot_connectome", "0"),
}
"""Format to writer: a format is one row."""


def export_connectome(export: Export) -> list[Path]:
    """Write every format of ``export.options.formats``; the paths written, in order.

    Raises
    ------
    OptionError
        A format is not known.
    OutputError
        A file cannot be written, or a format needs a package that is not installed.
    """
    unknown = [name for name in export.options.formats if name not in EXPORTERS]
    if unknown:
        message = f"The format {unknown[0]!r} is not known; choose among: {', '.join(EXPORTERS)}."
        raise OptionError(message)
    return [path for name in export.options.formats for path in EXPORTERS[name].write(export)]
