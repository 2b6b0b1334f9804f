"""Slow twin of the Monte-Carlo standard errors of edges: one influence value per streamline, one edge after the other.

The error of an estimate is the spread of the influence values of its streamlines (infinitesimal jackknife; Efron,
1982, doi:10.1137/1.9781611970319): what follows as a formula over sums in the kernel is written out here.
"""

from __future__ import annotations

import numpy as np


def spread_of_sum(terms):
    """Standard error of the sum of one term per streamline, terms of streamlines elsewhere being 0."""
    n = len(terms)
    return np.sqrt(n / (n - 1) * ((terms - terms.mean()) ** 2).sum()) if n > 1 else np.nan


def spread_of_mean(values, weights):
    """Standard error of a weighted mean; values that are NaN are left out."""
    held = np.isfinite(values)
    x, w, n = values[held], weights[held], int(held.sum())
    if n < 2 or w.sum() == 0:
        return np.nan
    influence = w * (x - (w * x).sum() / w.sum()) / w.sum()
    return np.sqrt(n / (n - 1) * (influence**2).sum())


def weighted_mean(values, weights):
    held = np.isfinite(values)
    total = weights[held].sum()
    return (weights * values)[held].sum() / total if total else np.nan


def spread_of_density(on_edge, lengths, weights):
    """Relative standard error of count / mean length."""
    n_all, n = len(on_edge), int(on_edge.sum())
    of_length = spread_of_mean(lengths[on_edge], weights[on_edge])
    mean = weighted_mean(lengths[on_edge], weights[on_edge])
    if n < 2 or not np.isfinite(of_length) or mean == 0:
        return np.nan
    return np.sqrt((1 - n / n_all) / n * n_all / (n_all - 1) + (of_length / mean) ** 2)


def edge_errors(ends, table, volumes_mm3, weighted=True, sums=False, pooled=False):
    """Every row that belongs to the errors of a streamline table, by name.

    Parameters
    ----------
    ends : (n_streamlines, 2) int
        Rows of the regions of both ends, -1 for none.
    table : StreamlineTable
    volumes_mm3 : (n_regions,)
    weighted, sums, pooled : bool
        Whether weights are in force; whether sums and pooled means are there.
    """
    n, n_regions = len(ends), len(volumes_mm3)
    w = np.ones(n) if table.weights is None or not weighted else np.asarray(table.weights)
    values = {
        name: np.asarray(each, float)
        for name, each in {"length": table.length_mm, **{k: table.means[k] for k in table.means}}.items()
    }
    names = ["countse", "invnodevolse", "densityse", "neff", *(f"{name}se" for name in values)]
    names += [f"{name}sumse" for name in values if sums] + [f"{name}pooledse" for name in table.crossed if pooled]
    names += ["weightse"] if table.weights is not None else []
    found = {name: np.full((n_regions, n_regions), np.nan) for name in names}
    for i, j in np.ndindex(n_regions, n_regions):
        on = (ends == (i, j)).all(axis=1) | (ends == (j, i)).all(axis=1)
        both_mm3 = volumes_mm3[i] + volumes_mm3[j]
        of_count = spread_of_sum(on.astype(float))
        per_mm3 = 2 / both_mm3 if both_mm3 else 0.0
        of_edge = {"countse": of_count, "invnodevolse": per_mm3 * of_count}
        length = weighted_mean(values["length"][on], w[on])
        if length:
            of_edge["densityse"] = per_mm3 * on.sum() / length * spread_of_density(on, values["length"], w)
        if not on.any():  # nothing is known to be there: a density of 0, as sure as the count of 0
            of_edge["densityse"] = of_count
        of_edge["neff"] = w[on].sum() ** 2 / (w[on] ** 2).sum() if w[on].any() else 0.0
        for name, x in values.items():
            of_edge[f"{name}se"] = spread_of_mean(x[on], w[on])
            of_edge[f"{name}sumse"] = spread_of_sum(np.where(on & np.isfinite(x), w * np.nan_to_num(x), 0.0))
        for name, (total, number) in {k: v.T for k, v in table.crossed.items()}.items():
            with np.errstate(invalid="ignore"):
                of_edge[f"{name}pooledse"] = spread_of_mean((total / number)[on], (w * number)[on])
        if table.weights is not None:
            mu = 1.0 if table.mu is None else table.mu
            of_edge["weightse"] = mu * spread_of_sum(np.where(on, table.weights, 0.0))
        for name in names:
            found[name][i, j] = of_edge.get(name, np.nan)
    return found
