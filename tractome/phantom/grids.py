"""Grids of the synthetic subject: around the head, straight or turned, and stored in any order of the axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.options import PhantomOptions
from tractome.phantom.geometry import brain_centre_mm, head_extent_mm

_OBLIQUE_DEG = (11.0, -7.0, 16.0)


def voxel_sizes(options: PhantomOptions) -> NDArray[np.float64]:
    """Voxel sizes of the scan along its plain axes, (3,) float64, mm."""
    in_plane = options.voxel_size_mm
    return np.array([in_plane, in_plane, options.slice_thickness_mm or in_plane])


def plain_grid(options: PhantomOptions, voxel_sizes_mm: NDArray[np.float64], rotate: bool = True) -> Grid:
    """Grid around the head with rising axes: straight, or turned for oblique storage."""
    rotation = np.eye(3)
    if rotate and options.storage == "oblique":
        for axis, angle in enumerate(np.deg2rad(_OBLIQUE_DEG)):
            turn = np.eye(3)
            i, j = (axis + 1) % 3, (axis + 2) % 3
            turn[[i, j, i, j], [i, j, j, i]] = np.cos(angle), np.cos(angle), -np.sin(angle), np.sin(angle)
            rotation = rotation @ turn
    extent = head_extent_mm() + 2.0
    # Half the box of the turned ellipsoid.
    half = np.sqrt(((rotation * extent[:, None]) ** 2).sum(axis=0))
    shape = 2 * np.ceil(half / voxel_sizes_mm - 0.5).astype(int) + 1
    if options.field_of_view_mm is not None:
        # A little less than the quotient: 181.25 / 1.25 is 145 voxels whatever the rounding.
        shape = np.ceil(np.array(options.field_of_view_mm) / voxel_sizes_mm - 1e-6).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = rotation * voxel_sizes_mm
    affine[:3, 3] = brain_centre_mm() - affine[:3, :3] @ ((shape - 1) / 2)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def orientation(storage: str) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """For each stored axis: which world axis it follows, and whether it runs backwards."""
    if storage == "oblique":
        return (0, 1, 2), (False, False, False)
    return tuple("LPI".find(c) if c in "LPI" else "RAS".find(c) for c in storage), tuple(c in "LPI" for c in storage)


def storage_grid(plain: Grid, storage: str) -> Grid:
    """The same voxels with the axes in storage order."""
    axes, backwards = orientation(storage)
    shape = tuple(plain.shape[axis] for axis in axes)
    turn = np.zeros((4, 4))
    turn[3, 3] = 1.0
    for stored, (axis, back) in enumerate(zip(axes, backwards, strict=True)):
        turn[axis, stored] = -1.0 if back else 1.0
        turn[axis, 3] = shape[stored] - 1 if back else 0.0
    return Grid((shape[0], shape[1], shape[2]), plain.affine @ turn)


def to_storage(volume: NDArray[Any], storage: str) -> NDArray[Any]:
    """A volume (x, y, z, ...) brought from the plain grid to storage order."""
    axes, backwards = orientation(storage)
    turned = np.transpose(volume, (*axes, *range(3, volume.ndim)))
    result: NDArray[Any] = np.flip(turned, tuple(axis for axis, back in enumerate(backwards) if back))
    return result


def world_points(grid: Grid, start: int, stop: int) -> NDArray[np.float64]:
    """World coordinates of the voxels `start` to `stop` in C order, (n, 3), RAS+ mm."""
    return grid.to_world(np.stack(np.unravel_index(np.arange(start, stop), grid.shape), axis=1))
