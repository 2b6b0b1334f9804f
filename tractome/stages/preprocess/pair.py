"""Two b0 images of opposite phase encoding: heads aligned and distortion found in turns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.stages.preprocess.align import fit_motion, lattice_of, smoothed
from tractome.stages.preprocess.distortion import Distortion, Progress, corrected, from_pair
from tractome.stages.preprocess.motion import Frame, Motion, still
from tractome.stages.preprocess.resample import resample_scan

N_TURNS = 2
_SMOOTHING_MM, _SPACING_MM = 2.0, 4.0


def distortion_from_pair(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    mask: NDArray[np.bool_],
    frame: Frame,
    ratio: float,
    progress: Progress | None = None,
) -> tuple[Distortion, Motion]:
    """Distortion of `first`, and how the head moved until `second`.

    Parameters
    ----------
    first, second : (x, y, z) float32
        On the same grid.
    mask : (x, y, z) bool
        Brain, with some room around it.
    frame : Frame
    ratio : float
        Displacement of `second` over that of `first`, negative.
    progress : callable or None
    """
    motion = still(0)
    axis = frame.phase_axis
    lattice = lattice_of(mask, frame.grid, _SPACING_MM)
    found: Distortion | None = None
    for _ in range(N_TURNS):
        moved = resample_scan(second[None], [motion], frame)[..., 0]
        found = from_pair(first, moved, mask, frame.grid, axis, ratio, progress)
        d = found.displacement_mm.astype(np.float64)
        target = smoothed(corrected(first, d, frame.grid, axis)[None], frame.grid, _SMOOTHING_MM)[0]
        # What `second` would show without distortion, moved back to where it was measured.
        flat = corrected(moved, ratio * d, frame.grid, axis)
        flat = smoothed(flat[None], frame.grid, _SMOOTHING_MM)[0]
        at = tuple(lattice.voxels.T)
        step = fit_motion(flat, target[at], still(0), frame, lattice)
        motion = Motion(motion.matrix @ step.matrix, motion.eddy_mm)
    assert found is not None
    return found, motion
