"""How a streamline takes its next step: a method is one type here, with its tables, and one row of `METHODS`.

The engine calls `set_out` at a seed and `advance` at each step. Which function that is follows from the type of the
first argument when the engine is compiled, so that a user waits only for the method that is used.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tractome.kernels._jit import bare_kernel, kernel_by_type
from tractome.kernels.random import keyed_bits
from tractome.kernels.tracking.choice import best_direction, draw_direction, split_draw
from tractome.kernels.tracking.field import amplitude, look
from tractome.kernels.tracking.types import Doubles, Field, Floats, Ints, Rules, Scratch, Sphere

_ONE = np.uint64(1)

_N_TRIES = 128
"""Candidates of a curve that are tried before there is said to be none."""


class FirstOrder(NamedTuple):
    """One straight step in a direction of the cone around the last one.

    The direction is drawn in proportion to the amplitude at the last point, or is that of the highest.
    """

    is_deterministic: bool


class SecondOrder(NamedTuple):
    """An arc of circle, in proportion to the mean amplitude along it (Tournier, Calamante and Connelly 2010, iFOD2).

    The arc leaves in the last direction and arrives in one of the cone around that; its amplitude is the geometric
    mean of those at its middle and at its end, each along the arc there, and 0 where one is below the cutoff.
    """

    middles: Ints
    """(m,): for each member of a cone the direction nearest to the middle of the arc."""
    weights: Doubles
    """(m, 3): of the first and last direction's sum for the arc's end; of the first and of the last for its middle."""
    ceilings: Floats
    """(nx, ny, nz): highest amplitude anywhere within reach of the points of each voxel."""


class Transport(NamedTuple):
    """Parallel transport: a curve of random curvature, in proportion to the mean amplitude along a probe of it.

    Aydogan and Shi, "Parallel transport tractography", IEEE TMI 2021. The curvature is drawn evenly from a disk anew at
    each step, so that the frame around the tangent can be any.
    """

    nearest: Ints
    """(m, m): direction of the sphere nearest to each cell of an octahedral map."""
    from_world: Doubles
    """(3, 3): mm to voxel units of the field's grid."""
    ceilings: Floats
    """As those of `SecondOrder`."""
    max_curvature: float
    """Per mm."""
    probe_mm: float
    n_samples: int
    """Places along the probe where the amplitude is taken, the last at its end."""


def set_out(method: Any, sphere: Sphere, direction: int, n: int, scratch: Scratch) -> None:
    """Set out from point n - 1 in a direction of the sphere."""


def advance(
    method: Any,
    field: Field,
    sphere: Sphere,
    rules: Rules,
    key: np.uint64,
    draw: np.uint64,
    is_drawn: bool,
    n: int,
    points: Floats,
    scratch: Scratch,
) -> tuple[bool, np.uint64]:
    """Put point n, with the field there in ``scratch.sh``, where a direction can be had.

    The field at point n - 1 is in ``scratch.sh``. Where `is_drawn`, the direction of the step out of the seed is drawn
    already. Returns whether there is a point, and the next draw.
    """
    raise NotImplementedError


@kernel_by_type(set_out, FirstOrder, SecondOrder)
def _set_out_on_sphere(method: Any, sphere: Sphere, direction: int, n: int, scratch: Scratch) -> None:
    scratch.taken[n - 1] = direction


@kernel_by_type(set_out, Transport)
def _set_out_in_space(method: Any, sphere: Sphere, direction: int, n: int, scratch: Scratch) -> None:
    for axis in range(3):
        scratch.tangents[n - 1, axis] = sphere.directions[direction, axis]


@kernel_by_type(advance, FirstOrder)
def _advance_first_order(
    method: Any, field: Field, sphere: Sphere, rules: Rules, key: np.uint64, draw: np.uint64, is_drawn: bool, n: int,
    points: Floats, scratch: Scratch,
) -> tuple[bool, np.uint64]:  # fmt: skip
    direction = scratch.taken[n - 1]
    if not is_drawn:
        direction, draw = next_direction(method, sphere, rules, direction, key, draw, scratch)
        if direction < 0:
            return False, draw
    scratch.taken[n] = direction
    for axis in range(3):
        points[n, axis] = points[n - 1, axis] + sphere.steps[direction, axis]
    look(field.rows, field.row_of, points[n, 0], points[n, 1], points[n, 2], scratch.sh)
    return True, draw


@bare_kernel
def next_direction(
    method: FirstOrder, sphere: Sphere, rules: Rules, axis: int, key: np.uint64, draw: np.uint64, scratch: Scratch
) -> tuple[int, np.uint64]:
    """A direction of the cone around `axis` by the field in ``scratch.sh``, or -1; and the next draw."""
    start, stop = sphere.cone_starts[axis], sphere.cone_starts[axis + 1]
    if method.is_deterministic:
        return best_direction(sphere.basis, sphere.cone_members, start, stop, rules.cutoff, scratch.sh), draw
    return draw_direction(
        sphere.basis, sphere.cone_members, start, stop, rules.cutoff, scratch.sh, key, draw, scratch.amplitudes
    )


@bare_kernel
def _ceiling(ceilings: Floats, points: Floats, n: int) -> np.float32:
    """Highest amplitude within reach of point n."""
    x, y, z = points[n, 0], points[n, 1], points[n, 2]
    return ceilings[int(np.floor(x + 0.5)), int(np.floor(y + 0.5)), int(np.floor(z + 0.5))]


@kernel_by_type(advance, SecondOrder)
def _advance_second_order(
    method: Any, field: Field, sphere: Sphere, rules: Rules, key: np.uint64, draw: np.uint64, is_drawn: bool, n: int,
    points: Floats, scratch: Scratch,
) -> tuple[bool, np.uint64]:  # fmt: skip
    last = scratch.taken[n - 1]
    start = sphere.cone_starts[last]
    n_candidates = sphere.cone_starts[last + 1] - start
    ceiling = _ceiling(method.ceilings, points, n - 1)
    if ceiling < rules.cutoff:
        return False, draw
    x, y, z = np.float64(points[n - 1, 0]), np.float64(points[n - 1, 1]), np.float64(points[n - 1, 2])
    ax, ay, az = sphere.steps[last, 0], sphere.steps[last, 1], sphere.steps[last, 2]
    for _ in range(_N_TRIES):
        index, u = split_draw(keyed_bits(key, draw), n_candidates)
        draw += _ONE
        slot = start + index
        direction = sphere.cone_members[slot]
        bx, by, bz = sphere.steps[direction, 0], sphere.steps[direction, 1], sphere.steps[direction, 2]
        p, q = method.weights[slot, 1], method.weights[slot, 2]
        look(field.rows, field.row_of, x + p * ax + q * bx, y + p * ay + q * by, z + p * az + q * bz, scratch.sh)
        middle = amplitude(sphere.basis, method.middles[slot], scratch.sh)
        # sqrt(middle * end) > u * ceiling, and the end is at most the ceiling.
        least = u * u * ceiling
        if middle < rules.cutoff or middle <= least:
            continue
        w = method.weights[slot, 0]
        for axis in range(3):
            points[n, axis] = points[n - 1, axis] + w * (sphere.steps[last, axis] + sphere.steps[direction, axis])
        look(field.rows, field.row_of, points[n, 0], points[n, 1], points[n, 2], scratch.sh)
        end = amplitude(sphere.basis, direction, scratch.sh)
        if end >= rules.cutoff and middle * end > least * ceiling:
            scratch.taken[n] = direction
            return True, draw
    return False, draw


@bare_kernel
def nearest_direction(nearest: Ints, x: float, y: float, z: float) -> int:
    """Direction of the sphere near a unit vector, by an octahedral map (Cigolle et al. 2014)."""
    scale = 1.0 / (abs(x) + abs(y) + abs(z))
    u, v = x * scale, y * scale
    if z < 0.0:
        u, v = (1.0 - abs(v)) * (1.0 if u >= 0.0 else -1.0), (1.0 - abs(u)) * (1.0 if v >= 0.0 else -1.0)
    n = nearest.shape[0]
    return nearest[min(int((u + 1.0) * (0.5 * n)), n - 1), min(int((v + 1.0) * (0.5 * n)), n - 1)]


@kernel_by_type(advance, Transport)
def _advance_transport(
    method: Any, field: Field, sphere: Sphere, rules: Rules, key: np.uint64, draw: np.uint64, is_drawn: bool, n: int,
    points: Floats, scratch: Scratch,
) -> tuple[bool, np.uint64]:  # fmt: skip
    ceiling = np.float64(_ceiling(method.ceilings, points, n - 1))
    if ceiling < rules.cutoff:
        return False, draw
    tangents, m = scratch.tangents, method.from_world
    tx, ty, tz = tangents[n - 1, 0], tangents[n - 1, 1], tangents[n - 1, 2]
    # Any two axes across the tangent (Duff et al., "Building an orthonormal basis, revisited", JCGT 2017).
    sign = 1.0 if tz >= 0.0 else -1.0
    a = -1.0 / (sign + tz)
    b = tx * ty * a
    e1x, e1y, e1z = 1.0 + sign * tx * tx * a, sign * b, -sign * tx
    e2x, e2y, e2z = b, sign + ty * ty * a, -ty
    part_mm = method.probe_mm / method.n_samples
    for _ in range(_N_TRIES):
        # Evenly from a disk: by rejection from its square.
        while True:
            bits = keyed_bits(key, draw)
            draw += _ONE
            k1 = np.float64(bits >> np.uint64(40)) * 2.0**-23 - 1.0
            k2 = np.float64((bits >> np.uint64(16)) & np.uint64(0xFFFFFF)) * 2.0**-23 - 1.0
            radius = np.sqrt(k1 * k1 + k2 * k2)
            if 0.0 < radius <= 1.0:
                break
        u = np.float64(keyed_bits(key, draw) >> np.uint64(11)) * 2.0**-53
        draw += _ONE
        curvature = radius * method.max_curvature
        bend_x = (k1 * e1x + k2 * e2x) / radius
        bend_y = (k1 * e1y + k2 * e2y) / radius
        bend_z = (k1 * e1z + k2 * e2z) / radius
        support, is_possible = 0.0, True
        for sample in range(1, method.n_samples + 1):
            angle = curvature * part_mm * sample
            along, across = np.sin(angle), np.cos(angle)
            dx, dy, dz = across * tx + along * bend_x, across * ty + along * bend_y, across * tz + along * bend_z
            f, g = along / curvature, (1.0 - across) / curvature
            px, py, pz = f * tx + g * bend_x, f * ty + g * bend_y, f * tz + g * bend_z
            look(
                field.rows, field.row_of,
                points[n - 1, 0] + m[0, 0] * px + m[0, 1] * py + m[0, 2] * pz,
                points[n - 1, 1] + m[1, 0] * px + m[1, 1] * py + m[1, 2] * pz,
                points[n - 1, 2] + m[2, 0] * px + m[2, 1] * py + m[2, 2] * pz,
                scratch.sh,
            )  # fmt: skip
            value = np.float64(amplitude(sphere.basis, nearest_direction(method.nearest, dx, dy, dz), scratch.sh))
            if value < rules.cutoff:
                is_possible = False
                break
            support += value
            # What is left of the probe can add no more than the ceiling each.
            if support + (method.n_samples - sample) * ceiling <= u * ceiling * method.n_samples:
                is_possible = False
                break
        if is_possible:
            angle = curvature * rules.step_mm
            along, across = np.sin(angle), np.cos(angle)
            f, g = along / curvature, (1.0 - across) / curvature
            px, py, pz = f * tx + g * bend_x, f * ty + g * bend_y, f * tz + g * bend_z
            for axis in range(3):
                points[n, axis] = points[n - 1, axis] + m[axis, 0] * px + m[axis, 1] * py + m[axis, 2] * pz
            dx, dy, dz = across * tx + along * bend_x, across * ty + along * bend_y, across * tz + along * bend_z
            norm = 1.0 / np.sqrt(dx * dx + dy * dy + dz * dz)
            tangents[n, 0], tangents[n, 1], tangents[n, 2] = dx * norm, dy * norm, dz * norm
            look(field.rows, field.row_of, points[n, 0], points[n, 1], points[n, 2], scratch.sh)
            return True, draw
    return False, draw
