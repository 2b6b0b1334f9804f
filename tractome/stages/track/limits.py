"""Step, turn and length in force: what was asked for, or what the voxel size says."""

from __future__ import annotations

import numpy as np

from tractome.datatypes.grid import Grid
from tractome.options import TrackOptions


def step_size_mm(options: TrackOptions, grid: Grid) -> float:
    """Step in force: what was asked for, or a quarter of the mean voxel size."""
    if options.step_size_mm is not None:
        return options.step_size_mm
    return 0.25 * float(np.cbrt(grid.voxel_volume_mm3))


def max_angle_deg(options: TrackOptions, grid: Grid) -> float:
    """Largest turn per step in force: what was asked for, or 15 degrees in a quarter of a voxel, 45 at most."""
    if options.max_angle_deg is not None:
        return options.max_angle_deg
    quarter_voxel_mm = 0.25 * float(np.cbrt(grid.voxel_volume_mm3))
    return min(45.0, 15.0 * step_size_mm(options, grid) / quarter_voxel_mm)


def min_length_mm(options: TrackOptions, grid: Grid, *, has_tissue: bool) -> float:
    """Shortest length in force: what was asked for, or 2 voxels with a tissue map and 5 without one."""
    if options.min_length_mm is not None:
        return options.min_length_mm
    return (2.0 if has_tissue else 5.0) * float(np.cbrt(grid.voxel_volume_mm3))
