"""Maps sampled along streamlines, and streamline lengths.

The mean along a streamline is the integral of the map over its length, by the trapezoidal rule: each point counts with
half the length of the segments next to it. It is the definition of MRtrix3's ``tcksample -stat_tck mean``
(Tournier et al. 2019, https://doi.org/10.1016/j.neuroimage.2019.116137). Where MRtrix3 takes 0 outside the image and
lets one undefined voxel spoil the streamline, a point without a value is left out here, with its share of the length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel, parallel_kernel, prange


@kernel
def sample_trilinear(volumes: NDArray[np.float32], x: float, y: float, z: float, out: NDArray[np.float64]) -> None:
    """Trilinear value of several maps at one point.

    A map has a value at a point when its voxel nearest to the point has one. The eight corners are then weighted
    trilinearly over those that exist and are defined, so that the value neither fades towards the border of a mask nor
    of the image; between defined voxels that is plain trilinear interpolation.

    Parameters
    ----------
    volumes : (x, y, z, n_maps) float32
        NaN where a map is not defined.
    x, y, z : float
        Voxel coordinates; integers are voxel centres.
    out : (n_maps,) float64
        Written; NaN where there is no value.
    """
    out[:] = np.nan
    size_x, size_y, size_z, n_maps = volumes.shape
    if not (abs(x) < 1e6 and abs(y) < 1e6 and abs(z) < 1e6):
        return
    i, j, k = int(np.floor(x + 0.5)), int(np.floor(y + 0.5)), int(np.floor(z + 0.5))
    if i < 0 or j < 0 or k < 0 or i >= size_x or j >= size_y or k >= size_z:
        return
    i0, j0, k0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    fx, fy, fz = x - i0, y - j0, z - k0
    gx, gy, gz = 1.0 - fx, 1.0 - fy, 1.0 - fz
    is_inside = i0 >= 0 and j0 >= 0 and k0 >= 0 and i0 + 1 < size_x and j0 + 1 < size_y and k0 + 1 < size_z
    for m in range(n_maps):
        if is_inside:
            # The usual case, eight defined corners, without a branch; one NaN among them sends us to the loop below.
            low = gx * (gy * volumes[i0, j0, k0, m] + fy * volumes[i0, j0 + 1, k0, m])
            low += fx * (gy * volumes[i0 + 1, j0, k0, m] + fy * volumes[i0 + 1, j0 + 1, k0, m])
            high = gx * (gy * volumes[i0, j0, k0 + 1, m] + fy * volumes[i0, j0 + 1, k0 + 1, m])
            high += fx * (gy * volumes[i0 + 1, j0, k0 + 1, m] + fy * volumes[i0 + 1, j0 + 1, k0 + 1, m])
            out[m] = gz * low + fz * high
            if out[m] == out[m]:
                continue
        if np.isnan(volumes[i, j, k, m]):
            continue
        total, weight = 0.0, 0.0
        for di in range(2):
            wx = fx if di else gx
            if wx == 0.0 or i0 + di < 0 or i0 + di >= size_x:
                continue
            for dj in range(2):
                wy = fy if dj else gy
                if wy == 0.0 or j0 + dj < 0 or j0 + dj >= size_y:
                    continue
                for dk in range(2):
                    wz = fz if dk else gz
                    if wz == 0.0 or k0 + dk < 0 or k0 + dk >= size_z:
                        continue
                    value = volumes[i0 + di, j0 + dj, k0 + dk, m]
                    if not np.isnan(value):
                        total += wx * wy * wz * value
                        weight += wx * wy * wz
        out[m] = total / weight


@parallel_kernel
def sample_points(volumes: NDArray[np.float32], points_vox: NDArray[np.float64]) -> NDArray[np.float64]:
    """`sample_trilinear` at many points, (n, 3) float64 in voxel coordinates; (n, n_maps) float64."""
    n_points = len(points_vox)
    values = np.empty((n_points, volumes.shape[3]), np.float64)
    for n in prange(n_points):
        sample_trilinear(volumes, points_vox[n, 0], points_vox[n, 1], points_vox[n, 2], values[n])
    return values


@kernel
def segment_mm(points: NDArray[np.float32], n: int) -> float:
    """Distance from point n to the next one, mm."""
    dx = np.float64(points[n + 1, 0]) - np.float64(points[n, 0])
    dy = np.float64(points[n + 1, 1]) - np.float64(points[n, 1])
    dz = np.float64(points[n + 1, 2]) - np.float64(points[n, 2])
    return np.sqrt(dx * dx + dy * dy + dz * dz)


@parallel_kernel
def streamline_lengths(points: NDArray[np.float32], offsets: NDArray[np.int64]) -> NDArray[np.float32]:
    """Length of each streamline, (n_streamlines,) float32: sum of its segments, mm; 0 for a single point.

    Parameters
    ----------
    points : (n_points, 3) float32
        mm.
    offsets : (n_streamlines + 1,) int64
    """
    lengths = np.empty(len(offsets) - 1, np.float32)
    for s in prange(len(lengths)):
        total = 0.0
        for n in range(offsets[s], offsets[s + 1] - 1):
            total += segment_mm(points, n)
        lengths[s] = total
    return lengths


@kernel
def _integrate(
    volumes: NDArray[np.float32],
    points: NDArray[np.float32],
    first: int,
    last: int,
    to_voxel: NDArray[np.float64],
    even: bool,
    room: NDArray[np.float64],
) -> None:
    """Integral of each map and the length over which it is defined, into rows 1 and 2 of `room` (3, n_maps).

    `even`: every point counts alike, whatever the length that it stands for.
    """
    room[1:] = 0.0
    before = 0.0
    for n in range(first, last):
        after = 0.5 * segment_mm(points, n) if n + 1 < last else 0.0
        share = 1.0 if even else before + after
        before = after
        x, y, z = np.float64(points[n, 0]), np.float64(points[n, 1]), np.float64(points[n, 2])
        sample_trilinear(
            volumes,
            to_voxel[0, 0] * x + to_voxel[0, 1] * y + to_voxel[0, 2] * z + to_voxel[0, 3],
            to_voxel[1, 0] * x + to_voxel[1, 1] * y + to_voxel[1, 2] * z + to_voxel[1, 3],
            to_voxel[2, 0] * x + to_voxel[2, 1] * y + to_voxel[2, 2] * z + to_voxel[2, 3],
            room[0],
        )
        for m in range(room.shape[1]):
            if room[0, m] == room[0, m]:
                room[1, m] += share * room[0, m]
                room[2, m] += share


@parallel_kernel
def streamline_means(
    volumes: NDArray[np.float32],
    points: NDArray[np.float32],
    offsets: NDArray[np.int64],
    lengths_mm: NDArray[np.float32],
    to_voxel: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Mean of several maps along each streamline, each point weighted by half of the segments next to it.

    Parameters
    ----------
    volumes : (x, y, z, n_maps) float32
        NaN where a map is not defined.
    points : (n_points, 3) float32
        mm, world.
    offsets : (n_streamlines + 1,) int64
    lengths_mm : (n_streamlines,) float32
        From `streamline_lengths`; along a streamline without length every point counts alike.
    to_voxel : (3, 4) float64
        World -> voxel coordinates of the maps' grid.

    Returns
    -------
    (n_maps, n_streamlines) float32
        NaN where a streamline never met the map.
    """
    n_streamlines, n_maps = len(offsets) - 1, volumes.shape[3]
    means = np.empty((n_maps, n_streamlines), np.float32)
    for s in prange(n_streamlines):
        room = np.empty((3, n_maps))
        _integrate(volumes, points, offsets[s], offsets[s + 1], to_voxel, lengths_mm[s] == 0.0, room)
        for m in range(n_maps):
            means[m, s] = room[1, m] / room[2, m] if room[2, m] > 0.0 else np.nan
    return means


@parallel_kernel
def end_directions(points: NDArray[np.float32], offsets: NDArray[np.int64], over_mm: float) -> NDArray[np.float32]:
    """Direction in which each streamline leaves through each of its ends.

    From the first point that is at least `over_mm` away along the streamline, or else from its other end: a single
    segment may be too short to have a direction, as where an end is cropped.

    Parameters
    ----------
    points : (n_points, 3) float32
        mm.
    offsets : (n_streamlines + 1,) int64
    over_mm : float

    Returns
    -------
    (n_streamlines, 2, 3) float32
        Unit vectors at the first and the last point; zeros for a streamline without length.
    """
    directions = np.zeros((len(offsets) - 1, 2, 3), np.float32)
    for s in prange(len(offsets) - 1):
        first, last = offsets[s], offsets[s + 1] - 1
        for side in range(2):
            end, step = (first, 1) if side == 0 else (last, -1)
            inner, run_mm = end, 0.0
            while run_mm < over_mm and first <= inner + step <= last:
                run_mm += segment_mm(points, min(inner, inner + step))
                inner += step
            length_mm = 0.0
            for axis in range(3):
                length_mm += (np.float64(points[end, axis]) - np.float64(points[inner, axis])) ** 2
            length_mm = np.sqrt(length_mm)
            if length_mm > 0.0:
                for axis in range(3):
                    directions[s, side, axis] = (points[end, axis] - points[inner, axis]) / length_mm
    return directions
