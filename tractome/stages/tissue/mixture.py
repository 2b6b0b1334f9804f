"""CSF, grey and white matter by a mixture of Gaussians, one per tissue, with a smooth bias field on some channels.

Expectation and maximisation in turn, with what is known of each voxel beforehand as prior (Van Leemput et al. 1999,
doi:10.1109/42.811270; Ashburner and Friston 2005, doi:10.1016/j.neuroimage.2005.02.018). Channels may be anything that
is different in the three tissues: the logarithm of a T1, FA, MD.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.errors import ImageError

Floats = NDArray[np.float64]

CSF, GREY, WHITE = range(3)
"""Columns of priors and posteriors."""
N_CLASSES = 3

_N_ROUNDS = 30
_BLOCK = 65_536
_MOST_VOXELS = 60_000
"""Voxels that the parameters are learned from; more change nothing."""
_BIAS_ORDER = 3
_SETTLED = 1e-4
_LEAST_SHARE = 0.005
"""A tissue with a smaller share of the voxels is not in the image."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """What was learned.

    Parameters
    ----------
    means : (3, n_channels) float64
        CSF, grey, white.
    covariances : (3, n_channels, n_channels) float64
    bias : (n_channels, n_terms) float64
        Coefficients of the polynomials that are added to a channel; zeros where it has no bias.
    """

    means: Floats
    covariances: Floats
    bias: Floats

    def corrected(self, channels: Floats, places: Floats) -> Floats:
        """Channels (n, n_channels) without their bias."""
        plain = np.array(channels, dtype=np.float64)
        if self.bias.any():
            for first in range(0, len(plain), _BLOCK):
                block = slice(first, first + _BLOCK)
                plain[block] -= np.einsum("vt,ct->vc", _polynomials(places[block]), self.bias)
        return plain


def learn_mixture(channels: Floats, places: Floats, prior: Floats, start: Floats, biased: tuple[int, ...]) -> Mixture:
    """Learn means, covariances and bias.

    Parameters
    ----------
    channels : (n, n_channels) float64
    places : (n, 3) float64
        Coordinates of the voxels, each axis between -1 and 1.
    prior : (n, 3) float64
        Probability of CSF, grey and white matter before anything is seen; rows sum to 1, none exactly 0.
    start : (n, 3) float64
        Probabilities to begin with.
    biased : tuple of int
        Channels that have a bias field.

    Raises
    ------
    ImageError
        Fewer voxels than the parameters need, or a tissue that is not in the image.
    """
    thin = slice(None, None, max(1, -(-len(channels) // _MOST_VOXELS)))
    channels, prior, posterior = channels[thin], prior[thin], start[thin]
    basis = _polynomials(places[thin])
    if len(channels) < 10 * basis.shape[1]:
        message = f"Only {len(channels)} voxels hold values; telling tissues apart needs {10 * basis.shape[1]}."
        raise ImageError(message)
    floor = 1e-3 * channels.var(axis=0) + 1e-12
    bias = np.zeros((channels.shape[1], basis.shape[1]))
    plain, before = channels, np.inf
    for _ in range(_N_ROUNDS):
        _require_all(posterior)
        means, covariances = _moments(plain, posterior, floor)
        for channel in biased:
            variances = covariances[:, channel, channel]
            bias[channel] = _bias(channels[:, channel], posterior, means[:, channel], variances, basis)
        plain = channels - np.einsum("vt,ct->vc", basis, bias)
        new = posterior_of(_logs(plain, prior, means, covariances))
        change = float(np.abs(new - posterior).mean())
        posterior = new
        if change < _SETTLED or change > 2 * before:
            break
        before = change
    return Mixture(means, covariances, bias)


def _require_all(posterior: Floats) -> None:
    for tissue, name in enumerate(("CSF", "grey matter", "white matter")):
        share = float(posterior[:, tissue].mean())
        if not share >= _LEAST_SHARE:
            message = (
                f"The image could not be divided into tissues: {name} fills {share:.1%} of the brain. "
                "Check that the image is what it is said to be and that the mask is the brain."
            )
            raise ImageError(message)


def _moments(channels: Floats, posterior: Floats, floor: Floats) -> tuple[Floats, Floats]:
    total = posterior.sum(axis=0)
    means = np.einsum("vk,vc->kc", posterior, channels) / total[:, None]
    covariances = np.empty((N_CLASSES, channels.shape[1], channels.shape[1]))
    for tissue in range(N_CLASSES):
        away = channels - means[tissue]
        covariances[tissue] = np.einsum("vc,vd->cd", away * posterior[:, tissue, None], away) / total[tissue]
        covariances[tissue] += np.diag(floor)
    return means, covariances


def _bias(values: Floats, posterior: Floats, means: Floats, variances: Floats, basis: Floats) -> Floats:
    """Polynomial, without its constant, nearest to what the tissues leave; CSF is left out (its values spread)."""
    precision = posterior[:, GREY:] / variances[GREY:]
    weight = precision.sum(axis=1)
    predicted = np.einsum("vk,k->v", precision, means[GREY:]) / np.maximum(weight, 1e-12)
    residual = values - predicted
    gram = np.einsum("vi,vj->ij", basis * weight[:, None], basis)
    # A little stiffness: where a part of the brain has no grey or white matter, the field must not run away.
    gram += np.diag(np.full(len(gram), 1e-3 * weight.sum()))
    found = np.linalg.solve(gram, np.einsum("vi,v->i", basis, weight * residual))
    found[0] = 0.0
    return np.asarray(found)


def log_likelihood(corrected: Floats, prior: Floats, mixture: Mixture) -> Floats:
    """Logarithm (n, 3) of prior times likelihood, of channels (n, n_channels) without their bias."""
    return _logs(corrected, prior, mixture.means, mixture.covariances)


def posterior_of(logs: Floats) -> Floats:
    """Probabilities (n, 3) from the logarithms of what they are proportional to."""
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _logs(channels: Floats, prior: Floats, means: Floats, covariances: Floats) -> Floats:
    logs = np.empty((len(channels), N_CLASSES))
    for tissue in range(N_CLASSES):
        inverse = np.linalg.inv(covariances[tissue])
        away = channels - means[tissue]
        distance = (np.einsum("vc,cd->vd", away, inverse) * away).sum(axis=1)
        logs[:, tissue] = np.log(prior[:, tissue]) - 0.5 * (distance + np.log(np.linalg.det(covariances[tissue])))
    return logs


def unit_places(inside: NDArray[np.bool_]) -> Floats:
    """Voxel coordinates of the voxels inside, each axis from -1 to 1 over the image, (n, 3)."""
    voxels = np.argwhere(inside)
    return np.asarray(2.0 * voxels / np.maximum(np.array(inside.shape) - 1, 1) - 1.0)


def _polynomials(places: Floats) -> Floats:
    """All products of powers up to `_BIAS_ORDER` in all, (n, 20); the constant comes first."""
    x, y, z = np.asarray(places, dtype=np.float64).T
    order = _BIAS_ORDER
    powers = [(i, j, k) for i in range(order + 1) for j in range(order + 1 - i) for k in range(order + 1 - i - j)]
    return np.stack([x**i * y**j * z**k for i, j, k in powers], axis=1)
