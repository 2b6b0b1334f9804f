"""How sure a tensor's principal direction is: residual (wild) bootstrap, kept as an orientation density.

Each measurement's leverage-corrected residual of the weighted fit gets a random sign (Rademacher), the tensor is
fitted again, and its principal direction is one draw (Whitcher et al. 2008). With the weights held, the new unknowns
are the old ones plus a signed sum of fixed vectors, so a draw costs a few hundred multiplications. The draws are
summed up as a density on the sphere in spherical harmonics, which one tracking engine can follow like an FOD.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel, parallel_kernel, prange
from tractome.kernels.harmonics import delta_zonal, orders, zonal_basis
from tractome.kernels.random import keyed_bits, stream_key
from tractome.kernels.tensor import FITTED, N_UNKNOWNS, NOT_DETERMINED, eigen
from tractome.kernels.tensor.fit import straighten
from tractome.kernels.tensor.single import N_PRODUCTS, fill_products, fit_weighted, take_logarithms

Array = NDArray[Any]

VOXELS_PER_TASK = 64
MAX_LEVERAGE = 0.999


def density_kernel(lmax: int) -> NDArray[np.float64]:
    """Factor per SH coefficient for a sharp bump that is nowhere negative and 1 at its top.

    The square of the polynomial of degree lmax / 2 that gathers most of its square around the axis (largest mean
    squared cosine): the narrowest non-negative bump of this order that has no side lobes worth the name.

    Parameters
    ----------
    lmax : int
        A multiple of 4 is used in full; otherwise the highest order is 0.

    Returns
    -------
    (n_coefficients(lmax),) float64
        To be multiplied by the basis at a direction d to give the bump's coefficients around d.
    """
    half = lmax // 4 * 2
    nodes, weights = np.polynomial.legendre.leggauss(2 * lmax + 2)
    powers = nodes[:, None] ** np.arange(0, half + 1, 2)
    orthonormal = np.linalg.qr(powers * np.sqrt(weights)[:, None])[0]
    _, vectors = np.linalg.eigh(orthonormal.T @ (nodes[:, None] ** 2 * orthonormal))
    bump = (orthonormal @ vectors[:, -1]) ** 2 / weights
    zonal = 2.0 * np.pi * (zonal_basis(nodes, lmax) * (bump * weights)[:, None]).sum(axis=0)
    zonal /= float((zonal_basis(np.ones(1), lmax) @ zonal)[0])
    order, _ = orders(lmax)
    return np.asarray((zonal / delta_zonal(lmax))[order // 2])


@kernel
def add_harmonics(x: float, y: float, z: float, lmax: int, legendre: Array, out: Array) -> None:
    """Add the SH basis at the unit direction (x, y, z) to `out`; `legendre` is (lmax + 1, lmax + 1) scratch.

    The same functions as `harmonics.sh_basis`, with sin(theta)^m cos(m phi) and its sine taken from x and y by
    recurrence, so that no angle is ever computed.
    """
    # legendre[l, m] holds N P_l^m / sin(theta)^m.
    legendre[0, 0] = np.sqrt(0.25 / np.pi)
    for m in range(1, lmax + 1):
        legendre[m, m] = -np.sqrt((2.0 * m + 1.0) / (2.0 * m)) * legendre[m - 1, m - 1]
    for m in range(lmax):
        legendre[m + 1, m] = np.sqrt(2.0 * m + 3.0) * z * legendre[m, m]
        for order in range(m + 2, lmax + 1):
            a = np.sqrt((4.0 * order * order - 1.0) / (order * order - m * m))
            b = np.sqrt(((order - 1.0) * (order - 1.0) - m * m) / (4.0 * (order - 1.0) * (order - 1.0) - 1.0))
            legendre[order, m] = a * (z * legendre[order - 1, m] - b * legendre[order - 2, m])
    cosine, sine = 1.0, 0.0
    for m in range(lmax + 1):
        if m > 0:
            cosine, sine = x * cosine - y * sine, x * sine + y * cosine
        for order in range(m + m % 2, lmax + 1, 2):
            centre = order * (order + 1) // 2
            if m == 0:
                out[centre] += legendre[order, 0]
            else:
                value = np.sqrt(2.0) * legendre[order, m]
                out[centre - m] += value * sine
                out[centre + m] += value * cosine


@kernel
def displacements(
    design: Array, logs: Array, usable: Array, weights: Array, inverse: Array, x: Array, out: Array
) -> None:
    """What flipping each measurement's residual does to the six tensor unknowns, (v, 6) into `out`.

    Residuals are divided by sqrt(1 - leverage): a fit leaves less of the noise where a measurement pulls harder.
    """
    for v in range(design.shape[0]):
        residual, leverage = logs[v], 0.0
        for i in range(N_UNKNOWNS):
            residual -= design[v, i] * x[i]
            pull = 0.0
            for j in range(N_UNKNOWNS):
                pull += inverse[i, j] * design[v, j]
            leverage += design[v, i] * pull
            if i > 0:
                out[v, i - 1] = pull
        leverage = min(leverage * weights[v], MAX_LEVERAGE)
        factor = usable[v] * weights[v] * residual / np.sqrt(1.0 - leverage)
        for i in range(6):
            out[v, i] *= factor


@parallel_kernel
def bootstrap_directions(
    signal: Array,
    volumes: Array,
    design: Array,
    factors: Array,
    lmax: int,
    n_draws: int,
    seed: int,
    streams: Array,
    deviations: Array,
    out: Array,
    status: Array,
) -> None:
    """Orientation density of every voxel of a block.

    Parameters
    ----------
    signal : (k, all volumes) float32
    volumes : (v,) int64
        Columns to use.
    design : (v, 7) float64
        From `tensor.tensor_design`.
    factors : (n_coeffs,) float64
        From `density_kernel`.
    lmax, n_draws : int
    seed : uint64
    streams : (k,) int64
        Random stream of each voxel: its index in the whole scan, so that blocks do not matter.
    deviations : (k, 3, 3) float32
        Gradient nonlinearity, as for `tensor.fit_tensors`; (0, 3, 3) for none.
    out : (k, n_coeffs) float32
        Written: the mean of the draws' bumps; 1 along a direction that every draw has; zeros where not determined.
    status : (k,) int8
        Written: as in `tensor.fit_tensors`.
    """
    n_voxels, n_volumes = signal.shape[0], len(volumes)
    products = np.empty((n_volumes, N_PRODUCTS))
    fill_products(design, products)
    for task in prange((n_voxels + VOXELS_PER_TASK - 1) // VOXELS_PER_TASK):
        logs, usable, weights = np.empty(n_volumes), np.empty(n_volumes), np.empty(n_volumes)
        packed, right = np.empty(N_PRODUCTS), np.empty(N_UNKNOWNS)
        inverse, x = np.empty((N_UNKNOWNS, N_UNKNOWNS)), np.empty(N_UNKNOWNS)
        moves, tensor = np.empty((n_volumes, 6)), np.empty(6)
        values, vectors = np.empty(3), np.empty((3, 3))
        legendre, density = np.zeros((lmax + 1, lmax + 1)), np.empty(len(factors))
        for voxel in range(task * VOXELS_PER_TASK, min((task + 1) * VOXELS_PER_TASK, n_voxels)):
            take_logarithms(signal[voxel], volumes, logs, usable)
            if not fit_weighted(design, products, logs, usable, 1, weights, packed, right, inverse, x):
                status[voxel] = NOT_DETERMINED
                out[voxel] = 0.0
                continue
            status[voxel] = FITTED
            displacements(design, logs, usable, weights, inverse, x, moves)
            density[:] = 0.0
            key = stream_key(np.uint64(seed), np.uint64(streams[voxel]))
            n_words = (n_volumes + 63) // 64
            for draw in range(n_draws):
                for i in range(6):
                    tensor[i] = x[i + 1]
                bits = np.uint64(0)
                for v in range(n_volumes):
                    if v % 64 == 0:
                        bits = keyed_bits(key, np.uint64(draw * n_words + v // 64))
                    sign = 1.0 if bits & np.uint64(1) else -1.0
                    bits >>= np.uint64(1)
                    for i in range(6):
                        tensor[i] += sign * moves[v, i]
                if len(deviations) > 0:
                    straighten(deviations[voxel], tensor)
                eigen(tensor[0], tensor[1], tensor[2], tensor[3], tensor[4], tensor[5], values, vectors)
                add_harmonics(vectors[0, 0], vectors[1, 0], vectors[2, 0], lmax, legendre, density)
            for i in range(len(factors)):
                out[voxel, i] = density[i] * factors[i] / n_draws
