"""Values between voxel centres, trilinear, in voxel coordinates (integers are voxel centres)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import bare_kernel


@bare_kernel
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
