"""A brain mask from the b0 volume, for scans that come without one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.errors import ImageError

MEDIAN_RADIUS_MM = 4.0
N_PASSES = 4
OPENING_RADIUS_MM = 4.0


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
    _, mask = median_otsu(volume, median_radius=radius, numpass=1)
    if mask.any():
        # Receive coils make the rim several times brighter than the middle; capped at its median, the rim no longer
        # lifts the threshold above the deep grey matter.
        capped = np.minimum(volume, np.median(volume[mask]))
        _, mask = median_otsu(capped, median_radius=radius, numpass=N_PASSES)
    ball = np.linalg.norm(np.mgrid[-2:3, -2:3, -2:3] * grid.voxel_sizes_mm[:, None, None, None], axis=0)
    mask = ndimage.binary_opening(mask, ball <= OPENING_RADIUS_MM)
    pieces, n_pieces = ndimage.label(mask)
    if n_pieces == 0:
        message = "No brain was found in the b0 volume. Give a mask, or check the image."
        raise ImageError(message)
    largest = 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    return _fill_holes(pieces == largest)


def _fill_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill what is closed within any slice: dark deep grey matter may be open towards a cut-off bottom slice."""
    from scipy import ndimage

    plane = ndimage.generate_binary_structure(2, 1)
    filled: NDArray[np.bool_] = mask.copy()
    for axis in range(3):
        structure = np.expand_dims(plane, axis)
        filled |= _fill_in_planes(mask, structure)
    return _fill_in_planes(filled, ndimage.generate_binary_structure(3, 1))


def _fill_in_planes(mask: NDArray[np.bool_], structure: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(mask, structure)
    return filled
