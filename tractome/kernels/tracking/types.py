"""What the engine is given, and the codes of what it answers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PROBABILISTIC, DETERMINISTIC = 0, 1
METHODS = {"probabilistic": PROBABILISTIC, "deterministic": DETERMINISTIC}

# Why an end stopped: values of datatypes.tractogram.StopReason.
LEFT_MASK, LOW_SIGNAL, ENTERED_CORTEX, ENTERED_DEEP_GREY, ENTERED_CSF, LEFT_IMAGE, TOO_LONG = 1, 2, 3, 4, 5, 6, 7
# Why a streamline was thrown away: values of datatypes.tractogram.RejectReason.
KEPT, BAD_SEED, REJECT_SHORT, REJECT_LONG, REJECT_CSF, REJECT_WHITE, SEED_TOO_DEEP = 0, 1, 2, 3, 4, 5, 6

GO_ON = 0
"""Neither stopped nor rejected."""

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]


class Field(NamedTuple):
    """Where directions come from."""

    rows: NDArray[np.float32]
    """(n_voxels, n_coeffs): SH coefficients, packed."""
    row_of: NDArray[np.int32]
    """(nx, ny, nz): row of each voxel, -1 outside the mask."""
    fa: NDArray[np.float32]
    """(nx, ny, nz), or (0, 0, 0) where FA does not stop a streamline."""


class Sphere(NamedTuple):
    """The directions that can be taken."""

    basis: NDArray[np.float32]
    """(n, n_coeffs): SH basis at each direction."""
    steps: NDArray[np.float64]
    """(n, 3): one step along each direction, voxel units of the field's grid."""
    cone_starts: NDArray[np.int32]
    cone_members: NDArray[np.int32]
    """As given by `kernels.directions.cones`."""


class Tissue(NamedTuple):
    """Anatomical constraints."""

    fractions: NDArray[np.float32]
    """(x, y, z, 5) in five-tissue-type order, or (0, 0, 0, 5) where there are none."""
    from_field: NDArray[np.float64]
    """(3, 4): voxel coordinates of the field's grid to those of the tissue grid."""
    crop: bool
    """Whether the end in cortex is moved back to the grey-white interface."""


class Rules(NamedTuple):
    """Numbers that end or reject a streamline."""

    method: int
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
    """(max_points,): direction by which each point was reached."""
    sh: Floats
    """(n_coeffs,): the orientation field at the last point."""
    amplitudes: Floats
    """(n,): running total of amplitudes over the candidate directions."""
    fractions: Doubles
    """(5,): tissue at the last point."""
