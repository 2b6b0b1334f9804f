"""Slow twin of the p-values of edges: pair by pair, with SciPy's negative binomial and a search without derivatives."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.stats import nbinom


def strays_of_pairs(counts, length_mm, centroids_mm):
    """Expected strays of each pair but for the scale."""
    n = len(counts)
    pairs = [(a, b) for a in range(n) for b in range(n) if a != b]
    apart = {(a, b): max(float(np.sqrt(((centroids_mm[a] - centroids_mm[b]) ** 2).sum())), 1.0) for a, b in pairs}
    detours = [max(length_mm[a, b], 1.0) / apart[a, b] for a, b in pairs if a < b and counts[a, b] > 0]
    detour = sorted(detours)
    middle = (detour[(len(detour) - 1) // 2] + detour[len(detour) // 2]) / 2
    expected = np.full((n, n), np.nan)
    for a, b in pairs:
        length = max(length_mm[a, b], 1.0) if counts[a, b] > 0 else middle * apart[a, b]
        from_a = sum(counts[a, c] for c in range(n) if c not in (a, b)) + 0.5
        from_b = sum(counts[b, c] for c in range(n) if c not in (a, b)) + 0.5
        expected[a, b] = np.sqrt(from_a * from_b * length)
    return expected


def negative_binomial(mean, shape):
    return nbinom(shape, shape / (shape + mean))


def misfit_of_strays(numbers, relative, scale, shape, share, ratio, true_shape=4.0):
    """Mean negative logarithm of the likelihood of the mixture."""
    strays = negative_binomial(scale * relative, shape).pmf(numbers)
    proper = negative_binomial(scale * ratio * relative, true_shape).pmf(numbers)
    return -np.log((1 - share) * strays + share * proper + 1e-300).mean()


def fit_of_strays(numbers, relative):
    """Scale, shape, share and ratio of the highest likelihood found from several starts."""

    def misfit(given):
        scale, shape, more = np.exp(given[[0, 1, 3]])
        share = 1 / (1 + np.exp(-given[2]))
        if share > 0.5 or not 1e-3 < shape < 1e3 or more > 1e5:
            return 1e6
        return misfit_of_strays(numbers, relative, scale, shape, share, 1 + more)

    best = None
    for below, share, more in ((1.0, -4.0, 3.0), (4.0, -2.0, 2.0), (2.0, -3.0, 4.0)):
        start = [np.log(numbers.mean() / relative.mean() / below), -1.0, share, more]
        found = minimize(misfit, start, method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-6, "fatol": 1e-10})
        if best is None or found.fun < best.fun:
            best = found
    return (*np.exp(best.x[:2]), 1 / (1 + np.exp(-best.x[2])), 1 + np.exp(best.x[3])), best.fun
