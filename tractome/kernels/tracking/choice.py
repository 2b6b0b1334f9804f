"""How the first and the next direction are chosen: a method is one rule here."""

from __future__ import annotations

import numpy as np

from tractome.kernels._jit import kernel
from tractome.kernels.tracking.types import DETERMINISTIC, Floats, Rules, Scratch, Sphere

_BELOW_ONE = 1 - 2.0**-24
"""Largest number below 1 in single precision: a draw above it must not round up to the whole."""


@kernel
def start_direction(sphere: Sphere, rules: Rules, u: float, scratch: Scratch) -> int:
    """A direction of the whole (half) sphere, drawn in proportion to the amplitude above the cutoff; -1 for none."""
    n_half = sphere.steps.shape[0] // 2
    total = np.float32(0.0)
    for direction in range(n_half):
        total += _amplitude(sphere, scratch.sh, direction, rules.cutoff)
        scratch.amplitudes[direction] = total
    return _draw(scratch.amplitudes, n_half, u)


@kernel
def next_direction(sphere: Sphere, rules: Rules, axis: int, u: float, scratch: Scratch) -> int:
    """The next direction inside the cone around `axis`; -1 where none has an amplitude above the cutoff."""
    start, stop = sphere.cone_starts[axis], sphere.cone_starts[axis + 1]
    if rules.method == DETERMINISTIC:
        best, highest = -1, np.float32(0.0)
        for slot in range(start, stop):
            direction = sphere.cone_members[slot]
            value = _amplitude(sphere, scratch.sh, direction, rules.cutoff)
            if value > highest:
                best, highest = direction, value
        return best
    total = np.float32(0.0)
    for slot in range(start, stop):
        total += _amplitude(sphere, scratch.sh, sphere.cone_members[slot], rules.cutoff)
        scratch.amplitudes[slot - start] = total
    chosen = _draw(scratch.amplitudes, stop - start, u)
    return sphere.cone_members[start + chosen] if chosen >= 0 else -1


@kernel
def _amplitude(sphere: Sphere, sh: Floats, direction: int, cutoff: float) -> np.float32:
    """Amplitude of the interpolated orientation field along a direction; 0 below the cutoff."""
    row = sphere.basis[direction]
    value = np.float32(0.0)
    for coefficient in range(row.shape[0]):
        value += row[coefficient] * sh[coefficient]
    return value if value >= cutoff else np.float32(0.0)


@kernel
def _draw(cumulative: Floats, n: int, u: float) -> int:
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
