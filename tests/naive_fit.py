"""Slow twins of the kernels of fit: harmonics, tensors, constrained deconvolution, peaks, bootstrap."""

from __future__ import annotations

from math import factorial

import numpy as np
from scipy.optimize import nnls
from scipy.special import lpmv


def sh_basis(directions, lmax):
    """From scipy's Legendre functions and angles, one function at a time."""
    unit = directions / np.linalg.norm(directions, axis=1)[:, None]
    theta, phi = np.arccos(unit[:, 2]), np.arctan2(unit[:, 1], unit[:, 0])
    columns = []
    for order in range(0, lmax + 1, 2):
        for m in range(-order, order + 1):
            k = abs(m)
            norm = np.sqrt((2 * order + 1) / (4 * np.pi) * factorial(order - k) / factorial(order + k))
            value = norm * lpmv(k, order, np.cos(theta))
            if m:
                value = value * np.sqrt(2) * (np.cos(k * phi) if m > 0 else np.sin(k * phi))
            columns.append(value)
    return np.stack(columns, axis=1)


def tensor_fit(signal, bvals, bvecs, n_reweightings):
    """One voxel by numpy's least squares: (Dxx, Dxy, Dyy, Dxz, Dyz, Dzz), s0."""
    x, y, z = bvecs.T
    design = np.column_stack(
        [np.ones(len(bvals)), *(-bvals * c for c in (x * x, 2 * x * y, y * y, 2 * x * z, 2 * y * z, z * z))]
    )
    good = np.isfinite(signal) & (signal > 0)
    design, logs = design[good] * [1, *[1e-3] * 6], np.log(signal[good].astype(float))
    solution = np.linalg.lstsq(design, logs, rcond=None)[0]
    for _ in range(n_reweightings):
        root = np.exp(design @ solution)
        solution = np.linalg.lstsq(design * root[:, None], logs * root, rcond=None)[0]
    return solution[1:] * 1e-3, np.exp(solution[0])


def eigen(tensor):
    """Eigenvalues, falling, and eigenvectors as columns, of Dxx, Dxy, Dyy, Dxz, Dyz, Dzz."""
    xx, xy, yy, xz, yz, zz = tensor
    values, vectors = np.linalg.eigh(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], dtype=float))
    return values[::-1], vectors[:, ::-1]


def fractional_anisotropy(values):
    """Basser's formula, one tensor."""
    a, b, c = np.maximum(values, 0)
    return np.sqrt(0.5 * ((a - b) ** 2 + (b - c) ** 2 + (c - a) ** 2) / (a * a + b * b + c * c))


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


def least_variance_threshold(values):
    """Try every threshold."""
    ordered = np.sort(values)
    middles = 0.5 * (ordered[1:] + ordered[:-1])
    within = [
        ((low := values[values < t]).var() * len(low)) + ((high := values[values >= t]).var() * len(high))
        for t in middles
    ]
    return middles[int(np.argmin(within))]


def bootstrap_tensors(signal, bvals, bvecs, signs):
    """Principal directions of wild bootstrap draws, (n_draws, 3), refitting from scratch for each row of signs."""
    x, y, z = bvecs.T
    design = np.column_stack(
        [np.ones(len(bvals)), *(-1e-3 * bvals * c for c in (x * x, 2 * x * y, y * y, 2 * x * z, 2 * y * z, z * z))]
    )
    logs = np.log(signal.astype(float))
    weights = np.exp(2 * (design @ np.linalg.lstsq(design, logs, rcond=None)[0]))
    root = np.sqrt(weights)
    solution = np.linalg.lstsq(design * root[:, None], logs * root, rcond=None)[0]
    hat = design @ np.linalg.solve(design.T * weights @ design, design.T * weights)
    residuals = (logs - design @ solution) / np.sqrt(1 - np.diag(hat))
    draws = []
    for row in signs:
        drawn = np.linalg.lstsq(design * root[:, None], (design @ solution + row * residuals) * root, rcond=None)[0]
        draws.append(eigen(drawn[1:])[1][:, 0])
    return np.array(draws)
