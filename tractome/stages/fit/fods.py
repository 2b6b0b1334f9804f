"""Fibre orientation distributions, and their stand-in for scans with few directions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tractome.datatypes.diffusion import DiffusionImage
from tractome.datatypes.fields import OrientationField
from tractome.datatypes.response import Response
from tractome.options import FitOptions
from tractome.stages.fit.model import choose_model, shell_volumes, tensor_volumes
from tractome.stages.fit.tensors import deviations_in_world, require_tensor_design

Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)

VOXELS_PER_CALL = 4096


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
    from tractome.kernels.convolution import deconvolve_all, multi_tissue_system, single_shell_system
    from tractome.kernels.deconvolution import NOT_CONVERGED
    from tractome.kernels.harmonics import n_coefficients

    choice, gradients = response.choice, image.gradients
    names = [name for name in response.zonal if name != "wm"]
    if choice.model == "csd":
        volumes = shell_volumes(gradients, choice.shells_s_per_mm2[0])
        system = single_shell_system(gradients.bvecs[volumes], response.zonal["wm"][0], choice.lmax)
    else:
        rows = [np.flatnonzero(gradients.is_b0), *(shell_volumes(gradients, b) for b in choice.shells_s_per_mm2)]
        volumes = np.concatenate(rows)
        row_of_volume = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        responses = [response.zonal["wm"], *(response.zonal[name] for name in names)]
        system = multi_tissue_system(gradients.bvecs[volumes], row_of_volume, responses, choice.lmax)
    coefficients, status = deconvolve_all(image.signal, volumes, system, progress)
    n_open = int(np.count_nonzero(status == NOT_CONVERGED))
    if n_open:
        logger.warning("%d of %d voxels: the FOD is not quite at its optimum.", n_open, len(status))
    n_white = n_coefficients(choice.lmax)
    # The constraint holds to a tolerance; a share of a tissue is never below nothing.
    tissues = {name: np.maximum(coefficients[:, n_white + i], 0) for i, name in enumerate(names)}
    return OrientationField(coefficients[:, :n_white], image.mask, image.grid, tissues, choice.model)


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
    design = require_tensor_design(tensor_design(gradients.bvals[volumes], gradients.bvecs[volumes]), gradients)
    factors = density_kernel(choice.lmax)
    deviations = deviations_in_world(image)
    density, status = np.empty((image.n_voxels, len(factors)), np.float32), np.empty(image.n_voxels, np.int8)
    for first in range(0, image.n_voxels, VOXELS_PER_CALL):
        block = slice(first, min(first + VOXELS_PER_CALL, image.n_voxels))
        bootstrap_directions(
            image.signal[block], volumes, design, factors, choice.lmax, options.n_bootstrap_draws,
            options.bootstrap_seed, np.arange(block.start, block.stop), deviations[block], density[block],
            status[block],
        )  # fmt: skip
        if progress is not None:
            progress(block.stop, image.n_voxels)
    return OrientationField(density, image.mask, image.grid, method="bootstrap")
