"""A brain mask from the b0 volume, for scans that come without one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.errors import ImageError

MEDIAN_RADIUS_MM = 4.0
N_PASSES = 4


def make_brain_mask(mean_b0: NDArray[np.floating], grid: Grid) -> NDArray[np.bool_]:
    """Brain mask by median filtering and Otsu's threshold, its largest piece, holes filled.

    Parameters
    ----------
    mean_b0 : shape of the grid, float
        Mean of the volumes without diffusion weighting.
    grid : Grid

    Returns
    -------
    shape of the grid, bool

    Raises
    ------
    ImageError
        The volume has no contrast to find a brain in.
    """
    from dipy.segment.mask import median_otsu
    from scipy import ndimage

    volume = np.nan_to_num(np.asarray(mean_b0, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    if not volume.max() > volume.min():
        message = "The b0 volume is constant, so no brain can be found in it. Give a mask, or check the image."
        raise ImageError(message)
    radius = max(1, round(MEDIAN_RADIUS_MM / float(grid.voxel_sizes_mm.mean())))
    _, mask = median_otsu(volume, median_radius=radius, numpass=N_PASSES)
    pieces, n_pieces = ndimage.label(mask)
    if n_pieces == 0:
        message = "No brain was found in the b0 volume. Give a mask, or check the image."
        raise ImageError(message)
    largest = 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(pieces == largest)
    return filled
