"""Scalar maps of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel, parallel_kernel, prange
from tractome.kernels.tensor.types import VOXELS_PER_TASK

Array = NDArray[Any]


@kernel
def eigenvalues(xx: float, xy: float, yy: float, xz: float, yz: float, zz: float) -> tuple[float, float, float]:
    """Eigenvalues, falling, of one symmetric matrix, from the roots of its characteristic polynomial.

    To about 1e-8 of the largest one (Smith 1961): enough for maps in single precision at a tenth of the time of
    rotations.
    """
    mean = (xx + yy + zz) / 3.0
    a, b, c = xx - mean, yy - mean, zz - mean
    off = xy * xy + xz * xz + yz * yz
    size = np.sqrt((a * a + b * b + c * c + 2.0 * off) / 6.0)
    if not size > 0.0:
        return mean, mean, mean
    determinant = a * (b * c - yz * yz) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz)
    angle = np.arccos(min(max(0.5 * determinant / (size * size * size), -1.0), 1.0)) / 3.0
    high = mean + 2.0 * size * np.cos(angle)
    low = mean + 2.0 * size * np.cos(angle + 2.0943951023931953)
    return high, 3.0 * mean - high - low, low


@parallel_kernel
def tensor_scalars(tensors: Array, start: int, stop: int, maps: Array) -> None:
    """FA, MD, AD and RD of the tensors from `start` to before `stop`, negative eigenvalues taken as 0.

    Parameters
    ----------
    tensors : (k, 6) float32
        As `fit_tensors` writes them.
    maps : (4, k) float32
        Written: fractional anisotropy (in [0, 1]; 0 for a zero tensor), mean, largest, and mean of the two smaller
        eigenvalues, in the tensor's unit; NaN where the tensor is not finite.
    """
    for task in prange((stop - start + VOXELS_PER_TASK - 1) // VOXELS_PER_TASK):
        for voxel in range(start + task * VOXELS_PER_TASK, min(start + (task + 1) * VOXELS_PER_TASK, stop)):
            t = tensors[voxel]
            largest = np.float64(0.0)
            for i in range(6):
                largest = max(largest, abs(np.float64(t[i])))
            total = np.float64(t[0]) + t[1] + t[2] + t[3] + t[4] + t[5]
            if not np.isfinite(total):
                maps[:, voxel] = np.nan
                continue
            # In units of the largest entry, so that cubes of 1e-3 mm2/s lose nothing.
            scale = 1.0 / largest if largest > 0.0 else 0.0
            high, middle, low = eigenvalues(
                t[0] * scale, t[1] * scale, t[2] * scale, t[3] * scale, t[4] * scale, t[5] * scale
            )
            high, middle, low = max(high, 0.0), max(middle, 0.0), max(low, 0.0)
            mean = (high + middle + low) / 3.0
            norm = high * high + middle * middle + low * low
            spread = (high - mean) ** 2 + (middle - mean) ** 2 + (low - mean) ** 2
            maps[0, voxel] = min(np.sqrt(1.5 * spread / norm), 1.0) if norm > 0.0 else 0.0
            maps[1, voxel] = mean * largest
            maps[2, voxel] = high * largest
            maps[3, voxel] = 0.5 * (middle + low) * largest
