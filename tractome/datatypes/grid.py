"""Where voxels are: the only place that does voxel <-> world arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen
from tractome.errors import SpaceError


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular grid of voxels in world space.

    Parameters
    ----------
    shape : tuple of 3 int
        Number of voxels along each axis.
    affine : (4, 4) float64
        Voxel -> world: integer voxel coordinates are voxel **centres**, world is RAS+ mm.

    Raises
    ------
    SpaceError
        The affine is not finite or has no inverse, or the shape is not three positive numbers.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            message = f"A grid needs three positive sizes; got {self.shape}."
            raise SpaceError(message)
        affine = frozen(self.affine, np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.allclose(affine[3], (0, 0, 0, 1)):
            message = (
                "A grid needs a finite 4 x 4 affine whose last row is 0 0 0 1. Check the image header (sform/qform)."
            )
            raise SpaceError(message)
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            message = (
                "The affine in the image header has no inverse (a voxel axis has no length). "
                "Write a valid sform or qform into the header."
            )
            raise SpaceError(message)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @cached_property
    def inverse(self) -> NDArray[np.float64]:
        """World -> voxel affine, (4, 4) float64."""
        return frozen(np.linalg.inv(self.affine), np.float64)

    @cached_property
    def voxel_sizes_mm(self) -> NDArray[np.float64]:
        """Length of a voxel along each of its axes, (3,) float64, mm."""
        return frozen(np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0)), np.float64)

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel, mm3."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def determinant(self) -> float:
        """Determinant of the 3 x 3 part: its sign decides the FSL bvec rule."""
        return float(np.linalg.det(self.affine[:3, :3]))

    @cached_property
    def rotation(self) -> NDArray[np.float64]:
        """Rotation (possibly with a reflection) from voxel axes to world axes, (3, 3) float64, orthonormal.

        The nearest orthonormal matrix to the affine's (polar decomposition), so zooms and small shears drop out.
        """
        u, _, vt = np.linalg.svd(self.affine[:3, :3] / self.voxel_sizes_mm)
        return frozen(u @ vt, np.float64)

    @property
    def axis_codes(self) -> str:
        """Nearest anatomical direction of each voxel axis, such as ``"RAS"`` or ``"LPS"``."""
        rotation = self.rotation
        codes = [""] * 3
        # Greedy from the clearest axis on, so that no two axes get one letter pair.
        order = np.argsort(-np.abs(rotation).max(axis=0))
        taken: set[int] = set()
        for axis in order:
            weights = [(-1.0 if w in taken else abs(rotation[w, axis])) for w in range(3)]
            world = int(np.argmax(weights))
            taken.add(world)
            codes[axis] = ("LR", "PA", "IS")[world][int(rotation[world, axis] > 0)]
        return "".join(codes)

    def to_world(self, points_vox: NDArray[Any]) -> NDArray[np.float64]:
        """Voxel coordinates (..., 3) to RAS+ mm (..., 3)."""
        return _transformed(self.affine, points_vox)

    def to_voxel(self, points_mm: NDArray[Any]) -> NDArray[np.float64]:
        """RAS+ mm (..., 3) to voxel coordinates (..., 3)."""
        return _transformed(self.inverse, points_mm)

    def is_same(self, other: Grid, tolerance_mm: float = 1e-2) -> bool:
        """Whether both grids have the same voxels: same shape, and no corner further apart than `tolerance_mm`."""
        if self.shape != other.shape:
            return False
        return bool(np.abs(self.to_world(self._corners) - other.to_world(self._corners)).max() <= tolerance_mm)

    @property
    def _corners(self) -> NDArray[np.float64]:
        unit = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=np.float64)
        corners: NDArray[np.float64] = unit * (np.array(self.shape) - 1)
        return corners

    def describe(self) -> str:
        """One line for messages: shape, voxel size, storage order."""
        sizes = " x ".join(f"{size:.3g}" for size in self.voxel_sizes_mm)
        return f"{' x '.join(map(str, self.shape))} voxels of {sizes} mm, {self.axis_codes}"


_CHUNK = 8192
"""Points transformed at once: they stay in the processor's cache."""


def _transformed(affine: NDArray[np.float64], points: NDArray[Any]) -> NDArray[np.float64]:
    """Apply an affine to points (..., 3), each by itself.

    Not a matrix product: BLAS may round a point differently when more of them are given at once, and then results
    would depend on the size of a block.
    """
    points = np.asarray(points)
    flat = points.reshape(-1, 3)
    result: NDArray[np.float64] = np.empty(flat.shape)
    for start in range(0, len(flat), _CHUNK):
        x, y, z = np.ascontiguousarray(flat[start : start + _CHUNK].T, dtype=np.float64)
        for axis in range(3):
            row = affine[axis]
            result[start : start + _CHUNK, axis] = row[0] * x + row[1] * y + row[2] * z + row[3]
    return result.reshape(points.shape)


def require_same_grid(first: Grid, second: Grid, first_name: str, second_name: str) -> None:
    """Raise SpaceError unless the two grids have the same voxels."""
    if not first.is_same(second):
        message = (
            f"{second_name} is on another grid ({second.describe()}) than {first_name} ({first.describe()}). "
            f"Resample {second_name} to the grid of {first_name}, or give the one that belongs to it."
        )
        raise SpaceError(message)
