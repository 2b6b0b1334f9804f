"""The weighted fit of one voxel with all that the bootstrap needs: weights, inverse of the normal matrix, unknowns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel
from tractome.kernels.tensor.types import N_UNKNOWNS

Array = NDArray[Any]

N_PRODUCTS = 28


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
