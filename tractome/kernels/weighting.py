"""Arithmetic of streamline weights: packed contributions, densities of fixels, slope and length of steps.

The model of SIFT2 (Smith et al. 2015): streamline s has a coefficient c_s and the weight exp(c_s). With l the length of
s in fixel f, the cost is

    sum_f p_f (mu sum_s l exp(c_s) - d_f)^2
        + a sum_s c_s^2 + b sum_s sum_f p_f l (c_s - m_f)^2 / sum_f p_f l,    m_f = sum_s l c_s / sum_s l

A contribution (fixel and length) is one 32-bit number: the fixel's index in the high bits, the length in units of a
quantum in the low ones. Sums over streamlines run in `n_parts` fixed shares of the streamlines, each in their order,
and the shares are added in order: neither threads nor blocks change a bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel, parallel_kernel, prange

_CHUNK = 512
"""Streamlines that belong to one part in a row."""
_MOST_PARTS = 8

WEIGHTED, COEFFICIENT, PER_LENGTH = 0, 1, 2
"""Columns of the sums over streamlines in a fixel: of l exp(c), of l c, and of l c / (sum of p l of the streamline)."""
RESIDUAL, SHARED_MEAN, PULL = 0, 1, 2
"""Columns of what a streamline needs of its fixels: p (mu D - d), p m, and what its c does to the cost through m."""


def n_parts(n_entries: int, n_fixels: int) -> int:
    """Shares of the streamlines: 2, 4 or 8, so that joining them stays little work beside making them."""
    return next((n for n in (_MOST_PARTS, 4) if n_entries >= 8 * n * n_fixels), 2)


@kernel
def pack_contributions(
    fixels: NDArray[np.int32],
    lengths_mm: NDArray[np.float64],
    starts: NDArray[np.int64],
    number_of: NDArray[np.int32],
    shift: int,
    quantum_mm: float,
    entries: NDArray[np.uint32],
    counts: NDArray[np.int64],
) -> int:
    """Pack the contributions of a block of streamlines; return how many there are.

    Parameters
    ----------
    fixels, lengths_mm, starts
        As `mapping.map_to_fixels` gives them.
    number_of : (n_all_fixels,) int32
        Number of each fixel in the model, -1 where it is not in it.
    shift : int
        Bits of the length.
    quantum_mm : float
        Unit of the length.
    entries : (room,) uint32
        Filled; a length above what the bits hold becomes several.
    counts : (n_streamlines,) int64
        Filled: contributions of each.
    """
    most, n = (1 << shift) - 1, 0
    for s in range(len(starts) - 1):
        before = n
        for k in range(starts[s], starts[s + 1]):
            number = number_of[fixels[k]]
            if number < 0:
                continue
            left = int(np.floor(lengths_mm[k] / quantum_mm + 0.5))
            while left > 0 and n < len(entries):
                piece = min(left, most)
                entries[n] = np.uint32((number << shift) | piece)
                left -= piece
                n += 1
        counts[s] = n - before
    return n


@parallel_kernel
def add_densities(
    entries: NDArray[np.uint32],
    starts: NDArray[np.int64],
    first: int,
    shift: int,
    quantum_mm: float,
    coefficients: NDArray[np.float64],
    per_length: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Add a block of streamlines to the sums of its fixels.

    Parameters
    ----------
    entries : (n_entries,) uint32
    starts : (n_streamlines + 1,) int64
        Streamline i of the block has ``entries[starts[i]:starts[i + 1]]``.
    first : int
        Number of the block's first streamline.
    coefficients, per_length : (all streamlines,) float64
        c, and 1 / sum of p l (0 where there is nothing).
    sums : (n_parts, n_fixels, 3) float64
        Columns `WEIGHTED`, `COEFFICIENT`, `PER_LENGTH`.
    """
    low = np.uint32((1 << shift) - 1)
    last = first + len(starts) - 1
    for part in prange(len(sums)):
        mine = sums[part]
        for chunk in range(first // _CHUNK, (last + _CHUNK - 1) // _CHUNK):
            if chunk % len(sums) != part:
                continue
            for s in range(max(first, chunk * _CHUNK), min(last, (chunk + 1) * _CHUNK)):
                c = coefficients[s]
                weight, unit = np.exp(c) * quantum_mm, c * quantum_mm
                for k in range(starts[s - first], starts[s - first + 1]):
                    fixel, length = entries[k] >> shift, np.float64(entries[k] & low)
                    mine[fixel, 0] += length * weight
                    mine[fixel, 1] += length * unit
                    mine[fixel, 2] += length * unit * per_length[s]


@parallel_kernel
def join_parts(sums: NDArray[np.float64], total: NDArray[np.float64]) -> None:
    """Add the parts in order, (n_parts, n_fixels, 3) -> (n_fixels, 3), and set them to 0."""
    for fixel in prange(len(total)):
        for column in range(3):
            value = 0.0
            for part in range(len(sums)):
                value += sums[part, fixel, column]
                sums[part, fixel, column] = 0.0
            total[fixel, column] = value


@parallel_kernel
def sum_lengths(
    entries: NDArray[np.uint32],
    starts: NDArray[np.int64],
    shift: int,
    quantum_mm: float,
    values: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Sum of length x value of the fixel over each streamline of a block, into `out` (n_streamlines,)."""
    low = np.uint32((1 << shift) - 1)
    for s in prange(len(starts) - 1):
        total = 0.0
        for k in range(starts[s], starts[s + 1]):
            total += np.float64(entries[k] & low) * values[entries[k] >> shift]
        out[s] = total * quantum_mm


@parallel_kernel
def slopes(
    entries: NDArray[np.uint32],
    starts: NDArray[np.int64],
    first: int,
    shift: int,
    quantum_mm: float,
    coefficients: NDArray[np.float64],
    per_length: NDArray[np.float64],
    fields: NDArray[np.float64],
    two_mu: float,
    tikhonov: float,
    variation: float,
    gradient: NDArray[np.float64],
) -> None:
    """Derivative of the cost by the coefficient of each streamline of a block.

    Parameters
    ----------
    entries, starts, first, shift, quantum_mm, coefficients, per_length
        See `add_densities`.
    fields : (n_fixels, 3) float64
        Columns `RESIDUAL`, `SHARED_MEAN`, `PULL`.
    two_mu : float
        2 mu.
    tikhonov, variation : float
        a and b of the cost.
    gradient : (all streamlines,) float64
        Filled for the block; 0 where a streamline contributes to nothing.
    """
    low = np.uint32((1 << shift) - 1)
    for i in prange(len(starts) - 1):
        s = first + i
        residual, mean, pull = 0.0, 0.0, 0.0
        for k in range(starts[i], starts[i + 1]):
            fixel, length = entries[k] >> shift, np.float64(entries[k] & low)
            residual += length * fields[fixel, 0]
            mean += length * fields[fixel, 1]
            pull += length * fields[fixel, 2]
        if per_length[s] > 0.0:
            c = coefficients[s]
            gradient[s] = (
                two_mu * np.exp(c) * residual * quantum_mm
                + 2.0 * variation * (c - (mean * per_length[s] + pull) * quantum_mm)
                + 2.0 * tikhonov * c
            )
        else:
            gradient[s] = 0.0


@kernel
def fixel_fields(
    sums: NDArray[np.float64],
    totals: NDArray[np.float64],
    lengths_mm: NDArray[np.float64],
    density: NDArray[np.float64],
    share: NDArray[np.float64],
    is_fitted: NDArray[np.bool_],
    mu: float,
    fields: NDArray[np.float64],
) -> tuple[float, float]:
    """From the sums over streamlines to what streamlines need of their fixels; return the two parts of the cost.

    Parameters
    ----------
    sums : (n_fixels, 3) float64
    totals : (n_fixels,) float64
        Sum of l / (sum of p l of the streamline).
    lengths_mm : (n_fixels,) float64
        Sum of l.
    density, share : (n_fixels,) float64
        d and p.
    is_fitted : (n_fixels,) bool
        Whether a fixel takes part in the first sum of the cost.
    mu : float
    fields : (n_fixels, 3) float64
        Filled.

    Returns
    -------
    misfit : float
        First sum, over the fitted fixels.
    explained : float
        What the means take off the sum of c^2 over the streamlines, so that their difference is the last sum.
    """
    misfit, explained = 0.0, 0.0
    for f in range(len(sums)):
        fields[f, 0] = 0.0
        if is_fitted[f]:
            difference = mu * sums[f, 0] - density[f]
            fields[f, 0] = share[f] * difference
            misfit += share[f] * difference * difference
        fields[f, 1], fields[f, 2] = 0.0, 0.0
        if lengths_mm[f] > 0.0:
            mean = sums[f, 1] / lengths_mm[f]
            fields[f, 1] = share[f] * mean
            fields[f, 2] = share[f] * (sums[f, 2] - mean * totals[f]) / lengths_mm[f]
            explained += share[f] * mean * (2.0 * sums[f, 2] - mean * totals[f])
    return misfit, explained


@kernel
def dot(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Sum of products, always in one order."""
    total = 0.0
    for i in range(len(one)):
        total += one[i] * other[i]
    return total
