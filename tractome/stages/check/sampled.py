"""A sample of a scan's brain that the checks of its signal share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import DiffusionImage, GradientTable
from tractome.datatypes.grid import Grid

MAX_VOXELS = 30_000


@dataclass(frozen=True, eq=False)
class SampledScan:
    """Some voxels of the brain, spread evenly over it, with every volume.

    Parameters
    ----------
    signal : (n, v) float64
    voxels : (n, 3) int64
        Where they are.
    gradients : GradientTable
        Of all v volumes.
    grid : Grid
    numbers : (v,) int64
        Number of each volume in the file, the first being 1.
    image : DiffusionImage
        All of it.
    """

    signal: NDArray[np.float64]
    voxels: NDArray[np.int64]
    gradients: GradientTable
    grid: Grid
    numbers: NDArray[np.int64]
    image: DiffusionImage

    @classmethod
    def of(cls, image: DiffusionImage, numbers: NDArray[np.int64]) -> SampledScan:
        """Sample a scan that is read."""
        stride = max(1, -(-image.n_voxels // MAX_VOXELS))
        rows = np.arange(0, image.n_voxels, stride)
        voxels = np.argwhere(image.mask)[rows]
        return cls(image.signal[rows].astype(np.float64), voxels, image.gradients, image.grid, numbers, image)

    @cached_property
    def levels(self) -> NDArray[np.float64]:
        """Mean of each volume, (v,)."""
        means: NDArray[np.float64] = self.signal.mean(axis=0)
        return means

    @cached_property
    def groups(self) -> tuple[NDArray[np.intp], ...]:
        """Volumes that should look alike: the b0, then each shell."""
        shells = [np.array(shell.volumes, dtype=np.intp) for shell in self.gradients.shells]
        return (np.flatnonzero(self.gradients.is_b0), *shells)

    @cached_property
    def b0(self) -> NDArray[np.float64]:
        """Median b0 of each voxel, (n,)."""
        median: NDArray[np.float64] = np.median(self.signal[:, self.gradients.is_b0], axis=1)
        return median

    def volume_names(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> list[int]:
        """Numbers of some volumes in the file."""
        return [int(number) for number in self.numbers[chosen]]
