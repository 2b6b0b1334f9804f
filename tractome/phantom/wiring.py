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
    Anatomy,
    Points,
    brain_centre_mm,
    callosum_height_mm,
    cortical_surface,
    gradient,
    keyed_rng,
    unit,
)
from tractome.phantom.paths import (
    N_POINTS,
    Passage,
    bunch,
    depth_wanted,
    draw_n_fibres,
    equal_steps,
    relax,
    sharpest_turn,
    straighten,
)
from tractome.phantom.u_fibres import make_u_bundles

_MIN_LONG_MM = 30.0
_N_TRIES = 6
_LINE_TURN_DEG_PER_MM = 4.0
_FIBRE_TURN_DEG_PER_MM = 9.0
_SHALLOW_MM = 1.5


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
class _Ports:
    """Where fibres may end: points in the grey matter and the directions from them into white matter."""

    points: list[Points]
    inward: list[Points]


def fibre_area_mm2(options: PhantomOptions) -> float:
    """Cross-section that one fibre stands for, mm2: with fewer fibres each stands for more."""
    return 20.0 / options.median_fibres


def make_wiring(anatomy: Anatomy, options: PhantomOptions) -> Wiring:
    """Draw every bundle that belongs to the random seed.

    Raises
    ------
    OptionError
        More bundles are asked for than there are pairs of regions.
    """
    surface = cortical_surface(anatomy, keyed_rng(options.random_seed, 10), 60_000)
    passage = Passage.of(anatomy)
    u_ends, u_fibres = make_u_bundles(anatomy, surface, options)
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
            [(anatomy.lesion(bundle_fibres.astype(np.float64)) > 0).all() for bundle_fibres in fibres], dtype=bool
        )
        ends, is_u, axial, radial = ends[whole], is_u[whole], axial[whole], radial[whole]
        fibres = [bunch for bunch, keep in zip(fibres, whole, strict=True) if keep]
    bundle = np.repeat(np.arange(len(ends)), [len(bunch) for bunch in fibres])
    # A lesion may have cut every bundle there was.
    none = np.zeros((0, N_POINTS, 3), dtype=np.float32)
    return Wiring(ends, is_u, axial, radial, np.concatenate([none, *fibres]), bundle)


def _ports(anatomy: Anatomy, surface: Points, options: PhantomOptions) -> _Ports:
    rows = anatomy.cortical_rows(surface)
    normals = unit(-gradient(anatomy.hemispheres, surface))
    points = [surface[rows == row] for row in range(anatomy.n_cortical)]
    inward = [normals[rows == row] for row in range(anatomy.n_cortical)]
    rng = keyed_rng(options.random_seed, 12)
    for centre, axes in zip(anatomy.deep_centres_mm, anatomy.deep_axes_mm, strict=True):
        directions = unit(rng.normal(size=(800, 3)))
        points.append(centre + 0.75 * axes * directions)
        inward.append(unit(directions / axes))
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
        (association, 0.68, np.exp(-distance / 60.0)),
        (commissural, 0.16, np.exp(-mirrored / 12.0)),
        (projection, 0.16, np.ones(len(first))),
    ):
        if kind.any():
            weight[kind] = share * affinity[kind] / affinity[kind].sum()
    weight[[pair in taken for pair in zip(first.tolist(), second.tolist(), strict=True)]] = 0.0
    if np.count_nonzero(weight) < options.n_bundles:
        message = (
            f"n_bundles = {options.n_bundles}, but these regions have only {np.count_nonzero(weight)} pairs that a "
            "long bundle can join. Ask for fewer bundles or more regions."
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
    counts = [draw_n_fibres(options, rng) for rng in rngs]
    area = fibre_area_mm2(options)
    radii = np.array([np.sqrt(n * area / (np.pi * rng.uniform(0.4, 0.9))) for n, rng in zip(counts, rngs, strict=True)])
    lines, patches = _best_ways(anatomy, passage, ports, ends, radii, rngs)
    bundles = []
    for line, radius, count, patch, rng in zip(lines, radii, counts, patches, rngs, strict=True):
        fibres = bunch(line, radius, 2 * count, patch[0], patch[1], rng)
        fibres = equal_steps(relax(fibres, passage, np.full(2 * count, 0.8), n_rounds=8))
        fault = _faults(fibres, passage, 0.3, _FIBRE_TURN_DEG_PER_MM)
        # A bundle that nearly always hits an obstacle is still a bundle: its best fibres stay.
        kept = fault <= max(1.0, float(np.quantile(fault, 0.1)))
        bundles.append(fibres[kept][:count].astype(np.float32))
    return bundles


def _best_ways(
    anatomy: Anatomy,
    passage: Passage,
    ports: _Ports,
    ends: NDArray[np.int64],
    radii: NDArray[np.float64],
    rngs: list[np.random.Generator],
) -> tuple[Points, list[tuple[Points, Points]]]:
    """Centreline (N_POINTS, 3) of every bundle, and its end points in both regions: the best of a few tries each."""
    lines: list[Points] = []
    patches: list[list[tuple[Points, Points]]] = []
    faults: list[NDArray[np.float64]] = []
    margin = np.clip(radii + 1.5, 2.5, 5.5)
    for _ in range(_N_TRIES):
        tries = [
            tuple(_patch(anatomy, ports, int(pair[side]), int(pair[1 - side]), rng) for side in (0, 1))
            for pair, rng in zip(ends, rngs, strict=True)
        ]
        guesses = [_first_guess(a[1:], b[1:], rng) for (a, b), rng in zip(tries, rngs, strict=True)]
        way = straighten(np.stack(guesses), passage, margin, n_rounds=15)
        lines.append(way)
        patches.append([(a[0], b[0]) for a, b in tries])
        faults.append(_faults(way, passage, 1.5, _LINE_TURN_DEG_PER_MM))
    best = np.argmin(faults, axis=0)
    chosen = np.stack([lines[attempt][bundle] for bundle, attempt in enumerate(best)])
    return chosen, [patches[attempt][bundle] for bundle, attempt in enumerate(best)]


def _faults(lines: Points, passage: Passage, depth_mm: float, turn_deg_per_mm: float) -> NDArray[np.float64]:
    """How bad each line is, (n,): above 1 where it turns too sharply or leaves passable white matter on its way."""
    wanted = depth_wanted(lines, np.full(len(lines), depth_mm))
    shallow = (wanted - passage.depth_at(lines)).max(axis=1)
    worst: NDArray[np.float64] = np.maximum(sharpest_turn(lines) / turn_deg_per_mm, shallow / _SHALLOW_MM)
    return worst


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
    n_kept = max(int(len(points) * rng.uniform(0.2, 0.6)), 8)
    kept = np.argsort(distance, kind="stable")[:n_kept]
    middle = kept[np.argmin(np.linalg.norm(points[kept] - points[kept].mean(axis=0), axis=1))]
    return points[kept], points[middle], inward[middle]


def _first_guess(first: tuple[Points, ...], second: tuple[Points, ...], rng: np.random.Generator) -> Points:
    """Centreline (N_POINTS, 3): leaves a region straight, bends through deep white matter, crosses in the callosum."""
    from scipy.interpolate import BSpline

    centre = brain_centre_mm()
    (start, start_in), (stop, stop_in) = first, second
    sides = np.sign([start[0], stop[0]])
    bow = rng.normal(0.0, 7.0, 3)
    if sides[0] == sides[1]:
        core = centre + np.array([sides[0] * 28.0, 0.45 * ((start + stop) / 2 - centre)[1], 6.0])
        pull = rng.uniform(0.0, 0.35)
        middle = [(1 - pull) * (start + stop) / 2 + pull * core + bow]
    else:
        y = np.clip(0.45 * ((start + stop) / 2 - centre)[1] + bow[1], -29.0, 29.0)
        z = callosum_height_mm(y) + np.clip(bow[2] / 3, -2, 2)
        middle = [
            centre + np.array([sides[0] * x, y, z + lift])
            for x, lift in ((20.0, 5.0), (9.0, 0.0), (-9.0, 0.0), (-20.0, 5.0))
        ]
    reach = min(28.0, 0.35 * float(np.linalg.norm(stop - start)))
    controls = np.array(
        [
            *(start + share * reach * start_in for share in (0.0, 0.45, 1.0)),
            *middle,
            *(stop + share * reach * stop_in for share in (1.0, 0.45, 0.0)),
        ]
    )
    n_controls = len(controls)
    knots = np.concatenate([np.zeros(3), np.linspace(0, 1, n_controls - 2), np.ones(3)])
    curve: Points = BSpline(knots, controls, 3)(np.linspace(0, 1, N_POINTS))
    line: Points = equal_steps(curve[None])[0]
    return line
