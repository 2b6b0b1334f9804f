"""The anatomy of the synthetic subject, as signed distances in world mm.

Everything is a function of a world point, never of a voxel: the same random seed gives the same anatomy for any grid.
A signed distance is negative inside. Shapes are ellipsoids, planes and slabs joined smoothly (Quilez 2008, "Modeling
with distance functions"); the distances are exact at the surface and approximate away from it, which is enough for a
ribbon of 3 mm and for pushing paths away from obstacles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.parcellation import RegionTable
from tractome.options import PhantomOptions

Points = NDArray[np.float64]

CORTEX_MM = 3.0
"""Thickness of the cortical ribbon, mm."""
FISSURE_MM = 1.5
"""Half the width of the gap between the hemispheres, mm."""
CSF_LAYER_MM = 2.0
"""Thickness of the CSF between cortex and mask, mm."""
_EDGE_MM = 6.0
_CENTRE_MM = np.array([0.0, -17.0, 8.0])
_SEMI_AXES_MM = np.array([66.0, 83.0, 60.0])
_UNDULATION_MM = 1.2
_CALLOSUM_HALF_LENGTH_MM = 40.0
_CALLOSUM_HALF_HEIGHT_MM = 7.0
_CALLOSUM_REACH_MM = 14.0
_LESION_RADIUS_MM = 10.0
_CORTEX_AREA_MM2 = 58_000.0
_VENTRICLE = ((10.0, 2.0, 4.5), (5.0, 28.0, 6.0))
# Centre (right side, relative to the brain's centre) and semi-axes, mm: roughly thalamus, caudate, putamen, pallidum,
# hippocampus, amygdala, accumbens, and (where it is asked for) a bit of cerebellar cortex.
_DEEP = (
    ((14.0, -6.0, -9.5), (7.0, 12.0, 7.0)),
    ((20.0, 22.0, 2.0), (4.0, 11.0, 6.0)),
    ((31.0, 16.0, -6.0), (5.0, 14.0, 8.0)),
    ((21.5, 9.0, -9.0), (4.0, 8.0, 5.0)),
    ((28.0, -8.0, -26.0), (5.0, 16.0, 5.0)),
    ((24.0, 15.0, -25.0), (6.0, 6.0, 6.0)),
    ((12.0, 25.0, -14.0), (5.0, 5.0, 4.0)),
    ((20.0, -44.0, -27.0), (7.0, 6.0, 5.0)),
)


def keyed_rng(random_seed: int, *key: int) -> np.random.Generator:
    """Return the random stream of one purpose: a pure function of the seed and the key."""
    return np.random.default_rng([random_seed, *key])


def unit(vectors: Points) -> Points:
    """Vectors (..., 3) brought to length 1."""
    result: Points = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return result


def _ellipsoid(points: Points, centre: Points, semi_axes: Points) -> NDArray[np.float64]:
    """Approximate signed distance to an ellipsoid, mm, exact to first order at its surface."""
    scaled = (points - centre) / semi_axes
    radius = np.sqrt(np.einsum("...i,...i->...", scaled, scaled))
    scaled /= semi_axes
    slope = np.sqrt(np.einsum("...i,...i->...", scaled, scaled))
    result: NDArray[np.float64] = radius * (radius - 1.0) / np.maximum(slope, 1e-9)
    return np.where(radius < 1e-6, -semi_axes.min(), result)


def _smooth_max(first: Any, second: Any, width_mm: float) -> Any:
    """Maximum with its edge rounded over `width_mm`."""
    blend = np.maximum(width_mm - np.abs(first - second), 0.0)
    return np.maximum(first, second) + blend * blend / (4.0 * width_mm)


def soft(distance_mm: NDArray[Any], width_mm: float) -> NDArray[Any]:
    """Share of a voxel of `width_mm` that lies inside, from the signed distance of its centre."""
    return np.clip(0.5 - distance_mm / width_mm, 0.0, 1.0)


@dataclass(frozen=True)
class Distances:
    """Signed distances of points, (n,) float64 each, mm, negative inside."""

    head: NDArray[np.float64]
    brain: NDArray[np.float64]
    white: NDArray[np.float64]
    """To white matter with what lies in it (ventricles, deep grey)."""
    ventricle: NDArray[np.float64]
    deep: NDArray[np.float64]
    deep_index: NDArray[np.intp]
    """Nearest deep region, counted from 0."""
    lesion: NDArray[np.float64]

    @property
    def passable(self) -> NDArray[np.float64]:
        """To what a true fibre may run through: white matter only. Positive **inside**, mm."""
        return -np.maximum(self.white, np.maximum(-self.ventricle, -self.deep))


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Shapes and regions of one synthetic subject.

    Parameters
    ----------
    semi_axes_mm : (3,) float64
        Of the brain's ellipsoid.
    deep_centres_mm, deep_axes_mm : (n_deep, 3) float64
        Ellipsoids of the deep grey regions, left ones first; centres in RAS+ mm.
    seeds_mm : (n_cortical, 3) float64
        Voronoi seeds of the cortical regions, left ones first, RAS+ mm.
    regions : RegionTable
        Labels 1..N: cortex left, cortex right, deep left, deep right.
    lesion_centre_mm : (3,) float64 or None
    """

    semi_axes_mm: Points
    deep_centres_mm: Points
    deep_axes_mm: Points
    seeds_mm: Points
    regions: RegionTable
    lesion_centre_mm: Points | None

    @property
    def n_cortical(self) -> int:
        """Number of cortical regions."""
        return len(self.seeds_mm)

    def hull(self, points_mm: Points) -> NDArray[np.float64]:
        """Signed distance to the outer cortical surface without the gap between the hemispheres, mm."""
        local = points_mm - _CENTRE_MM
        wave = np.sin(np.abs(local[..., 0]) / 7.0) * np.sin(local[..., 1] / 7.5 + 1.0) * np.sin(local[..., 2] / 7.0)
        result: NDArray[np.float64] = _ellipsoid(points_mm, _CENTRE_MM, self.semi_axes_mm) + _UNDULATION_MM * wave
        return result

    def hemispheres(self, points_mm: Points) -> NDArray[np.float64]:
        """Signed distance to the nearer hemisphere, mm."""
        gap = FISSURE_MM - np.abs(points_mm[..., 0])
        result: NDArray[np.float64] = _smooth_max(self.hull(points_mm), gap, _EDGE_MM)
        return result

    def callosum(self, points_mm: Points) -> NDArray[np.float64]:
        """Signed distance to the arched slab of white matter that joins the hemispheres, mm."""
        local = points_mm - _CENTRE_MM
        height = np.abs(local[..., 2] - callosum_height_mm(local[..., 1])) - _CALLOSUM_HALF_HEIGHT_MM
        length = np.abs(local[..., 1]) - _CALLOSUM_HALF_LENGTH_MM
        reach = np.abs(local[..., 0]) - _CALLOSUM_REACH_MM
        result: NDArray[np.float64] = np.maximum(_smooth_max(height, length, 4.0), reach)
        return result

    def lesion(self, points_mm: Points) -> NDArray[np.float64]:
        """Signed distance to the lesion, mm; far outside where there is none."""
        if self.lesion_centre_mm is None:
            return np.full(points_mm.shape[:-1], 1e3)
        distance: NDArray[np.float64] = np.linalg.norm(points_mm - self.lesion_centre_mm, axis=-1) - _LESION_RADIUS_MM
        return distance

    def distances(self, points_mm: Points) -> Distances:
        """All signed distances of points (n, 3), RAS+ mm."""
        hull = self.hull(points_mm)
        hemispheres = _smooth_max(hull, FISSURE_MM - np.abs(points_mm[:, 0]), _EDGE_MM)
        callosum = self.callosum(points_mm)
        mirrored = np.column_stack([np.abs(points_mm[:, 0]), points_mm[:, 1:]])
        centre, axes = (np.array(part) for part in _VENTRICLE)
        deep = np.full(len(points_mm), 1e3)
        deep_index = np.zeros(len(points_mm), dtype=np.intp)
        for index, (deep_centre, deep_axes) in enumerate(zip(self.deep_centres_mm, self.deep_axes_mm, strict=True)):
            near = np.flatnonzero((np.abs(points_mm - deep_centre) < deep_axes + 25.0).all(axis=1))
            distance = _ellipsoid(points_mm[near], deep_centre, deep_axes)
            nearer = distance < deep[near]
            deep[near[nearer]] = distance[nearer]
            deep_index[near[nearer]] = index
        return Distances(
            head=hull - CSF_LAYER_MM,
            brain=np.minimum(hemispheres, callosum),
            white=np.minimum(hemispheres + CORTEX_MM, callosum),
            ventricle=_ellipsoid(mirrored, _CENTRE_MM + centre, axes),
            deep=deep,
            deep_index=deep_index,
            lesion=self.lesion(points_mm),
        )

    def cortical_rows(self, points_mm: Points) -> NDArray[np.int64]:
        """Row of the cortical region whose seed is nearest within the same hemisphere, (n,) int64."""
        from scipy.spatial import cKDTree

        half = self.n_cortical // 2
        rows = np.empty(len(points_mm), dtype=np.int64)
        is_left = points_mm[:, 0] < 0
        for side, start in ((is_left, 0), (~is_left, half)):
            rows[side] = cKDTree(self.seeds_mm[start : start + half]).query(points_mm[side])[1] + start
        return rows

    def near(self, points_mm: Points) -> NDArray[np.bool_]:
        """Whether points (n, 3) may lie in the head, (n,) bool: cheap, and True for a wide rim around it too."""
        scaled = (points_mm - _CENTRE_MM) / (1.15 * self.semi_axes_mm)
        result: NDArray[np.bool_] = np.einsum("ni,ni->n", scaled, scaled) < 1.0
        return result

    def labels(self, points_mm: Points) -> NDArray[np.int64]:
        """Label of the region that each point (n, 3) lies in, 0 for none, (n,) int64."""
        distance = self.distances(points_mm)
        labels = np.zeros(len(points_mm), dtype=np.int64)
        cortex = (distance.brain <= 0) & (distance.white > 0)
        labels[cortex] = self.cortical_rows(points_mm[cortex]) + 1
        deep = (distance.deep <= 0) & (distance.white <= 0) & (distance.ventricle > 0)
        labels[deep] = self.n_cortical + 1 + distance.deep_index[deep]
        return labels

    def tissue(self, points_mm: Points, width_mm: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Five tissue fractions (n, 5) float32 of voxels of `width_mm` centred at points, and which are in the mask."""
        distance = self.distances(points_mm)
        inside = distance.head <= 0
        brain = soft(distance.brain, width_mm)
        white = np.minimum(soft(distance.white, width_mm), brain)
        ventricle = np.minimum(soft(distance.ventricle, width_mm), white)
        deep = np.minimum(soft(distance.deep, width_mm), white - ventricle)
        fractions = np.stack([brain - white, deep, white - ventricle - deep, 1 - brain + ventricle, 0 * brain], axis=1)
        sick = soft(distance.lesion, width_mm) * (1.0 - fractions[:, 3])
        fractions[:, :3] *= (1.0 - soft(distance.lesion, width_mm))[:, None]
        fractions[:, 4] = sick
        fractions[~inside] = 0.0
        return fractions.astype(np.float32), inside


def callosum_height_mm(y_mm: Any) -> Any:
    """Height of the callosum's middle above the brain's centre, at a distance `y_mm` in front of it."""
    return 21.0 - 9.0 * (y_mm / _CALLOSUM_HALF_LENGTH_MM) ** 2


def brain_centre_mm() -> Points:
    """Return the centre of the brain's ellipsoid, RAS+ mm: deliberately not the origin."""
    return _CENTRE_MM.copy()


def head_extent_mm() -> Points:
    """Half the size of the box that holds every synthetic head, (3,) float64, mm."""
    result: Points = _SEMI_AXES_MM * 1.04 + CSF_LAYER_MM + _UNDULATION_MM
    return result


def make_anatomy(options: PhantomOptions) -> Anatomy:
    """Draw the shapes and the regions that belong to the random seed."""
    rng = keyed_rng(options.random_seed, 0)
    semi_axes = _SEMI_AXES_MM * rng.uniform(0.97, 1.03, 3)
    centres, axes = _deep_regions(options, rng)
    bare = Anatomy(semi_axes, centres, axes, np.zeros((0, 3)), _region_table(options, centres, None), None)
    surface = cortical_surface(bare, keyed_rng(options.random_seed, 1), 30_000)
    seeds = _cortical_seeds(surface, options.n_cortical // 2, keyed_rng(options.random_seed, 2))
    lesion = None
    if options.lesion:
        lesion = _CENTRE_MM + np.array([-32.0, -8.0, 16.0]) + keyed_rng(options.random_seed, 3).uniform(-3, 3, 3)
    return Anatomy(semi_axes, centres, axes, seeds, _region_table(options, centres, seeds), lesion)


def cortical_surface(anatomy: Anatomy, rng: np.random.Generator, n_points: int) -> Points:
    """Points spread evenly over the middle of the cortical ribbon, (n_points, 3) float64, RAS+ mm."""
    extent = head_extent_mm()
    chosen: list[Points] = []
    n_found = 0
    while n_found < n_points:
        points = _CENTRE_MM + rng.uniform(-extent, extent, (200_000, 3))
        depth = anatomy.hemispheres(points) + CORTEX_MM / 2
        points = points[np.abs(depth) < 1.0]
        for _ in range(3):
            level = anatomy.hemispheres(points) + CORTEX_MM / 2
            slope = gradient(anatomy.hemispheres, points)
            points = points - (level / np.maximum((slope**2).sum(axis=1), 0.1))[:, None] * slope
        level = anatomy.hemispheres(points) + CORTEX_MM / 2
        points = points[(np.abs(level) < 0.05) & (anatomy.callosum(points) > 1.0)]
        chosen.append(points)
        n_found += len(points)
    return np.concatenate(chosen)[:n_points]


def gradient(distance: Any, points_mm: Points, step_mm: float = 0.05) -> Points:
    """Central-difference gradient of a distance function at points (n, 3)."""
    result = np.empty_like(points_mm)
    for axis in range(3):
        shift = np.zeros(3)
        shift[axis] = step_mm
        result[:, axis] = (distance(points_mm + shift) - distance(points_mm - shift)) / (2 * step_mm)
    return result


def _deep_regions(options: PhantomOptions, rng: np.random.Generator) -> tuple[Points, Points]:
    """Centres and semi-axes of the deep grey regions, left ones first; homologues are mirrored, with jitter."""
    half = options.n_deep // 2
    centres = [np.array(centre) for centre, _ in _DEEP[:half]]
    axes = [np.array(semi) for _, semi in _DEEP[:half]]
    while len(centres) < half:
        centre, semi = rng.uniform((12, -55, -35), (48, 50, 40)), rng.uniform(3.5, 5.5, 3)
        ventricle = _ellipsoid(centre[None], *(np.array(part) for part in _VENTRICLE))[0]
        callosum = max(abs(centre[2] - callosum_height_mm(centre[1])) - _CALLOSUM_HALF_HEIGHT_MM, centre[0] - 14.0)
        hull = _ellipsoid(centre[None], np.zeros(3), _SEMI_AXES_MM)[0]
        others = min(
            (np.linalg.norm(centre - other) - max(size) for other, size in zip(centres, axes, strict=True)),
            default=99.0,
        )
        if min(ventricle, callosum, others) > semi.max() + 1.0 and hull < -semi.max() - CORTEX_MM - 6.0:
            centres.append(centre)
            axes.append(semi)
    if not half:
        return np.zeros((0, 3)), np.zeros((0, 3))
    both_centres, both_axes = [], []
    for sign in (-1.0, 1.0):
        jitter = rng.uniform(-0.8, 0.8, (half, 3))
        both_centres.append(_CENTRE_MM + (np.array(centres) + jitter) * (sign, 1.0, 1.0))
        both_axes.append(np.array(axes) * rng.uniform(0.92, 1.05, (half, 3)))
    return np.concatenate(both_centres), np.concatenate(both_axes)


def _cortical_seeds(surface: Points, half: int, rng: np.random.Generator) -> Points:
    """Voronoi seeds on the cortex: left by a few rounds of k-means, right mirrored from it with jitter."""
    from scipy.spatial import cKDTree

    sides = (surface[surface[:, 0] < 0], surface[surface[:, 0] > 0])
    left = sides[0][rng.choice(len(sides[0]), half, replace=False)]
    for _ in range(4):
        left = _cell_means(sides[0], left)
    # Jitter by a tenth of a region's width, or many small regions would fall on one another.
    width_mm = np.sqrt(_CORTEX_AREA_MM2 / (2 * half))
    right = left * (-1.0, 1.0, 1.0) + rng.normal(0.0, min(3.0, 0.105 * width_mm), left.shape)
    seeds = (left, _cell_means(sides[1], right))
    # A mean of surface points lies below the surface: bring each seed back to its nearest point.
    return np.concatenate([side[cKDTree(side).query(seed)[1]] for side, seed in zip(sides, seeds, strict=True)])


def _cell_means(points: Points, seeds: Points) -> Points:
    from scipy.spatial import cKDTree

    cell = cKDTree(seeds).query(points)[1]
    n_points = np.bincount(cell, minlength=len(seeds))
    sums = np.stack([np.bincount(cell, points[:, axis], len(seeds)) for axis in range(3)], axis=1)
    result: Points = np.where(n_points[:, None] > 0, sums / np.maximum(n_points, 1)[:, None], seeds)
    return result


def _region_table(options: PhantomOptions, deep_centres: Points, seeds: Points | None) -> RegionTable:
    n_cortical = 0 if seeds is None else len(seeds)
    names: list[str] = []
    hemispheres: list[str] = []
    for prefix, count in (("ctx", options.n_cortical), ("deep", options.n_deep)):
        for side in ("lh", "rh"):
            names += [f"{prefix}-{side}-{index + 1:02d}" for index in range(count // 2)]
            hemispheres += [side[0].upper()] * (count // 2)
    n_regions = len(names)
    centroids = np.full((n_regions, 3), np.nan)
    if n_cortical:
        centroids = np.concatenate([np.zeros((0, 3)) if seeds is None else seeds, deep_centres])
    return RegionTable(
        labels=np.arange(1, n_regions + 1),
        names=tuple(names),
        hemispheres=tuple(hemispheres),
        structures=("cortex",) * options.n_cortical + ("subcortex",) * options.n_deep,
        networks=("",) * n_regions,
        centroids_mm=centroids,
        atlas=f"phantom-{options.n_cortical}-{options.n_deep}-seed{options.random_seed}",
    )
