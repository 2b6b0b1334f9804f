"""Slow twins of constrained deconvolution."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls


def constrained(b, hessian, constraints):
    """Minimise 1/2 f'Hf - b'f with C f >= 0, by its dual: a non-negative least squares problem."""
    lower = np.linalg.cholesky(hessian)
    multipliers, _ = nnls(np.linalg.solve(lower, constraints.T), -np.linalg.solve(lower, b), maxiter=100_000)
    return np.linalg.solve(hessian, b + constraints.T @ multipliers)


def penalised(b, hessian, constraints, penalty):
    """Minimise 1/2 f'Hf - b'f + penalty / 2 |min(C f, 0)|^2 by damped Newton steps."""

    def cost(f):
        return 0.5 * f @ hessian @ f - b @ f + 0.5 * penalty * (np.minimum(constraints @ f, 0) ** 2).sum()

    f = np.linalg.solve(hessian, b)
    for _ in range(200):
        below = constraints[constraints @ f < 0]
        step = np.linalg.solve(hessian + penalty * below.T @ below, b) - f
        scale = 1.0
        while cost(f + scale * step) > cost(f) + 1e-14 * abs(cost(f)) and scale > 1e-6:
            scale /= 2
        f = f + scale * step
        if np.abs(scale * step).max() < 1e-12 * np.abs(f).max():
            break
    return f


def weighted_gram(hessian, rows, weight):
    """H + sum of weight x row row', one matrix per column of the weights (d, lanes)."""
    return [hessian + sum(w * np.outer(row, row) for w, row in zip(lane, rows, strict=True)) for lane in weight.T]
