"""Sums, extremes and medians over the streamlines of each edge.

An edge is the pair of rows that the two ends of a streamline belong to. Only the upper triangle is filled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel, parallel_kernel, prange


@kernel
def add_to_edges(
    ends: NDArray[np.int32],
    values: NDArray[np.float32],
    weights: NDArray[np.float64],
    counts: NDArray[np.int64],
    sums: NDArray[np.float64],
    totals: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> int:
    """Add each streamline to the edge between its two rows, in streamline order.

    Serial on purpose: the sums then do not depend on the number of threads, nor on how the streamlines were cut into
    blocks.

    Parameters
    ----------
    ends : (n_streamlines, 2) int32
        Row at each end, -1 for none.
    values : (n_values, n_streamlines) float32
        What is averaged per edge; NaN is left out of that value's mean only.
    weights : (n_streamlines,) float64
        Of each streamline; of length 0 where each counts alike.
    counts : (n_regions, n_regions) int64
        Streamlines per edge; added to in place.
    sums, totals : (n_regions, n_regions, n_values) float64
        Sum of weight times value, and of the weights that went into it; added to in place.
    squares : (n_regions, n_regions, n_values, 0, 1 or 4) float64
        What standard errors need, added to in place: sum of (weight times value) squared; where streamlines do not
        count alike also of weight squared times value, of weight squared, and of streamlines. Nothing where there is
        no room.

    Returns
    -------
    int
        Streamlines without a region at one or both ends.
    """
    n_unassigned = 0
    n_kept = squares.shape[3]
    for n in range(len(ends)):
        first, second = ends[n, 0], ends[n, 1]
        if first < 0 or second < 0:
            n_unassigned += 1
            continue
        if second < first:
            first, second = second, first
        counts[first, second] += 1
        weight = weights[n] if len(weights) > 0 else 1.0
        for m in range(len(values)):
            value = values[m, n]
            if value == value:
                sums[first, second, m] += weight * value
                totals[first, second, m] += weight
                if n_kept > 0:
                    squares[first, second, m, 0] += (weight * value) ** 2
                if n_kept > 1:
                    squares[first, second, m, 1] += weight * weight * value
                    squares[first, second, m, 2] += weight * weight
                    squares[first, second, m, 3] += 1.0
    return n_unassigned


@kernel
def widen_edges(
    ends: NDArray[np.int32], values: NDArray[np.float32], lows: NDArray[np.float32], highs: NDArray[np.float32]
) -> None:
    """Lower and raise the extremes of each edge, (n_regions, n_regions, n_values), in place; arguments as above."""
    for n in range(len(ends)):
        first, second = min(ends[n, 0], ends[n, 1]), max(ends[n, 0], ends[n, 1])
        if first < 0:
            continue
        for m in range(len(values)):
            value = values[m, n]
            lows[first, second, m] = min(lows[first, second, m], value) if value == value else lows[first, second, m]
            highs[first, second, m] = max(highs[first, second, m], value) if value == value else highs[first, second, m]


@parallel_kernel
def edge_medians(ends: NDArray[np.int32], values: NDArray[np.float32], n_regions: int) -> NDArray[np.float64]:
    """Median over the streamlines of each edge.

    Parameters
    ----------
    ends : (n_streamlines, 2) int32
        Row at each end, -1 for none.
    values : (n_streamlines,) float32
        NaN is left out.

    Returns
    -------
    (n_regions, n_regions) float64
        Of an even number of values the mean of the two in the middle; NaN where there is none.
    """
    begins = np.zeros(n_regions * n_regions + 1, np.int64)
    for n in range(len(ends)):
        first, second = min(ends[n, 0], ends[n, 1]), max(ends[n, 0], ends[n, 1])
        if first >= 0 and values[n] == values[n]:
            begins[first * n_regions + second + 1] += 1
    for edge in range(n_regions * n_regions):
        begins[edge + 1] += begins[edge]
    filled = begins.copy()
    grouped = np.empty(begins[-1], np.float32)
    for n in range(len(ends)):
        first, second = min(ends[n, 0], ends[n, 1]), max(ends[n, 0], ends[n, 1])
        if first >= 0 and values[n] == values[n]:
            edge = first * n_regions + second
            grouped[filled[edge]] = values[n]
            filled[edge] += 1
    medians = np.full(n_regions * n_regions, np.nan)
    for edge in prange(n_regions * n_regions):
        begin, end = begins[edge], begins[edge + 1]
        if end > begin:
            ranked = np.sort(grouped[begin:end])
            middle = (end - begin) // 2
            upper = np.float64(ranked[middle])
            medians[edge] = upper if (end - begin) % 2 else 0.5 * (np.float64(ranked[middle - 1]) + upper)
    return medians.reshape(n_regions, n_regions)
