"""Values between voxel centres, trilinear, in voxel coordinates (integers are voxel centres)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel


@kernel
def packed_trilinear(
    rows: NDArray[np.float32],
    row_of: NDArray[np.int32],
    x: float,
    y: float,
    z: float,
    out: NDArray[np.float32],
) -> float:
    """Trilinear interpolation of packed rows of numbers.

    Parameters
    ----------
    rows : (n_voxels, k) float32
        One row of numbers per voxel of a mask.
    row_of : (nx, ny, nz) int32
        Row of each voxel; -1 outside the mask, which counts as a row of zeros, as does everything outside the volume.
    x, y, z : float
        Voxel coordinates.
    out : (k,) float32
        Receives the interpolated numbers.

    Returns
    -------
    float
        Share of the eight weights that fell inside the mask, 0 to 1.
    """
    nx, ny, nz = row_of.shape
    x0, y0, z0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    fx, fy, fz = x - x0, y - y0, z - z0
    n_columns = rows.shape[1]
    out[:] = 0.0
    inside = 0.0
    for dx in range(2):
        i = x0 + dx
        if i < 0 or i >= nx:
            continue
        wx = fx if dx else 1.0 - fx
        for dy in range(2):
            j = y0 + dy
            if j < 0 or j >= ny:
                continue
            wxy = wx * (fy if dy else 1.0 - fy)
            for dz in range(2):
                k = z0 + dz
                if k < 0 or k >= nz:
                    continue
                row = row_of[i, j, k]
                weight = wxy * (fz if dz else 1.0 - fz)
                if row < 0 or weight == 0.0:
                    continue
                inside += weight
                w = np.float32(weight)
                values = rows[row]
                for column in range(n_columns):
                    out[column] += w * values[column]
    return inside


@kernel
def trilinear(volume: NDArray[np.float32], x: float, y: float, z: float) -> float:
    """Trilinear interpolation of a volume (nx, ny, nz) at voxel coordinates; zeros outside the volume."""
    nx, ny, nz = volume.shape
    x0, y0, z0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    fx, fy, fz = x - x0, y - y0, z - z0
    value = 0.0
    for dx in range(2):
        i = x0 + dx
        if i < 0 or i >= nx:
            continue
        wx = fx if dx else 1.0 - fx
        for dy in range(2):
            j = y0 + dy
            if j < 0 or j >= ny:
                continue
            wxy = wx * (fy if dy else 1.0 - fy)
            for dz in range(2):
                k = z0 + dz
                if 0 <= k < nz:
                    value += wxy * (fz if dz else 1.0 - fz) * volume[i, j, k]
    return value


@kernel
def multi_trilinear(volume: NDArray[np.float32], x: float, y: float, z: float, out: NDArray[np.float64]) -> None:
    """Trilinear interpolation of every channel of a volume (nx, ny, nz, k) into `out` (k,); zeros outside."""
    nx, ny, nz, n_channels = volume.shape
    x0, y0, z0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    fx, fy, fz = x - x0, y - y0, z - z0
    out[:] = 0.0
    for dx in range(2):
        i = x0 + dx
        if i < 0 or i >= nx:
            continue
        wx = fx if dx else 1.0 - fx
        for dy in range(2):
            j = y0 + dy
            if j < 0 or j >= ny:
                continue
            wxy = wx * (fy if dy else 1.0 - fy)
            for dz in range(2):
                k = z0 + dz
                if 0 <= k < nz:
                    weight = wxy * (fz if dz else 1.0 - fz)
                    for channel in range(n_channels):
                        out[channel] += weight * volume[i, j, k, channel]
