"""All displacements at once: each volume is sampled a single time, whatever was found about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tractome.stages.preprocess.distortion import Distortion
from tractome.stages.preprocess.motion import Frame, Motion, measured_at
from tractome.stages.preprocess.volumes import in_threads


def resample_scan(
    volumes: NDArray[np.float32],
    motions: Sequence[Motion],
    frame: Frame,
    distortion: Distortion | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Bring every volume to the undistorted reference head.

    A voxel's signal was shown further along the phase-encode axis by susceptibility, the head was then moved, and eddy
    currents moved the picture once more; it is fetched from there, times the stretch of both displacements.

    Parameters
    ----------
    volumes : (v, x, y, z) float32
        As they were measured.
    motions : sequence of Motion
    frame : Frame
    distortion : Distortion or None
        In the place of the reference head.
    progress : callable or None

    Returns
    -------
    (x, y, z, v) float32
        Not negative; 0 where the head was outside the field of view.
    """
    from scipy.ndimage import map_coordinates, spline_filter

    shape = frame.grid.shape
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).reshape(-1, 3)
    points = frame.grid.to_world(voxels)
    own_stretch = np.ones(len(points))
    if distortion is not None:
        points = points + distortion.displacement_mm.reshape(-1, 1).astype(np.float64) * frame.phase_mm
        own_stretch = distortion.stretch.reshape(-1).astype(np.float64)
    upper = np.array(shape)[:, None] - 0.5

    def one(volume: int) -> NDArray[np.float32]:
        where, stretch = measured_at(motions[volume], frame, points)
        values: NDArray[np.float64] = np.asarray(volumes[volume], dtype=np.float64)
        # Cubic: linear sampling would blur, the more the larger the motion.
        coefficients = spline_filter(values, order=3, mode="nearest")
        found = map_coordinates(coefficients, where, order=3, mode="nearest", prefilter=False)
        inside = ((where >= -0.5) & (where <= upper)).all(axis=0)
        signal = np.where(inside, found * stretch * own_stretch, 0.0)
        return np.maximum(signal, 0.0).astype(np.float32).reshape(shape)

    result = np.empty((*shape, len(volumes)), dtype=np.float32)
    for volume, values in enumerate(in_threads(one, range(len(volumes)), progress)):
        result[..., volume] = values
    return result
