"""From a seed to a streamline."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import bare_kernel, kernel, sweep
from tractome.kernels.random import stream_key
from tractome.kernels.tracking.anatomy import crop_to_interface, reason_to_reject, tissue_stop
from tractome.kernels.tracking.choice import draw_direction
from tractome.kernels.tracking.field import look
from tractome.kernels.tracking.methods import FirstOrder, SecondOrder, Transport, advance, set_out
from tractome.kernels.tracking.seeding import N_SEED_DRAWS
from tractome.kernels.tracking.types import (
    BAD_SEED,
    ENTERED_CORTEX,
    FA,
    GO_ON,
    INSIDE,
    KEPT,
    LEFT_IMAGE,
    LEFT_MASK,
    LOW_SIGNAL,
    REJECT_SHORT,
    SEED_TOO_DEEP,
    TOO_LONG,
    Field,
    Floats,
    Ints,
    Rules,
    Scratch,
    Sphere,
    Tissue,
)

_SEEDS_PER_PIECE = 128
_STREAMLINES_PER_PIECE = 500


def track_block(
    seed: int,
    first_index: int,
    seed_points: NDArray[np.float32],
    seed_directions: NDArray[np.int32],
    method: FirstOrder | SecondOrder | Transport,
    field: Field,
    sphere: Sphere,
    tissue: Tissue,
    rules: Rules,
    points: NDArray[np.float32],
    n_points: NDArray[np.int32],
    verdicts: NDArray[np.int8],
) -> None:
    """Track a block of consecutive seed indices, on as many threads as are set.

    Parameters
    ----------
    seed : int
        Random seed of the whole run, 0 to 2^63 - 1.
    first_index : int
        Index of the first seed of the block: seed i of the run gives the same streamline in any block.
    seed_points : (n_block, 3) float32
        Where each streamline starts, voxel coordinates of the field's grid.
    seed_directions : (n_block,) int32
        The start is drawn in the cone around this direction of the sphere; -1 for anywhere on the sphere.
    method
        One of the types of `kernels.tracking.methods`.
    field, sphere, tissue, rules
        See the classes.
    points : (n_block, max_points, 3) float32
        Receives the points, voxel coordinates of the field's grid.
    n_points : (n_block,) int32
        Receives the number of points of each streamline; 0 when rejected.
    verdicts : (n_block, 3) int8
        Receives the reason of rejection (0: accepted), and why the first and the last end stopped.
    """
    sweep(
        _track_seeds, 0, len(n_points), _SEEDS_PER_PIECE, np.uint64(seed), first_index, seed_points, seed_directions,
        method, field, sphere, tissue, rules, points, n_points, verdicts,
    )  # fmt: skip


@kernel
def _track_seeds(
    begin: int,
    end: int,
    seed: np.uint64,
    first_index: int,
    seed_points: Floats,
    seed_directions: Ints,
    method: Any,
    field: Field,
    sphere: Sphere,
    tissue: Tissue,
    rules: Rules,
    points: Floats,
    n_points: Ints,
    verdicts: NDArray[np.int8],
) -> None:
    """Track the seeds `begin` to `end` of a block."""
    scratch = Scratch(
        np.empty(rules.max_points, np.int32),
        np.empty((rules.max_points, 3), np.float64),
        np.empty(field.rows.shape[1], np.float32),
        np.empty(sphere.steps.shape[0], np.float32),
        np.empty(5, np.float64),
    )
    for item in range(begin, end):
        n_points[item] = _track_seed(
            stream_key(seed, np.uint64(first_index + item)), seed_points[item], seed_directions[item], method, field,
            sphere, tissue, rules, points[item], verdicts[item], scratch,
        )  # fmt: skip


@bare_kernel
def _track_seed(
    key: np.uint64,
    seed_point: Floats,
    seed_direction: int,
    method: Any,
    field: Field,
    sphere: Sphere,
    tissue: Tissue,
    rules: Rules,
    points: Floats,
    verdict: NDArray[np.int8],
    scratch: Scratch,
) -> int:
    """Track both ways from one seed; return the number of points, 0 when rejected."""
    verdict[0], verdict[1], verdict[2] = 0, 0, 0
    for axis in range(3):
        points[0, axis] = seed_point[axis]
    draw = np.uint64(N_SEED_DRAWS)
    look(field.rows, field.row_of, points[0, 0], points[0, 1], points[0, 2], scratch.sh)
    if _stop_at(field, tissue, rules, points, 0, scratch) != GO_ON:
        verdict[0] = BAD_SEED
        return 0
    if seed_direction < 0:
        members, start, stop = sphere.half, 0, sphere.half.shape[0]
    else:
        members = sphere.cone_members
        start, stop = int(sphere.cone_starts[seed_direction]), int(sphere.cone_starts[seed_direction + 1])
    direction, draw = draw_direction(
        sphere.basis, members, start, stop, rules.cutoff, scratch.sh, key, draw, scratch.amplitudes
    )
    if direction < 0:
        verdict[0] = BAD_SEED
        return 0
    n_directions = sphere.steps.shape[0]
    n = 1
    limit = rules.max_points
    for end in range(2):
        # The second half of the sphere is the first half reversed.
        here = direction if end == 0 else (direction + n_directions // 2) % n_directions
        set_out(method, sphere, here, n, scratch)
        n, stop, draw = _grow(key, draw, n, limit, method, field, sphere, tissue, rules, points, scratch)
        verdict[1 + end] = stop
        reason = reason_to_reject(tissue, stop)
        if reason != KEPT:
            verdict[0] = SEED_TOO_DEEP if stop == TOO_LONG and limit < rules.max_points else reason
            return 0
        if end == 0:
            _reverse(points, n)
            look(field.rows, field.row_of, points[n - 1, 0], points[n - 1, 1], points[n - 1, 2], scratch.sh)
            if n - 1 > rules.max_seed_depth:
                limit = min(limit, n + rules.max_seed_depth)
    if n < 2 or (n - 1) * rules.step_mm < rules.min_length_mm:
        verdict[0] = REJECT_SHORT
        return 0
    return n


@bare_kernel
def _grow(
    key: np.uint64,
    draw: np.uint64,
    n: int,
    limit: int,
    method: Any,
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
    is_drawn = n == 1
    while True:
        if n == limit:
            return n, TOO_LONG, draw
        has_moved, draw = advance(method, field, sphere, rules, key, draw, is_drawn, n, points, scratch)
        is_drawn = False
        if has_moved:
            n += 1
            stop = _stop_at(field, tissue, rules, points, n - 1, scratch)
            if stop == GO_ON:
                continue
        else:
            stop = LOW_SIGNAL
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
        look(field.rows, field.row_of, points[n - 1, 0], points[n - 1, 1], points[n - 1, 2], scratch.sh)


@bare_kernel
def _stop_at(field: Field, tissue: Tissue, rules: Rules, points: Floats, n: int, scratch: Scratch) -> int:
    """Why a streamline stops at point n, where the field is in ``scratch.sh``; 0 where it goes on."""
    x, y, z = np.float64(points[n, 0]), np.float64(points[n, 1]), np.float64(points[n, 2])
    nx, ny, nz = field.row_of.shape
    if not (-0.5 <= x < nx - 2.5 and -0.5 <= y < ny - 2.5 and -0.5 <= z < nz - 2.5):
        return LEFT_IMAGE
    if tissue.fractions.shape[0] > 0:
        return tissue_stop(tissue, x, y, z, scratch.fractions)
    if scratch.sh[INSIDE] < 0.5:
        return LEFT_MASK
    if scratch.sh[FA] < rules.fa_threshold:
        return LOW_SIGNAL
    return GO_ON


@bare_kernel
def _reverse(points: Floats, n: int) -> None:
    """Turn the first n points round."""
    for i in range(n // 2):
        for axis in range(3):
            points[i, axis], points[n - 1 - i, axis] = points[n - 1 - i, axis], points[i, axis]


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
    joined = np.empty((int(offsets[-1]), 3), np.float32)
    sweep(_gather_some, 0, len(accepted), _STREAMLINES_PER_PIECE, points, accepted, offsets, affine, joined)
    return joined


@kernel
def _gather_some(
    begin: int,
    end: int,
    points: NDArray[np.float32],
    accepted: NDArray[np.intp],
    offsets: NDArray[np.int64],
    affine: NDArray[np.float64],
    joined: NDArray[np.float32],
) -> None:
    for item in range(begin, end):
        streamline = points[accepted[item]]
        start = offsets[item]
        for i in range(offsets[item + 1] - start):
            x, y, z = np.float64(streamline[i, 0]), np.float64(streamline[i, 1]), np.float64(streamline[i, 2])
            for axis in range(3):
                joined[start + i, axis] = (
                    affine[axis, 0] * x + affine[axis, 1] * y + affine[axis, 2] * z + affine[axis, 3]
                )
