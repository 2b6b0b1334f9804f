"""Constrained deconvolution: one small quadratic problem per voxel, all with the same matrices.

Every voxel of a scan solves ``min 1/2 f'Hf - b'f  subject to  C f >= 0`` with the same H and C; only b differs.
The method of multipliers turns it into a few penalised problems, and a semi-smooth Newton iteration solves each:
only constraints that change sides touch the matrix, and two or three factorisations of an n x n matrix are enough
for most voxels. Nothing is allocated per voxel.

See Tournier et al. 2007 (CSD), Jeurissen et al. 2014 (several tissues), Li, Sun & Toh 2018 (the scheme).
"""

from __future__ import annotations

import numpy as np

from tractome.kernels._jit import kernel, parallel_kernel, prange

CONVERGED = 0
NOT_CONVERGED = 1
NO_SIGNAL = 2
"""Status of a voxel: solved, stopped at the limit of iterations, or without a positive finite signal."""

VOXELS_PER_TASK = 64


@kernel
def _add_constraints(matrix, rows, flips, weights, n_flips):
    """Add ``weights[k] * outer(rows[flips[k]])`` to the upper triangle, four at a time to save passes."""
    n = matrix.shape[0]
    k = 0
    while k + 4 <= n_flips:
        r0, r1, r2, r3 = rows[flips[k]], rows[flips[k + 1]], rows[flips[k + 2]], rows[flips[k + 3]]
        for i in range(n):
            a0, a1 = weights[k] * r0[i], weights[k + 1] * r1[i]
            a2, a3 = weights[k + 2] * r2[i], weights[k + 3] * r3[i]
            for j in range(i, n):
                matrix[i, j] += a0 * r0[j] + a1 * r1[j] + a2 * r2[j] + a3 * r3[j]
        k += 4
    while k < n_flips:
        row = rows[flips[k]]
        for i in range(n):
            a = weights[k] * row[i]
            for j in range(i, n):
                matrix[i, j] += a * row[j]
        k += 1


@kernel
def _solve_spd(matrix, factor, x):
    """Solve ``matrix x = x`` in place; upper triangle given, Cholesky by rows. False when not positive definite."""
    n = matrix.shape[0]
    for i in range(n):
        for j in range(i, n):
            factor[i, j] = matrix[i, j]
    for i in range(n):
        pivot = factor[i, i]
        if not pivot > 0.0:
            return False
        inverse = 1.0 / np.sqrt(pivot)
        for j in range(i, n):
            factor[i, j] *= inverse
        for k in range(i + 1, n):
            a = factor[i, k]
            for j in range(k, n):
                factor[k, j] -= a * factor[i, j]
        x[i] *= inverse
        a = x[i]
        for j in range(i + 1, n):
            x[j] -= a * factor[i, j]
    for i in range(n - 1, -1, -1):
        total = x[i]
        for j in range(i + 1, n):
            total -= factor[i, j] * x[j]
        x[i] = total / factor[i, i]
    return True


@kernel
def _times(transposed, x, out):
    """``out = transposed' x`` by rows of `transposed`."""
    out[:] = 0.0
    for j in range(len(x)):
        a = x[j]
        row = transposed[j]
        for i in range(len(out)):
            out[i] += a * row[i]


@kernel
def _solve_voxel(
    b, hessian, rows, columns, start, penalty, tolerance, max_steps, matrix, factor, f, amplitude, multiplier, state, flips, weights, trial
):  # fmt: skip
    """One voxel: returns (converged, Newton steps); the solution is left in `f`, ``C f`` in `amplitude`."""
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
    for i in range(n):
        for j in range(i, n):
            matrix[i, j] = hessian[i, j]
    _add_constraints(matrix, rows, flips, weights, n_flips)
    converged = False
    steps = 0
    while steps < max_steps:
        steps += 1
        f[:] = b
        for i in range(n_constraints):
            if state[i] and multiplier[i] > 0.0:
                for j in range(n):
                    f[j] += multiplier[i] * rows[i, j]
        if not _solve_spd(matrix, factor, f):
            break
        _times(columns, f, trial)
        n_flips = 0
        for i in range(n_constraints):
            wanted = multiplier[i] - penalty * trial[i] > 0.0
            if wanted != state[i]:
                flips[n_flips] = i
                weights[n_flips] = penalty if wanted else -penalty
                state[i] = wanted
                n_flips += 1
        if n_flips == 0:
            lowest, highest = 0.0, 0.0
            for i in range(n_constraints):
                lowest, highest = min(lowest, trial[i]), max(highest, trial[i])
                multiplier[i] = max(multiplier[i] - penalty * trial[i], 0.0)
            if lowest >= -tolerance * highest:
                converged = True
                break
            continue
        _add_constraints(matrix, rows, flips, weights, n_flips)
    for i in range(n_constraints):
        amplitude[i] = trial[i]
    return converged, steps


@parallel_kernel
def deconvolve(signal, design, hessian, constraints, start, penalty, tolerance, max_steps, out, status, n_steps):
    """Solve every voxel of a block.

    Parameters
    ----------
    signal : (k, v) float32
    design : (v, n) float64
        Signal of each unit coefficient, divided by the scale that `hessian` was divided by.
    hessian : (n, n) float64
        ``design' design`` plus the regulariser, scaled so that its diagonal is of order one.
    constraints : (c, n) float64
        Rows whose product with the solution must not be negative.
    start : (n, n) float64
        Transposed matrix that maps b to a first guess.
    penalty : float
        Weight of the penalty of a violated constraint; changes the speed, not the solution.
    tolerance : float
        Largest violation, as a share of the largest product.
    max_steps : int
        Newton steps per voxel.
    out : (k, n) float32
        Written: the solutions.
    status : (k,) int8
        Written: `CONVERGED`, `NOT_CONVERGED` or `NO_SIGNAL`.
    n_steps : (k,) int16
        Written: Newton steps taken.
    """
    n_voxels, n_volumes = signal.shape
    n, n_constraints = design.shape[1], constraints.shape[0]
    columns = np.ascontiguousarray(constraints.T)
    n_tasks = (n_voxels + VOXELS_PER_TASK - 1) // VOXELS_PER_TASK
    for task in prange(n_tasks):
        matrix, factor = np.empty((n, n)), np.empty((n, n))
        b, f = np.empty(n), np.empty(n)
        amplitude, multiplier, trial = np.empty(n_constraints), np.empty(n_constraints), np.empty(n_constraints)
        state = np.empty(n_constraints, dtype=np.bool_)
        flips, weights = np.empty(n_constraints, dtype=np.int64), np.empty(n_constraints)
        for voxel in range(task * VOXELS_PER_TASK, min((task + 1) * VOXELS_PER_TASK, n_voxels)):
            total = 0.0
            for v in range(n_volumes):
                total += signal[voxel, v]
            if not (np.isfinite(total) and total > 0.0):
                out[voxel] = 0.0
                status[voxel], n_steps[voxel] = NO_SIGNAL, 0
                continue
            _times(design, signal[voxel], b)
            converged, steps = _solve_voxel(
                b, hessian, constraints, columns, start, penalty, tolerance, max_steps, matrix, factor, f, amplitude, multiplier, state, flips, weights, trial
            )  # fmt: skip
            for j in range(n):
                out[voxel, j] = f[j]
            status[voxel] = CONVERGED if converged else NOT_CONVERGED
            n_steps[voxel] = steps


@kernel
def solve_constrained(b, hessian, constraints, start, penalty, tolerance, max_steps):
    """Solve one problem: (solution (n,) float64, converged); the arguments are those of `deconvolve`."""
    n, n_constraints = len(b), constraints.shape[0]
    f = np.empty(n)
    converged, _ = _solve_voxel(
        b, hessian, constraints, np.ascontiguousarray(constraints.T), start, penalty, tolerance, max_steps,
        np.empty((n, n)), np.empty((n, n)), f, np.empty(n_constraints), np.empty(n_constraints),
        np.empty(n_constraints, dtype=np.bool_), np.empty(n_constraints, dtype=np.int64), np.empty(n_constraints),
        np.empty(n_constraints),
    )  # fmt: skip
    return f, converged
