"""The tracking methods one step at a time: their tables, and the odds with which each takes every way it may."""

from __future__ import annotations

import naive
import numpy as np
import pytest
import tracking_fields as fields
from naive_methods import arc, frame, octahedral_cell, parallel_curve
from scipy.spatial import cKDTree
from scipy.stats import chisquare

from tractome.datatypes.fields import OrientationField
from tractome.datatypes.grid import Grid
from tractome.kernels import tracking
from tractome.kernels._jit import kernel
from tractome.kernels.harmonics import sh_basis
from tractome.kernels.random import stream_key
from tractome.kernels.tracking.field import look
from tractome.kernels.tracking.methods import advance, nearest_direction, set_out
from tractome.kernels.tracking.types import PEAK
from tractome.options import TrackOptions
from tractome.stages.track.engine import Engine
from tractome.stages.track.methods import amplitude_ceilings, octahedral_directions

N_STEPS = 20_000
FALLBACK = 12
"""Draws by rejection of a first-order step before all candidates are looked at."""


@kernel
def first_steps(seed, way, start, method, field, sphere, rules, points, scratch, taken, tangents, n_draws):
    """One step from `start` in direction number `way`, again and again; n_draws is -1 where there was none."""
    for item in range(len(taken)):
        for axis in range(3):
            points[0, axis] = start[axis]
        look(field.rows, field.row_of, start[0], start[1], start[2], scratch.sh)
        set_out(method, sphere, way, 1, scratch)
        key = stream_key(np.uint64(seed), np.uint64(item))
        found, draw = advance(
            method, field, sphere, rules, key, np.uint64(0), False, 1, points, scratch
        )  # fmt: skip
        n_draws[item] = np.int64(draw) if found else -1
        taken[item] = scratch.taken[1]
        for axis in range(3):
            tangents[item, axis] = scratch.tangents[1, axis]


class Steps:
    """Very many steps out of one point of a field that is linear in space, so that interpolation is exact.

    The amplitude is that of two lobes, each with a height that rises along one axis.
    """

    start = np.array([3.2, 2.9, 3.4], np.float32)

    def __init__(
        self, way, heights=((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)), axes=((0, 0, 1), (1, 0, 0)), **options
    ):
        self.grid = fields.grid_of((7, 7, 7), (2.0, 2.2, 1.9), (-5.0, 3.0, 0.5))
        self.heights, self.lobes = np.array(heights), fields.lobe(axes)
        voxels = np.moveaxis(np.indices(self.grid.shape), 0, -1).reshape(-1, 3)
        coefficients = self.height_at(voxels) @ self.lobes
        field = OrientationField(coefficients.astype(np.float32), np.ones(self.grid.shape, bool), self.grid)
        self.engine = Engine.build(field, TrackOptions(**options), None, None)
        self.directions = self.engine.sphere.directions
        self.on_sphere = sh_basis(self.directions, fields.LMAX) @ self.lobes.T
        self.way = int(np.argmax(self.directions @ (np.array(way) / np.linalg.norm(way))))
        first, last = self.engine.sphere.cone_starts[self.way : self.way + 2]
        self.cone = self.engine.sphere.cone_members[first:last]
        self.run()

    def run(self):
        engine, rules = self.engine, self.engine.rules
        scratch = tracking.Scratch(
            np.zeros(rules.max_points, np.int32), np.zeros((rules.max_points, 3)),
            np.zeros(engine.field.rows.shape[1], np.float32), np.zeros(len(self.directions), np.float32), np.zeros(5),
        )  # fmt: skip
        self.taken, self.tangents = np.zeros(N_STEPS, np.int32), np.zeros((N_STEPS, 3))
        self.n_draws = np.zeros(N_STEPS, np.int64)
        points = np.zeros((rules.max_points, 3), np.float32)
        first_steps(11, self.way, self.start, engine.method, engine.field, engine.sphere, rules, points, scratch,
                    self.taken, self.tangents, self.n_draws)  # fmt: skip
        assert (self.n_draws >= 0).all(), "a step must be found each time"

    def height_at(self, points_vox):
        """Of each lobe: an offset and a slope per voxel along each axis."""
        return np.asarray(points_vox) @ self.heights[:, 1:].T + self.heights[:, 0]

    def amplitude(self, offset_mm, direction):
        """Along direction number `direction`, a world vector away from the start; 0 below the cutoff."""
        there = self.start + self.grid.inverse[:3, :3] @ offset_mm
        value = float(self.on_sphere[direction] @ self.height_at(there))
        return value if value >= self.engine.rules.cutoff else 0.0

    def assert_odds(self, observed, expected):
        """Counts against odds: no more different than chance makes one in ten thousand."""
        expected = np.asarray(expected, float)
        assert observed[expected == 0].sum() == 0
        expected = expected / expected.sum() * observed.sum()
        rare = expected < 8
        if rare.any():
            observed = np.append(observed[~rare], observed[rare].sum())
            expected = np.append(expected[~rare], expected[rare].sum())
            observed, expected = observed[expected > 0], expected[expected > 0]
        assert len(expected) > 5
        assert chisquare(observed, expected).pvalue > 1e-4

    def counts(self):
        assert set(self.taken) <= set(self.cone)
        return np.array([(self.taken == member).sum() for member in self.cone])


RISING = ((0.9, -0.08, 0.02, 0.05), (0.2, 0.05, 0.1, -0.03))
"""Heights of two lobes that change by about a tenth per voxel."""
TILTED = ((0.1, 0.25, 1.0), (0.65, -0.1, 0.75))
"""Their axes, 40 degrees apart."""


@pytest.mark.parametrize("cutoff", [0.0, 0.25])
def test_a_first_order_step_goes_in_proportion_to_the_amplitude(cutoff):
    steps = Steps((0.3, 0.1, 0.9), RISING, TILTED, max_angle_deg=30.0, fod_cutoff=cutoff)
    steps.assert_odds(steps.counts(), [steps.amplitude(np.zeros(3), member) for member in steps.cone])
    assert (steps.n_draws <= FALLBACK).mean() > 0.9


@pytest.mark.parametrize("height", [0.01, 0.08])
def test_so_it_does_where_rejection_gives_up(height):
    # A strong fibre straight across the way, whose height makes nearly every try fail.
    steps = Steps((0, 0, 1), ((height, 0, 0, 0), (1.5, 0, 0, 0)), max_angle_deg=25.0, fod_cutoff=0.0)
    steps.assert_odds(steps.counts(), [steps.amplitude(np.zeros(3), member) for member in steps.cone])
    share = (steps.n_draws > FALLBACK).mean()
    # Of those that give up and those that do not, each alone has the same odds.
    assert {0.01: (0.85, 1.0), 0.08: (0.3, 0.8)}[height][0] < share < {0.01: (0.85, 1.0), 0.08: (0.3, 0.8)}[height][1]
    assert steps.n_draws.max() == FALLBACK + 1


def test_a_deterministic_step_goes_along_the_highest_amplitude():
    steps = Steps((0.3, 0.1, 0.9), RISING, TILTED, max_angle_deg=30.0, method="deterministic")
    amplitudes = [steps.amplitude(np.zeros(3), member) for member in steps.cone]
    assert set(steps.taken) == {steps.cone[np.argmax(amplitudes)]}
    assert set(steps.n_draws) == {0}


@pytest.mark.parametrize("cutoff", [0.0, 0.35])
def test_a_second_order_step_goes_in_proportion_to_the_geometric_mean_along_its_arc(cutoff):
    options = {"max_angle_deg": 40.0, "step_size_mm": 1.6, "fod_cutoff": cutoff}
    steps = Steps((0.3, 0.1, 0.9), RISING, TILTED, method="second-order", **options)
    first_slot = steps.engine.sphere.cone_starts[steps.way]
    odds, ends = [], []
    for slot, member in enumerate(steps.cone):
        ways = steps.directions[steps.way], steps.directions[member]
        to_middle, _ = arc(*ways, 1.6, 0.5)
        to_end, _ = arc(*ways, 1.6, 1.0)
        middle = steps.engine.method.middles[first_slot + slot]
        odds.append(np.sqrt(steps.amplitude(to_middle, middle) * steps.amplitude(to_end, member)))
        ends.append(steps.amplitude(np.zeros(3), member))
    steps.assert_odds(steps.counts(), odds)
    # The test can tell this from the odds of a first-order step.
    with pytest.raises(AssertionError):
        steps.assert_odds(steps.counts(), ends)


def curvatures(steps):
    """Curvature of each step taken along the two axes across its tangent, as shares of the largest; (n, 2)."""
    tangent = steps.directions[steps.way]
    angle = np.arccos(np.clip(steps.tangents @ tangent, -1, 1))
    across = steps.tangents - (steps.tangents @ tangent)[:, None] * tangent
    across /= np.linalg.norm(across, axis=1)[:, None]
    radius = angle / (steps.engine.rules.step_mm * steps.engine.method.max_curvature)
    return radius[:, None] * across @ np.array(frame(tangent)).T


N_RINGS, N_SECTORS, N_PARTS = 5, 8, 6


def disk_counts(k):
    """How many fall in each of 40 equal parts of the unit disk."""
    ring = np.minimum((np.linalg.norm(k, axis=1) ** 2 * N_RINGS).astype(int), N_RINGS - 1)
    sector = ((np.arctan2(k[:, 1], k[:, 0]) / (2 * np.pi) % 1) * N_SECTORS).astype(int) % N_SECTORS
    return np.bincount(ring * N_SECTORS + sector, minlength=N_RINGS * N_SECTORS)


def test_where_all_is_equal_curvatures_fill_their_disk_evenly():
    steps = Steps((0.3, -0.5, 0.8), method="parallel-transport", max_angle_deg=12.0, fod_cutoff=0.0)
    flat = np.zeros_like(steps.engine.field.rows)
    flat[:-1, 0] = 1.0
    flat[:, PEAK:] = steps.engine.field.rows[:, PEAK:]
    steps.engine.field.rows[:] = flat
    steps.run()
    k = curvatures(steps)
    assert np.linalg.norm(k, axis=1).max() <= 1 + 1e-6
    steps.assert_odds(disk_counts(k), np.ones(N_RINGS * N_SECTORS))


@pytest.mark.parametrize("cutoff", [0.0, 0.35])
def test_parallel_transport_goes_in_proportion_to_the_mean_along_its_probe(cutoff):
    options = {"max_angle_deg": 20.0, "step_size_mm": 0.5, "fod_cutoff": cutoff}
    steps = Steps((0.3, 0.1, 0.9), RISING, TILTED, method="parallel-transport", **options)
    method, tangent, nearest = steps.engine.method, steps.directions[steps.way], cKDTree(steps.directions)
    assert np.linalg.norm(curvatures(steps), axis=1).max() <= 1 + 1e-6
    assert method.probe_mm > 0.5
    lengths = method.probe_mm * np.arange(1, method.n_samples + 1) / method.n_samples

    def odds(k):
        radius = np.linalg.norm(k)
        bend, curvature = k @ np.array(frame(tangent)) / radius, radius * np.radians(20.0) / 0.5
        there = []
        for length in lengths:
            offset, direction = parallel_curve(tangent, bend, curvature, length)
            there.append(steps.amplitude(offset, nearest.query(direction)[1]))
        return np.mean(there) if min(there) > 0 else 0.0

    # Each of the parts of the disk, of which the curves are the middles of smaller equal parts.
    radii = np.sqrt((np.arange(N_RINGS * N_PARTS) + 0.5) / (N_RINGS * N_PARTS))
    angles = (np.arange(N_SECTORS * N_PARTS) + 0.5) / (N_SECTORS * N_PARTS) * 2 * np.pi
    fine = np.array([[odds(r * np.array([np.cos(a), np.sin(a)])) for a in angles] for r in radii])
    parts = fine.reshape(N_RINGS, N_PARTS, N_SECTORS, N_PARTS).mean(axis=(1, 3)).ravel()
    if cutoff > 0:
        assert (fine == 0).mean() > 0.1, "the cutoff must matter"
        parts[parts < 0.05 * parts.max()] = 0  # a border that runs through a part's corner
        counts = disk_counts(curvatures(steps))
        assert counts[parts == 0].sum() < 0.02 * N_STEPS
        counts[parts == 0] = 0
        steps.assert_odds(counts, parts)
    else:
        steps.assert_odds(disk_counts(curvatures(steps)), parts)


# --- tables -----------------------------------------------------------------------------------------------------------


def rough_field(rng, grid):
    """Lobes in a part of the voxels, a few of them a hundred times as high as the others."""
    mask = rng.random(grid.shape) < 0.8
    heights = np.where(rng.random((int(mask.sum()), 1)) < 0.03, 1.0, 0.01)
    axes = rng.normal(size=(int(mask.sum()), 3))
    return OrientationField((heights * fields.lobe(axes)).astype(np.float32), mask, grid)


def sheared(shape):
    affine = np.eye(4)
    affine[:3, :3] = [[2.0, 1.2, 0.0], [0.2, 1.5, 1.5], [0.0, 0.3, 2.0]]
    return Grid(shape, affine)


@pytest.mark.parametrize(
    "grid", [fields.grid_of((9, 8, 7), (1.0, 2.0, 2.7)), sheared((9, 8, 7))], ids=["box", "sheared"]
)
@pytest.mark.parametrize("reach_mm", [0.4, 1.0, 2.3])
def test_nothing_within_reach_is_above_the_ceiling(reach_mm, grid):
    rng = np.random.default_rng(4)
    engine = Engine.build(rough_field(rng, grid), TrackOptions(), None, None)
    ceilings = amplitude_ceilings(engine.field, reach_mm, grid)
    assert ceilings.shape == grid.shape and ceilings.dtype == np.float32
    sh, nearly = np.zeros(engine.field.rows.shape[1], np.float32), 0
    for item, point in enumerate(rng.uniform(-0.5, np.array(grid.shape) - 0.5, (4000, 3))):
        # Any way, and the ways that cross the most layers of voxels.
        offset = rng.normal(size=3) if item % 2 else rng.choice([-1, 1]) * grid.inverse[item // 2 % 3, :3]
        offset *= reach_mm / np.linalg.norm(offset)
        look(*engine.field, *(point + grid.inverse[:3, :3] @ offset), sh)
        ceiling = ceilings[tuple(np.floor(point + 0.5).astype(int))]
        assert (engine.sphere.basis @ sh).max() <= ceiling
        nearly += (engine.sphere.basis @ sh).max() > 0.5 * ceiling
    assert nearly > 15, "a ceiling far above everything is of no use"


def test_ceilings_are_those_of_the_voxels_within_reach():
    rng = np.random.default_rng(5)
    grid = fields.grid_of((6, 7, 5), (1.0, 2.0, 2.7))
    field = Engine.build(rough_field(rng, grid), TrackOptions(), None, None).field
    peaks = field.rows[:, PEAK][field.row_of[1:-1, 1:-1, 1:-1]]
    ceilings = amplitude_ceilings(field, 1.5, grid)
    for voxel in np.ndindex(ceilings.shape):
        # 1.5 mm are 1.5, 0.75 and 0.56 voxels, and half of a voxel more from its centre.
        around = [slice(max(i - n, 0), i + n + 1) for i, n in zip(voxel, (2, 2, 2), strict=True)]
        assert ceilings[voxel] == pytest.approx(peaks[tuple(around)].max() * 1.0001, rel=1e-6)


@pytest.mark.parametrize("max_angle_deg", [20.0, 60.0, 90.0])
def test_the_tables_of_arcs_are_geometry(max_angle_deg):
    grid = fields.grid_of((3, 3, 3), (2.0, 1.7, 2.4))
    options = TrackOptions(method="second-order", max_angle_deg=max_angle_deg, step_size_mm=0.9)
    engine = Engine.build(fields.field_of((1, 0, 0), grid), options, None, None)
    sphere, method = engine.sphere, engine.method
    rng = np.random.default_rng(1)
    of = np.repeat(np.arange(len(sphere.directions)), np.diff(sphere.cone_starts))
    for slot in rng.choice(len(of), 400, replace=False):
        one, other = of[slot], sphere.cone_members[slot]
        first, last = sphere.directions[one], sphere.directions[other]
        to_middle, middle = arc(first, last, 0.9, 0.5)
        to_end, arrives = arc(first, last, 0.9, 1.0)
        np.testing.assert_allclose(arrives, last, atol=1e-9)
        cosines = sphere.directions @ middle
        assert cosines[method.middles[slot]] > cosines.max() - 1e-9
        w, p, q = method.weights[slot]
        both = np.stack([sphere.steps[one], sphere.steps[other]])
        np.testing.assert_allclose((w, w) @ both, grid.inverse[:3, :3] @ to_end, atol=1e-12)
        np.testing.assert_allclose((p, q) @ both, grid.inverse[:3, :3] @ to_middle, atol=1e-12)


def awkward_directions():
    """Axes, edges and folds of the octahedron, signed zeros and what is next to them."""
    tiny = [0.0, -0.0, 1e-17, -1e-17, 1e-9, -1e-9]
    vectors = [np.roll((sign, a, b), shift) for sign in (1.0, -1.0) for a in tiny for b in tiny for shift in range(3)]
    vectors += [np.roll((s, t, a), shift) for s in (1, -1) for t in (1, -1) for a in tiny for shift in range(3)]
    vectors = np.array(vectors)
    return vectors / np.linalg.norm(vectors, axis=1)[:, None]


def test_the_octahedral_map_is_nearly_the_nearest_direction_everywhere():
    rng = np.random.default_rng(2)
    grid = fields.grid_of((3, 3, 3))
    engine = Engine.build(fields.field_of((1, 0, 0), grid), TrackOptions(method="parallel-transport"), None, None)
    directions, table = engine.sphere.directions, engine.method.nearest
    wanted = rng.normal(size=(4000, 3))
    wanted /= np.linalg.norm(wanted, axis=1)[:, None]
    n_off = 0
    for vector in np.concatenate([wanted, awkward_directions(), directions]):
        index = nearest_direction(table, *vector)
        cosines = directions @ vector
        angle, least = (np.degrees(np.arccos(min(c, 1.0))) for c in (cosines[index], cosines.max()))
        # Twice the distance of a cell's corner from its centre.
        assert angle < least + 3.8 and angle < 6.0
        n_off += angle > least + 1e-6
    assert n_off < 0.25 * (len(wanted) + len(directions))
    # A direction of the sphere is itself.
    assert [nearest_direction(table, *vector) for vector in directions] == list(range(len(directions)))


@pytest.mark.parametrize("n", [8, 128])
def test_cells_of_the_octahedral_map_hold_their_centres_and_cover_the_sphere_evenly(n):
    centres = octahedral_directions(n)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=-1), 1, atol=1e-12)
    table = np.arange(n * n, dtype=np.int32).reshape(n, n)
    for cell in np.ndindex(n, n):
        if n < 20 or sum(cell) % 7 == 0:
            assert octahedral_cell(centres[cell], n) == cell
            assert nearest_direction(table, *centres[cell]) == table[cell]
    rng = np.random.default_rng(3)
    wanted = rng.normal(size=(3000, 3))
    wanted /= np.linalg.norm(wanted, axis=1)[:, None]
    cells = [octahedral_cell(vector, n) for vector in wanted]
    assert [nearest_direction(table, *vector) for vector in wanted] == [table[cell] for cell in cells]
    cosines = [vector @ centres[cell] for vector, cell in zip(wanted, cells, strict=True)]
    # A cell's corner is sqrt(6) / n from its centre on the octahedron, whose faces are 1 / sqrt(3) from the middle.
    assert np.arccos(np.clip(min(cosines), -1, 1)) < np.sqrt(18) / n * 1.01


def test_cubes_of_plain_white_matter_are_those_where_nothing_stops():
    rng = np.random.default_rng(6)
    fractions = rng.dirichlet([0.3, 0.3, 2.5, 0.3, 0.3], (9, 8, 7)) * rng.uniform(0.4, 1.0, (9, 8, 7, 1)) ** 0.3
    fractions = fractions.astype(np.float32)
    cells = tracking.plain_cells(fractions)
    tissues = naive.Tissues(tracking.Tissue(fractions, cells, np.eye(4)[:3], True))
    assert cells.shape == (8, 7, 6)
    for cell in np.ndindex(cells.shape):
        corners = np.array(cell) + list(np.ndindex(2, 2, 2))
        assert cells[cell] == all(tissues.stop(corner) == "" for corner in corners)
        if cells[cell]:
            assert not any(tissues.stop(np.array(cell) + rng.random(3)) for _ in range(25))
    assert 0.05 < cells.mean() < 0.8
