"""Diffusion tensors by linear least squares on the logarithm of the signal, and what follows from a tensor.

The model of one measurement is ``log s = log s0 - b g'Dg``. Weighted least squares gives each measurement the square
of the signal that a first, unweighted fit predicts (Salvador et al. 2005); repeating that with the weighted fit's own
prediction is the iteratively reweighted fit (Veraart et al. 2013).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel, parallel_kernel, prange

Array = NDArray[Any]

FITTED = 0
NOT_DETERMINED = 1
"""Status of a voxel: fitted, or fewer usable signals than the seven unknowns need."""

B_SCALE_S_PER_MM2 = 1000.0
"""b-values are divided by this inside the kernels, so that all unknowns are of order one."""

N_UNKNOWNS = 7
N_PRODUCTS = 28
VOXELS_PER_TASK = 64


def tensor_design(bvals: NDArray[np.floating], bvecs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Design matrix of the logarithm of the signal.

    Parameters
    ----------
    bvals : (v,) float
        s/mm2.
    bvecs : (v, 3) float
        Directions; a length other than one scales the b-value by its square.

    Returns
    -------
    (v, 7) float64
        For log s0, then Dxx, Dxy, Dyy, Dxz, Dyz, Dzz in 1e-3 mm2/s.
    """
    b = np.asarray(bvals, dtype=np.float64)[:, None] / B_SCALE_S_PER_MM2
    x, y, z = np.asarray(bvecs, dtype=np.float64).T[:, :, None]
    columns = [np.ones_like(b), -b * x * x, -2 * b * x * y, -b * y * y, -2 * b * x * z, -2 * b * y * z, -b * z * z]
    return np.concatenate(columns, axis=1)


@kernel
def bend_gradients(design: Array, deviation: Array, out: Array) -> None:
    """Design rows of one voxel with gradient nonlinearity: every direction g becomes ``(I + deviation) g``.

    The quadratic form b g'Dg turns into b g'(I + L)'D(I + L)g, so each row's six tensor entries are the row's symmetric
    matrix with (I + L) on both sides.
    """
    m = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            m[i, j] = deviation[i, j] + (1.0 if i == j else 0.0)
    for v in range(design.shape[0]):
        xx, xy, yy = design[v, 1], 0.5 * design[v, 2], design[v, 3]
        xz, yz, zz = 0.5 * design[v, 4], 0.5 * design[v, 5], design[v, 6]
        out[v, 0] = design[v, 0]
        position = 1
        for i in range(3):
            a = m[i, 0] * xx + m[i, 1] * xy + m[i, 2] * xz
            b = m[i, 0] * xy + m[i, 1] * yy + m[i, 2] * yz
            c = m[i, 0] * xz + m[i, 1] * yz + m[i, 2] * zz
            for j in range(i + 1):
                value = a * m[j, 0] + b * m[j, 1] + c * m[j, 2]
                out[v, position] = value if i == j else 2.0 * value
                position += 1


@kernel
def fill_products(design: Array, out: Array) -> None:
    """Upper triangle, packed by rows, of each design row's outer product with itself, (v, 28) into `out`."""
    for v in range(design.shape[0]):
        position = 0
        for i in range(N_UNKNOWNS):
            for j in range(i, N_UNKNOWNS):
                out[v, position] = design[v, i] * design[v, j]
                position += 1


@kernel
def invert_spd(packed: Array, out: Array) -> bool:
    """Inverse (7, 7) of a packed symmetric positive definite matrix; False when it is not, to working precision."""
    n = N_UNKNOWNS
    a = np.empty((n, n))
    position = 0
    for i in range(n):
        for j in range(i, n):
            a[i, j] = packed[position]
            a[j, i] = packed[position]
            position += 1
    # Gauss-Jordan without pivoting is stable here; a pivot that lost 12 digits means an unknown is not determined.
    for i in range(n):
        out[i, :] = 0.0
        out[i, i] = 1.0
    for i in range(n):
        pivot = a[i, i]
        if not pivot > 1e-12 * packed[i * n - i * (i - 1) // 2]:
            return False
        inverse = 1.0 / pivot
        for j in range(n):
            a[i, j] *= inverse
            out[i, j] *= inverse
        for k in range(n):
            if k != i:
                factor = a[k, i]
                for j in range(n):
                    a[k, j] -= factor * a[i, j]
                    out[k, j] -= factor * out[i, j]
    return True


@kernel
def normal_equations(products: Array, design: Array, weights: Array, logs: Array, packed: Array, right: Array) -> None:
    """Sums ``D'WD`` (packed, 28) and ``D'Wy`` (7)."""
    packed[:] = 0.0
    right[:] = 0.0
    for v in range(design.shape[0]):
        w = weights[v]
        for i in range(N_PRODUCTS):
            packed[i] += w * products[v, i]
        w *= logs[v]
        for i in range(N_UNKNOWNS):
            right[i] += w * design[v, i]


@kernel
def fit_weighted(
    design: Array,
    products: Array,
    logs: Array,
    usable: Array,
    n_reweightings: int,
    weights: Array,
    packed: Array,
    right: Array,
    inverse: Array,
    x: Array,
) -> bool:
    """One voxel: ordinary fit, then `n_reweightings` fits weighted by the predicted signal's square.

    `usable` is 1.0 for a measurement and 0.0 where there is none. Leaves the last weights, relative to the largest
    predicted signal, in `weights`, the inverse of the last normal matrix in `inverse` and the unknowns in `x`. False
    when the unknowns are not determined.
    """
    for v in range(design.shape[0]):
        weights[v] = usable[v]
    for fit in range(n_reweightings + 1):
        if fit > 0:
            highest = -np.inf
            for v in range(design.shape[0]):
                predicted = 0.0
                for i in range(N_UNKNOWNS):
                    predicted += design[v, i] * x[i]
                weights[v] = predicted
                if usable[v] > 0.0:
                    highest = max(highest, predicted)
            for v in range(design.shape[0]):
                weights[v] = np.exp(2.0 * (weights[v] - highest)) if usable[v] > 0.0 else 0.0
        normal_equations(products, design, weights, logs, packed, right)
        if not invert_spd(packed, inverse):
            return False
        for i in range(N_UNKNOWNS):
            total = 0.0
            for j in range(N_UNKNOWNS):
                total += inverse[i, j] * right[j]
            x[i] = total
    return True


@kernel
def take_logarithms(signal: Array, volumes: Array, logs: Array, usable: Array) -> int:
    """Logarithms of one voxel's usable signals; returns how many are not: not finite, zero or negative."""
    n_left_out = 0
    for v in range(len(volumes)):
        value = np.float64(signal[volumes[v]])
        if np.isfinite(value) and value > 0.0:
            logs[v], usable[v] = np.log(value), 1.0
        else:
            logs[v], usable[v] = 0.0, 0.0
            n_left_out += 1
    return n_left_out


@parallel_kernel
def fit_tensors(
    signal: Array,
    volumes: Array,
    design: Array,
    n_reweightings: int,
    deviations: Array,
    tensors: Array,
    s0: Array,
    status: Array,
    n_left_out: Array,
) -> None:
    """Fit every voxel of a block.

    Parameters
    ----------
    signal : (k, all volumes) float32
    volumes : (v,) int64
        Columns to use.
    design : (v, 7) float64
        From `tensor_design`.
    n_reweightings : int
        0 for the ordinary fit, 1 for the weighted one, more for the iteratively reweighted one.
    deviations : (k, 3, 3) float32
        Gradient nonlinearity L in the axes of the design, so that g becomes (I + L) g; (0, 3, 3) for none.
    tensors : (k, 6) float32
        Written: Dxx, Dxy, Dyy, Dxz, Dyz, Dzz, mm2/s; NaN where not determined.
    s0 : (k,) float32
        Written: signal at b = 0, in the units of the scan; NaN where not determined.
    status : (k,) int8
        Written: `FITTED` or `NOT_DETERMINED`.
    n_left_out : (k,) int32
        Written: measurements left out because their signal was zero, negative or not finite.
    """
    n_voxels, n_volumes = signal.shape[0], len(volumes)
    shared_products = np.empty((n_volumes, N_PRODUCTS))
    fill_products(design, shared_products)
    for task in prange((n_voxels + VOXELS_PER_TASK - 1) // VOXELS_PER_TASK):
        logs, usable, weights = np.empty(n_volumes), np.empty(n_volumes), np.empty(n_volumes)
        packed, right = np.empty(N_PRODUCTS), np.empty(N_UNKNOWNS)
        inverse, x = np.empty((N_UNKNOWNS, N_UNKNOWNS)), np.empty(N_UNKNOWNS)
        own_design, own_products = design, shared_products
        if len(deviations) > 0:
            own_design, own_products = np.empty_like(design), np.empty_like(shared_products)
        for voxel in range(task * VOXELS_PER_TASK, min((task + 1) * VOXELS_PER_TASK, n_voxels)):
            n_left_out[voxel] = take_logarithms(signal[voxel], volumes, logs, usable)
            if len(deviations) > 0:
                bend_gradients(design, deviations[voxel], own_design)
                fill_products(own_design, own_products)
            fitted = fit_weighted(
                own_design, own_products, logs, usable, n_reweightings, weights, packed, right, inverse, x
            )
            status[voxel] = FITTED if fitted else NOT_DETERMINED
            s0[voxel] = np.exp(x[0]) if fitted else np.nan
            for i in range(6):
                tensors[voxel, i] = x[i + 1] / B_SCALE_S_PER_MM2 if fitted else np.nan


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


def anisotropy(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fractional anisotropy (k,), in [0, 1], of eigenvalues (k, 3); negative ones count as 0; 0 for a zero tensor."""
    clipped = np.maximum(values, 0.0)
    mean = clipped.mean(axis=1, keepdims=True)
    norm = np.sqrt((clipped**2).sum(axis=1))
    spread = np.sqrt(1.5 * ((clipped - mean) ** 2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return np.where(norm == 0.0, 0.0, np.minimum(spread / norm, 1.0))
