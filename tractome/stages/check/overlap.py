"""Where one image lies in another, through world mm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid

MAX_POINTS = 50_000


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
