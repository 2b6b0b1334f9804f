"""One small constrained quadratic problem, in double precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def constrained_minimum(hessian: Floats, b: Floats, constraints: Floats) -> Floats:
    """Minimise ``1/2 x'Hx - b'x`` with ``C x >= 0``.

    By its dual, ``x = inv(H) (b + C'm)`` with the multipliers m a non-negative least squares problem.

    Parameters
    ----------
    hessian : (n, n) float64
        Symmetric, positive definite.
    b : (n,) float64
    constraints : (c, n) float64

    Returns
    -------
    (n,) float64
    """
    lower = np.linalg.cholesky(hessian)
    multipliers = non_negative_least_squares(np.linalg.solve(lower, constraints.T), -np.linalg.solve(lower, b))
    return np.asarray(np.linalg.solve(hessian, b + constraints.T @ multipliers))


def non_negative_least_squares(matrix: Floats, target: Floats) -> Floats:
    """Minimise ``|matrix x - target|`` with ``x >= 0``, by the active set of Lawson & Hanson 1974.

    Parameters
    ----------
    matrix : (m, n) float64
    target : (m,) float64

    Returns
    -------
    (n,) float64
    """
    x, is_free = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1], dtype=np.bool_)
    is_barred = is_free.copy()
    # Of the gradient: below it, a coefficient would lower the cost by no more than rounding.
    limit = 1e-12 * np.abs(matrix).max() * max(np.abs(target).max(), 1e-300) * len(target)
    for _ in range(10 * len(x)):
        gradient = np.where(is_free | is_barred, -np.inf, matrix.T @ (target - matrix @ x))
        if gradient.max() <= limit:
            break
        entering = int(np.argmax(gradient))
        is_free[entering] = True
        while is_free.any():
            wanted = np.zeros_like(x)
            wanted[is_free] = np.linalg.lstsq(matrix[:, is_free], target, rcond=None)[0]
            falls = is_free & (wanted <= 0)
            if not falls.any():
                x = wanted
                break
            share = (x[falls] / np.maximum(x[falls] - wanted[falls], 1e-300)).min()
            x = np.maximum(x + share * (wanted - x), 0)
            is_free &= x > 1e-14 * x.max()
            x[~is_free] = 0
        # One that leaves as it came, by rounding, waits until something else has changed.
        is_barred[entering] = not is_free[entering]
        is_barred &= not is_free[entering]
    return x
