"""Five tissues from a T1-weighted image, with deep grey matter and brainstem from an atlas.

Contrast between cortex and white matter is what a T1 has and an atlas lacks; of deep grey matter it is the other way
round (the thalamus and the pallidum are nearly as bright as white matter).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import require_shape
from tractome.datatypes.tissue import TissueMap
from tractome.errors import ImageError
from tractome.stages.tissue.expected import Expected
from tractome.stages.tissue.mixture import CSF, GREY, WHITE, learn_mixture, log_likelihood, unit_places
from tractome.stages.tissue.shares import join
from tractome.stages.tissue.smooth import largest_piece, settled

_DARKEST = 0.05
"""Share of the median below which a value says no more than that it is dark."""
_STRENGTH = 0.25
_N_MEANS_ROUNDS = 20
_LEAST_CONTRAST = 1.05
"""How much brighter each tissue must be than the darker one."""


def tissue_from_t1(t1: NDArray[np.float32], brain: NDArray[np.bool_], expected: Expected) -> TissueMap:
    """Make a tissue map from a T1.

    Log intensities are a mixture of three Gaussians with a smooth bias field; a Markov random field joins neighbours;
    where tissues meet, a voxel's intensity between the means of the two says how much it has of each.

    Parameters
    ----------
    t1 : (x, y, z) float32
        White matter brightest, CSF darkest.
    brain : (x, y, z) bool
        The brain with the CSF around it; no more than the template's, as it lies in the subject.
    expected : Expected
        On the T1's grid, which is also the map's.

    Returns
    -------
    TissueMap

    Raises
    ------
    ImageError
        The brain is empty or has no contrast, or the image is not T1-weighted.
    """
    grid = expected.grid
    require_shape(t1, grid.shape, "The T1", ImageError)
    require_shape(brain, grid.shape, "The brain mask", ImageError)
    inside = brain & np.isfinite(t1) & (t1 > 0)
    if not inside.any():
        message = "The T1 holds nothing but zeros inside the brain mask. Does it lie where the scan lies?"
        raise ImageError(message)
    values = t1[inside].astype(np.float64)
    channels = np.log(np.maximum(values, _DARKEST * np.median(values)))[:, None]
    places = unit_places(inside)
    prior = expected.prior(inside)
    start = prior if expected.has_template else _by_brightness(values)
    # Without a template nothing would hold a bias field back from taking over the contrast.
    mixture = learn_mixture(channels, places, prior, start, biased=(0,) if expected.has_template else ())
    means = mixture.means[:, 0]
    if not (np.diff(means) > np.log(_LEAST_CONTRAST)).all():
        found = ", ".join(
            f"{name} {np.exp(mean):.4g}" for name, mean in zip(("CSF", "grey", "white"), means, strict=True)
        )
        message = (
            f"The image has no T1 contrast: mean intensities are {found}, and must rise in this order. "
            "Check that it is T1-weighted, and that it lies on the scan."
        )
        raise ImageError(message)
    corrected = mixture.corrected(channels, places)
    kinds = settled(log_likelihood(corrected, prior, mixture), inside, _STRENGTH)
    shares = _partial_volumes(np.exp(corrected[:, 0]), kinds, inside, np.exp(means))
    white = np.where(largest_piece(shares[..., WHITE] > 0.5) | (shares[..., WHITE] <= 0.5), shares[..., WHITE], 0)
    grey = shares[..., GREY] + shares[..., WHITE] - white
    return join(shares[..., CSF], grey, white, expected.deep, expected.stem, grid)


def _by_brightness(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where there is no template: the nearest of three means, found from evenly spaced ones on (k-means)."""
    low, high = np.percentile(values, (0.5, 99.5))
    means = np.linspace(float(low), float(high), 3)
    for _ in range(_N_MEANS_ROUNDS):
        kind = np.digitize(values, (means[1:] + means[:-1]) / 2)
        means = np.array([values[kind == each].mean() if (kind == each).any() else means[each] for each in range(3)])
    return np.asarray(np.eye(3)[kind] * 0.8 + 0.2 / 3)


def _partial_volumes(
    values: NDArray[np.float64], kinds: NDArray[np.int8], inside: NDArray[np.bool_], means: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Shares (x, y, z, 3): whole where all six neighbours agree, by intensity where tissues meet."""
    shares = np.zeros((*kinds.shape, 3), dtype=np.float32)
    for kind in range(3):
        shares[..., kind] = kinds == kind
    volume = np.zeros(kinds.shape, dtype=np.float32)
    volume[inside] = values
    low, high = _neighbours(kinds)
    for darker in (CSF, GREY):
        # CSF and white matter meet at the ventricles; elsewhere grey matter lies between them.
        between = inside & (low <= darker) & (high > darker)
        part = np.clip((volume[between] - means[darker]) / (means[darker + 1] - means[darker]), 0, 1)
        own = kinds[between]
        mixed = np.isin(own, (darker, darker + 1)) & (part > 0) & (part < 1)
        where = tuple(index[mixed] for index in np.nonzero(between))
        shares[where] = 0
        shares[(*where, darker)] = 1 - part[mixed]
        shares[(*where, darker + 1)] = part[mixed]
    return shares


def _neighbours(kinds: NDArray[np.int8]) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Lowest and highest class among a voxel and its six neighbours, those outside the brain not counted."""
    most = np.int8(100)
    low = np.where(kinds < 0, most, kinds)
    high = kinds.copy()
    least, top = low.copy(), high.copy()
    for axis in range(3):
        for here, there in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            at = [slice(None)] * 3
            of = [slice(None)] * 3
            at[axis], of[axis] = here, there
            np.minimum(least[tuple(at)], low[tuple(of)], out=least[tuple(at)])
            np.maximum(top[tuple(at)], high[tuple(of)], out=top[tuple(at)])
    return least, top
