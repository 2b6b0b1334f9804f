"""How far the results of two programs agree, from the files of the timed runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def _read(path: Path) -> NDArray[np.float32]:
    import nibabel

    return np.asarray(nibabel.load(path).dataobj, dtype=np.float32)


def scalar_difference(ours: Path, theirs: Path, mask: Path) -> dict[str, float]:
    """Median and 99th percentile of the absolute difference of two maps inside a mask."""
    inside = _read(mask) > 0.5
    difference = np.abs(_read(ours)[inside] - _read(theirs)[inside])
    difference = difference[np.isfinite(difference)]
    return {"median": float(np.median(difference)), "p99": float(np.percentile(difference, 99))}


def angular_correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Angular correlation coefficient of SH series, row by row, without their mean (Anderson 2005); 1 for equal shape.

    Parameters
    ----------
    first, second : (n, n_coeffs) float
        Orthonormal real SH coefficients, l = 0 in the first column.
    """
    a, b = first[:, 1:].astype(np.float64), second[:, 1:].astype(np.float64)
    norm = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(norm > 0, (a * b).sum(axis=1) / norm, np.nan)


def fod_agreement(ours: Path, theirs: Path, mask: Path, white: Path) -> float:
    """Median angular correlation of two FOD images over white matter inside a mask."""
    inside = (_read(mask) > 0.5) & (_read(white) > 0.5)
    found = angular_correlation(_read(ours)[inside], _read(theirs)[inside])
    return float(np.nanmedian(found))
