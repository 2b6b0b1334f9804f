"""What is known per voxel: scalar maps, tensors, orientation distributions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen, require_shape
from tractome.datatypes.diffusion import require_mask
from tractome.datatypes.grid import Grid
from tractome.errors import ImageError

SH_BASIS = "mrtrix3"
"""The one real, symmetric, orthonormal SH basis used throughout.

MRtrix3's: index of (l, m) is l(l+1)/2 + m; m < 0: sqrt(2) N P_l^|m| sin(|m| phi), m > 0: sqrt(2) N P_l^m cos(m phi),
with the Condon-Shortley phase (-1)^m in P; phi from +x towards +y, theta from +z, world axes.
"""


def unpack(values: NDArray[Any], mask: NDArray[np.bool_], fill: float = 0.0) -> NDArray[Any]:
    """Spread packed values (n_voxels, ...) over the mask's volume (x, y, z, ...), `fill` outside it."""
    volume = np.full(mask.shape + values.shape[1:], fill, dtype=values.dtype)
    volume[mask] = values
    return volume


@dataclass(frozen=True, eq=False)
class ScalarMap:
    """One number per voxel of a mask.

    Parameters
    ----------
    name : str
        Short name, such as ``"fa"``.
    unit : str
        Such as ``"mm2/s"``, or ``"unitless"``.
    values : (n_voxels,) float32
        Packed in C order of the mask; NaN where the value is not defined.
    mask : shape of the grid, bool
    grid : Grid
    """

    name: str
    unit: str
    values: NDArray[np.float32]
    mask: NDArray[np.bool_]
    grid: Grid

    def __post_init__(self) -> None:
        mask, values = require_mask(self.mask, self.grid), frozen(self.values, np.float32)
        require_shape(values, (int(np.count_nonzero(mask)),), f"The map {self.name}", ImageError)
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "values", values)

    def volume(self, fill: float = 0.0) -> NDArray[np.float32]:
        """The map as a volume of the grid's shape, `fill` outside the mask."""
        volume: NDArray[np.float32] = unpack(self.values, self.mask, fill)
        return volume


@dataclass(frozen=True, eq=False)
class TensorField:
    """Diffusion tensors in world axes.

    Parameters
    ----------
    tensors : (n_voxels, 6) float32
        Dxx, Dxy, Dyy, Dxz, Dyz, Dzz (dipy's lower-triangular order), mm2/s, world axes.
    s0 : (n_voxels,) float32
        Fitted signal without diffusion weighting, in the units of the scan.
    mask, grid
        As in `ScalarMap`.
    counts : dict of str to int
        What happened, by name: voxels not positive definite, signals at or below zero that were left out, and so on.
    n_outliers : (n_voxels,) int32 or None
        Measurements left out of the voxel's fit as outliers; None when nothing looked for them.
    """

    tensors: NDArray[np.float32]
    s0: NDArray[np.float32]
    mask: NDArray[np.bool_]
    grid: Grid
    counts: dict[str, int] = field(default_factory=dict)
    n_outliers: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        mask = require_mask(self.mask, self.grid)
        tensors, s0 = frozen(self.tensors, np.float32), frozen(self.s0, np.float32)
        n_voxels = int(np.count_nonzero(mask))
        require_shape(tensors, (n_voxels, 6), "The tensor field", ImageError)
        require_shape(s0, (n_voxels,), "The S0 map", ImageError)
        for name, value in (("mask", mask), ("tensors", tensors), ("s0", s0)):
            object.__setattr__(self, name, value)
        if self.n_outliers is not None:
            n_outliers = frozen(self.n_outliers, np.int32)
            require_shape(n_outliers, (n_voxels,), "The map of outliers", ImageError)
            object.__setattr__(self, "n_outliers", n_outliers)


@dataclass(frozen=True, eq=False)
class OrientationField:
    """Fibre orientation distributions as real symmetric spherical harmonics.

    Parameters
    ----------
    coefficients : (n_voxels, n_coeffs) float32
        In `SH_BASIS`, world axes; n_coeffs = (lmax + 1)(lmax + 2) / 2.
    mask, grid
        As in `ScalarMap`.
    tissues : dict of str to (n_voxels,) float32
        Isotropic companions of a multi-tissue fit ("gm", "csf"): their l = 0 coefficient; empty for one tissue.
    method : str
        How it was made, such as ``"csd"`` or ``"msmt"``.
    """

    coefficients: NDArray[np.float32]
    mask: NDArray[np.bool_]
    grid: Grid
    tissues: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    method: str = "csd"

    def __post_init__(self) -> None:
        mask, coefficients = require_mask(self.mask, self.grid), frozen(self.coefficients, np.float32)
        n_voxels = int(np.count_nonzero(mask))
        require_shape(coefficients, (n_voxels, None), "The FOD field", ImageError)
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "coefficients", coefficients)
        if (self.lmax + 1) * (self.lmax + 2) // 2 != coefficients.shape[1]:
            message = (
                f"An FOD image needs 1, 6, 15, 28, 45, 66 or 91 coefficients per voxel (lmax 0 to 12, even); "
                f"got {coefficients.shape[1]}. Is it an SH image?"
            )
            raise ImageError(message)
        for name, values in self.tissues.items():
            require_shape(np.asarray(values), (n_voxels,), f"The {name} map", ImageError)

    @property
    def lmax(self) -> int:
        """Highest order of the spherical harmonics, even."""
        n_coeffs = self.coefficients.shape[1]
        return 2 * int((np.sqrt(1 + 8 * n_coeffs) - 3) / 4 + 1e-9)
