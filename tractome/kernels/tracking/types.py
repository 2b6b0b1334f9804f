"""What the engine is given, and the codes of what it answers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Why an end stopped: values of datatypes.tractogram.StopReason.
LEFT_MASK, LOW_SIGNAL, ENTERED_CORTEX, ENTERED_DEEP_GREY, ENTERED_CSF, LEFT_IMAGE, TOO_LONG = 1, 2, 3, 4, 5, 6, 7
# Why a streamline was thrown away: values of datatypes.tractogram.RejectReason.
KEPT, BAD_SEED, REJECT_SHORT, REJECT_LONG, REJECT_CSF, REJECT_WHITE, SEED_TOO_DEEP = 0, 1, 2, 3, 4, 5, 6

GO_ON = 0
"""Neither stopped nor rejected."""

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]

N_EXTRA = 3
INSIDE, PEAK, FA = -3, -2, -1
"""Columns of `Field.rows` after the coefficients: what is interpolated along with them at no extra cost."""


class Field(NamedTuple):
    """Where directions come from: see `kernels.tracking.field.pack_field`."""

    rows: NDArray[np.float32]
    """(n_voxels + 1, n_columns): SH coefficients, zeros up to a multiple of eight columns, and last the three extra
    columns: 1 (inside the mask), the highest amplitude, FA (1 where FA stops nothing). The last row is all zeros."""
    row_of: NDArray[np.int32]
    """(nx + 2, ny + 2, nz + 2): row of each voxel, with a border of voxels outside the mask on every side."""


class Sphere(NamedTuple):
    """The directions that can be taken. The second half of them is the first half reversed."""

    basis: NDArray[np.float32]
    """(n, n_columns): SH basis at each direction, zeros in the other columns of `Field.rows`."""
    directions: NDArray[np.float64]
    """(n, 3): unit vectors, world."""
    steps: NDArray[np.float64]
    """(n, 3): one step along each direction, voxel units of the field's grid."""
    half: NDArray[np.int32]
    """(n / 2,): indices of the first half."""
    cone_starts: NDArray[np.int32]
    cone_members: NDArray[np.int32]
    """Directions within the largest turn of a step, as given by `kernels.directions.cones`."""


class Tissue(NamedTuple):
    """Anatomical constraints."""

    fractions: NDArray[np.float32]
    """(x, y, z, 5) in five-tissue-type order, or (0, 0, 0, 5) where there are none."""
    is_plain: NDArray[np.uint8]
    """(x - 1, y - 1, z - 1): 1 where the tissue cannot stop a streamline between eight voxels: see `plain_cells`."""
    from_field: NDArray[np.float64]
    """(3, 4): voxel coordinates of the field's grid to those of the tissue grid."""
    crop: bool
    """Whether the end in cortex is moved back to the grey-white interface."""


class Rules(NamedTuple):
    """Numbers that end or reject a streamline."""

    cutoff: float
    fa_threshold: float
    step_mm: float
    min_length_mm: float
    max_points: int
    max_backtrack: int
    """How many points back from the furthest one a stuck streamline tries again; 0 for never."""
    max_seed_depth: int
    """Furthest that the seed may lie from the nearer end, in steps along the streamline."""


class Scratch(NamedTuple):
    """One worker's memory, so that nothing is allocated while tracking."""

    taken: Ints
    """(max_points,): direction in which each point was reached."""
    tangents: Doubles
    """(max_points, 3): the same as unit vectors, world, for the method that is not bound to the sphere's directions."""
    sh: Floats
    """(n_columns,): the field at the last point."""
    amplitudes: Floats
    """(n,): running total of amplitudes over the candidate directions."""
    fractions: Doubles
    """(5,): tissue at the last point."""
