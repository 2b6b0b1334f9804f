"""Eigenvalues and principal directions of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel, parallel_kernel, prange
from tractome.kernels.tensor.types import VOXELS_PER_TASK

Array = NDArray[Any]


@kernel
def eigen(xx: float, xy: float, yy: float, xz: float, yz: float, zz: float, values: Array, vectors: Array) -> None:
    """Eigenvalues, falling, and eigenvectors (columns) of one symmetric matrix, by cyclic Jacobi rotations."""
    a = np.empty((3, 3))
    a[0, 0], a[1, 1], a[2, 2] = xx, yy, zz
    a[0, 1] = a[1, 0] = xy
    a[0, 2] = a[2, 0] = xz
    a[1, 2] = a[2, 1] = yz
    for i in range(3):
        for j in range(3):
            vectors[i, j] = 1.0 if i == j else 0.0
    for _ in range(12):
        off = a[0, 1] ** 2 + a[0, 2] ** 2 + a[1, 2] ** 2
        if not off > 1e-30 * (a[0, 0] ** 2 + a[1, 1] ** 2 + a[2, 2] ** 2):
            break
        for p in range(2):
            for q in range(p + 1, 3):
                if a[p, q] == 0.0:
                    continue
                theta = (a[q, q] - a[p, p]) / (2.0 * a[p, q])
                t = (1.0 if theta >= 0.0 else -1.0) / (abs(theta) + np.sqrt(theta * theta + 1.0))
                c = 1.0 / np.sqrt(t * t + 1.0)
                s = t * c
                for k in range(3):
                    u, v = a[k, p], a[k, q]
                    a[k, p], a[k, q] = c * u - s * v, s * u + c * v
                for k in range(3):
                    u, v = a[p, k], a[q, k]
                    a[p, k], a[q, k] = c * u - s * v, s * u + c * v
                for k in range(3):
                    u, v = vectors[k, p], vectors[k, q]
                    vectors[k, p], vectors[k, q] = c * u - s * v, s * u + c * v
    for i in range(3):
        values[i] = a[i, i]
    for i in range(2):
        for j in range(2 - i):
            if values[j] < values[j + 1]:
                values[j], values[j + 1] = values[j + 1], values[j]
                for k in range(3):
                    vectors[k, j], vectors[k, j + 1] = vectors[k, j + 1], vectors[k, j]


@parallel_kernel
def decompose(tensors: Array, values: Array, principal: Array) -> None:
    """Eigenvalues and principal direction of every tensor.

    Parameters
    ----------
    tensors : (k, 6) float32
        As `fit_tensors` writes them.
    values : (k, 3) float64
        Written: eigenvalues, falling, mm2/s; NaN where the tensor is not finite.
    principal : (k, 3) float64
        Written: unit eigenvector of the largest one, its largest component positive; zeros where not finite.
    """
    n_voxels = len(tensors)
    for task in prange((n_voxels + VOXELS_PER_TASK - 1) // VOXELS_PER_TASK):
        own, vectors = np.empty(3), np.empty((3, 3))
        for voxel in range(task * VOXELS_PER_TASK, min((task + 1) * VOXELS_PER_TASK, n_voxels)):
            total = 0.0
            for i in range(6):
                total += np.float64(tensors[voxel, i])
            if not np.isfinite(total):
                values[voxel] = np.nan
                principal[voxel] = 0.0
                continue
            t = tensors[voxel]
            eigen(
                np.float64(t[0]), np.float64(t[1]), np.float64(t[2]), np.float64(t[3]), np.float64(t[4]),
                np.float64(t[5]), own, vectors,
            )  # fmt: skip
            largest = 0
            for i in range(1, 3):
                if abs(vectors[i, 0]) > abs(vectors[largest, 0]):
                    largest = i
            sign = 1.0 if vectors[largest, 0] > 0.0 else -1.0
            for i in range(3):
                values[voxel, i] = own[i]
                principal[voxel, i] = sign * vectors[i, 0]
