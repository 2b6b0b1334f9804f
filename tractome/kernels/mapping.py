"""Which voxels a streamline crosses, over what length, and which of their fixels it runs along."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel, parallel_kernel, prange, sweep
from tractome.kernels.assignment import row_at
from tractome.kernels.fixels import nearest_lobe

_TINY = 1e-12
_STREAMLINES_PER_PIECE = 1000


@kernel
def transform(matrix: NDArray[np.float64], points: NDArray[np.float32], row: int, out: NDArray[np.float64]) -> None:
    """A point in the coordinates that the matrix (3, 4) leads to."""
    x, y, z = np.float64(points[row, 0]), np.float64(points[row, 1]), np.float64(points[row, 2])
    for axis in range(3):
        out[axis] = matrix[axis, 0] * x + matrix[axis, 1] * y + matrix[axis, 2] * z + matrix[axis, 3]


@kernel
def next_face(here: NDArray[np.float64], way: NDArray[np.float64], voxel: NDArray[np.int64], t: float) -> float:
    """Where on the segment (0 at its start, 1 at its end), not before `t`, the line leaves a voxel; `voxel` moves on.

    As Siddon 1985, one face at a time. Voxels reach half a voxel from their centres, which are at whole numbers.
    """
    nearest, axis_out, side = 1.0, -1, 0
    for axis in range(3):
        if abs(way[axis]) < _TINY:
            continue
        step = 1 if way[axis] > 0.0 else -1
        at = (voxel[axis] + 0.5 * step - here[axis]) / way[axis]
        if at < nearest:
            nearest, axis_out, side = at, axis, step
    if axis_out >= 0:
        voxel[axis_out] += side
    return max(nearest, t)


@kernel
def _map_one(
    points: NDArray[np.float32],
    first: int,
    last: int,
    to_voxel: NDArray[np.float64],
    row_of: NDArray[np.int32],
    fixel_offsets: NDArray[np.int64],
    fixel_directions: NDArray[np.float32],
    fixels: NDArray[np.int32],
    lengths_mm: NDArray[np.float64],
) -> int:
    """Fill the fixels that one streamline runs along, and over what lengths; return how many there are."""
    here, there, way = np.empty(3), np.empty(3), np.empty(3)
    voxel, chord = np.empty(3, np.int64), np.zeros(3)
    n_found, run_mm = 0, 0.0
    transform(to_voxel, points, first, here)
    for axis in range(3):
        voxel[axis] = int(np.floor(here[axis] + 0.5))
    row = row_at(row_of, voxel[0], voxel[1], voxel[2])
    for point in range(first, last):
        is_end = point == last - 1
        segment_mm, t = 0.0, 0.0
        if not is_end:
            transform(to_voxel, points, point + 1, there)
            for axis in range(3):
                way[axis] = there[axis] - here[axis]
                segment_mm += (np.float64(points[point + 1, axis]) - np.float64(points[point, axis])) ** 2
            segment_mm = np.sqrt(segment_mm)
        while True:
            leaves = is_end
            if not is_end:
                end = next_face(here, way, voxel, t)
                leaves = end < 1.0
                for axis in range(3):
                    chord[axis] += (end - t) * (np.float64(points[point + 1, axis]) - np.float64(points[point, axis]))
                run_mm += (end - t) * segment_mm
                t = end
            if leaves:
                if row >= 0 and run_mm > 0.0:
                    fixel = nearest_lobe(
                        fixel_offsets[row], fixel_offsets[row + 1], fixel_directions, chord[0], chord[1], chord[2]
                    )
                    if fixel >= 0:
                        fixels[n_found], lengths_mm[n_found] = fixel, run_mm
                        n_found += 1
                run_mm, chord[0], chord[1], chord[2] = 0.0, 0.0, 0.0, 0.0
                row = row_at(row_of, voxel[0], voxel[1], voxel[2])
            if not leaves or is_end:
                break
        for axis in range(3):
            here[axis] = there[axis]
    return n_found


@parallel_kernel
def map_to_fixels(
    points: NDArray[np.float32],
    offsets: NDArray[np.int64],
    to_voxel: NDArray[np.float64],
    row_of: NDArray[np.int32],
    fixel_offsets: NDArray[np.int64],
    fixel_directions: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
    """Along which fixels each streamline runs, and over what length.

    In every voxel that it crosses, a streamline belongs to the fixel nearest to its direction there, which is from
    where it enters to where it leaves (as in SIFT, Smith et al. 2013). A voxel without fixels takes nothing.

    Parameters
    ----------
    points : (n_points, 3) float32
        mm, world.
    offsets : (n_streamlines + 1,) int64
        Streamline i has points ``offsets[i]:offsets[i + 1]``.
    to_voxel : (3, 4) float64
        World -> voxel coordinates of the fixels' grid.
    row_of : (nx, ny, nz) int32
        Row of each voxel, -1 outside the mask.
    fixel_offsets : (n_voxels + 1,) int64
        Fixels of row i are ``fixel_offsets[i]`` to ``fixel_offsets[i + 1]``.
    fixel_directions : (n_fixels, 3) float32
        Unit, world axes.

    Returns
    -------
    starts : (n_streamlines + 1,) int64
        Entries of streamline i are ``starts[i]:starts[i + 1]``, in order along it.
    fixels : (n_entries,) int32
        A fixel comes as often as it is visited.
    lengths_mm : (n_entries,) float64
        Exact length inside the voxel.
    """
    n_streamlines = len(offsets) - 1
    most = np.zeros(n_streamlines + 1, np.int64)
    for s in prange(n_streamlines):
        here, there = np.empty(3), np.empty(3)
        n_most = 1
        transform(to_voxel, points, offsets[s], there)
        for n in range(offsets[s], offsets[s + 1]):
            here[:] = there
            transform(to_voxel, points, n, there)
            n_most += 1  # a face that rounding puts on the other side of a point
            for axis in range(3):
                n_most += abs(int(np.floor(there[axis] + 0.5)) - int(np.floor(here[axis] + 0.5)))
        most[s + 1] = n_most
    room = np.cumsum(most)
    all_fixels, all_lengths = np.empty(room[-1], np.int32), np.empty(room[-1], np.float64)
    found = np.zeros(n_streamlines + 1, np.int64)
    for s in prange(n_streamlines):
        found[s + 1] = _map_one(
            points, offsets[s], offsets[s + 1], to_voxel, row_of, fixel_offsets, fixel_directions,
            all_fixels[room[s] : room[s + 1]], all_lengths[room[s] : room[s + 1]],
        )  # fmt: skip
    starts = np.cumsum(found)
    fixels, lengths_mm = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float64)
    for s in prange(n_streamlines):
        for n in range(starts[s + 1] - starts[s]):
            fixels[starts[s] + n] = all_fixels[room[s] + n]
            lengths_mm[starts[s] + n] = all_lengths[room[s] + n]
    return starts, fixels, lengths_mm


@kernel
def add_lengths(fixels: NDArray[np.int32], lengths_mm: NDArray[np.float64], totals_mm: NDArray[np.float64]) -> None:
    """Add each length to the total of its fixel, one after the other: the same sums however they come in blocks."""
    for n in range(len(fixels)):
        totals_mm[fixels[n]] += lengths_mm[n]


def shorter_than(
    points: NDArray[np.float32], n_points: NDArray[np.int32], to_world: NDArray[np.float64], min_length_mm: float
) -> NDArray[np.bool_]:
    """Whether each streamline of a block is shorter than a length, its cropped ends as they are.

    Parameters
    ----------
    points : (n, max_points, 3) float32
        Voxel coordinates of the tracking grid.
    n_points : (n,) int32
        Points of each; none for 0.
    to_world : (3, 4) float64
        Those to mm.
    min_length_mm : float

    Returns
    -------
    (n,) bool
    """
    is_short = np.zeros(len(n_points), np.bool_)
    sweep(_find_short, 0, len(n_points), _STREAMLINES_PER_PIECE, points, n_points, to_world, min_length_mm, is_short)
    return is_short


@kernel
def _find_short(
    begin: int,
    end: int,
    points: NDArray[np.float32],
    n_points: NDArray[np.int32],
    to_world: NDArray[np.float64],
    min_length_mm: float,
    is_short: NDArray[np.bool_],
) -> None:
    here, there = np.empty(3), np.empty(3)
    for item in range(begin, end):
        length = 0.0
        for n in range(n_points[item]):
            transform(to_world, points[item], n, there)
            if n > 0:
                length += np.sqrt((there[0] - here[0]) ** 2 + (there[1] - here[1]) ** 2 + (there[2] - here[2]) ** 2)
            here[0], here[1], here[2] = there[0], there[1], there[2]
            if length >= min_length_mm:
                break
        is_short[item] = length < min_length_mm


@parallel_kernel
def visits(
    points: NDArray[np.float32],
    n_points: NDArray[np.int32],
    to_mask: NDArray[np.float64],
    inside: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Whether each streamline of a block visits a mask.

    The voxel nearest to each point is looked up; where points are further apart than half a voxel of the mask, at
    places between them too.

    Parameters
    ----------
    points : (n, max_points, 3) float32
        Voxel coordinates of the tracking grid.
    n_points : (n,) int32
        Points of each; none for 0.
    to_mask : (3, 4) float64
        Those to voxel coordinates of the mask.
    inside : (x, y, z) bool

    Returns
    -------
    (n,) bool
    """
    visited = np.zeros(len(n_points), np.bool_)
    for item in prange(len(n_points)):
        here, there = np.empty(3), np.empty(3)
        for n in range(n_points[item]):
            transform(to_mask, points[item], n, there)
            if n == 0:
                here[:] = there
            furthest = max(abs(there[0] - here[0]), abs(there[1] - here[1]), abs(there[2] - here[2]))
            n_parts = max(1, int(np.ceil(2.0 * furthest - 1e-3)))
            for part in range(1, n_parts + 1):
                share = part / n_parts
                i = int(np.floor(here[0] + share * (there[0] - here[0]) + 0.5))
                j = int(np.floor(here[1] + share * (there[1] - here[1]) + 0.5))
                k = int(np.floor(here[2] + share * (there[2] - here[2]) + 0.5))
                if 0 <= i < inside.shape[0] and 0 <= j < inside.shape[1] and 0 <= k < inside.shape[2]:
                    visited[item] = visited[item] or inside[i, j, k]
            if visited[item]:
                break
            here[:] = there
    return visited
