"""How well a registration came out, in numbers, and when it counts as failed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.errors import RegistrationError

_BINS = 48


@dataclass(frozen=True, eq=False)
class RigidStep:
    """The way from the DWI to the T1, and how far it can be believed.

    Parameters
    ----------
    matrix : (4, 4) float64
        DWI world -> T1 world, RAS+ mm.
    information : float
        Mutual information in the DWI mask, in nats.
    detail : float
        See `detail`; NaN where too little of the brain's inside is seen.
    mirrored_detail : float
        The same with the T1 mirrored left-right and registered again; NaN when `detail` gave no reason to look.
    coverage : float
        Part of the DWI mask in which the T1 is not empty.
    shift_mm : float
        How far the centre of the DWI mask is moved.
    """

    matrix: NDArray[np.float64]
    information: float
    detail: float
    mirrored_detail: float
    coverage: float
    shift_mm: float


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
    dwi_to_t1_detail : float
        Whether b0 and T1 show the same brain: see `detail`; unitless, about 0 to 0.9; NaN without a T1.
    dwi_to_t1_coverage : float
        Part of the DWI mask in which the T1 is not empty; NaN without a T1.
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
    dwi_to_t1_detail: float = float("nan")
    dwi_to_t1_coverage: float = float("nan")
    dwi_to_t1_shift_mm: float = float("nan")

    def as_dict(self) -> dict[str, float]:
        """All numbers by name, for a sidecar."""
        return {name: float(value) for name, value in asdict(self).items()}


def with_rigid(quality: RegistrationQuality, rigid: RigidStep) -> RegistrationQuality:
    """The numbers of a registration to the template, and those of the rigid step before it."""
    return replace(
        quality,
        dwi_to_t1_mutual_information=rigid.information,
        dwi_to_t1_detail=rigid.detail,
        dwi_to_t1_coverage=rigid.coverage,
        dwi_to_t1_shift_mm=rigid.shift_mm,
    )


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


def detail(first: NDArray[Any], second: NDArray[Any], inside: NDArray[np.bool_]) -> float:
    """How much better two images of one brain explain each other in place than out of place.

    The squared correlation within windows of 5 voxels, averaged over the inside of the brain with the variance of the
    second image as weight (flat tissue says nothing), less the same with the second image moved by 3 voxels along each
    axis. Images of two heads that were registered well share ventricles and outline, but not the folds of the cortex:
    what the windows see moves by 3 voxels unnoticed. The sign of the contrast does not matter.

    Parameters
    ----------
    first, second : (x, y, z)
        On one grid of 2 mm.
    inside : (x, y, z) bool
        Brain; only voxels deeper than 3 voxels count.

    Returns
    -------
    float
        Unitless, about 0 to 0.9; NaN with fewer than `_MIN_DETAIL_VOXELS` voxels.
    """
    from scipy import ndimage

    deep = ndimage.binary_erosion(inside, iterations=_DETAIL_SHIFT)
    if deep.sum() < _MIN_DETAIL_VOXELS:
        return float("nan")
    one, other = _standardised(first, inside), _standardised(second, inside)
    here = _explained(one, other, inside, deep)
    moves = [(axis, step) for axis in range(3) for step in (-_DETAIL_SHIFT, _DETAIL_SHIFT)]
    away = [_explained(one, np.roll(other, step, axis), inside, deep) for axis, step in moves]
    return here - float(np.mean(away))


_DETAIL_SHIFT = 3
_DETAIL_WINDOW = 5
_MIN_DETAIL_VOXELS = 2000


def _standardised(image: NDArray[Any], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    low, high = np.percentile(image[inside], (1, 99))
    values = np.clip(image.astype(np.float64), low, high)
    return np.asarray((values - values[inside].mean()) / max(float(values[inside].std()), 1e-12))


def _explained(
    first: NDArray[np.float64], second: NDArray[np.float64], inside: NDArray[np.bool_], deep: NDArray[np.bool_]
) -> float:
    """Mean squared correlation in windows around the deep voxels, weighted by the second image's variance."""
    from scipy import ndimage

    def mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(ndimage.uniform_filter(image * inside, _DETAIL_WINDOW)[deep] / share)

    share = ndimage.uniform_filter(inside.astype(np.float64), _DETAIL_WINDOW)[deep]
    means = mean(first), mean(second)
    variances = [np.maximum(mean(image**2) - own**2, 1e-6) for image, own in zip((first, second), means, strict=True)]
    covariance = mean(first * second) - means[0] * means[1]
    explained = np.minimum(covariance**2 / (variances[0] * variances[1]), 1.0)
    # Capped, so that the rim of the ventricles does not outweigh the folds.
    weight = np.minimum(variances[1], np.percentile(variances[1], 90))
    return float((explained * weight).sum() / weight.sum())


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


def require_one_head(rigid: RigidStep, min_detail: float) -> None:
    """Raise RegistrationError when b0 and T1 do not lie on each other, or are not of one head.

    Parameters
    ----------
    rigid : RigidStep
    min_detail : float
        Lowest accepted `detail` of b0 and T1.
    """
    look = (
        "Look at both in one viewer: are they of one subject, and do the headers tell left, front and top rightly? "
        "Without a usable T1, leave it out: FA is registered then."
    )
    failed = "The registration of the b0 to the T1 failed"
    if rigid.information < MIN_INFORMATION:
        message = (
            f"{failed}: mutual information {rigid.information:.3f} in the brain, at least {MIN_INFORMATION:.2f} is "
            f"needed. {look}"
        )
        raise RegistrationError(message)
    if rigid.detail < min_detail <= rigid.mirrored_detail and rigid.mirrored_detail > 2 * rigid.detail:
        message = (
            "Left and right are exchanged in the T1 or in the scan: the b0 agrees in detail "
            f"({rigid.mirrored_detail:.2f}) with the mirror image of the T1, not with the T1 ({rigid.detail:.2f}; "
            f"{min_detail:.2f} is needed). Find out which of the two was converted wrongly and convert it again; an "
            "image may be turned, but never mirrored."
        )
        raise RegistrationError(message)
    if rigid.detail < min_detail:
        message = (
            f"{failed}: b0 and T1 agree in the large but not in the folds (detail {rigid.detail:.2f}, at least "
            f"{min_detail:.2f} is needed), as those of two different people do. {look}"
        )
        raise RegistrationError(message)
    if rigid.coverage < MIN_COVERAGE:
        message = (
            f"The T1 shows only {rigid.coverage:.0%} of the brain that the DWI mask marks; at least {MIN_COVERAGE:.0%} "
            "is needed to register the template to it. Was it cropped, or is the mask too large? Without a whole T1, "
            "leave it out: FA is registered then."
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
    lowest, highest = JACOBIAN_RANGE
    if quality.jacobian_low < lowest or quality.jacobian_high > highest:
        faults.append(
            f"the warp changes volumes by {quality.jacobian_low:.2f} to {quality.jacobian_high:.2f}, {lowest:g} to "
            f"{highest:g} is plausible"
        )
    if quality.folded_fraction > MAX_FOLDED:
        faults.append(f"the warp folds in {quality.folded_fraction:.1%} of the brain, {MAX_FOLDED:.1%} is tolerable")
    if faults:
        message = f"The registration of {what} failed: {'; '.join(faults)}. {remedy}"
        raise RegistrationError(message)


MIN_INFORMATION = 0.07
MIN_COVERAGE = 0.85
MIN_DICE = 0.6
SCALE_RANGE = (0.6, 2.2)
JACOBIAN_RANGE = (0.15, 3.5)
MAX_FOLDED = 0.02
"""Limits set from scans that register well against rotated, cropped, foreign and random ones (docs/registration.md)."""
