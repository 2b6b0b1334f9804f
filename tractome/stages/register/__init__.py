"""A subject's brain to the template's, and an atlas back to the subject.

The subject's image is fixed and the template moves, so the warp that comes out pulls atlas labels straight onto the
subject's own grid; nothing is inverted. With a T1: b0 -> T1 rigid (mutual information), T1 -> template affine (mutual
information) and deformable (local correlation; Avants et al. 2008, doi:10.1016/j.media.2007.06.004). Without: FA ->
white-matter probability of the template in the same two steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen
from tractome.datatypes.grid import Grid
from tractome.datatypes.template import Template
from tractome.errors import ImageError
from tractome.options import ParcellateOptions
from tractome.stages.register.quality import (
    RegistrationQuality,
    correlation,
    jacobian,
    require_one_head,
    require_quality,
    white_matter_dice,
    with_rigid,
)
from tractome.stages.register.rigid import b0_to_t1
from tractome.stages.register.sampling import IDENTITY, pull, resample, working_grid
from tractome.stages.register.steps import (
    DEFORM_SPACING_MM,
    LINEAR_SPACING_MM,
    MARGIN_MM,
    affine,
    deform,
    dilated,
)

__all__ = [
    "Registration",
    "RegistrationQuality",
    "register_fa",
    "register_t1",
    "space_mismatch",
    "warp_labels",
    "warp_map",
]

Progress = Callable[[int, int], None]

_LABEL_SPACING_MM = 1.0
_LOOK_AT_THE_T1 = (
    "Look at the T1: is it of this subject, T1-weighted, and does its header tell left, front and top rightly? Without "
    "a usable T1, leave it out: FA is registered then."
)
_MARGIN_OF_WHOLE_MM, _MARGIN_OF_CUT_MM = 20.0, 70.0
"""Around the DWI mask, when it shows a whole brain and when the scan ends within it."""
_CUT_SHARE = 0.005


@dataclass(frozen=True, eq=False)
class Registration:
    """The way from each position of a subject to the template.

    Parameters
    ----------
    matrix : (4, 4) float64
        Warped position -> template world, RAS+ mm.
    warp_mm : (x, y, z, 3) float32
        To add to a position of the registered image's world, RAS+ mm.
    warp_grid : Grid
        Of the warp.
    label_grid : Grid
        Grid on which labels are made, in the world of the registered image: the T1's own.
    to_dwi : (4, 4) float64
        World of the registered image -> world of the DWI, rigid; the identity without a T1.
    brain : (x, y, z) bool
        On the grid of the warp: the template's brain in its final place, within the mask that was given.
    quality : RegistrationQuality
    space : str
        Name of the template's space.
    """

    matrix: NDArray[np.float64]
    warp_mm: NDArray[np.float32]
    warp_grid: Grid
    label_grid: Grid
    to_dwi: NDArray[np.float64]
    brain: NDArray[np.bool_]
    quality: RegistrationQuality
    space: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", frozen(self.matrix, np.float64))
        object.__setattr__(self, "warp_mm", frozen(self.warp_mm, np.float32))
        object.__setattr__(self, "to_dwi", frozen(self.to_dwi, np.float64))
        object.__setattr__(self, "brain", frozen(self.brain, np.bool_))


def register_t1(
    t1: NDArray[np.float32],
    t1_grid: Grid,
    b0: NDArray[np.float32],
    dwi_grid: Grid,
    dwi_mask: NDArray[np.bool_],
    template: Template,
    options: ParcellateOptions,
    n_threads: int = 0,
    progress: Progress | None = None,
) -> Registration:
    """Register the template to a T1, and the T1 to the DWI.

    Parameters
    ----------
    t1 : (x, y, z) float32
        Whole head or brain only; the face may be removed.
    t1_grid : Grid
    b0 : (x, y, z) float32
        Mean b0.
    dwi_grid : Grid
    dwi_mask : (x, y, z) bool
        Brain.
    template : Template
    options : ParcellateOptions
    n_threads : int
        0 for all there are. Never changes the result.
    progress : callable, optional
        Called with steps done and steps in all.

    Returns
    -------
    Registration

    Raises
    ------
    RegistrationError
        The result fails the limits of `options` and of `quality`.
    ImageError
        An image holds no contrast.
    """
    report = progress or (lambda done, total: None)
    t1, b0 = _contrast(t1, "The T1"), _contrast(b0, "The b0")
    report(0, 4)
    rigid = b0_to_t1(b0, dwi_mask, dwi_grid, t1, t1_grid, options.min_t1_detail)
    require_one_head(rigid, options.min_t1_detail)
    report(1, 4)
    to_dwi = np.asarray(np.linalg.inv(rigid.matrix), dtype=np.float64)
    found = _t1_to_template(t1, t1_grid, dwi_mask, dwi_grid, to_dwi, template, n_threads, report)
    quality = with_rigid(found.quality, rigid)
    require_quality(quality, options.min_correlation, "the T1 to the template", _LOOK_AT_THE_T1)
    report(4, 4)
    return replace(found, quality=quality)


def _t1_to_template(
    t1: NDArray[np.float32],
    t1_grid: Grid,
    dwi_mask: NDArray[np.bool_],
    dwi_grid: Grid,
    to_dwi: NDArray[np.float64],
    template: Template,
    n_threads: int,
    report: Progress,
) -> Registration:
    """Affine and deformable, the brain of the T1 found on the way: the DWI mask, refined by the template's."""
    is_cut = _is_cut(dwi_mask)
    margin = _MARGIN_OF_CUT_MM if is_cut else _MARGIN_OF_WHOLE_MM
    head = working_grid(resample(dwi_mask, dwi_grid, t1_grid, to_dwi) > 0.5, t1_grid, LINEAR_SPACING_MM, margin)
    image = resample(t1, t1_grid, head)
    from_dwi = resample(dwi_mask, dwi_grid, head, to_dwi) > 0.5
    unseen = resample(np.ones(dwi_grid.shape, np.float32), dwi_grid, head, to_dwi) < 0.5 if is_cut else None
    matrix, brain = affine(image, dilated(from_dwi, 2), head, template, template.t1, unseen)
    report(2, 4)
    grid = working_grid(brain, head, DEFORM_SPACING_MM, MARGIN_MM)
    fine, fine_brain = resample(t1, t1_grid, grid), resample(brain, head, grid) > 0.5
    warp = deform(fine, fine_brain, grid, template, template.t1, matrix, n_threads)
    report(3, 4)
    quality, final = _quality(fine, fine_brain, grid, template, template.t1, matrix, warp)
    return Registration(matrix, warp, grid, t1_grid, to_dwi, final, quality, template.space)


def _is_cut(mask: NDArray[np.bool_]) -> bool:
    """Whether a brain mask ends at a face of its grid because the image does."""
    faces = [np.take(mask, end, axis=axis) for axis in range(3) for end in (0, -1)]
    return any(face.sum() > _CUT_SHARE * mask.sum() for face in faces)


def register_fa(
    fa: NDArray[np.float32],
    grid: Grid,
    mask: NDArray[np.bool_],
    template: Template,
    options: ParcellateOptions,
    n_threads: int = 0,
    progress: Progress | None = None,
) -> Registration:
    """Register the template to FA when there is no T1.

    Parameters
    ----------
    fa : (x, y, z) float32
        Fractional anisotropy, 0 outside the mask.
    grid : Grid
    mask : (x, y, z) bool
        Brain; parts of the brain may lie outside the image.
    template : Template
    options : ParcellateOptions
    n_threads : int
        0 for all there are. Never changes the result.
    progress : callable, optional
        Called with steps done and steps in all.

    Returns
    -------
    Registration
        Its labels are made on a grid of 1 mm along the world axes.

    Raises
    ------
    RegistrationError
        The result fails the limits of `options` and of `quality`.
    ImageError
        The map holds no contrast.
    """
    report = progress or (lambda done, total: None)
    fa = _contrast(fa, "The FA map")
    report(0, 3)
    head = working_grid(mask, grid, LINEAR_SPACING_MM, 20.0)
    image, inside = resample(fa, grid, head), resample(mask, grid, head) > 0.5
    matrix, _ = affine(image, inside, head, template, template.white)
    report(1, 3)
    working = working_grid(mask, grid, DEFORM_SPACING_MM, MARGIN_MM)
    fine, brain = resample(fa, grid, working), resample(mask, grid, working) > 0.5
    warp = deform(fine, brain, working, template, template.white, matrix, n_threads)
    report(2, 3)
    quality, final = _quality(fine, brain, working, template, template.white, matrix, warp)
    require_quality(
        quality,
        options.min_fa_correlation,
        "FA to the template",
        "Look at the FA map and the mask: are the b-vectors right, is the brain whole and upright in its header? "
        "A T1 of the subject, where there is one, registers more reliably.",
    )
    report(3, 3)
    labels = working_grid(mask, grid, _LABEL_SPACING_MM, 4.0)
    return Registration(matrix, warp, working, labels, IDENTITY, final, quality, template.space)


def warp_labels(registration: Registration, labels: NDArray[np.int64], grid: Grid) -> tuple[NDArray[np.int64], Grid]:
    """Atlas labels in the subject, nearest label each.

    Parameters
    ----------
    registration : Registration
    labels : (x, y, z) int64
        In the template's space.
    grid : Grid
        Of the labels.

    Returns
    -------
    labels : (x, y, z) int64
        On the registered image's own grid.
    grid : Grid
        That grid, moved into the world of the DWI: the labels are not resampled for it.
    """
    warped = pull(
        labels.astype(np.int32),
        grid,
        registration.label_grid,
        registration.matrix,
        registration.warp_mm,
        registration.warp_grid,
        order=0,
    )
    moved = Grid(registration.label_grid.shape, registration.to_dwi @ registration.label_grid.affine)
    return warped.astype(np.int64), moved


def warp_map(registration: Registration, volume: NDArray[np.float32], grid: Grid, target: Grid) -> NDArray[np.float32]:
    """A map of the template in the subject, interpolated.

    Parameters
    ----------
    registration : Registration
    volume : (x, y, z) float32
        In the template's space.
    grid : Grid
        Of the map.
    target : Grid
        Where the map is wanted, in the world of the DWI.

    Returns
    -------
    (x, y, z) float32
        On `target`; 0 outside the template.
    """
    registered = Grid(target.shape, np.linalg.inv(registration.to_dwi) @ target.affine)
    warped = pull(
        np.asarray(volume, dtype=np.float32),
        grid,
        registered,
        registration.matrix,
        registration.warp_mm,
        registration.warp_grid,
        order=1,
    )
    return np.asarray(warped, dtype=np.float32)


def space_mismatch(atlas_space: str, template_space: str) -> str:
    """One sentence when an atlas was made in another standard space than the template's, else an empty string."""
    if atlas_space == template_space:
        return ""
    return (
        f"The atlas is in {atlas_space}, the template in {template_space}: both are MNI152, "
        "and differ by a few millimetres at most."
    )


def _contrast(volume: NDArray[np.float32], what: str) -> NDArray[np.float32]:
    """The volume without NaN; refuses one that holds nothing."""
    clean = np.nan_to_num(np.asarray(volume, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    if clean.min() == clean.max():
        message = f"{what} holds one value only, {float(clean.flat[0]):g}; it cannot be registered. Check the file."
        raise ImageError(message)
    return clean


def _quality(
    image: NDArray[np.float32],
    brain: NDArray[np.bool_],
    grid: Grid,
    template: Template,
    contrast: NDArray[np.float32],
    matrix: NDArray[np.float64],
    warp: NDArray[np.float32],
) -> tuple[RegistrationQuality, NDArray[np.bool_]]:
    """Judge on the grid of the warp, within `brain`; and the brain as the template, in its final place, says."""
    # The warp moves a position first, the matrix takes it to the template.
    warped, grey, white = (
        pull(volume, template.grid, grid, matrix, warp, grid, order=1)
        for volume in (contrast, template.grey, template.white)
    )
    grey, white = grey * brain, white * brain
    tissue = (grey + white) > 0.5
    change = jacobian(warp, float(grid.voxel_sizes_mm[0]))[brain]
    low, high = np.percentile(change, (1, 99))
    final = (pull(template.t1 > 0, template.grid, grid, matrix, warp, grid, order=0)) & brain
    quality = RegistrationQuality(
        correlation=correlation(image, warped, tissue),
        white_matter_dice=white_matter_dice(image, white, grey),
        jacobian_low=float(low),
        jacobian_high=float(high),
        folded_fraction=float((change <= 0).mean()),
        scale=float(np.linalg.det(matrix[:3, :3])),
        brain_volume_mm3=float(final.sum() * grid.voxel_volume_mm3),
    )
    return quality, final
