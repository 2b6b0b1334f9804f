"""What nilearn draws: a matrix and where its nodes are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome
from tractome.errors import OutputError
from tractome.io.atomic import replacing
from tractome.io.export.given import Export, ExportSet
from tractome.io.matrices import write_npz


def write_nilearn(export: Export) -> list[Path]:
    """Write what ``nilearn.plotting.plot_connectome`` takes, as `.npz`, and the nodes as TSV for ``view_connectome``.

    ``adjacency_matrix`` (N, N) is the edge measure, 0 where there is no edge; ``node_coords`` (N, 3) in RAS+ mm;
    `frame` says which space they are in: the atlas's template where the region table has its centroids (what a glass
    brain wants), else the subject's own. ``node_names`` names the rows; ``about`` is JSON on what was done.
    """
    made = [export.path("nilearn.npz"), export.path("nodes.tsv")]
    coordinates, frame = node_coordinates(export.connectome)
    write_npz(
        made[0],
        {
            "adjacency_matrix": export.matrix(export.weight, absent=0.0),
            "node_coords": coordinates,
            "node_names": np.array(export.connectome.regions.names),
            "frame": np.array(frame),
            "about": np.array(json.dumps(export.about(export.weight, "0"), sort_keys=True, ensure_ascii=False)),
        },
    )
    _write_node_table(made[1], export.connectome.regions.names, coordinates, frame)
    return made


def require_nilearn(export: Export | ExportSet) -> None:
    """Raise where there is nothing to draw: no region has a place.

    Raises
    ------
    OutputError
    """
    if isinstance(export, Export) and not np.isfinite(node_coordinates(export.connectome)[0]).all(axis=1).any():
        message = (
            "nilearn draws regions where they are, and this connectome does not know the place of any. Give a region "
            "table with x_mm, y_mm and z_mm, or leave the format nilearn out."
        )
        raise OutputError(message)


def node_coordinates(connectome: Connectome) -> tuple[NDArray[np.float64], str]:
    """Where to draw each region, (N, 3) float64 RAS+ mm, and in which space: ``"template"`` or ``"subject"``."""
    template = connectome.regions.centroids_mm
    if np.isfinite(template).all():
        return template, "template"
    return connectome.centroids_mm, "subject"


def _write_node_table(path: Path, names: tuple[str, ...], coordinates: NDArray[np.float64], frame: str) -> None:
    lines = ["name\tx_mm\ty_mm\tz_mm\tframe"]
    for name, point in zip(names, coordinates.tolist(), strict=True):
        cells = ["n/a" if value != value else repr(round(value, 4)) for value in point]
        lines.append("\t".join([name, *cells, frame]))
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
