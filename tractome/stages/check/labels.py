"""The label image: are these regions, and are they those of this brain?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.tissue import TissueMap
from tractome.stages.check.inspection import Inspection, some
from tractome.stages.check.overlap import box, looked_up, some_points


def check_label_values(inspection: Inspection, values: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Check that an image holds labels; the labels, or None where it holds none.

    Parameters
    ----------
    inspection : Inspection
    values : (x, y, z) float64
        As in the file, scaled.
    """
    finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    whole = np.rint(finite)
    off = np.abs(finite - whole) > 1e-3
    if off.any():
        message = (
            f"{int(off.sum())} values are no whole numbers (such as {finite[off].flat[0]:g}). The labels were "
            "resampled with interpolation, which makes labels that nobody meant; resample the original with nearest "
            "neighbours."
        )
        inspection.find("labels-not-whole", message, n_values=int(off.sum()))
        return None
    labels = whole.astype(np.int64)
    found = np.unique(labels)
    positive = found[found > 0]
    inspection.facts["labels"] = f"{len(positive)} in the image"
    if found[0] < 0:
        message = (
            f"There are negative labels (such as {found[0]}). Labels are positive, 0 is background; check the image."
        )
        inspection.find("labels-negative", message, lowest=int(found[0]))
        return None
    if len(positive) == 0:
        message = "The label image is empty: every voxel is 0. Give the image that holds the regions."
        inspection.find("labels-empty", message)
        return None
    if len(positive) == 1:
        message = (
            f"The label image holds one label only ({positive[0]}): it is a mask. Give the image that holds the "
            "regions; a mask goes to --mask."
        )
        inspection.find("labels-one-region", message, label=int(positive[0]))
        return None
    coherence = _coherence(labels)
    if inspection.is_beyond("labels.coherence", coherence):
        message = (
            f"The label image holds {len(positive)} values that change from voxel to voxel ({coherence:.0%} of "
            "neighbours are equal). It is no image of regions; was a T1 or a map given in its place?"
        )
        inspection.find("labels-no-regions", message, coherence=coherence, n_labels=len(positive))
        return None
    return labels


def _coherence(labels: NDArray[np.int64]) -> float:
    """Share of pairs of neighbouring labelled voxels that have the same label."""
    equal = pairs = 0
    for axis in range(3):
        one, other = (np.moveaxis(labels, axis, 0)[part] for part in (slice(1, None), slice(None, -1)))
        both = (one > 0) & (other > 0)
        pairs += int(both.sum())
        equal += int((both & (one == other)).sum())
    return equal / pairs if pairs else 1.0


def check_label_place(
    inspection: Inspection,
    labels: NDArray[np.int64],
    grid: Grid,
    brain: NDArray[np.bool_],
    dwi_grid: Grid,
    tissue: TissueMap | None,
    grey_labels: NDArray[np.int64] | None,
) -> None:
    """Check that the labels lie in the brain of the scan, and on its grey matter.

    Parameters
    ----------
    inspection : Inspection
    labels : (x, y, z) int64
    grid : Grid
    brain : (x, y, z) bool
        Brain in the scan.
    dwi_grid : Grid
    tissue : TissueMap or None
    grey_labels : (k,) int64 or None
        Labels of cortex and deep grey matter; None where the table does not say.
    """
    points = some_points(labels > 0, grid)
    on_grid, voxels = looked_up(points, dwi_grid)
    in_view = float(on_grid.mean())
    inside = float(brain[voxels].mean()) if on_grid.any() else 0.0
    is_half = inspection.is_beyond("labels.inside", inside)
    is_less = inspection.is_beyond("labels.mostly_inside", inside)
    is_cut = inspection.is_beyond("labels.in_view", in_view)
    if is_half:
        message = (
            f"The labels do not lie in the brain of the scan: {inside * in_view:.0%} of them do. Labels: "
            f"{box(points)}; brain: {box(some_points(brain, dwi_grid))} (RAS+). Labels of this subject, in the space "
            "of the scan, are needed; for an atlas in a standard space give its name with --atlas."
        )
        inspection.find("labels-elsewhere", message, inside=inside, in_view=in_view)
        return
    if is_less:
        message = (
            f"Only {inside:.0%} of the labels that the scan covers are in its brain mask. Are they this subject's, and "
            "registered to the scan? Look at them over the b0."
        )
        inspection.find("labels-partly-outside", message, inside=inside)
    elif is_cut:
        message = (
            f"The scan covers {in_view:.0%} of the labels. Regions outside of it get no streamlines; leave their rows "
            "out of what you compare."
        )
        inspection.find("scan-covers-part", message, in_view=in_view)
    if tissue is not None and grey_labels is not None and len(grey_labels):
        _check_tissue(inspection, labels, grid, tissue, grey_labels)


def _check_tissue(
    inspection: Inspection, labels: NDArray[np.int64], grid: Grid, tissue: TissueMap, grey_labels: NDArray[np.int64]
) -> None:
    on_grid, voxels = looked_up(some_points(np.isin(labels, grey_labels), grid), tissue.grid)
    if not on_grid.any():
        return
    fractions = tissue.fractions[voxels]
    share = float((fractions[:, 0] + fractions[:, 1] > 0.3).mean())
    if inspection.is_beyond("labels.in_grey", share):
        message = (
            f"Only {share:.0%} of the labels of cortex and deep grey matter lie on grey matter of the tissue map. One "
            "of the two is another subject's, or not registered; give both from the same anatomy."
        )
        inspection.find("labels-of-another-subject", message, share=share)


def check_pieces(inspection: Inspection, labels: NDArray[np.int64]) -> None:
    """Check that regions are in one piece, mostly."""
    from scipy import ndimage

    boxes = ndimage.find_objects(labels.astype(np.int32))
    scattered: list[int] = []
    n_regions = 0
    for label, place in enumerate(boxes, start=1):
        if place is None:
            continue
        n_regions += 1
        pieces, n_pieces = ndimage.label(labels[place] == label, np.ones((3, 3, 3)))
        if n_pieces > 1:
            sizes = np.bincount(pieces.ravel())[1:]
            if sizes.max() < sizes.sum() / 2:
                scattered.append(label)
    share = len(scattered) / max(n_regions, 1)
    if inspection.is_beyond("labels.scattered", share):
        message = (
            f"{len(scattered)} of {n_regions} regions are scattered, no piece holding half of them (label "
            f"{some(scattered)}). Were the labels resampled the wrong way, or is this no parcellation?"
        )
        inspection.find("labels-in-pieces", message, labels=scattered[:20], share=share)
