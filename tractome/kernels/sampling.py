"""Maps sampled along streamlines, and streamline lengths.

The mean along a streamline is the integral of the map over its length, by the trapezoidal rule: each point counts with
half the length of the segments next to it. It is the definition of MRtrix3's ``tcksample -stat_tck mean``
(Tournier et al. 2019, https://doi.org/10.1016/j.neuroimage.2019.116137). Where MRtrix3 takes 0 outside the image and
lets one undefined voxel spoil the streamline, a point without a value is left out here, with its share of the length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._corners import AT_ONCE, WEIGHTS, blend_pair, fetch_cell
from tractome.kernels._jit import inner_kernel, parallel_kernel, prange


@inner_kernel
def sample_trilinear(volumes: NDArray[np.float32], x: float, y: float, z: float, out: NDArray[np.float64]) -> None:
    """Trilinear value of several maps at one point.

    A map has a value at a point when its voxel nearest to the point has one. The eight corners are then weighted
    trilinearly over those that exist and are defined, so that the value neither fades towards the border of a mask nor
    of the image; between defined voxels that is plain trilinear interpolation.

    Parameters
    ----------
    volumes : (x, y, z, n_maps) float32
        NaN where a map is not defined.
    x, y, z : float
        Voxel coordinates; integers are voxel centres.
    out : (n_maps,) float64
        Written; NaN where there is no value.
    """
    out[:] = np.nan
    size_x, size_y, size_z, n_maps = volumes.shape
    if not (abs(x) < 1e6 and abs(y) < 1e6 and abs(z) < 1e6):
        return
    i, j, k = int(np.floor(x + 0.5)), int(np.floor(y + 0.5)), int(np.floor(z + 0.5))
    if i < 0 or j < 0 or k < 0 or i >= size_x or j >= size_y or k >= size_z:
        return
    i0, j0, k0 = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    fx, fy, fz = x - i0, y - j0, z - k0
    gx, gy, gz = 1.0 - fx, 1.0 - fy, 1.0 - fz
    is_inside = i0 >= 0 and j0 >= 0 and k0 >= 0 and i0 + 1 < size_x and j0 + 1 < size_y and k0 + 1 < size_z
    for m in range(n_maps):
        if is_inside:
            # The usual case, eight defined corners, without a branch; one NaN among them sends us to the loop below.
            low = gx * (gy * volumes[i0, j0, k0, m] + fy * volumes[i0, j0 + 1, k0, m])
            low += fx * (gy * volumes[i0 + 1, j0, k0, m] + fy * volumes[i0 + 1, j0 + 1, k0, m])
            high = gx * (gy * volumes[i0, j0, k0 + 1, m] + fy * volumes[i0, j0 + 1, k0 + 1, m])
            high += fx * (gy * volumes[i0 + 1, j0, k0 + 1, m] + fy * volumes[i0 + 1, j0 + 1, k0 + 1, m])
            out[m] = gz * low + fz * high
            if out[m] == out[m]:
                continue
        if np.isnan(volumes[i, j, k, m]):
            continue
        total, weight = 0.0, 0.0
        for di in range(2):
            wx = fx if di else gx
            if wx == 0.0 or i0 + di < 0 or i0 + di >= size_x:
                continue
            for dj in range(2):
                wy = fy if dj else gy
                if wy == 0.0 or j0 + dj < 0 or j0 + dj >= size_y:
                    continue
                for dk in range(2):
                    wz = fz if dk else gz
                    if wz == 0.0 or k0 + dk < 0 or k0 + dk >= size_z:
                        continue
                    value = volumes[i0 + di, j0 + dj, k0 + dk, m]
                    if not np.isnan(value):
                        total += wx * wy * wz * value
                        weight += wx * wy * wz
        out[m] = total / weight


@parallel_kernel
def sample_points(volumes: NDArray[np.float32], points_vox: NDArray[np.float64]) -> NDArray[np.float64]:
    """`sample_trilinear` at many points, (n, 3) float64 in voxel coordinates; (n, n_maps) float64."""
    n_points = len(points_vox)
    values = np.empty((n_points, volumes.shape[3]), np.float64)
    for n in prange(n_points):
        sample_trilinear(volumes, points_vox[n, 0], points_vox[n, 1], points_vox[n, 2], values[n])
    return values


@inner_kernel
def segment_mm(points: NDArray[np.float32], n: int) -> float:
    """Distance from point n to the next one, mm."""
    dx = np.float64(points[n + 1, 0]) - np.float64(points[n, 0])
    dy = np.float64(points[n + 1, 1]) - np.float64(points[n, 1])
    dz = np.float64(points[n + 1, 2]) - np.float64(points[n, 2])
    return np.sqrt(dx * dx + dy * dy + dz * dz)


@parallel_kernel
def streamline_lengths(points: NDArray[np.float32], offsets: NDArray[np.int64]) -> NDArray[np.float32]:
    """Length of each streamline, (n_streamlines,) float32: sum of its segments, mm; 0 for a single point.

    Parameters
    ----------
    points : (n_points, 3) float32
        mm.
    offsets : (n_streamlines + 1,) int64
    """
    lengths = np.empty(len(offsets) - 1, np.float32)
    for s in prange(len(lengths)):
        total = 0.0
        for n in range(offsets[s], offsets[s + 1] - 1):
            total += segment_mm(points, n)
        lengths[s] = total
    return lengths


_ONE, _TWO, _THREE = np.uint64(1), np.uint64(2), np.uint64(3)
_AT_ONCE = np.uint64(AT_ONCE)
_CORNER, _SEGMENT = np.uint64(WEIGHTS * AT_ONCE), np.uint64((WEIGHTS + 1) * AT_ONCE)
"""Where in the room for some points, after their weights, their corners begin, and the segments that end at them."""

_ROOM = (WEIGHTS + 2) * AT_ONCE + 1


@inner_kernel
def _locate(
    numbers: NDArray[np.float32],
    first: np.uint64,
    n_points: np.uint64,
    to_voxel: NDArray[np.float64],
    shape: tuple[int, int, int, int],
    room: NDArray[np.float64],
) -> None:
    """First corner of the cell of each of some points, as a place in the volumes, and the weights of its corners.

    Without a branch or a call the loop becomes one of vectors. The place is a whole number in double precision, which
    is exact; -1 for a point without eight voxels around it.
    """
    ax, ay, az, a = to_voxel[0, 0], to_voxel[0, 1], to_voxel[0, 2], to_voxel[0, 3]
    bx, by, bz, b = to_voxel[1, 0], to_voxel[1, 1], to_voxel[1, 2], to_voxel[1, 3]
    cx, cy, cz, c = to_voxel[2, 0], to_voxel[2, 1], to_voxel[2, 2], to_voxel[2, 3]
    end_x, end_y, end_z = shape[0] - 1.0, shape[1] - 1.0, shape[2] - 1.0
    next_z = np.float64(shape[3])
    next_y = shape[2] * next_z
    next_x = shape[1] * next_y
    # A single map is read with what follows it: nothing follows the last of all.
    end = shape[0] * next_x - (next_x + next_y + next_z + 1.0)
    for n in range(n_points):
        at = _THREE * (first + n)
        x, y, z = np.float64(numbers[at]), np.float64(numbers[at + _ONE]), np.float64(numbers[at + _TWO])
        u, v, w = ax * x + ay * y + az * z + a, bx * x + by * y + bz * z + b, cx * x + cy * y + cz * z + c
        i, j, k = np.floor(u), np.floor(v), np.floor(w)
        fx, fy, fz = u - i, v - j, w - k
        gx, gy, gz = 1.0 - fx, 1.0 - fy, 1.0 - fz
        corner = i * next_x + j * next_y + k * next_z
        is_between = (u >= 0.0) & (u < end_x) & (v >= 0.0) & (v < end_y) & (w >= 0.0) & (w < end_z) & (corner < end)
        room[n] = gx * gy
        room[n + _AT_ONCE] = gx * fy
        room[n + _TWO * _AT_ONCE] = fx * gy
        room[n + _THREE * _AT_ONCE] = fx * fy
        room[n + np.uint64(4) * _AT_ONCE] = gz
        room[n + np.uint64(5) * _AT_ONCE] = fz
        room[n + _CORNER] = corner if is_between else -1.0


@inner_kernel
def _measure(numbers: NDArray[np.float32], first: np.uint64, n_segments: np.uint64, room: NDArray[np.float64]) -> None:
    """Distance from each of some points to the next one, mm; a loop of vectors too."""
    for n in range(n_segments):
        at = _THREE * (first + n)
        dx = np.float64(numbers[at + _THREE]) - np.float64(numbers[at])
        dy = np.float64(numbers[at + np.uint64(4)]) - np.float64(numbers[at + _ONE])
        dz = np.float64(numbers[at + np.uint64(5)]) - np.float64(numbers[at + _TWO])
        room[n + _SEGMENT + _ONE] = np.sqrt(dx * dx + dy * dy + dz * dz)


@inner_kernel
def _sample_again(
    volumes: NDArray[np.float32],
    numbers: NDArray[np.float32],
    n: np.uint64,
    to_voxel: NDArray[np.float64],
    values: NDArray[np.float64],
) -> None:
    """`sample_trilinear` at point n."""
    x, y, z = np.float64(numbers[_THREE * n]), np.float64(numbers[_THREE * n + _ONE]), numbers[_THREE * n + _TWO]
    u = to_voxel[0, 0] * x + to_voxel[0, 1] * y + to_voxel[0, 2] * z + to_voxel[0, 3]
    v = to_voxel[1, 0] * x + to_voxel[1, 1] * y + to_voxel[1, 2] * z + to_voxel[1, 3]
    w = to_voxel[2, 0] * x + to_voxel[2, 1] * y + to_voxel[2, 2] * z + to_voxel[2, 3]
    sample_trilinear(volumes, u, v, w, values)


@inner_kernel
def _integrate(
    volumes: NDArray[np.float32],
    numbers: NDArray[np.float32],
    begin: int,
    end: int,
    to_voxel: NDArray[np.float64],
    even: bool,
    one: int,
    room: NDArray[np.float64],
    values: NDArray[np.float64],
) -> tuple[float, float, float, float, float]:
    """Length of a streamline; integrals of map `one` and the map after it, and the lengths where these are defined.

    Points that have eight voxels around them, all defined, are the usual case; `sample_trilinear` does the others.
    Places are unsigned, so that none is tested for being negative.

    Parameters
    ----------
    volumes : (x, y, z, n_maps) float32
    numbers : (3 n_points,) float32
        The points' coordinates, one after the other.
    begin, end : int
        First point, and the one after the last.
    even : bool
        Every point counts alike, whatever the length that it stands for.
    room : (_ROOM,) float64
        Overwritten.
    values : (n_maps,) float64
        Overwritten.
    """
    length_mm, integral, next_integral = 0.0, 0.0, 0.0
    share_both, share_one, share_next = 0.0, 0.0, 0.0
    size_y, size_z, n_maps = volumes.shape[1:]
    flat, is_alone = volumes.reshape(-1), n_maps == 1
    following = one if is_alone else one + 1
    next_x, next_y, next_z = np.uint64(size_y * size_z * n_maps), np.uint64(size_z * n_maps), np.uint64(n_maps)
    done, last, n_all = np.uint64(begin), np.uint64(end), np.uint64(len(numbers)) // _THREE
    room[_SEGMENT] = 0.0
    while done < last:
        n_points = min(_AT_ONCE, last - done)
        # Some points too many, of the next streamline, make the vectors full.
        n_round = (n_points + np.uint64(7)) & ~np.uint64(7)
        _locate(numbers, done, min(n_round, n_all - done), to_voxel, volumes.shape, room)
        _measure(numbers, done, min(n_round, n_all - done - _ONE), room)
        # All are asked for before the first is needed: many come at the same time.
        for n in range(n_points):
            fetch_cell(flat, np.uint64(np.int64(max(room[_CORNER + n], 0.0))) + np.uint64(one), next_x, next_y)
        if done + n_points == last:
            room[_SEGMENT + n_points] = 0.0
        for n in range(n_points):
            after = room[_SEGMENT + _ONE + n]
            length_mm += after
            share = 1.0 if even else 0.5 * (room[_SEGMENT + n] + after)
            value, next_value = np.nan, np.nan
            if room[_CORNER + n] >= 0.0:
                corner = np.uint64(np.int64(room[_CORNER + n])) + np.uint64(one)
                value, next_value = blend_pair(flat, corner, next_x, next_y, next_z, room, n)
            if value == value and (next_value == next_value or is_alone):
                share_both += share
                integral += share * value
                next_integral += share * next_value
                continue
            _sample_again(volumes, numbers, done + n, to_voxel, values)
            if values[one] == values[one]:
                integral += share * values[one]
                share_one += share
            if values[following] == values[following]:
                next_integral += share * values[following]
                share_next += share
        room[_SEGMENT] = room[_SEGMENT + n_points]
        done += n_points
    return length_mm, integral, next_integral, share_both + share_one, share_both + share_next


@parallel_kernel
def streamline_means(
    volumes: NDArray[np.float32],
    points: NDArray[np.float32],
    offsets: NDArray[np.int64],
    to_voxel: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean of several maps along each streamline, each point weighted by half of the segments next to it.

    Along a streamline without length every point counts alike.

    Parameters
    ----------
    volumes : (x, y, z, n_maps) float32
        NaN where a map is not defined.
    points : (n_points, 3) float32
        mm, world.
    offsets : (n_streamlines + 1,) int64
    to_voxel : (3, 4) float64
        World -> voxel coordinates of the maps' grid.

    Returns
    -------
    means : (n_maps, n_streamlines) float32
        NaN where a streamline never met the map.
    lengths : (n_streamlines,) float32
        As `streamline_lengths`.
    """
    n_streamlines, n_maps = len(offsets) - 1, volumes.shape[3]
    means, lengths = np.empty((n_maps, n_streamlines), np.float32), np.empty(n_streamlines, np.float32)
    numbers = points.reshape(-1)
    for s in prange(n_streamlines):
        room, values = np.empty(_ROOM), np.empty(n_maps)
        begin, end = offsets[s], offsets[s + 1]
        for m in range(0, n_maps, 2):
            # The last of an odd number of maps goes with the one before it, which is done again.
            one = max(min(m, n_maps - 2), 0)
            found = _integrate(volumes, numbers, begin, end, to_voxel, False, one, room, values)
            lengths[s] = found[0]
            if found[0] == 0.0:
                found = _integrate(volumes, numbers, begin, end, to_voxel, True, one, room, values)
            means[one, s] = found[1] / found[3] if found[3] > 0.0 else np.nan
            if n_maps > 1:
                means[one + 1, s] = found[2] / found[4] if found[4] > 0.0 else np.nan
    return means, lengths


@parallel_kernel
def end_directions(points: NDArray[np.float32], offsets: NDArray[np.int64], over_mm: float) -> NDArray[np.float32]:
    """Direction in which each streamline leaves through each of its ends.

    From the first point that is at least `over_mm` away along the streamline, or else from its other end: a single
    segment may be too short to have a direction, as where an end is cropped.

    Parameters
    ----------
    points : (n_points, 3) float32
        mm.
    offsets : (n_streamlines + 1,) int64
    over_mm : float

    Returns
    -------
    (n_streamlines, 2, 3) float32
        Unit vectors at the first and the last point; zeros for a streamline without length.
    """
    directions = np.zeros((len(offsets) - 1, 2, 3), np.float32)
    for s in prange(len(offsets) - 1):
        first, last = offsets[s], offsets[s + 1] - 1
        for side in range(2):
            end, step = (first, 1) if side == 0 else (last, -1)
            inner, run_mm = end, 0.0
            while run_mm < over_mm and first <= inner + step <= last:
                run_mm += segment_mm(points, min(inner, inner + step))
                inner += step
            length_mm = 0.0
            for axis in range(3):
                length_mm += (np.float64(points[end, axis]) - np.float64(points[inner, axis])) ** 2
            length_mm = np.sqrt(length_mm)
            if length_mm > 0.0:
                for axis in range(3):
                    directions[s, side, axis] = (points[end, axis] - points[inner, axis]) / length_mm
    return directions
