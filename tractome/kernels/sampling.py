"""Maps sampled along streamlines, and streamline lengths.

The mean along a streamline is the integral of the map over its length, by the trapezoidal rule: each point counts with
half the length of the segments next to it. It is the definition of MRtrix3's ``tcksample -stat_tck mean``
(Tournier et al. 2019, https://doi.org/10.1016/j.neuroimage.2019.116137). Where MRtrix3 takes 0 outside the image and
lets one undefined voxel spoil the streamline, a point without a value is left out here, with its share of the length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import inner_kernel, parallel_kernel, prange


@inner_kernel
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


@inner_kernel
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


@inner_kernel
def _between_defined(
    flat: NDArray[np.float32],
    shape: tuple[int, int, int, int],
    x: float,
    y: float,
    z: float,
    out: NDArray[np.float64],
) -> bool:
    """`sample_trilinear` at a point with eight voxels around it, all defined: the usual case; False in any other.

    ``flat`` holds the volumes one number after the other. Places in it are unsigned, so that none is tested for being
    negative: a third of the time.
    """
    if not (0.0 <= x < shape[0] - 1 and 0.0 <= y < shape[1] - 1 and 0.0 <= z < shape[2] - 1):
        return False
    i, j, k = int(x), int(y), int(z)
    fx, fy, fz = x - i, y - j, z - k
    gx, gy, gz = 1.0 - fx, 1.0 - fy, 1.0 - fz
    n_maps = shape[3]
    next_z = np.uint64(n_maps)
    next_y = np.uint64(shape[2] * n_maps)
    next_x = np.uint64(shape[1] * shape[2] * n_maps)
    corner = np.uint64(((i * shape[1] + j) * shape[2] + k) * n_maps)
    is_defined = True
    for m in range(n_maps):
        at = corner + np.uint64(m)
        low = gx * (gy * flat[at] + fy * flat[at + next_y])
        low += fx * (gy * flat[at + next_x] + fy * flat[at + next_x + next_y])
        at += next_z
        high = gx * (gy * flat[at] + fy * flat[at + next_y])
        high += fx * (gy * flat[at + next_x] + fy * flat[at + next_x + next_y])
        value = gz * low + fz * high
        out[m] = value
        is_defined = is_defined and value == value
    return is_defined


@inner_kernel
def _integrate(
    volumes: NDArray[np.float32],
    flat: NDArray[np.float32],
    points: NDArray[np.float32],
    first: int,
    last: int,
    to_voxel: NDArray[np.float64],
    even: bool,
    room: NDArray[np.float64],
) -> float:
    """Length of a streamline; integral of each map and the length where it is defined, into rows 1 and 2 of `room`.

    `even`: every point counts alike, whatever the length that it stands for. `room` is (3, n_maps).
    """
    n_maps = volumes.shape[3]
    room[1:] = 0.0
    length_mm, before = 0.0, 0.0
    ax, ay, az, a = to_voxel[0, 0], to_voxel[0, 1], to_voxel[0, 2], to_voxel[0, 3]
    bx, by, bz, b = to_voxel[1, 0], to_voxel[1, 1], to_voxel[1, 2], to_voxel[1, 3]
    cx, cy, cz, c = to_voxel[2, 0], to_voxel[2, 1], to_voxel[2, 2], to_voxel[2, 3]
    for n in range(first, last):
        after = 0.0
        if n + 1 < last:
            segment = segment_mm(points, n)
            length_mm += segment
            after = 0.5 * segment
        share = 1.0 if even else before + after
        before = after
        x, y, z = np.float64(points[n, 0]), np.float64(points[n, 1]), np.float64(points[n, 2])
        u, v, w = ax * x + ay * y + az * z + a, bx * x + by * y + bz * z + b, cx * x + cy * y + cz * z + c
        if not _between_defined(flat, volumes.shape, u, v, w, room[0]):
            sample_trilinear(volumes, u, v, w, room[0])
        for m in range(n_maps):
            value = room[0, m]
            if value == value:
                room[1, m] += share * value
                room[2, m] += share
    return length_mm


@parallel_kernel
def streamline_means(
    volumes: NDArray[np.float32],
    points: NDArray[np.float32],
    offsets: NDArray[np.int64],
    to_voxel: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean of several maps along each streamline, each point weighted by half of the segments next to it.

    Along a streamline without length every point counts alike.

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
    means : (n_maps, n_streamlines) float32
        NaN where a streamline never met the map.
    lengths : (n_streamlines,) float32
        As `streamline_lengths`.
    """
    n_streamlines, n_maps = len(offsets) - 1, volumes.shape[3]
    means, lengths = np.empty((n_maps, n_streamlines), np.float32), np.empty(n_streamlines, np.float32)
    flat = volumes.reshape(-1)
    for s in prange(n_streamlines):
        room = np.empty((3, n_maps))
        length_mm = _integrate(volumes, flat, points, offsets[s], offsets[s + 1], to_voxel, False, room)
        if length_mm == 0.0:
            _integrate(volumes, flat, points, offsets[s], offsets[s + 1], to_voxel, True, room)
        lengths[s] = length_mm
        for m in range(n_maps):
            means[m, s] = room[1, m] / room[2, m] if room[2, m] > 0.0 else np.nan
    return means, lengths


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
