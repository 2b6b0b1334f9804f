"""What the scanner would measure of the true wiring: a multi-tensor signal with partial volumes and Rician noise."""

from __future__ import annotations

from dataclasses import dataclass

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
    low = np.maximum(np.floor(ends.min(axis=(0, 1))).astype(np.int64) - border, 0)
    high = np.minimum(np.ceil(ends.max(axis=(0, 1))).astype(np.int64) + border + 1, grid.shape)
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
        where = np.clip(where, 0, np.array(shape) - 1)
        flat = np.ravel_multi_index(tuple(np.moveaxis(where, -1, 0)), shape).ravel()
        for row, values in enumerate(products):
            sums[row] += np.bincount(flat, values.ravel() / n_pieces, minlength=sums.shape[1])
    volumes = sums.reshape(7, *shape)
    # Axons have a width and wander; without this, sparse fans would leave holes in small voxels.
    return low, np.stack([gaussian_filter(volume, sigma, truncate=3.0) for volume in volumes])


_TENSOR_ORDER = ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2))


def clean_signal(
    populations: Populations, tissue: NDArray[np.float32], gradients: GradientTable
) -> NDArray[np.float32]:
    """Noise-free signal of the voxels of a mask, (n_voxels, v) float32.

    Parameters
    ----------
    populations : Populations
    tissue : (n_voxels, 5) float32
        Tissue fractions, summing to 1.
    gradients : GradientTable
    """
    n_voxels = len(tissue)
    bvals, bvecs = gradients.bvals, gradients.bvecs
    # tensor . design = b g^T D g, off-diagonal terms twice
    design = np.stack([bvals * bvecs[:, i] * bvecs[:, j] * (1.0 if i == j else 2.0) for i, j in _TENSOR_ORDER]).astype(
        np.float32
    )
    total = np.bincount(populations.voxel, populations.density, minlength=n_voxels)
    fibre_share = (total / (total + _HALF_FULL_DENSITY))[:, None] * tissue * _FIBRE_SHARE
    at = populations.voxel
    weight = ((fibre_share * S0).sum(axis=1)[at] * populations.density / total[at]).astype(np.float32)
    rest = ((tissue - fibre_share) * S0).astype(np.float32)
    decay = np.exp(-np.outer(DIFFUSIVITY_MM2_PER_S, bvals)).astype(np.float32)
    signal = rest @ decay
    block = 50_000
    for start in range(0, len(at), block):
        stop = min(start + block, len(at))
        part = np.exp(-(populations.tensor[start:stop] @ design)) * weight[start:stop, None]
        unique, first = np.unique(at[start:stop], return_index=True)
        signal[unique] += np.add.reduceat(part, first, axis=0)
    result: NDArray[np.float32] = signal
    return result


def add_noise(signal: NDArray[np.float32], options: PhantomOptions) -> NDArray[np.float32]:
    """Signal (n_voxels, v) with Rician noise: magnitude of a complex Gaussian, SNR of the b0 in white matter."""
    if options.snr == 0:
        return signal
    sigma = np.float32(S0[2] / options.snr)
    rng = keyed_rng(options.random_seed, 30)
    noisy = np.empty_like(signal)
    for volume in range(signal.shape[1]):
        real = signal[:, volume] + sigma * rng.standard_normal(len(signal), dtype=np.float32)
        imaginary = sigma * rng.standard_normal(len(signal), dtype=np.float32)
        noisy[:, volume] = np.hypot(real, imaginary)
    return noisy


def true_tensors(
    signal: NDArray[np.float32], gradients: GradientTable, max_b_s_per_mm2: float = 1500.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """FA (unitless) and MD (mm2/s) of the noise-free signal, (n_voxels,) float32 each.

    Weighted least squares of the log signal (weights: squared signal) on the shells up to `max_b_s_per_mm2`, or on all
    where they hold fewer than 6 directions: the field that a tensor fit without noise would see.
    """
    low = gradients.bvals <= max_b_s_per_mm2
    if np.count_nonzero(low & ~gradients.is_b0) < 6:
        low = np.ones(gradients.n_volumes, dtype=bool)
    bvals, bvecs = gradients.bvals[low] * 1e-3, gradients.bvecs[low]
    columns = [-bvals * bvecs[:, i] * bvecs[:, j] * (1.0 if i == j else 2.0) for i, j in _TENSOR_ORDER]
    design = np.stack([*columns, np.ones(len(bvals))], axis=1)
    pairs = np.einsum("vi,vj->vij", design, design).reshape(len(bvals), -1)
    fa, md = np.empty(len(signal), dtype=np.float32), np.empty(len(signal), dtype=np.float32)
    for start in range(0, len(signal), 20_000):
        part = np.maximum(signal[start : start + 20_000, low].astype(np.float64), 1e-3)
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


def make_gradients(options: PhantomOptions) -> GradientTable:
    """b0 volumes spread among shells of evenly distributed directions, world axes."""
    rng = keyed_rng(options.random_seed, 31)
    bvals = np.concatenate([np.full(n, b) for b, n in zip(options.shells, options.directions, strict=True)])
    bvecs = np.concatenate([even_directions(n, rng) for n in options.directions])
    order = rng.permutation(len(bvals))
    n_volumes = len(bvals) + options.n_b0
    is_b0 = np.zeros(n_volumes, dtype=bool)
    is_b0[np.arange(options.n_b0) * n_volumes // options.n_b0] = True
    all_bvals, all_bvecs = np.zeros(n_volumes), np.zeros((n_volumes, 3))
    all_bvals[~is_b0], all_bvecs[~is_b0] = bvals[order], bvecs[order]
    return GradientTable(all_bvals, all_bvecs)


def even_directions(n_directions: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Unit vectors (n, 3) spread evenly over the half sphere: charges that repel each other and their mirror images.

    Jones et al. 1999, "Optimal strategies for measuring diffusion in anisotropic systems".
    """
    points = rng.normal(size=(n_directions, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    step = 0.5 / n_directions
    for iteration in range(300):
        force = np.zeros_like(points)
        for sign in (1.0, -1.0):
            apart = points[:, None] - sign * points[None]
            distance = np.linalg.norm(apart, axis=2)
            np.fill_diagonal(distance, np.inf)
            force += (apart / distance[..., None] ** 3).sum(axis=1)
        force -= (force * points).sum(axis=1, keepdims=True) * points
        strength = np.linalg.norm(force, axis=1, keepdims=True)
        points = points + step * (1 - iteration / 300) * np.minimum(strength, 10.0) * force / np.maximum(strength, 1e-9)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points
