"""Values of the voxels that a streamline crosses, each voxel once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel, parallel_kernel, prange
from tractome.kernels.mapping import next_face, transform


@kernel
def _most_voxels(points: NDArray[np.float32], first: int, last: int, to_voxel: NDArray[np.float64]) -> int:
    """At most so many steps from voxel to voxel does a streamline take."""
    here, there = np.empty(3), np.empty(3)
    n_most = 1
    transform(to_voxel, points, first, there)
    for n in range(first, last):
        here[:] = there
        transform(to_voxel, points, n, there)
        n_most += 1  # a face that rounding puts on the other side of a point
        for axis in range(3):
            n_most += abs(int(np.floor(there[axis] + 0.5)) - int(np.floor(here[axis] + 0.5)))
    return n_most


@kernel
def _walk(
    points: NDArray[np.float32],
    first: int,
    last: int,
    to_voxel: NDArray[np.float64],
    shape: tuple[int, int, int],
    visited: NDArray[np.int64],
) -> int:
    """Fill `visited` with the voxels of the grid that a streamline runs through, in its order; return how many."""
    here, there, way = np.empty(3), np.empty(3), np.empty(3)
    voxel = np.empty(3, np.int64)
    n_visited = 0
    transform(to_voxel, points, first, here)
    for axis in range(3):
        voxel[axis] = int(np.floor(here[axis] + 0.5))
    for n in range(first, last):
        t = 0.0
        if n > first:
            transform(to_voxel, points, n, there)
            for axis in range(3):
                way[axis] = there[axis] - here[axis]
            t = next_face(here, way, voxel, t)
        while (n == first or t < 1.0) and n_visited < len(visited):
            i, j, k = voxel[0], voxel[1], voxel[2]
            if 0 <= i < shape[0] and 0 <= j < shape[1] and 0 <= k < shape[2]:
                visited[n_visited] = (i * shape[1] + j) * shape[2] + k
                n_visited += 1
            if n == first:
                break
            t = next_face(here, way, voxel, t)
        if n > first:
            here[:] = there
    return n_visited


@parallel_kernel
def sum_over_crossed(
    volumes: NDArray[np.float32],
    points: NDArray[np.float32],
    offsets: NDArray[np.int64],
    to_voxel: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of several maps over the voxels that each streamline crosses, each voxel once, and their number.

    Parameters
    ----------
    volumes : (x, y, z, n_maps) float32
        NaN where a map is not defined.
    points : (n_points, 3) float32
        mm, world.
    offsets : (n_streamlines + 1,) int64
    to_voxel : (3, 4) float64
        World -> voxel coordinates of the maps' grid.

    Returns
    -------
    sums, numbers : (n_maps, n_streamlines) float64
        A voxel where the map is not defined is in neither.
    """
    n_streamlines, n_maps = len(offsets) - 1, volumes.shape[3]
    sums, numbers = np.zeros((n_maps, n_streamlines)), np.zeros((n_maps, n_streamlines))
    shape = (volumes.shape[0], volumes.shape[1], volumes.shape[2])
    for s in prange(n_streamlines):
        first, last = offsets[s], offsets[s + 1]
        room = np.empty(_most_voxels(points, first, last, to_voxel), np.int64)
        # In the order of the voxels, so that a streamline turned round has the same sum.
        visited = np.sort(room[: _walk(points, first, last, to_voxel, shape, room)])
        for n in range(len(visited)):
            if n > 0 and visited[n] == visited[n - 1]:
                continue
            rest, k = divmod(visited[n], shape[2])
            i, j = divmod(rest, shape[1])
            for m in range(n_maps):
                value = volumes[i, j, k, m]
                if value == value:
                    sums[m, s] += value
                    numbers[m, s] += 1.0
    return sums, numbers
