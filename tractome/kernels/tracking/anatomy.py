"""What tissue does to a streamline, after Smith et al. 2012."""

from __future__ import annotations

import numpy as np

from tractome.kernels._jit import bare_kernel
from tractome.kernels.interpolation import multi_trilinear
from tractome.kernels.tracking.types import (
    ENTERED_CORTEX,
    ENTERED_CSF,
    ENTERED_DEEP_GREY,
    GO_ON,
    KEPT,
    LEFT_MASK,
    LOW_SIGNAL,
    REJECT_CSF,
    REJECT_LONG,
    REJECT_WHITE,
    TOO_LONG,
    Doubles,
    Floats,
    Tissue,
)


@bare_kernel
def tissue_stop(tissue: Tissue, x: float, y: float, z: float, fractions: Doubles) -> int:
    """What the tissue at a point (voxel coordinates of the field) means for a streamline that arrives there."""
    m = tissue.from_field
    tx = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
    ty = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
    tz = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
    cells = tissue.is_plain
    i, j, k = int(np.floor(tx)), int(np.floor(ty)), int(np.floor(tz))
    if 0 <= i < cells.shape[0] and 0 <= j < cells.shape[1] and 0 <= k < cells.shape[2] and cells[i, j, k]:
        return GO_ON
    multi_trilinear(tissue.fractions, tx, ty, tz, fractions)
    grey, white, csf = fractions[0] + fractions[1], fractions[2] + fractions[4], fractions[3]
    if grey + white + csf < 0.5:
        return LEFT_MASK
    if csf >= grey and csf >= white:
        return ENTERED_CSF
    if grey > white:
        return ENTERED_CORTEX if fractions[0] >= fractions[1] else ENTERED_DEEP_GREY
    return GO_ON


@bare_kernel
def reason_to_reject(tissue: Tissue, stop: int) -> int:
    """Reason to throw a streamline away that has such an end, or `KEPT`."""
    if stop == TOO_LONG:
        return REJECT_LONG
    if tissue.fractions.shape[0] > 0:
        if stop == ENTERED_CSF:
            return REJECT_CSF
        if stop == LOW_SIGNAL:
            return REJECT_WHITE
    return KEPT


@bare_kernel
def crop_to_interface(tissue: Tissue, points: Floats, n: int, fractions: Doubles) -> None:
    """Move the last point back along its segment to where it entered the cortex (to 1/64 of a step)."""
    low, high = 0.0, 1.0
    x0, y0, z0 = np.float64(points[n - 2, 0]), np.float64(points[n - 2, 1]), np.float64(points[n - 2, 2])
    dx, dy, dz = points[n - 1, 0] - x0, points[n - 1, 1] - y0, points[n - 1, 2] - z0
    for _ in range(6):
        middle = 0.5 * (low + high)
        if tissue_stop(tissue, x0 + middle * dx, y0 + middle * dy, z0 + middle * dz, fractions) == GO_ON:
            low = middle
        else:
            high = middle
    points[n - 1, 0], points[n - 1, 1], points[n - 1, 2] = x0 + high * dx, y0 + high * dy, z0 + high * dz
