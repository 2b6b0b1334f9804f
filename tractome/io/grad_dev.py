"""The HCP's image of gradient nonlinearity: how far the gradients in each voxel are from what was asked for."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid, require_same_grid
from tractome.errors import ImageError
from tractome.io.nifti import open_nifti

N_NUMBERS = 9
_LARGEST = 0.5
"""Real coils stay below 0.1 in the head; more than this is another unit."""


def read_grad_dev(
    path: str | os.PathLike[str], mask: NDArray[np.bool_], grid: Grid
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Read a ``grad_dev`` image inside a mask.

    Its nine volumes are the matrix L column after column (the first three volumes are the first column), in the frame
    of FSL's bvecs: where g was asked for, (I + L) g was applied (Sotiropoulos et al. 2013, NeuroImage 80:125-143).

    Parameters
    ----------
    path : path
        4-D NIfTI, nine volumes, on the grid of the scan.
    mask : (x, y, z) bool
    grid : Grid
        Of the scan.

    Returns
    -------
    deviation : (n_voxels, 3, 3) float32
        L, packed by the mask.
    notices : tuple of str
        What a reader should be told.

    Raises
    ------
    ImageError
        Missing, damaged, not nine volumes, or values that are no shares.
    SpaceError
        On another grid than the scan.
    """
    file = open_nifti(path)
    if file.n_dimensions != 4 or file.n_volumes != N_NUMBERS:
        message = (
            f"{path} has {file.n_volumes} volumes; gradient nonlinearity needs {N_NUMBERS}: the columns of a 3 x 3 "
            "matrix per voxel, as in the HCP's grad_dev.nii.gz."
        )
        raise ImageError(message)
    require_same_grid(grid, file.grid, "the scan", str(path))
    deviation = np.empty((int(np.count_nonzero(mask)), 3, 3), dtype=np.float32)
    for index, volume in enumerate(file.volumes()):
        deviation[:, index % 3, index // 3] = volume[mask]
    wrong = ~np.isfinite(deviation)
    notices = list(file.notices)
    if wrong.any():
        n_voxels = int(np.count_nonzero(wrong.any(axis=(1, 2))))
        deviation[wrong] = 0.0
        notices.append(f"{n_voxels} voxels of {file.path.name} hold values that are not finite: taken as 0.")
    largest = float(np.abs(deviation).max())
    if largest > _LARGEST:
        message = (
            f"{path} holds {largest:.3g} inside the mask; shares of the gradient below {_LARGEST} are needed (0.05 for "
            "5 percent). Is it in percent? Then divide it by 100."
        )
        raise ImageError(message)
    return deviation, tuple(notices)
