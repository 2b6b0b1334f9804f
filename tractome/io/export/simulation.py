"""The Virtual Brain's connectivity: a zip of text files."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tractome.errors import OutputError
from tractome.io.atomic import replacing
from tractome.io.export.drawing import node_coordinates
from tractome.io.export.given import Export, ExportSet

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def write_tvb(export: Export) -> list[Path]:
    """Write what ``tvb.datatypes.connectivity.Connectivity.from_file`` reads, and a JSON file about it.

    Members (Sanz Leon et al. 2013, Frontiers in Neuroinformatics 7:10; the layout is that of TVB's own
    connectivities): ``weights.txt`` and ``tract_lengths.txt`` (mm), both 0 where there is no edge; ``centres.txt``
    with a name and x y z per row; ``hemispheres.txt``, 1 for right; ``cortical.txt``, 1 for cortex. TVB takes
    names without blanks and in Latin-1: blanks become ``_``, other letters ``?``; the JSON file has the names as they
    are. Lengths are those of the streamlines; without them, distances of centroids.

    Raises
    ------
    OutputError
        There are neither lengths nor centroids, or two names become one.
    """
    regions = export.connectome.regions
    coordinates, frame = node_coordinates(export.connectome)
    lengths, lengths_from = _lengths(export, coordinates)
    names = _names(export)
    centres = np.nan_to_num(coordinates)
    members = {
        "weights.txt": _text(export.matrix(export.weight, absent=0.0)),
        "tract_lengths.txt": _text(lengths),
        "centres.txt": "".join(
            f"{name} {' '.join(map(repr, point))}\n" for name, point in zip(names, centres.tolist(), strict=True)
        ),
        "hemispheres.txt": "".join(f"{int(side == 'R')}\n" for side in regions.hemispheres),
        "cortical.txt": "".join(f"{int(structure == 'cortex')}\n" for structure in regions.structures),
    }
    path = export.path("tvb.zip")
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            member = zipfile.ZipInfo(name, _ZIP_DATE)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            archive.writestr(member, text.encode("latin-1"))
    unknown = [name for name, point in zip(regions.names, coordinates, strict=True) if not np.isfinite(point).all()]
    return [path, export.write_about(path, "0", more={
        "TractLengths": lengths_from, "CentresFrame": frame, "CentresNotKnown": unknown, "RegionNames": regions.names,
    })]  # fmt: skip


def require_tvb(export: Export | ExportSet) -> None:
    """Raise as `write_tvb` does, before anything is written."""
    if isinstance(export, Export):
        _lengths(export, node_coordinates(export.connectome)[0])
        _names(export)


def _names(export: Export) -> list[str]:
    """Region names as The Virtual Brain takes them."""
    given = export.connectome.regions.names
    names = [re.sub(r"[\s#]+", "_", name).encode("latin-1", "replace").decode("latin-1") for name in given]
    if len(set(names)) != len(names):
        message = "Two region names differ only in what The Virtual Brain does not allow in names. Rename a region."
        raise OutputError(message)
    return names


def _lengths(export: Export, coordinates: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    if "length" in export.connectome.matrices:
        return export.matrix("length", absent=0.0), "mean length of the streamlines of an edge, mm; 0 without an edge"
    if not np.isfinite(coordinates).all():
        message = (
            "The Virtual Brain needs a length for every edge, and this connectome has neither lengths nor the centroid "
            "of every region. Import a matrix of lengths too, or give a region table with x_mm, y_mm and z_mm."
        )
        raise OutputError(message)
    distances = np.linalg.norm(coordinates[:, None, :] - coordinates[None, :, :], axis=2)
    edges = export.matrix(export.weight, absent=0.0) != 0
    return np.where(edges, distances, 0.0), "distance of the centroids, mm; 0 without an edge"


def _text(matrix: NDArray[np.float64]) -> str:
    return "".join(" ".join(map(repr, row)) + "\n" for row in matrix.tolist())
