"""From responses to the matrices that every voxel shares, and the deconvolution of many voxels with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tractome.kernels.deconvolution import NOT_CONVERGED, deconvolve
from tractome.kernels.harmonics import convolution_factors, n_coefficients, sh_basis, spread_directions

N_CONSTRAINT_DIRECTIONS = 300
VOXELS_PER_CALL = 4096

# In units of the l = 0 diagonal of the Hessian. With these two the single-shell FODs agree with MRtrix3's `dwi2fod csd`
# (median angular correlation 0.999); the penalty grows with the number of volumes as there.
SOFT_PENALTY_PER_VOLUME = 3e-5
RIDGE_PER_VOLUME = 3e-6
HARD_RIDGE = 1e-6
HARD_PENALTY = 1e-2
HARD_TOLERANCE = 9e-3
PEAK_FLOOR = 0.01
"""Amplitude, in MRtrix3's scale: a single fibre peaks between 1 and 3."""


class System(NamedTuple):
    """The matrices of one scan; see `deconvolution.deconvolve`."""

    design: NDArray[np.float64]
    hessian: NDArray[np.float64]
    products: NDArray[np.float32]
    constraints: NDArray[np.float64]
    columns: NDArray[np.float64]
    n_directions: int
    start: NDArray[np.float64]
    penalty: float
    tolerance: float
    floor: float
    max_steps: int


def single_shell_system(
    directions: NDArray[np.floating], response: NDArray[np.floating], lmax: int, n_constraints: int | None = None
) -> System:
    """Matrices of single-shell CSD with a soft constraint, as in Tournier et al. 2007.

    Parameters
    ----------
    directions : (v, 3) float
        Unit, world axes.
    response : (k,) float
        Zonal coefficients of the single-fibre signal.
    lmax : int
    n_constraints : int, optional
        Directions on the half sphere along which a negative amplitude is penalised.

    Returns
    -------
    System
    """
    n_volumes = len(directions)
    design = sh_basis(directions, lmax) * convolution_factors(response, lmax)
    hessian = design.T @ design
    scale = hessian[0, 0]
    hessian = hessian / scale + RIDGE_PER_VOLUME * n_volumes * np.eye(len(hessian))
    constraints = sh_basis(spread_directions(n_constraints or N_CONSTRAINT_DIRECTIONS), lmax)
    penalty = SOFT_PENALTY_PER_VOLUME * n_volumes
    columns = np.ascontiguousarray(constraints.T)
    start, packed = _low_order_start(hessian, lmax), packed_problem(hessian, constraints)
    return System(design / scale, *packed, constraints, columns, len(constraints), start, penalty, np.inf, 0.0, 60)


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
    n_wm, n_all = n_coefficients(lmax), design.shape[1]
    hessian = design.T @ design
    scale = hessian[0, 0]
    hessian = hessian / scale + HARD_RIDGE * np.eye(n_all)
    constraints = np.zeros((N_CONSTRAINT_DIRECTIONS + len(isotropic), n_all))
    constraints[:N_CONSTRAINT_DIRECTIONS, :n_wm] = sh_basis(spread_directions(N_CONSTRAINT_DIRECTIONS), lmax)
    constraints[N_CONSTRAINT_DIRECTIONS:, n_wm:] = np.eye(len(isotropic))
    start, packed = _low_order_start(hessian, lmax), packed_problem(hessian, constraints)
    return System(
        design / scale,
        *packed,
        constraints,
        np.ascontiguousarray(constraints.T),
        N_CONSTRAINT_DIRECTIONS,
        start,
        HARD_PENALTY,
        HARD_TOLERANCE,
        PEAK_FLOOR,
        200,
    )


def packed_problem(
    hessian: NDArray[np.float64], constraints: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Upper triangles, packed by rows, of the Hessian and of each constraint's outer product with itself.

    The products are kept in single precision: they then fit the processor's second cache, and a voxel's fit is
    three times faster. They weigh the penalty only, so the solution moves by about 1e-7 of itself.
    """
    upper = np.triu_indices(len(hessian))
    products = (constraints[:, upper[0]] * constraints[:, upper[1]]).astype(np.float32, order="C")
    return np.ascontiguousarray(hessian[upper]), products


def _low_order_start(hessian: NDArray[np.float64], lmax: int) -> NDArray[np.float64]:
    """Transposed matrix from b to the unconstrained solution of the orders up to 4 and the isotropic tissues."""
    n_wm, n_low = n_coefficients(lmax), n_coefficients(min(lmax, 4))
    kept = np.r_[0:n_low, n_wm : len(hessian)]
    start = np.zeros_like(hessian)
    start[np.ix_(kept, kept)] = np.linalg.inv(hessian[np.ix_(kept, kept)])
    return np.ascontiguousarray(start.T)


def deconvolve_all(
    signal: NDArray[np.float32],
    volumes: NDArray[np.integer],
    system: System,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Solve all voxels, in calls short enough for Ctrl-C and a progress bar.

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
    status : (n_voxels,) int8
        See `deconvolution`.
    """
    n_voxels, n = len(signal), system.design.shape[1]
    coefficients = np.empty((n_voxels, n), dtype=np.float32)
    status = np.empty(n_voxels, dtype=np.int8)
    n_steps = np.empty(VOXELS_PER_CALL, dtype=np.int16)
    for first in range(0, n_voxels, VOXELS_PER_CALL):
        block = slice(first, min(first + VOXELS_PER_CALL, n_voxels))
        chosen = np.ascontiguousarray(signal[block][:, volumes])
        deconvolve(chosen, *system, coefficients[block], status[block], n_steps)
        # A few voxels in ten thousand go back and forth between two active sets; a softer penalty settles them.
        still = np.flatnonzero(status[block] == NOT_CONVERGED)
        if len(still):
            softer = system._replace(penalty=0.1 * system.penalty, max_steps=10 * system.max_steps)
            again, again_status = np.empty((len(still), n), dtype=np.float32), np.empty(len(still), dtype=np.int8)
            deconvolve(np.ascontiguousarray(chosen[still]), *softer, again, again_status, n_steps)
            coefficients[first + still], status[first + still] = again, again_status
        if progress is not None:
            progress(block.stop, n_voxels)
    return coefficients, status
