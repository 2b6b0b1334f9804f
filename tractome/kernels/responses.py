"""Response functions from the data: which voxels hold one fibre population, and the signal they have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels.convolution import deconvolve_all, packed_problem, single_shell_system
from tractome.kernels.deconvolution import solve_constrained
from tractome.kernels.harmonics import zonal_basis, zonal_derivative
from tractome.kernels.peaks import largest_peaks

Floats = NDArray[np.float64]

N_SINGLE_FIBRE = 300
N_CANDIDATES = 1000
MAX_ROUNDS = 10
SETTLED = 5e-4
"""Change of the response between two rounds, as a share of it, below which it is settled."""


def zonal_response(signal: NDArray[np.floating], cosine: NDArray[np.floating], lmax: int) -> Floats:
    """Fit one zonal response to the signal of many voxels at known angles to their fibre.

    Least squares, with the signal not negative and not falling from the axis to its equator: what a single fibre
    population does, and what keeps the high orders from fitting noise.

    Parameters
    ----------
    signal : (n,) float
    cosine : (n,) float
        Of the angle between each measurement's gradient and the fibre of its voxel.
    lmax : int

    Returns
    -------
    (lmax / 2 + 1,) float64
        Coefficients of the m = 0 harmonics.
    """
    basis = zonal_basis(np.abs(cosine), lmax)
    hessian = basis.T @ basis
    scale = hessian[0, 0]
    level = float(np.mean(signal))
    hessian /= scale
    projected = basis.T @ (np.asarray(signal, dtype=np.float64) / level) / scale
    angles = np.linspace(0.0, np.pi / 2, 61)
    constraints = np.concatenate([zonal_derivative(angles[1:-1], lmax), zonal_basis(np.cos(angles), lmax)])
    start = np.linalg.inv(hessian).T
    solution, _ = solve_constrained(
        projected, *packed_problem(hessian, constraints), constraints, np.ascontiguousarray(start), 1.0, 1e-5, 500
    )
    return np.asarray(solution) * level


def single_fibre_response(
    signal: NDArray[np.float32],
    volumes: NDArray[np.integer],
    directions: Floats,
    lmax: int,
    neighbours: NDArray[np.int64],
) -> tuple[Floats, NDArray[np.intp]]:
    """Response of a single fibre population from one shell, in the manner of Tournier et al. 2013.

    Deconvolve with a crude sharp response, keep the voxels whose FOD is most like one peak, take the response from
    them, and again with that response, among the best voxels and their neighbours, until it settles.

    Parameters
    ----------
    signal : (n_voxels, all volumes) float32
    volumes : (v,) int
        The shell's volumes.
    directions : (v, 3) float64
        Unit, of those volumes.
    lmax : int
    neighbours : (n_voxels, 6) int64
        Packed index of the face neighbours, -1 where outside the mask.

    Returns
    -------
    response : (lmax / 2 + 1,) float64
    voxels : (k,) intp
        The voxels it was taken from.
    """
    n_voxels = len(signal)
    n_wanted, n_kept = min(N_SINGLE_FIBRE, max(n_voxels // 20, 1)), min(N_CANDIDATES, n_voxels)
    candidates = np.flatnonzero(np.isfinite(signal[:, volumes]).all(axis=1) & (signal[:, volumes] > 0).all(axis=1))
    if not len(candidates):
        candidates = np.arange(n_voxels)
    level = float(signal[np.ix_(candidates, volumes)].mean())
    # A unit-amplitude disc: the shape matters in the first round, its size only for the constraint's strength.
    response = level * np.array([1.0, -1.0, 1.0]) if lmax >= 4 else level * np.array([1.0, -1.0])
    order = min(lmax, 4)
    chosen: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
    for _ in range(MAX_ROUNDS):
        system = single_shell_system(directions, response, order)
        coefficients, _ = deconvolve_all(
            np.ascontiguousarray(signal[candidates][:, volumes]), np.arange(len(volumes)), system
        )
        axes, amplitudes = largest_peaks(coefficients, order, 2)
        ratio = np.divide(amplitudes[:, 1], amplitudes[:, 0], out=np.ones(len(axes)), where=amplitudes[:, 0] > 0)
        single = np.sqrt(amplitudes[:, 0]) * (1.0 - ratio) ** 2
        ranking = np.argsort(-single, kind="stable")
        best = ranking[:n_wanted]
        cosine = np.einsum("vc,kc->kv", directions, axes[best, 0])
        previous, response = (
            response,
            zonal_response(signal[candidates[best]][:, volumes].ravel(), cosine.ravel(), lmax),
        )
        order = lmax
        chosen = np.sort(candidates[best])
        if len(previous) == len(response) and np.linalg.norm(response - previous) < SETTLED * response[0]:
            break
        near = neighbours[candidates[ranking[:n_kept]]]
        candidates = np.unique(np.concatenate([candidates[ranking[:n_kept]], near[near >= 0]]))
    return response, chosen
