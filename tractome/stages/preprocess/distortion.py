"""Susceptibility distortion: a displacement along the phase-encode axis that varies smoothly through the head.

Echo-planar images show what is at x at x + d(x), and pile the signal up by 1 / (1 + d'). Two ways to find d:

- from b0 images of opposite phase encoding, which are displaced by d and by -d: the two must agree when undone
  (Andersson et al., NeuroImage 2003; the regularised Gauss-Newton solution follows Ruthotto et al., Phys. Med. Biol.
  2012);
- from a T1-weighted image, which is not displaced: the b0 undone must be a function of the T1 (the correlation ratio of
  Roche et al., MICCAI 1998), any function, but for an uneven brightness.

Both are least squares in d with a penalty on its gradient, solved coarse to fine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
Equations = tuple[Floats, Floats, Floats, Floats]
"""Residual r, its derivatives by d and by d', and the weight of each voxel."""

LEVELS_MM = ((6.0, 6.0), (4.0, 3.0), (2.0, 1.5))
"""Voxel size and smoothing (standard deviation) of each level, mm."""
N_ROUNDS = 6
LEAST_STRETCH = 0.2
N_CONJUGATE = 40
STIFFNESS = {"pair": 0.02, "t1": 0.05}
"""Weight of the squared gradient of d, for residuals in units of the brain's mean signal and d in mm."""
WINDOW_MM = 9.0
N_LEVELS = 64
BRIGHTNESS_MM = 20.0


@dataclass(frozen=True, eq=False)
class Distortion:
    """A displacement along the phase-encode axis.

    Parameters
    ----------
    displacement_mm : (x, y, z) float32
        What is at a voxel is shown so far further along the phase-encode axis of the image.
    stretch : (x, y, z) float32
        1 + d': factor that restores the signal.
    before, after : float
        How well the two images agree in the brain: correlation for a pair, mean squared local correlation with a T1.
    """

    displacement_mm: NDArray[np.float32]
    stretch: NDArray[np.float32]
    before: float
    after: float


def from_pair(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    mask: NDArray[np.bool_],
    grid: Grid,
    axis: int,
    ratio: float = -1.0,
    progress: Progress | None = None,
) -> Distortion:
    """Distortion of `first` from another b0 with reversed phase encoding.

    Parameters
    ----------
    first, second : (x, y, z) float32
        Mean b0 of the scan and of the other, heads aligned but for the distortion.
    mask : (x, y, z) bool
        Brain, with some room around it.
    grid : Grid
    axis : int
        Phase-encode axis of the image.
    ratio : float
        Displacement of `second` over that of `first`: -1 for equal read-out times.
    progress : callable or None
    """
    scale = float(first[mask].mean())

    def equations(images: tuple[Floats, ...], d: Floats, size: float) -> Equations:
        rows = [_undone(image, d * share, axis, size) for image, share in zip(images, (1.0, ratio), strict=True)]
        (one, one_slope), (two, two_slope) = rows
        one_stretch, two_stretch = (_stretch(d * share, axis, size) for share in (1.0, ratio))
        residual = one * one_stretch - two * two_stretch
        by_d = one_slope * one_stretch - ratio * two_slope * two_stretch
        return residual, by_d, one - ratio * two, np.ones_like(d)

    images: tuple[Floats, ...] = (_doubles(first / scale), _doubles(second / max(float(second[mask].mean()), 1e-9)))
    field = _solve(images, mask, grid, axis, equations, STIFFNESS["pair"], progress)

    def agreement(d: Floats) -> float:
        one, two = (
            corrected(image.astype(np.float32), d * share, grid, axis)[mask]
            for image, share in zip(images, (1.0, ratio), strict=True)
        )
        return float(np.corrcoef(one, two)[0, 1])

    return _finished(field, grid, axis, agreement(np.zeros(grid.shape)), agreement(field))


def from_t1(
    b0: NDArray[np.float32],
    t1: NDArray[np.float32],
    mask: NDArray[np.bool_],
    grid: Grid,
    axis: int,
    brain: NDArray[np.bool_] | None = None,
    progress: Progress | None = None,
) -> Distortion:
    """Distortion of a b0 from a T1-weighted image.

    Parameters
    ----------
    b0 : (x, y, z) float32
        Mean b0.
    t1 : (x, y, z) float32
        Aligned with it rigidly and sampled on its grid.
    mask : (x, y, z) bool
        Brain, with some room around it.
    grid : Grid
    axis : int
        Phase-encode axis of the image.
    brain : (x, y, z) bool or None
        Where agreement is measured; None for the mask.
    progress : callable or None
    """
    judged = mask if brain is None else brain

    def equations(images: tuple[Floats, ...], d: Floats, size: float) -> Equations:
        moving, fixed, inside = images
        found, slope = _undone(moving, d, axis, size)
        stretch = _stretch(d, axis, size)
        value = found * stretch
        target = _expected(fixed, value, inside, size)
        return value - target, slope * stretch, found, _trusted(value - target, inside)

    scale = float(b0[mask].mean())
    images = (_doubles(b0 / scale), _doubles(t1 / max(float(t1[mask].mean()), 1e-9)), _doubles(mask))
    field = _solve(images, mask, grid, axis, equations, STIFFNESS["t1"], progress)

    def agreement(d: Floats) -> float:
        return local_correlation(corrected(b0, d, grid, axis), t1, judged, grid)

    return _finished(field, grid, axis, agreement(np.zeros(grid.shape)), agreement(field))


def corrected(volume: NDArray[np.float32], d_mm: Floats, grid: Grid, axis: int) -> NDArray[np.float32]:
    """A volume with its distortion undone, sampled linearly; what is written is sampled once with `resample_scan`."""
    size = float(grid.voxel_sizes_mm[axis])
    value, _ = _undone(volume.astype(np.float64), d_mm, axis, size)
    return np.asarray(value * _stretch(d_mm, axis, size), dtype=np.float32)


def local_correlation(b0: NDArray[np.float32], t1: NDArray[np.float32], mask: NDArray[np.bool_], grid: Grid) -> float:
    """Mean squared correlation of two images over neighbourhoods of about 9 mm in the mask, 0 to 1."""
    one, two = b0 / b0[mask].mean(), t1 / t1[mask].mean()
    weight = mask.astype(np.float64)
    width = _window(grid.voxel_sizes_mm)
    means = _moments(one.astype(np.float64), two.astype(np.float64), weight, width)
    one_var, two_var, both = (means[key] for key in ("one", "two", "both"))
    squared = both**2 / np.maximum(one_var * two_var, 1e-12)
    return float(np.clip(squared, 0, 1)[mask].mean())


def _doubles(values: NDArray[Any]) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _finished(field: Floats, grid: Grid, axis: int, before: float, after: float) -> Distortion:
    stretch = _stretch(field, axis, float(grid.voxel_sizes_mm[axis]))
    return Distortion(field.astype(np.float32), stretch.astype(np.float32), before, after)


def _stretch(d: Floats, axis: int, size: float) -> Floats:
    return np.asarray(np.maximum(1.0 + np.gradient(d, size, axis=axis), LEAST_STRETCH))


def _undone(image: Floats, d: Floats, axis: int, size: float) -> tuple[Floats, Floats]:
    """Image at x + d(x), and its derivative there per mm along the axis."""
    lines = np.moveaxis(image, axis, -1)
    n = lines.shape[-1]
    at = np.clip(np.arange(n) + np.moveaxis(d, axis, -1) / size, 0, n - 1)
    low = np.minimum(at.astype(np.int64), n - 2)
    share = at - low
    left = np.take_along_axis(lines, low, axis=-1)
    right = np.take_along_axis(lines, low + 1, axis=-1)
    value = left + share * (right - left)
    slopes = np.gradient(lines, size, axis=-1)
    slope = (1 - share) * np.take_along_axis(slopes, low, axis=-1) + share * np.take_along_axis(
        slopes, low + 1, axis=-1
    )
    return np.moveaxis(value, -1, axis), np.moveaxis(slope, -1, axis)


def _window(sizes_mm: Floats) -> list[int]:
    return [2 * max(1, round(WINDOW_MM / 2 / float(size))) + 1 for size in np.atleast_1d(sizes_mm)]


def _moments(one: Floats, two: Floats, weight: Floats, width: list[int] | int) -> dict[str, Floats]:
    from scipy.ndimage import uniform_filter

    total = np.maximum(uniform_filter(weight, width, mode="constant"), 1e-6)

    def mean(values: Floats) -> Floats:
        return np.asarray(uniform_filter(values * weight, width, mode="constant") / total)

    one_mean, two_mean = mean(one), mean(two)
    return {
        "one_mean": one_mean,
        "two_mean": two_mean,
        "one": np.maximum(mean(one * one) - one_mean**2, 0.0),
        "two": np.maximum(mean(two * two) - two_mean**2, 0.0),
        "both": mean(one * two) - one_mean * two_mean,
    }


def _expected(t1: Floats, value: Floats, inside: Floats, size: float) -> Floats:
    """What the b0 should be, told from the T1: the mean over voxels of like T1, times an uneven brightness."""
    from scipy.ndimage import gaussian_filter, gaussian_filter1d

    brain = inside > 0.5
    low, high = np.percentile(t1[brain], (0.5, 99.5))
    level = np.clip((t1 - low) / max(high - low, 1e-9), 0.0, 1.0) * (N_LEVELS - 1)
    nearest = np.rint(level).astype(np.int64)
    counts = np.bincount(nearest[brain], minlength=N_LEVELS).astype(np.float64)
    sums = np.bincount(nearest[brain], value[brain], minlength=N_LEVELS)
    # A few voxels must not decide over their level.
    n_like, total = (_doubles(gaussian_filter1d(each, 1.5, mode="nearest")) for each in (counts, sums))
    mapped = np.interp(level, np.arange(N_LEVELS), total / np.maximum(n_like, 1e-9))
    width = BRIGHTNESS_MM / size
    there = gaussian_filter(value * inside, width, mode="constant")
    expected = gaussian_filter(mapped * inside, width, mode="constant")
    return _doubles(mapped * np.clip(there / np.maximum(expected, 1e-9), 0.2, 5.0))


def _trusted(residual: Floats, inside: Floats) -> Floats:
    """Weight of each voxel: less where the residual is far beyond the usual (Huber)."""
    usual = 1.4826 * float(np.median(np.abs(residual[inside > 0.5])))
    return np.asarray(inside * np.minimum(1.0, 2.0 * usual / np.maximum(np.abs(residual), 1e-9)))


def _solve(
    images: tuple[Floats, ...],
    mask: NDArray[np.bool_],
    grid: Grid,
    axis: int,
    equations: Callable[[tuple[Floats, ...], Floats, float], Equations],
    stiffness: float,
    progress: Progress | None,
) -> Floats:
    """Displacement that solves the equations, coarse to fine, (x, y, z) mm."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    field = np.zeros(grid.shape)
    n_total, done = len(LEVELS_MM) * N_ROUNDS, 0
    for size_mm, smoothing_mm in LEVELS_MM:
        size_mm = max(size_mm, float(grid.voxel_sizes_mm.min()))
        shape = np.maximum(np.ceil(np.array(grid.shape) * grid.voxel_sizes_mm / size_mm), 2).astype(int)
        step = size_mm / grid.voxel_sizes_mm
        indices = np.indices(tuple(shape.tolist()))
        places = np.stack([along * s for along, s in zip(indices, step, strict=True)])
        sigma = smoothing_mm / grid.voxel_sizes_mm
        coarse = tuple(
            map_coordinates(gaussian_filter(image, sigma), places, order=1, mode="nearest") for image in images
        )
        d = map_coordinates(field, places, order=1, mode="nearest")
        for _ in range(N_ROUNDS):
            residual, by_d, by_slope, weight = equations(coarse, d, size_mm)
            change = _newton_step(residual, by_d, by_slope, weight, d, axis, size_mm, stiffness)
            # Beyond a voxel or so the linear picture of the images is not true any more.
            d = d + np.clip(change, -size_mm, size_mm)
            done += 1
            if progress is not None:
                progress(done, n_total)
        back = np.stack([axis_places / s for axis_places, s in zip(np.indices(grid.shape), step, strict=True)])
        field = map_coordinates(d, back, order=1, mode="nearest")
    return np.asarray(field)


def _newton_step(
    residual: Floats,
    by_d: Floats,
    by_slope: Floats,
    weight: Floats,
    d: Floats,
    axis: int,
    size: float,
    stiffness: float,
) -> Floats:
    """Solve the linearised problem for the change of d by conjugate gradients."""

    def forward(x: Floats) -> Floats:
        return by_d * x + by_slope * _slope(x, axis, size)

    def normal(x: Floats) -> Floats:
        inner = weight * forward(x)
        data = by_d * inner + _slope_transposed(by_slope * inner, axis, size)
        return data + stiffness * _roughness(x, size)

    inner = weight * residual
    right = -(by_d * inner + _slope_transposed(by_slope * inner, axis, size)) - stiffness * _roughness(d, size)
    diagonal = weight * by_d**2 + 0.5 * weight * by_slope**2 / size**2 + stiffness * 6.0 / size**2
    return _conjugate_gradients(normal, right, diagonal)


def _slope(x: Floats, axis: int, size: float) -> Floats:
    """Central difference along an axis, 0 at both ends."""
    lines = np.moveaxis(x, axis, 0)
    result = np.zeros_like(lines)
    result[1:-1] = (lines[2:] - lines[:-2]) / (2 * size)
    return np.moveaxis(result, 0, axis)


def _slope_transposed(x: Floats, axis: int, size: float) -> Floats:
    lines = np.moveaxis(x, axis, 0)
    result = np.zeros_like(lines)
    result[2:] += lines[1:-1] / (2 * size)
    result[:-2] -= lines[1:-1] / (2 * size)
    return np.moveaxis(result, 0, axis)


def _roughness(x: Floats, size: float) -> Floats:
    """Derivative of half the squared gradient: minus the Laplacian, free at the borders."""
    result = np.zeros_like(x)
    for axis in range(3):
        rise = np.diff(x, axis=axis) / size**2
        lines, rises = np.moveaxis(result, axis, 0), np.moveaxis(rise, axis, 0)
        lines[:-1] -= rises
        lines[1:] += rises
    return result


def _conjugate_gradients(normal: Callable[[Floats], Floats], right: Floats, diagonal: Floats) -> Floats:
    """Solve ``normal(x) = right``; sums run in one order, unlike those of a threaded library."""
    x = np.zeros_like(right)
    rest = right.copy()
    scaled = rest / diagonal
    direction = scaled.copy()
    product = float(np.sum(rest * scaled))
    stop = product * 1e-6
    for _ in range(N_CONJUGATE):
        if product <= stop:
            break
        image = normal(direction)
        length = product / max(float(np.sum(direction * image)), 1e-30)
        x += length * direction
        rest -= length * image
        scaled = rest / diagonal
        previous, product = product, float(np.sum(rest * scaled))
        direction = scaled + (product / previous) * direction
    return x
