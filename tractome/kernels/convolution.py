"""From responses to the matrices that every voxel shares, and the deconvolution of many voxels with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import sweep
from tractome.kernels.deconvolution import System, solve_voxels
from tractome.kernels.harmonics import (
    convolution_factors,
    mirror_classes,
    mirrored_directions,
    n_coefficients,
    sh_basis,
)

N_CONSTRAINT_DIRECTIONS = 300
"""On the half sphere; a multiple of 4."""
VOXELS_PER_PIECE = 1024
"""About ten milliseconds of work, and enough voxels that few lanes are idle at its end."""
VOXELS_PER_CALL = 16384

# In units of the l = 0 diagonal of the Hessian. With these two the single-shell FODs agree with MRtrix3's `dwi2fod csd`
# (median angular correlation 0.999); the penalty grows with the number of volumes as there.
SOFT_PENALTY_PER_VOLUME = 3e-5
RIDGE_PER_VOLUME = 3e-6
SOFT_FLIP_TOLERANCE = 1e-4
HARD_RIDGE = 1e-6
HARD_PENALTY, HARD_PENALTY_GROWTH, HIGHEST_PENALTY = 1e-2, 4.0, 0.1
HARD_TOLERANCE = 9e-3
HARD_FLIP_TOLERANCE = 1e-3
LOW_ORDER = 4
"""Of the first guess, as Tournier et al. 2007 start."""
PEAK_FLOOR = 0.01
"""Amplitude, in MRtrix3's scale: a single fibre peaks between 1 and 3."""


def single_shell_system(directions: NDArray[np.floating], response: NDArray[np.floating], lmax: int) -> System:
    """Matrices of single-shell CSD with a soft constraint, as in Tournier et al. 2007.

    Parameters
    ----------
    directions : (v, 3) float
        Unit, world axes.
    response : (k,) float
        Zonal coefficients of the single-fibre signal.
    lmax : int

    Returns
    -------
    System
    """
    n_volumes = len(directions)
    design = sh_basis(directions, lmax) * convolution_factors(response, lmax)
    system = _shared(design, lmax, RIDGE_PER_VOLUME * n_volumes)
    return system._replace(penalty=SOFT_PENALTY_PER_VOLUME * n_volumes, flip_tolerance=SOFT_FLIP_TOLERANCE)


def multi_tissue_system(
    directions: NDArray[np.floating],
    shell_of_volume: NDArray[np.integer],
    responses: Sequence[NDArray[np.floating]],
    lmax: int,
) -> System:
    """Matrices of multi-shell multi-tissue CSD with a hard constraint, as in Jeurissen et al. 2014.

    Parameters
    ----------
    directions : (v, 3) float
        Unit, world axes; anything for b0 volumes.
    shell_of_volume : (v,) int
        Row of the responses for each volume.
    responses : sequence of (n_shells, n_orders) float
        First white matter, then the isotropic tissues.
    lmax : int
        Of the white matter.

    Returns
    -------
    System
        Unknowns: the FOD's coefficients, then one l = 0 coefficient per isotropic tissue.
    """
    white, isotropic = responses[0], responses[1:]
    factors = np.stack([convolution_factors(row, lmax) for row in white])
    columns = [sh_basis(directions, lmax) * factors[shell_of_volume]]
    columns += [row[shell_of_volume, :1] for row in isotropic]
    design = np.concatenate(columns, axis=1)
    return _shared(design, lmax, HARD_RIDGE)._replace(
        penalty=HARD_PENALTY,
        growth=HARD_PENALTY_GROWTH,
        highest_penalty=HIGHEST_PENALTY,
        flip_tolerance=HARD_FLIP_TOLERANCE,
        tolerance=HARD_TOLERANCE,
        floor=PEAK_FLOOR,
    )


def _shared(design: NDArray[np.float64], lmax: int, ridge: float) -> System:
    """The system of a design matrix (v, n), its constraint a soft one."""
    n, n_white = design.shape[1], n_coefficients(lmax)
    hessian = design.T @ design
    scale = hessian[0, 0]
    hessian = hessian / scale + ridge * np.eye(n)
    directions = mirrored_directions(N_CONSTRAINT_DIRECTIONS // 4)
    basis, high_basis = sh_basis(directions, lmax), sh_basis(directions, 2 * lmax)
    (order, class_first), (high_order, high_first) = mirror_classes(lmax), mirror_classes(2 * lmax)
    octant = slice(0, N_CONSTRAINT_DIRECTIONS // 4)
    place, first, moment, factor = harmonic_products(lmax)
    return System(
        design=_single(design / scale),
        start=_single(design / scale @ _low_order_fit(hessian, lmax)),
        hessian=_single(hessian[np.tril_indices(n)]),
        low_columns=_single(basis[:, : n_coefficients(min(lmax, LOW_ORDER))].T),
        order=order,
        columns=_single(basis[octant, order].T),
        rows=_single(basis[octant, order]),
        high_basis=_single(high_basis[octant, high_order]),
        class_first=class_first,
        high_first=high_first,
        place=place,
        first=first,
        moment=moment,
        factor=factor,
        n_white=n_white,
        penalty=0.0,
        growth=1.0,
        highest_penalty=0.0,
        flip_tolerance=0.0,
        tolerance=np.inf,
        floor=0.0,
        max_steps=200,
    )


def _single(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, dtype=np.float32)


def _low_order_fit(hessian: NDArray[np.float64], lmax: int) -> NDArray[np.float64]:
    """Matrix (n, n) from the right-hand side, as a row, to the unconstrained fit of low orders and the tissues."""
    n_white, n_low = n_coefficients(lmax), n_coefficients(min(lmax, LOW_ORDER))
    kept = np.r_[0:n_low, n_white : len(hessian)]
    start = np.zeros_like(hessian)
    start[np.ix_(kept, kept)] = np.linalg.inv(hessian[np.ix_(kept, kept)])
    return start


@lru_cache(maxsize=8)
def harmonic_products(
    lmax: int,
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64], NDArray[np.float32]]:
    """Products of two harmonics as sums of harmonics (the real Gaunt coefficients), most of which are 0.

    With i >= j the pair at ``place`` of a packed lower triangle, ``Y_i Y_j`` is the sum of factor x Y_moment over its
    terms; by a quadrature that is exact for these orders.

    Returns
    -------
    place : (n (n + 1) / 2,) uint64
        The pairs, in the order of their number of terms.
    first : (n (n + 1) / 2 + 1,) uint64
        Where the terms of each begin. Unsigned, so that no index is tested for counting from the end.
    moment : (terms,) int64
        Index of a harmonic of order up to 2 lmax, in the order of `mirror_classes`.
    factor : (terms,) float32
    """
    heights, weights = np.polynomial.legendre.leggauss(2 * lmax + 1)
    angles = np.arange(4 * lmax + 1) * (2 * np.pi / (4 * lmax + 1))
    z, phi = (grid.ravel() for grid in np.meshgrid(heights, angles, indexing="ij"))
    radius = np.sqrt(1 - z**2)
    directions = np.stack([radius * np.cos(phi), radius * np.sin(phi), z], axis=1)
    area = np.repeat(weights, len(angles)) * (2 * np.pi / len(angles))
    basis = sh_basis(directions, lmax)
    lower = np.tril_indices(basis.shape[1])
    # Built block by block: all products on all points at once would be large for high orders.
    high = sh_basis(directions, 2 * lmax) * area[:, None]
    integrals = np.concatenate(
        [
            (basis[:, lower[0][s : s + 500]] * basis[:, lower[1][s : s + 500]]).T @ high
            for s in range(0, len(lower[0]), 500)
        ]
    )
    is_term = np.abs(integrals) > 1e-10
    place = np.argsort(is_term.sum(axis=1), kind="stable")
    pair, moment = np.nonzero(is_term[place])
    first = np.searchsorted(pair, np.arange(len(place) + 1))
    factor = integrals[place[pair], moment].astype(np.float32)
    moment = np.argsort(mirror_classes(2 * lmax)[0])[moment]
    return place.astype(np.uint64), first.astype(np.uint64), moment.astype(np.int64), factor


def deconvolve_all(
    signal: NDArray[np.float32],
    volumes: NDArray[np.integer],
    system: System,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Solve all voxels, on all threads, in pieces short enough for Ctrl-C and a progress bar.

    Parameters
    ----------
    signal : (n_voxels, all volumes) float32
    volumes : (v,) int
        Columns of `signal` that `system` is about.
    system : System
    progress : callable, optional
        Gets voxels done and voxels in all.

    Returns
    -------
    coefficients : (n_voxels, n) float32
        0 where a voxel has no positive finite signal.
    status : (n_voxels,) int8
        See `deconvolution`.
    """
    n_voxels, n = len(signal), system.design.shape[1]
    coefficients = np.empty((n_voxels, n), dtype=np.float32)
    status = np.empty(n_voxels, dtype=np.int8)
    # Read-only whether the caller's is or not: the kernel is compiled once for each.
    values = np.ascontiguousarray(signal, dtype=np.float32).view()
    values.flags.writeable = False
    chosen = np.array(volumes, dtype=np.int64)

    for first in range(0, n_voxels, VOXELS_PER_CALL):
        last = min(first + VOXELS_PER_CALL, n_voxels)
        sweep(solve_voxels, first, last, VOXELS_PER_PIECE, values, chosen, system, coefficients, status)
        if progress is not None:
            progress(last, n_voxels)
    return coefficients, status
