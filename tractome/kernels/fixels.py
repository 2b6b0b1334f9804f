"""Lobes of spherical harmonic fields: where one fibre population ends and the next begins.

After the segmentation of Smith et al. 2013 (SIFT, appendix 2): amplitudes on a dense set of directions are flooded from
the highest down; a direction without a higher neighbour starts a lobe, any other belongs to a lobe that it touches.
Where two lobes meet, a direction goes with its highest neighbour, which is the steepest way up. (MRtrix3 gives it to
the lobe with the higher peak. The way up treats equal lobes alike, needs no sorting, and differs on the border alone.)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import inner_kernel, kernel, sweep
from tractome.kernels.directions import geodesic_sphere
from tractome.kernels.harmonics import sh_basis

Array = NDArray[Any]

SPHERE_FREQUENCY = 12
"""Of the dense set: the first half of `geodesic_sphere(12)`, 721 directions about 6 degrees apart, either end."""
MAX_LOBES = 16
"""Per voxel; should there be more, those with the highest peaks are kept."""
NO_LOBE = 255
"""In a look-up table: the direction belongs to no lobe that was kept."""
VOXELS_PER_PIECE, VOXELS_PER_CALL = 1024, 16384
_N_FIT = 12


class LobeSphere(NamedTuple):
    """The dense directions and all that depends on them alone.

    Parameters
    ----------
    directions : (n, 3) float32
        Unit, half of the sphere; each stands for both its ends.
    neighbours : (n, 6) int32
        Directions beside each (either end); one of five neighbours names itself once.
    columns : (n_coeffs, n) float32
        Basis: ``columns.T @ coefficients`` are the amplitudes.
    weights : (n,) float32
        Solid angle of each direction and its opposite, sr: sums over them integrate the basis exactly.
    fits : (n, 7, 12) float32
        Local quadratic through each direction's 12 nearest: rows 0 to 4 turn rises of amplitude into
        (gx, gy, hxx, hxy, hyy) in the tangent plane, rows 5 and 6 are its two axes (padded).
    near : (n, 12) int32
        The directions of that fit.
    """

    directions: Array
    neighbours: Array
    columns: Array
    weights: Array
    fits: Array
    near: Array


@lru_cache(maxsize=2)
def lobe_sphere(lmax: int) -> LobeSphere:
    """Make the tables of the dense sphere for one order of harmonics."""
    whole = geodesic_sphere(SPHERE_FREQUENCY)
    directions = whole[: len(whole) // 2]
    n = len(directions)
    cosine = np.abs(directions @ directions.T)
    order = np.argsort(-np.round(cosine, 9), axis=1, kind="stable")
    near = order[:, 1 : _N_FIT + 1]
    neighbours = order[:, 1:7].copy()
    # Edges of the sphere's triangles are up to 6.2 degrees long, the next nearest are 8.6 degrees away.
    is_beside = np.take_along_axis(cosine, neighbours, axis=1) > np.cos(np.deg2rad(90.0 / SPHERE_FREQUENCY))
    neighbours = np.where(is_beside, neighbours, np.arange(n)[:, None])
    basis = sh_basis(directions, lmax)
    weights = np.full(n, 4 * np.pi / n)
    target = np.zeros(basis.shape[1])
    target[0] = np.sqrt(4 * np.pi)
    weights += basis @ np.linalg.solve(basis.T @ basis, target - basis.T @ weights)
    fits = np.zeros((n, 7, _N_FIT))
    for i, axis in enumerate(directions):
        first = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
        first /= np.linalg.norm(first)
        second = np.cross(axis, first)
        beside = directions[near[i]] * np.sign(directions[near[i]] @ axis)[:, None]
        x, y = (beside @ first) / (beside @ axis), (beside @ second) / (beside @ axis)
        fits[i, :5] = np.linalg.pinv(np.stack([x, y, 0.5 * x**2, x * y, 0.5 * y**2], axis=1))
        fits[i, 5, :3], fits[i, 6, :3] = first, second
    tables = LobeSphere(
        directions.astype(np.float32),
        neighbours.astype(np.int32),
        np.ascontiguousarray(basis.T, dtype=np.float32),
        weights.astype(np.float32),
        fits.astype(np.float32),
        near.astype(np.int32),
    )
    for table in tables:
        table.flags.writeable = False
    return tables


@inner_kernel
def _peak(i: int, amplitude: Array, sphere: LobeSphere, out: Array) -> None:
    """Height and place of the maximum near direction `i`: the top of the local quadratic, (amplitude, x, y, z)."""
    here = amplitude[i]
    gx = gy = hxx = hxy = hyy = np.float32(0.0)
    for k in range(sphere.near.shape[1]):
        rise = amplitude[sphere.near[i, k]] - here
        gx += sphere.fits[i, 0, k] * rise
        gy += sphere.fits[i, 1, k] * rise
        hxx += sphere.fits[i, 2, k] * rise
        hxy += sphere.fits[i, 3, k] * rise
        hyy += sphere.fits[i, 4, k] * rise
    determinant = hxx * hyy - hxy * hxy
    x = y = np.float32(0.0)
    if determinant > 0 and hxx < 0:
        x = -(hyy * gx - hxy * gy) / determinant
        y = -(hxx * gy - hxy * gx) / determinant
        # The top is at most one spacing away from the highest direction, or the quadratic does not describe it.
        if x * x + y * y > 0.01:
            x = y = np.float32(0.0)
    norm = np.sqrt(1 + x * x + y * y)
    out[0] = here + 0.5 * (gx * x + gy * y)
    for c in range(3):
        out[1 + c] = (sphere.directions[i, c] + x * sphere.fits[i, 5, c] + y * sphere.fits[i, 6, c]) / norm


@kernel
def _lobes_of_voxel(
    coefficients: Array,
    sphere: LobeSphere,
    min_peak: float,
    min_integral: float,
    amplitude: Array,
    up: Array,
    integral: Array,
    found: Array,
    table: Array,
) -> int:
    """Fill the rows (integral, peak, x, y, z) of `found`, highest peak first, and `table`; how many there are."""
    n, n_lobes = len(amplitude), 0
    for i in range(n):
        amplitude[i] = 0.0
    for j in range(len(coefficients)):
        a = coefficients[j]
        for i in range(n):
            amplitude[i] += a * sphere.columns[j, i]
    for i in range(n):
        best, highest = i, amplitude[i]
        if not highest > 0:
            continue
        for k in range(6):
            other = sphere.neighbours[i, k]
            a = amplitude[other]
            # Of equal ones the first: a chain of ways up always ends.
            if a > highest or (a == highest and other < best):
                best, highest = other, a
        up[i] = best
        integral[i] = 0.0
    for i in range(n):
        if not amplitude[i] > 0:
            continue
        top = up[i]
        while up[top] != top:
            top = up[top]
        up[i] = top
        integral[top] += sphere.weights[i] * amplitude[i]
    rank = np.empty(MAX_LOBES, np.int32)
    row = np.empty(4, np.float32)
    for i in range(n):
        if up[i] != i or not amplitude[i] > 0 or not integral[i] >= min_integral:
            continue
        _peak(i, amplitude, sphere, row)
        if not row[0] >= min_peak:
            continue
        slot = n_lobes
        while slot > 0 and found[slot - 1, 1] < row[0]:
            slot -= 1
        if slot == MAX_LOBES:
            continue
        n_lobes = min(n_lobes + 1, MAX_LOBES)
        for later in range(n_lobes - 1, slot, -1):
            rank[later] = rank[later - 1]
            for c in range(5):
                found[later, c] = found[later - 1, c]
        rank[slot] = i
        found[slot, 0] = integral[i]
        for c in range(4):
            found[slot, 1 + c] = row[c]
    if len(table) == n:
        for i in range(n):
            table[i] = NO_LOBE
            if amplitude[i] > 0:
                for lobe in range(n_lobes):
                    if rank[lobe] == up[i]:
                        table[i] = lobe
    return n_lobes


@kernel
def _find_lobes(
    coefficients: Array,
    sphere: LobeSphere,
    min_peak: float,
    min_integral: float,
    counts: Array,
    found: Array,
    tables: Array,
) -> None:
    """Lobes of each voxel; see `find_lobes`."""
    n = len(sphere.directions)
    amplitude, integral = np.empty(n, np.float32), np.empty(n, np.float32)
    up = np.empty(n, np.int32)
    for voxel in range(len(coefficients)):
        counts[voxel] = _lobes_of_voxel(
            coefficients[voxel], sphere, min_peak, min_integral, amplitude, up, integral, found[voxel], tables[voxel]
        )


class Lobes(NamedTuple):
    """Lobes of many voxels, packed."""

    offsets: NDArray[np.int64]
    """(n_voxels + 1,): lobes of voxel i are rows ``offsets[i]`` to ``offsets[i + 1]``, highest peak first."""
    directions: NDArray[np.float32]
    """(n, 3) unit, of the peak."""
    peaks: NDArray[np.float32]
    """(n,) amplitude there."""
    integrals: NDArray[np.float32]
    """(n,) integral over the lobe and its mirror image."""
    tables: NDArray[np.uint8] | None
    """(n_voxels, 721): lobe of each direction of the dense sphere, `NO_LOBE` for none; None unless asked for."""


def find_lobes(
    coefficients: NDArray[np.float32],
    lmax: int,
    min_peak: float,
    min_integral: float = 0.0,
    *,
    with_tables: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Lobes:
    """Cut each field into lobes.

    Parameters
    ----------
    coefficients : (n_voxels, n_coeffs) float32
        In the basis of `harmonics.sh_basis`.
    lmax : int
    min_peak : float
        Lobes with a lower peak are left out; above 0.
    min_integral : float
        So are lobes with a smaller integral.
    with_tables : bool
        Also say which lobe each direction belongs to.
    progress : callable, optional
        Gets voxels done and voxels in all.

    Returns
    -------
    Lobes
    """
    sphere = lobe_sphere(lmax)
    n_voxels, n = len(coefficients), len(sphere.directions)
    tables = np.empty((n_voxels, n if with_tables else 0), np.uint8)
    counts = np.zeros(n_voxels, np.int32)
    kept = {-1: np.empty((0, 5), np.float32)}

    def work(first: int, last: int) -> None:
        found = np.empty((last - first, MAX_LOBES, 5), np.float32)
        part = np.array(coefficients[first:last], dtype=np.float32, order="C")
        _find_lobes(part, sphere, float(min_peak), float(min_integral), counts[first:last], found, tables[first:last])
        kept[first] = found[np.arange(MAX_LOBES) < counts[first:last, None]]

    for first in range(0, n_voxels, VOXELS_PER_CALL):
        last = min(first + VOXELS_PER_CALL, n_voxels)
        sweep(work, first, last, VOXELS_PER_PIECE)
        if progress is not None:
            progress(last, n_voxels)
    rows = np.concatenate([kept[first] for first in sorted(kept)])
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    integrals, peaks = np.ascontiguousarray(rows[:, 0]), np.ascontiguousarray(rows[:, 1])
    return Lobes(offsets, np.ascontiguousarray(rows[:, 2:]), peaks, integrals, tables if with_tables else None)


@kernel
def nearest_lobe(first: int, last: int, directions: Array, x: float, y: float, z: float) -> int:
    """Row from `first` to `last` of the lobe whose peak is nearest to a direction (either end); -1 for no lobe.

    For use inside other kernels where a table of 721 bytes per voxel is too much. Against the table it errs only in
    voxels with lobes of unequal width, near the border between them.
    """
    best, closest = -1, -1.0
    for row in range(first, last):
        cosine = abs(directions[row, 0] * x + directions[row, 1] * y + directions[row, 2] * z)
        if cosine > closest:
            best, closest = row, cosine
    return best
