"""Slow twins of the tracking methods: how the next point is found, by plain geometry.

A twin's way of going is a direction of the sphere or a unit vector. It takes from the kernel's method what is a table
or a number, not what is computed in a step.
"""

from __future__ import annotations

import math

import numpy as np


def turned(vector, axis, angle):
    """A vector turned about a unit axis by an angle in radians (Rodrigues)."""
    vector, axis = np.asarray(vector, float), np.asarray(axis, float)
    return (
        vector * np.cos(angle) + np.cross(axis, vector) * np.sin(angle) + axis * (axis @ vector) * (1 - np.cos(angle))
    )


def arc(first, last, length, share):
    """Where an arc of circle from the origin is after a share of its length, and its direction there.

    It leaves in the unit vector `first` and arrives in `last`, and turns about what is across both.
    """
    axis = np.cross(first, last)
    if np.linalg.norm(axis) < 1e-12:
        return share * length * first, first
    angle = math.atan2(np.linalg.norm(axis), first @ last)
    axis = axis / np.linalg.norm(axis)
    centre = np.cross(axis, first) * length / angle
    return centre + turned(-centre, axis, share * angle), turned(first, axis, share * angle)


def parallel_curve(tangent, bend, curvature, length):
    """The same for a curve that leaves in `tangent` and bends towards the unit vector `bend` across it."""
    axis, centre = np.cross(tangent, bend), bend / curvature
    return centre + turned(-centre, axis, curvature * length), turned(tangent, axis, curvature * length)


def frame(tangent):
    """Two unit vectors across a tangent: x and y, taken along as z (or -z, the nearer) is turned onto the tangent."""
    sign = 1.0 if tangent[2] >= 0 else -1.0
    pole = np.array([0, 0, sign])
    axis = np.cross(pole, tangent)
    if np.linalg.norm(axis) < 1e-12:
        return np.array([1.0, 0, 0]), np.array([0, sign, 0])
    angle = math.atan2(np.linalg.norm(axis), pole @ tangent)
    axis = axis / np.linalg.norm(axis)
    return turned([1, 0, 0], axis, angle), sign * turned([0, 1, 0], axis, angle)


def octahedral_cell(direction, n):
    """Cell of an octahedral map of n by n cells that a direction falls in.

    The direction is brought onto the octahedron |x| + |y| + |z| = 1, whose lower half is folded out over the edges of
    the upper one: a point there goes to its mirror image in the edge of its quadrant.
    """
    x, y, z = np.asarray(direction, float) / np.abs(direction).sum()
    if z < 0:
        # Mirrored in the line |x| + |y| = 1 of the quadrant.
        beyond = 1 - abs(x) - abs(y)
        x, y = x + math.copysign(beyond, x), y + math.copysign(beyond, y)
    return tuple(min(int((value + 1) / 2 * n), n - 1) for value in (x, y))


class FirstOrder:
    """One straight step; the direction is drawn from the cone, or the best of it."""

    def __init__(self, tracker):
        self.tracker = tracker

    def set_out(self, direction):
        return direction

    def advance(self, point, way, is_drawn, draws):
        tracker = self.tracker
        if not is_drawn:
            _, sh = tracker.look(point)
            choose = tracker.best if tracker.method.is_deterministic else tracker.draw
            way = choose(tracker.cone(way), sh, draws)
        return None if way is None else (tracker.stored(point + tracker.sphere.steps[way]), way)


class _Curves:
    """Draws whole curves under a ceiling."""

    def __init__(self, tracker):
        self.tracker = tracker
        sphere, step_mm = tracker.sphere, tracker.rules.step_mm
        self.from_world = np.linalg.lstsq(step_mm * sphere.directions, sphere.steps, rcond=None)[0].T

    def ceiling(self, point):
        return float(self.tracker.method.ceilings[tuple(np.floor(np.asarray(point, float) + 0.5).astype(int))])

    def amplitude(self, point, offset_mm, direction):
        """Along a direction of the sphere, a world vector away from a point in voxels; 0 below the cutoff."""
        sh = self.tracker.field_at(point + self.from_world @ offset_mm)
        return float(self.tracker.amplitudes(np.array([direction]), sh)[0])


class SecondOrder(_Curves):
    """An arc of one step, under the geometric mean of the amplitudes at its middle and its end."""

    def set_out(self, direction):
        return direction

    def advance(self, point, way, is_drawn, draws):
        sphere, step_mm, highest = self.tracker.sphere, self.tracker.rules.step_mm, self.ceiling(point)
        if highest < self.tracker.rules.cutoff:
            return None
        cone = self.tracker.cone(way)
        for _ in range(128):
            bits = next(draws)
            slot, height = (bits >> 32) * len(cone) >> 32, (bits % 2**32 >> 8) / 2**24
            direction = int(cone[slot])
            first, last = sphere.directions[way], sphere.directions[direction]
            to_middle, _ = arc(first, last, step_mm, 0.5)
            to_end, _ = arc(first, last, step_mm, 1.0)
            # The table says which direction is the nearest where several are.
            nearest = self.tracker.method.middles[sphere.cone_starts[way] + slot]
            there = self.amplitude(point, to_middle, nearest), self.amplitude(point, to_end, direction)
            if min(there) > 0 and math.sqrt(there[0] * there[1]) > height * highest:
                return self.tracker.stored(point + self.from_world @ to_end), direction
        return None


class Transport(_Curves):
    """A curve of random curvature, under the mean of the amplitudes along a probe of it."""

    def set_out(self, direction):
        return self.tracker.sphere.directions[direction]

    def advance(self, point, way, is_drawn, draws):
        method, highest = self.tracker.method, self.ceiling(point)
        if highest < self.tracker.rules.cutoff:
            return None
        across = frame(way)
        lengths = method.probe_mm * np.arange(1, method.n_samples + 1) / method.n_samples
        for _ in range(128):
            k = self.in_disk(draws)
            height = (next(draws) >> 11) / 2**53
            radius = np.linalg.norm(k)
            bend, curvature = (k[0] * across[0] + k[1] * across[1]) / radius, radius * method.max_curvature
            if self.support(point, way, bend, curvature, lengths) > height * highest:
                offset, direction = parallel_curve(way, bend, curvature, self.tracker.rules.step_mm)
                return self.tracker.stored(point + self.from_world @ offset), direction
        return None

    def support(self, point, way, bend, curvature, lengths):
        """Mean amplitude along the probe; 0 where one is below the cutoff."""
        nearest, total = self.tracker.method.nearest, 0.0
        for length in lengths:
            offset, direction = parallel_curve(way, bend, curvature, length)
            there = self.amplitude(point, offset, nearest[octahedral_cell(direction, len(nearest))])
            if there == 0:
                return 0.0
            total += there
        return total / len(lengths)

    @staticmethod
    def in_disk(draws):
        """Two numbers from one draw, its upper 24 bits and the 24 after them, until they lie in the unit disk."""
        while True:
            bits = next(draws)
            k = np.array([bits >> 40, (bits >> 16) % 2**24]) / 2**23 - 1
            if 0 < np.linalg.norm(k) <= 1:
                return k


METHOD_TWINS = {"FirstOrder": FirstOrder, "SecondOrder": SecondOrder, "Transport": Transport}
