"""Response functions from the data: which voxels hold one fibre population, and the signal they have."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tractome.kernels.convolution import deconvolve_all, single_shell_system
from tractome.kernels.harmonics import zonal_basis, zonal_derivative
from tractome.kernels.peaks import largest_peaks
from tractome.kernels.quadratic import constrained_minimum

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
    return constrained_minimum(hessian, projected, constraints) * level


def single_fibre_response(
    signal: NDArray[np.float32],
    volumes: NDArray[np.integer],
    directions: Floats,
    lmax: int,
    neighbours: NDArray[np.int64],
    among: NDArray[np.bool_] | None = None,
) -> tuple[Floats, NDArray[np.intp], Floats]:
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
    among : (n_voxels,) bool, optional
        Voxels to choose from.

    Returns
    -------
    response : (lmax / 2 + 1,) float64
    voxels : (k,) intp
        The voxels it was taken from.
    axes : (k, 3) float64
        The fibre direction in each.
    """
    shell = np.ascontiguousarray(signal[:, volumes])
    usable = np.asarray((np.isfinite(shell) & (shell > 0)).all(axis=1))
    if among is not None and (usable & among).any():
        usable &= among
    if not usable.any():
        usable[:] = True
    candidates = np.flatnonzero(usable)
    n_wanted, n_kept = min(N_SINGLE_FIBRE, max(len(candidates) // 20, 1)), min(N_CANDIDATES, len(candidates))
    level = float(shell[candidates].mean())
    # A unit-amplitude disc: the shape matters in the first round, its size only for the constraint's strength.
    response = level * np.array([1.0, -1.0, 1.0]) if lmax >= 4 else level * np.array([1.0, -1.0])
    order = min(lmax, 4)
    chosen, chosen_axes = candidates[:0], np.zeros((0, 3))
    for _ in range(MAX_ROUNDS):
        system = single_shell_system(directions, response, order)
        # Of the shell, not of the signal: all volumes of many candidates would double the memory of the scan.
        coefficients, _ = deconvolve_all(shell[candidates], np.arange(len(volumes)), system)
        axes, amplitudes = largest_peaks(coefficients, order, 2)
        ratio = np.divide(amplitudes[:, 1], amplitudes[:, 0], out=np.ones(len(axes)), where=amplitudes[:, 0] > 0)
        single = np.sqrt(amplitudes[:, 0]) * (1.0 - ratio) ** 2
        ranking = np.argsort(-single, kind="stable")
        best = ranking[:n_wanted]
        cosine = np.einsum("vc,kc->kv", directions, axes[best, 0])
        previous, response = (
            response,
            zonal_response(shell[candidates[best]].ravel(), cosine.ravel(), lmax),
        )
        order = lmax
        chosen, chosen_axes = candidates[best], axes[best, 0]
        if len(previous) == len(response) and np.linalg.norm(response - previous) < SETTLED * response[0]:
            break
        near = neighbours[candidates[ranking[:n_kept]]]
        candidates = np.unique(np.concatenate([candidates[ranking[:n_kept]], near[near >= 0]]))
        candidates = candidates[usable[candidates]]
    return response, chosen, chosen_axes


class TissueVoxels(NamedTuple):
    """Voxels that stand for one tissue each, packed indices."""

    white: NDArray[np.intp]
    """All that may be white matter; the single-fibre ones are chosen among them."""
    grey: NDArray[np.intp]
    csf: NDArray[np.intp]


WHITE_FA = 0.2
GREY_SHARE = 0.02
CSF_SHARE = 0.1
MIN_TISSUE_VOXELS = 30


def tissue_voxels(decay: Floats, fa: Floats, interior: NDArray[np.bool_]) -> TissueVoxels:
    """Pick voxels of white matter, grey matter and CSF without any segmentation, in the manner of Dhollander 2016.

    White matter is anisotropic. Of the rest, CSF loses most signal with the b-value and grey matter least; a threshold
    of least variance parts them. Then the CSF voxels of the strongest decay and the grey ones nearest to their median
    are kept.

    Parameters
    ----------
    decay : (n_voxels,) float64
        Mean over the shells of log(b0 signal / shell signal), unitless; NaN where not defined.
    fa : (n_voxels,) float64
    interior : (n_voxels,) bool
        Voxels away from the mask's rim.

    Returns
    -------
    TissueVoxels
    """
    usable = interior & np.isfinite(decay) & np.isfinite(fa) & (decay > 0)
    white = np.flatnonzero(usable & (fa > WHITE_FA))
    rest = np.flatnonzero(usable & (fa <= WHITE_FA))
    if len(white) > 0:
        low, high = np.percentile(decay[white], (10, 90))
        # Anisotropic by noise or partial volume: far outside the bulk of white matter's decay.
        white = white[(decay[white] > low - (high - low)) & (decay[white] < high + (high - low))]
    if len(rest) < 2:
        return TissueVoxels(white, rest, rest)
    threshold = least_variance_threshold(decay[rest])
    grey, csf = rest[decay[rest] < threshold], rest[decay[rest] >= threshold]
    grey = grey[np.argsort(np.abs(decay[grey] - np.median(decay[grey])), kind="stable")]
    csf = csf[np.argsort(-decay[csf], kind="stable")]
    n_grey = min(len(grey), max(MIN_TISSUE_VOXELS, int(GREY_SHARE * len(grey))))
    n_csf = min(len(csf), max(MIN_TISSUE_VOXELS, int(CSF_SHARE * len(csf))))
    return TissueVoxels(white, grey[:n_grey], csf[:n_csf])


def least_variance_threshold(values: Floats) -> float:
    """Threshold that leaves the least variance within its two sides (Otsu 1979), exact, on (n,) values, n >= 2."""
    ordered = np.sort(values)
    count = np.arange(1, len(ordered))
    below = np.cumsum(ordered)[:-1]
    above = ordered.sum() - below
    between = below**2 / count + above**2 / (len(ordered) - count)
    best = int(np.argmax(between))
    return float(0.5 * (ordered[best] + ordered[best + 1]))
