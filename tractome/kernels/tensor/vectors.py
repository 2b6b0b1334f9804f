"""The arithmetic of the tensor fit, written so that the compiler runs it in vectors over the volumes.

Functions that sum over volumes take two voxels at a time: half of the time would go into loading the shared tables.
Either voxel's sums come in the same order, so a voxel's numbers do not depend on its place in the pair.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import bare_kernel
from tractome.kernels.tensor.design import MOMENT_OF_PRODUCT
from tractome.kernels.tensor.types import N_UNKNOWNS

Array = NDArray[Any]

SMALLEST_NORMAL_BITS = 0x00800000
INFINITY_BITS = 0x7F800000
MANTISSA_BITS = 0x007FFFFF
ONE_BITS = 0x3F800000
LOG_2 = 0.6931471805599453
SQRT_2 = 1.4142135623730951
LOWEST_EXPONENT, HIGHEST_EXPONENT = -32.0, 16.0


@bare_kernel
def take_row(signal: Array, volumes: Array, row: Array) -> None:
    """The wanted volumes of one voxel's signal, float32; `row` may be longer than `volumes`."""
    for v in range(len(volumes)):
        row[v] = signal[volumes[v]]


@bare_kernel
def logarithms(row: Array, n_volumes: int, mantissas: Array, side: int, logs: Array, usable: Array) -> int:
    """Natural logarithms, to 1e-9, of the first `n_volumes` of `row`, float32; returns how many there are none of.

    ``usable`` becomes 1.0, or 0.0 where a value is not finite, negative, or below the smallest normal number: there,
    and after `n_volumes`, the logarithm is 0. Both are written to row `side`; `mantissas`, int32, is scratch.
    """
    bits = row.view(np.int32)
    for v in range(logs.shape[1]):
        is_usable = (bits[v] >= SMALLEST_NORMAL_BITS) & (bits[v] < INFINITY_BITS) & (v < n_volumes)
        usable[side, v] = 1.0 if is_usable else 0.0
        mantissas[v] = (bits[v] & MANTISSA_BITS) | ONE_BITS
    fractions = mantissas.view(np.float32)
    n_usable = 0.0
    for v in range(logs.shape[1]):
        exponent = np.float64(np.int32((bits[v] >> 23) - 127))
        m = np.float64(fractions[v])
        is_high = m > SQRT_2
        m = 0.5 * m if is_high else m
        exponent = exponent + 1.0 if is_high else exponent
        s = (m - 1.0) / (m + 1.0)
        q = s * s
        series = 1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * (1.0 / 9.0 + q * (1.0 / 11.0)))))
        logs[side, v] = (exponent * LOG_2 + 2.0 * s * series) * usable[side, v]
        n_usable += usable[side, v]
    return n_volumes - int(n_usable)


@bare_kernel
def exponentials(values: Array, side: int) -> None:
    """Replace every x of a row by exp(x), to 1e-6 between -8 and 8; x is kept within -32 and 16 before.

    exp(x / 64) by its series, and then its square six times: no bits are handled, so that it runs in vectors anywhere.
    """
    for v in range(values.shape[1]):
        x = min(max(values[side, v], LOWEST_EXPONENT), HIGHEST_EXPONENT) * (1.0 / 64.0)
        series = 1.0 + x * (
            1.0 + x * (1.0 / 2.0 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x * (1.0 / 120.0 + x * (1.0 / 720.0)))))
        )
        series *= series
        series *= series
        series *= series
        series *= series
        series *= series
        values[side, v] = series * series


@bare_kernel
def predict(moments: Array, x: Array, side: int, factor: float, out: Array) -> None:
    """`factor` times the predicted logarithm of the signal, relative to log s0; of a row of `x`, into that of `out`."""
    x1, x2, x3 = factor * x[side, 1], factor * x[side, 2], factor * x[side, 3]
    x4, x5, x6 = factor * x[side, 4], factor * x[side, 5], factor * x[side, 6]
    for v in range(out.shape[1]):
        out[side, v] = (
            moments[1, v] * x1 + moments[2, v] * x2 + moments[3, v] * x3
            + moments[4, v] * x4 + moments[5, v] * x5 + moments[6, v] * x6
        )  # fmt: skip


@bare_kernel
def sum_seven(table: Array, weights: Array, out: Array) -> None:
    """Sums over volumes, (2, 7), of each of seven rows of a table times either row of weights."""
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = 0.0
    b0 = b1 = b2 = b3 = b4 = b5 = b6 = 0.0
    for v in range(weights.shape[1]):
        a, b = weights[0, v], weights[1, v]
        a0 += table[0, v] * a
        a1 += table[1, v] * a
        a2 += table[2, v] * a
        a3 += table[3, v] * a
        a4 += table[4, v] * a
        a5 += table[5, v] * a
        a6 += table[6, v] * a
        b0 += table[0, v] * b
        b1 += table[1, v] * b
        b2 += table[2, v] * b
        b3 += table[3, v] * b
        b4 += table[4, v] * b
        b5 += table[5, v] * b
        b6 += table[6, v] * b
    out[0, 0], out[0, 1], out[0, 2], out[0, 3], out[0, 4], out[0, 5], out[0, 6] = a0, a1, a2, a3, a4, a5, a6
    out[1, 0], out[1, 1], out[1, 2], out[1, 3], out[1, 4], out[1, 5], out[1, 6] = b0, b1, b2, b3, b4, b5, b6


@bare_kernel
def sum_eleven(table: Array, first: int, weights: Array, out: Array) -> None:
    """As `sum_seven`, of the eleven rows from `first` on, to the same places of `out`."""
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = a8 = a9 = a10 = 0.0
    b0 = b1 = b2 = b3 = b4 = b5 = b6 = b7 = b8 = b9 = b10 = 0.0
    for v in range(weights.shape[1]):
        a, b = weights[0, v], weights[1, v]
        a0 += table[first, v] * a
        a1 += table[first + 1, v] * a
        a2 += table[first + 2, v] * a
        a3 += table[first + 3, v] * a
        a4 += table[first + 4, v] * a
        a5 += table[first + 5, v] * a
        a6 += table[first + 6, v] * a
        a7 += table[first + 7, v] * a
        a8 += table[first + 8, v] * a
        a9 += table[first + 9, v] * a
        a10 += table[first + 10, v] * a
        b0 += table[first, v] * b
        b1 += table[first + 1, v] * b
        b2 += table[first + 2, v] * b
        b3 += table[first + 3, v] * b
        b4 += table[first + 4, v] * b
        b5 += table[first + 5, v] * b
        b6 += table[first + 6, v] * b
        b7 += table[first + 7, v] * b
        b8 += table[first + 8, v] * b
        b9 += table[first + 9, v] * b
        b10 += table[first + 10, v] * b
    out[0, first] = a0
    out[0, first + 1] = a1
    out[0, first + 2] = a2
    out[0, first + 3] = a3
    out[0, first + 4] = a4
    out[0, first + 5] = a5
    out[0, first + 6] = a6
    out[0, first + 7] = a7
    out[0, first + 8] = a8
    out[0, first + 9] = a9
    out[0, first + 10] = a10
    out[1, first] = b0
    out[1, first + 1] = b1
    out[1, first + 2] = b2
    out[1, first + 3] = b3
    out[1, first + 4] = b4
    out[1, first + 5] = b5
    out[1, first + 6] = b6
    out[1, first + 7] = b7
    out[1, first + 8] = b8
    out[1, first + 9] = b9
    out[1, first + 10] = b10


@bare_kernel
def solve(sums: Array, right: Array, lower: Array, x: Array, pivots: Array, is_fitted: Array) -> None:
    """Solve the normal equations of two voxels, in step: one waits for its divisions while the other calculates.

    Parameters
    ----------
    sums : (2, 22) float64
        Weighted sums of the rows of `tensor_moments`.
    right : (2, 7) float64
    lower : (7, 7, 2) float64
        Scratch.
    x : (2, 7) float64
        Written.
    pivots : (2, 7) float64
        Written: what is left of each diagonal entry when those before it are eliminated.
    is_fitted : (2,) bool
        Made False where the equations are not positive definite to working precision.
    """
    n = N_UNKNOWNS
    position = 0
    for i in range(n):
        for j in range(i, n):
            for side in range(2):
                lower[i, j, side] = sums[side, MOMENT_OF_PRODUCT[position]]
            position += 1
        for side in range(2):
            x[side, i] = right[side, i]
            pivots[side, i] = lower[i, i, side]
    for k in range(n):
        for side in range(2):
            # A pivot that lost 12 digits means an unknown is not determined.
            if not lower[k, k, side] > 1e-12 * pivots[side, k]:
                is_fitted[side] = False
            pivots[side, k] = lower[k, k, side]
        first, second = 1.0 / lower[k, k, 0], 1.0 / lower[k, k, 1]
        for i in range(k + 1, n):
            a, b = lower[k, i, 0] * first, lower[k, i, 1] * second
            for j in range(i, n):
                lower[i, j, 0] -= a * lower[k, j, 0]
                lower[i, j, 1] -= b * lower[k, j, 1]
            x[0, i] -= a * x[0, k]
            x[1, i] -= b * x[1, k]
    for i in range(n - 1, -1, -1):
        a, b = x[0, i], x[1, i]
        for j in range(i + 1, n):
            a -= lower[i, j, 0] * x[0, j]
            b -= lower[i, j, 1] * x[1, j]
        x[0, i], x[1, i] = a / lower[i, i, 0], b / lower[i, i, 1]
