"""Lines in space: pushed off obstacles, given equal steps, and made into bunches of fibres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.options import PhantomOptions
from tractome.phantom.geometry import Anatomy, Points, brain_centre_mm, head_extent_mm, unit

N_POINTS = 64
"""Points per fibre."""
_FIELD_MM = 2.0
_TAPER = np.clip(np.minimum(np.arange(N_POINTS), np.arange(N_POINTS)[::-1]) / 8.0, 0.0, 1.0)[None, :, None]


@dataclass(frozen=True, eq=False)
class Passage:
    """How deep in passable white matter each world point lies: a coarse field, the same for every voxel size."""

    origin_mm: Points
    depth: NDArray[np.float32]
    slope: tuple[NDArray[np.float32], ...]

    @classmethod
    def of(cls, anatomy: Anatomy) -> Passage:
        """Sample the anatomy on a 2 mm lattice."""
        extent = head_extent_mm() + 2 * _FIELD_MM
        axes = [np.arange(c - e, c + e + _FIELD_MM, _FIELD_MM) for c, e in zip(brain_centre_mm(), extent, strict=True)]
        mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        depth = anatomy.distances(mesh.reshape(-1, 3)).passable.reshape(mesh.shape[:3]).astype(np.float32)
        slope = tuple(np.asarray(part) for part in np.gradient(depth, _FIELD_MM))
        return cls(mesh[0, 0, 0], depth, slope)

    def _sample(self, volume: NDArray[np.float32], points_mm: Points) -> NDArray[np.float64]:
        from scipy.ndimage import map_coordinates

        where = ((points_mm - self.origin_mm) / _FIELD_MM).reshape(-1, 3).T
        values: NDArray[np.float64] = map_coordinates(volume, where, order=1, mode="nearest")
        return values.reshape(points_mm.shape[:-1])

    def depth_at(self, points_mm: Points) -> NDArray[np.float64]:
        """Depth in mm of points (..., 3); negative outside passable white matter."""
        return self._sample(self.depth, points_mm)

    def slope_at(self, points_mm: Points) -> Points:
        """Direction towards deeper white matter, (..., 3), of about unit length."""
        return np.stack([self._sample(part, points_mm) for part in self.slope], axis=-1)


def draw_n_fibres(options: PhantomOptions, rng: np.random.Generator, share: float = 1.0) -> int:
    """How many fibres one bundle has: log-normal."""
    count = share * options.median_fibres * np.exp(rng.normal(0.0, 0.6))
    return int(np.clip(count, 12, 6 * options.median_fibres))


def depth_wanted(lines: Points, margin_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """How deep in white matter each point should be, mm: `margin_mm` along the way, nothing near the ends."""
    travelled = _travelled(lines)
    from_end = np.minimum(travelled, travelled[:, -1:] - travelled)
    wanted: NDArray[np.float64] = np.minimum(margin_mm[:, None], 0.6 * (from_end - 4.0))
    return wanted


def _travelled(lines: Points) -> NDArray[np.float64]:
    """Distance of each point from the start of its line, (n, N_POINTS), mm."""
    steps = np.linalg.norm(np.diff(lines, axis=1), axis=2)
    return np.concatenate([np.zeros((len(lines), 1)), np.cumsum(steps, axis=1)], axis=1)


def straighten(lines: Points, passage: Passage, margin_mm: NDArray[np.float64], n_rounds: int) -> Points:
    """Relax lines (n, N_POINTS, 3) like elastic rods between obstacles: their bends widen; their ends stay."""
    from scipy.ndimage import gaussian_filter1d

    for _ in range(n_rounds):
        lines = lines + 0.5 * _TAPER * (gaussian_filter1d(lines, 4.0, axis=1, mode="nearest") - lines)
        lines = equal_steps(relax(lines, passage, margin_mm, n_rounds=4))
    return lines


def relax(lines: Points, passage: Passage, margin_mm: NDArray[np.float64], n_rounds: int) -> Points:
    """Push lines (n, N_POINTS, 3) into passable white matter by smooth displacements; their ends stay."""
    from scipy.ndimage import gaussian_filter1d

    lines = np.array(lines, dtype=np.float64)
    moving = np.arange(len(lines))
    for _ in range(n_rounds):
        part = lines[moving]
        lack = np.maximum(depth_wanted(part, margin_mm[moving]) - passage.depth_at(part), 0.0)
        active = lack.max(axis=1) > 0.05
        if not active.any():
            break
        moving, part, lack = moving[active], part[active], lack[active]
        push = np.minimum(lack, 2.0)[..., None] * passage.slope_at(part)
        lines[moving] = part + gaussian_filter1d(push, 4.0, axis=1, mode="nearest") * _TAPER
    return lines


def sharpest_turn(lines: Points) -> NDArray[np.float64]:
    """Sharpest turn of each line (n, N_POINTS, 3), degrees per mm: 57.3 over the radius in mm."""
    steps = np.diff(lines, axis=1)
    length = np.linalg.norm(steps, axis=2)
    cosine = (steps[:, 1:] * steps[:, :-1]).sum(axis=2) / np.maximum(length[:, 1:] * length[:, :-1], 1e-9)
    turns = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))) / np.maximum((length[:, 1:] + length[:, :-1]) / 2, 1e-3)
    result: NDArray[np.float64] = turns.max(axis=1)
    return result


def bunch(line: Points, radius: float, count: int, first: Points, second: Points, rng: np.random.Generator) -> Points:
    """Fibres (count, N_POINTS, 3) around a centreline, fanning to points of both patches."""
    frame = _frame(line)
    distance = radius * np.sqrt(rng.random(count))
    angle = rng.uniform(0, 2 * np.pi, count)
    stretch = np.exp(rng.normal(0.0, 0.25))
    disc = np.column_stack([distance * np.cos(angle) * stretch, distance * np.sin(angle) / stretch])
    length = np.linalg.norm(np.diff(line, axis=0), axis=1).sum()
    offsets = np.einsum("nc,pcd->npd", disc, frame)
    for end, patch in ((0, first), (-1, second)):
        targets = patch[rng.integers(len(patch), size=count)]
        matched = _match(disc, (targets - line[end]) @ frame[end].T)
        reach = min(rng.uniform(18.0, 30.0), 0.4 * length)
        travelled = np.linspace(0, length, N_POINTS)
        share = np.clip((travelled if end == 0 else length - travelled) / reach, 0.0, 1.0)
        fan = 1.0 - share * share * (3.0 - 2.0 * share)
        offsets += fan[None, :, None] * ((targets[matched] - line[end])[:, None, :] - offsets)
    result: Points = line[None] + offsets
    return result


def _match(disc: Points, targets: Points) -> NDArray[np.intp]:
    """Give each point of the disc a target so that neighbours stay neighbours: order by strips, then inside strips."""

    def order(points: Points) -> NDArray[np.intp]:
        n_strips = max(int(np.sqrt(len(points))), 1)
        strip = np.empty(len(points), dtype=np.intp)
        strip[np.argsort(points[:, 0], kind="stable")] = np.arange(len(points)) * n_strips // len(points)
        return np.lexsort((points[:, 1], strip))

    matched = np.empty(len(disc), dtype=np.intp)
    matched[order(disc)] = order(targets)
    return matched


def _frame(line: Points) -> Points:
    """Two unit vectors across the line at each of its points, (N_POINTS, 2, 3), carried along without twist.

    The double reflection method of Wang et al. 2008, "Computation of rotation minimizing frames".
    """
    tangent = unit(np.asarray(np.gradient(line, axis=0)))
    across = unit(np.cross(tangent[0], np.eye(3)[np.argmin(np.abs(tangent[0]))]))
    frame = np.empty((len(line), 2, 3))
    for index in range(len(line)):
        if index:
            step = line[index] - line[index - 1]
            reflected = across - 2 * (step @ across) / (step @ step) * step
            turned = tangent[index - 1] - 2 * (step @ tangent[index - 1]) / (step @ step) * step
            change = tangent[index] - turned
            across = reflected - 2 * (change @ reflected) / max(change @ change, 1e-12) * change
        frame[index] = across, np.cross(tangent[index], across)
    return frame


def equal_steps(lines: Points) -> Points:
    """Lines (n, N_POINTS, 3) with their points moved to equal distances along them."""
    result = np.empty_like(lines)
    for index, (line, at) in enumerate(zip(lines, _travelled(lines), strict=True)):
        wanted = np.linspace(0.0, at[-1], N_POINTS)
        for axis in range(3):
            result[index, :, axis] = np.interp(wanted, at, line[:, axis])
    return result
