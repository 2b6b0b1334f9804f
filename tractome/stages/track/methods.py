"""The tables that each tracking method needs, from the options: a method is one row of `METHODS`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.options import TrackOptions
from tractome.stages.track.limits import max_angle_deg, probe_length_mm, step_size_mm

if TYPE_CHECKING:
    from tractome.kernels.tracking import Field, FirstOrder, SecondOrder, Sphere, Transport

_MAP_SIZE = 128
"""Cells along each side of the octahedral map: about a degree each, two at their corners."""

_N_PROBE_SAMPLES = 4
"""Places along the probe of parallel transport (Aydogan and Shi 2021)."""


def _probabilistic(options: TrackOptions, grid: Grid, sphere: Sphere, field: Field) -> FirstOrder:
    from tractome.kernels.tracking import FirstOrder

    return FirstOrder(False)


def _deterministic(options: TrackOptions, grid: Grid, sphere: Sphere, field: Field) -> FirstOrder:
    from tractome.kernels.tracking import FirstOrder

    return FirstOrder(True)


def _second_order(options: TrackOptions, grid: Grid, sphere: Sphere, field: Field) -> SecondOrder:
    from scipy.spatial import cKDTree

    from tractome.kernels.tracking import SecondOrder

    directions = sphere.directions
    first = directions[np.repeat(np.arange(len(directions)), np.diff(sphere.cone_starts))]
    last = directions[sphere.cone_members]
    middle = first + last
    middle /= np.linalg.norm(middle, axis=1)[:, None]
    quarter_turn = 0.5 * np.arccos(np.clip((first * middle).sum(axis=1), -1, 1))
    # The chord of an arc that turns by t is sin(t / 2) / (t / 2) of its length, along the mean of its two directions.
    sum_to_mean = 0.5 / np.cos(2 * quarter_turn)
    to_end = np.sinc(2 * quarter_turn / np.pi) * sum_to_mean
    to_middle = 0.25 * np.sinc(quarter_turn / np.pi) / np.cos(quarter_turn)
    weights = np.stack([to_end, to_middle * (1 + sum_to_mean), to_middle * sum_to_mean], axis=1)
    nearest = np.asarray(cKDTree(directions).query(middle)[1], np.int32)
    ceilings = amplitude_ceilings(field, step_size_mm(options, grid), grid)
    return SecondOrder(nearest, np.ascontiguousarray(weights), ceilings)


def _parallel_transport(options: TrackOptions, grid: Grid, sphere: Sphere, field: Field) -> Transport:
    from scipy.spatial import cKDTree

    from tractome.kernels.tracking import Transport

    nearest = np.asarray(cKDTree(sphere.directions).query(octahedral_directions(_MAP_SIZE))[1], np.int32)
    probe_mm = probe_length_mm(options, grid)
    return Transport(
        nearest,
        np.ascontiguousarray(grid.inverse[:3, :3]),
        amplitude_ceilings(field, probe_mm, grid),
        math.radians(max_angle_deg(options, grid)) / step_size_mm(options, grid),
        probe_mm,
        _N_PROBE_SAMPLES,
    )


METHODS: dict[str, Callable[[TrackOptions, Grid, Sphere, Field], Any]] = {
    "probabilistic": _probabilistic,
    "second-order": _second_order,
    "parallel-transport": _parallel_transport,
    "deterministic": _deterministic,
}


def octahedral_directions(n: int) -> NDArray[np.float64]:
    """Unit vectors (n, n, 3) at the centres of the cells of an octahedral map (Cigolle et al. 2014)."""
    u, v = np.meshgrid(*[(np.arange(n) + 0.5) / n * 2 - 1] * 2, indexing="ij")
    z = 1 - np.abs(u) - np.abs(v)
    x = np.where(z >= 0, u, (1 - np.abs(v)) * np.where(u >= 0, 1, -1))
    y = np.where(z >= 0, v, (1 - np.abs(u)) * np.where(v >= 0, 1, -1))
    vectors = np.stack([x, y, z], axis=-1)
    unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def amplitude_ceilings(field: Field, reach_mm: float, grid: Grid) -> NDArray[np.float32]:
    """Highest amplitude within reach of the points of each voxel, (nx, ny, nz)."""
    from scipy.ndimage import maximum_filter1d

    from tractome.kernels.tracking.types import PEAK

    peaks = field.rows[:, PEAK][field.row_of[1:-1, 1:-1, 1:-1]]
    # Voxels per mm along the steepest way: more than one over the voxel size where the axes are not square.
    for axis, per_mm in enumerate(np.linalg.norm(grid.inverse[:3, :3], axis=1)):
        # A point of a voxel is up to half of one from its centre; a hair is taken off, not to round up to one more.
        reach = math.ceil(reach_mm * float(per_mm) + 0.5 - 1e-6)
        peaks = maximum_filter1d(peaks, 2 * reach + 1, axis=axis, mode="constant")
    # Interpolation rounds.
    return np.ascontiguousarray(peaks * np.float32(1.0001))
