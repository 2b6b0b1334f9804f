"""The tensor of every voxel by least squares: ordinary, weighted, iteratively reweighted."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import bare_kernel, kernel
from tractome.kernels.tensor.design import N_MOMENTS
from tractome.kernels.tensor.types import (
    B_SCALE_S_PER_MM2,
    FITTED,
    N_UNKNOWNS,
    NOT_DETERMINED,
    NOT_POSITIVE_DEFINITE,
)
from tractome.kernels.tensor.vectors import (
    exponentials,
    logarithms,
    predict,
    solve,
    sum_eleven,
    sum_seven,
    take_row,
)

Array = NDArray[Any]


class Pair(NamedTuple):
    """Two voxels in work: made once per thread's task, so that no voxel allocates anything."""

    row: Array
    """(v,) float32: signal."""
    mantissas: Array
    """(v,) int32: scratch."""
    logs: Array
    """(2, v) float64: logarithms of the signal, 0 where there is none."""
    usable: Array
    """(2, v) float64: 1 where there is a logarithm, else 0."""
    n_left_out: Array
    """(2,) int64: volumes without one."""
    weights: Array
    """(2, v) float64."""
    sums: Array
    """(2, 22) float64: weighted sums of the moments."""
    right: Array
    """(2, 7) float64: right-hand sides."""
    lower: Array
    """(7, 7, 2) float64: scratch."""
    x: Array
    """(2, 7) float64: log s0, then minus Dxx, 2 Dxy, Dyy, 2 Dxz, 2 Dyz, Dzz in 1e-3 mm2/s."""
    pivots: Array
    """(2, 7) float64: see `solve`."""
    is_fitted: Array
    """(2,) bool: whether the unknowns are determined."""


@kernel
def new_pair(n_filled: int) -> Pair:
    """Room for two voxels of `n_filled` volumes; what is after the last real volume stays 0."""
    return Pair(
        np.ones(n_filled, np.float32), np.zeros(n_filled, np.int32), np.zeros((2, n_filled)), np.zeros((2, n_filled)),
        np.zeros(2, np.int64), np.zeros((2, n_filled)), np.zeros((2, N_MOMENTS)), np.zeros((2, N_UNKNOWNS)),
        np.zeros((N_UNKNOWNS, N_UNKNOWNS, 2)), np.zeros((2, N_UNKNOWNS)), np.zeros((2, N_UNKNOWNS)),
        np.zeros(2, np.bool_),
    )  # fmt: skip


@bare_kernel
def solve_weighted(
    moments: Array, logs: Array, weights: Array, sums: Array, right: Array, lower: Array, x: Array, pivots: Array,
    is_fitted: Array,
) -> None:  # fmt: skip
    """Both voxels' unknowns for the weights given; these hold weight times logarithm afterwards. See `Pair`."""
    sum_eleven(moments, 0, weights, sums)
    sum_eleven(moments, 11, weights, sums)
    for side in range(2):
        for v in range(weights.shape[1]):
            weights[side, v] *= logs[side, v]
    sum_seven(moments, weights, right)
    solve(sums, right, lower, x, pivots, is_fitted)


@bare_kernel
def weigh_by_prediction(moments: Array, x: Array, usable: Array, n_left_out: Array, weights: Array) -> None:
    """Weights: the square of the predicted signal over s0, 0 where there is no measurement."""
    for side in range(2):
        predict(moments, x, side, 2.0, weights)
        exponentials(weights, side)
        if n_left_out[side] > 0:
            for v in range(weights.shape[1]):
                weights[side, v] *= usable[side, v]


@kernel
def fit_pair(moments: Array, start: Array, n_reweightings: int, pair: Pair) -> None:
    """Ordinary fit of two voxels whose logarithms are taken, then `n_reweightings` weighted ones."""
    # Taken out once: counting references to the members of a tuple costs a third of the time.
    logs, usable, n_left_out, weights, sums = pair.logs, pair.usable, pair.n_left_out, pair.weights, pair.sums
    right, lower, x, pivots, is_fitted = pair.right, pair.lower, pair.x, pair.pivots, pair.is_fitted
    is_fitted[0] = is_fitted[1] = True
    if n_left_out[0] + n_left_out[1] > 0:
        # The shared pseudo-inverse needs every volume.
        for v in range(moments.shape[1]):
            weights[0, v], weights[1, v] = usable[0, v], usable[1, v]
        solve_weighted(moments, logs, weights, sums, right, lower, x, pivots, is_fitted)
    sum_seven(start, logs, right)
    for side in range(2):
        if n_left_out[side] == 0:
            is_fitted[side] = True
            for i in range(N_UNKNOWNS):
                x[side, i] = right[side, i]
    for _ in range(n_reweightings):
        weigh_by_prediction(moments, x, usable, n_left_out, weights)
        solve_weighted(moments, logs, weights, sums, right, lower, x, pivots, is_fitted)


@kernel
def refit_pair(moments: Array, pair: Pair) -> None:
    """One weighted fit more, with the weights that `pair` holds."""
    solve_weighted(
        moments, pair.logs, pair.weights, pair.sums, pair.right, pair.lower, pair.x, pair.pivots, pair.is_fitted
    )


@kernel
def take_pair(signal: Array, first: int, second: int, volumes: Array, pair: Pair) -> None:
    """Logarithms of two voxels' signals."""
    for side in range(2):
        take_row(signal[first if side == 0 else second], volumes, pair.row)
        pair.n_left_out[side] = logarithms(pair.row, len(volumes), pair.mantissas, side, pair.logs, pair.usable)


@bare_kernel
def straighten(deviation: Array, d: Array) -> None:
    """Turn the tensor that nominal gradients see, (6,), into the true one, with gradient nonlinearity L.

    The true gradient is (I + L) g, so what is seen is (I + L)' D (I + L): the weighted fits of both are the same fit.
    """
    a, b, c = 1.0 + deviation[0, 0], np.float64(deviation[0, 1]), np.float64(deviation[0, 2])
    e, f, g = np.float64(deviation[1, 0]), 1.0 + deviation[1, 1], np.float64(deviation[1, 2])
    h, i, j = np.float64(deviation[2, 0]), np.float64(deviation[2, 1]), 1.0 + deviation[2, 2]
    scale = 1.0 / (a * (f * j - g * i) - b * (e * j - g * h) + c * (e * i - f * h))
    # Inverse of I + L.
    pa, pb, pc = scale * (f * j - g * i), scale * (c * i - b * j), scale * (b * g - c * f)
    qa, qb, qc = scale * (g * h - e * j), scale * (a * j - c * h), scale * (c * e - a * g)
    ra, rb, rc = scale * (e * i - f * h), scale * (b * h - a * i), scale * (a * f - b * e)
    # D = P' seen P, by columns of seen P.
    xx, xy, yy, xz, yz, zz = d[0], d[1], d[2], d[3], d[4], d[5]
    ux, uy, uz = xx * pa + xy * qa + xz * ra, xy * pa + yy * qa + yz * ra, xz * pa + yz * qa + zz * ra
    vx, vy, vz = xx * pb + xy * qb + xz * rb, xy * pb + yy * qb + yz * rb, xz * pb + yz * qb + zz * rb
    wx, wy, wz = xx * pc + xy * qc + xz * rc, xy * pc + yy * qc + yz * rc, xz * pc + yz * qc + zz * rc
    d[0] = pa * ux + qa * uy + ra * uz
    d[1] = pa * vx + qa * vy + ra * vz
    d[2] = pb * vx + qb * vy + rb * vz
    d[3] = pa * wx + qa * wy + ra * wz
    d[4] = pb * wx + qb * wy + rb * wz
    d[5] = pc * wx + qc * wy + rc * wz


@kernel
def give_result(
    x: Array, is_fitted: bool, deviations: Array, voxel: int, d: Array, tensors: Array, s0: Array, status: Array
) -> None:
    """Write one voxel's tensor, s0 and status from its unknowns; `d`, (6,), is scratch."""
    if not is_fitted:
        for i in range(6):
            tensors[voxel, i] = np.nan
        s0[voxel] = np.nan
        status[voxel] = NOT_DETERMINED
        return
    d[0], d[1], d[2], d[3], d[4], d[5] = -x[1], -0.5 * x[2], -x[3], -0.5 * x[4], -0.5 * x[5], -x[6]
    if len(deviations) > 0:
        straighten(deviations[voxel], d)
    for i in range(6):
        tensors[voxel, i] = d[i] / B_SCALE_S_PER_MM2
    s0[voxel] = np.exp(x[0])
    xx, xy, yy, xz, yz, zz = d[0], d[1], d[2], d[3], d[4], d[5]
    minor = xx * yy - xy * xy
    determinant = zz * minor - xx * yz * yz - yy * xz * xz + 2.0 * xy * xz * yz
    status[voxel] = FITTED if xx > 0.0 and minor > 0.0 and determinant > 0.0 else NOT_POSITIVE_DEFINITE


@kernel
def fit_tensors(
    begin: int,
    end: int,
    signal: Array,
    volumes: Array,
    moments: Array,
    start: Array,
    n_reweightings: int,
    deviations: Array,
    tensors: Array,
    s0: Array,
    status: Array,
    n_left_out: Array,
) -> None:
    """Fit the voxels from `begin` to before `end`.

    Parameters
    ----------
    begin, end : int
    signal : (n_voxels, all volumes) float32
    volumes : (v,) int64
        Columns to use.
    moments : (22, v filled up) float64
        From `tensor_moments`.
    start : (7, v filled up) float64
        From `tensor_start`.
    n_reweightings : int
        0 for the ordinary fit, 1 for the weighted one, more for the iteratively reweighted one.
    deviations : (n_voxels, 3, 3) float32
        Gradient nonlinearity L in the axes of the directions, so that g becomes (I + L) g; (0, 3, 3) for none.
    tensors : (n_voxels, 6) float32
        Written: Dxx, Dxy, Dyy, Dxz, Dyz, Dzz, mm2/s; NaN where not determined.
    s0 : (n_voxels,) float32
        Written: signal at b = 0, in the units of the scan; NaN where not determined.
    status : (n_voxels,) int8
        Written: `FITTED`, `NOT_DETERMINED` or `NOT_POSITIVE_DEFINITE`.
    n_left_out : (n_voxels,) int32
        Written: measurements left out because their signal was zero, negative or not finite.
    """
    pair, d = new_pair(moments.shape[1]), np.empty(6)
    for first in range(begin, end, 2):
        # An odd voxel at the end is its own partner.
        second = min(first + 1, end - 1)
        take_pair(signal, first, second, volumes, pair)
        fit_pair(moments, start, n_reweightings, pair)
        for side in range(2):
            voxel = first if side == 0 else second
            n_left_out[voxel] = pair.n_left_out[side]
            give_result(pair.x[side], pair.is_fitted[side], deviations, voxel, d, tensors, s0, status)
