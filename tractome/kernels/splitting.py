"""Streamlines out of the numbers of a tractogram file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel

MORE, END, NOT_FINITE, UNENDED = 0, 1, 2, 3
"""Why it stopped: the rows are used up; the end mark; a point is not finite; the end mark inside a streamline."""


@kernel
def split_rows(
    rows: NDArray[np.float32], points: NDArray[np.float32], lengths: NDArray[np.int64]
) -> tuple[int, int, int, int]:
    """Split the rows of a .tck file: a row of NaN ends a streamline, one of infinities the file.

    Parameters
    ----------
    rows : (n, 3) float32
    points : (n, 3) float32
        Filled with the rows that are points.
    lengths : (n,) int64
        Filled with the number of points of each streamline that ends among the rows.

    Returns
    -------
    n_points, n_streamlines : int
        How many there are of those that are whole.
    n_rows : int
        Rows that they took: those after them begin a streamline that is not whole.
    state : int
        MORE, END, NOT_FINITE, or UNENDED (the end mark inside a streamline).
    """
    n_points, n_whole, n_streamlines, n_used = 0, 0, 0, 0
    for n in range(len(rows)):
        x, y, z = rows[n, 0], rows[n, 1], rows[n, 2]
        total = x + y + z
        if total - total == 0.0:
            points[n_points, 0], points[n_points, 1], points[n_points, 2] = x, y, z
            n_points += 1
        elif np.isnan(x) and np.isnan(y) and np.isnan(z):
            lengths[n_streamlines] = n_points - n_whole
            n_streamlines += 1
            n_whole, n_used = n_points, n + 1
        elif np.isinf(x) and np.isinf(y) and np.isinf(z):
            return n_whole, n_streamlines, n_used, END if n == n_used else UNENDED
        else:
            return n_whole, n_streamlines, n_used, NOT_FINITE
    return n_whole, n_streamlines, n_used, MORE


@kernel
def split_counted(
    words: NDArray[np.int32],
    n_scalars: int,
    n_properties: int,
    to_world: NDArray[np.float64],
    points: NDArray[np.float32],
    lengths: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """Split the words of a .trk file: the number of points of a streamline, then its points, then its properties.

    Parameters
    ----------
    words : (n,) int32
        Numbers as they stand; those of points are float32.
    n_scalars, n_properties : int
        Numbers after each point, and after each streamline.
    to_world : (3, 4) float64
        From the file's coordinates to world mm.
    points : (m, 3) float32
        Filled with the points in world mm; m at least n / 3.
    lengths : (n,) int64
        Filled with the number of points of each streamline.

    Returns
    -------
    n_points, n_streamlines, n_words, state
        As `split_rows`; a negative number of points is NOT_FINITE too.
    """
    values = words.view(np.float32)
    n_points, n_streamlines, at = 0, 0, 0
    while at < len(words):
        count = np.int64(words[at])
        if count < 0:
            return n_points, n_streamlines, at, NOT_FINITE
        end = at + 1 + count * (3 + n_scalars) + n_properties
        if end > len(words):
            break
        for n in range(count):
            place = at + 1 + n * (3 + n_scalars)
            x, y, z = np.float64(values[place]), np.float64(values[place + 1]), np.float64(values[place + 2])
            for axis in range(3):
                value = to_world[axis, 0] * x + to_world[axis, 1] * y + to_world[axis, 2] * z + to_world[axis, 3]
                if value - value != 0.0:
                    return n_points, n_streamlines, at, NOT_FINITE
                points[n_points, axis] = value
            n_points += 1
        lengths[n_streamlines] = count
        n_streamlines += 1
        at = int(end)
    return n_points, n_streamlines, at, MORE
