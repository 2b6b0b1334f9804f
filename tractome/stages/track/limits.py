"""Step, turn, length and number in force: what was asked for, or what the voxel size and the seeds say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tractome.datatypes.grid import Grid
from tractome.options import DEFAULT_STREAMLINES, TrackOptions

_HOPELESS = 1000
"""Tracking gives up when so many times `max_seeds_per_streamline` seeds gave no streamline at all."""


_DEFAULT_STEP = {"second-order": 0.5}
"""Of the mean voxel size; a quarter for the methods that are not here."""

_DEFAULT_TURN_DEG = {"second-order": 11.25, "parallel-transport": 12.0}
"""In a quarter of the mean voxel size; 15 degrees for the methods that are not here. Measured on phantoms of known
wiring: more turns find more short bundles, and more that are not there."""

_DEFAULT_PROBE = 0.5
"""Of the mean voxel size."""


def step_size_mm(options: TrackOptions, grid: Grid) -> float:
    """Step in force: what was asked for, or a share of the mean voxel size: half for arcs, a quarter otherwise."""
    if options.step_size_mm is not None:
        return options.step_size_mm
    return _DEFAULT_STEP.get(options.method, 0.25) * float(np.cbrt(grid.voxel_volume_mm3))


def max_angle_deg(options: TrackOptions, grid: Grid) -> float:
    """Largest turn per step in force: what was asked for, or the method's in proportion to the step, 45 at most."""
    if options.max_angle_deg is not None:
        return options.max_angle_deg
    quarter_voxel_mm = 0.25 * float(np.cbrt(grid.voxel_volume_mm3))
    turn_deg = _DEFAULT_TURN_DEG.get(options.method, 15.0)
    return min(45.0, turn_deg * step_size_mm(options, grid) / quarter_voxel_mm)


def probe_length_mm(options: TrackOptions, grid: Grid) -> float:
    """How far parallel transport looks ahead: half of the mean voxel size, a step at least."""
    return max(step_size_mm(options, grid), _DEFAULT_PROBE * float(np.cbrt(grid.voxel_volume_mm3)))


def min_length_mm(options: TrackOptions, grid: Grid, *, has_tissue: bool) -> float:
    """Shortest length in force: what was asked for, or 2 voxels with a tissue map and 5 without one."""
    if options.min_length_mm is not None:
        return options.min_length_mm
    return (2.0 if has_tissue else 5.0) * float(np.cbrt(grid.voxel_volume_mm3))


@dataclass(frozen=True)
class Goal:
    """When tracking ends.

    Parameters
    ----------
    n_wanted : int or None
        Accepted streamlines to stop at; None to try all seeds.
    n_seeds : int
        Seeds to try at most.
    n_hopeless : int
        Seeds to try while none gave a streamline.
    """

    n_wanted: int | None
    n_seeds: int
    n_hopeless: int

    @classmethod
    def of(cls, options: TrackOptions, n_source: int | None) -> Goal:
        """The goal that the options set, where the source of seeds has `n_source` of them (None: no end)."""
        if options.n_seeds is not None:
            n_seeds = options.n_seeds if n_source is None else min(options.n_seeds, n_source)
            return cls(None, n_seeds, n_seeds)
        if n_source is not None:
            return cls(options.n_streamlines, n_source, n_source)
        n_wanted = options.n_streamlines or DEFAULT_STREAMLINES
        if options.until_cv is not None:
            n_wanted = options.max_streamlines
        n_seeds = n_wanted * options.max_seeds_per_streamline
        # Where nothing at all is accepted, more of the same seeds will not help.
        return cls(n_wanted, n_seeds, min(n_seeds, _HOPELESS * options.max_seeds_per_streamline))

    def n_left(self, n_accepted: int, n_tried: int) -> int:
        """How many more seeds may be tried; 0 at the end."""
        if self.n_wanted is not None and n_accepted >= self.n_wanted:
            return 0
        return (self.n_seeds if n_accepted else self.n_hopeless) - n_tried
