"""Fit: from the signal to tensors and fibre orientation distributions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import DiffusionImage, GradientTable, Shell
from tractome.datatypes.fields import OrientationField, ScalarMap, TensorField
from tractome.datatypes.response import ModelChoice, Response
from tractome.errors import GradientError
from tractome.options import FitOptions

Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)

MAX_FOD_B_S_PER_MM2 = 3500.0
MIN_CSD_DIRECTIONS = 20
"""Fewer distinct directions than this on every shell, and `auto` takes directions from the tensor's bootstrap."""

MIN_TENSOR_DIRECTIONS = 12
N_REWEIGHTINGS = 2
"""Of the iteratively reweighted fit, after the weighted one."""
VOXELS_PER_CALL = 16384


def n_distinct_directions(bvecs: NDArray[np.float64], min_angle_deg: float = 2.0) -> int:
    """How many axes a set of unit directions holds: repeats and opposite directions count once."""
    limit = np.cos(np.radians(min_angle_deg))
    kept: list[NDArray[np.float64]] = []
    for direction in bvecs:
        if not kept or np.abs(np.array(kept) @ direction).max() < limit:
            kept.append(direction)
    return len(kept)


def default_lmax(n_directions: int) -> int:
    """Highest SH order for a number of distinct directions: 8 from 28 on, 6 from 20 on, 4 from 12 on, else 2.

    The non-negativity constraint supplies what the measurements lack, so lmax 8 (45 coefficients) needs no 45
    directions (super-resolved CSD, Tournier et al. 2007).
    """
    for needed, lmax in ((28, 8), (20, 6), (12, 4)):
        if n_directions >= needed:
            return lmax
    return 2


def choose_model(gradients: GradientTable, options: FitOptions) -> ModelChoice:
    """Decide where tracking takes its directions from.

    Parameters
    ----------
    gradients : GradientTable
    options : FitOptions

    Returns
    -------
    ModelChoice
        With the reason, in a sentence.

    Raises
    ------
    GradientError
        The wanted model does not fit the gradient table.
    """
    shells = [shell for shell in gradients.shells if shell.b_s_per_mm2 <= MAX_FOD_B_S_PER_MM2]
    if not shells:
        message = (
            f"No shell up to b = {MAX_FOD_B_S_PER_MM2:.0f} s/mm2: the scan has {gradients.describe()}. "
            "Fitting needs weighted volumes on at least one shell; check the bval file."
        )
        raise GradientError(message)
    counts = {shell: n_distinct_directions(gradients.bvecs[list(shell.volumes)]) for shell in shells}
    if options.model == "msmt":
        return _multi_shell_choice(gradients, shells, counts, options)
    if options.model == "tensor":
        return _tensor_choice(shells, counts, options, "asked for")
    shell = _fod_shell(shells, counts, options)
    n_directions = counts[shell]
    if options.model == "auto" and n_directions < MIN_CSD_DIRECTIONS and options.fod_shell_s_per_mm2 is None:
        reason = (
            f"no shell has {MIN_CSD_DIRECTIONS} distinct directions, "
            "so the tensor's residual bootstrap is steadier than an FOD"
        )
        return _tensor_choice(shells, counts, options, reason)
    lmax = options.lmax or default_lmax(n_directions)
    reason = (
        f"{n_directions} distinct directions at b = {shell.b_s_per_mm2:.0f} carry an FOD of lmax {lmax}"
        if options.model == "auto"
        else f"asked for; {n_directions} distinct directions at b = {shell.b_s_per_mm2:.0f}"
    )
    return ModelChoice("csd", (shell.b_s_per_mm2,), lmax - lmax % 2, reason)


def _fod_shell(shells: list[Shell], counts: dict[Shell, int], options: FitOptions) -> Shell:
    """The shell for single-shell CSD: the one asked for, or the highest with enough directions."""
    wanted = options.fod_shell_s_per_mm2
    if wanted is not None:
        nearest = min(shells, key=lambda shell: abs(shell.b_s_per_mm2 - wanted))
        if abs(nearest.b_s_per_mm2 - wanted) > 100:
            available = ", ".join(f"{shell.b_s_per_mm2:.0f}" for shell in shells)
            message = f"There is no shell at b = {wanted:.0f} s/mm2; choose one of: {available}."
            raise GradientError(message)
        return nearest
    most = max(counts.values())
    enough = [shell for shell in shells if counts[shell] >= min(28, most)]
    return enough[-1]


def _multi_shell_choice(
    gradients: GradientTable, shells: list[Shell], counts: dict[Shell, int], options: FitOptions
) -> ModelChoice:
    if not gradients.is_b0.any() or len(shells) < 1 or max(counts.values()) < 6:
        message = (
            f"Multi-tissue deconvolution needs b0 volumes and a shell of at least 6 directions; the scan has "
            f"{gradients.describe()}. Use model = csd or tensor."
        )
        raise GradientError(message)
    used = [shell for shell in shells if counts[shell] >= 6]
    lmax = options.lmax or default_lmax(sum(counts[shell] for shell in used))
    tissues = "white matter, grey matter and CSF" if len(used) > 1 else "white matter and CSF"
    reason = f"asked for; {len(used)} shells and b0 tell {tissues} apart"
    return ModelChoice("msmt", tuple(shell.b_s_per_mm2 for shell in used), lmax - lmax % 2, reason)


def _tensor_choice(shells: list[Shell], counts: dict[Shell, int], options: FitOptions, reason: str) -> ModelChoice:
    if max(counts.values()) < 6 and sum(counts.values()) < 6:
        message = (
            f"The scan has {sum(counts.values())} distinct directions; a tensor needs at least 6. "
            "Check the bvec file, or use a scan with more directions."
        )
        raise GradientError(message)
    lmax = options.lmax or 8
    return ModelChoice("tensor", tuple(shell.b_s_per_mm2 for shell in shells), lmax - lmax % 2, reason)


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
    design = _require_tensor_design(tensor_design(gradients.bvals[volumes], gradients.bvecs[volumes]), gradients)
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


def _require_tensor_design(design: NDArray[np.float64], gradients: GradientTable) -> NDArray[np.float64]:
    if np.linalg.matrix_rank(design) < design.shape[1]:
        message = (
            f"These gradients do not determine a tensor: {gradients.describe()}. It needs b0 volumes (or two shells) "
            "and at least 6 directions that do not lie on one cone. Check the bval and bvec files."
        )
        raise GradientError(message)
    return design


def tensor_volumes(gradients: GradientTable, options: FitOptions) -> NDArray[np.int64]:
    """Volumes of the tensor fit: b0 and the shells up to ``tensor_max_b_s_per_mm2``, or more where those are too few.

    Shells above the limit are added, lowest first, until there are `MIN_TENSOR_DIRECTIONS` distinct directions.
    """
    chosen = [int(volume) for volume in np.flatnonzero(gradients.is_b0)]
    directions: list[int] = []
    for shell in gradients.shells:
        is_low = shell.b_s_per_mm2 <= options.tensor_max_b_s_per_mm2
        if is_low or n_distinct_directions(gradients.bvecs[directions]) < MIN_TENSOR_DIRECTIONS:
            directions += shell.volumes
    return np.array(sorted(chosen + directions), dtype=np.int64)


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


def estimate_response(image: DiffusionImage, tensors: TensorField, options: FitOptions) -> Response:
    """Responses of the chosen model, from the data alone.

    Parameters
    ----------
    image : DiffusionImage
    tensors : TensorField
        Of the same image: tells the tissues apart.
    options : FitOptions

    Returns
    -------
    Response
        Single fibre for csd (Tournier et al. 2013).

    Raises
    ------
    GradientError
        The model needs no response (tensor), or the gradients do not fit.
    """
    from tractome.kernels.responses import single_fibre_response

    choice = choose_model(image.gradients, options)
    if choice.model == "tensor":
        message = (
            f"The tensor's bootstrap has no response function ({choice.reason}). Set model = csd to have one estimated."
        )
        raise GradientError(message)
    volumes = _shell_volumes(image.gradients, choice.shells_s_per_mm2[0])
    zonal, voxels = single_fibre_response(
        image.signal, volumes, image.gradients.bvecs[volumes], choice.lmax, _face_neighbours(image.mask)
    )
    return Response(choice, np.array(choice.shells_s_per_mm2), {"wm": zonal[None]}, {"wm": len(voxels)})


def fit_fods(
    image: DiffusionImage, response: Response, options: FitOptions, progress: Progress | None = None
) -> OrientationField:
    """Fibre orientation distributions by constrained spherical deconvolution.

    Parameters
    ----------
    image : DiffusionImage
    response : Response
    options : FitOptions
    progress : callable, optional
        Gets voxels done and voxels in all.

    Returns
    -------
    OrientationField
        Scaled as MRtrix3's: a voxel whose signal is the response has an FOD of integral 1.
    """
    from tractome.kernels.convolution import deconvolve_all, single_shell_system

    choice = response.choice
    volumes = _shell_volumes(image.gradients, choice.shells_s_per_mm2[0])
    system = single_shell_system(image.gradients.bvecs[volumes], response.zonal["wm"][0], choice.lmax)
    coefficients, _ = deconvolve_all(image.signal, volumes, system, progress)
    return OrientationField(coefficients, image.mask, image.grid, method=choice.model)


def bootstrap_orientations(
    image: DiffusionImage, options: FitOptions, progress: Progress | None = None
) -> OrientationField:
    """How sure the tensor's principal direction is, as an orientation density that tracking follows like an FOD.

    Parameters
    ----------
    image : DiffusionImage
    options : FitOptions
    progress : callable, optional
        Gets voxels done and voxels in all.

    Returns
    -------
    OrientationField
        Method ``"bootstrap"``; amplitude 1 along a direction that all draws agree on, and never much below 0.
    """
    from tractome.kernels.bootstrap import bootstrap_directions, density_kernel
    from tractome.kernels.tensor import tensor_design

    gradients = image.gradients
    choice = choose_model(gradients, replace(options, model="tensor"))
    volumes = tensor_volumes(gradients, options)
    design = _require_tensor_design(tensor_design(gradients.bvals[volumes], gradients.bvecs[volumes]), gradients)
    factors = density_kernel(choice.lmax)
    density, status = np.empty((image.n_voxels, len(factors)), np.float32), np.empty(image.n_voxels, np.int8)
    for first in range(0, image.n_voxels, VOXELS_PER_CALL // 4):
        block = slice(first, min(first + VOXELS_PER_CALL // 4, image.n_voxels))
        bootstrap_directions(
            image.signal[block], volumes, design, factors, choice.lmax, options.n_bootstrap_draws,
            options.bootstrap_seed, np.arange(block.start, block.stop), density[block], status[block],
        )  # fmt: skip
        if progress is not None:
            progress(block.stop, image.n_voxels)
    return OrientationField(density, image.mask, image.grid, method="bootstrap")


def _shell_volumes(gradients: GradientTable, b_s_per_mm2: float) -> NDArray[np.intp]:
    shell = min(gradients.shells, key=lambda candidate: abs(candidate.b_s_per_mm2 - b_s_per_mm2))
    return np.array(shell.volumes, dtype=np.intp)


def _face_neighbours(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Packed index of the six face neighbours of each voxel of the mask, -1 outside, (n_voxels, 6) int64."""
    index = np.full(tuple(n + 2 for n in mask.shape), -1, dtype=np.int64)
    inside = tuple(axis + 1 for axis in mask.nonzero())
    index[inside] = np.arange(len(inside[0]))
    table = np.empty((len(inside[0]), 6), dtype=np.int64)
    for column, (axis, step) in enumerate((axis, step) for axis in range(3) for step in (-1, 1)):
        moved = list(inside)
        moved[axis] = moved[axis] + step
        table[:, column] = index[tuple(moved)]
    return table
