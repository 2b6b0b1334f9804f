"""Regions with names, and where they are in one subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen, require_shape
from tractome.datatypes.grid import Grid
from tractome.errors import AtlasError

HEMISPHERES = ("L", "R", "B")
"""Left, right, both (midline)."""


@dataclass(frozen=True, eq=False)
class RegionTable:
    """The regions of an atlas: row i is matrix row i and graph node i, everywhere.

    Fixed by the atlas, never by the subject, so matrices of all subjects line up.

    Parameters
    ----------
    labels : (n_regions,) int64
        Value of each region in the label image; positive, distinct.
    names : tuple of str
        Distinct names; the same anatomical region has the same name in every atlas.
    hemispheres : tuple of str
        ``"L"``, ``"R"`` or ``"B"``.
    structures : tuple of str
        ``"cortex"``, ``"subcortex"``, ``"brainstem"``, ``"cerebellum"`` or ``""`` where not known.
    networks : tuple of str
        Functional network, ``""`` where the atlas has none.
    centroids_mm : (n_regions, 3) float64
        In the atlas's template space, RAS+ mm; NaN where not known.
    atlas : str
        Name of the atlas, such as ``"desikan-killiany-83"``.
    from_image : bool
        True when the regions were only found in one subject's label image: such a table is compared or grouped only
        with one of equal names.

    Raises
    ------
    AtlasError
        Lengths differ, or labels or names are repeated.
    """

    labels: NDArray[np.int64]
    names: tuple[str, ...]
    hemispheres: tuple[str, ...]
    structures: tuple[str, ...]
    networks: tuple[str, ...]
    centroids_mm: NDArray[np.float64]
    atlas: str
    from_image: bool = False

    def __post_init__(self) -> None:
        labels, centroids = frozen(self.labels, np.int64), frozen(self.centroids_mm, np.float64)
        n_regions = len(labels)
        if n_regions == 0:
            message = "The region table is empty. It needs one row per region."
            raise AtlasError(message)
        columns = (self.names, self.hemispheres, self.structures, self.networks)
        if any(len(column) != n_regions for column in columns):
            message = f"The columns of the region table {self.atlas} differ in length."
            raise AtlasError(message)
        require_shape(centroids, (n_regions, 3), "The table of centroids", AtlasError)
        if (labels <= 0).any() or len(np.unique(labels)) != n_regions:
            message = f"The labels of the region table {self.atlas} must be positive and distinct (0 is background)."
            raise AtlasError(message)
        if len(set(self.names)) != n_regions or not all(self.names):
            repeated = sorted({name for name in self.names if self.names.count(name) > 1})
            message = f"The region names of {self.atlas} must be distinct and not empty; repeated: {repeated[:5]}."
            raise AtlasError(message)
        unknown = sorted(set(self.hemispheres) - set(HEMISPHERES))
        if unknown:
            message = f"Hemispheres must be L, R or B (both); the table {self.atlas} has {unknown[:5]}."
            raise AtlasError(message)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "centroids_mm", centroids)
        for name in ("names", "hemispheres", "structures", "networks"):
            object.__setattr__(self, name, tuple(str(value) for value in getattr(self, name)))

    @property
    def n_regions(self) -> int:
        """Number of regions: the N of every matrix."""
        return len(self.labels)

    @property
    def is_numbered(self) -> bool:
        """Whether the regions have no names but their numbers, as in a matrix file without a header."""
        return self.atlas == "" and self.names == tuple(str(label) for label in self.labels)

    @classmethod
    def from_names(cls, names: Sequence[str], atlas: str) -> RegionTable:
        """Make a table from names alone: labels 1 to n, nothing else known."""
        n_regions, unknown = len(names), ("",) * len(names)
        labels, centroids = np.arange(1, n_regions + 1), np.full((n_regions, 3), np.nan)
        return cls(labels, tuple(names), ("B",) * n_regions, unknown, unknown, centroids, atlas)

    @classmethod
    def numbered(cls, n_regions: int) -> RegionTable:
        """Make the table of a matrix whose rows have no names: 1 to n."""
        return cls.from_names([str(label) for label in range(1, n_regions + 1)], atlas="")


@dataclass(frozen=True, eq=False)
class Parcellation:
    """The regions of one subject, on a label grid of their own.

    Look-ups go through world mm; the labels are never resampled just to match the DWI.

    Parameters
    ----------
    rows : (x, y, z) int32
        Matrix row of each voxel, -1 for background and for labels that the table does not list.
    grid : Grid
    regions : RegionTable
    centroids_mm : (n_regions, 3) float64
        This subject's centre of mass, RAS+ mm; NaN where the region is missing.
    volumes_mm3 : (n_regions,) float64
        0 where missing.
    unknown_labels : tuple of int
        Label values of the image that the table does not list: left out, and reported.
    """

    rows: NDArray[np.int32]
    grid: Grid
    regions: RegionTable
    centroids_mm: NDArray[np.float64]
    volumes_mm3: NDArray[np.float64]
    unknown_labels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        n_regions = self.regions.n_regions
        rows = frozen(self.rows, np.int32)
        require_shape(rows, self.grid.shape, "The label image", AtlasError)
        centroids, volumes = frozen(self.centroids_mm, np.float64), frozen(self.volumes_mm3, np.float64)
        require_shape(centroids, (n_regions, 3), "The table of centroids", AtlasError)
        require_shape(volumes, (n_regions,), "The list of volumes", AtlasError)
        if rows.min() < -1 or rows.max() >= n_regions:
            message = "The parcellation holds rows that its region table does not have."
            raise AtlasError(message)
        for name, value in (("rows", rows), ("centroids_mm", centroids), ("volumes_mm3", volumes)):
            object.__setattr__(self, name, value)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the regions that this subject lacks; their rows are kept."""
        return tuple(name for name, volume in zip(self.regions.names, self.volumes_mm3, strict=True) if volume == 0)

    @classmethod
    def from_labels(cls, labels: NDArray[np.integer], grid: Grid, regions: RegionTable) -> Parcellation:
        """Look up each label of an image in the table, and measure this subject's regions.

        Parameters
        ----------
        labels : (x, y, z) int
            Label values, 0 for background.
        grid : Grid
            Grid of the label image.
        regions : RegionTable

        Raises
        ------
        AtlasError
            Not one label of the image is in the table.
        """
        labels = np.asarray(labels)
        found, inverse = _distinct(labels)
        order = np.argsort(regions.labels)
        slot = np.clip(np.searchsorted(regions.labels[order], found), 0, regions.n_regions - 1)
        known = regions.labels[order][slot] == found
        row_of = np.where(known, order[slot], -1).astype(np.int32)
        unknown = tuple(int(label) for label in found[~known] if label != 0)
        if not known.any():
            message = (
                f"None of the labels of the image (such as {unknown[:5]}) is in the region table {regions.atlas} "
                f"(such as {tuple(int(v) for v in regions.labels[:5])}). Give the table that belongs to this image."
            )
            raise AtlasError(message)
        rows = row_of[inverse].reshape(labels.shape)
        centroids, volumes = _measure(rows, grid, regions.n_regions)
        return cls(rows, grid, regions, centroids, volumes, unknown)


_TABLE_SIZE = 2**20


def _distinct(labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.integer]]:
    """Distinct labels, rising, and which of them each voxel has."""
    if labels.size and labels.min() >= 0 and labels.max() < _TABLE_SIZE:
        # Labels as programs number them: counting takes a tenth of the time and memory of sorting.
        found = np.flatnonzero(np.bincount(labels.reshape(-1)))
        place = np.zeros(int(found[-1]) + 1, dtype=np.int32)
        place[found] = np.arange(len(found))
        return found, place[labels]
    found, inverse = np.unique(labels, return_inverse=True)
    return found.astype(np.int64), inverse


def _measure(rows: NDArray[np.int32], grid: Grid, n_regions: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre of mass (mm) and volume (mm3) of each row."""
    coordinates = np.argwhere(rows >= 0)
    inside = rows[rows >= 0]
    n_voxels = np.bincount(inside, minlength=n_regions).astype(np.float64)
    sums = np.stack([np.bincount(inside, coordinates[:, axis], n_regions) for axis in range(3)], axis=1)
    with np.errstate(invalid="ignore"):
        centres_vox = sums / n_voxels[:, None]
    return grid.to_world(centres_vox), n_voxels * grid.voxel_volume_mm3
