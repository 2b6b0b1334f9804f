"""Tensors and the maps made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import DiffusionImage, GradientTable
from tractome.datatypes.fields import ScalarMap, TensorField
from tractome.errors import GradientError
from tractome.options import FitOptions
from tractome.stages.fit.model import tensor_volumes

Progress = Callable[[int, int], None]

N_REWEIGHTINGS = {"ols": 0, "wls": 1, "iwls": 3}
"""Weighted fits after the ordinary one; the iteratively reweighted fit has two after the weighted one."""
VOXELS_PER_CALL = 32768
VOXELS_PER_PIECE = 2048
MAPS = {"fa": "unitless", "md": "mm2/s", "ad": "mm2/s", "rd": "mm2/s"}
"""Scalar maps, in the order of the kernel, and their units."""
MAX_NOISE_VOXELS = 20_000
"""The noise of the scan is the median over about this many of its voxels, evenly spread."""


def fit_tensors(image: DiffusionImage, options: FitOptions, progress: Progress | None = None) -> TensorField:
    """Fit one diffusion tensor per voxel.

    Signals at or below zero are left out of their voxel's fit and counted. Tensors that are not positive definite are
    kept as fitted and counted; the scalar maps take their negative eigenvalues as 0. The image's gradient nonlinearity,
    if it has one, is taken into account exactly.

    Parameters
    ----------
    image : DiffusionImage
    options : FitOptions
    progress : callable, optional
        Gets voxels done and voxels in all.

    Returns
    -------
    TensorField
        NaN where too few signals are left for the seven unknowns. With the robust fit also the number of outliers per
        voxel.

    Raises
    ------
    GradientError
        The gradient table does not determine a tensor.
    """
    from tractome.kernels import tensor
    from tractome.kernels._jit import sweep

    gradients = image.gradients
    volumes = tensor_volumes(gradients, options)
    bvals, bvecs = gradients.bvals[volumes], gradients.bvecs[volumes]
    require_tensor_design(tensor.tensor_design(bvals, bvecs), gradients)
    moments = tensor.tensor_moments(bvals, bvecs)
    start = tensor.tensor_start(moments, len(volumes))
    deviations = deviations_in_world(image)
    n_voxels, is_robust = image.n_voxels, options.tensor_method == "robust"
    tensors, s0 = np.empty((n_voxels, 6), np.float32), np.empty(n_voxels, np.float32)
    status, n_left_out = np.empty(n_voxels, np.int8), np.empty(n_voxels, np.int32)
    n_outliers = np.empty(n_voxels, np.int32) if is_robust else None
    shared, written = (volumes, moments, start), (deviations, tensors, s0, status, n_left_out)
    if n_outliers is None:
        task: Any = tensor.fit_tensors
        arguments: tuple[Any, ...] = (*shared, N_REWEIGHTINGS[options.tensor_method], *written)
    else:
        scan_noise = _scan_noise(image.signal, shared)
        noises = np.empty(n_voxels, np.float32)
        task = tensor.fit_robust
        arguments = (*shared, scan_noise, options.tensor_outlier_cutoff, *written, n_outliers, noises)
    for first in range(0, n_voxels, VOXELS_PER_CALL):
        sweep(task, first, min(first + VOXELS_PER_CALL, n_voxels), VOXELS_PER_PIECE, image.signal, *arguments)
        if progress is not None:
            progress(min(first + VOXELS_PER_CALL, n_voxels), n_voxels)
    counts = {
        "not_positive_definite": int(np.count_nonzero(status & tensor.NOT_POSITIVE_DEFINITE)),
        "not_determined": int(np.count_nonzero(status & tensor.NOT_DETERMINED)),
        "signals_left_out": int(n_left_out.sum(dtype=np.int64)),
        "voxels_with_signals_left_out": int(np.count_nonzero(n_left_out)),
    }
    if n_outliers is not None:
        counts |= {
            "outliers": int(n_outliers.sum(dtype=np.int64)),
            "voxels_with_outliers": int(np.count_nonzero(n_outliers)),
            "outliers_kept": int(np.count_nonzero(status & tensor.REJECTION_REFUSED)),
        }
    return TensorField(tensors, s0, image.mask, image.grid, counts, n_outliers)


def tensor_notices(field: TensorField) -> tuple[str, ...]:
    """What a user should know about a fit: a sentence each for what was counted, none for what did not happen."""
    counts, n_voxels = field.counts, len(field.tensors)
    notices = []
    for name, told in _NOTICES.items():
        n = counts.get(name, 0)
        if n:
            notices.append(f"{n:,} of {n_voxels:,} voxels ({100 * n / n_voxels:.2g} percent) {told}.")
    if counts.get("outliers"):
        notices.append(
            f"{counts['outliers']:,} measurements in {counts['voxels_with_outliers']:,} of {n_voxels:,} voxels were "
            "left out of the tensor fit as outliers."
        )
    return tuple(notices)


_NOTICES = {
    "not_positive_definite": "have a tensor that is not positive definite; maps take its negative eigenvalues as 0",
    "not_determined": "have too few usable signals for a tensor; their maps hold NaN",
    "voxels_with_signals_left_out": "have signals of zero or less, which were left out of the tensor fit",
    "outliers_kept": "have outliers that were kept, because too few measurements would be left",
}


def _scan_noise(signal: NDArray[np.float32], shared: tuple[Any, ...]) -> float:
    """Standard deviation of the noise, in the units of the signal: the median of evenly spread voxels' own."""
    from tractome.kernels._jit import sweep
    from tractome.kernels.tensor import fit_robust

    chosen = np.ascontiguousarray(signal[:: -(-len(signal) // MAX_NOISE_VOXELS)])
    chosen.flags.writeable = False  # as the whole signal is: one compiled kernel serves both
    n = len(chosen)
    noises, ints = np.empty(n, np.float32), (np.empty(n, np.int32), np.empty(n, np.int32))
    maps = (np.empty((n, 6), np.float32), np.empty(n, np.float32), np.empty(n, np.int8))
    no_deviations = np.empty((0, 3, 3), np.float32)
    sweep(fit_robust, 0, n, VOXELS_PER_PIECE, chosen, *shared, 0.0, np.inf, no_deviations, *maps, *ints, noises)
    found = np.sort(noises[np.isfinite(noises)])
    return float(found[len(found) // 2]) if len(found) else 0.0


def require_tensor_design(design: NDArray[np.float64], gradients: GradientTable) -> NDArray[np.float64]:
    """Return the design matrix (v, 7); raise GradientError when it leaves an unknown open."""
    if np.linalg.matrix_rank(design) < design.shape[1]:
        message = (
            f"These gradients do not determine a tensor: {gradients.describe()}. It needs b0 volumes (or two shells) "
            "and at least 6 directions that do not lie on one cone. Check the bval and bvec files."
        )
        raise GradientError(message)
    return design


def deviations_in_world(image: DiffusionImage) -> NDArray[np.float32]:
    """The gradient nonlinearity turned from the FSL frame into world axes; empty when there is none."""
    if image.gradient_nonlinearity is None:
        return np.empty((0, 3, 3), dtype=np.float32)
    # FSL's frame is the image axes, with x negated when the affine's determinant is positive.
    to_world = image.grid.rotation @ np.diag([-1.0 if image.grid.determinant > 0 else 1.0, 1.0, 1.0])
    turned = np.einsum("ij,njk,lk->nil", to_world, image.gradient_nonlinearity, to_world)
    return np.ascontiguousarray(turned, dtype=np.float32)


def tensor_maps(field: TensorField) -> dict[str, ScalarMap]:
    """Scalar maps of a tensor field.

    Parameters
    ----------
    field : TensorField

    Returns
    -------
    dict of str to ScalarMap
        ``fa`` (unitless, in [0, 1]), and ``md``, ``ad``, ``rd`` (mm2/s): mean, largest, and mean of the two smaller
        eigenvalues, negative ones taken as 0; NaN where the tensor is not determined.
    """
    from tractome.kernels.tensor import tensor_scalars

    values = np.empty((len(MAPS), len(field.tensors)), np.float32)
    for first in range(0, len(field.tensors), VOXELS_PER_CALL):
        tensor_scalars(field.tensors, first, min(first + VOXELS_PER_CALL, len(field.tensors)), values)
    return {
        name: ScalarMap(name, unit, values[row], field.mask, field.grid)
        for row, (name, unit) in enumerate(MAPS.items())
    }


def principal_directions(field: TensorField) -> NDArray[np.float64]:
    """Unit direction of each tensor's largest eigenvalue, (n_voxels, 3) float64, world axes.

    Either end would do; the one with its largest component positive is given. Zeros where not determined.
    """
    from tractome.kernels.tensor import decompose

    values, principal = np.empty((VOXELS_PER_CALL, 3)), np.empty((len(field.tensors), 3))
    for first in range(0, len(principal), VOXELS_PER_CALL):
        block = slice(first, min(first + VOXELS_PER_CALL, len(principal)))
        decompose(field.tensors[block], values[: block.stop - first], principal[block])
    return principal
