"""What the scanner would measure of the true wiring: a multi-tensor signal with partial volumes and Rician noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import GradientTable
from tractome.datatypes.grid import Grid
from tractome.options import PhantomOptions
from tractome.phantom.geometry import Points, keyed_rng
from tractome.phantom.paths import N_POINTS
from tractome.phantom.wiring import Wiring, fibre_area_mm2

S0 = np.array([1200.0, 1150.0, 1000.0, 2000.0, 1500.0])
"""b0 signal of each tissue, scanner units, in the order of the tissue map."""
DIFFUSIVITY_MM2_PER_S = np.array([0.80e-3, 0.75e-3, 0.70e-3, 3.0e-3, 1.2e-3])
"""Isotropic diffusivity of each tissue where no fibres are."""
MAX_POPULATIONS = 5
"""Distinct fibre directions per voxel."""
_FIBRE_SHARE = np.array([0.2, 0.25, 0.92, 0.0, 0.1])
_HALF_FULL_DENSITY = 0.12
_FIBRE_BLUR_MM = 1.0
_VOLUMES_AT_ONCE = 16
"""Computed together: more cost memory, fewer cost time."""


@dataclass(frozen=True, eq=False)
class Populations:
    """Fibre populations of the voxels of a mask: all the fibres of one bundle in one voxel are one.

    Parameters
    ----------
    voxel : (n,) int64
        Index into the packed mask, rising.
    density : (n,) float32
        Fibre volume over voxel volume.
    tensor : (n, 6) float32
        Mean diffusion tensor of its fibres (xx, xy, yy, xz, yz, zz), mm2/s, world axes.
    """

    voxel: NDArray[np.int64]
    density: NDArray[np.float32]
    tensor: NDArray[np.float32]


def bin_fibres(wiring: Wiring, mask: NDArray[np.bool_], grid: Grid, options: PhantomOptions) -> Populations:
    """Sum the fibres of each bundle in each voxel, and keep the `MAX_POPULATIONS` densest bundles of a voxel."""
    packed = np.full(grid.shape, -1, dtype=np.int64)
    packed[mask] = np.arange(np.count_nonzero(mask))
    area = fibre_area_mm2(options)
    voxels = [np.zeros(0, dtype=np.int64)]
    densities = [np.zeros(0, dtype=np.float32)]
    tensors = [np.zeros((0, 6), dtype=np.float32)]
    offsets = wiring.offsets()
    for bundle in range(len(wiring.ends)):
        fibres = wiring.fibres[offsets[bundle] : offsets[bundle + 1]].astype(np.float64)
        corner, sums = _deposit(fibres, grid)
        where = tuple(slice(start, start + size) for start, size in zip(corner, sums.shape[1:], strict=True))
        density = sums[0] * area / grid.voxel_volume_mm3
        inside = (density > 2e-3) & (packed[where] >= 0)
        spread = (sums[1:, inside] / sums[0, inside]).T
        axial, radial = wiring.axial[bundle], wiring.radial[bundle]
        isotropic = radial * np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])
        voxels.append(packed[where][inside])
        densities.append(density[inside].astype(np.float32))
        tensors.append((isotropic + (axial - radial) * spread).astype(np.float32))
    voxel, density, tensor = np.concatenate(voxels), np.concatenate(densities), np.concatenate(tensors)
    order = np.lexsort((-density, voxel))
    voxel, density, tensor = voxel[order], density[order], tensor[order]
    first = np.searchsorted(voxel, voxel)
    kept = np.arange(len(voxel)) - first < MAX_POPULATIONS
    return Populations(voxel[kept], density[kept], tensor[kept])


def _deposit(fibres: Points, grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Length and length-weighted direction products of one bundle's fibres, over the box of voxels that they touch.

    Returns
    -------
    corner : (3,) int64
        First voxel of the box.
    sums : (7, x, y, z) float64
        mm: length, then length x (dx dx, dx dy, dy dy, dx dz, dy dz, dz dz), world axes.
    """
    from scipy.ndimage import gaussian_filter

    ends = grid.to_voxel(fibres)
    sigma = _FIBRE_BLUR_MM / grid.voxel_sizes_mm
    border = np.ceil(3.0 * sigma).astype(np.int64) + 1
    low = np.floor(ends.min(axis=(0, 1))).astype(np.int64) - border
    high = np.ceil(ends.max(axis=(0, 1))).astype(np.int64) + border + 1
    shape = tuple(int(n) for n in high - low)
    step = np.diff(fibres, axis=1)
    length = np.linalg.norm(step, axis=2)
    direction = step / np.maximum(length, 1e-9)[..., None]
    products = [length] + [length * direction[..., i] * direction[..., j] for i, j in _TENSOR_ORDER]
    n_pieces = max(int(np.ceil(2.0 * length.max() / grid.voxel_sizes_mm.min())), 1)
    sums = np.zeros((7, int(np.prod(shape))))
    for piece in range(n_pieces):
        share = (piece + 0.5) / n_pieces
        where = np.rint(ends[:, :-1] * (1 - share) + ends[:, 1:] * share).astype(np.int64) - low
        flat = np.ravel_multi_index(tuple(np.moveaxis(where, -1, 0)), shape).ravel()
        for row, values in enumerate(products):
            sums[row] += np.bincount(flat, values.ravel() / n_pieces, minlength=sums.shape[1])
    # A small field of view may leave out a part of a bundle, or all of it.
    corner = np.minimum(np.maximum(low, 0), grid.shape)
    stop = np.maximum(np.minimum(high, grid.shape), corner)
    kept = tuple(slice(first, last) for first, last in zip(corner - low, stop - low, strict=True))
    volumes = sums.reshape(7, *shape)
    # Axons have a width and wander; without this, sparse fans would leave holes in small voxels.
    return corner, np.stack([gaussian_filter(volume, sigma, truncate=3.0)[kept] for volume in volumes])


_TENSOR_ORDER = ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2))


@dataclass(frozen=True, eq=False)
class Compartments:
    """What gives signal in each voxel of a mask: fibre populations, and tissues without fibres.

    Parameters
    ----------
    rest : (n_voxels, 5) float32
        b0 signal of each tissue outside the fibres, scanner units.
    voxel : (n,) int64
        Voxel of each population, rising.
    weight : (n,) float32
        Its b0 signal, scanner units.
    tensor : (n, 6) float32
        Its diffusion tensor in the order of `Populations`, as the gradients that are there measure it, mm2/s.
    stretch : (n_voxels, 6) float32 or None
        (I + L)^T (I + L) of each voxel, world axes, unitless; None for linear gradients.
    """

    rest: NDArray[np.float32]
    voxel: NDArray[np.int64]
    weight: NDArray[np.float32]
    tensor: NDArray[np.float32]
    stretch: NDArray[np.float32] | None = None


def make_compartments(populations: Populations, tissue: NDArray[np.float32]) -> Compartments:
    """Share the signal of voxels among fibres and tissues.

    Parameters
    ----------
    populations : Populations
    tissue : (n_voxels, 5) float32
        Tissue fractions, summing to 1.
    """
    total = np.bincount(populations.voxel, populations.density, minlength=len(tissue))
    fibre_share = (total / (total + _HALF_FULL_DENSITY))[:, None] * tissue * _FIBRE_SHARE
    at = populations.voxel
    weight = ((fibre_share * S0).sum(axis=1)[at] * populations.density / total[at]).astype(np.float32)
    rest = ((tissue - fibre_share) * S0).astype(np.float32)
    return Compartments(rest, at, weight, populations.tensor)


def distorted(compartments: Compartments, deviation: NDArray[np.float32]) -> Compartments:
    """Compartments as they look to gradients v = (I + L) g instead of g.

    b v^T D v is b g^T ((I + L)^T D (I + L)) g: changing the tensors once does the same as a table for every voxel.

    Parameters
    ----------
    compartments : Compartments
        For linear gradients.
    deviation : (n_voxels, 3, 3) float32
        L, world axes.
    """
    tensor = np.empty_like(compartments.tensor)
    stretch = np.empty((len(deviation), 6), dtype=np.float32)
    applied = np.eye(3, dtype=np.float32) + deviation
    block = 200_000
    for start in range(0, len(tensor), block):
        part = slice(start, start + block)
        at = applied[compartments.voxel[part]]
        tensor[part] = _lower(np.einsum("nki,nkl,nlj->nij", at, _full(compartments.tensor[part]), at))
    for start in range(0, len(stretch), block):
        part = slice(start, start + block)
        stretch[part] = _lower(np.einsum("nki,nkj->nij", applied[part], applied[part]))
    return replace(compartments, tensor=tensor, stretch=stretch)


def _full(lower: NDArray[np.float32]) -> NDArray[np.float32]:
    """Symmetric matrices (n, 3, 3) of their six numbers (n, 6)."""
    xx, xy, yy, xz, yz, zz = lower.T
    return np.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], axis=1).reshape(-1, 3, 3)


def _lower(matrices: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the six numbers (n, 6) of symmetric matrices (n, 3, 3)."""
    return np.stack([matrices[:, i, j] for i, j in _TENSOR_ORDER], axis=1)


def clean_signal(compartments: Compartments, gradients: GradientTable) -> NDArray[np.float32]:
    """Noise-free signal of the voxels of a mask, (n_voxels, v) float32."""
    design = _design(gradients).astype(np.float32)
    signal = _rest_signal(compartments, gradients)
    at = compartments.voxel
    block = 50_000
    for start in range(0, len(at), block):
        stop = min(start + block, len(at))
        part = np.exp(-(compartments.tensor[start:stop] @ design)) * compartments.weight[start:stop, None]
        unique, first = np.unique(at[start:stop], return_index=True)
        signal[unique] += np.add.reduceat(part, first, axis=0)
    return signal


def _design(gradients: GradientTable) -> NDArray[np.float64]:
    """Matrix (6, v): a tensor's six numbers times it are b g^T D g; off-diagonal terms count twice."""
    bvals, bvecs = gradients.bvals, gradients.bvecs
    return np.stack([bvals * bvecs[:, i] * bvecs[:, j] * (1.0 if i == j else 2.0) for i, j in _TENSOR_ORDER])


def _rest_signal(compartments: Compartments, gradients: GradientTable) -> NDArray[np.float32]:
    """Signal of what is not fibres, (n_voxels, v) float32."""
    if compartments.stretch is None:
        decay = np.exp(-np.outer(DIFFUSIVITY_MM2_PER_S, gradients.bvals)).astype(np.float32)
        signal: NDArray[np.float32] = compartments.rest @ decay
        return signal
    b_there = compartments.stretch @ _design(gradients).astype(np.float32)
    # A b0 without a direction has no b-value to stretch; one that is not quite 0 keeps it.
    without = ~gradients.bvecs.any(axis=1)
    b_there[:, without] = gradients.bvals[without]
    signal = np.zeros_like(b_there)
    for tissue, diffusivity in enumerate(DIFFUSIVITY_MM2_PER_S):
        signal += compartments.rest[:, tissue, None] * np.exp(np.float32(-diffusivity) * b_there)
    return signal


def scanned_volumes(
    compartments: Compartments, gradients: GradientTable, options: PhantomOptions, session: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Yield each volume with its noise, (n_voxels,) float32: a scan of any length takes the memory of a few volumes.

    Rician noise: magnitude of a complex Gaussian, SNR of the b0 in white matter. The draws of a voxel in a volume
    depend on the random seed, the session and their places only.
    """
    rng = keyed_rng(options.random_seed, 30, *((session,) if session else ()))
    sigma = np.float32(S0[2] / options.snr) if options.snr else np.float32(0)
    n_voxels = len(compartments.rest)
    for start in range(0, gradients.n_volumes, _VOLUMES_AT_ONCE):
        stop = min(start + _VOLUMES_AT_ONCE, gradients.n_volumes)
        clean = clean_signal(compartments, gradients.select(np.arange(start, stop)))
        for column in range(clean.shape[1]):
            if not options.snr:
                yield clean[:, column]
                continue
            real = clean[:, column] + sigma * rng.standard_normal(n_voxels, dtype=np.float32)
            imaginary = sigma * rng.standard_normal(n_voxels, dtype=np.float32)
            yield np.hypot(real, imaginary)


def true_tensors(
    compartments: Compartments, gradients: GradientTable, max_b_s_per_mm2: float = 1500.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """FA (unitless) and MD (mm2/s) of the noise-free signal, (n_voxels,) float32 each.

    Weighted least squares of the log signal (weights: squared signal) on the shells up to `max_b_s_per_mm2`, or on all
    where they hold fewer than 6 directions: the field that a tensor fit without noise would see.
    """
    low = gradients.bvals <= max_b_s_per_mm2
    if np.count_nonzero(low & ~gradients.is_b0) < 6:
        low = np.ones(gradients.n_volumes, dtype=bool)
    gradients = gradients.select(np.flatnonzero(low))
    signal = clean_signal(compartments, gradients)
    bvals, bvecs = gradients.bvals * 1e-3, gradients.bvecs
    columns = [-bvals * bvecs[:, i] * bvecs[:, j] * (1.0 if i == j else 2.0) for i, j in _TENSOR_ORDER]
    design = np.stack([*columns, np.ones(len(bvals))], axis=1)
    pairs = np.einsum("vi,vj->vij", design, design).reshape(len(bvals), -1)
    fa, md = np.empty(len(signal), dtype=np.float32), np.empty(len(signal), dtype=np.float32)
    for start in range(0, len(signal), 20_000):
        part = np.maximum(signal[start : start + 20_000].astype(np.float64), 1e-3)
        weight = part * part
        normal = (weight @ pairs).reshape(-1, 7, 7)
        right = (weight * np.log(part)) @ design
        xx, xy, yy, xz, yz, zz = np.linalg.solve(normal, right[..., None])[:, :6, 0].T
        mean = (xx + yy + zz) / 3.0
        norm = xx**2 + yy**2 + zz**2 + 2 * (xy**2 + xz**2 + yz**2)
        fa[start : start + 20_000] = np.sqrt(np.clip(1.5 * (1 - 3 * mean**2 / np.maximum(norm, 1e-12)), 0, 1))
        md[start : start + 20_000] = mean * 1e-3
    return fa, md


def mean_along_fibres(wiring: Wiring, volume: NDArray[np.float32], grid: Grid) -> NDArray[np.float64]:
    """Mean of a map along each fibre, sampled trilinearly and weighted by segment length, (n_fibres,) float64."""
    from scipy.ndimage import map_coordinates

    means = np.empty(wiring.n_fibres)
    for start in range(0, wiring.n_fibres, 10_000):
        fibres = wiring.fibres[start : start + 10_000].astype(np.float64)
        values = map_coordinates(volume, grid.to_voxel(fibres).reshape(-1, 3).T, order=1, mode="nearest")
        values = values.reshape(-1, N_POINTS)
        length = np.linalg.norm(np.diff(fibres, axis=1), axis=2)
        middle = (values[:, 1:] + values[:, :-1]) / 2
        means[start : start + 10_000] = (middle * length).sum(axis=1) / length.sum(axis=1)
    return means
