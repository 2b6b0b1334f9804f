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
        if np.isnan(volumes[i, j, k, m]):
            continue
        if is_inside:
            # The usual case, eight defined corners, without a branch; one NaN among them sends us to the loop below.
            low = gx * (gy * volumes[i0, j0, k0, m] + fy * volumes[i0, j0 + 1, k0, m])
            low += fx * (gy * volumes[i0 + 1, j0, k0, m] + fy * volumes[i0 + 1, j0 + 1, k0, m])
            high = gx * (gy * volumes[i0, j0, k0 + 1, m] + fy * volumes[i0, j0 + 1, k0 + 1, m])
            high += fx * (gy * volumes[i0 + 1, j0, k0 + 1, m] + fy * volumes[i0 + 1, j0 + 1, k0 + 1, m])
            out[m] = gz * low + fz * high
            if out[m] == out[m]:
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


@parallel_kernel
def streamline_lengths(
    points: NDArray[np.float32], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Length of each streamline, and the share of it that each point stands for.

    Parameters
    ----------
    points : (n_points, 3) float32
        mm.
    offsets : (n_streamlines + 1,) int64

    Returns
    -------
    lengths : (n_streamlines,) float64
        Sum of the segments, mm; 0 for a single point.
    shares : (n_points,) float64
        Half of the segments next to each point, mm; 1 for every point of a streamline without length.
    """
    n_streamlines = len(offsets) - 1
    lengths = np.zeros(n_streamlines, np.float64)
    shares = np.zeros(len(points), np.float64)
    for s in prange(n_streamlines):
        total = 0.0
        for n in range(offsets[s], offsets[s + 1] - 1):
            dx = np.float64(points[n + 1, 0]) - np.float64(points[n, 0])
            dy = np.float64(points[n + 1, 1]) - np.float64(points[n, 1])
            dz = np.float64(points[n + 1, 2]) - np.float64(points[n, 2])
            segment = np.sqrt(dx * dx + dy * dy + dz * dz)
            shares[n] += 0.5 * segment
            shares[n + 1] += 0.5 * segment
            total += segment
        lengths[s] = total
        if total == 0.0:
            for n in range(offsets[s], offsets[s + 1]):
                shares[n] = 1.0
    return lengths, shares


@parallel_kernel
def streamline_means(
    volumes: NDArray[np.float32],
    points_vox: NDArray[np.float64],
    offsets: NDArray[np.int64],
    shares: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Mean of several maps along each streamline, weighted by the length that each point stands for.

    Parameters
    ----------
    volumes : (x, y, z, n_maps) float32
        NaN where a map is not defined.
    points_vox : (n_points, 3) float64
        Voxel coordinates of the maps' grid.
    offsets : (n_streamlines + 1,) int64
    shares : (n_points,) float64
        From `streamline_lengths`, mm.

    Returns
    -------
    (n_maps, n_streamlines) float32
        NaN where a streamline never met the map.
    """
    n_streamlines, n_maps = len(offsets) - 1, volumes.shape[3]
    means = np.empty((n_maps, n_streamlines), np.float32)
    for s in prange(n_streamlines):
        values = np.empty(n_maps, np.float64)
        integrals = np.zeros(n_maps, np.float64)
        weights = np.zeros(n_maps, np.float64)
        for n in range(offsets[s], offsets[s + 1]):
            sample_trilinear(volumes, points_vox[n, 0], points_vox[n, 1], points_vox[n, 2], values)
            for m in range(n_maps):
                if values[m] == values[m]:
                    integrals[m] += shares[n] * values[m]
                    weights[m] += shares[n]
        for m in range(n_maps):
            means[m, s] = integrals[m] / weights[m] if weights[m] > 0.0 else np.nan
    return means
