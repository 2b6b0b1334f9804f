"""How a direction of the sphere is drawn in proportion to the field's amplitude."""

from __future__ import annotations

import numpy as np

from tractome.kernels._jit import bare_kernel
from tractome.kernels.random import keyed_bits, keyed_uniform
from tractome.kernels.tracking.field import amplitude
from tractome.kernels.tracking.types import PEAK, Floats, Ints

_BELOW_ONE = 1 - 2.0**-24
"""Largest number below 1 in single precision: a draw above it must not round up to the whole."""

_N_TRIES = 12
"""Tries by rejection, a few of which nearly always do, before all candidates are looked at."""

_ROUNDING = np.float32(1.0001)
"""The interpolated highest amplitude bounds the amplitude interpolated, but for rounding."""

_S32, _S8, _LOW = np.uint64(32), np.uint64(8), np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)


@bare_kernel
def split_draw(bits: np.uint64, n: int) -> tuple[int, np.float32]:
    """One draw's 64 bits as an index below n (at most 2^31) and a number in [0, 1)."""
    index = int(((bits >> _S32) * np.uint64(n)) >> _S32)
    return index, np.float32((bits & _LOW) >> _S8) * np.float32(2.0**-24)


@bare_kernel
def draw_direction(
    basis: Floats,
    members: Ints,
    start: int,
    stop: int,
    cutoff: float,
    sh: Floats,
    key: np.uint64,
    draw: np.uint64,
    running: Floats,
) -> tuple[int, np.uint64]:
    """One of the directions ``members[start:stop]``, in proportion to the amplitude; -1 where none reaches the cutoff.

    By rejection under the highest amplitude first (von Neumann 1951). A try that fails says nothing about the next,
    so that after some of them the draw is made from all candidates, and has the same distribution.

    Returns
    -------
    int
        Index of the direction, or -1.
    uint64
        The next draw.
    """
    bound = sh[PEAK] * _ROUNDING
    n = stop - start
    if bound < cutoff or n == 0:
        return -1, draw
    for _ in range(_N_TRIES):
        index, u = split_draw(keyed_bits(key, draw), n)
        draw += _ONE
        direction = members[start + index]
        value = amplitude(basis, direction, sh)
        if value >= cutoff and value > u * bound:
            return direction, draw
    total = np.float32(0.0)
    for slot in range(n):
        value = amplitude(basis, members[start + slot], sh)
        if value >= cutoff:
            total += value
        running[slot] = total
    chosen = draw_share(running, n, keyed_uniform(key, draw))
    return (members[start + chosen] if chosen >= 0 else -1), draw + _ONE


@bare_kernel
def best_direction(basis: Floats, members: Ints, start: int, stop: int, cutoff: float, sh: Floats) -> int:
    """The direction of highest amplitude among ``members[start:stop]``; -1 where none reaches the cutoff."""
    best, highest = -1, np.float32(0.0)
    for slot in range(start, stop):
        value = amplitude(basis, members[slot], sh)
        if value > highest and value >= cutoff:
            best, highest = members[slot], value
    return best


@bare_kernel
def draw_share(cumulative: Floats, n: int, u: float) -> int:
    """First of n indices whose running total exceeds a share `u` in [0, 1) of the whole; -1 where that is 0."""
    if n == 0 or cumulative[n - 1] <= 0:
        return -1
    target = np.float32(min(u, _BELOW_ONE)) * cumulative[n - 1]
    low, high = 0, n - 1
    while low < high:
        middle = (low + high) // 2
        if cumulative[middle] > target:
            high = middle
        else:
            low = middle + 1
    return low
