"""A subject's diffusion scan: image, gradient table and mask read into one packed `DiffusionImage`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import DiffusionImage
from tractome.datatypes.grid import Grid, require_same_grid
from tractome.errors import ImageError
from tractome.io.grad_dev import read_grad_dev
from tractome.io.gradients import GradientsRead, read_gradients, require_enough
from tractome.io.images import read_mask
from tractome.io.nifti import NiftiFile, open_nifti
from tractome.io.packing import pack_volumes
from tractome.options import ReadOptions

PathLike = str | os.PathLike[str]
Progress = Callable[[int, int], None]
MaskMaker = Callable[[NDArray[np.float32], Grid], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class DiffusionRead:
    """A scan as read.

    Parameters
    ----------
    image : DiffusionImage
        Finite everywhere; volumes that hold nothing are left out.
    notices : tuple of str
        What was changed or left out, one sentence each.
    """

    image: DiffusionImage
    notices: tuple[str, ...]


def read_diffusion(
    dwi: PathLike,
    bval: PathLike,
    bvec: PathLike | None,
    mask: PathLike | MaskMaker,
    options: ReadOptions,
    progress: Progress | None = None,
    grad_dev: PathLike | None = None,
) -> DiffusionRead:
    """Read a diffusion scan, packed by its mask volume by volume: memory stays near the size of the packed array.

    Parameters
    ----------
    dwi : path
        4-D NIfTI image.
    bval, bvec : path
        See `read_gradients`.
    mask : path or callable
        Brain mask on the grid of the scan; or what makes one from the mean b0, (x, y, z) float32, and the grid. The
        latter costs one more pass over the file, up to the last b0 volume.
    options : ReadOptions
    progress : callable or None
        Called with the number of volumes read and the number there are.
    grad_dev : path or None
        Gradient nonlinearity of the scan, see `read_grad_dev`.

    Raises
    ------
    ImageError
        The image is missing, damaged or not 4-D, or nothing of its b0, or of the mask, is left.
    GradientError
        See `read_gradients`.
    SpaceError
        The mask is on another grid.
    """
    file = open_nifti(dwi)
    if file.n_dimensions != 4:
        shape = " x ".join(map(str, file.grid.shape))
        message = (
            f"{dwi} is 3-D ({shape}). A diffusion scan is 4-D, one volume per direction; give the whole series, not "
            "its b0 or mask."
        )
        raise ImageError(message)
    table = read_gradients(bval, bvec, file.grid, file.n_volumes, options)
    if callable(mask):
        inside = _made_mask(mask, _mean_b0(file, table), file.grid)
    else:
        inside, mask_grid = read_mask(mask)
        require_same_grid(file.grid, mask_grid, str(dwi), str(mask))
    signal, filled, n_replaced = pack_volumes(file, table.kept, inside, progress)
    notices = [*file.notices, *table.notices]
    deviation = None
    if grad_dev is not None:
        deviation, said = read_grad_dev(grad_dev, inside, file.grid)
        notices += said
    if n_replaced:
        notices.append(f"{n_replaced} values of {Path(dwi).name} inside the mask are not finite: taken as 0.")
    gradients = table.gradients
    if not filled.all():
        empty = table.kept[~filled]
        listed = ", ".join(str(volume + 1) for volume in empty[:5]) + (", ..." if len(empty) > 5 else "")
        if not (filled & gradients.is_b0).any():
            raise _no_b0(file.path)
        notices.append(f"{len(empty)} volumes of {Path(dwi).name} hold only 0 or NaN ({listed}): left out.")
        gradients = gradients.select(np.flatnonzero(filled))
        require_enough(gradients)
        signal = _keep_columns(signal, filled)
    return DiffusionRead(DiffusionImage(signal, gradients, inside, file.grid, deviation), tuple(notices))


def _no_b0(path: Path) -> ImageError:
    message = f"{path}: every b0 volume holds only 0 or NaN. At least one with signal is needed; check the image."
    return ImageError(message)


def _mean_b0(file: NiftiFile, table: GradientsRead) -> NDArray[np.float32]:
    """Mean of the b0 volumes that hold anything, (x, y, z) float32; reads no further than the last of them."""
    wanted = table.kept[table.gradients.is_b0].tolist()
    total = np.zeros(int(np.prod(file.grid.shape)))
    n_found = 0
    for stored in file.some_stored_volumes(wanted):
        volume = np.nan_to_num(file.scaled(stored), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        if volume.any():
            total += volume
            n_found += 1
    if n_found == 0:
        raise _no_b0(file.path)
    mean = (total / n_found).astype(np.float32).reshape(file.grid.shape, order="F")
    return np.ascontiguousarray(mean)


def _made_mask(make_mask: MaskMaker, mean_b0: NDArray[np.float32], grid: Grid) -> NDArray[np.bool_]:
    mask = np.ascontiguousarray(make_mask(mean_b0, grid), dtype=np.bool_)
    if not mask.any():
        message = "No brain was found in the mean b0. Give a mask made by another tool with --mask."
        raise ImageError(message)
    return mask


def _keep_columns(signal: NDArray[np.float32], keep: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Leave out columns within the memory that `signal` has: a copy would double the peak."""
    n_rows, n_kept = len(signal), int(np.count_nonzero(keep))
    flat = signal.reshape(-1)
    for start in range(0, n_rows, 4096):
        rows = signal[start : start + 4096, keep]
        flat[start * n_kept : start * n_kept + rows.size] = rows.reshape(-1)
    return flat[: n_rows * n_kept].reshape(n_rows, n_kept)
