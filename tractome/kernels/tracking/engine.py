"""From a seed to a streamline."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel, parallel_kernel, prange
from tractome.kernels.interpolation import packed_trilinear, trilinear
from tractome.kernels.random import keyed_uniform, stream_key
from tractome.kernels.tracking.anatomy import crop_to_interface, reason_to_reject, tissue_stop
from tractome.kernels.tracking.choice import next_direction, start_direction
from tractome.kernels.tracking.seeding import N_SEED_DRAWS
from tractome.kernels.tracking.types import (
    BAD_SEED,
    ENTERED_CORTEX,
    GO_ON,
    KEPT,
    LEFT_IMAGE,
    LEFT_MASK,
    LOW_SIGNAL,
    REJECT_SHORT,
    SEED_TOO_DEEP,
    TOO_LONG,
    Field,
    Floats,
    Rules,
    Scratch,
    Sphere,
    Tissue,
)

_SEEDS_PER_WORKER = 32


@parallel_kernel
def track_block(
    seed: np.uint64,
    first_index: int,
    seed_points: NDArray[np.float32],
    seed_directions: NDArray[np.int32],
    field: Field,
    sphere: Sphere,
    tissue: Tissue,
    rules: Rules,
    points: NDArray[np.float32],
    n_points: NDArray[np.int32],
    verdicts: NDArray[np.int8],
) -> None:
    """Track a block of consecutive seed indices.

    Parameters
    ----------
    seed : uint64
        Random seed of the whole run.
    first_index : int
        Index of the first seed of the block: seed i of the run gives the same streamline in any block.
    seed_points : (n_block, 3) float32
        Where each streamline starts, voxel coordinates of the field's grid.
    seed_directions : (n_block,) int32
        The start is drawn in the cone around this direction of the sphere; -1 for anywhere on the sphere.
    field, sphere, tissue, rules
        See the classes.
    points : (n_block, max_points, 3) float32
        Receives the points, voxel coordinates of the field's grid.
    n_points : (n_block,) int32
        Receives the number of points of each streamline; 0 when rejected.
    verdicts : (n_block, 3) int8
        Receives the reason of rejection (0: accepted), and why the first and the last end stopped.
    """
    n_block = n_points.shape[0]
    n_workers = (n_block + _SEEDS_PER_WORKER - 1) // _SEEDS_PER_WORKER
    for worker in prange(n_workers):
        scratch = Scratch(
            np.empty(rules.max_points, np.int32),
            np.empty(field.rows.shape[1], np.float32),
            np.empty(sphere.steps.shape[0], np.float32),
            np.empty(5, np.float64),
        )
        for item in range(worker * _SEEDS_PER_WORKER, min((worker + 1) * _SEEDS_PER_WORKER, n_block)):
            key = stream_key(seed, np.uint64(first_index + item))
            n_points[item] = _track_seed(
                key, seed_points[item], seed_directions[item], field, sphere, tissue, rules, points[item],
                verdicts[item], scratch,
            )  # fmt: skip


@kernel
def _track_seed(
    key: np.uint64,
    seed_point: Floats,
    seed_direction: int,
    field: Field,
    sphere: Sphere,
    tissue: Tissue,
    rules: Rules,
    points: Floats,
    verdict: NDArray[np.int8],
    scratch: Scratch,
) -> int:
    """Track both ways from one seed; return the number of points, 0 when rejected."""
    verdict[:] = 0
    for axis in range(3):
        points[0, axis] = seed_point[axis]
    draw = np.uint64(N_SEED_DRAWS)
    here = _arrive(field, tissue, rules, points[0], scratch)
    if here != GO_ON:
        verdict[0] = BAD_SEED
        return 0
    if seed_direction < 0:
        direction = start_direction(sphere, rules, keyed_uniform(key, draw), scratch)
    else:
        direction = next_direction(sphere, rules, seed_direction, keyed_uniform(key, draw), scratch)
    draw += np.uint64(1)
    if direction < 0:
        verdict[0] = BAD_SEED
        return 0
    n_directions = sphere.steps.shape[0]
    n = 1
    limit = rules.max_points
    for end in range(2):
        # The second half of the sphere is the first half reversed.
        scratch.taken[n - 1] = direction if end == 0 else (direction + n_directions // 2) % n_directions
        n, stop, draw = _grow(key, draw, n, limit, field, sphere, tissue, rules, points, scratch)
        verdict[1 + end] = stop
        reason = reason_to_reject(tissue, stop)
        if reason != KEPT:
            verdict[0] = SEED_TOO_DEEP if stop == TOO_LONG and limit < rules.max_points else reason
            return 0
        if end == 0:
            _reverse(points, n)
            if n - 1 > rules.max_seed_depth:
                limit = min(limit, n + rules.max_seed_depth)
    if n < 2 or (n - 1) * rules.step_mm < rules.min_length_mm:
        verdict[0] = REJECT_SHORT
        return 0
    return n


@kernel
def _grow(
    key: np.uint64,
    draw: np.uint64,
    n: int,
    limit: int,
    field: Field,
    sphere: Sphere,
    tissue: Tissue,
    rules: Rules,
    points: Floats,
    scratch: Scratch,
) -> tuple[int, int, np.uint64]:
    """Add points to one end until it stops; return the number of points, the reason and the next draw."""
    n_start = n
    n_furthest, n_back = n, 0
    is_first = n == 1
    _arrive(field, tissue, rules, points[n - 1], scratch)
    while True:
        stop = GO_ON
        if n == limit:
            return n, TOO_LONG, draw
        direction = scratch.taken[n - 1]
        if not is_first:
            direction = next_direction(sphere, rules, direction, keyed_uniform(key, draw), scratch)
            draw += np.uint64(1)
        is_first = False
        if direction < 0:
            stop = LOW_SIGNAL
        else:
            for axis in range(3):
                points[n, axis] = points[n - 1, axis] + sphere.steps[direction, axis]
            scratch.taken[n] = direction
            n += 1
            stop = _arrive(field, tissue, rules, points[n - 1], scratch)
        if stop == GO_ON:
            continue
        if reason_to_reject(tissue, stop) == KEPT:
            if stop == ENTERED_CORTEX and tissue.crop:
                crop_to_interface(tissue, points, n, scratch.fractions)
            return n, stop, draw
        # Stuck: go back from the furthest point reached, one step more at each failure, and try again from there.
        if n > n_furthest:
            n_furthest, n_back = n, 0
        n_back += 1
        if n_back > rules.max_backtrack or n_furthest - n_back <= n_start:
            return n, stop, draw
        n = n_furthest - n_back
        _arrive(field, tissue, rules, points[n - 1], scratch)


@kernel
def _arrive(field: Field, tissue: Tissue, rules: Rules, point: Floats, scratch: Scratch) -> int:
    """Why a streamline stops at this point, or 0 with the orientation field interpolated into `sh`."""
    x, y, z = np.float64(point[0]), np.float64(point[1]), np.float64(point[2])
    nx, ny, nz = field.row_of.shape
    if not (-0.5 <= x < nx - 0.5 and -0.5 <= y < ny - 0.5 and -0.5 <= z < nz - 0.5):
        return LEFT_IMAGE
    if tissue.fractions.shape[0] > 0:
        stop = tissue_stop(tissue, x, y, z, scratch.fractions)
        if stop != GO_ON:
            return stop
        packed_trilinear(field.rows, field.row_of, x, y, z, scratch.sh)
        return GO_ON
    if packed_trilinear(field.rows, field.row_of, x, y, z, scratch.sh) < 0.5:
        return LEFT_MASK
    if field.fa.shape[0] > 0 and trilinear(field.fa, x, y, z) < rules.fa_threshold:
        return LOW_SIGNAL
    return GO_ON


@kernel
def _reverse(points: Floats, n: int) -> None:
    """Turn the first n points round."""
    for i in range(n // 2):
        for axis in range(3):
            points[i, axis], points[n - 1 - i, axis] = points[n - 1 - i, axis], points[i, axis]


@kernel
def gather(
    points: NDArray[np.float32],
    accepted: NDArray[np.intp],
    offsets: NDArray[np.int64],
    affine: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Join the accepted streamlines of a block, and bring them from voxel coordinates to `affine`'s frame.

    Parameters
    ----------
    points : (n_block, max_points, 3) float32
    accepted : (n,) int
        Which streamlines.
    offsets : (n + 1,) int64
        Where each goes.
    affine : (4, 4) float64
        Voxel -> world.

    Returns
    -------
    (offsets[-1], 3) float32
    """
    joined = np.empty((offsets[-1], 3), np.float32)
    for item in range(accepted.shape[0]):
        streamline = points[accepted[item]]
        start = offsets[item]
        for i in range(offsets[item + 1] - start):
            x, y, z = np.float64(streamline[i, 0]), np.float64(streamline[i, 1]), np.float64(streamline[i, 2])
            for axis in range(3):
                joined[start + i, axis] = (
                    affine[axis, 0] * x + affine[axis, 1] * y + affine[axis, 2] * z + affine[axis, 3]
                )
    return joined
