"""Tables that all voxels of a scan share: the design of the logarithm of the signal and its moments."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from tractome.kernels.tensor.types import B_SCALE_S_PER_MM2, N_UNKNOWNS

PAIRS = ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2))
"""Axes of Dxx, Dxy, Dyy, Dxz, Dyz, Dzz."""
QUARTICS = tuple(combinations_with_replacement(range(3), 4))
N_MOMENTS = 1 + len(PAIRS) + len(QUARTICS)
VOLUMES_PER_VECTOR = 16
"""Tables are filled up with zeros to a multiple of this, so that no loop over volumes has a rest."""


def _moment_of_product() -> NDArray[np.int64]:
    """Which moment each entry of the upper triangle of the normal matrix is, by rows, (28,)."""
    found = []
    for i in range(N_UNKNOWNS):
        for j in range(i, N_UNKNOWNS):
            if i == 0:
                found.append(j)
            else:
                found.append(1 + len(PAIRS) + QUARTICS.index(tuple(sorted(PAIRS[i - 1] + PAIRS[j - 1]))))
    return np.array(found, dtype=np.int64)


MOMENT_OF_PRODUCT = _moment_of_product()


def tensor_design(bvals: NDArray[np.floating], bvecs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Design matrix of the logarithm of the signal.

    Parameters
    ----------
    bvals : (v,) float
        s/mm2.
    bvecs : (v, 3) float
        Directions; a length other than one scales the b-value by its square.

    Returns
    -------
    (v, 7) float64
        For log s0, then Dxx, Dxy, Dyy, Dxz, Dyz, Dzz in 1e-3 mm2/s.
    """
    b = np.asarray(bvals, dtype=np.float64)[:, None] / B_SCALE_S_PER_MM2
    x, y, z = np.asarray(bvecs, dtype=np.float64).T[:, :, None]
    columns = [np.ones_like(b), -b * x * x, -2 * b * x * y, -b * y * y, -2 * b * x * z, -2 * b * y * z, -b * z * z]
    return np.concatenate(columns, axis=1)


def tensor_moments(bvals: NDArray[np.floating], bvecs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Everything that the normal equations sum over volumes, one row each.

    The normal matrix has 28 different entries, but the products of two quadratic monomials of a direction are only 15
    different quartic ones, so 22 weighted sums make it.

    Returns
    -------
    (22, v filled up) float64
        1; then b g_i g_j for the six tensor entries; then b^2 g_i g_j g_k g_l for `QUARTICS`; b in 1e3 s/mm2.
    """
    b = np.asarray(bvals, dtype=np.float64) / B_SCALE_S_PER_MM2
    g = np.asarray(bvecs, dtype=np.float64).T
    moments = np.zeros((N_MOMENTS, _filled_up(len(b))))
    moments[0, : len(b)] = 1.0
    for row, axes in enumerate(PAIRS, start=1):
        moments[row, : len(b)] = b * np.prod(g[list(axes)], axis=0)
    for row, four_axes in enumerate(QUARTICS, start=1 + len(PAIRS)):
        moments[row, : len(b)] = b * b * np.prod(g[list(four_axes)], axis=0)
    return moments


def tensor_start(moments: NDArray[np.float64], n_volumes: int) -> NDArray[np.float64]:
    """Pseudo-inverse of the unweighted problem: its rows times the logarithms are the unknowns of the ordinary fit.

    Returns
    -------
    (7, v filled up) float64
        For log s0 and minus Dxx, 2 Dxy, Dyy, 2 Dxz, 2 Dyz, Dzz in 1e-3 mm2/s.
    """
    design = moments[:N_UNKNOWNS, :n_volumes]
    start = np.zeros((N_UNKNOWNS, moments.shape[1]))
    # By hand and not with pinv: the sums of a threaded library need not come in the same order twice.
    normal = np.einsum("iv,jv->ij", design, design)
    start[:, :n_volumes] = np.einsum("ij,jv->iv", np.linalg.inv(normal), design)
    return start


def _filled_up(n_volumes: int) -> int:
    return -(-n_volumes // VOLUMES_PER_VECTOR) * VOLUMES_PER_VECTOR
