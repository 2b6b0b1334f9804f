"""Where one image lies in another, through world mm."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid

MAX_POINTS = 50_000
_MIN_VOXELS = 16
COARSE_MM = 2.0
"""Fine enough for where things are: images of smaller voxels are looked at in part."""


def thinned(values: NDArray[Any], grid: Grid) -> tuple[NDArray[Any], Grid]:
    """Every so many voxels along each axis, so that they are about `COARSE_MM` apart, and the grid of those."""
    sizes = zip(grid.voxel_sizes_mm, grid.shape, strict=True)
    steps = [max(1, min(int(COARSE_MM / size), n // _MIN_VOXELS)) for size, n in sizes]
    if max(steps) == 1:
        return values, grid
    thin = np.ascontiguousarray(values[tuple(slice(None, None, step) for step in steps)])
    return thin, Grid(thin.shape[:3], grid.affine @ np.diag([*map(float, steps), 1.0]))


def some_points(inside: NDArray[np.bool_], grid: Grid, n_points: int = MAX_POINTS) -> NDArray[np.float64]:
    """World places of voxels of a mask, (n, 3) mm: all, or so many spread evenly over them."""
    voxels = np.argwhere(inside)
    return grid.to_world(voxels[:: max(1, -(-len(voxels) // n_points))])


def looked_up(points_mm: NDArray[np.float64], grid: Grid) -> tuple[NDArray[np.bool_], tuple[NDArray[np.int64], ...]]:
    """Which points lie on a grid, (n,) bool, and the nearest voxels of those, three (m,) int64."""
    voxels = np.rint(grid.to_voxel(points_mm)).astype(np.int64)
    on_grid: NDArray[np.bool_] = np.all((voxels >= 0) & (voxels < grid.shape), axis=1)
    return on_grid, tuple(voxels[on_grid].T)


def box(points_mm: NDArray[np.float64]) -> str:
    """Extent of points, for messages."""
    if len(points_mm) == 0:
        return "nowhere"
    low, high = points_mm.min(axis=0), points_mm.max(axis=0)
    return ", ".join(f"{axis} {a:.0f} to {b:.0f}" for axis, a, b in zip("xyz", low, high, strict=True)) + " mm"
