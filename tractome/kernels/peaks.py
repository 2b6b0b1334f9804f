"""Largest peaks of spherical harmonic fields."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel, parallel_kernel, prange
from tractome.kernels.harmonics import sh_basis, spread_directions

Array = NDArray[Any]

N_SEARCH_DIRECTIONS = 724
N_NEIGHBOURS = 12
VOXELS_PER_CALL = 8192


@lru_cache(maxsize=2)
def _search_tables(n_directions: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Directions, their nearest neighbours (either end), and per direction the local quadratic fit of a peak.

    The fit maps amplitude differences to neighbours onto (gx, gy, hxx, hxy, hyy) in a tangent frame; its two axes are
    rows 5 and 6 of each (7, N_NEIGHBOURS) block, padded.
    """
    directions = spread_directions(n_directions)
    cosine = directions @ directions.T
    order = np.argsort(-np.abs(cosine), axis=1, kind="stable")
    neighbours = order[:, 1 : N_NEIGHBOURS + 1].astype(np.int64)
    fits = np.zeros((n_directions, 7, N_NEIGHBOURS))
    for i, axis in enumerate(directions):
        first = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
        first /= np.linalg.norm(first)
        second = np.cross(axis, first)
        near = directions[neighbours[i]] * np.sign(cosine[i, neighbours[i]])[:, None]
        x, y = (near @ first) / (near @ axis), (near @ second) / (near @ axis)
        model = np.stack([x, y, 0.5 * x**2, x * y, 0.5 * y**2], axis=1)
        fits[i, :5] = np.linalg.pinv(model)
        fits[i, 5, :3], fits[i, 6, :3] = first, second
    return directions, neighbours, fits


@kernel
def _peaks_of_voxels(
    first: int,
    last: int,
    coefficients: Array,
    columns: Array,
    directions: Array,
    neighbours: Array,
    fits: Array,
    out_directions: Array,
    out_amplitudes: Array,
) -> None:
    """Voxels `first` to `last`; see `_largest_peaks`."""
    n, n_directions, n_peaks = coefficients.shape[1], len(directions), out_amplitudes.shape[1]
    amplitude = np.empty(n_directions)
    for voxel in range(first, last):
        for i in range(n_directions):
            amplitude[i] = 0.0
        for j in range(n):
            a = coefficients[voxel, j]
            for i in range(n_directions):
                amplitude[i] += a * columns[j, i]
        for i in range(n_peaks):
            out_amplitudes[voxel, i] = 0.0
            for c in range(3):
                out_directions[voxel, i, c] = 0.0
        for i in range(n_directions):
            here = amplitude[i]
            if not here > out_amplitudes[voxel, n_peaks - 1]:
                continue
            is_peak = True
            for k in range(neighbours.shape[1] // 2):
                if amplitude[neighbours[i, k]] > here:
                    is_peak = False
                    break
            if not is_peak:
                continue
            slot = n_peaks - 1
            while slot > 0 and out_amplitudes[voxel, slot - 1] < here:
                out_amplitudes[voxel, slot] = out_amplitudes[voxel, slot - 1]
                for c in range(3):
                    out_directions[voxel, slot, c] = out_directions[voxel, slot - 1, c]
                slot -= 1
            gx = gy = hxx = hxy = hyy = 0.0
            for k in range(neighbours.shape[1]):
                rise = amplitude[neighbours[i, k]] - here
                gx += fits[i, 0, k] * rise
                gy += fits[i, 1, k] * rise
                hxx += fits[i, 2, k] * rise
                hxy += fits[i, 3, k] * rise
                hyy += fits[i, 4, k] * rise
            determinant = hxx * hyy - hxy * hxy
            x = y = 0.0
            if determinant > 0.0 and hxx < 0.0:
                x = -(hyy * gx - hxy * gy) / determinant
                y = -(hxx * gy - hxy * gx) / determinant
                # A peak is at most about one spacing away from the best direction.
                if x * x + y * y > 0.01:
                    x = y = 0.0
            norm = np.sqrt(1.0 + x * x + y * y)
            for c in range(3):
                out_directions[voxel, slot, c] = (directions[i, c] + x * fits[i, 5, c] + y * fits[i, 6, c]) / norm
            out_amplitudes[voxel, slot] = here


@parallel_kernel
def _largest_peaks(
    coefficients: Array,
    columns: Array,
    directions: Array,
    neighbours: Array,
    fits: Array,
    out_directions: Array,
    out_amplitudes: Array,
) -> None:
    """Fill the peaks of each voxel, largest first; see `largest_peaks`."""
    n_voxels = len(coefficients)
    for task in prange((n_voxels + 63) // 64):
        _peaks_of_voxels(
            task * 64,
            min(task * 64 + 64, n_voxels),
            coefficients,
            columns,
            directions,
            neighbours,
            fits,
            out_directions,
            out_amplitudes,
        )


def largest_peaks(
    coefficients: NDArray[np.float32], lmax: int, n_peaks: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Largest local maxima of each field.

    Parameters
    ----------
    coefficients : (n_voxels, n_coeffs) float32
        In the basis of `harmonics.sh_basis`.
    lmax, n_peaks : int

    Returns
    -------
    directions : (n_voxels, n_peaks, 3) float64
        Unit, largest first, each standing for both its ends; zeros where there is no such peak. Within about half a
        degree of the true maximum.
    amplitudes : (n_voxels, n_peaks) float64
        0 where there is no such peak; only positive maxima count.
    """
    table, neighbours, fits = _search_tables(N_SEARCH_DIRECTIONS)
    columns = np.ascontiguousarray(sh_basis(table, lmax).T)
    n_voxels = len(coefficients)
    directions = np.empty((n_voxels, n_peaks, 3))
    amplitudes = np.empty((n_voxels, n_peaks))
    for first in range(0, n_voxels, VOXELS_PER_CALL):
        block = slice(first, first + VOXELS_PER_CALL)
        part = np.ascontiguousarray(coefficients[block])
        _largest_peaks(part, columns, table, neighbours, fits, directions[block], amplitudes[block])
    return directions, amplitudes
