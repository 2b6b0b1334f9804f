"""What the header of an image says besides its grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class HeaderFacts:
    """The several places in which a NIfTI header says where voxels are; they may disagree.

    Parameters
    ----------
    shape : tuple of 3 int
    sform, qform : (4, 4) float64 or None
        Voxel -> RAS+ mm; None where their code is 0, or where the qform is no rotation.
    zooms_mm : (3,) float64
        Voxel sizes as stated by themselves (``pixdim``), mm.
    slice_axis : int or None
        Voxel axis along which slices follow each other, where the header says so.
    """

    shape: tuple[int, int, int]
    sform: NDArray[np.float64] | None
    qform: NDArray[np.float64] | None
    zooms_mm: NDArray[np.float64]
    slice_axis: int | None
