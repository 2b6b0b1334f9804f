"""Monte-Carlo standard errors of what is said about an edge.

Every seed has random numbers of its own, so the streamlines of a run are independent draws, and each is a batch by
itself: the spread between streamlines, seen in one run, says how far a sum or a mean would spread between runs with
other random numbers (batch means with batches of one; Asmussen and Glynn 2007, Stochastic Simulation, ch. III). The
number of streamlines looked at, N, is taken as fixed. A sum over an edge is then N draws of which those elsewhere give
0; a mean is a ratio of two such sums, linearised (Cochran 1977, Sampling Techniques, ch. 6).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def of_sum(total: Matrix, squares: Matrix, n_streamlines: int) -> Matrix:
    """Standard error of the sum of a value over the streamlines of each edge.

    Parameters
    ----------
    total, squares : (n_regions, n_regions) float64
        Sum of the value, and of its square.
    n_streamlines : int
        Streamlines looked at, on whatever edge.

    Returns
    -------
    (n_regions, n_regions) float64
        0 where there are none; NaN everywhere for fewer than two streamlines looked at.
    """
    if n_streamlines < 2:
        return np.full_like(total, np.nan)
    error: Matrix = np.sqrt(
        np.maximum(squares - total * total / n_streamlines, 0.0) * n_streamlines / (n_streamlines - 1)
    )
    return error


def of_mean(sums: Matrix, totals: Matrix, moments: tuple[Matrix, Matrix, Matrix, Matrix]) -> Matrix:
    """Standard error of the weighted mean of a value over the streamlines of each edge.

    Parameters
    ----------
    sums, totals : (n_regions, n_regions) float64
        Sum of weight times value, and of the weights.
    moments : tuple of four (n_regions, n_regions) float64
        Sum of (weight times value) squared, of weight squared times value, of weight squared, and of streamlines.

    Returns
    -------
    (n_regions, n_regions) float64
        NaN where there are fewer than two.
    """
    squares, mixed, weights_squared, number = moments
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums / totals
        # Rounding may leave a little less than nothing where all values are equal.
        spread = np.maximum(squares - 2.0 * mean * mixed + mean * mean * weights_squared, 0.0)
        error: Matrix = np.sqrt(number / (number - 1.0) * spread) / totals
    return np.where(number >= 2, error, np.nan)


def of_quotient(quotient: Matrix, above: tuple[Matrix, Matrix], below: tuple[Matrix, Matrix]) -> Matrix:
    """Standard error of a sum over a mean of the same streamlines, each given with its own; NaN where one has none.

    A sum that counts streamlines and a mean over them do not covary to first order.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        error: Matrix = np.abs(quotient) * np.sqrt((above[1] / above[0]) ** 2 + (below[1] / below[0]) ** 2)
    return error
