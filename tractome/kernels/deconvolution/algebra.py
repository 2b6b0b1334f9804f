"""Linear algebra of sixteen small problems at once; arrays are float32 (rows, WIDTH), a triangle packed by rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import inner_kernel
from tractome.kernels._lanes import add, div, fma, fnma, higher, keep_apart, load, mul, root, splat, store, sub

Array = NDArray[Any]


@inner_kernel
def multiply(
    columns: Array, first_k: int, last_k: int, first_i: int, last_i: int, x: Array, x_row: int, out: Array, out_row: int
) -> None:
    """``out = columns' x`` for a block of `columns`, one matrix for all lanes.

    Rows `first_k` to `last_k` go with the rows of `x` from `x_row` on; columns `first_i` to `last_i` make the rows of
    `out` from `out_row` on. Eight of these at a time stay in registers; the last eight may be partly done twice.
    """
    keep_apart()
    zero = splat(np.float32(0))
    i = first_i
    while i < last_i:
        if last_i - first_i < 8:
            s0 = zero
            for k in range(first_k, last_k):
                s0 = fma(splat(columns[k, i]), load(x, x_row + k - first_k), s0)
            store(out, out_row + i - first_i, s0)
            i += 1
            continue
        i = min(i, last_i - 8)
        s0, s1, s2, s3, s4, s5, s6, s7 = zero, zero, zero, zero, zero, zero, zero, zero
        for k in range(first_k, last_k):
            a = load(x, x_row + k - first_k)
            s0, s1 = fma(splat(columns[k, i]), a, s0), fma(splat(columns[k, i + 1]), a, s1)
            s2, s3 = fma(splat(columns[k, i + 2]), a, s2), fma(splat(columns[k, i + 3]), a, s3)
            s4, s5 = fma(splat(columns[k, i + 4]), a, s4), fma(splat(columns[k, i + 5]), a, s5)
            s6, s7 = fma(splat(columns[k, i + 6]), a, s6), fma(splat(columns[k, i + 7]), a, s7)
        row = out_row + i - first_i
        store(out, row, s0)
        store(out, row + 1, s1)
        store(out, row + 2, s2)
        store(out, row + 3, s3)
        store(out, row + 4, s4)
        store(out, row + 5, s5)
        store(out, row + 6, s6)
        store(out, row + 7, s7)
        i += 8


@inner_kernel
def mirror(values: Array, n: int) -> None:
    """Sums and differences, in place, of the four blocks of `n` rows that `values` begins with.

    From the four classes of harmonics to the four mirror images of an octant, and, being symmetric, back.
    """
    keep_apart()
    for q in range(n):
        a, b, c, d = load(values, q), load(values, n + q), load(values, 2 * n + q), load(values, 3 * n + q)
        e, f, g, h = add(a, b), add(c, d), sub(a, b), sub(c, d)
        store(values, q, add(e, f))
        store(values, n + q, add(g, h))
        store(values, 2 * n + q, sub(e, f))
        store(values, 3 * n + q, sub(g, h))


@inner_kernel
def add_products(
    hessian: Array, place: Array, first: Array, moment: Array, factor: Array, moments: Array, matrix: Array
) -> None:
    """``matrix = hessian + sums of factor x moments``.

    Sum k has the terms from ``first[k]`` to ``first[k + 1]`` and belongs to entry ``place[k]``. In the order of their
    number of terms the processor can guess where each loop ends, which halves the time.
    """
    keep_apart()
    for k in range(len(place)):
        total = splat(hessian[place[k]])
        for term in range(first[k], first[k + 1]):
            total = fma(splat(factor[term]), load(moments, moment[term]), total)
        store(matrix, place[k], total)
    for entry in range(len(place), len(hessian)):
        store(matrix, entry, splat(hessian[entry]))


@inner_kernel
def cholesky(matrix: Array, n: int) -> None:
    """Replace a packed lower triangle by its Cholesky factor, with the inverse of each diagonal entry in its place.

    Two rows and two columns at a time, so that a number is used twice for each time it is fetched. A pivot that is not
    positive becomes tiny: such a lane's numbers are of no use, and show it by their size.
    """
    keep_apart()
    one, tiny = splat(np.float32(1)), splat(np.float32(1e-12))
    for i in range(0, n, 2):
        row, is_pair = i * (i + 1) // 2, i + 1 < n
        # The last row of an odd number is done twice, which is simpler than a second kind of loop.
        next_row = row + i + 1 if is_pair else row
        for j in range(0, i, 2):
            above = j * (j + 1) // 2
            below = above + j + 1
            s00, s01 = load(matrix, row + j), load(matrix, row + j + 1)
            s10, s11 = load(matrix, next_row + j), load(matrix, next_row + j + 1)
            for k in range(j):
                p, q = load(matrix, row + k), load(matrix, next_row + k)
                u, v = load(matrix, above + k), load(matrix, below + k)
                s00, s01, s10, s11 = fnma(p, u, s00), fnma(p, v, s01), fnma(q, u, s10), fnma(q, v, s11)
            inverse, across = load(matrix, above + j), load(matrix, below + j)
            s00, s10 = mul(s00, inverse), mul(s10, inverse)
            inverse = load(matrix, below + j + 1)
            store(matrix, row + j, s00)
            store(matrix, row + j + 1, mul(fnma(s00, across, s01), inverse))
            store(matrix, next_row + j, s10)
            store(matrix, next_row + j + 1, mul(fnma(s10, across, s11), inverse))
        s00 = load(matrix, row + i)
        for k in range(i):
            p = load(matrix, row + k)
            s00 = fnma(p, p, s00)
        s00 = div(one, root(higher(s00, tiny)))
        store(matrix, row + i, s00)
        if is_pair:
            s10, s11 = load(matrix, next_row + i), load(matrix, next_row + i + 1)
            for k in range(i):
                q = load(matrix, next_row + k)
                s10, s11 = fnma(q, load(matrix, row + k), s10), fnma(q, q, s11)
            s10 = mul(s10, s00)
            store(matrix, next_row + i, s10)
            store(matrix, next_row + i + 1, div(one, root(higher(fnma(s10, s10, s11), tiny))))


@inner_kernel
def substitute(factor: Array, n: int, x: Array) -> None:
    """Solve in place with a factor made by `cholesky`."""
    keep_apart()
    for i in range(n):
        row = i * (i + 1) // 2
        s = load(x, i)
        for k in range(i):
            s = fnma(load(factor, row + k), load(x, k), s)
        store(x, i, mul(s, load(factor, row + i)))
    for i in range(n - 1, -1, -1):
        row = i * (i + 1) // 2
        s = mul(load(x, i), load(factor, row + i))
        store(x, i, s)
        for k in range(i):
            store(x, k, fnma(load(factor, row + k), s, load(x, k)))


@inner_kernel
def quadratic_form(hessian: Array, n: int, d: Array) -> None:
    """Put ``d' H d`` into row n of `d`, whose rows 0 to n - 1 are the vector; one packed lower triangle for all."""
    keep_apart()
    total, entry = splat(np.float32(0)), 0
    for i in range(n):
        a, cross = load(d, i), splat(np.float32(0))
        for j in range(i):
            cross = fma(splat(hessian[entry + j]), load(d, j), cross)
        total = fma(a, fma(splat(hessian[entry + i]), a, add(cross, cross)), total)
        entry += i + 1
    store(d, n, total)
