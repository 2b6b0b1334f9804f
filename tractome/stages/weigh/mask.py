"""How much each voxel counts when streamlines are weighed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.tissue import TissueMap

_MOST_PER_AXIS = 5
"""Places per axis of a voxel at which a finer tissue map is looked up."""
_CHUNK = 200_000


def processing_mask(tissue: TissueMap, mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.float32]:
    """Square of the fraction of white matter in each voxel.

    Where white matter shares a voxel with something else, streamlines may end inside it and the fibre density is the
    less certain: such voxels count less (Smith et al. 2013, 2015).

    Parameters
    ----------
    tissue : TissueMap
        On any grid; of a finer one the mean over the voxel is taken.
    mask : (x, y, z) bool
        Voxels outside it count nothing.
    grid : Grid
        Of the mask.

    Returns
    -------
    (x, y, z) float32
        In [0, 1].
    """
    from tractome.kernels.sampling import sample_points

    white = np.ascontiguousarray(tissue.fractions[..., 2:3])
    # Where both grids are the same, the voxel itself.
    per_axis = np.ceil(grid.voxel_sizes_mm / tissue.grid.voxel_sizes_mm - 1e-3).astype(int)
    places = [(np.arange(n) + 0.5) / n - 0.5 for n in np.clip(per_axis, 1, _MOST_PER_AXIS)]
    offsets = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1).reshape(-1, 3)
    voxels = np.argwhere(mask)
    found = np.zeros(len(voxels))
    for first in range(0, len(voxels), _CHUNK):
        some = voxels[first : first + _CHUNK]
        for offset in offsets:
            at = tissue.grid.to_voxel(grid.to_world(some + offset))
            found[first : first + _CHUNK] += np.nan_to_num(sample_points(white, at)[:, 0])
    share = np.zeros(mask.shape, np.float32)
    share[mask] = np.clip(found / len(offsets), 0.0, 1.0) ** 2
    return share
