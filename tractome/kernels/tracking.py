"""The tracking engine: one streamline per seed, from an orientation field, in voxel coordinates.

One engine serves every method: a method is a rule for choosing the next direction among those of a fixed sphere that
lie inside a cone around the last one. Positions are voxel coordinates of the field's grid, directions are world
unit vectors; a step of one direction is `Sphere.steps` of it, already in voxel units.

Anatomical rules and back-tracking follow Smith et al., "Anatomically-constrained tractography", NeuroImage 2012.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel, parallel_kernel, prange
from tractome.kernels.interpolation import multi_trilinear, packed_trilinear, trilinear
from tractome.kernels.random import keyed_uniform, stream_key

PROBABILISTIC, DETERMINISTIC = 0, 1
METHODS = {"probabilistic": PROBABILISTIC, "deterministic": DETERMINISTIC}

# Why an end stopped: values of datatypes.tractogram.StopReason.
LEFT_MASK, LOW_SIGNAL, ENTERED_CORTEX, ENTERED_DEEP_GREY, ENTERED_CSF, LEFT_IMAGE, TOO_LONG = 1, 2, 3, 4, 5, 6, 7
# Why a streamline was thrown away: values of datatypes.tractogram.RejectReason.
KEPT, BAD_SEED, REJECT_SHORT, REJECT_LONG, REJECT_CSF, REJECT_WHITE, SEED_TOO_DEEP = 0, 1, 2, 3, 4, 5, 6

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]

_GO_ON = 0
_BELOW_ONE = 1 - 2.0**-24
"""Largest number below 1 in single precision: a draw above it must not round up to the whole."""
_SEEDS_PER_WORKER = 32


class Field(NamedTuple):
    """Where directions come from."""

    rows: NDArray[np.float32]
    """(n_voxels, n_coeffs): SH coefficients, packed."""
    row_of: NDArray[np.int32]
    """(nx, ny, nz): row of each voxel, -1 outside the mask."""
    fa: NDArray[np.float32]
    """(nx, ny, nz), or (0, 0, 0) where FA does not stop a streamline."""


class Sphere(NamedTuple):
    """The directions that can be taken."""

    basis: NDArray[np.float32]
    """(n, n_coeffs): SH basis at each direction."""
    steps: NDArray[np.float64]
    """(n, 3): one step along each direction, voxel units of the field's grid."""
    cone_starts: NDArray[np.int32]
    cone_members: NDArray[np.int32]
    """As given by `kernels.directions.cones`."""


class Tissue(NamedTuple):
    """Anatomical constraints."""

    fractions: NDArray[np.float32]
    """(x, y, z, 5) in five-tissue-type order, or (0, 0, 0, 5) where there are none."""
    from_field: NDArray[np.float64]
    """(3, 4): voxel coordinates of the field's grid to those of the tissue grid."""
    crop: bool
    """Whether the end in cortex is moved back to the grey-white interface."""


class Rules(NamedTuple):
    """Numbers that end or reject a streamline."""

    method: int
    cutoff: float
    fa_threshold: float
    step_mm: float
    min_length_mm: float
    max_points: int
    max_backtrack: int
    """How many points back from the furthest one a stuck streamline tries again; 0 for never."""
    max_seed_depth: int
    """Furthest that the seed may lie from the nearer end, in steps along the streamline."""


class Scratch(NamedTuple):
    """One worker's memory, so that nothing is allocated while tracking."""

    taken: Ints
    """(max_points,): direction by which each point was reached."""
    sh: Floats
    """(n_coeffs,): the orientation field at the last point."""
    amplitudes: Floats
    """(n,): running total of amplitudes over the candidate directions."""
    fractions: Doubles
    """(5,): tissue at the last point."""


@parallel_kernel
def track_block(
    seed: np.uint64,
    first_index: int,
    seed_centres: NDArray[np.float64],
    seed_axes: NDArray[np.float64],
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
    seed_centres : (n, 3) float64
        Centres of the voxels to seed in, voxel coordinates of the field's grid.
    seed_axes : (3, 3) float64
        Columns are the axes of a seed voxel: the seed is jittered over the whole voxel.
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
                key, seed_centres, seed_axes, field, sphere, tissue, rules, points[item], verdicts[item], scratch
            )


@kernel
def _track_seed(
    key: np.uint64,
    seed_centres: Doubles,
    seed_axes: Doubles,
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
    centre = seed_centres[int(keyed_uniform(key, np.uint64(0)) * seed_centres.shape[0])]
    for axis in range(3):
        points[0, axis] = centre[axis]
    for corner in range(3):
        jitter = keyed_uniform(key, np.uint64(1 + corner)) - 0.5
        for axis in range(3):
            points[0, axis] += seed_axes[axis, corner] * jitter
    draw = np.uint64(4)
    here = _arrive(field, tissue, rules, points[0], scratch)
    if here != _GO_ON:
        verdict[0] = BAD_SEED
        return 0
    direction = _start_direction(sphere, rules, keyed_uniform(key, draw), scratch)
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
        reason = _reason_to_reject(tissue, stop)
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
        stop = _GO_ON
        if n == limit:
            return n, TOO_LONG, draw
        direction = scratch.taken[n - 1]
        if not is_first:
            direction = _next_direction(sphere, rules, direction, keyed_uniform(key, draw), scratch)
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
        if stop == _GO_ON:
            continue
        if _reason_to_reject(tissue, stop) == KEPT:
            if stop == ENTERED_CORTEX and tissue.crop:
                _crop_to_interface(tissue, points, n, scratch.fractions)
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
        stop = _tissue_stop(tissue, x, y, z, scratch.fractions)
        if stop != _GO_ON:
            return stop
        packed_trilinear(field.rows, field.row_of, x, y, z, scratch.sh)
        return _GO_ON
    if packed_trilinear(field.rows, field.row_of, x, y, z, scratch.sh) < 0.5:
        return LEFT_MASK
    if field.fa.shape[0] > 0 and trilinear(field.fa, x, y, z) < rules.fa_threshold:
        return LOW_SIGNAL
    return _GO_ON


@kernel
def _tissue_stop(tissue: Tissue, x: float, y: float, z: float, fractions: Doubles) -> int:
    """What the tissue at a point (voxel coordinates of the field) means for a streamline that arrives there."""
    m = tissue.from_field
    multi_trilinear(
        tissue.fractions,
        m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3],
        m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3],
        m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3],
        fractions,
    )
    grey, white, csf = fractions[0] + fractions[1], fractions[2] + fractions[4], fractions[3]
    if grey + white + csf < 0.5:
        return LEFT_MASK
    if csf >= grey and csf >= white:
        return ENTERED_CSF
    if grey > white:
        return ENTERED_CORTEX if fractions[0] >= fractions[1] else ENTERED_DEEP_GREY
    return _GO_ON


@kernel
def _reason_to_reject(tissue: Tissue, stop: int) -> int:
    """Reason to throw a streamline away that has such an end, or `KEPT`."""
    if stop == TOO_LONG:
        return REJECT_LONG
    if tissue.fractions.shape[0] > 0:
        if stop == ENTERED_CSF:
            return REJECT_CSF
        if stop == LOW_SIGNAL:
            return REJECT_WHITE
    return KEPT


@kernel
def _start_direction(sphere: Sphere, rules: Rules, u: float, scratch: Scratch) -> int:
    """A direction of the whole (half) sphere, drawn in proportion to the amplitude above the cutoff; -1 for none."""
    n_half = sphere.steps.shape[0] // 2
    total = np.float32(0.0)
    for direction in range(n_half):
        total += _amplitude(sphere, scratch.sh, direction, rules.cutoff)
        scratch.amplitudes[direction] = total
    return _draw(scratch.amplitudes, n_half, u)


@kernel
def _next_direction(sphere: Sphere, rules: Rules, axis: int, u: float, scratch: Scratch) -> int:
    """The next direction inside the cone around `axis`; -1 where none has an amplitude above the cutoff."""
    start, stop = sphere.cone_starts[axis], sphere.cone_starts[axis + 1]
    if rules.method == DETERMINISTIC:
        best, highest = -1, np.float32(0.0)
        for slot in range(start, stop):
            direction = sphere.cone_members[slot]
            value = _amplitude(sphere, scratch.sh, direction, rules.cutoff)
            if value > highest:
                best, highest = direction, value
        return best
    total = np.float32(0.0)
    for slot in range(start, stop):
        total += _amplitude(sphere, scratch.sh, sphere.cone_members[slot], rules.cutoff)
        scratch.amplitudes[slot - start] = total
    chosen = _draw(scratch.amplitudes, stop - start, u)
    return sphere.cone_members[start + chosen] if chosen >= 0 else -1


@kernel
def _amplitude(sphere: Sphere, sh: Floats, direction: int, cutoff: float) -> np.float32:
    """Amplitude of the interpolated orientation field along a direction; 0 below the cutoff."""
    row = sphere.basis[direction]
    value = np.float32(0.0)
    for coefficient in range(row.shape[0]):
        value += row[coefficient] * sh[coefficient]
    return value if value >= cutoff else np.float32(0.0)


@kernel
def _draw(cumulative: Floats, n: int, u: float) -> int:
    """First of n indices whose running total exceeds a share `u` in [0, 1) of the whole; -1 where that is 0."""
    if n == 0 or cumulative[n - 1] <= 0:
        return -1
    target = np.float32(min(u, _BELOW_ONE)) * cumulative[n - 1]
    low, high = 0, n - 1
    while low < high:
        middle = (low + high) // 2
        if cumulative[middle] > target:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def _reverse(points: Floats, n: int) -> None:
    """Turn the first n points round."""
    for i in range(n // 2):
        for axis in range(3):
            points[i, axis], points[n - 1 - i, axis] = points[n - 1 - i, axis], points[i, axis]


@kernel
def _crop_to_interface(tissue: Tissue, points: Floats, n: int, fractions: Doubles) -> None:
    """Move the last point back along its segment to where it entered the cortex (to 1/64 of a step)."""
    low, high = 0.0, 1.0
    x0, y0, z0 = np.float64(points[n - 2, 0]), np.float64(points[n - 2, 1]), np.float64(points[n - 2, 2])
    dx, dy, dz = points[n - 1, 0] - x0, points[n - 1, 1] - y0, points[n - 1, 2] - z0
    for _ in range(6):
        middle = 0.5 * (low + high)
        if _tissue_stop(tissue, x0 + middle * dx, y0 + middle * dy, z0 + middle * dz, fractions) == _GO_ON:
            low = middle
        else:
            high = middle
    points[n - 1, 0], points[n - 1, 1], points[n - 1, 2] = x0 + high * dx, y0 + high * dy, z0 + high * dz


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
