"""The orientation field as the engine reads it: packed rows that carry all that a point needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import bare_kernel, parallel_kernel, prange
from tractome.kernels.tracking.types import FA, INSIDE, N_EXTRA, PEAK, Field, Floats, Ints

_LANES = 8
_VOXELS_PER_WORKER = 256


def n_columns(n_coeffs: int) -> int:
    """Columns of a packed row: the coefficients and the extra columns, up to a multiple of a vector's lanes."""
    return -(-(n_coeffs + N_EXTRA) // _LANES) * _LANES


def pack_field(
    coefficients: NDArray[np.float32],
    mask: NDArray[np.bool_],
    fa: NDArray[np.float32] | None,
    basis: NDArray[np.float32],
) -> Field:
    """Lay an orientation field out for the engine.

    Parameters
    ----------
    coefficients : (n_voxels, n_coeffs) float32
        SH coefficients of the voxels of the mask; not finite counts as 0.
    mask : (nx, ny, nz) bool
    fa : (n_voxels,) float32 or None
        None where FA stops nothing.
    basis : (n, n_columns) float32
        Basis of the directions that can be taken, closed under reversal, padded as the rows are.

    Returns
    -------
    Field
    """
    n_voxels, n_coeffs = coefficients.shape
    rows = np.zeros((n_voxels + 1, n_columns(n_coeffs)), np.float32)
    rows[:-1, :n_coeffs] = np.nan_to_num(coefficients, nan=0.0, posinf=0.0, neginf=0.0)
    highest_amplitudes(rows, basis[: len(basis) // 2])
    rows[:-1, INSIDE] = 1.0
    rows[:-1, FA] = 1.0 if fa is None else np.nan_to_num(fa)  # FA that is not defined: no fibre
    row_of = np.full([n + 2 for n in mask.shape], n_voxels, np.int32)
    row_of[1:-1, 1:-1, 1:-1][mask] = np.arange(n_voxels, dtype=np.int32)
    return Field(rows, row_of)


@parallel_kernel
def highest_amplitudes(rows: NDArray[np.float32], basis: NDArray[np.float32]) -> None:
    """Put each row's highest amplitude over the directions of a basis (n, n_columns), at least 0, into its column."""
    n_rows = rows.shape[0]
    for worker in prange((n_rows + _VOXELS_PER_WORKER - 1) // _VOXELS_PER_WORKER):
        for row in range(worker * _VOXELS_PER_WORKER, min((worker + 1) * _VOXELS_PER_WORKER, n_rows)):
            highest = np.float32(0.0)
            for direction in range(basis.shape[0]):
                value = np.float32(0.0)
                for column in range(basis.shape[1]):
                    value += basis[direction, column] * rows[row, column]
                if value > highest:
                    highest = value
            rows[row, PEAK] = highest


def plain_cells(fractions: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Cubes between eight voxel centres in which the tissue cannot stop a streamline.

    White matter (with lesions) reaches grey matter, exceeds CSF, and all together reach one half: where these linear
    conditions hold at the eight corners, they hold at every point between, and need not be looked at there.

    Parameters
    ----------
    fractions : (x, y, z, 5) float32
        Five-tissue-type order.

    Returns
    -------
    (x - 1, y - 1, z - 1) uint8
    """
    cortex, deep, white, csf, lesion = np.moveaxis(fractions, -1, 0)
    fine = (white + lesion >= cortex + deep) & (white + lesion > csf) & (fractions.sum(axis=-1) >= np.float32(0.5))
    for axis in range(3):
        n = fine.shape[axis]
        fine = np.take(fine, range(n - 1), axis) & np.take(fine, range(1, n), axis)
    return fine.astype(np.uint8)


@bare_kernel
def look(rows: Floats, row_of: Ints, x: float, y: float, z: float, sh: Floats) -> bool:
    """Interpolate the field at a point (voxel coordinates) into `sh`; False, and zeros, outside the image."""
    nx, ny, nz = row_of.shape
    n = rows.shape[1]
    # The border of `row_of` begins at -1.
    if not (-1.0 <= x < nx - 2 and -1.0 <= y < ny - 2 and -1.0 <= z < nz - 2):
        for column in range(n):
            sh[column] = np.float32(0.0)
        return False
    x0, y0, z0 = np.floor(x), np.floor(y), np.floor(z)
    i, j, k = int(x0) + 1, int(y0) + 1, int(z0) + 1
    fx, fy, fz = np.float32(x - x0), np.float32(y - y0), np.float32(z - z0)
    gx, gy, gz = np.float32(1.0) - fx, np.float32(1.0) - fy, np.float32(1.0) - fz
    a0, a1, a2, a3 = row_of[i, j, k], row_of[i, j, k + 1], row_of[i, j + 1, k], row_of[i, j + 1, k + 1]
    i += 1
    b0, b1, b2, b3 = row_of[i, j, k], row_of[i, j, k + 1], row_of[i, j + 1, k], row_of[i, j + 1, k + 1]
    u0, u1, u2, u3 = gx * gy * gz, gx * gy * fz, gx * fy * gz, gx * fy * fz
    v0, v1, v2, v3 = fx * gy * gz, fx * gy * fz, fx * fy * gz, fx * fy * fz
    for column in range(n):
        sh[column] = (
            (u0 * rows[a0, column] + u1 * rows[a1, column]) + (u2 * rows[a2, column] + u3 * rows[a3, column])
        ) + ((v0 * rows[b0, column] + v1 * rows[b1, column]) + (v2 * rows[b2, column] + v3 * rows[b3, column]))
    return True


@bare_kernel
def amplitude(basis: Floats, direction: int, sh: Floats) -> np.float32:
    """Amplitude of the interpolated field along a direction of the sphere."""
    value = np.float32(0.0)
    for column in range(basis.shape[1]):
        value += basis[direction, column] * sh[column]
    return value
