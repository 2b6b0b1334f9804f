"""Five tissues from the scan alone: MD, FA and b0, and with several shells tissue shares; with a template if it can.

MD tells CSF from tissue, and FA, MD and b0 together grey from white matter. Their values in each tissue are learned
from the scan itself, so that noise, b-value and resolution need no thresholds. Deep grey matter and brainstem come from
an atlas: their FA is that of white matter in places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import require_shape
from tractome.datatypes.tissue import TissueMap
from tractome.errors import ImageError
from tractome.stages.tissue.expected import Expected
from tractome.stages.tissue.mixture import CSF, GREY, WHITE, learn_mixture, log_likelihood, posterior_of, unit_places
from tractome.stages.tissue.shares import join

Floats = NDArray[np.float64]

_SHARE_DOUBT = 0.1
_MD_RANGE = (2e-4, 4e-3)
"""mm2/s: what water in a body can have."""
_BLUR_VOX = 0.5
"""Standard deviation; FA of few directions is noise to a good part."""
_START_FA = 0.25
_START_MD = 1.6
"""To begin with: white matter above this FA, CSF above this many times the median MD."""


@dataclass(frozen=True, eq=False)
class DiffusionMaps:
    """What of a scan tells tissues apart.

    Parameters
    ----------
    fa : (x, y, z) float32
        Unitless; NaN where there is none.
    md : (x, y, z) float32
        mm2/s.
    b0 : (x, y, z) float32
        Arbitrary unit, with whatever smooth bias field it has.
    mask : (x, y, z) bool
    shares : (x, y, z, 3) float32 or None
        Of CSF, grey and white matter by multi-tissue deconvolution, in any unit common to the three.
    """

    fa: NDArray[np.float32]
    md: NDArray[np.float32]
    b0: NDArray[np.float32]
    mask: NDArray[np.bool_]
    shares: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        shape = self.mask.shape
        for name in ("fa", "md", "b0"):
            require_shape(getattr(self, name), shape, f"The {name.upper()} map", ImageError)
        if self.shares is not None:
            require_shape(self.shares, (*shape, 3), "The image of tissue shares", ImageError)


def tissue_from_dwi(maps: DiffusionMaps, expected: Expected) -> TissueMap:
    """Make a tissue map from what the scan itself shows.

    Parameters
    ----------
    maps : DiffusionMaps
    expected : Expected
        On the scan's grid, which is also the map's.

    Returns
    -------
    TissueMap
        Where a voxel of the mask has no tensor it counts as outside the brain.

    Raises
    ------
    ImageError
        The mask is empty, or the maps do not tell three tissues apart.
    """
    grid = expected.grid
    require_shape(maps.mask, grid.shape, "The brain mask", ImageError)
    inside = maps.mask & np.isfinite(maps.fa) & np.isfinite(maps.md) & (maps.md > 0)
    if not inside.any():
        message = "No voxel of the brain mask has FA and MD; no tissue map can be made. Check the mask and the fit."
        raise ImageError(message)
    fa, md, b0 = _channels(maps, inside)
    prior = _prior(maps, expected, inside)
    start = _by_rules(fa, maps.md[inside]) * prior
    start /= start.sum(axis=1, keepdims=True)
    places = unit_places(inside)
    fluid = _told_apart(md[:, None], places, prior, start, biased=())[:, CSF]
    solid = _told_apart(np.stack([fa, md, b0], axis=1), places, prior, start, biased=(2,))
    white = solid[:, WHITE] / np.maximum(solid[:, GREY] + solid[:, WHITE], 1e-9)
    shares = np.zeros((*grid.shape, 3), dtype=np.float32)
    shares[inside] = np.stack([fluid, (1 - fluid) * (1 - white), (1 - fluid) * white], axis=1)
    return join(shares[..., CSF], shares[..., GREY], shares[..., WHITE], expected.deep, expected.stem, grid)


def _channels(maps: DiffusionMaps, inside: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """FA, log MD and log b0 of the voxels inside."""
    from scipy.ndimage import gaussian_filter

    known = inside.astype(np.float64)
    blurred = gaussian_filter(np.where(inside, maps.fa, 0.0).astype(np.float64), _BLUR_VOX)
    fa = blurred[inside] / gaussian_filter(known, _BLUR_VOX)[inside]
    md = np.log(np.clip(maps.md[inside].astype(np.float64), *_MD_RANGE))
    b0 = np.nan_to_num(maps.b0[inside].astype(np.float64))
    return fa, md, np.log(np.maximum(b0, 1e-3 * max(float(np.median(b0)), 1e-12)))


def _prior(maps: DiffusionMaps, expected: Expected, inside: NDArray[np.bool_]) -> Floats:
    """What is known of each voxel beforehand, times the shares of a multi-tissue fit where there are any."""
    prior = expected.prior(inside)
    if maps.shares is None:
        return prior
    shares = np.clip(np.nan_to_num(maps.shares[inside].astype(np.float64)), 0, None)
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-9) + _SHARE_DOUBT
    both = prior * shares
    return np.asarray(both / both.sum(axis=1, keepdims=True))


def _by_rules(fa: Floats, md: NDArray[np.float32]) -> Floats:
    """Probabilities to begin with, by FA, and MD in terms of its median."""
    is_fluid = md > _START_MD * np.median(md)
    kind = np.where(is_fluid, CSF, np.where(fa > _START_FA, WHITE, GREY))
    return np.asarray(np.eye(3)[kind] * 0.8 + 0.2 / 3)


def _told_apart(channels: Floats, places: Floats, prior: Floats, start: Floats, biased: tuple[int, ...]) -> Floats:
    mixture = learn_mixture(channels, places, prior, start, biased)
    return posterior_of(log_likelihood(mixture.corrected(channels, places), prior, mixture))
