"""Shares of tissues in voxels: cropped to the brain, averaged on a coarser grid, put together so that they add to 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.tissue import TissueMap

Floats = NDArray[np.float64]

N_TISSUES = 5
_MARGIN = 2
"""Voxels kept around the brain, so that interpolation falls to nothing within the map."""


def cropped(kinds: NDArray[np.int8], grid: Grid) -> tuple[NDArray[np.int8], Grid]:
    """The part of an image of tissue numbers (-1: none) that holds tissue, with an empty margin, and its grid."""
    filled = [np.flatnonzero((kinds >= 0).any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    corners = np.array([[each[end] for each in filled] for end in (0, -1)])
    box, part = box_around(grid.to_world(corners), grid)
    return kinds[box], part


def box_around(points_mm: Floats, grid: Grid) -> tuple[tuple[slice, slice, slice], Grid]:
    """The box of voxels that holds all points which lie in an image, with a margin, and its grid.

    Parameters
    ----------
    points_mm : (n, 3) float64
        RAS+ mm, in the world of the image. With none inside it the box is the whole image.
    grid : Grid
        Of the image.
    """
    voxels = grid.to_voxel(points_mm)
    voxels = voxels[((voxels > -1) & (voxels < grid.shape)).all(axis=1)]
    if not len(voxels):
        return (slice(None), slice(None), slice(None)), grid
    low = np.maximum(np.floor(voxels.min(axis=0)).astype(int) - _MARGIN, 0)
    high = np.minimum(np.ceil(voxels.max(axis=0)).astype(int) + _MARGIN + 1, grid.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return (box[0], box[1], box[2]), _subgrid(grid, low, tuple(high - low))


def _subgrid(grid: Grid, first: Any, shape: tuple[int, ...]) -> Grid:
    """The grid of a part of an image that begins at voxel `first`."""
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_world(np.asarray(first, dtype=np.float64))
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def box_shares(kinds: NDArray[np.int8], grid: Grid, voxel_size_mm: float) -> TissueMap:
    """Share of each tissue in the voxels of another grid along the same axes: how much of a voxel's volume it fills.

    Parameters
    ----------
    kinds : (x, y, z) int8
        Tissue of each voxel, -1 for none.
    grid : Grid
        Of `kinds`.
    voxel_size_mm : float
    """
    step = voxel_size_mm / grid.voxel_sizes_mm
    shape = [int(np.ceil(n / width - 1e-6)) for n, width in zip(grid.shape, step, strict=True)]
    overlaps = [_overlaps(n_out, n_in, width) for n_out, n_in, width in zip(shape, grid.shape, step, strict=True)]
    fractions = np.zeros((*shape, N_TISSUES), dtype=np.float32)
    for tissue in range(N_TISSUES):
        part: NDArray[np.float32] = (kinds == tissue).astype(np.float32)
        for axis in range(3):
            turned = np.moveaxis(part, axis, 0)
            columns = overlaps[axis] @ turned.reshape(turned.shape[0], -1)
            part = np.moveaxis(columns.reshape(-1, *turned.shape[1:]), 0, axis)
        fractions[..., tissue] = np.clip(part, 0, 1)
    affine = grid.affine.copy()
    affine[:3, :3] *= step
    affine[:3, 3] = grid.to_world(0.5 * step - 0.5)
    return TissueMap(fractions, Grid((shape[0], shape[1], shape[2]), affine))


def _overlaps(n_out: int, n_in: int, width: float) -> Any:
    """Share of output voxel i, `width` input voxels wide, that input voxel j fills: (n_out, n_in), sparse.

    Sparse for its sums in a fixed order as well as for its zeros: threaded BLAS may change the last digits.
    """
    from scipy.sparse import csr_array

    low = np.arange(n_out)[:, None] * width
    both = np.minimum(low + width, np.arange(n_in) + 1) - np.maximum(low, np.arange(n_in))
    return csr_array((np.maximum(both, 0.0) / width).astype(np.float32))


def label_shares(wanted: NDArray[np.bool_], grid: Grid, target: Grid) -> NDArray[np.float32]:
    """How much of each voxel of `target` a mask on another grid fills.

    Looked up through the world at regular points of each voxel, no further apart than the mask's voxels.

    Parameters
    ----------
    wanted : (x, y, z) bool
    grid : Grid
        Of the mask, in the same world as `target`.
    target : Grid
    """
    share = np.zeros(target.shape, dtype=np.float32)
    inside = np.argwhere(wanted)
    if not len(inside):
        return share
    # Only where the mask can reach.
    corners = np.array(np.meshgrid(*zip(inside.min(axis=0) - 1, inside.max(axis=0) + 1, strict=True))).reshape(3, -1).T
    reach = target.to_voxel(grid.to_world(corners))
    low = np.clip(np.floor(reach.min(axis=0)).astype(int), 0, target.shape)
    high = np.clip(np.ceil(reach.max(axis=0)).astype(int) + 1, 0, target.shape)
    if (low >= high).any():
        return share
    n_points = np.ceil(target.voxel_sizes_mm / grid.voxel_sizes_mm - 0.2).astype(int)
    offsets = [(np.arange(n) + 0.5) / n - 0.5 for n in np.maximum(n_points, 1)]
    part = share[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    centres = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
    bound = np.pad(wanted, 1)
    for offset in np.array(np.meshgrid(*offsets)).reshape(3, -1).T:
        voxels = np.rint(grid.to_voxel(target.to_world(centres + offset))).astype(np.intp) + 1
        voxels = np.clip(voxels, 0, np.array(bound.shape) - 1)
        part += bound[tuple(np.moveaxis(voxels, -1, 0))]
    part /= float(np.prod([len(each) for each in offsets]))
    return share


def join(
    csf: NDArray[np.float32],
    grey: NDArray[np.float32],
    white: NDArray[np.float32],
    deep: NDArray[np.float32] | None,
    stem: NDArray[np.float32] | None,
    grid: Grid,
) -> TissueMap:
    """Put the tissues of a classifier and the parts that only an atlas knows into one map.

    Deep grey matter takes what is not CSF of its share of a voxel: in a T1 it is as bright as white matter in places,
    and its FA is often that of white matter. The brainstem is white where it is not CSF: its nuclei are no end.

    Parameters
    ----------
    csf, grey, white : (x, y, z) float32
        Adding to 1 inside the brain, 0 outside.
    deep, stem : (x, y, z) float32 or None
        Share of each voxel that is deep grey matter and brainstem, in [0, 1].
    grid : Grid
    """
    solid = grey + white
    fractions = np.zeros((*grid.shape, N_TISSUES), dtype=np.float32)
    nothing = np.zeros(grid.shape, dtype=np.float32)
    deep, stem = (nothing if each is None else each for each in (deep, stem))
    stem = np.minimum(stem, 1 - deep)
    fractions[..., 1] = deep * solid
    fractions[..., 2] = white * (1 - deep) + stem * grey
    fractions[..., 0] = grey * (1 - deep - stem)
    fractions[..., 3] = csf
    return TissueMap(np.clip(fractions, 0, 1), grid)


def overlap(tissue: TissueMap, mask: NDArray[np.bool_], grid: Grid) -> float:
    """How far a tissue map and the brain mask of a scan lie on each other: 1 when one holds the other, 0 when apart.

    Parameters
    ----------
    tissue : TissueMap
    mask : (x, y, z) bool
    grid : Grid
        Of the mask.
    """
    brain = tissue.fractions.sum(axis=3) > 0.5
    return max(_share_inside(mask, grid, brain, tissue.grid), _share_inside(brain, tissue.grid, mask, grid))


def _share_inside(one: NDArray[np.bool_], grid: Grid, other: NDArray[np.bool_], other_grid: Grid) -> float:
    """Share of one mask's voxels (of some 20,000 of them) whose centres lie in another mask."""
    voxels = np.argwhere(one)
    voxels = voxels[:: max(1, len(voxels) // 20_000)]
    there = np.rint(other_grid.to_voxel(grid.to_world(voxels))).astype(np.intp)
    there = there[((there >= 0) & (there < other_grid.shape)).all(axis=1)]
    return float(other[tuple(there.T)].sum() / max(len(voxels), 1))
