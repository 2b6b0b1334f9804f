"""One small quadratic problem per voxel, all with the same matrices, sixteen voxels at a time.

Every voxel of a scan solves ``min 1/2 f'Hf - b'f  subject to  a = C f >= 0`` with the same H and C; only b differs.
The method of multipliers turns it into a few penalised problems, ``... + rho/2 |min(a - s, 0)|^2``, whose shifts s move
until the constraint holds, and a semi-smooth Newton iteration with a line search solves each: about five factorisations
for a soft constraint (the first penalised problem is the answer), ten for a hard one.

Four things make it quick. A lane per voxel keeps the vector unit full at any matrix size, and a lane whose voxel is
done takes the next one. A product of two harmonics up to order l is a sum of a few harmonics up to 2 l, so the matrix
``C'WC`` of the constraints in force comes from 153 moments of their weights instead of 300 outer products. The
directions are an octant and its mirror images, and every harmonic is even or odd in each mirror, so a sum over the
directions is a quarter of the work. And H and all tables are the same for every voxel, small enough for the cache.

See Tournier et al. 2007 (CSD), Jeurissen et al. 2014 (several tissues), Li, Sun & Toh 2018 (the iteration).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import inner_kernel, kernel
from tractome.kernels._lanes import (
    WIDTH,
    add,
    div,
    fma,
    fnma,
    higher,
    keep_apart,
    load,
    lower,
    mul,
    splat,
    store,
    sub,
    where_negative,
)  # fmt: skip
from tractome.kernels.deconvolution.algebra import add_products, cholesky, mirror, multiply, quadratic_form, substitute

Array = NDArray[Any]
Floats = NDArray[np.float32]

CONVERGED = 0
NOT_CONVERGED = 1
NO_SIGNAL = 2
"""Status of a voxel: solved, stopped at the limit of iterations, or without a positive finite signal."""

OVERSHOOT = 0.3
"""A full Newton step is taken unless the cost rises at its end at this share of the rate at which it fell at first."""
SHORTEST_STEP = 0.02
N_LINE_SEARCH = 3


class System(NamedTuple):
    """What all voxels of a scan share. The unknowns are the FOD's coefficients, then one per isotropic tissue.

    Attributes
    ----------
    design : (v, n) float32
        Signal of each unit coefficient, divided by the scale that `hessian` was divided by.
    start : (v, n) float32
        Signal to first guess: an unconstrained fit of low orders.
    hessian : (n (n + 1) / 2,) float32
        ``design' design`` plus the regulariser, scaled to 1 in its first entry; lower triangle packed by rows.
    low_columns : (n_low, d) float32
        SH basis of the low orders on the constraint directions.
    order : (n_white,) int64
        The FOD's coefficients by mirror class; see `harmonics.mirror_classes`.
    columns, rows : (n_white, q) and (q, n_white) float32
        SH basis, in this order, on the octant that the directions are mirror images of: d = 4 q.
    high_basis : (q, p) float32
        SH basis of twice the order, by mirror class, on the octant.
    class_first, high_first : (5,) int64
        Where each class begins in the two bases.
    place, first : (n_white (n_white + 1) / 2,) and one more, uint64
    moment, factor : (terms,) int64, float32
        Products of two harmonics as sums of harmonics; see `add_products`.
    n_white : int
        Coefficients of the FOD.
    penalty : float
        Weight of the penalty of a violated constraint. For a hard constraint it matters for speed only.
    growth, highest_penalty : float
        Factor on the penalty at each move of the shifts, and where that ends.
    flip_tolerance : float
        Constraints that change sides within this share of the peak do not call for another step.
    tolerance : float
        Largest violation, as a share of the peak. Infinity leaves the constraint a soft one.
    floor : float
        Peaks lower than this count as this high: no voxel is refined below what matters.
    max_steps : int
        Newton steps per voxel.
    """

    design: Floats
    start: Floats
    hessian: Floats
    low_columns: Floats
    order: NDArray[np.int64]
    columns: Floats
    rows: Floats
    high_basis: Floats
    class_first: NDArray[np.int64]
    high_first: NDArray[np.int64]
    place: NDArray[np.uint64]
    first: NDArray[np.uint64]
    moment: NDArray[np.int64]
    factor: Floats
    n_white: int
    penalty: float
    growth: float
    highest_penalty: float
    flip_tolerance: float
    tolerance: float
    floor: float
    max_steps: int


@inner_kernel
def _next_voxel(signal: Array, volumes: Array, voxel: int, last: int, out: Array, status: Array) -> int:
    """The first voxel from `voxel` on with a signal; those before it are written as empty."""
    keep_apart()
    while voxel < last:
        total = np.float32(0)
        for v in range(len(volumes)):
            total += signal[voxel, volumes[v]]
        if np.isfinite(total) and total > 0:
            break
        for j in range(out.shape[1]):
            out[voxel, j] = 0
        status[voxel] = NO_SIGNAL
        voxel += 1
    return voxel


@inner_kernel
def _project(values: Array, volumes: Array, matrix: Array, out: Array) -> None:
    """``out = values[volumes]' matrix`` for one voxel."""
    keep_apart()
    for j in range(len(out)):
        out[j] = 0
    for v in range(len(volumes)):
        value = values[volumes[v]]
        for j in range(len(out)):
            out[j] += value * matrix[v, j]


@inner_kernel
def _enter(
    system: System, lane: int, b: Array, f: Array, amplitude: Array, shift: Array, state: Array, b1: Array, f1: Array,
    a1: Array,
) -> None:  # fmt: skip
    """Put a voxel's right-hand side `b1` and first guess `f1` into a lane; zeros leave the lane idle."""
    keep_apart()
    n_white, n_directions = system.n_white, system.low_columns.shape[1]
    for k in range(len(a1)):
        a1[k] = 0
    for j in range(len(system.low_columns)):
        for k in range(n_directions):
            a1[k] += f1[j] * system.low_columns[j, k]
    for j in range(n_white, len(f1)):
        a1[n_directions + j - n_white] = f1[j]
    for j in range(len(b1)):
        b[j, lane] = b1[j]
        f[j, lane] = f1[j]
    for k in range(len(a1)):
        amplitude[k, lane] = a1[k]
        shift[k, lane] = 0
        state[k, lane] = 1 if a1[k] < 0 else 0


@inner_kernel
def _newton_point(
    system: System, is_shifted: bool, b: Array, penalty: Array, shift: Array, state: Array, weight: Array,
    moments: Array, matrix: Array, sorted_x: Array, x: Array, reached: Array,
) -> None:  # fmt: skip
    """Where the penalised cost would be least if no constraint changed sides: `x`, and its amplitudes `reached`."""
    keep_apart()
    n, n_white, n_octant = len(b), system.n_white, system.columns.shape[1]
    n_directions, rho = 4 * n_octant, load(penalty, 0)
    for k in range(len(weight)):
        store(weight, k, mul(rho, load(state, k)))
    mirror(weight, n_octant)
    for c in range(4):
        begin, end = system.high_first[c], system.high_first[c + 1]
        multiply(system.high_basis, 0, n_octant, begin, end, weight, c * n_octant, moments, begin)
    add_products(system.hessian, system.place, system.first, system.moment, system.factor, moments, matrix)
    for j in range(n_white, n):
        diagonal = j * (j + 1) // 2 + j
        store(matrix, diagonal, add(load(matrix, diagonal), load(weight, n_directions + j - n_white)))
    for j in range(n):
        store(x, j, load(b, j))
    if is_shifted:
        for k in range(len(weight)):
            store(weight, k, mul(rho, mul(load(state, k), load(shift, k))))
        mirror(weight, n_octant)
        for c in range(4):
            begin, end = system.class_first[c], system.class_first[c + 1]
            multiply(system.rows, 0, n_octant, begin, end, weight, c * n_octant, sorted_x, begin)
        for j in range(n_white):
            store(x, system.order[j], add(load(x, system.order[j]), load(sorted_x, j)))
        for j in range(n_white, n):
            store(x, j, add(load(x, j), load(weight, n_directions + j - n_white)))
    cholesky(matrix, n)
    substitute(matrix, n, x)
    for j in range(n_white):
        store(sorted_x, j, load(x, system.order[j]))
    for c in range(4):
        begin, end = system.class_first[c], system.class_first[c + 1]
        multiply(system.columns, begin, end, 0, n_octant, sorted_x, begin, reached, c * n_octant)
    mirror(reached, n_octant)
    for j in range(n_white, n):
        store(reached, n_directions + j - n_white, load(x, j))


@inner_kernel
def _step_length(
    system: System, f: Array, x: Array, amplitude: Array, reached: Array, penalty: Array, shift: Array, state: Array,
    d: Array, step: Array,
) -> None:  # fmt: skip
    """How far to go towards the Newton point: all the way, or where a line search ends if the cost rises there.

    With y = a - s, the Newton equation gives the slope at t along the way without H:
    ``-(1 - t) d'Hd + rho sum (min(y(t), 0) - in force x y(1)) da``.
    """
    keep_apart()
    zero, one = splat(np.float32(0)), splat(np.float32(1))
    share = splat(np.float32(OVERSHOOT))
    slope, curvature = zero, zero
    for k in range(len(state)):
        y, da = sub(load(reached, k), load(shift, k)), sub(load(reached, k), load(amplitude, k))
        is_in = load(state, k)
        slope = fma(fnma(is_in, y, lower(y, zero)), da, slope)
        curvature = fma(mul(is_in, da), da, curvature)
    store(step, 0, sub(mul(share, curvature), slope))
    is_over = False
    for lane in range(WIDTH):
        is_over |= step[0, lane] < 0
    t = one
    if is_over:
        n, rho = len(f), load(penalty, 0)
        for j in range(n):
            store(d, j, sub(load(x, j), load(f, j)))
        quadratic_form(system.hessian, n, d)
        dhd = load(d, n)
        excess = sub(mul(share, fma(rho, curvature, dhd)), mul(rho, slope))
        for _ in range(N_LINE_SEARCH):
            slope, curvature = zero, zero
            for k in range(len(state)):
                a, s, end = load(amplitude, k), load(shift, k), load(reached, k)
                da = sub(end, a)
                y = sub(fma(t, da, a), s)
                slope = fma(fnma(load(state, k), sub(end, s), lower(y, zero)), da, slope)
                curvature = fma(where_negative(y, da, zero), da, curvature)
            slope = fnma(sub(one, t), dhd, mul(rho, slope))
            t = sub(t, div(slope, fma(rho, curvature, dhd)))
            t = where_negative(excess, higher(lower(t, one), splat(np.float32(SHORTEST_STEP))), one)
    store(step, 0, t)


@inner_kernel
def _move(
    system: System, step: Array, f: Array, x: Array, amplitude: Array, reached: Array, shift: Array, state: Array,
    outcome: Array,
) -> None:  # fmt: skip
    """Go there and see which constraints are in force now.

    `outcome` gets, per lane: above 0 if constraints changed sides, the lowest amplitude, and the peak.
    """
    keep_apart()
    zero, one, t = splat(np.float32(0)), splat(np.float32(1)), load(step, 0)
    rest = sub(one, t)
    for j in range(len(f)):
        store(f, j, fma(t, load(x, j), mul(rest, load(f, j))))
    lowest, peak = zero, splat(np.float32(system.floor))
    for k in range(len(state)):
        a = fma(t, load(reached, k), mul(rest, load(amplitude, k)))
        store(amplitude, k, a)
        lowest = lower(lowest, a)
        if k < system.low_columns.shape[1]:
            peak = higher(peak, a)
    flips, near = zero, mul(splat(np.float32(system.flip_tolerance)), peak)
    near = mul(near, near)
    for k in range(len(state)):
        y, was = sub(load(amplitude, k), load(shift, k)), load(state, k)
        wanted = where_negative(y, one, zero)
        changed = mul(sub(wanted, was), sub(wanted, was))
        flips = higher(flips, mul(changed, sub(mul(y, y), near)))
        store(state, k, wanted)
    store(outcome, 0, flips)
    store(outcome, 1, lowest)
    store(outcome, 2, peak)


@inner_kernel
def _shift_constraints(moved: Array, growth: Array, amplitude: Array, shift: Array, state: Array) -> None:
    """Update of the multipliers (penalty times shift) in the lanes where `moved` is 1; `growth` of the penalty."""
    keep_apart()
    zero, one = splat(np.float32(0)), splat(np.float32(1))
    is_moved, shrink = load(moved, 0), div(one, load(growth, 0))
    for k in range(len(state)):
        s, a = load(shift, k), load(amplitude, k)
        s = fma(is_moved, sub(mul(higher(sub(s, a), zero), shrink), s), s)
        store(shift, k, s)
        store(state, k, where_negative(sub(a, s), one, zero))


@kernel
def solve_voxels(
    first: int, last: int, signal: Array, volumes: Array, system: System, out: Array, status: Array
) -> None:
    """Solve the voxels from `first` to `last`.

    Parameters
    ----------
    first, last : int
    signal : (k, all volumes) float32
    volumes : (v,) int64
        Columns of `signal` that `system` is about.
    system : System
    out : (k, n) float32
        Written: the solutions.
    status : (k,) int8
        Written: `CONVERGED`, `NOT_CONVERGED` or `NO_SIGNAL`.
    """
    n, n_directions = system.design.shape[1], system.low_columns.shape[1]
    n_constraints = n_directions + n - system.n_white
    b, f, x, sorted_x, d = _rows(n), _rows(n), _rows(n), _rows(n), _rows(n + 1)
    amplitude, reached, shift = _rows(n_constraints), _rows(n_constraints), _rows(n_constraints)
    state, weight = _rows(n_constraints), _rows(n_constraints)
    moments, matrix = _rows(system.high_basis.shape[1]), _rows(len(system.hessian))
    penalty, step, outcome, moved, growth = _rows(1), _rows(1), _rows(3), _rows(1), _rows(1)
    b1, f1, a1 = np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n_constraints, np.float32)
    voxel, n_steps, is_shifted = np.full(WIDTH, -1), np.zeros(WIDTH, np.int64), np.zeros(WIDTH, np.bool_)
    coming, n_open, has_room = first, 0, True
    while True:
        if has_room:
            for lane in range(WIDTH):
                if voxel[lane] < 0:
                    coming = _next_voxel(signal, volumes, coming, last, out, status)
                    b1[:], f1[:] = 0, 0
                    if coming < last:
                        _project(signal[coming], volumes, system.design, b1)
                        _project(signal[coming], volumes, system.start, f1)
                        voxel[lane] = coming
                        coming += 1
                        n_open += 1
                    penalty[0, lane], is_shifted[lane], n_steps[lane] = system.penalty, False, 0
                    _enter(system, lane, b, f, amplitude, shift, state, b1, f1, a1)
            has_room = False
        if n_open == 0:
            break
        _newton_point(
            system, bool(is_shifted.any()), b, penalty, shift, state, weight, moments, matrix, sorted_x, x, reached
        )
        _step_length(system, f, x, amplitude, reached, penalty, shift, state, d, step)
        _move(system, step, f, x, amplitude, reached, shift, state, outcome)
        any_moved = False
        for lane in range(WIDTH):
            moved[0, lane], growth[0, lane] = 0, 1
            v = voxel[lane]
            if v < 0:
                continue
            n_steps[lane] += 1
            is_settled = outcome[0, lane] <= 0 and step[0, lane] == 1
            is_done = is_settled and outcome[1, lane] >= -system.tolerance * outcome[2, lane]
            is_finite = np.isfinite(f[0, lane])
            if is_done or not is_finite or n_steps[lane] >= system.max_steps:
                for j in range(n):
                    out[v, j] = f[j, lane] if is_finite else 0
                status[v] = CONVERGED if is_done and is_finite else NOT_CONVERGED
                voxel[lane] = -1
                n_open -= 1
                has_room = True
            elif is_settled:
                moved[0, lane], is_shifted[lane], any_moved = 1, True, True
                if penalty[0, lane] < system.highest_penalty:
                    growth[0, lane] = system.growth
                    penalty[0, lane] *= system.growth
        if any_moved:
            _shift_constraints(moved, growth, amplitude, shift, state)


@kernel
def _rows(n: int) -> Array:
    return np.zeros((n, WIDTH), np.float32)
