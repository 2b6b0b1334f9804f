"""Images of every kind: files to datatypes and back."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.fields import SH_BASIS, OrientationField, ScalarMap, unpack
from tractome.datatypes.grid import Grid, require_same_grid
from tractome.datatypes.tissue import TissueMap
from tractome.errors import ImageError
from tractome.io.atomic import write_json
from tractome.io.mif import MifFile, is_mif, open_mif
from tractome.io.nifti import NiftiFile, open_nifti, write_nifti

logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


def image_stem(path: PathLike) -> Path:
    """The path without .nii or .nii.gz."""
    path = Path(path)
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    return path.with_name(name)


def sidecar_path(path: PathLike) -> Path:
    """Where the JSON file that explains an image lies: beside it, with the same stem."""
    stem = image_stem(path)
    return stem.with_name(stem.name + ".json")


def open_image(path: PathLike) -> NiftiFile | MifFile:
    """Open an image of either kind: read and check its header.

    Raises
    ------
    ImageError, SpaceError
        See `open_nifti` and `open_mif`.
    """
    return open_mif(path) if is_mif(path) else open_nifti(path)


def _open(path: PathLike, n_dimensions: int, what: str) -> NiftiFile | MifFile:
    file = open_image(path)
    for notice in file.notices:
        logger.warning(notice)
    if file.n_dimensions != n_dimensions:
        shape = " x ".join(map(str, (*file.grid.shape, file.n_volumes)[: file.n_dimensions]))
        message = f"{path} has {file.n_dimensions} dimensions ({shape}); {what} needs {n_dimensions}."
        raise ImageError(message)
    return file


def read_volume(path: PathLike) -> tuple[NDArray[np.float32], Grid]:
    """Read a 3-D image.

    Returns
    -------
    volume : (x, y, z) float32
        Scaled as the header says; NaN where the file has NaN.
    grid : Grid

    Raises
    ------
    ImageError
        Missing, damaged, not NIfTI, or not 3-D.
    SpaceError
        The header does not say where the voxels are.
    """
    file = _open(path, 3, "a volume")
    return np.ascontiguousarray(next(file.volumes())), file.grid


def read_labels(path: PathLike) -> tuple[NDArray[np.int64], Grid]:
    """Read a 3-D label image.

    Returns
    -------
    labels : (x, y, z) int64
        0 is background.
    grid : Grid

    Raises
    ------
    ImageError
        As `read_volume`, or a value is not a whole number.
    """
    file = _open(path, 3, "a label image")
    stored = next(file.stored_volumes())
    if file.slope != 1 or file.inter != 0:
        stored = stored * np.float64(file.slope) + file.inter
    if stored.dtype.kind == "f":
        finite = np.nan_to_num(stored, nan=0.0, posinf=np.nan, neginf=np.nan)
        whole = np.rint(finite)
        # Scaling may leave rounding errors; an interpolated label image is far off.
        if not np.allclose(finite, whole, rtol=0, atol=1e-3):
            worst = finite[np.argmax(np.abs(finite - whole))]
            message = (
                f"{path} holds {worst:g}, which is no label: labels are whole numbers. Was the image resampled with "
                "interpolation? Resample it with nearest neighbours instead."
            )
            raise ImageError(message)
        stored = whole
    labels = stored.astype(np.int64).reshape(file.grid.shape, order="F")
    return np.ascontiguousarray(labels), file.grid


def read_mask(path: PathLike) -> tuple[NDArray[np.bool_], Grid]:
    """Read a 3-D mask: a voxel is inside where the value is above one half.

    Returns
    -------
    mask : (x, y, z) bool
    grid : Grid

    Raises
    ------
    ImageError
        As `read_volume`, or no voxel is inside.
    """
    file = _open(path, 3, "a mask")
    mask = np.ascontiguousarray(next(file.volumes()) > 0.5)
    if not mask.any():
        message = f"{path} is empty: no value is above 0.5. A mask with 1 inside the brain is needed."
        raise ImageError(message)
    return mask, file.grid


def read_tissue(path: PathLike) -> TissueMap:
    """Read a five-tissue-type image: 4-D, in the order of `tractome.datatypes.tissue.TISSUES`.

    Raises
    ------
    ImageError
        As `read_volume`, not five volumes, or values that are no fractions.
    """
    file = _open(path, 4, "a five-tissue-type image")
    if file.n_volumes != 5:
        message = f"{path} has {file.n_volumes} volumes; a five-tissue-type image has 5. MRtrix3's 5ttgen makes one."
        raise ImageError(message)
    fractions = np.empty((*file.grid.shape, 5), dtype=np.float32)
    for tissue, volume in enumerate(file.volumes()):
        fractions[..., tissue] = volume
    return TissueMap(fractions, file.grid)


def read_scalar_map(path: PathLike, name: str, unit: str, mask: NDArray[np.bool_] | None = None) -> ScalarMap:
    """Read a 3-D map of one number per voxel.

    Parameters
    ----------
    path : path
    name, unit : str
        As in `ScalarMap`.
    mask : (x, y, z) bool or None
        Voxels to keep. None for those whose value is finite and not 0: 0 is what lies outside the mask of a written
        map.

    Raises
    ------
    ImageError
        As `read_volume`, the mask has another shape, or nothing is left.
    """
    volume, grid = read_volume(path)
    if mask is None:
        mask = np.isfinite(volume) & (volume != 0)
        if not mask.any():
            message = f"{path} holds nothing but 0 and NaN; a map of {name} is needed."
            raise ImageError(message)
    elif mask.shape != grid.shape:
        message = f"{path} has the shape {grid.shape}, its mask {mask.shape}. Give the mask that belongs to the map."
        raise ImageError(message)
    return ScalarMap(name, unit, volume[mask], mask, grid)


def read_orientation_field(path: PathLike, mask_path: PathLike | None = None) -> OrientationField:
    """Read an FOD image: 4-D, one SH coefficient per volume, MRtrix3's basis.

    Parameters
    ----------
    path : path
    mask_path : path or None
        Voxels to keep, on the same grid. None for those with any coefficient that is not 0.

    Raises
    ------
    ImageError
        As `read_volume`, or the sidecar names another basis, or the number of volumes belongs to no lmax.
    SpaceError
        The mask is on another grid.
    """
    file = _open(path, 4, "an FOD image")
    facts = read_facts(path)
    basis = str(facts.get("OrientationEncoding", {}).get("SphericalHarmonicBasis", SH_BASIS))
    if basis.lower() not in (SH_BASIS, "mrtrix"):
        message = f"{path} is in the SH basis {basis}; MRtrix3's is needed. Convert it, for example with dipy."
        raise ImageError(message)
    if mask_path is None:
        mask = np.zeros(file.grid.shape, dtype=np.bool_)
        for volume in file.volumes():
            mask |= np.nan_to_num(volume) != 0
        if not mask.any():
            message = f"{path} holds nothing but 0 and NaN. Fit the FODs again."
            raise ImageError(message)
    else:
        mask, mask_grid = read_mask(mask_path)
        require_same_grid(file.grid, mask_grid, str(path), str(mask_path))
    coefficients = np.empty((int(np.count_nonzero(mask)), file.n_volumes), dtype=np.float32)
    for index, volume in enumerate(file.volumes()):
        coefficients[:, index] = np.nan_to_num(volume[mask], posinf=0.0, neginf=0.0)
    return OrientationField(coefficients, mask, file.grid, method=str(facts.get("Method", "csd")))


def read_facts(path: PathLike) -> dict[str, Any]:
    """Read the JSON file beside an image; nothing when there is none."""
    sidecar = sidecar_path(path)
    if not sidecar.is_file():
        return {}
    try:
        facts = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{sidecar} cannot be read as JSON ({error}). Mend it, or move it away from beside the image."
        raise ImageError(message) from error
    return facts if isinstance(facts, dict) else {}


def write_volume(path: PathLike, array: NDArray[Any], grid: Grid, sidecar: Mapping[str, Any] | None = None) -> None:
    """Write a 3-D or 4-D image, and the JSON file that explains it; equal input gives equal bytes.

    Parameters
    ----------
    path : path ending in .nii or .nii.gz
    array : (x, y, z) or (x, y, z, v)
        bool is stored as uint8, int16 as it is, other integers as int32 where they fit, floats as float32.
    grid : Grid
    sidecar : dict or None
        Content of the JSON file; None for no such file.

    Raises
    ------
    ImageError
        The array does not fit the grid.
    OutputError
        The file cannot be written.
    """
    if array.ndim not in (3, 4) or array.shape[:3] != grid.shape:
        message = f"{path}: an array of shape {array.shape} does not fit a grid of {grid.shape}."
        raise ImageError(message)
    _write_sidecar(path, sidecar)
    dtype = _stored_dtype(array)
    if array.ndim == 3:
        write_nifti(path, (array,), None, dtype, grid)
    else:
        write_nifti(path, np.moveaxis(array, 3, 0), array.shape[3], dtype, grid)


def write_packed(
    path: PathLike,
    values: NDArray[Any],
    mask: NDArray[np.bool_],
    grid: Grid,
    sidecar: Mapping[str, Any] | None = None,
) -> None:
    """Write packed values, (n_voxels,) as 3-D or (n_voxels, v) as 4-D, 0 outside the mask; one volume in memory."""
    _write_sidecar(path, sidecar)
    columns = values[:, None] if values.ndim == 1 else values
    volumes = (unpack(columns[:, index], mask) for index in range(columns.shape[1]))
    write_nifti(path, volumes, None if values.ndim == 1 else columns.shape[1], _stored_dtype(values), grid)


def write_scalar_map(path: PathLike, scalar_map: ScalarMap, sidecar: Mapping[str, Any] | None = None) -> None:
    """Write a map as a 3-D image, 0 outside its mask, with name and unit in its sidecar."""
    facts = {"Name": scalar_map.name, "Units": scalar_map.unit, **(sidecar or {})}
    write_packed(path, scalar_map.values, scalar_map.mask, scalar_map.grid, facts)


def write_orientation_field(path: PathLike, field: OrientationField, sidecar: Mapping[str, Any] | None = None) -> None:
    """Write FODs as a 4-D image, one SH coefficient per volume; the sidecar names the basis.

    The isotropic companions of a multi-tissue fit are images of their own: write them with `write_packed`.
    """
    encoding = {
        "EncodingAxis": 3,
        "Reference": "xyz",
        "SphericalHarmonicBasis": "MRtrix3",
        "SphericalHarmonicDegree": field.lmax,
        "Type": "sh",
    }
    facts = {"Method": field.method, "OrientationEncoding": encoding, **(sidecar or {})}
    write_packed(path, field.coefficients, field.mask, field.grid, facts)


def _write_sidecar(path: PathLike, sidecar: Mapping[str, Any] | None) -> None:
    # Before the image, so that an image that exists is always explained.
    if sidecar is not None:
        write_json(sidecar_path(path), sidecar)


def _stored_dtype(array: NDArray[Any]) -> Any:
    if array.dtype.kind == "b":
        return np.uint8
    if array.dtype == np.int16:
        return np.int16
    if array.dtype.kind in "iu":
        if array.size and (array.min() < -(2**31) or array.max() >= 2**31):
            return np.int64
        return np.int32
    return np.float32
