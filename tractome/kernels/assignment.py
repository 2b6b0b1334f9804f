"""Which region each streamline end belongs to, and the sums over the streamlines of each edge.

Arrays and numbers only; points in voxel coordinates of the label grid. Distances are taken in mm all the same, through
the metric tensor of the grid (affine' x affine), so any anisotropic, oblique or sheared grid is measured rightly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel, parallel_kernel, prange

UNASSIGNED = -1
"""Row of an end that no region claims."""

_TIE_MM2 = 1e-6
"""Two squared distances closer than this are a tie: above rounding noise, far below anything anatomical."""


def search_offsets(linear: NDArray[np.float64], radius_mm: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Voxel offsets in which a radial search must look, nearest first.

    Enough for any point in the centre voxel: the offsets reach half a voxel diagonal further than the radius. Offsets
    of equal length stand in the order of their world x, y, z, so that ties fall to the same place in space however the
    image is stored, and whatever the labels' numbers are.

    Parameters
    ----------
    linear : (3, 3) float64
        Voxel -> world matrix without its translation, mm per voxel.
    radius_mm : float >= 0

    Returns
    -------
    offsets : (n, 3) int64
        In voxels.
    lengths_mm : (n,) float64
        Length of each in mm, rising.
    """
    corners = np.array([[i, j, k] for i in (-0.5, 0.5) for j in (-0.5, 0.5) for k in (-0.5, 0.5)]) @ linear.T
    reach_mm = radius_mm + float(np.sqrt((corners**2).sum(axis=1).max()))
    # Along voxel axis k, the ball of radius r spans r * |row k of the inverse|.
    half = np.floor(reach_mm * np.sqrt((np.linalg.inv(linear) ** 2).sum(axis=1)) + 1e-9).astype(np.int64)
    axes = [np.arange(-n, n + 1) for n in half]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    world = offsets @ linear.T
    lengths = np.sqrt((world**2).sum(axis=1))
    near = lengths <= reach_mm + 1e-9
    offsets, world, lengths = offsets[near], np.round(world[near], 4), lengths[near]
    order = np.lexsort((world[:, 2], world[:, 1], world[:, 0], np.round(lengths, 4)))
    return np.ascontiguousarray(offsets[order]), np.ascontiguousarray(lengths[order])


@kernel
def row_at(rows: NDArray[np.int32], i: int, j: int, k: int) -> int:
    """Row of a voxel, `UNASSIGNED` outside the volume."""
    if i < 0 or j < 0 or k < 0 or i >= rows.shape[0] or j >= rows.shape[1] or k >= rows.shape[2]:
        return UNASSIGNED
    return rows[i, j, k]


@kernel
def nearest_row(
    rows: NDArray[np.int32],
    x: float,
    y: float,
    z: float,
    metric: NDArray[np.float64],
    offsets: NDArray[np.int64],
    lengths_mm: NDArray[np.float64],
    radius_mm: float,
) -> int:
    """Row of the labelled voxel whose centre is nearest to a point, at most `radius_mm` away.

    Parameters
    ----------
    rows : (x, y, z) int32
        -1 where no region is.
    x, y, z : float
        Voxel coordinates.
    metric : (3, 3) float64
        affine' x affine (without translation), mm2 per voxel2.
    offsets, lengths_mm
        From `search_offsets`.
    """
    if not (abs(x) < 1e6 and abs(y) < 1e6 and abs(z) < 1e6):
        return UNASSIGNED
    i, j, k = int(np.floor(x + 0.5)), int(np.floor(y + 0.5)), int(np.floor(z + 0.5))
    u, v, w = i - x, j - y, k - z
    residual_mm = np.sqrt(
        metric[0, 0] * u * u
        + metric[1, 1] * v * v
        + metric[2, 2] * w * w
        + 2.0 * (metric[0, 1] * u * v + metric[0, 2] * u * w + metric[1, 2] * v * w)
    )
    best_row, best_mm2, best_mm = UNASSIGNED, radius_mm * radius_mm + 2.0 * _TIE_MM2, radius_mm
    for n in range(len(offsets)):
        # Triangle inequality: nothing from here on can be nearer than the best so far.
        if lengths_mm[n] - residual_mm > best_mm + 1e-3:
            break
        row = row_at(rows, i + offsets[n, 0], j + offsets[n, 1], k + offsets[n, 2])
        if row < 0:
            continue
        a, b, c = u + offsets[n, 0], v + offsets[n, 1], w + offsets[n, 2]
        distance_mm2 = (
            metric[0, 0] * a * a
            + metric[1, 1] * b * b
            + metric[2, 2] * c * c
            + 2.0 * (metric[0, 1] * a * b + metric[0, 2] * a * c + metric[1, 2] * b * c)
        )
        if distance_mm2 < best_mm2 - _TIE_MM2:
            best_row, best_mm2, best_mm = row, distance_mm2, np.sqrt(distance_mm2)
    return best_row


@parallel_kernel
def assign_radial(
    rows: NDArray[np.int32],
    points_vox: NDArray[np.float64],
    metric: NDArray[np.float64],
    offsets: NDArray[np.int64],
    lengths_mm: NDArray[np.float64],
    radius_mm: float,
) -> NDArray[np.int32]:
    """`nearest_row` of many points, (n, 3) float64 in voxel coordinates; (n,) int32."""
    n_points = len(points_vox)
    found = np.empty(n_points, np.int32)
    for n in prange(n_points):
        found[n] = nearest_row(
            rows, points_vox[n, 0], points_vox[n, 1], points_vox[n, 2], metric, offsets, lengths_mm, radius_mm
        )
    return found


@parallel_kernel
def assign_end_voxel(rows: NDArray[np.int32], points_vox: NDArray[np.float64]) -> NDArray[np.int32]:
    """Row of the voxel that holds each point, (n, 3) float64 in voxel coordinates; (n,) int32."""
    n_points = len(points_vox)
    found = np.empty(n_points, np.int32)
    for n in prange(n_points):
        x, y, z = points_vox[n, 0], points_vox[n, 1], points_vox[n, 2]
        if abs(x) < 1e6 and abs(y) < 1e6 and abs(z) < 1e6:
            found[n] = row_at(rows, int(np.floor(x + 0.5)), int(np.floor(y + 0.5)), int(np.floor(z + 0.5)))
        else:
            found[n] = UNASSIGNED
    return found


@kernel
def add_to_edges(
    ends: NDArray[np.int32],
    values: NDArray[np.float32],
    counts: NDArray[np.int64],
    sums: NDArray[np.float64],
    numbers: NDArray[np.int64],
) -> int:
    """Add each streamline to the edge between its two rows, in streamline order.

    Serial on purpose: the sums then do not depend on the number of threads, nor on how the streamlines were cut into
    blocks. Only the upper triangle is filled.

    Parameters
    ----------
    ends : (n_streamlines, 2) int32
        Row at each end, -1 for none.
    values : (n_values, n_streamlines) float32
        What is averaged per edge; NaN is left out of that value's mean only.
    counts : (n_regions, n_regions) int64
        Streamlines per edge; added to in place.
    sums, numbers : (n_values, n_regions, n_regions) float64 and int64
        Sum of each value, and how many went into it; added to in place.

    Returns
    -------
    int
        Streamlines without a region at one or both ends.
    """
    n_unassigned = 0
    for n in range(len(ends)):
        first, second = ends[n, 0], ends[n, 1]
        if first < 0 or second < 0:
            n_unassigned += 1
            continue
        if second < first:
            first, second = second, first
        counts[first, second] += 1
        for m in range(len(values)):
            value = values[m, n]
            if value == value:
                sums[m, first, second] += value
                numbers[m, first, second] += 1
    return n_unassigned
