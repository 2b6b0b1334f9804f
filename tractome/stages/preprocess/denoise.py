"""Denoising by local principal components, cut at the edge of the Marchenko-Pastur distribution (MP-PCA).

Veraart et al., NeuroImage 2016, with the noise estimate of Cordero-Grande et al., NeuroImage 2019, overlapping patches
weighted as by Manjon et al., PLoS ONE 2013, and the singular values that are kept shrunk as Gavish and Donoho (IEEE
Trans. Inf. Theory 2017) prove best in the mean square. DIPY's `mppca` decomposes the patch around every voxel in
Python; here the patches lie on every second voxel along each axis and go through LAPACK in batches: an eighth of the
decompositions, each cheaper, and every voxel is still the mean over about sixteen patches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.errors import ImageError
from tractome.stages.preprocess.volumes import in_threads

LEAST_RADIUS = 2
STRIDE = 2
_BATCH_VALUES = 4_000_000

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Denoised:
    """A scan with less noise.

    Parameters
    ----------
    signal : (x, y, z, v) float32
        Not negative. Voxels that no patch reaches are as they were.
    sigma : (x, y, z) float32
        Standard deviation of the noise, scanner units; 0 where no patch reaches.
    n_components : float
        Mean number of components kept per patch, the mean not counted.
    radius : int
        Of the patches, voxels.
    """

    signal: NDArray[np.float32]
    sigma: NDArray[np.float32]
    n_components: float
    radius: int


def patch_radius(n_volumes: int) -> int:
    """Radius of the smallest cube of voxels, 5 x 5 x 5 at least, with as many voxels as there are volumes."""
    radius = LEAST_RADIUS
    while (2 * radius + 1) ** 3 < n_volumes:
        radius += 1
    return radius


def denoise(
    signal: NDArray[np.float32],
    mask: NDArray[np.bool_],
    radius: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Denoised:
    """Remove what the noise of independent voxels explains.

    Noise must be independent between voxels and equal within a patch: denoise before anything that interpolates.
    Voxels that are 0 in all volumes (cut-off background) are left out of every patch.

    Parameters
    ----------
    signal : (x, y, z, v) float32
    mask : (x, y, z) bool
        Where it is wanted.
    radius : int or None
        Of the patches, voxels; None for `patch_radius`.
    progress : callable or None

    Raises
    ------
    ImageError
        The scan is smaller than a patch, or has too few volumes.
    """
    n_volumes = signal.shape[3]
    radius = patch_radius(n_volumes) if radius is None else radius
    size = 2 * radius + 1
    if min(signal.shape[:3]) < size or n_volumes < 4:
        shape = " x ".join(map(str, signal.shape))
        message = (
            f"A scan of {shape} cannot be denoised: at least 4 volumes of {size} voxels along each axis are needed. "
            "Leave out the step denoise."
        )
        raise ImageError(message)
    valid: NDArray[np.bool_] = np.asarray(signal.any(axis=3))
    rows = _rows(mask, radius)
    total = np.zeros(signal.shape, dtype=np.float32)
    weight = np.zeros(signal.shape[:3], dtype=np.float32)
    variance = np.zeros(signal.shape[:3], dtype=np.float32)
    n_kept, n_patches = 0.0, 0
    for row, found in zip(
        rows, in_threads(lambda row: _denoise_row(signal, valid, row, radius), rows, progress), strict=True
    ):
        for number, centre in enumerate(row):
            box = tuple(slice(at - radius, at + radius + 1) for at in centre)
            share = found.weight[number] * valid[box]
            total[box] += found.estimate[number] * share[..., None]
            variance[box] += found.variance[number] * share
            weight[box] += share
        n_kept += float(found.n_kept[found.weight > 0].sum())
        n_patches += int(np.count_nonzero(found.weight))
    reached = (weight > 0) & mask
    result = np.where(reached[..., None], total / np.maximum(weight, 1e-12)[..., None], signal)
    sigma = np.sqrt(np.where(reached, variance / np.maximum(weight, 1e-12), 0.0))
    return Denoised(
        np.maximum(result, 0.0).astype(np.float32), sigma.astype(np.float32), n_kept / max(n_patches, 1), radius
    )


def _rows(mask: NDArray[np.bool_], radius: int) -> list[NDArray[np.int64]]:
    """Centres of the patches, (n, 3) each, in batches: lattice lines that come near the mask."""
    from scipy.ndimage import binary_dilation

    near = binary_dilation(mask, np.ones((3, 3, 3), dtype=bool))
    lattice = []
    for n in mask.shape:
        places = list(range(radius, n - radius, STRIDE))
        if places[-1] != n - radius - 1:
            places.append(n - radius - 1)
        lattice.append(np.array(places))
    # A voxel at the border has its nearest centre up to a radius away.
    wanted = np.zeros(mask.shape, dtype=bool)
    inside = np.argwhere(near)
    nearest = [np.clip(inside[:, axis], radius, mask.shape[axis] - radius - 1) for axis in range(3)]
    wanted[tuple(nearest)] = True
    rows = []
    for z in lattice[2]:
        for y in lattice[1]:
            x = lattice[0][wanted[lattice[0], y, z]]
            if len(x):
                rows.append(np.stack([x, np.full_like(x, y), np.full_like(x, z)], axis=1))
    return rows


@dataclass(frozen=True, eq=False)
class _Row:
    estimate: NDArray[np.float32]
    weight: NDArray[np.float32]
    variance: NDArray[np.float32]
    n_kept: NDArray[np.int64]


def _denoise_row(signal: NDArray[np.float32], valid: NDArray[np.bool_], row: NDArray[np.int64], radius: int) -> _Row:
    n_volumes, size = signal.shape[3], 2 * radius + 1
    boxes = [tuple(slice(at - radius, at + radius + 1) for at in centre) for centre in row]
    patches = np.stack([signal[box].reshape(-1, n_volumes) for box in boxes]).astype(np.float64)
    there = np.stack([valid[box].reshape(-1) for box in boxes])
    n_there = there.sum(axis=1)
    mean = patches.sum(axis=1) / np.maximum(n_there, 1)[:, None]
    patches -= mean[:, None, :]
    patches *= there[:, :, None]
    usable = n_there >= n_volumes + 1
    n_used = np.maximum(n_there, n_volumes + 1).astype(np.float64)
    gram = np.matmul(patches.transpose(0, 2, 1), patches) / n_used[:, None, None]
    values, vectors = np.linalg.eigh(gram)
    n_noise, noise_variance = split_spectrum(np.maximum(values, 0.0), n_used)
    gain = _shrinkage(values, n_noise, noise_variance, n_used)
    filters = np.matmul(vectors * gain[:, None, :], vectors.transpose(0, 2, 1))
    estimate = np.matmul(patches, filters) + mean[:, None, :]
    n_kept = n_volumes - n_noise
    return _Row(
        estimate.reshape(len(row), size, size, size, n_volumes).astype(np.float32),
        np.where(usable, 1.0 / (1.0 + n_kept), 0.0).astype(np.float32),
        noise_variance.astype(np.float32),
        n_kept,
    )


def split_spectrum(values: Floats, n_samples: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Which eigenvalues are noise, and the variance of that noise.

    Parameters
    ----------
    values : (n, v) float64
        Eigenvalues of covariance matrices, rising.
    n_samples : (n,) float64
        From so many samples each, whose mean was taken out; more than v.

    Returns
    -------
    n_noise : (n,) int64
        So many of the lowest are noise, 1 at least.
    variance : (n,) float64
    """
    n_values = values.shape[1]
    index = np.arange(1, n_values + 1)
    # Signal components use up samples as well as values.
    freedom = np.maximum(n_samples[:, None] - 1 - (n_values - index), 1.0)
    scale = n_samples[:, None] / freedom
    variance = np.cumsum(values, axis=1) / index * scale
    width = (values - values[:, :1]) * scale
    is_noise = width <= 4.0 * np.sqrt(index / freedom) * variance
    n_noise = n_values - np.argmax(is_noise[:, ::-1], axis=1)
    return n_noise, np.take_along_axis(variance, n_noise[:, None] - 1, axis=1)[:, 0]


def _shrinkage(values: Floats, n_noise: NDArray[np.int64], variance: Floats, n_samples: Floats) -> Floats:
    """Share of each component that is kept, (n, v): 0 for noise."""
    n_values = values.shape[1]
    ratio = (n_values / n_samples)[:, None]
    squared = np.maximum(values, 0.0) / np.maximum(variance, 1e-30)[:, None]
    root = np.sqrt(np.maximum((squared - ratio - 1.0) ** 2 - 4.0 * ratio, 0.0))
    gain = np.where(squared > (1.0 + np.sqrt(ratio)) ** 2, root / np.maximum(squared, 1e-30), 0.0)
    is_signal = np.arange(n_values) >= n_noise[:, None]
    # Without any noise there is nothing to shrink.
    return np.where(is_signal, np.where(variance[:, None] > 0, gain, 1.0), 0.0)
