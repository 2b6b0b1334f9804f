"""Where streamlines start: random numbers for seeds, and the way from a seed to the grey-white interface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel
from tractome.kernels.interpolation import multi_trilinear
from tractome.kernels.random import keyed_uniform, stream_key
from tractome.kernels.tracking.types import Doubles

N_SEED_DRAWS = 4
"""Draws of a streamline's random stream that belong to its seed; tracking takes those after them."""

_STEP_VOX = 0.25
_MARGIN = 0.004
"""Of a step: how far a seed stays on the side of white matter, above the rounding of single precision."""


@kernel
def seed_uniforms(seed: np.uint64, first_index: int, n: int) -> Doubles:
    """Uniform numbers in [0, 1) for the seeds `first_index` to ``first_index + n``, (n, N_SEED_DRAWS) float64."""
    drawn = np.empty((n, N_SEED_DRAWS))
    for item in range(n):
        key = stream_key(seed, np.uint64(first_index + item))
        for draw in range(N_SEED_DRAWS):
            drawn[item, draw] = keyed_uniform(key, np.uint64(draw))
    return drawn


@kernel
def _excess_of_grey(fractions: NDArray[np.float32], x: float, y: float, z: float, values: Doubles) -> float:
    """Grey minus white matter at a point, in voxel coordinates of the tissue map; positive where CSF leads."""
    multi_trilinear(fractions, x, y, z, values)
    grey, white, csf = values[0] + values[1], values[2] + values[4], values[3]
    return max(grey, csf) - white


@kernel
def move_to_interface(fractions: NDArray[np.float32], points: Doubles, n_steps: int) -> NDArray[np.bool_]:
    """Move each point to the surface where grey and white matter are equal, up or down the steepest way.

    Parameters
    ----------
    fractions : (x, y, z, 5) float32
        In five-tissue-type order.
    points : (n, 3) float64
        Voxel coordinates of the tissue map; moved in place, onto the surface and a thousandth of a voxel back towards
        white matter.
    n_steps : int
        How many quarters of a voxel a point may move at most.

    Returns
    -------
    (n,) bool
        Whether the surface was found, with grey matter and not CSF behind it.
    """
    found = np.zeros(points.shape[0], np.bool_)
    values, way = np.empty(5), np.empty(3)
    for item in range(points.shape[0]):
        x, y, z = points[item, 0], points[item, 1], points[item, 2]
        is_grey = _excess_of_grey(fractions, x, y, z, values) > 0.0
        for _ in range(n_steps):
            for axis in range(3):
                dx, dy, dz = _STEP_VOX * (axis == 0), _STEP_VOX * (axis == 1), _STEP_VOX * (axis == 2)
                way[axis] = _excess_of_grey(fractions, x + dx, y + dy, z + dz, values)
                way[axis] -= _excess_of_grey(fractions, x - dx, y - dy, z - dz, values)
            norm = np.sqrt(way[0] * way[0] + way[1] * way[1] + way[2] * way[2])
            if norm == 0.0:
                break
            step = (-_STEP_VOX if is_grey else _STEP_VOX) / norm
            dx, dy, dz = step * way[0], step * way[1], step * way[2]
            if (_excess_of_grey(fractions, x + dx, y + dy, z + dz, values) > 0.0) == is_grey:
                x, y, z = x + dx, y + dy, z + dz
                continue
            white, grey = (1.0, 0.0) if is_grey else (0.0, 1.0)
            for _ in range(18):
                middle = 0.5 * (white + grey)
                if _excess_of_grey(fractions, x + middle * dx, y + middle * dy, z + middle * dz, values) > 0.0:
                    grey = middle
                else:
                    white = middle
            _excess_of_grey(fractions, x + grey * dx, y + grey * dy, z + grey * dz, values)
            is_found = values[0] + values[1] > values[3]
            white += _MARGIN if is_grey else -_MARGIN
            x, y, z = x + white * dx, y + white * dy, z + white * dz
            _excess_of_grey(fractions, x, y, z, values)
            # Where the map ends there is no tissue, and no interface.
            found[item] = is_found and values[0] + values[1] + values[2] + values[3] + values[4] >= 0.5
            points[item, 0], points[item, 1], points[item, 2] = x, y, z
            break
    return found


@kernel
def nearest_directions(directions: Doubles, wanted: Doubles) -> NDArray[np.int32]:
    """Index of the direction (n, 3) that makes the smallest angle with each wanted one (m, 3); -1 for one of zeros."""
    nearest = np.full(wanted.shape[0], -1, np.int32)
    for item in range(wanted.shape[0]):
        best = 0.0
        for i in range(directions.shape[0]):
            cosine = (
                directions[i, 0] * wanted[item, 0]
                + directions[i, 1] * wanted[item, 1]
                + directions[i, 2] * wanted[item, 2]
            )
            if cosine > best:
                nearest[item], best = i, cosine
    return nearest
