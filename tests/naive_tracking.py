"""Slow twins of the tracking kernels: random numbers, directions, interpolation, and the whole engine."""

from __future__ import annotations

import numpy as np
from naive_methods import METHOD_TWINS

_WORD = 2**64
_CORNERS = np.array(list(np.ndindex(2, 2, 2)))


def mix(value):
    """SplitMix64's finaliser, in Python's own integers."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % _WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % _WORD
    return value ^ (value >> 31)


def stream_key(seed, stream):
    seed, stream = int(seed), int(stream)
    return mix((mix((seed + 0x9E3779B97F4A7C15) % _WORD) + stream * 0xD1B54A32D192ED03) % _WORD)


def random_bits(seed, stream, draw):
    key = stream_key(seed, stream)
    return mix(mix((key + (draw + 1) * 0x9E3779B97F4A7C15) % _WORD) ^ key)


def uniform(seed, stream, draw):
    return (random_bits(seed, stream, draw) >> 11) / 2**53


def cone(directions, axis, max_angle_deg):
    """Indices of the directions within an angle of direction number `axis`."""
    angles = np.degrees(np.arccos(np.clip(directions @ directions[axis], -1, 1)))
    return np.flatnonzero(angles <= max_angle_deg + 1e-4)


def corner_weights(shape, point):
    """The voxels around a point that exist, (n, 3), and the trilinear weight of each, (n,)."""
    low = np.floor(point).astype(int)
    share = np.asarray(point, float) - low
    voxels = low + _CORNERS
    exists = ((voxels >= 0) & (voxels < shape)).all(axis=1)
    weights = np.where(_CORNERS == 1, share, 1 - share).prod(axis=1)
    return voxels[exists], weights[exists]


def interpolate(volume, point):
    """Trilinear, of a volume (nx, ny, nz) or (nx, ny, nz, k); zeros outside."""
    voxels, weights = corner_weights(volume.shape[:3], point)
    return np.tensordot(weights, volume[tuple(voxels.T)].astype(float), axes=1)


def interpolate_packed(rows, row_of, point):
    """Trilinear, of rows packed by a mask; also the share of the weights inside it."""
    voxels, weights = corner_weights(row_of.shape, point)
    row = row_of[tuple(voxels.T)]
    weights, row = weights[row >= 0], row[row >= 0]
    return weights @ rows[row].astype(float), weights.sum()


def pack_field(coefficients, mask, fa, basis):
    """Rows as the engine reads them, by voxel: an image (nx, ny, nz, n_columns) with zeros outside the mask."""
    n_coeffs, n_columns = coefficients.shape[1], basis.shape[1]
    image = np.zeros((*mask.shape, n_columns))
    for number, voxel in enumerate(np.argwhere(mask)):
        row = np.where(np.isfinite(coefficients[number]), coefficients[number], 0)
        image[tuple(voxel)][:n_coeffs] = row
        highest = max(0, *(basis[:, :n_coeffs].astype(float) @ row))
        share = 1 if fa is None else fa[number] if np.isfinite(fa[number]) else 0
        image[tuple(voxel)][-3:] = 1, highest, share
    return image


class Tissues:
    """What a tissue map means for a streamline."""

    def __init__(self, tissue):
        self.tissue = tissue

    def stop(self, point):
        there = self.tissue.from_field @ np.append(point, 1)
        cortex, deep, white, csf, lesion = interpolate(self.tissue.fractions, there)
        grey, white = cortex + deep, white + lesion
        if grey + white + csf < 0.5:
            return "LEFT_MASK"
        if csf >= max(grey, white):
            return "ENTERED_CSF"
        if grey > white:
            return "ENTERED_CORTEX" if cortex >= deep else "ENTERED_DEEP_GREY"
        return ""


class Tracker:
    """The tracking engine, one streamline at a time, in plain Python.

    Takes the same arrays as the kernel; what it does with them is written from the rules, not from the kernel:
    a streamline is a list of points and a list of the ways (see naive_methods) by which they were reached.
    """

    def __init__(self, method, field, sphere, tissue, rules):
        self.method, self.sphere, self.tissue, self.rules = method, sphere, tissue, rules
        self.tissues = Tissues(tissue)
        # The kernel's rows carry more than coefficients, and a border of voxels that are outside of the mask.
        self.rows = field.rows[:-1]
        self.row_of = np.where(field.row_of == len(self.rows), -1, field.row_of)[1:-1, 1:-1, 1:-1]
        self.has_tissue = tissue.fractions.size > 0
        self.n_directions = len(sphere.steps)
        self.way = METHOD_TWINS[type(method).__name__](self)

    def streamline(self, seed, index, start, start_direction=-1):
        """Points (n, 3) and the names of rejection, first stop, last stop; no points when rejected.

        The first four draws belong to the seed.
        """
        draws = (random_bits(seed, index, draw) for draw in range(4, 10**9))
        stop, sh = self.look(start)
        if stop:
            direction = None
        elif start_direction < 0:
            direction = self.draw(np.arange(self.n_directions // 2), sh, draws)
        else:
            direction = self.draw(self.cone(start_direction), sh, draws)
        if direction is None:
            return [], ("BAD_SEED", "NONE", "NONE")
        opposite = (direction + self.n_directions // 2) % self.n_directions
        one, stop_one = self.walk(start, direction, True, self.rules.max_points - 1, draws)
        if self.verdict(stop_one):
            return [], (self.verdict(stop_one), stop_one, "NONE")
        steps_left = self.rules.max_points - len(one)
        is_deep = len(one) - 1 > self.rules.max_seed_depth
        steps_left_there = min(steps_left, self.rules.max_seed_depth) if is_deep else steps_left
        other, stop_other = self.walk(start, opposite, False, steps_left_there, draws)
        stops = (stop_one, stop_other)
        if self.verdict(stop_other):
            too_deep = is_deep and stop_other == "TOO_LONG" and self.rules.max_seed_depth < steps_left
            return [], ("SEED_TOO_DEEP" if too_deep else self.verdict(stop_other), *stops)
        points = one[::-1] + other[1:]
        if (len(points) - 1) * self.rules.step_mm < self.rules.min_length_mm:
            return [], ("TOO_SHORT", *stops)
        return np.array(points), ("NONE", *stops)

    def walk(self, start, direction, is_drawn, n_steps, draws):
        """Follow the field from the seed until an end that may stay; go back and try again where it may not.

        `is_drawn`: whether the direction is that of a first step, or the last one of the other half reversed.
        """
        points, ways = [start], [self.way.set_out(direction)]
        furthest, n_back = 1, 0
        while True:
            stop = self.follow(points, ways, is_drawn, n_steps, draws)
            is_drawn = False
            if stop == "TOO_LONG" or not self.verdict(stop):
                return points, stop
            if len(points) > furthest:
                furthest, n_back = len(points), 0
            n_back += 1
            keep = furthest - n_back
            if n_back > self.rules.max_backtrack or keep <= 1:
                return points, stop
            del points[keep:], ways[keep:]

    def follow(self, points, ways, is_drawn, n_steps, draws):
        """Add points until something stops that."""
        while len(points) <= n_steps:
            step = self.way.advance(points[-1], ways[-1], is_drawn, draws)
            is_drawn = False
            if step is None:
                return "LOW_SIGNAL"
            points.append(step[0])
            ways.append(step[1])
            stop, _ = self.look(points[-1])
            if stop == "ENTERED_CORTEX" and self.tissue.crop:
                points[-1] = self.interface(points[-2], points[-1])
            if stop:
                return stop
        return "TOO_LONG"

    def cone(self, direction):
        """Candidates around a direction of the sphere."""
        start, end = self.sphere.cone_starts[direction : direction + 2]
        return self.sphere.cone_members[start:end]

    @staticmethod
    def stored(point):
        """Points are kept in single precision."""
        return point.astype(np.float32)

    def field_at(self, point):
        return interpolate_packed(self.rows, self.row_of, point)[0]

    def look(self, point):
        """Why a streamline stops at a point ("" where it goes on), and the orientation field there."""
        point = np.asarray(point, float)
        shape = self.row_of.shape
        if (point < -0.5).any() or (point >= np.array(shape) - 0.5).any():
            return "LEFT_IMAGE", None
        sh, inside = interpolate_packed(self.rows, self.row_of, point)
        if self.has_tissue:
            return self.tissues.stop(point), sh
        if inside < 0.5:
            return "LEFT_MASK", sh
        if sh[-1] < self.rules.fa_threshold:
            return "LOW_SIGNAL", sh
        return "", sh

    def verdict(self, stop):
        """Name of the reason to reject a streamline with such an end, or "" where it may stay."""
        always = {"TOO_LONG": "TOO_LONG"}
        with_tissue = {"ENTERED_CSF": "ENDS_IN_CSF", "LOW_SIGNAL": "ENDS_IN_WHITE_MATTER"} if self.has_tissue else {}
        return (always | with_tissue).get(stop, "")

    def amplitudes(self, candidates, sh):
        """Along each of the directions; 0 below the cutoff."""
        amplitudes = (self.sphere.basis[candidates] @ sh.astype(np.float32)).astype(np.float32)
        amplitudes[~(amplitudes >= self.rules.cutoff)] = 0
        return amplitudes

    def best(self, candidates, sh, draws):
        """The candidate of highest amplitude, or None where none reaches the cutoff."""
        amplitudes = self.amplitudes(candidates, sh)
        return int(candidates[np.argmax(amplitudes)]) if amplitudes.any() else None

    def draw(self, candidates, sh, draws):
        """A candidate drawn in proportion to its amplitude, or None where none reaches the cutoff.

        Twelve tries by rejection, each of one draw: its upper half is the candidate, the upper 24 bits of its lower
        half the height. Then one draw from all.
        """
        amplitudes, highest = self.amplitudes(candidates, sh), np.float32(sh[-2]) * np.float32(1.0001)
        if highest < self.rules.cutoff:
            return None
        for _ in range(12):
            bits = next(draws)
            tried, height = (bits >> 32) * len(candidates) >> 32, (bits % 2**32 >> 8) / 2**24
            if amplitudes[tried] > height * highest:
                return int(candidates[tried])
        u = (next(draws) >> 11) / 2**53
        if not amplitudes.any():
            return None
        totals = np.cumsum(amplitudes, dtype=np.float32)
        return int(candidates[np.searchsorted(totals, np.float32(u) * totals[-1], side="right")])

    def interface(self, before, after):
        """Where the segment entered the cortex, to 1/64 of it, on the cortex's side."""
        before, after = before.astype(float), after.astype(float)
        low, high = 0, 64
        while high - low > 1:
            middle = (low + high) // 2
            if self.tissues.stop(before + middle / 64 * (after - before)):
                high = middle
            else:
                low = middle
        return (before + high / 64 * (after - before)).astype(np.float32)
