"""Images from one grid to another, through a transform: everything in RAS+ mm."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid

IDENTITY = np.eye(4)


def transformed(matrix: NDArray[np.float64], points_mm: NDArray[Any]) -> NDArray[np.float64]:
    """Points (..., 3) after an affine transform (4, 4)."""
    return np.asarray(points_mm, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def working_grid(mask: NDArray[np.bool_], grid: Grid, spacing_mm: float, margin_mm: float) -> Grid:
    """Isotropic grid along the world axes that covers the mask.

    Parameters
    ----------
    mask : (x, y, z) bool
        At least one voxel inside.
    grid : Grid
        Of the mask.
    spacing_mm, margin_mm : float
        Voxel size, and what is added on each side.
    """
    points = grid.to_world(np.argwhere(mask))
    low, high = points.min(axis=0) - margin_mm, points.max(axis=0) + margin_mm
    shape = np.ceil((high - low) / spacing_mm).astype(int) + 1
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = low
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def resample(
    volume: NDArray[Any],
    grid: Grid,
    target: Grid,
    transform: NDArray[np.float64] = IDENTITY,
    order: int = 1,
) -> NDArray[np.float32]:
    """Volume on another grid; 0 outside.

    Parameters
    ----------
    volume : (x, y, z)
    grid : Grid
        Of the volume.
    target : Grid
    transform : (4, 4) float64
        Target's world -> the volume's world.
    order : 0 or 1
        Nearest voxel, or trilinear after smoothing that keeps a coarser target free of aliasing.
    """
    from scipy import ndimage

    volume = np.asarray(volume, dtype=np.float32)
    if order > 0:
        ratio = target.voxel_sizes_mm.mean() / grid.voxel_sizes_mm
        # Half of the lost resolution as full width at half maximum: sharper would alias, softer would blur twice.
        sigma = np.sqrt(np.maximum(ratio**2 - 1, 0)) * 0.425
        if sigma.max() > 0.2:
            volume = ndimage.gaussian_filter(volume, sigma)
    matrix = np.asarray(grid.inverse @ transform @ target.affine, dtype=np.float64)
    result = np.zeros(target.shape, dtype=np.float32)
    offset = matrix[:3, 3]
    ndimage.affine_transform(
        volume, matrix[:3, :3], offset, target.shape, output=result, order=1 if order else 0, mode="constant"
    )
    return result


def pull(
    volume: NDArray[Any],
    grid: Grid,
    target: Grid,
    matrix: NDArray[np.float64],
    warp_mm: NDArray[np.float32],
    warp_grid: Grid,
    order: int,
) -> NDArray[Any]:
    """Volume of the template on a grid of the subject; 0 outside the template.

    Parameters
    ----------
    volume : (x, y, z)
    grid : Grid
        Of the volume.
    target : Grid
        In the subject's world.
    matrix : (4, 4) float64
        Warped position -> template world.
    warp_mm : (x, y, z, 3) float32
        To add to a position of the subject's world; the nearest value counts outside its grid.
    warp_grid : Grid
    order : 0 or 1
        Nearest voxel, or trilinear.
    """
    from scipy import ndimage

    result = np.zeros(target.shape, dtype=volume.dtype)
    plane = np.stack(np.meshgrid(*(np.arange(n) for n in target.shape[1:]), indexing="ij"), axis=-1)
    for first in range(target.shape[0]):
        voxels = np.concatenate([np.full((*plane.shape[:2], 1), first), plane], axis=-1)
        world = target.to_world(voxels)
        in_warp = np.moveaxis(warp_grid.to_voxel(world), -1, 0)
        shift = [ndimage.map_coordinates(warp_mm[..., axis], in_warp, order=1, mode="nearest") for axis in range(3)]
        template_mm = transformed(matrix, world + np.stack(shift, axis=-1))
        in_template = np.moveaxis(grid.to_voxel(template_mm), -1, 0)
        result[first] = ndimage.map_coordinates(volume, in_template, order=1 if order else 0, mode="constant")
    return result
