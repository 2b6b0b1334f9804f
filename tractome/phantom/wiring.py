"""The true wiring of the synthetic subject: bundles of fibres from region to region, in world mm.

A bundle is a centreline (a B-spline, pushed off ventricles, deep grey and the brain's surface) with a bunch of fibres
around it; near each end the fibres fan out over a patch of the region. U-fibres are arcs under the boundary of two
neighbouring cortical regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.errors import OptionError
from tractome.options import PhantomOptions
from tractome.phantom.geometry import (
    CORTEX_MM,
    Anatomy,
    Points,
    brain_centre_mm,
    callosum_height_mm,
    cortical_surface,
    gradient,
    head_extent_mm,
    keyed_rng,
)

N_POINTS = 64
"""Points per fibre."""
FIBRE_AREA_MM2 = 0.04
"""Cross-section that one fibre stands for, mm2."""
_FIELD_MM = 2.0
_MIN_LONG_MM = 30.0


@dataclass(frozen=True, eq=False)
class Wiring:
    """Bundles and their fibres.

    Parameters
    ----------
    ends : (n_bundles, 2) int64
        Rows of the two regions of each bundle.
    is_u : (n_bundles,) bool
        Which are U-fibres.
    axial, radial : (n_bundles,) float64
        Diffusivities along and across the fibres, mm2/s.
    fibres : (n_fibres, N_POINTS, 3) float32
        RAS+ mm, both ends inside grey matter, bundle after bundle.
    bundle : (n_fibres,) int64
        Rising.
    """

    ends: NDArray[np.int64]
    is_u: NDArray[np.bool_]
    axial: NDArray[np.float64]
    radial: NDArray[np.float64]
    fibres: NDArray[np.float32]
    bundle: NDArray[np.int64]

    @property
    def n_fibres(self) -> int:
        """Number of fibres."""
        return len(self.fibres)

    def offsets(self) -> NDArray[np.int64]:
        """Bundle b has fibres ``offsets[b]:offsets[b + 1]``."""
        return np.searchsorted(self.bundle, np.arange(len(self.ends) + 1))


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
        slope = tuple(np.asarray(part, dtype=np.float32) for part in np.gradient(depth, _FIELD_MM))
        return cls(mesh[0, 0, 0], depth, slope)

    def _sample(self, volume: NDArray[np.float32], points_mm: Points) -> NDArray[np.float64]:
        from scipy.ndimage import map_coordinates

        where = ((points_mm - self.origin_mm) / _FIELD_MM).reshape(-1, 3).T
        values = map_coordinates(volume, where, order=1, mode="nearest")
        result: NDArray[np.float64] = values.reshape(points_mm.shape[:-1])
        return result

    def depth_at(self, points_mm: Points) -> NDArray[np.float64]:
        """Depth in mm of points (..., 3); negative outside passable white matter."""
        return self._sample(self.depth, points_mm)

    def slope_at(self, points_mm: Points) -> Points:
        """Direction towards deeper white matter, (..., 3), of about unit length."""
        return np.stack([self._sample(part, points_mm) for part in self.slope], axis=-1)


@dataclass(frozen=True, eq=False)
class _Ports:
    """Where fibres may end: points in the grey matter and the directions from them into white matter."""

    points: list[Points]
    inward: list[Points]


def make_wiring(anatomy: Anatomy, options: PhantomOptions) -> Wiring:
    """Draw every bundle that belongs to the random seed.

    Raises
    ------
    OptionError
        More bundles are asked for than there are pairs of regions.
    """
    surface = cortical_surface(anatomy, keyed_rng(options.random_seed, 10), 60_000)
    passage = Passage.of(anatomy)
    u_ends, u_fibres = _u_bundles(anatomy, surface, options)
    ports = _ports(anatomy, surface, options)
    long_ends = _long_pairs(anatomy, options, {tuple(pair) for pair in u_ends.tolist()})
    long_fibres = _long_bundles(anatomy, passage, ports, long_ends, options)
    ends = np.concatenate([long_ends, u_ends])
    is_u = np.arange(len(ends)) >= len(long_ends)
    fibres = long_fibres + u_fibres
    rng = keyed_rng(options.random_seed, 11)
    axial, radial = rng.normal(1.7e-3, 0.07e-3, len(ends)), rng.uniform(0.22e-3, 0.45e-3, len(ends))
    if anatomy.lesion_centre_mm is not None:
        whole = np.array(
            [(anatomy.distances(f.reshape(-1, 3).astype(np.float64)).lesion > 0).all() for f in fibres], dtype=bool
        )
        ends, is_u, axial, radial = ends[whole], is_u[whole], axial[whole], radial[whole]
        fibres = [bunch for bunch, keep in zip(fibres, whole, strict=True) if keep]
    bundle = np.repeat(np.arange(len(ends)), [len(bunch) for bunch in fibres])
    return Wiring(ends, is_u, axial, radial, np.concatenate(fibres), bundle)


def _n_fibres(options: PhantomOptions, rng: np.random.Generator, share: float = 1.0) -> int:
    """How many fibres one bundle has: log-normal."""
    count = share * options.median_fibres * np.exp(rng.normal(0.0, 0.6))
    return int(np.clip(count, 12, 6 * options.median_fibres))


# ---------------------------------------------------------------------------------------------- long bundles


def _ports(anatomy: Anatomy, surface: Points, options: PhantomOptions) -> _Ports:
    rows = anatomy.cortical_rows(surface)
    normals = -gradient(anatomy.hemispheres, surface)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = [surface[rows == row] for row in range(anatomy.n_cortical)]
    inward = [normals[rows == row] for row in range(anatomy.n_cortical)]
    rng = keyed_rng(options.random_seed, 12)
    for centre, axes in zip(anatomy.deep_centres_mm, anatomy.deep_axes_mm, strict=True):
        unit = rng.normal(size=(800, 3))
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        outward = unit / axes
        points.append(centre + 0.75 * axes * unit)
        inward.append(outward / np.linalg.norm(outward, axis=1, keepdims=True))
    return _Ports(points, inward)


def _long_pairs(anatomy: Anatomy, options: PhantomOptions, taken: set[tuple[int, ...]]) -> NDArray[np.int64]:
    """Choose the pairs of regions that long bundles join: association, commissural and projection."""
    rng = keyed_rng(options.random_seed, 13)
    n_cortical, n_regions = anatomy.n_cortical, anatomy.regions.n_regions
    centres = anatomy.regions.centroids_mm
    left = np.array(anatomy.regions.hemispheres) == "L"
    first, second = np.triu_indices(n_regions, 1)
    distance = np.linalg.norm(centres[first] - centres[second], axis=1)
    mirrored = np.linalg.norm(centres[first] * (-1, 1, 1) - centres[second], axis=1)
    same_side, both_cortex = left[first] == left[second], second < n_cortical
    weight = np.zeros(len(first))
    association = same_side & both_cortex & (distance > _MIN_LONG_MM)
    commissural = ~same_side & both_cortex & (distance > 15.0)
    projection = same_side & (first < n_cortical) & (second >= n_cortical) & (distance > 25.0)
    for kind, share, affinity in (
        (association, 0.6, np.exp(-distance / 60.0)),
        (commissural, 0.25, np.exp(-mirrored / 20.0)),
        (projection, 0.15, np.ones(len(first))),
    ):
        if kind.any():
            weight[kind] = share * affinity[kind] / affinity[kind].sum()
    weight[[pair in taken for pair in zip(first.tolist(), second.tolist(), strict=True)]] = 0.0
    if np.count_nonzero(weight) < options.n_bundles:
        message = (
            f"n_bundles = {options.n_bundles}, but these regions have only {np.count_nonzero(weight)} pairs that a long "
            "bundle can join. Ask for fewer bundles or more regions."
        )
        raise OptionError(message)
    chosen = rng.choice(len(first), options.n_bundles, replace=False, p=weight / weight.sum())
    return np.column_stack([first[chosen], second[chosen]]).astype(np.int64)


def _long_bundles(
    anatomy: Anatomy, passage: Passage, ports: _Ports, ends: NDArray[np.int64], options: PhantomOptions
) -> list[NDArray[np.float32]]:
    """Fibres of every long bundle, (n, N_POINTS, 3) float32 each."""
    # The key is the pair, not its place in the list: a lesion or another number of bundles leaves the others alone.
    rngs = [keyed_rng(options.random_seed, 20, int(a), int(b)) for a, b in ends]
    counts = [_n_fibres(options, rng) for rng in rngs]
    radii = np.array(
        [
            np.sqrt(500 / options.median_fibres * count * FIBRE_AREA_MM2 / (np.pi * rng.uniform(0.2, 0.5)))
            for count, rng in zip(counts, rngs, strict=True)
        ]
    )
    patches = [
        tuple(_patch(anatomy, ports, int(pair[side]), int(pair[1 - side]), rng) for side in (0, 1))
        for pair, rng in zip(ends, rngs, strict=True)
    ]
    lines = np.stack(
        [_first_guess(anatomy, patch[0][1:], patch[1][1:], rng) for patch, rng in zip(patches, rngs, strict=True)]
    )
    lines = _relax(lines, passage, np.clip(radii + 1.5, 2.5, 5.5), n_rounds=60)
    lines = _equal_steps(lines)
    bundles = []
    for line, radius, count, patch, rng in zip(lines, radii, counts, patches, rngs, strict=True):
        fibres = _bunch(line, radius, count, patch[0][0], patch[1][0], rng)
        moved = _relax(fibres, passage, np.full(len(fibres), 0.8), n_rounds=8)
        allowed = np.minimum(0.5, _depth_wanted(moved, np.full(len(moved), 0.8)) - 1.0)
        passes = (passage.depth_at(moved) > allowed - 0.7).all(axis=1)
        # A bundle that nearly always hits an obstacle is still a bundle: its best fibres stay.
        passes |= np.arange(count) < 3
        bundles.append(_equal_steps(moved[passes]).astype(np.float32))
    return bundles


def _patch(
    anatomy: Anatomy, ports: _Ports, row: int, other: int, rng: np.random.Generator
) -> tuple[Points, Points, Points]:
    """End points of a bundle in one region (n, 3), their middle, and the direction into white matter there."""
    points, inward = ports.points[row], ports.inward[row]
    if row >= anatomy.n_cortical:
        # Deep regions are met from the side that faces the partner.
        towards = anatomy.regions.centroids_mm[other] - anatomy.regions.centroids_mm[row]
        facing = inward @ (towards / np.linalg.norm(towards)) > 0.3
        points, inward = points[facing], inward[facing]
    centre = rng.integers(len(points))
    distance = np.linalg.norm(points - points[centre], axis=1)
    n_kept = max(int(len(points) * rng.uniform(0.35, 0.9)), 8)
    kept = np.argsort(distance, kind="stable")[:n_kept]
    middle = kept[np.argmin(np.linalg.norm(points[kept] - points[kept].mean(axis=0), axis=1))]
    return points[kept], points[middle], inward[middle]


def _first_guess(
    anatomy: Anatomy, first: tuple[Points, ...], second: tuple[Points, ...], rng: np.random.Generator
) -> Points:
    """Centreline (N_POINTS, 3): leaves each region straight, bends through deep white matter, crosses in the callosum."""
    from scipy.interpolate import BSpline

    centre = brain_centre_mm()
    (start, start_in), (stop, stop_in) = first, second
    sides = np.sign([start[0], stop[0]])
    bow = rng.normal(0.0, 5.0, 3)
    if sides[0] == sides[1]:
        core = centre + np.array([sides[0] * 28.0, 0.45 * ((start + stop) / 2 - centre)[1], 6.0])
        pull = rng.uniform(0.25, 0.7)
        middle = [(1 - pull) * (start + stop) / 2 + pull * core + bow]
    else:
        y = np.clip(0.45 * ((start + stop) / 2 - centre)[1] + bow[1], -29.0, 29.0)
        z = callosum_height_mm(y) + np.clip(bow[2] / 3, -2, 2)
        middle = [
            centre + np.array([sides[0] * x, y, z + lift])
            for x, lift in ((20.0, 5.0), (9.0, 0.0), (-9.0, 0.0), (-20.0, 5.0))
        ]
    reach = min(18.0, 0.25 * float(np.linalg.norm(stop - start)))
    controls = np.array(
        [start, start + 0.45 * reach * start_in, start + reach * start_in, *middle]
        + [stop + reach * stop_in, stop + 0.45 * reach * stop_in, stop]
    )
    n_controls = len(controls)
    knots = np.concatenate([np.zeros(3), np.linspace(0, 1, n_controls - 2), np.ones(3)])
    curve: Points = BSpline(knots, controls, 3)(np.linspace(0, 1, N_POINTS))
    return _equal_steps(curve[None])[0]


def _depth_wanted(lines: Points, margin_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """How deep in white matter each point should be, mm: `margin_mm` along the way, nothing near the ends."""
    steps = np.linalg.norm(np.diff(lines, axis=1), axis=2)
    travelled = np.concatenate([np.zeros((len(lines), 1)), np.cumsum(steps, axis=1)], axis=1)
    from_end = np.minimum(travelled, travelled[:, -1:] - travelled)
    wanted: NDArray[np.float64] = np.minimum(margin_mm[:, None], 0.6 * (from_end - 4.0))
    return wanted


def _relax(lines: Points, passage: Passage, margin_mm: NDArray[np.float64], n_rounds: int) -> Points:
    """Push lines (n, N_POINTS, 3) into passable white matter by smooth displacements; their ends stay."""
    from scipy.ndimage import gaussian_filter1d

    lines = np.array(lines, dtype=np.float64)
    taper = np.clip(np.minimum(np.arange(N_POINTS), np.arange(N_POINTS)[::-1]) / 6.0, 0.0, 1.0)[None, :, None]
    moving = np.arange(len(lines))
    for _ in range(n_rounds):
        part = lines[moving]
        lack = np.maximum(_depth_wanted(part, margin_mm[moving]) - passage.depth_at(part), 0.0)
        active = lack.max(axis=1) > 0.05
        if not active.any():
            break
        moving, part, lack = moving[active], part[active], lack[active]
        push = np.minimum(lack, 2.0)[..., None] * passage.slope_at(part)
        lines[moving] = part + gaussian_filter1d(push, 3.0, axis=1, mode="nearest") * taper
    return lines


def _bunch(line: Points, radius: float, count: int, first: Points, second: Points, rng: np.random.Generator) -> Points:
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
        matched = _match(disc, (targets - line[end]) @ frame[end].T, rng)
        reach = min(rng.uniform(18.0, 30.0), 0.4 * length)
        travelled = np.linspace(0, length, N_POINTS)
        share = np.clip((travelled if end == 0 else length - travelled) / reach, 0.0, 1.0)
        fan = 1.0 - share * share * (3.0 - 2.0 * share)
        offsets += fan[None, :, None] * ((targets[matched] - line[end])[:, None, :] - offsets)
    return line[None] + offsets


def _match(disc: Points, targets: Points, rng: np.random.Generator) -> NDArray[np.intp]:
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
    tangent = np.gradient(line, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    across = np.cross(tangent[0], np.eye(3)[np.argmin(np.abs(tangent[0]))])
    across /= np.linalg.norm(across)
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


def _equal_steps(lines: Points) -> Points:
    """Lines (n, N_POINTS, 3) with their points moved to equal distances along them."""
    steps = np.linalg.norm(np.diff(lines, axis=1), axis=2)
    travelled = np.concatenate([np.zeros((len(lines), 1)), np.cumsum(steps, axis=1)], axis=1)
    result = np.empty_like(lines)
    for index, (line, at) in enumerate(zip(lines, travelled, strict=True)):
        wanted = np.linspace(0.0, at[-1], N_POINTS)
        for axis in range(3):
            result[index, :, axis] = np.interp(wanted, at, line[:, axis])
    return result


# ---------------------------------------------------------------------------------------------- U-fibres


def _u_bundles(
    anatomy: Anatomy, surface: Points, options: PhantomOptions
) -> tuple[NDArray[np.int64], list[NDArray[np.float32]]]:
    """Pairs of neighbouring cortical regions and the fibres of each."""
    borders = _borders(anatomy, surface)
    rng = keyed_rng(options.random_seed, 14)
    pairs = [list(borders)[index] for index in rng.permutation(len(borders))]
    ends: list[tuple[int, int]] = []
    bundles: list[NDArray[np.float32]] = []
    for pair in pairs:
        if len(ends) == options.n_u_fibres:
            break
        fibres = _u_bundle(anatomy, pair, borders[pair], options)
        if len(fibres):
            ends.append(pair)
            bundles.append(fibres)
    if len(ends) < options.n_u_fibres:
        message = (
            f"n_u_fibres = {options.n_u_fibres}, but only {len(ends)} pairs of neighbouring cortical regions can be "
            "joined by U-fibres. Ask for fewer, or for more cortical regions."
        )
        raise OptionError(message)
    return np.array(ends, dtype=np.int64).reshape(-1, 2), bundles


def _borders(anatomy: Anatomy, surface: Points) -> dict[tuple[int, int], Points]:
    """Points of the surface near the border of two regions, by pair of rows."""
    from scipy.spatial import cKDTree

    half = anatomy.n_cortical // 2
    found: dict[tuple[int, int], Points] = {}
    for start, side in ((0, surface[surface[:, 0] < 0]), (half, surface[surface[:, 0] >= 0])):
        distance, nearest = cKDTree(anatomy.seeds_mm[start : start + half]).query(side, k=2)
        near = distance[:, 1] - distance[:, 0] < 2.0
        pairs = np.sort(nearest[near], axis=1) + start
        for pair in np.unique(pairs, axis=0):
            points = side[near][(pairs == pair).all(axis=1)]
            if len(points) >= 8:
                found[(int(pair[0]), int(pair[1]))] = points
    return found


def _u_bundle(anatomy: Anatomy, pair: tuple[int, int], border: Points, options: PhantomOptions) -> NDArray[np.float32]:
    """Arcs of 4 to 8 mm radius under the border of a pair; empty where too few end in their regions."""
    rng = keyed_rng(options.random_seed, 21, *pair)
    count = _n_fibres(options, rng, 0.7)
    radius_mm, spread_mm = rng.uniform(4.5, 7.5), rng.uniform(4.0, 9.0)
    centre = border[rng.integers(len(border))]
    near = border[np.linalg.norm(border - centre, axis=1) < spread_mm]
    across = anatomy.seeds_mm[pair[1]] - anatomy.seeds_mm[pair[0]]
    middle = near[rng.integers(len(near), size=2 * count)] + rng.normal(0.0, 0.7, (2 * count, 3))
    radius = radius_mm * np.clip(rng.normal(1.0, 0.06, 2 * count), 4.0 / radius_mm, 8.0 / radius_mm)[:, None, None]
    normal = -gradient(anatomy.hemispheres, middle)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    chord = across - (normal @ across)[:, None] * normal
    chord /= np.linalg.norm(chord, axis=1, keepdims=True)
    # Start the arc in the middle of the ribbon, whatever small jitter the border point had.
    middle -= (anatomy.hemispheres(middle) + CORTEX_MM / 2)[:, None] * -normal
    turn = np.linspace(np.pi, 0.0, N_POINTS)[None, :, None]
    fibres = middle[:, None] + radius * (np.cos(turn) * chord[:, None] + np.sin(turn) * normal[:, None])
    ends = fibres[:, [0, -1]].reshape(-1, 3)
    labels = anatomy.labels(ends).reshape(-1, 2)
    distance = anatomy.distances(fibres[:, 8:-8].reshape(-1, 3)).white.reshape(len(fibres), -1)
    good = (labels == np.array(pair) + 1).all(axis=1) & (distance < 0.5).all(axis=1)
    if good.sum() < 0.3 * len(good) or good.sum() < 10:
        return np.zeros((0, N_POINTS, 3), dtype=np.float32)
    return fibres[good][:count].astype(np.float32)
