"""The region table against the label image: the right numbers, names and sides?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import RegionTable
from tractome.stages.check.inspection import Inspection, some

_MIDLINE_MM = 3.0
"""A region may lean over the midline by so much."""
_MIN_SIDED = 3
_SHIFTS = (-2, -1, 1, 2)


def check_regions(inspection: Inspection, labels: NDArray[np.int64], grid: Grid, regions: RegionTable) -> None:
    """Check a region table against the image that it names.

    Parameters
    ----------
    inspection : Inspection
    labels : (x, y, z) int64
    grid : Grid
    regions : RegionTable
    """
    found = np.unique(labels[labels > 0])
    known = np.isin(regions.labels, found)
    unknown = found[~np.isin(found, regions.labels)]
    missing = [name for name, there in zip(regions.names, known, strict=True) if not there]
    if _is_shifted(inspection, found, regions, unknown, missing):
        return
    if inspection.is_beyond("regions.missing_share", len(missing) / regions.n_regions):
        message = (
            f"{len(missing)} of the {regions.n_regions} regions of the table are not in the labels, which hold "
            f"{some(found)}. The table is another atlas's; give the one that belongs to the image."
        )
        inspection.find("table-of-another-atlas", message, n_missing=len(missing))
        return
    if missing:
        message = (
            f"{len(missing)} of the {regions.n_regions} regions of the table are not in the labels: {some(missing)}. "
            "Their rows are kept and stay empty; check that nothing was lost."
        )
        inspection.find("regions-missing", message, regions=missing)
    centroids = label_centroids(labels, grid, regions.labels)
    if _is_in_order(inspection, centroids, regions):
        _check_sides(inspection, centroids, regions)
    if len(unknown) and not _is_whole_segmentation(found):
        message = (
            f"{len(unknown)} labels are not in the table: {some(unknown)}. They are left out; if they are regions, add "
            "them to the table."
        )
        inspection.find("labels-not-in-table", message, labels=[int(label) for label in unknown[:20]])


def _is_whole_segmentation(found: NDArray[np.int64]) -> bool:
    """Whether these are FreeSurfer's labels, where white matter, ventricles and CSF are labelled and mean no "
    "regions.
    """
    return bool(np.isin((2, 41), found).all() and np.isin((4, 43), found).any())


def _is_shifted(
    inspection: Inspection,
    found: NDArray[np.int64],
    regions: RegionTable,
    unknown: NDArray[np.int64],
    missing: list[str],
) -> bool:
    """Whether the table's numbers, all moved by one or two, are just those of the image."""
    if not missing or not len(unknown):
        return False
    n_known = regions.n_regions - len(missing)
    for shift in _SHIFTS:
        moved = np.isin(regions.labels + shift, found)
        if moved.all() and moved.sum() > n_known:
            message = (
                f"The table's numbers are off by {-shift}: {len(missing)} of its regions are not in the labels, but "
                f"all are when {abs(shift)} is {'added to' if shift > 0 else 'taken from'} each number. Mend the "
                "table: it counts from another first number than the image."
            )
            inspection.find("table-shifted", message, shift=shift, n_missing=len(missing))
            return True
    return False


def label_centroids(labels: NDArray[np.int64], grid: Grid, wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    """Centre of mass of each label, (n, 3) mm; NaN where it does not occur."""
    order = np.argsort(wanted)
    voxels = np.argwhere(labels > 0)
    values = labels[tuple(voxels.T)]
    slot = np.clip(np.searchsorted(wanted[order], values), 0, len(wanted) - 1)
    is_known = wanted[order][slot] == values
    rows, voxels = order[slot[is_known]], voxels[is_known]
    counts = np.bincount(rows, minlength=len(wanted)).astype(np.float64)
    sums = np.stack([np.bincount(rows, voxels[:, axis], len(wanted)) for axis in range(3)], axis=1)
    with np.errstate(invalid="ignore"):
        return grid.to_world(sums / counts[:, None])


def _is_in_order(inspection: Inspection, centroids: NDArray[np.float64], regions: RegionTable) -> bool:
    """Whether the regions lie where the table's centroids say, as well as any affine can make them."""
    there = np.isfinite(centroids).all(axis=1) & np.isfinite(regions.centroids_mm).all(axis=1)
    if np.count_nonzero(there) < 12:
        return True
    stated, measured = regions.centroids_mm[there], centroids[there]
    if np.ptp(stated, axis=0).min() < 1.0:
        return True
    error = _affine_error(stated, measured)
    shifted = min(_affine_error(np.roll(stated, step, axis=0), measured) for step in _SHIFTS)
    inspection.facts["distance of regions from the table's centroids"] = f"{error:.1f} mm"
    beyond = inspection.is_beyond("regions.centroid_error_mm", error)
    if beyond or shifted < error / 2:
        message = (
            f"The regions lie {error:.0f} mm from where the table's centroids say, after the best affine"
            + (f"; moved by a row or two, {shifted:.0f} mm" if shifted < error / 2 else "")
            + ". Names and labels do not belong together: is a line missing or doubled in the table?"
        )
        inspection.find("table-order", message, error_mm=error, shifted_mm=shifted)
        return False
    return True


def _affine_error(stated: NDArray[np.float64], measured: NDArray[np.float64]) -> float:
    """Median distance (mm) of points after the affine that fits them best."""
    design = np.column_stack([stated, np.ones(len(stated))])
    fitted = design @ np.linalg.lstsq(design, measured, rcond=None)[0]
    return float(np.median(np.linalg.norm(fitted - measured, axis=1)))


def _check_sides(inspection: Inspection, centroids: NDArray[np.float64], regions: RegionTable) -> None:
    there = np.isfinite(centroids).all(axis=1)
    left = there & np.array([side == "L" for side in regions.hemispheres])
    right = there & np.array([side == "R" for side in regions.hemispheres])
    if min(left.sum(), right.sum()) < _MIN_SIDED:
        return
    # The subject's own midline, as the plane that parts the two sides best: scans are rarely centred, and heads are
    # turned.
    sided = left | right
    design = np.column_stack([centroids[sided], np.ones(int(sided.sum()))])
    plane = np.linalg.lstsq(design, np.where(right[sided], 1.0, -1.0), rcond=None)[0]
    is_mirrored = bool(plane[0] < 0)
    to_the_right_mm = (centroids * plane[:3]).sum(axis=1) + plane[3]
    to_the_right_mm /= max(float(np.linalg.norm(plane[:3])), 1e-12)
    wrong = (left & (to_the_right_mm > _MIDLINE_MM)) | (right & (to_the_right_mm < -_MIDLINE_MM))
    share = float(wrong.sum() / (left.sum() + right.sum()))
    listed = [regions.names[row] for row in np.flatnonzero(wrong)]
    if is_mirrored:
        message = (
            "Regions that the table calls left lie on the right of those it calls right (world x, RAS+). Labels or "
            "table have the sides exchanged, or the header of the image is wrong about left and right; mend that one."
        )
        inspection.find("labels-mirrored", message)
    elif inspection.is_beyond("regions.wrong_side", share):
        message = (
            f"{len(listed)} regions lie on the other side of the midline than the table says: {some(listed)}. Is a "
            "line of the table missing or doubled, so that names have moved?"
        )
        inspection.find("hemispheres-disagree", message, regions=listed)
