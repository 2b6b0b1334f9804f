"""How well a registration came out, in numbers, and when it counts as failed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.errors import RegistrationError

_BINS = 48


@dataclass(frozen=True)
class RegistrationQuality:
    """Numbers to judge a registration by.

    Parameters
    ----------
    correlation : float
        Pearson correlation of the subject's image with the warped template over grey and white matter; unitless.
    white_matter_dice : float
        Overlap (Dice) of the warped template's white matter with the subject's brightest tissue of equal volume;
        unitless, 0 to 1.
    jacobian_low, jacobian_high : float
        1st and 99th percentile, within the brain, of the local volume change by the warp (without the affine);
        unitless.
    folded_fraction : float
        Part of the brain where the warp folds (Jacobian not positive).
    scale : float
        Volume change by the affine, subject -> template; unitless.
    brain_volume_mm3 : float
        Volume of the brain mask that the registration ended with.
    dwi_to_t1_mutual_information : float
        Of b0 and T1 within the DWI mask, after the rigid step, in nats; NaN without a T1.
    dwi_to_t1_shift_mm : float
        How far the rigid step moved the centre of the DWI mask; NaN without a T1.
    """

    correlation: float
    white_matter_dice: float
    jacobian_low: float
    jacobian_high: float
    folded_fraction: float
    scale: float
    brain_volume_mm3: float
    dwi_to_t1_mutual_information: float = float("nan")
    dwi_to_t1_shift_mm: float = float("nan")

    def as_dict(self) -> dict[str, float]:
        """All numbers by name, for a sidecar."""
        return {name: float(value) for name, value in asdict(self).items()}


def correlation(first: NDArray[Any], second: NDArray[Any], inside: NDArray[np.bool_]) -> float:
    """Pearson correlation of two images over a mask; 0 where one of them is constant or the mask all but empty."""
    if inside.sum() < 100:
        return 0.0
    a, b = first[inside].astype(np.float64), second[inside].astype(np.float64)
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def mutual_information(first: NDArray[Any], second: NDArray[Any], inside: NDArray[np.bool_]) -> float:
    """Mutual information of two images over a mask, from a joint histogram, in nats.

    Less what independent images show because the histogram is filled by few voxels (Miller 1955).
    """
    if inside.sum() < 100:
        return 0.0
    joint = np.histogram2d(_clipped(first[inside]), _clipped(second[inside]), bins=_BINS)[0]
    joint /= joint.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    filled = joint > 0
    bias = (filled.sum() - (joint.sum(axis=0) > 0).sum() - (joint.sum(axis=1) > 0).sum() + 1) / (2 * inside.sum())
    return float((joint[filled] * np.log(joint[filled] / independent[filled])).sum() - bias)


def _clipped(values: NDArray[Any]) -> NDArray[np.float64]:
    """Without the outermost percent on each side, which would leave all others in a few bins."""
    low, high = np.percentile(values, (1, 99))
    return np.clip(values.astype(np.float64), low, high)


def white_matter_dice(image: NDArray[Any], white: NDArray[Any], grey: NDArray[Any]) -> float:
    """Dice overlap of the template's white matter with the brightest voxels of the subject, equally many.

    Over voxels that the template calls grey or white, so that neither skull nor fluid takes part.
    """
    tissue = (white + grey) > 0.5
    is_white = (white > grey)[tissue]
    if not is_white.any() or is_white.all():
        return 0.0
    values = image[tissue]
    bright = values > np.quantile(values, 1 - is_white.mean())
    return float(2 * (bright & is_white).sum() / max(bright.sum() + is_white.sum(), 1))


def jacobian(warp_mm: NDArray[np.float32], spacing_mm: float) -> NDArray[np.float64]:
    """Determinant of the derivative of x -> x + warp(x), (x, y, z) float64, on a grid along the world axes."""
    columns = [np.gradient(warp_mm.astype(np.float64), spacing_mm, axis=axis) for axis in range(3)]
    matrix = np.stack(columns, axis=-1) + np.eye(3)
    return np.asarray(np.linalg.det(matrix))


def require_information(information: float) -> None:
    """Raise RegistrationError when b0 and T1 share too little after the rigid step (nats) to lie on each other."""
    if information < MIN_INFORMATION:
        message = (
            f"The registration of the b0 to the T1 failed: mutual information {information:.3f} in the brain, at least "
            f"{MIN_INFORMATION:.2f} is needed. Look at both in one viewer: are they of one subject, and do the headers "
            "tell left, front and top rightly? Without a usable T1, leave it out: FA is registered then."
        )
        raise RegistrationError(message)


def require_quality(quality: RegistrationQuality, min_correlation: float, what: str, remedy: str) -> None:
    """Raise RegistrationError when the numbers say that the images do not lie on each other.

    Parameters
    ----------
    quality : RegistrationQuality
    min_correlation : float
        Lowest accepted correlation.
    what : str
        What was registered to what, for the message.
    remedy : str
        What the user can do, for the message.
    """
    faults = []
    if quality.correlation < min_correlation:
        faults.append(f"correlation {quality.correlation:.2f}, at least {min_correlation:.2f} is needed")
    if not quality.white_matter_dice >= MIN_DICE:
        faults.append(f"white-matter overlap {quality.white_matter_dice:.2f}, at least {MIN_DICE:.2f} is needed")
    low, high = SCALE_RANGE
    if not low <= quality.scale <= high:
        faults.append(f"the brain was scaled by {quality.scale:.2f} in volume, {low:.2f} to {high:.2f} is plausible")
    if quality.folded_fraction > MAX_FOLDED:
        faults.append(f"the warp folds in {quality.folded_fraction:.1%} of the brain, {MAX_FOLDED:.1%} is tolerable")
    if faults:
        message = f"The registration of {what} failed: {'; '.join(faults)}. {remedy}"
        raise RegistrationError(message)


MIN_INFORMATION = 0.07
MIN_DICE = 0.6
SCALE_RANGE = (0.6, 2.2)
MAX_FOLDED = 0.02
"""Limits set from scans that register well (see docs/atlases.md) against rotated, foreign and random images."""
