"""Images of the anatomy: labels, five tissues and a T1-like contrast, in blocks of world points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation, RegionTable
from tractome.datatypes.tissue import TissueMap
from tractome.options import PhantomOptions
from tractome.phantom.freesurfer import named_regions, surrounding_labels
from tractome.phantom.geometry import Anatomy, brain_centre_mm, keyed_rng
from tractome.phantom.grids import plain_grid, storage_grid, to_storage, world_points

_T1_CONTRAST = np.array([600.0, 680.0, 900.0, 200.0, 450.0])
_T1_NOISE = 12.0
_BLOCK = 200_000


@dataclass(frozen=True, eq=False)
class StructuralImages:
    """What is known of the anatomy without diffusion.

    Parameters
    ----------
    labels : (x, y, z) int32
        On the grid of `parcellation`: regions, and with FreeSurfer's numbers what lies around them too.
    parcellation : Parcellation
        The regions among the labels.
    row_of : (n_regions of the anatomy,) int64
        Row of each of the anatomy's own regions in the region table.
    tissue : TissueMap
    t1 : (x, y, z) float32
        T1-like contrast, 0 outside the head.
    t1_grid : Grid
    """

    labels: NDArray[np.int32]
    parcellation: Parcellation
    row_of: NDArray[np.int64]
    tissue: TissueMap
    t1: NDArray[np.float32]
    t1_grid: Grid


def make_structural_images(
    anatomy: Anatomy, options: PhantomOptions, tissue: NDArray[np.float32], plain: Grid
) -> StructuralImages:
    """Draw labels and tissues on the scan's grid or on one of their own, and the T1-like image.

    Parameters
    ----------
    anatomy : Anatomy
    options : PhantomOptions
    tissue : (x, y, z, 5) float32
        Of the plain grid of the scan.
    plain : Grid
        Grid of the scan before it is brought to storage order.
    """
    # Preprocessing stores all images of a session in one order; by itself, anatomy is straight and RAS.
    processed = options.layout in ("hcp", "qsiprep")
    storage = options.storage if processed and options.storage != "oblique" else "RAS"
    t1_grid = plain_grid(options, np.full(3, options.t1_voxel_size_mm), rotate=False)
    t1_tissue = None
    if options.anatomy_voxel_size_mm is not None:
        own = plain_grid(options, np.full(3, options.anatomy_voxel_size_mm), rotate=False)
        tissue = tissue_volume(anatomy, own)[0]
        t1_tissue = tissue if own.is_same(t1_grid) else None
        tissue, grid = to_storage(tissue, storage), storage_grid(own, storage)
    else:
        tissue, grid = to_storage(tissue, options.storage), storage_grid(plain, options.storage)
    regions, row_of = anatomy.regions, np.arange(anatomy.regions.n_regions)
    if options.label_numbers == "freesurfer":
        regions, row_of = named_regions(anatomy)
    labels = _label_volume(anatomy, grid, regions, row_of, surroundings=options.label_numbers == "freesurfer")
    t1 = _t1(anatomy, t1_grid, options, t1_tissue)
    return StructuralImages(
        labels=labels,
        parcellation=Parcellation.from_labels(labels, grid, regions),
        row_of=row_of,
        tissue=TissueMap(tissue, grid),
        t1=to_storage(t1, storage),
        t1_grid=storage_grid(t1_grid, storage),
    )


def tissue_volume(anatomy: Anatomy, grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Five tissue fractions (x, y, z, 5) float32 of a grid, and which of its voxels are in the head."""
    n_voxels = int(np.prod(grid.shape))
    fractions = np.zeros((n_voxels, 5), dtype=np.float32)
    mask = np.zeros(n_voxels, dtype=bool)
    width = grid.voxel_volume_mm3 ** (1 / 3)
    for start in range(0, n_voxels, _BLOCK):
        points = world_points(grid, start, min(start + _BLOCK, n_voxels))
        near = np.flatnonzero(anatomy.near(points))
        fractions[start + near], mask[start + near] = anatomy.tissue(points[near], width)
    return fractions.reshape(*grid.shape, 5), mask.reshape(grid.shape)


def _label_volume(
    anatomy: Anatomy, grid: Grid, regions: RegionTable, row_of: NDArray[np.int64], *, surroundings: bool
) -> NDArray[np.int32]:
    n_voxels = int(np.prod(grid.shape))
    labels = np.zeros(n_voxels, dtype=np.int32)
    number = np.concatenate([[0], regions.labels[row_of]])
    for start in range(0, n_voxels, _BLOCK):
        points = world_points(grid, start, min(start + _BLOCK, n_voxels))
        near = np.flatnonzero(anatomy.near(points))
        labels[start + near] = number[anatomy.labels(points[near])]
        if surroundings:
            bare = near[labels[start + near] == 0]
            labels[start + bare] = surrounding_labels(anatomy, points[bare])
    return labels.reshape(grid.shape)


def _t1(
    anatomy: Anatomy, grid: Grid, options: PhantomOptions, tissue: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """T1-like contrast with a smooth bias and noise, 0 outside the head; `tissue` is that of the grid, if known."""
    fractions = tissue_volume(anatomy, grid)[0] if tissue is None else tissue
    mask = fractions.any(axis=3)
    image = np.zeros(grid.shape, dtype=np.float32)
    places = grid.to_world(np.argwhere(mask)) - brain_centre_mm()
    bias = 1.0 + 0.06 * np.sin(places[:, 0] / 60.0) * np.cos(places[:, 2] / 70.0) + 0.0006 * places[:, 1]
    rng = keyed_rng(options.random_seed, 32)
    image[mask] = (fractions[mask] @ _T1_CONTRAST) * bias + rng.normal(0.0, _T1_NOISE, len(places))
    return image
