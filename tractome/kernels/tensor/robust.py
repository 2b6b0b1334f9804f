"""Tensors that leave outliers out: motion, pulsation and signal dropouts spoil single measurements.

After RESTORE (Chang, Jones and Pierpaoli 2005; Chang, Walker and Pierpaoli 2012): a voxel whose residuals are all
within a few standard deviations of the noise keeps its fit. Otherwise weights after Geman and McClure find a fit that
outliers do not pull, measurements too far from it are left out, and the rest is fitted as usual. Residuals are taken
in the signal, where noise is alike for all measurements, and the noise from their median, which outliers do not move.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel
from tractome.kernels.tensor.fit import (
    Pair,
    fit_pair,
    give_result,
    new_pair,
    refit_pair,
    take_pair,
    weigh_by_prediction,
)
from tractome.kernels.tensor.types import N_UNKNOWNS, REJECTION_REFUSED
from tractome.kernels.tensor.vectors import exponentials, predict, take_row

Array = NDArray[Any]

N_REWEIGHTINGS = 3
"""Of the fits before and after outliers are left out."""
MAX_ROUNDS = 50
TOLERANCE = 1e-4
"""Rounds of the Geman-McClure fit end when no unknown (1e-3 mm2/s) changes by more than this."""
MEDIAN_TO_SIGMA = 1.4826
"""Standard deviation of Gaussian noise over the median of its size."""
PRIOR_FREEDOM = 10.0
"""As many degrees of freedom as the noise of the whole scan counts beside a voxel's own."""
LOWEST_NOISE = 0.002
"""Of s0: smaller residuals are never outliers, however well the rest fits."""
LOWEST_PIVOT = 0.1
"""Of the pivots of all measurements: with less left, the measurements left over would not carry the tensor."""


class Search(NamedTuple):
    """One voxel in search of outliers."""

    signal: Array
    """(v,) float32: signal."""
    residuals: Array
    """(1, v) float64: signal less prediction, over the plain fit's s0; 0 where there is no measurement."""
    sizes: Array
    """(v,) float64: scratch."""
    x: Array
    """(7,) float64: the plain fit."""
    pivots: Array
    """(7,) float64: the plain fit's."""


@kernel
def new_search(n_filled: int) -> Search:
    """Room for the search in a voxel of `n_filled` volumes."""
    return Search(
        np.ones(n_filled, np.float32), np.zeros((1, n_filled)), np.zeros(n_filled), np.zeros(N_UNKNOWNS),
        np.zeros(N_UNKNOWNS),
    )  # fmt: skip


@kernel
def select(values: Array, n: int, k: int) -> float:
    """The value that would be at place `k` if the first `n` were sorted (Hoare's selection); reorders them."""
    low, high = 0, n - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]


@kernel
def take_residuals(moments: Array, pair: Pair, side: int, log_s0: float, search: Search) -> None:
    """Residuals of a voxel's fit in units of exp(`log_s0`)."""
    residuals = search.residuals
    # Row `side` of the weights is free: they are made anew for every fit.
    predict(moments, pair.x, side, 1.0, pair.weights)
    for v in range(residuals.shape[1]):
        residuals[0, v] = pair.weights[side, v] + pair.x[side, 0] - log_s0
    exponentials(residuals, 0)
    unit = np.exp(-log_s0)
    for v in range(residuals.shape[1]):
        residuals[0, v] = (search.signal[v] * unit - residuals[0, v]) * pair.usable[side, v]


@kernel
def own_noise(usable: Array, search: Search) -> tuple[float, int]:
    """Noise, from the median of the residuals' sizes, and the degrees of freedom that it comes from."""
    n = 0
    for v in range(len(usable)):
        if usable[v] > 0.0:
            search.sizes[n] = abs(search.residuals[0, v])
            n += 1
    freedom = n - N_UNKNOWNS
    if freedom < 1:
        return 0.0, 0
    return MEDIAN_TO_SIGMA * np.sqrt(n / freedom) * select(search.sizes, n, n // 2), freedom


@kernel
def joint_noise(own: float, freedom: int, scan_noise: float) -> float:
    """Noise in the unit of the residuals: the voxel's own and, the fewer measurements the more, the scan's."""
    together = (freedom * own * own + PRIOR_FREEDOM * scan_noise * scan_noise) / (freedom + PRIOR_FREEDOM)
    return max(np.sqrt(together), LOWEST_NOISE)


@kernel
def largest_size(residuals: Array) -> float:
    """Size of the residual that is farthest from 0."""
    largest = 0.0
    for v in range(residuals.shape[1]):
        largest = max(largest, abs(residuals[0, v]))
    return largest


@kernel
def resist(moments: Array, scan_noise: float, pair: Pair, search: Search) -> float:
    """Geman-McClure fit of the voxel in `pair`, both sides, from its plain fit on; returns the noise about it."""
    log_s0, sigma = search.x[0], 0.0
    for _ in range(MAX_ROUNDS):
        take_residuals(moments, pair, 0, log_s0, search)
        own, freedom = own_noise(pair.usable[0], search)
        sigma = joint_noise(own, freedom, scan_noise)
        weigh_by_prediction(moments, pair.x, pair.usable, pair.n_left_out, pair.weights)
        for v in range(pair.weights.shape[1]):
            ratio = search.residuals[0, v] / sigma
            factor = 1.0 / (1.0 + ratio * ratio)
            pair.weights[0, v] *= factor * factor
            pair.weights[1, v] = pair.weights[0, v]
        for i in range(N_UNKNOWNS):
            search.sizes[i] = pair.x[0, i]
        refit_pair(moments, pair)
        if not pair.is_fitted[0]:
            return sigma
        change = 0.0
        for i in range(N_UNKNOWNS):
            change = max(change, abs(pair.x[0, i] - search.sizes[i]))
        if change < TOLERANCE:
            break
    take_residuals(moments, pair, 0, log_s0, search)
    own, freedom = own_noise(pair.usable[0], search)
    return joint_noise(own, freedom, scan_noise)


@kernel
def leave_out(moments: Array, scan_noise: float, cutoff: float, pair: Pair, search: Search) -> int:
    """Find and leave out one voxel's outliers; `pair` holds its plain fit, and then the one without, on both sides.

    Returns how many were left out, or -1 where that was refused.
    """
    for i in range(N_UNKNOWNS):
        search.x[i], search.pivots[i] = pair.x[0, i], pair.pivots[0, i]
    limit = cutoff * resist(moments, scan_noise, pair, search)
    n_out = -1
    if pair.is_fitted[0]:
        n_out = 0
        for v in range(search.residuals.shape[1]):
            if abs(search.residuals[0, v]) > limit:
                pair.usable[0, v] = pair.usable[1, v] = 0.0
                n_out += 1
        if n_out > 0:
            pair.n_left_out[0] += n_out
            pair.n_left_out[1] += n_out
            for _ in range(N_REWEIGHTINGS):
                weigh_by_prediction(moments, pair.x, pair.usable, pair.n_left_out, pair.weights)
                refit_pair(moments, pair)
            for i in range(N_UNKNOWNS):
                if not (pair.is_fitted[0] and pair.pivots[0, i] >= LOWEST_PIVOT * search.pivots[i]):
                    n_out = -1
    return n_out


@kernel
def find_outliers(
    moments: Array, scan_noise: float, cutoff: float, pair: Pair, side: int, alone: Pair, search: Search
) -> tuple[int, float]:
    """Whether one of two fitted voxels has outliers; if so, `alone` takes it and leaves them out.

    Returns how many were left out, 0 for none, or -1 where that was refused, and the noise of its plain fit alone.
    """
    x = pair.x[side]
    take_residuals(moments, pair, side, x[0], search)
    s0 = np.exp(x[0])
    own, freedom = own_noise(pair.usable[side], search)
    # The plain fit's own noise is swollen where there are outliers: the search decides with the noise that it finds.
    suspicious = min(joint_noise(own, freedom, scan_noise / s0), max(scan_noise / s0, LOWEST_NOISE))
    if not largest_size(search.residuals) > cutoff * suspicious:
        return 0, own * s0 if freedom > 0 else np.nan
    for both in range(2):
        for v in range(moments.shape[1]):
            alone.logs[both, v], alone.usable[both, v] = pair.logs[side, v], pair.usable[side, v]
        for i in range(N_UNKNOWNS):
            alone.x[both, i], alone.pivots[both, i] = x[i], pair.pivots[side, i]
        alone.n_left_out[both] = pair.n_left_out[side]
        alone.is_fitted[both] = True
    return leave_out(moments, scan_noise / s0, cutoff, alone, search), own * s0 if freedom > 0 else np.nan


@kernel
def fit_robust(
    begin: int,
    end: int,
    signal: Array,
    volumes: Array,
    moments: Array,
    start: Array,
    scan_noise: float,
    cutoff: float,
    deviations: Array,
    tensors: Array,
    s0: Array,
    status: Array,
    n_left_out: Array,
    n_outliers: Array,
    noises: Array,
) -> None:
    """Fit the voxels from `begin` to before `end`, outliers left out.

    Parameters
    ----------
    begin, end, signal, volumes, moments, start, deviations, tensors, s0, status, n_left_out
        As for `fit_tensors`; `REJECTION_REFUSED` may be added to the status.
    scan_noise : float
        Standard deviation of the scan's noise, in the units of the signal.
    cutoff : float
        Residuals above this many standard deviations of the noise are outliers.
    n_outliers : (n_voxels,) int32
        Written: measurements left out as outliers.
    noises : (n_voxels,) float32
        Written: noise from the residuals of the voxel alone, nothing left out yet, in the units of the signal; NaN
        where it has as many unknowns as measurements.
    """
    n_filled = moments.shape[1]
    pair, alone, search, d = new_pair(n_filled), new_pair(n_filled), new_search(n_filled), np.empty(6)
    for first in range(begin, end, 2):
        second = min(first + 1, end - 1)
        take_pair(signal, first, second, volumes, pair)
        fit_pair(moments, start, N_REWEIGHTINGS, pair)
        for side in range(2):
            voxel = first if side == 0 else second
            n_found = 0
            noises[voxel] = np.nan
            if pair.is_fitted[side]:
                take_row(signal[voxel], volumes, search.signal)
                n_found, own = find_outliers(moments, scan_noise, cutoff, pair, side, alone, search)
                noises[voxel] = own
            x = alone.x[0] if n_found > 0 else pair.x[side]
            give_result(x, pair.is_fitted[side], deviations, voxel, d, tensors, s0, status)
            n_left_out[voxel], n_outliers[voxel] = pair.n_left_out[side], max(n_found, 0)
            if n_found < 0:
                status[voxel] += REJECTION_REFUSED
