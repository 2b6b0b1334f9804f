"""What the scanner measured: the gradient table and the packed signal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen, require_shape
from tractome.datatypes.grid import Grid
from tractome.errors import GradientError, ImageError

SHELL_TOLERANCE_S_PER_MM2 = 100.0
"""Two b-values further apart than this are never one shell."""

_SAME_DIRECTION_DEG = 1.0


@dataclass(frozen=True)
class Shell:
    """One set of volumes with (nearly) the same b-value."""

    b_s_per_mm2: float
    """Mean b-value of the shell's volumes, s/mm2; exactly 0 never needed for b0."""
    volumes: tuple[int, ...]
    """Indices of its volumes, in order."""

    @property
    def n_volumes(self) -> int:
        """Number of volumes."""
        return len(self.volumes)


@dataclass(frozen=True, eq=False)
class GradientTable:
    """b-values and directions in world axes.

    Parameters
    ----------
    bvals : (v,) float64
        b-values, s/mm2, not negative.
    bvecs : (v, 3) float64
        Unit directions in **world axes** (RAS+); b0 volumes may hold zeros.
    b0_threshold_s_per_mm2 : float
        Volumes with a b-value up to this are b0.

    Raises
    ------
    GradientError
        Shapes do not agree, values are not finite, or a weighted volume has no unit direction.
    """

    bvals: NDArray[np.float64]
    bvecs: NDArray[np.float64]
    b0_threshold_s_per_mm2: float = 50.0

    def __post_init__(self) -> None:
        bvals, bvecs = frozen(self.bvals, np.float64), frozen(self.bvecs, np.float64)
        require_shape(bvals, (None,), "The list of b-values", GradientError)
        require_shape(bvecs, (len(bvals), 3), "The table of directions", GradientError)
        if not (np.isfinite(bvals).all() and np.isfinite(bvecs).all()) or (bvals < 0).any():
            message = "b-values and directions must be finite, b-values not negative. Check the bval and bvec files."
            raise GradientError(message)
        norms = np.linalg.norm(bvecs, axis=1)
        wrong = np.flatnonzero((bvals > self.b0_threshold_s_per_mm2) & (np.abs(norms - 1) > 1e-3))
        if len(wrong):
            message = (
                f"Volume {wrong[0]} (b = {bvals[wrong[0]]:g}) has a direction of length {norms[wrong[0]]:.3g}; "
                "weighted volumes need unit directions."
            )
            raise GradientError(message)
        object.__setattr__(self, "bvals", bvals)
        object.__setattr__(self, "bvecs", bvecs)

    @property
    def n_volumes(self) -> int:
        """Number of volumes."""
        return len(self.bvals)

    @cached_property
    def is_b0(self) -> NDArray[np.bool_]:
        """Which volumes are b0, (v,) bool."""
        return frozen(self.bvals <= self.b0_threshold_s_per_mm2, np.bool_)

    @cached_property
    def shells(self) -> tuple[Shell, ...]:
        """Weighted shells (b0 left out), b-value rising, found by clustering.

        Sorted b-values are cut wherever two neighbours are more than `SHELL_TOLERANCE_S_PER_MM2` / 2 apart, so
        995, 1000 and 1005 are one shell and 700 and 1000 are two.
        """
        weighted = np.flatnonzero(~self.is_b0)
        if not len(weighted):
            return ()
        order = weighted[np.argsort(self.bvals[weighted], kind="stable")]
        cuts = np.flatnonzero(np.diff(self.bvals[order]) > SHELL_TOLERANCE_S_PER_MM2 / 2) + 1
        return tuple(
            Shell(float(self.bvals[group].mean()), tuple(sorted(int(v) for v in group)))
            for group in np.split(order, cuts)
        )

    def select(self, volumes: NDArray[np.intp] | tuple[int, ...]) -> GradientTable:
        """The table of some volumes, in the order given."""
        chosen = np.asarray(volumes, dtype=np.intp)
        return GradientTable(self.bvals[chosen], self.bvecs[chosen], self.b0_threshold_s_per_mm2)

    def describe(self) -> str:
        """One line for messages: how many volumes at which b-value."""
        parts = [f"{int(self.is_b0.sum())} at b = 0"] if self.is_b0.any() else []
        parts += [f"{shell.n_volumes} at b = {shell.b_s_per_mm2:.0f}" for shell in self.shells]
        return ", ".join(parts)


def count_directions(directions: NDArray[np.float64]) -> int:
    """Number of directions more than one degree apart, where a direction and its opposite are one."""
    limit = np.cos(np.deg2rad(_SAME_DIRECTION_DEG))
    distinct = np.empty((0, 3))
    for direction in directions:
        if not len(distinct) or np.abs(distinct @ direction).max() < limit:
            distinct = np.vstack([distinct, direction])
    return len(distinct)


@dataclass(frozen=True, eq=False)
class DiffusionImage:
    """A diffusion scan, packed by its mask.

    Parameters
    ----------
    signal : (n_voxels, v) float32
        Signal of the voxels inside the mask, in the order of ``mask.nonzero()`` (C order); finite.
    gradients : GradientTable
    mask : shape of the grid, bool
    grid : Grid
    gradient_nonlinearity : (n_voxels, 3, 3) float32 or None
        Per voxel the matrix L of the HCP ``grad_dev`` file, in the FSL frame; None when the gradients are linear.

    Raises
    ------
    ImageError
        The arrays do not fit each other, or the mask is empty.
    """

    signal: NDArray[np.float32]
    gradients: GradientTable
    mask: NDArray[np.bool_]
    grid: Grid
    gradient_nonlinearity: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        signal, mask = frozen(self.signal, np.float32), require_mask(self.mask, self.grid)
        n_voxels = int(np.count_nonzero(mask))
        require_shape(signal, (n_voxels, self.gradients.n_volumes), "The packed signal", ImageError)
        object.__setattr__(self, "signal", signal)
        object.__setattr__(self, "mask", mask)
        if self.gradient_nonlinearity is not None:
            deviation = frozen(self.gradient_nonlinearity, np.float32)
            require_shape(deviation, (n_voxels, 3, 3), "The gradient nonlinearity", ImageError)
            object.__setattr__(self, "gradient_nonlinearity", deviation)

    @property
    def n_voxels(self) -> int:
        """Number of voxels inside the mask."""
        return len(self.signal)

    @cached_property
    def mean_b0(self) -> NDArray[np.float32]:
        """Mean of the b0 volumes, packed, (n_voxels,) float32."""
        return frozen(self.signal[:, self.gradients.is_b0].mean(axis=1), np.float32)


def require_mask(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """Return the mask frozen; raise ImageError unless it fits the grid and is not empty."""
    frozen_mask = frozen(mask, np.bool_)
    require_shape(frozen_mask, grid.shape, "The mask", ImageError)
    if not frozen_mask.any():
        message = "The mask is empty: no voxel is inside it. Check that it is the brain mask of this scan."
        raise ImageError(message)
    return frozen_mask
