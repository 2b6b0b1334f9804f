"""Which region each streamline end belongs to.

Arrays and numbers only; points in voxel coordinates of the label grid. Distances are taken in mm all the same, through
the metric tensor of the grid (affine' x affine), so any anisotropic, oblique or sheared grid is measured rightly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import inner_kernel, kernel, parallel_kernel, prange

UNASSIGNED = -1
"""Row of an end that no region claims."""

_TIE_MM2 = 1e-6
"""Two squared distances closer than this are a tie: above rounding noise, far below anything anatomical."""

_NEAR = 33
"""Offsets that a search looks up before it asks whether they are known to be empty: two voxels along each axis."""


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


@inner_kernel
def row_at(rows: NDArray[np.int32], i: int, j: int, k: int) -> int:
    """Row of a voxel, `UNASSIGNED` outside the volume."""
    if i < 0 or j < 0 or k < 0 or i >= rows.shape[0] or j >= rows.shape[1] or k >= rows.shape[2]:
        return UNASSIGNED
    return rows[i, j, k]


@inner_kernel
def _search(
    rows: NDArray[np.int32],
    voxel: tuple[int, int, int],
    place: tuple[float, float, float],
    metric: NDArray[np.float64],
    offsets: NDArray[np.int64],
    lengths_mm: NDArray[np.float64],
    residual_mm: float,
    begin: int,
    end: int,
    best: int,
    best_mm2: float,
) -> tuple[int, float]:
    """Go on with a search through offsets `begin` to `end`; the offset that is best now, and its squared distance."""
    i, j, k = voxel
    u, v, w = place
    best_mm = np.sqrt(best_mm2)
    for n in range(begin, end):
        # Triangle inequality: nothing from here on can be nearer than the best so far.
        if lengths_mm[n] - residual_mm > best_mm + 1e-3:
            break
        if row_at(rows, i + offsets[n, 0], j + offsets[n, 1], k + offsets[n, 2]) < 0:
            continue
        a, b, c = u + offsets[n, 0], v + offsets[n, 1], w + offsets[n, 2]
        distance_mm2 = (
            metric[0, 0] * a * a
            + metric[1, 1] * b * b
            + metric[2, 2] * c * c
            + 2.0 * (metric[0, 1] * a * b + metric[0, 2] * a * c + metric[1, 2] * b * c)
        )
        if distance_mm2 < best_mm2 - _TIE_MM2:
            best, best_mm2, best_mm = n, distance_mm2, np.sqrt(distance_mm2)
    return best, best_mm2


@inner_kernel
def nearest_row(
    rows: NDArray[np.int32],
    x: float,
    y: float,
    z: float,
    metric: NDArray[np.float64],
    offsets: NDArray[np.int64],
    lengths_mm: NDArray[np.float64],
    radius_mm: float,
    empty_until: NDArray[np.int32],
) -> tuple[int, float]:
    """Row of the labelled voxel whose centre is nearest to a point, at most `radius_mm` away, and how far it is.

    Far from any label a search would look up a whole ball in vain, for each point again; so what a search from a voxel
    finds to be empty is kept, and the next one from there begins behind it.

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
    radius_mm : float
    empty_until : (x, y, z) int32
        For each voxel the first of the offsets that leads to a labelled voxel, where that is known, else 0. Filled in
        as it becomes known: it makes a search faster, and changes nothing else.

    Returns
    -------
    int
        `UNASSIGNED` for none.
    float
        mm; infinite for none.
    """
    if not (abs(x) < 1e6 and abs(y) < 1e6 and abs(z) < 1e6):
        return UNASSIGNED, np.inf
    i, j, k = int(np.floor(x + 0.5)), int(np.floor(y + 0.5)), int(np.floor(z + 0.5))
    u, v, w = i - x, j - y, k - z
    residual_mm = np.sqrt(
        metric[0, 0] * u * u
        + metric[1, 1] * v * v
        + metric[2, 2] * w * w
        + 2.0 * (metric[0, 1] * u * v + metric[0, 2] * u * w + metric[1, 2] * v * w)
    )
    n_offsets = len(offsets)
    limit_mm2 = radius_mm * radius_mm + 2.0 * _TIE_MM2
    # Where the axes are at right angles, no voxel's centre is nearer than that of the voxel that holds the point.
    skew_mm2 = abs(metric[0, 1]) + abs(metric[0, 2]) + abs(metric[1, 2])
    own = row_at(rows, i, j, k)
    if own >= 0 and skew_mm2 < 0.5 * _TIE_MM2 and residual_mm * residual_mm < limit_mm2 - _TIE_MM2:
        return own, residual_mm
    begin = min(_NEAR, n_offsets)
    best, best_mm2 = _search(
        rows, (i, j, k), (u, v, w), metric, offsets, lengths_mm, residual_mm, 0, begin, -1, limit_mm2
    )
    is_inside = 0 <= i < rows.shape[0] and 0 <= j < rows.shape[1] and 0 <= k < rows.shape[2]
    if best < 0 and is_inside and begin < n_offsets:
        begin = empty_until[i, j, k]
        if begin == 0:
            begin = _NEAR
            while begin < n_offsets and (
                row_at(rows, i + offsets[begin, 0], j + offsets[begin, 1], k + offsets[begin, 2]) < 0
            ):
                begin += 1
            empty_until[i, j, k] = begin
    best, best_mm2 = _search(
        rows, (i, j, k), (u, v, w), metric, offsets, lengths_mm, residual_mm, begin, n_offsets, best, best_mm2
    )
    if best < 0:
        return UNASSIGNED, np.inf
    return row_at(rows, i + offsets[best, 0], j + offsets[best, 1], k + offsets[best, 2]), np.sqrt(best_mm2)


@parallel_kernel
def assign_radial(
    rows: NDArray[np.int32],
    points_vox: NDArray[np.float64],
    metric: NDArray[np.float64],
    offsets: NDArray[np.int64],
    lengths_mm: NDArray[np.float64],
    radius_mm: float,
    empty_until: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """`nearest_row` of many points, (n, 3) float64 in voxel coordinates: rows (n,) and distances (n,), mm."""
    n_points = len(points_vox)
    found, distances_mm = np.empty(n_points, np.int32), np.empty(n_points, np.float32)
    for n in prange(n_points):
        row, distance_mm = nearest_row(
            rows, points_vox[n, 0], points_vox[n, 1], points_vox[n, 2], metric, offsets, lengths_mm, radius_mm,
            empty_until,
        )  # fmt: skip
        found[n], distances_mm[n] = row, distance_mm
    return found, distances_mm


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


@parallel_kernel
def assign_forward(
    rows: NDArray[np.int32],
    points_vox: NDArray[np.float64],
    directions: NDArray[np.float32],
    linear: NDArray[np.float64],
    offsets: NDArray[np.int64],
    radius_mm: float,
    min_cosine: float,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Row of the labelled voxel ahead of each point whose centre is nearest to it.

    Ahead is the voxel that holds the point, and then those within `radius_mm` whose centre lies in a cone about the
    direction.

    Parameters
    ----------
    rows : (x, y, z) int32
        -1 where no region is.
    points_vox : (n, 3) float64
        Voxel coordinates.
    directions : (n, 3) float32
        Unit vectors, world axes; zeros where there is none, and then nothing is ahead but the point's own voxel.
    linear : (3, 3) float64
        Voxel -> world without translation, mm per voxel.
    offsets : (n_offsets, 3) int64
        From `search_offsets`.
    radius_mm : float
    min_cosine : float
        Of the angle between the direction and the way to a voxel's centre.

    Returns
    -------
    found : (n,) int32
    distances_mm : (n,) float32
        Infinite for none.
    """
    n_points = len(points_vox)
    found, distances_mm = np.empty(n_points, np.int32), np.empty(n_points, np.float32)
    for n in prange(n_points):
        found[n], distances_mm[n] = UNASSIGNED, np.inf
        x, y, z = points_vox[n, 0], points_vox[n, 1], points_vox[n, 2]
        if not (abs(x) < 1e6 and abs(y) < 1e6 and abs(z) < 1e6):
            continue
        i, j, k = int(np.floor(x + 0.5)), int(np.floor(y + 0.5)), int(np.floor(z + 0.5))
        best_mm = radius_mm + _TIE_MM2
        for m in range(len(offsets)):
            row = row_at(rows, i + offsets[m, 0], j + offsets[m, 1], k + offsets[m, 2])
            if row < 0:
                continue
            a, b, c = i - x + offsets[m, 0], j - y + offsets[m, 1], k - z + offsets[m, 2]
            squared_mm2, ahead_mm = 0.0, 0.0
            for axis in range(3):
                along_mm = linear[axis, 0] * a + linear[axis, 1] * b + linear[axis, 2] * c
                squared_mm2 += along_mm * along_mm
                ahead_mm += along_mm * directions[n, axis]
            distance_mm = np.sqrt(squared_mm2)
            if m == 0:
                found[n], distances_mm[n] = row, distance_mm
                break
            if ahead_mm > 0.0 and ahead_mm >= min_cosine * distance_mm and distance_mm < best_mm - _TIE_MM2:
                found[n], distances_mm[n], best_mm = row, distance_mm, distance_mm
    return found, distances_mm


@kernel
def add_distances(distances_mm: NDArray[np.float32], bin_mm: float, histogram: NDArray[np.int64]) -> None:
    """Count distances by bins of one width; what is further goes to the last bin but one, infinite ones to the last."""
    last = len(histogram) - 1
    for distance_mm in distances_mm:
        if distance_mm < np.inf:
            histogram[min(int(distance_mm / bin_mm), last - 1)] += 1
        else:
            histogram[last] += 1
