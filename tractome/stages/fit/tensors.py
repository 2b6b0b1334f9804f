"""Tensors and the maps made of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import DiffusionImage, GradientTable
from tractome.datatypes.fields import ScalarMap, TensorField
from tractome.errors import GradientError
from tractome.options import FitOptions
from tractome.stages.fit.model import tensor_volumes

Progress = Callable[[int, int], None]

N_REWEIGHTINGS = 2
"""Of the iteratively reweighted fit, after the weighted one."""
VOXELS_PER_CALL = 16384


def fit_tensors(image: DiffusionImage, options: FitOptions, progress: Progress | None = None) -> TensorField:
    """Fit one diffusion tensor per voxel.

    Signals at or below zero are left out of their voxel's fit and counted. Tensors that are not positive definite are
    kept as fitted and counted; the scalar maps take their negative eigenvalues as 0.

    Parameters
    ----------
    image : DiffusionImage
    options : FitOptions
    progress : callable, optional
        Gets voxels done and voxels in all.

    Returns
    -------
    TensorField
        NaN where too few signals are left for the seven unknowns.

    Raises
    ------
    GradientError
        The gradient table does not determine a tensor.
    """
    from tractome.kernels.tensor import NOT_DETERMINED, decompose, tensor_design
    from tractome.kernels.tensor import fit_tensors as fit_block

    gradients = image.gradients
    volumes = tensor_volumes(gradients, options)
    design = require_tensor_design(tensor_design(gradients.bvals[volumes], gradients.bvecs[volumes]), gradients)
    n_reweightings = {"ols": 0, "wls": 1, "iwls": 1 + N_REWEIGHTINGS}[options.tensor_method]
    deviations = _deviations_in_world(image)
    n_voxels = image.n_voxels
    tensors, s0 = np.empty((n_voxels, 6), np.float32), np.empty(n_voxels, np.float32)
    status, n_left_out = np.empty(n_voxels, np.int8), np.empty(n_voxels, np.int32)
    values, principal = np.empty((n_voxels, 3)), np.empty((n_voxels, 3))
    for first in range(0, n_voxels, VOXELS_PER_CALL):
        block = slice(first, min(first + VOXELS_PER_CALL, n_voxels))
        fit_block(
            image.signal[block], volumes, design, n_reweightings, deviations[block], tensors[block], s0[block],
            status[block], n_left_out[block],
        )  # fmt: skip
        decompose(tensors[block], values[block], principal[block])
        if progress is not None:
            progress(block.stop, n_voxels)
    counts = {
        "not_positive_definite": int(np.count_nonzero(values[:, 2] <= 0)),
        "not_determined": int(np.count_nonzero(status == NOT_DETERMINED)),
        "signals_left_out": int(n_left_out.sum(dtype=np.int64)),
        "voxels_with_signals_left_out": int(np.count_nonzero(n_left_out)),
    }
    return TensorField(tensors, s0, image.mask, image.grid, counts)


def require_tensor_design(design: NDArray[np.float64], gradients: GradientTable) -> NDArray[np.float64]:
    """Return the design matrix (v, 7); raise GradientError when it leaves an unknown open."""
    if np.linalg.matrix_rank(design) < design.shape[1]:
        message = (
            f"These gradients do not determine a tensor: {gradients.describe()}. It needs b0 volumes (or two shells) "
            "and at least 6 directions that do not lie on one cone. Check the bval and bvec files."
        )
        raise GradientError(message)
    return design


def _deviations_in_world(image: DiffusionImage) -> NDArray[np.float32]:
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
    from tractome.kernels.tensor import anisotropy

    values, _ = _eigen(field)
    clipped = np.maximum(values, 0.0)
    maps = {
        "fa": ("unitless", anisotropy(values)),
        "md": ("mm2/s", clipped.mean(axis=1)),
        "ad": ("mm2/s", clipped[:, 0]),
        "rd": ("mm2/s", clipped[:, 1:].mean(axis=1)),
    }
    return {
        name: ScalarMap(name, unit, data.astype(np.float32), field.mask, field.grid)
        for name, (unit, data) in maps.items()
    }


def principal_directions(field: TensorField) -> NDArray[np.float64]:
    """Unit direction of each tensor's largest eigenvalue, (n_voxels, 3) float64, world axes.

    Either end would do; the one with its largest component positive is given. Zeros where not determined.
    """
    _, principal = _eigen(field)
    return principal


def _eigen(field: TensorField) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from tractome.kernels.tensor import decompose

    values, principal = np.empty((len(field.tensors), 3)), np.empty((len(field.tensors), 3))
    for first in range(0, len(values), VOXELS_PER_CALL):
        block = slice(first, first + VOXELS_PER_CALL)
        decompose(field.tensors[block], values[block], principal[block])
    return values, principal
