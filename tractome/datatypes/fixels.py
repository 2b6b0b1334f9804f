"""Fixels: the fibre populations of each voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen, require_shape
from tractome.datatypes.diffusion import require_mask
from tractome.datatypes.grid import Grid
from tractome.errors import ImageError

NO_LOBE = 255
"""In a look-up table: the direction belongs to no fixel of its voxel."""


@dataclass(frozen=True, eq=False)
class FixelField:
    """One row per fixel (a lobe of an FOD), packed voxel by voxel, the highest peak of a voxel first.

    Parameters
    ----------
    offsets : (n_voxels + 1,) int64
        Fixels of voxel i are rows ``offsets[i]`` to ``offsets[i + 1]``; voxels in C order of the mask.
    directions : (n_fixels, 3) float32
        Of the peak; unit, world axes, each standing for both its ends.
    peaks : (n_fixels,) float32
        Amplitude of the FOD there, as a multiple of the response.
    afd : (n_fixels,) float32
        Apparent fibre density (Raffelt et al. 2012): integral of the FOD over the lobe and its mirror image, unitless;
        the response of a single fibre has about 1.
    mask : shape of the grid, bool
    grid : Grid
    lobe_of_direction : (n_voxels, 721) uint8 or None
        Which of its voxel's fixels (0 for the first) each direction of the dense sphere belongs to, `NO_LOBE` for none.
        The directions are the first half of ``kernels.directions.geodesic_sphere(12)``, those of the tracking engine;
        a direction of its second half has the entry of its opposite, 721 before it. None unless asked for: where 721
        bytes per voxel are too much, ``kernels.fixels.nearest_lobe`` takes the fixel of the nearest peak.
    """

    offsets: NDArray[np.int64]
    directions: NDArray[np.float32]
    peaks: NDArray[np.float32]
    afd: NDArray[np.float32]
    mask: NDArray[np.bool_]
    grid: Grid
    lobe_of_direction: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        mask, offsets = require_mask(self.mask, self.grid), frozen(self.offsets, np.int64)
        n_voxels = int(np.count_nonzero(mask))
        require_shape(offsets, (n_voxels + 1,), "The index of the fixels", ImageError)
        if offsets[0] != 0 or (np.diff(offsets) < 0).any():
            message = "The index of the fixels must begin with 0 and never fall. Segment the FODs again."
            raise ImageError(message)
        n_fixels = int(offsets[-1])
        for name, shape in (("directions", (n_fixels, 3)), ("peaks", (n_fixels,)), ("afd", (n_fixels,))):
            values = frozen(getattr(self, name), np.float32)
            require_shape(values, shape, f"The {name} of the fixels", ImageError)
            object.__setattr__(self, name, values)
        if self.lobe_of_direction is not None:
            table = frozen(self.lobe_of_direction, np.uint8)
            require_shape(table, (n_voxels, None), "The look-up table of the fixels", ImageError)
            object.__setattr__(self, "lobe_of_direction", table)
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "offsets", offsets)

    @property
    def n_fixels(self) -> int:
        """Number of fixels in all voxels."""
        return len(self.peaks)

    def peak_vectors(self, n_peaks: int) -> NDArray[np.float32]:
        """The highest peaks as vectors, (n_voxels, 3 * n_peaks) float32: x, y, z of the first, then of the second, ...

        World axes, amplitude as length; zeros where a voxel has fewer.
        """
        vectors = np.zeros((len(self.offsets) - 1, n_peaks, 3), np.float32)
        counts = np.diff(self.offsets)
        for rank in range(n_peaks):
            voxels = np.flatnonzero(counts > rank)
            rows = self.offsets[voxels] + rank
            vectors[voxels, rank] = self.directions[rows] * self.peaks[rows, None]
        return vectors.reshape(len(vectors), 3 * n_peaks)
