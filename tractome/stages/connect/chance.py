"""A p-value per edge: could its streamlines all be strays that took a wrong turn at crossings?

Null hypothesis: the edge holds only strays, whose expected number is proportional to the root of (streamlines that
leave one region for elsewhere) x (those that leave the other) x (mean length of its streamlines), and varies from
pair to pair about that by one gamma distribution, so that counts are negative binomial.

The two numbers of the null, its scale and the shape of the gamma distribution, are estimated from the counts of all
pairs of regions, those without streamlines included: most pairs are not connected, so the bulk of the counts is the
null (the empirical null of Efron 2004, J. Am. Stat. Assoc. 99, 96-104). Connections proper are held apart as a second
component, negative binomial too, with a larger mean and a narrower spread. Because strays grow with the number of
streamlines as connections do, the scale does too, and p does not run to 0 as more are tracked: the spread between
pairs, not the Monte-Carlo error of a count, is what a true edge has to stand out from. Comparison with what chance
gives follows Morris, Embleton and Parker 2008 (NeuroImage 42, 1329-1339), whose null is a second tracking without
directions; in its place stand here the counts of the first.

With `falloff` the expected number also falls exponentially with the distance between the centroids, at a rate fitted
with the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Values = NDArray[np.float64]

MIN_PAIRS = 45
"""With fewer pairs of regions (of 10 regions) nothing is said."""
MIN_EDGES = 15
"""Nor with fewer pairs that have streamlines."""
FIT_PAIRS = 4096
"""The null is fitted to about so many pairs, evenly through the sorted ones: enough, and quick for any atlas."""
TRUE_SHAPE = 4.0
"""Shape of the second component: true counts spread by half their mean. Narrower ones leave more to the null."""
SHORTEST_MM = 1.0
"""Lengths and distances below this count as this."""
_START = (-1.0, -1.5, 2.5, 0.5)
_BOUNDS = ((-25.0, 25.0), (-7.0, 7.0), (-12.0, 0.0), (-3.0, 12.0), (0.0, 10.0))
"""Of log scale, log shape, logit share (at most half of the pairs), log (ratio - 1), fall over `_FALL_MM`."""
_FALL_MM = 30.0


@dataclass(frozen=True)
class Strays:
    """What the counts of all pairs say of strays.

    Parameters
    ----------
    scale : float
        Expected strays of a pair over its `relative_strays`.
    shape : float
        Of the gamma distribution of expected strays about that; small when few pairs hold most strays.
    share : float
        Share of pairs in the second component, unitless.
    ratio : float
        Mean of the second component over that of the null.
    falloff_per_mm : float
        Rate of the exponential fall with distance; 0 without one.
    """

    scale: float
    shape: float
    share: float
    ratio: float
    falloff_per_mm: float = 0.0


def chance_pvalues(
    counts: Matrix,
    length_mm: Matrix,
    centroids_mm: Matrix,
    is_present: NDArray[np.bool_],
    *,
    falloff: bool = False,
) -> Matrix:
    """Chance that strays alone give a pair of regions as many streamlines as it has, or more.

    Parameters
    ----------
    counts : (N, N) float64
        Streamlines per pair, symmetric.
    length_mm : (N, N) float64
        Mean length of the streamlines of each edge; NaN where there are none.
    centroids_mm : (N, 3) float64
        Of the regions; NaN where missing.
    is_present : (N,) bool
        Which regions the subject has.
    falloff : bool
        Whether strays are rarer between regions further apart, as the counts of all pairs are.

    Returns
    -------
    (N, N) float64
        Unitless, 0 to 1, symmetric. NaN on the diagonal, for regions that are missing, where no streamline runs (any
        count is at least as many as none: 1 in a correction for many pairs), and everywhere with fewer than
        `MIN_PAIRS` pairs or `MIN_EDGES` edges, which are too few to tell the bulk from what stands out.
    """
    result = np.full(counts.shape, np.nan)
    rows, columns = np.triu_indices(len(counts), 1)
    usable = is_present & np.isfinite(centroids_mm).all(axis=1)
    here = np.logical_and(usable[rows], usable[columns])
    rows, columns = rows[here], columns[here]
    number = counts[rows, columns]
    if len(rows) < MIN_PAIRS or np.count_nonzero(number) < MIN_EDGES:
        return result
    relative = relative_strays(counts, length_mm, centroids_mm)[rows, columns]
    apart = np.linalg.norm(centroids_mm[rows] - centroids_mm[columns], axis=1)
    found = fit_strays(number, relative, apart if falloff else None)
    expected = found.scale * relative * np.exp(-found.falloff_per_mm * apart)
    p = upper_tail(number, expected, found.shape)
    p[number == 0] = np.nan
    result[rows, columns] = result[columns, rows] = p
    return result


def relative_strays(counts: Matrix, length_mm: Matrix, centroids_mm: Matrix) -> Matrix:
    """Expected strays of each pair but for a common factor, (N, N) float64.

    The edge's own streamlines are left out of what leaves its regions, and half a streamline is added, so that an edge
    that holds all of them is not infinitely unlikely. Pairs without streamlines take the distance between their
    centroids times the median ratio of length to distance of those that have some.
    """
    between = counts.copy()
    np.fill_diagonal(between, 0.0)
    leaving = between.sum(axis=1)
    elsewhere = leaving[:, None] - between + 0.5
    apart = np.linalg.norm(centroids_mm[:, None] - centroids_mm[None], axis=2)
    apart = np.maximum(apart, SHORTEST_MM)
    known = np.triu((between > 0) & np.isfinite(length_mm) & np.isfinite(apart), 1)
    length = np.maximum(length_mm, SHORTEST_MM)
    detour = np.median(length[known] / apart[known]) if known.any() else 1.0
    length = np.where(known | known.T, length, detour * apart)
    expected: Matrix = np.sqrt(elsewhere * elsewhere.T * length)
    return expected


def fit_strays(number: Values, relative: Values, apart_mm: Values | None = None) -> Strays:
    """Estimate scale and shape of the null, and the component of connections proper beside it.

    Maximum likelihood of a mixture of two negative binomials, over pairs sorted by count and expectation, so that the
    order of the regions changes no byte.

    Parameters
    ----------
    number, relative : (n_pairs,) float64
        Streamlines, and expected strays but for the scale (positive).
    apart_mm : (n_pairs,) float64, optional
        Distances that strays are to fall with.
    """
    from scipy.optimize import minimize
    from scipy.special import expit, gammaln

    fall = np.zeros_like(relative) if apart_mm is None else apart_mm / _FALL_MM
    order = np.lexsort((fall, relative, number))
    if len(order) > FIT_PAIRS:
        order = order[((np.arange(FIT_PAIRS) + 0.5) * len(order) / FIT_PAIRS).astype(np.int64)]
    number, relative, fall = number[order], relative[order], fall[order]
    constant, log_relative = gammaln(number + 1.0), np.log(relative)

    def log_likelihood(log_mean: Values, shape: float) -> Values:
        log_both = np.logaddexp(np.log(shape), log_mean)
        fixed = gammaln(number + shape) - gammaln(shape) - constant
        found: Values = fixed + shape * (np.log(shape) - log_both) + number * (log_mean - log_both)
        return found

    def misfit(given: Values) -> float:
        log_scale, log_shape, logit_share, log_more = given[:4]
        log_mean = log_scale + log_relative
        if apart_mm is not None:
            log_mean = log_mean - given[4] * fall
        strays = log_likelihood(log_mean, float(np.exp(log_shape))) + np.log(expit(-logit_share))
        proper = log_likelihood(log_mean + np.log1p(np.exp(log_more)), TRUE_SHAPE) + np.log(expit(logit_share))
        return float(-np.logaddexp(strays, proper).mean())

    n_fitted = 4 if apart_mm is None else 5
    start = np.array([np.log(max(number.mean(), 1e-6) / relative.mean() / 3.0), *_START])[:n_fitted]
    best = minimize(misfit, start, method="L-BFGS-B", bounds=_BOUNDS[:n_fitted]).x
    scale, shape, more = (float(value) for value in np.exp(best[[0, 1, 3]]))
    rate = 0.0 if apart_mm is None else float(best[4]) / _FALL_MM
    return Strays(scale, shape, float(expit(best[2])), 1.0 + more, rate)


def upper_tail(number: Values, mean: Values, shape: float) -> Values:
    """Chance of at least `number` under a negative binomial of this mean and shape; never quite 0."""
    from scipy.special import betainc

    tail = betainc(np.maximum(number, 1.0), shape, mean / (mean + shape))
    p: Values = np.where(number > 0, np.maximum(tail, np.finfo(np.float64).tiny), 1.0)
    return p
