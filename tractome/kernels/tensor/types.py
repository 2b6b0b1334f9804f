"""Numbers that every part of the tensor fit shares."""

from __future__ import annotations

FITTED = 0
NOT_DETERMINED = 1
NOT_POSITIVE_DEFINITE = 2
REJECTION_REFUSED = 4
"""Status of a voxel, added up: too few usable signals for the seven unknowns; an eigenvalue that is not positive;
outliers were found and kept, because without them the tensor would hang on too few measurements."""

B_SCALE_S_PER_MM2 = 1000.0
"""b-values are divided by this inside the kernels, so that all unknowns are of order one."""

N_UNKNOWNS = 7
VOXELS_PER_TASK = 128
