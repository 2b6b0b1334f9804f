"""Labels to regions: which row of the matrix each place of a subject's brain belongs to."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation, RegionTable
from tractome.errors import AtlasError, SpaceError

logger = logging.getLogger(__name__)

_MIN_OVERLAP, _USUAL_OVERLAP = 0.01, 0.5
"""Part of the labelled voxels that must lie in the DWI mask (a scan may cover a few slices only), and that should."""


def regions_from_labels(labels: NDArray[np.int64], grid: Grid) -> RegionTable:
    """Make a table of what a label image holds, for labels without one.

    Parameters
    ----------
    labels : (x, y, z) int64
        0 for background.
    grid : Grid

    Returns
    -------
    RegionTable
        One region per positive label, in rising order, named by number (``region-0007``), sides not known ("B"),
        marked `from_image`: it holds for this image, and another subject's may differ.

    Raises
    ------
    AtlasError
        No voxel is labelled, or labels are negative.
    """
    values = np.unique(labels)
    if values[0] < 0:
        message = (
            f"The label image holds negative labels, such as {int(values[0])}; labels are positive, 0 is background."
        )
        raise AtlasError(message)
    values = values[values > 0]
    if values.size == 0:
        message = "The label image is empty: every voxel is 0. Give the image that holds the regions."
        raise AtlasError(message)
    n_regions = len(values)
    return RegionTable(
        labels=values,
        names=tuple(f"region-{int(value):04d}" for value in values),
        hemispheres=("B",) * n_regions,
        structures=("",) * n_regions,
        networks=("",) * n_regions,
        centroids_mm=np.full((n_regions, 3), np.nan),
        atlas="from-image",
        from_image=True,
    )


def require_most_regions(labels: NDArray[np.int64], regions: RegionTable) -> None:
    """Raise unless at least half of an atlas's regions are in a label image that is said to be of that atlas.

    Parameters
    ----------
    labels : (x, y, z) int64
        Given by the user, 0 for background.
    regions : RegionTable
        Of the atlas.

    Raises
    ------
    AtlasError
        More than half are missing: the image is of another atlas.
    """
    n_present = int(np.isin(regions.labels, labels).sum())
    if 2 * n_present < regions.n_regions:
        message = (
            f"The label image holds {n_present} of the {regions.n_regions} regions of {regions.atlas}; at least half "
            "are needed, so it is of another atlas. Leave out --atlas, or give the table of this image with --regions."
        )
        raise AtlasError(message)


def parcellate(
    labels: NDArray[np.int64],
    grid: Grid,
    regions: RegionTable | None,
    dwi_mask: NDArray[np.bool_],
    dwi_grid: Grid,
) -> Parcellation:
    """Give each labelled place its row, on the labels' own grid.

    Parameters
    ----------
    labels : (x, y, z) int64
        In the subject's space, 0 for background; on any grid.
    grid : Grid
        Of the labels.
    regions : RegionTable or None
        None to take the regions found in the image.
    dwi_mask : (x, y, z) bool
        Brain in the DWI.
    dwi_grid : Grid

    Returns
    -------
    Parcellation
        Labels that the table lacks are left out and listed in `unknown_labels`; regions that the image lacks keep
        their row and are listed in `missing`.

    Raises
    ------
    SpaceError
        The labels do not lie where the DWI is.
    AtlasError
        Not one label of the image is in the table.
    """
    if regions is None:
        regions = regions_from_labels(labels, grid)
    _require_overlap(labels, grid, dwi_mask, dwi_grid)
    parcellation = Parcellation.from_labels(labels, grid, regions)
    if parcellation.unknown_labels:
        logger.warning(
            "%d label values are not in the region table %s and are left out: %s",
            len(parcellation.unknown_labels),
            regions.atlas,
            _some(parcellation.unknown_labels),
        )
    if parcellation.missing:
        logger.warning(
            "%d of %d regions are missing in this subject; their rows are kept: %s",
            len(parcellation.missing),
            regions.n_regions,
            _some(parcellation.missing),
        )
    return parcellation


def _require_overlap(labels: NDArray[np.int64], grid: Grid, dwi_mask: NDArray[np.bool_], dwi_grid: Grid) -> None:
    labelled = np.argwhere(labels != 0)
    if len(labelled) == 0:
        message = "The label image is empty: every voxel is 0. Give the image that holds the regions."
        raise AtlasError(message)
    # A hundred thousand voxels tell the overlap as well as millions.
    world = grid.to_world(labelled[:: max(1, len(labelled) // 100_000)])
    voxels = np.rint(dwi_grid.to_voxel(world)).astype(np.int64)
    within = voxels[((voxels >= 0) & (voxels < dwi_grid.shape)).all(axis=1)]
    overlap = float(dwi_mask[tuple(within.T)].sum() / len(voxels))
    if _MIN_OVERLAP <= overlap < _USUAL_OVERLAP:
        logger.warning("Only %.0f%% of the labelled voxels are in the brain mask of the DWI.", 100 * overlap)
    if overlap < _MIN_OVERLAP:
        brain = dwi_grid.to_world(np.argwhere(dwi_mask))
        message = (
            f"The labels do not lie where the DWI is: {overlap:.1%} of them are inside the brain mask. "
            f"Labels: {_box(world)}; brain mask: {_box(brain)} (world, RAS+). Labels in the subject's own space are "
            "needed; for an atlas in MNI space give its name and a T1 instead."
        )
        raise SpaceError(message)


def _box(points_mm: NDArray[np.float64]) -> str:
    if len(points_mm) == 0:
        return "empty"
    low, high = points_mm.min(axis=0), points_mm.max(axis=0)
    spans = (f"{axis} {a:.0f} to {b:.0f}" for axis, a, b in zip("xyz", low, high, strict=True))
    return ", ".join(spans) + " mm"


def _some(values: tuple[object, ...]) -> str:
    return ", ".join(map(str, values[:10])) + (", ..." if len(values) > 10 else "")
