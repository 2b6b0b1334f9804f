"""What each volume should look like, told from all the others: a Gaussian process over the directions.

The covariance of two measurements falls with the angle between their directions and with the difference of their log
b-values: the idea of Andersson and Sotiropoulos, NeuroImage 2015. Here it falls as exp(-sin^2 / 2 l^2), which is smooth
where theirs has a kink, and the same for g and -g. The mean of each shell is unknown and drops out. Leaving one volume
out costs nothing: it follows from the inverse of the covariance of all.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import GradientTable

REACHES = (0.35, 0.5, 0.7, 1.0, 1.5)
NOISE_SHARES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
B_LENGTHS = (0.3, 1.0)
_UNKNOWN_MEAN = 1e4

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prediction:
    """How volumes are predicted.

    Parameters
    ----------
    weights : (v, v) float64
        ``weights @ volumes`` are the predictions; a volume has no part in its own.
    reach : float
        Sine of the angle over which directions resemble each other.
    noise_share : float
        Noise variance over the variance of the signal among directions.
    """

    weights: Floats
    reach: float
    noise_share: float


def fit_prediction(samples: NDArray[np.float32], gradients: GradientTable) -> Prediction:
    """Choose the covariance that predicts best, and say how to predict.

    Parameters
    ----------
    samples : (n, v) float32
        Signal of some voxels.
    gradients : GradientTable
        Weighted volumes only, in their present directions.
    """
    values = samples.astype(np.float64)
    scatter = np.einsum("nv,nw->vw", values, values) / len(values)
    several = len(gradients.shells) > 1
    best: tuple[float, Prediction] | None = None
    for reach, noise, length in itertools.product(REACHES, NOISE_SHARES, B_LENGTHS if several else B_LENGTHS[:1]):
        weights = leave_one_out(covariance(gradients, reach, noise, length))
        rest = np.eye(len(weights)) - weights
        error = float(np.einsum("vi,ij,vj->", rest, scatter, rest))
        if best is None or error < best[0]:
            best = error, Prediction(weights, reach, noise)
    assert best is not None
    return best[1]


def covariance(gradients: GradientTable, reach: float, noise_share: float, b_length: float) -> Floats:
    """Covariance of the measurements, (v, v), noise and unknown means of the shells included."""
    bvecs = gradients.bvecs
    cosine = np.clip(np.einsum("ic,jc->ij", bvecs, bvecs), -1.0, 1.0)
    similar = np.exp(-(1.0 - cosine**2) / (2.0 * reach**2))
    level = np.log(gradients.bvals)
    similar *= np.exp(-0.5 * ((level[:, None] - level[None, :]) / b_length) ** 2)
    for shell in gradients.shells:
        volumes = np.array(shell.volumes)
        similar[np.ix_(volumes, volumes)] += _UNKNOWN_MEAN
    similar[np.diag_indices_from(similar)] += noise_share
    return np.asarray(similar)


def leave_one_out(matrix: Floats) -> Floats:
    """Weights (v, v) that predict each value from all others, given their covariance."""
    inverse = np.linalg.inv(matrix)
    weights = -inverse / np.diag(inverse)[:, None]
    weights[np.diag_indices_from(weights)] = 0.0
    return np.asarray(weights)


def predict(weights: Floats, volumes: NDArray[np.float32], volume: int) -> NDArray[np.float32]:
    """Predict one volume from the others.

    Parameters
    ----------
    weights : (v, v) float64
    volumes : (v, ...) float32
    volume : int

    Returns
    -------
    (...) float32
    """
    total = np.zeros(volumes.shape[1:], dtype=np.float32)
    for other in np.flatnonzero(np.abs(weights[volume]) > 1e-9):
        total += np.float32(weights[volume, other]) * volumes[other]
    return total
