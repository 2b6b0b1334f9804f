"""Means of maps in regions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.fields import ScalarMap
from tractome.datatypes.parcellation import Parcellation
from tractome.datatypes.prepared_maps import prepare_maps

_CHUNK = 200_000
"""Points per kernel call: a call then lasts well under half a second."""


def regional_means(parcellation: Parcellation, maps: Sequence[ScalarMap]) -> dict[str, NDArray[np.float64]]:
    """Mean of each map in each region.

    Each voxel of the label image counts once, with the map sampled trilinearly at its centre, so that maps and labels
    may lie on different grids.

    Returns
    -------
    dict of str to (n_regions,) float64
        By map name; NaN where a region is missing or the map is nowhere defined in it.
    """
    from tractome.kernels.sampling import sample_points

    voxels = np.argwhere(parcellation.rows >= 0)
    rows = parcellation.rows[parcellation.rows >= 0]
    n_regions = parcellation.regions.n_regions
    means: dict[str, NDArray[np.float64]] = {}
    for grid, names, volumes in prepare_maps(maps).stacks:
        values = np.empty((len(voxels), len(names)))
        for start in range(0, len(voxels), _CHUNK):
            centres_mm = parcellation.grid.to_world(voxels[start : start + _CHUNK])
            values[start : start + _CHUNK] = sample_points(volumes, grid.to_voxel(centres_mm))
        for index, name in enumerate(names):
            defined = np.isfinite(values[:, index])
            number = np.bincount(rows[defined], minlength=n_regions)
            total = np.bincount(rows[defined], values[defined, index], n_regions)
            means[name] = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return {map_.name: means[map_.name] for map_ in maps}
