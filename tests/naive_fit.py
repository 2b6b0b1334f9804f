"""Slow twins of the kernels of fit: harmonics, tensors, peaks, bootstrap."""

from __future__ import annotations

from math import factorial

import numpy as np
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


def robust_tensor_fit(signal, bvals, bvecs, scan_noise, cutoff):
    """One voxel, outliers left out: (Dxx, Dxy, Dyy, Dxz, Dyz, Dzz), s0, number of outliers, own noise."""
    x, y, z = bvecs.T
    design = np.column_stack(
        [np.ones(len(bvals)), *(-1e-3 * bvals * c for c in (x * x, 2 * x * y, y * y, 2 * x * z, 2 * y * z, z * z))]
    )
    signal = signal.astype(float)
    kept = np.isfinite(signal) & (signal > 0)

    def solve(root):
        return np.linalg.lstsq(design[kept] * root[kept, None], np.log(signal[kept]) * root[kept], rcond=None)[0]

    def reweighted(solution):
        for _ in range(3):
            solution = solve(np.exp(design @ solution))
        return solution

    def noise(residuals):
        sizes, freedom = np.sort(np.abs(residuals[kept])), kept.sum() - 7
        own = 1.4826 * np.sqrt(kept.sum() / freedom) * sizes[kept.sum() // 2] if freedom > 0 else 0
        together = np.sqrt((freedom * own**2 + 10 * scan_noise**2) / (freedom + 10))
        return own, max(together, 0.002 * s0)

    plain = reweighted(solve(np.ones(len(signal))))
    s0 = np.exp(plain[0])
    residuals = signal - np.exp(design @ plain)
    first_own, sigma = noise(residuals)
    if np.abs(residuals[kept]).max() <= cutoff * max(min(sigma, scan_noise), 0.002 * s0):
        return plain[1:] * 1e-3, s0, 0, first_own
    solution = plain
    for _ in range(50):
        predicted = np.exp(design @ solution)
        _, sigma = noise(signal - predicted)
        last, solution = solution, solve(predicted / (1 + ((signal - predicted) / sigma) ** 2))
        if np.abs(solution - last).max() < 1e-4:
            break
    residuals = signal - np.exp(design @ solution)
    outliers = kept & (np.abs(residuals) > cutoff * noise(residuals)[1])
    if not outliers.any():
        return plain[1:] * 1e-3, s0, 0, first_own
    kept &= ~outliers
    solution = reweighted(solution)
    return solution[1:] * 1e-3, np.exp(solution[0]), int(outliers.sum()), first_own
