"""The head in a b0 volume, quick and rough: what a mask and a T1 are compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_N_BINS = 256
_DARK_SHARE = 0.25
"""Of the median brightness of the head: below it lies background."""


def otsu_threshold(values: NDArray[np.floating]) -> float:
    """Value that parts dark from bright with the least variance within both (Otsu 1979)."""
    high = float(np.percentile(values, 99.5))
    counts, edges = np.histogram(np.clip(values, 0, high), _N_BINS, (0.0, max(high, 1e-30)))
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(float)
    above = below[-1] + counts[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    return float(edges[1 + int(np.nanargmax(np.nan_to_num(between)))])


def foreground(volume: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Bright voxels of a volume, its largest piece, holes filled; nothing where the volume is constant."""
    from scipy import ndimage

    volume = np.nan_to_num(volume, nan=0.0, posinf=0.0, neginf=0.0)
    if not volume.max() > max(0.0, float(volume.min())):
        return np.zeros(volume.shape, dtype=np.bool_)
    bright = volume > dark_limit(volume)
    pieces, n_pieces = ndimage.label(bright)
    if n_pieces > 1:
        bright = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(bright)
    return filled


def dark_limit(volume: NDArray[np.float32]) -> float:
    """Brightness below which a voxel is background: a quarter of the median of what Otsu's threshold calls bright."""
    bright = volume[volume > otsu_threshold(volume)]
    return _DARK_SHARE * float(np.median(bright)) if bright.size else 0.0
