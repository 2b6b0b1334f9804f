"""Constrained deconvolution: one small quadratic problem per voxel, all with the same matrices.

Every voxel of a scan solves ``min 1/2 f'Hf - b'f  subject to  C f >= 0`` with the same H and C; only b differs.
The method of multipliers turns it into a few penalised problems, and a semi-smooth Newton iteration solves each:
only constraints that change sides touch the matrix, and about five factorisations of an n x n matrix solve a voxel with
a soft constraint, about eighteen with a hard one. Nothing is allocated per voxel.

See Tournier et al. 2007 (CSD), Jeurissen et al. 2014 (several tissues), Li, Sun & Toh 2018 (the scheme).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel, parallel_kernel, prange

Array = NDArray[Any]

CONVERGED = 0
NOT_CONVERGED = 1
NO_SIGNAL = 2
"""Status of a voxel: solved, stopped at the limit of iterations, or without a positive finite signal."""

VOXELS_PER_TASK = 64


@kernel
def _add_constraints(matrix: Array, products: Array, flips: Array, weights: Array, n_flips: int) -> None:
    """Add ``weights[k] * products[flips[k]]`` to the packed triangle: one long loop, four constraints at a time."""
    k = 0
    while k + 4 <= n_flips:
        c0, c1, c2, c3 = flips[k], flips[k + 1], flips[k + 2], flips[k + 3]
        w0, w1, w2, w3 = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        for i in range(len(matrix)):
            matrix[i] += w0 * products[c0, i] + w1 * products[c1, i] + w2 * products[c2, i] + w3 * products[c3, i]
        k += 4
    while k < n_flips:
        c0, w0 = flips[k], weights[k]
        for i in range(len(matrix)):
            matrix[i] += w0 * products[c0, i]
        k += 1


@kernel
def _unpack(matrix: Array, n: int, factor: Array) -> None:
    """Spread the packed upper triangle over a square padded with the unit matrix to a multiple of 8."""
    position = 0
    for i in range(factor.shape[0]):
        first = i - i % 8
        for j in range(first, factor.shape[0]):
            factor[i, j] = 0.0
        if i < n:
            for j in range(i, n):
                factor[i, j] = matrix[position + j - i]
            position += n - i
        else:
            factor[i, i] = 1.0


@kernel
def _solve_spd(factor: Array, x: Array) -> bool:
    """Solve ``factor x = x`` in place by Cholesky; False when not positive definite.

    Upper triangle, rows in blocks of 8, and finished rows are subtracted 8 at a time: the loops stay long and start at
    multiples of 8, which is twice as fast as the textbook order at this size. `factor` is overwritten.
    """
    # Written so, the compiler knows that the loops below run a multiple of 8 times.
    n_blocks = factor.shape[0] // 8
    size = 8 * n_blocks
    for block in range(0, size, 8):
        for k in range(block, block + 8):
            for i in range(0, block, 8):
                a0, a1, a2, a3 = factor[i, k], factor[i + 1, k], factor[i + 2, k], factor[i + 3, k]
                a4, a5, a6, a7 = factor[i + 4, k], factor[i + 5, k], factor[i + 6, k], factor[i + 7, k]
                for j in range(block, size):
                    factor[k, j] -= (
                        a0 * factor[i, j] + a1 * factor[i + 1, j] + a2 * factor[i + 2, j] + a3 * factor[i + 3, j]
                    ) + (a4 * factor[i + 4, j] + a5 * factor[i + 5, j] + a6 * factor[i + 6, j] + a7 * factor[i + 7, j])
            for i in range(block, k):
                a0 = factor[i, k]
                for j in range(block, size):
                    factor[k, j] -= a0 * factor[i, j]
            pivot = factor[k, k]
            if not pivot > 0.0:
                return False
            inverse = 1.0 / np.sqrt(pivot)
            for j in range(block, size):
                factor[k, j] *= inverse
            x[k] *= inverse
            a0 = x[k]
            for j in range(k + 1, size):
                x[j] -= a0 * factor[k, j]
    for i in range(size - 1, -1, -1):
        x[i] /= factor[i, i]
        a0 = x[i]
        for j in range(i):
            x[j] -= a0 * factor[j, i]
    return True


@kernel
def _times(transposed: Array, x: Array, out: Array) -> None:
    """``out = transposed' x`` by rows of `transposed`."""
    for i in range(transposed.shape[1]):
        out[i] = 0.0
    for j in range(transposed.shape[0]):
        a = x[j]
        for i in range(transposed.shape[1]):
            out[i] += a * transposed[j, i]


@kernel
def _solve_voxel(
    b: Array,
    hessian: Array,
    products: Array,
    rows: Array,
    columns: Array,
    n_directions: int,
    start: Array,
    penalty: float,
    tolerance: float,
    floor: float,
    max_steps: int,
    matrix: Array,
    factor: Array,
    f: Array,
    amplitude: Array,
    multiplier: Array,
    state: Array,
    flips: Array,
    weights: Array,
) -> tuple[bool, int]:
    """One voxel: returns (converged, Newton steps); leaves the solution in ``f[:n]`` and ``C f`` in `amplitude`."""
    n, n_constraints = len(b), rows.shape[0]
    # First guess of the active set: the sign of a low-order unconstrained fit.
    _times(start, b, f)
    _times(columns, f, amplitude)
    n_flips = 0
    for i in range(n_constraints):
        multiplier[i] = 0.0
        state[i] = amplitude[i] < 0.0
        if state[i]:
            flips[n_flips], weights[n_flips] = i, penalty
            n_flips += 1
    for i in range(len(matrix)):
        matrix[i] = hessian[i]
    _add_constraints(matrix, products, flips, weights, n_flips)
    has_multipliers = False
    for step in range(1, max_steps + 1):
        for i in range(len(f)):
            f[i] = b[i] if i < n else 0.0
        if has_multipliers:
            for i in range(n_constraints):
                if state[i] and multiplier[i] > 0.0:
                    for j in range(n):
                        f[j] += multiplier[i] * rows[i, j]
        _unpack(matrix, n, factor)
        if not _solve_spd(factor, f):
            return False, step
        _times(columns, f, amplitude)
        n_flips = 0
        for i in range(n_constraints):
            wanted = multiplier[i] - penalty * amplitude[i] > 0.0
            if wanted != state[i]:
                flips[n_flips] = i
                weights[n_flips] = penalty if wanted else -penalty
                state[i] = wanted
                n_flips += 1
        if n_flips == 0:
            lowest, highest = 0.0, floor
            for i in range(n_constraints):
                lowest = min(lowest, amplitude[i])
            for i in range(n_directions):
                highest = max(highest, amplitude[i])
            if lowest >= -tolerance * highest:
                return True, step
            for i in range(n_constraints):
                multiplier[i] = max(multiplier[i] - penalty * amplitude[i], 0.0)
            has_multipliers = True
        _add_constraints(matrix, products, flips, weights, n_flips)
    return False, max_steps


@kernel
def _solve_voxels(
    first: int,
    last: int,
    signal: Array,
    design: Array,
    hessian: Array,
    products: Array,
    constraints: Array,
    columns: Array,
    n_directions: int,
    start: Array,
    penalty: float,
    tolerance: float,
    floor: float,
    max_steps: int,
    out: Array,
    status: Array,
    n_steps: Array,
) -> None:
    """Solve voxels `first` to `last`, one after the other, in one set of work arrays; see `deconvolve`."""
    n, n_constraints = design.shape[1], constraints.shape[0]
    padded = (n + 7) // 8 * 8
    matrix, factor = np.empty(len(hessian)), np.empty((padded, padded))
    b, f = np.empty(n), np.empty(padded)
    amplitude, multiplier = np.empty(n_constraints), np.empty(n_constraints)
    state = np.empty(n_constraints, dtype=np.bool_)
    flips, weights = np.empty(n_constraints, dtype=np.int64), np.empty(n_constraints)
    for voxel in range(first, last):
        total = 0.0
        for v in range(signal.shape[1]):
            total += signal[voxel, v]
        if not (np.isfinite(total) and total > 0.0):
            for j in range(n):
                out[voxel, j] = 0.0
            status[voxel], n_steps[voxel] = NO_SIGNAL, 0
            continue
        _times(design, signal[voxel], b)
        converged, steps = _solve_voxel(
            b, hessian, products, constraints, columns, n_directions, start, penalty, tolerance, floor, max_steps,
            matrix, factor, f, amplitude, multiplier, state, flips, weights,
        )  # fmt: skip
        for j in range(n):
            out[voxel, j] = f[j]
        status[voxel] = CONVERGED if converged else NOT_CONVERGED
        n_steps[voxel] = steps


@parallel_kernel
def deconvolve(
    signal: Array,
    design: Array,
    hessian: Array,
    products: Array,
    constraints: Array,
    columns: Array,
    n_directions: int,
    start: Array,
    penalty: float,
    tolerance: float,
    floor: float,
    max_steps: int,
    out: Array,
    status: Array,
    n_steps: Array,
) -> None:
    """Solve every voxel of a block.

    Parameters
    ----------
    signal : (k, v) float32
    design : (v, n) float64
        Signal of each unit coefficient, divided by the scale that `hessian` was divided by.
    hessian : (n (n + 1) / 2,) float64
        ``design' design`` plus the regulariser, scaled so that its diagonal is of order one; packed upper triangle.
    products : (c, n (n + 1) / 2) float32
        Packed outer product of each constraint with itself.
    constraints : (c, n) float64
        Rows whose product with the solution must not be negative.
    columns : (n, c) float64
        The same, transposed.
    n_directions : int
        The first rows, which are amplitudes of the distribution: their largest product is the voxel's peak.
    start : (n, n) float64
        Transposed matrix that maps b to a first guess.
    penalty : float
        Weight of the penalty of a violated constraint.
    tolerance : float
        Largest violation, as a share of the peak. Infinity leaves the constraint a soft one: the first
        penalised minimum is the answer. Finite makes it a hard one, and `penalty` matters for speed only.
    floor : float
        Peaks lower than this count as this high: no voxel is refined below what matters.
    max_steps : int
        Newton steps per voxel.
    out : (k, n) float32
        Written: the solutions.
    status : (k,) int8
        Written: `CONVERGED`, `NOT_CONVERGED` or `NO_SIGNAL`.
    n_steps : (k,) int16
        Written: Newton steps taken.
    """
    n_voxels = len(signal)
    for task in prange((n_voxels + VOXELS_PER_TASK - 1) // VOXELS_PER_TASK):
        # The loop's body is one call: a long one takes several times as long to compile here.
        _solve_voxels(
            task * VOXELS_PER_TASK, min((task + 1) * VOXELS_PER_TASK, n_voxels), signal, design, hessian, products,
            constraints, columns, n_directions, start, penalty, tolerance, floor, max_steps, out, status, n_steps,
        )  # fmt: skip


@kernel
def solve_constrained(
    b: Array,
    hessian: Array,
    products: Array,
    constraints: Array,
    columns: Array,
    n_directions: int,
    start: Array,
    penalty: float,
    tolerance: float,
    floor: float,
    max_steps: int,
) -> tuple[Array, bool]:
    """Solve one problem: (solution (n,) float64, converged); the arguments are those of `deconvolve`."""
    n, n_constraints = len(b), constraints.shape[0]
    padded = (n + 7) // 8 * 8
    f = np.empty(padded)
    converged, _ = _solve_voxel(
        b, hessian, products, constraints, columns, n_directions, start, penalty,
        tolerance, floor, max_steps,
        np.empty(len(hessian)), np.empty((padded, padded)), f, np.empty(n_constraints), np.empty(n_constraints),
        np.empty(n_constraints, dtype=np.bool_), np.empty(n_constraints, dtype=np.int64), np.empty(n_constraints),
    )  # fmt: skip
    return f[:n], converged
