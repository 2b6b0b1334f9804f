"""Response functions, from the data alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import DiffusionImage
from tractome.datatypes.fields import TensorField
from tractome.datatypes.response import ModelChoice, Response
from tractome.errors import GradientError
from tractome.options import FitOptions
from tractome.stages.fit.model import choose_model, shell_volumes
from tractome.stages.fit.tensors import tensor_maps

N_EROSIONS = 2
"""Voxels taken off the mask's rim before tissue responses are taken."""


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
        Single fibre for csd (Tournier et al. 2013); white matter, grey matter (with two shells or more) and CSF for
        msmt (Dhollander et al. 2016).

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
    if choice.model == "msmt":
        return _tissue_responses(image, tensors, choice)
    volumes = shell_volumes(image.gradients, choice.shells_s_per_mm2[0])
    zonal, voxels, _ = single_fibre_response(
        image.signal, volumes, image.gradients.bvecs[volumes], choice.lmax, _face_neighbours(image.mask)
    )
    return Response(choice, np.array(choice.shells_s_per_mm2), {"wm": zonal[None]}, {"wm": len(voxels)})


def _tissue_responses(image: DiffusionImage, tensors: TensorField, choice: ModelChoice) -> Response:
    from tractome.kernels.responses import single_fibre_response, tissue_voxels, zonal_response

    gradients = image.gradients
    shells = [shell_volumes(gradients, b) for b in choice.shells_s_per_mm2]
    rows = [np.flatnonzero(gradients.is_b0), *shells]
    means = np.stack([image.signal[:, volumes].mean(axis=1, dtype=np.float64) for volumes in rows], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        decay = np.log(means[:, :1] / means[:, 1:]).mean(axis=1)
    neighbours = _face_neighbours(image.mask)
    interior = np.ones(image.n_voxels, dtype=np.bool_)
    for _ in range(N_EROSIONS):
        interior &= (interior[neighbours] & (neighbours >= 0)).all(axis=1)
    fa = tensor_maps(tensors)["fa"].values.astype(np.float64)
    tissues = tissue_voxels(decay, fa, interior)
    isotropic = {"gm": tissues.grey, "csf": tissues.csf} if len(shells) > 1 else {"csf": tissues.csf}
    for name, voxels in {"wm": tissues.white, **isotropic}.items():
        if not len(voxels):
            message = (
                f"No voxel looks like {name}, so its response cannot be taken from the data. "
                "Check that the mask covers the whole brain, or use model = csd."
            )
            raise GradientError(message)
    among = np.zeros(image.n_voxels, dtype=np.bool_)
    among[tissues.white] = True
    _, single, axes = single_fibre_response(
        image.signal, shells[-1], gradients.bvecs[shells[-1]], min(choice.lmax, 8), neighbours, among
    )
    white = np.zeros((len(rows), choice.lmax // 2 + 1))
    white[0, 0] = means[single, 0].mean() * np.sqrt(4 * np.pi)
    for row, volumes in enumerate(shells, start=1):
        cosine = np.einsum("vc,kc->kv", gradients.bvecs[volumes], axes)
        white[row] = zonal_response(image.signal[np.ix_(single, volumes)].ravel(), cosine.ravel(), choice.lmax)
    zonal = {"wm": white}
    zonal |= {name: means[voxels].mean(axis=0)[:, None] * np.sqrt(4 * np.pi) for name, voxels in isotropic.items()}
    n_voxels = {"wm": len(single)} | {name: len(voxels) for name, voxels in isotropic.items()}
    return Response(choice, np.array([0.0, *choice.shells_s_per_mm2]), zonal, n_voxels)


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
