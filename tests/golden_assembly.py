"""The golden data set of matrix assembly, and whether MRtrix3 is here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import wirings

from tractome.datatypes.fields import ScalarMap
from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation, RegionTable
from tractome.datatypes.tractogram import Tractogram


@dataclass(frozen=True, eq=False)
class Golden:
    folder: Path
    tracks: Path
    nodes: Path
    block: Tractogram
    maps: list[ScalarMap]
    parcellation: Parcellation


def load(folder):
    def volume(name):
        image = nibabel.load(folder / name)
        return np.asanyarray(image.dataobj), Grid(image.shape, image.affine)

    labels, grid = volume("nodes.nii.gz")
    maps = []
    for name, unit in (("fa", "unitless"), ("md", "mm2/s")):
        values, map_grid = volume(f"{name}.nii.gz")
        mask = np.isfinite(values)
        maps.append(ScalarMap(name, unit, values[mask], mask, map_grid))
    regions = RegionTable.from_names([f"node {i}" for i in range(1, 111)], "golden")
    tracks = nibabel.streamlines.load(folder / "wm2gm.tck").streamlines
    block = wirings.block(list(tracks))
    parcellation = Parcellation.from_labels(labels.astype(np.int64), grid, regions)
    return Golden(folder, folder / "wm2gm.tck", folder / "nodes.nii.gz", block, maps, parcellation)
