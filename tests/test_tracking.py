"""The tracking engine: against its slow twin, on fields whose streamlines are known, and every reason it can give."""

from __future__ import annotations

import naive
import numpy as np
import pytest
import tracking_fields as fields
from tracking_fields import CORTEX, CSF, DEEP, LESION, WHITE

from tractome.datatypes.fields import ScalarMap
from tractome.datatypes.tissue import TissueMap
from tractome.datatypes.tractogram import RejectReason, StopReason
from tractome.kernels import tracking
from tractome.kernels.tracking import anatomy, choice, types
from tractome.options import DIRECTION_METHODS, TrackOptions
from tractome.stages.track import find_seeds, limits
from tractome.stages.track.engine import Engine
from tractome.stages.track.sources import VoxelSource, seeds_in_field

FIRST_ORDER = ("probabilistic", "deterministic")

STRAIGHT = 0.99
"""A cutoff that only the one direction along a lobe's axis reaches, where the axis is one of the sphere's directions
(the axes x, y and z are)."""


class Run:
    """The kernel on a field: seeds `first` to `first + n`, in voxel coordinates."""

    def __init__(self, field, tissue=None, fa=None, seed_mask=None, **options):
        self.grid = field.grid
        self.options = TrackOptions(**{"seed_source": "white-matter", "min_length_mm": 0.0} | options)
        has_depth = self.options.seed_source == "balanced" and seed_mask is None
        self.engine = Engine.build(field, self.options, tissue, fa, has_depth=has_depth)
        seeds = find_seeds(field, self.options, tissue, fa, seed_mask)
        self.source = VoxelSource(seeds, field.grid, self.options.random_seed)
        self.centres, self.axes = seeds_in_field(seeds, field.grid)

    def track(self, n, first=0):
        engine = self.engine
        points = np.full((n, engine.rules.max_points, 3), np.nan, np.float32)
        n_points, verdicts = np.full(n, -1, np.int32), np.full((n, 3), -1, np.int8)
        starts, directions = self.source.draw(first, n)
        tracking.track_block(
            self.options.random_seed, first, starts, directions, engine.method, engine.field,
            engine.sphere, engine.tissue, engine.rules, points, n_points, verdicts,
        )  # fmt: skip
        return [points[i, : n_points[i]].copy() for i in range(n)], verdicts

    def twin(self, index):
        twin = naive.Tracker(
            self.engine.method, self.engine.field, self.engine.sphere, self.engine.tissue, self.engine.rules
        )
        return twin.streamline(self.options.random_seed, index, *self.twin_seed(index))

    def twin_seed(self, index):
        starts, directions = self.source.draw(index, 1)
        return starts[0], int(directions[0])

    def seed(self, index):
        """Where seed number `index` starts, voxel coordinates."""
        draws = [naive.uniform(self.options.random_seed, index, draw) for draw in range(4)]
        return self.centres[int(draws[0] * len(self.centres))] + self.axes @ (np.array(draws[1:]) - 0.5)

    def accepted(self, n):
        """Accepted streamlines in world mm, with their seed indices and stop reasons."""
        streamlines, verdicts = self.track(n)
        kept = np.flatnonzero(verdicts[:, 0] == 0)
        return [self.grid.to_world(streamlines[i]) for i in kept], kept, verdicts[kept, 1:]


def rough_anatomy(rng, grid, finer=1.3):
    """Soft tissue of every kind on a grid of its own: cortex and deep grey at the ends, CSF and a lesion between."""
    shape = tuple(int(n * finer) for n in grid.shape)
    own = fields.grid_of(shape, grid.voxel_sizes_mm / finer, grid.affine[:3, 3] - 0.3)
    x, y, z = np.indices(shape) / (np.array(shape)[:, None, None, None] - 1)
    kind = np.full(shape, WHITE)
    kind[x < 0.15], kind[x > 0.85] = CORTEX, DEEP
    kind[(x > 0.7) & (y > 0.6)] = CORTEX
    kind[(np.abs(x - 0.5) < 0.12) & (np.abs(y - 0.45) < 0.12)] = CSF
    kind[(np.abs(x - 0.3) < 0.1) & (z > 0.7)] = LESION
    kind[(y < 0.05) | (y > 0.95)] = -1
    fractions = (kind[..., None] == np.arange(5)).astype(float)
    for axis in range(3):
        fractions = (fractions + np.roll(fractions, 1, axis) + np.roll(fractions, -1, axis)) / 3
    return TissueMap(fractions.astype(np.float32), own)


CASES = {
    "mask": {},
    "mask-and-fa": {"fa": True},
    "tissue": {"tissue": True},
    "tissue-balanced": {"tissue": True, "seed_source": "balanced", "seed_depth_mm": 5.0},
    "tissue-uncropped-no-backtracking": {"tissue": True, "crop_at_interface": False, "backtrack_mm": 0.0},
    "long-steps": {"tissue": True, "step_size_mm": 1.1, "max_angle_deg": 40.0},
}


@pytest.mark.parametrize("method", DIRECTION_METHODS)
@pytest.mark.parametrize("case", CASES)
def test_equals_the_slow_twin(case, method):
    options = dict(CASES[case])
    rng = np.random.default_rng(3)
    grid = fields.grid_of((13, 9, 8), (2.0, 2.3, 1.8), (-4.0, 7.0, 1.0))
    mask = np.ones(grid.shape, bool)
    mask[:, :1], mask[-1:] = False, False
    field = fields.field_of(fields.smooth_axes(rng, grid), grid, mask, rng.uniform(0.4, 1.2, (int(mask.sum()), 1)))
    tissue = rough_anatomy(rng, grid) if options.pop("tissue", False) else None
    fa = None
    if options.pop("fa", False):
        fa = ScalarMap("fa", "unitless", rng.uniform(0.05, 0.6, int(mask.sum())), mask, grid)
    run = Run(field, tissue, fa, method=method, min_length_mm=3.0, **options)
    n = 15 if method == "parallel-transport" else 30
    streamlines, verdicts = run.track(n)
    n_equal, seen = 0, set()
    for index in range(n):
        points, names = run.twin(index)
        ours = (RejectReason(verdicts[index, 0]).name, *(StopReason(code).name for code in verdicts[index, 1:]))
        seen.update(ours)
        n_equal += ours == names and len(points) == len(streamlines[index]) and np.allclose(
            np.reshape(points, (-1, 3)), streamlines[index], rtol=0, atol=1e-5
        )  # fmt: skip
    # A draw that falls within rounding of two candidates' border may go either way; it is that rare.
    assert n_equal >= n - 1
    assert (verdicts[:, 0] == 0).sum() >= n // 4, "most of what is compared must be streamlines"


def test_seeds_fill_their_voxel():
    # One step leaves the image on both sides: the middle point of each streamline is its seed.
    grid = fields.grid_of((3, 3, 3), (2.0, 1.0, 3.0))
    mask = np.zeros(grid.shape, bool)
    mask[1, 1, 1] = True
    run = Run(fields.field_of((1, 2, 3), grid), step_size_mm=10.0, seed_mask=mask)
    streamlines, _ = run.track(3000)
    seeds = np.array([points[1] for points in streamlines])
    for index in range(20):
        np.testing.assert_allclose(seeds[index], run.seed(index), atol=1e-6)
    assert (np.abs(seeds - 1) <= 0.5).all()
    np.testing.assert_allclose(seeds.mean(axis=0), 1, atol=4 * np.sqrt(1 / 12 / 3000))
    np.testing.assert_allclose(np.cov(seeds.T), np.eye(3) / 12, atol=0.01)


def start_directions(coefficients_of, n, **options):
    """The direction in which each of n streamlines leaves its seed, world."""
    grid = fields.grid_of((3, 3, 3))
    whole = fields.field_of((1, 0, 0), grid)
    field = type(whole)(np.broadcast_to(coefficients_of, whole.coefficients.shape), whole.mask, grid)
    mask = np.zeros(grid.shape, bool)
    mask[1, 1, 1] = True
    run = Run(field, seed_mask=mask, step_size_mm=10.0, max_angle_deg=1.0, **options)
    streamlines, verdicts = run.track(n)
    assert (verdicts[:, 0] == 0).all()
    return np.array([(points[1] - points[0]) * 2.0 / 10.0 for points in streamlines])


@pytest.mark.parametrize("method", FIRST_ORDER)
@pytest.mark.parametrize("axes", [((1, 0, 0), (0, 1, 0)), ((0.36, 0.48, 0.8), (-0.8, 0.6, 0.0))])
def test_equal_lobes_are_each_started_in_half_of_the_cases(axes, method):
    n = 4000
    directions = start_directions(sum(fields.lobe(axis) for axis in axes), n, method=method)
    first, second = (np.abs(directions @ axis) for axis in axes)
    assert abs((first > second).sum() - n / 2) < 3 * np.sqrt(n / 4)


def test_starts_go_in_proportion_to_the_amplitude():
    n = 4000
    directions = start_directions(2 * fields.lobe((1, 0, 0)) + fields.lobe((0, 0, 1)), n, fod_cutoff=0.0)
    share = (np.abs(directions[:, 0]) > np.abs(directions[:, 2])).mean()
    assert abs(share - 2 / 3) < 3 * np.sqrt(2 / 9 / n)
    # Within one lobe |cos|^8: the mean of the squared cosine is 9 / 11.
    cosines = start_directions(fields.lobe((0.36, 0.48, 0.8)), n, fod_cutoff=0.0) @ (0.36, 0.48, 0.8)
    assert abs((cosines**2).mean() - 9 / 11) < 0.01


def test_no_direction_below_the_cutoff_is_started():
    directions = start_directions(fields.lobe((0, 0, 1)), 1000, fod_cutoff=0.5)
    assert (np.abs(directions[:, 2]) ** 8).min() > 0.5 - 1e-4


@pytest.mark.parametrize("u", [0.0, 0.5, 1 - 2.0**-30, 1 - 2.0**-53])
def test_a_draw_never_falls_on_a_direction_without_amplitude(u):
    amplitudes = np.array([0, 1, 0, 2, 0, 0], np.float32)
    assert amplitudes[choice.draw_share(np.cumsum(amplitudes), 6, u)] > 0
    assert choice.draw_share(np.zeros(6, np.float32), 6, u) == -1


@pytest.mark.parametrize("method", DIRECTION_METHODS)
def test_a_straight_field_gives_straight_lines_of_the_right_step_and_length(method):
    grid = fields.grid_of((20, 6, 6), (2.0, 1.5, 2.5), (3, -8, 1))
    inner = np.zeros(grid.shape, bool)
    inner[1:-1, 1:-1, 1:-1] = True
    field = fields.field_of((1, 0, 0), grid)
    # Of curves only so many are tried that some of them must be straight enough.
    angle = {"second-order": 6.0, "parallel-transport": 2.0}.get(method)
    run = Run(field, method=method, fod_cutoff=STRAIGHT, step_size_mm=0.45, max_angle_deg=angle, seed_mask=inner)
    streamlines, _, stops = run.accepted(200)
    assert len(streamlines) == 200
    assert (stops == StopReason.LOW_SIGNAL).all()
    # Curves must keep their amplitude as far as they look ahead; a straight step only where it begins. Beyond the
    # centres of the outer voxels, 38 mm apart, the field fades: a straight step may just leave them.
    is_straight = method in FIRST_ORDER
    ahead_mm = 0.0 if is_straight else limits.probe_length_mm(run.options, grid)
    for points in streamlines:
        segments = np.diff(points, axis=0)
        if method == "parallel-transport":
            # Not bound to the sphere's directions, but no nearer to another than to the axis.
            lengths = np.linalg.norm(segments, axis=1)
            assert lengths.min() > 0.449 and lengths.max() < 0.4501
            assert (np.abs(segments[:, 0]) / lengths).min() > np.cos(np.radians(4.0))
        else:
            np.testing.assert_allclose(np.abs(segments[:, 0]), 0.45, atol=1e-4)
            np.testing.assert_allclose(segments[:, 1:], 0, atol=1e-5)
        reached = abs(points[-1, 0] - points[0, 0])
        assert 38.0 - 2 * ahead_mm <= reached < 38.0 + 2 * 0.45 * is_straight + 2 * 0.02


def test_deterministic_tracking_takes_the_direction_nearest_the_peak():
    grid = fields.grid_of((16, 8, 8))
    axis = np.array([0.9, 0.31, 0.305])
    run = Run(fields.field_of(axis, grid), method="deterministic", max_angle_deg=60.0, step_size_mm=1.0)
    steps = run.engine.sphere.steps / np.linalg.norm(run.engine.sphere.steps, axis=1)[:, None]
    nearest = steps[np.argmax(steps @ axis)]
    streamlines, _, _ = run.accepted(50)
    for points in streamlines:
        segments = np.diff(points, axis=0)
        along = np.abs(segments @ nearest) / np.linalg.norm(segments, axis=1)
        assert (along < 1 - 1e-4).sum() <= 1, "only the start is drawn"


OUTWARD_MM = {
    ("deterministic", 0.5): (0.2, 0.6),
    ("probabilistic", 0.5): (0.2, 1.0),
    ("second-order", 0.5): (0.0, 0.6),
    ("parallel-transport", 0.5): (0.0, 0.3),
    ("deterministic", 2.0): (1.2, 2.0),
    ("probabilistic", 2.0): (1.2, 2.0),
    ("second-order", 2.0): (0.0, 0.15),
    ("parallel-transport", 2.0): (0.0, 0.15),
}
"""How far from a circle of 18 mm streamlines are after a quarter of it, by method and step, mm: at least and at most.

A straight step of length s along the tangent leads s^2 / (2 r) outwards: in a quarter of the circle s pi / 4, which is
0.4 and 1.6 mm. Arcs follow the circle at any step, but short ones, which turn by less than the distance between the
sphere's directions, lag behind as drawn directions do.
"""


@pytest.mark.parametrize(("method", "step_mm"), OUTWARD_MM)
def test_circles_are_followed(method, step_mm):
    # Half rings, so that streamlines end.
    grid = fields.grid_of((32, 16, 5), 2.0, (-31, 0, -4))
    centres = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    radius = np.hypot(centres[..., 0], centres[..., 1])
    run = Run(fields.field_of(fields.circles(grid), grid, (radius > 6) & (radius < 30)), method=method,
              fod_cutoff=0.85, step_size_mm=step_mm, max_angle_deg=min(45.0, 30 * step_mm),
              seed_mask=(radius > 16) & (radius < 20) & (abs(centres[..., 2]) < 1))  # fmt: skip
    streamlines, kept, _ = run.accepted(300)
    changes, lengths = [], []
    for points, index in zip(streamlines, kept, strict=True):
        seed = grid.to_world(run.seed(index))
        at_ends = np.hypot(points[[0, -1], 0], points[[0, -1], 1])
        changes.append(at_ends - np.hypot(seed[0], seed[1]))
        lengths.append(np.linalg.norm(np.diff(points, axis=0), axis=1).sum() / (np.pi * np.hypot(seed[0], seed[1])))
    least, most = OUTWARD_MM[method, step_mm]
    assert len(streamlines) > 250
    assert least - 0.1 < np.mean(changes) < most
    assert np.median(np.abs(changes)) < max(most, 0.5)
    assert abs(np.median(lengths) - 1) < 0.05 + 0.05 * step_mm


def test_seeds_lie_equally_near_to_either_end():
    # Balanced seeding on straight lines: a seed is kept exactly when one end is within the depth, in whole steps.
    grid = fields.grid_of((30, 5, 5))
    run = Run(fields.field_of((1, 0, 0), grid), fields.slab(grid), fod_cutoff=STRAIGHT, step_size_mm=0.5,
              seed_source="balanced", seed_depth_mm=8.0, crop_at_interface=False)  # fmt: skip
    assert run.engine.rules.max_seed_depth == 16
    _, verdicts = run.track(2000)
    for index, verdict in enumerate(verdicts):
        seed = run.seed(index)
        x = 2 * seed[0]
        # Grey outweighs white half-way between voxel centres, at 3 and 55 mm.
        n_steps = min(np.floor((x - 3) / 0.5), np.floor((55 - x) / 0.5)) + 1
        at_border = not 0.01 < (x % 0.5) < 0.49 or not 3 < x < 55 or (seed[1:] < 0.05).any() or (seed[1:] > 3.95).any()
        if at_border:
            continue
        assert verdict[0] == (RejectReason.NONE if n_steps <= 16 else RejectReason.SEED_TOO_DEEP), (x, n_steps)
    counts = np.bincount(verdicts[:, 0], minlength=7)
    assert counts[RejectReason.NONE] > 500 and counts[RejectReason.SEED_TOO_DEEP] > 100


def ring(**options):
    grid = fields.grid_of((16, 16, 5), 2.0, (-15, -15, -4))
    # Steps of 2 mm and a stiff rule keep streamlines on the ring for good.
    return Run(fields.field_of(fields.circles(grid), grid), method="deterministic", max_length_mm=60.0, **options)


def box(tissue=None, fa=None, mask=None, shape=(16, 6, 6), **options):
    grid = fields.grid_of(shape)
    return Run(fields.field_of((1, 0, 0), grid, mask), tissue, fa, **{"fod_cutoff": STRAIGHT} | options)


def masked_part(shape=(16, 6, 6)):
    mask = np.ones(shape, bool)
    mask[12:] = False
    return mask


def low_fa(shape=(16, 6, 6)):
    values = np.full(shape, 0.5)
    values[:5] = 0.05
    return ScalarMap("fa", "unitless", values.ravel(), np.ones(shape, bool), fields.grid_of(shape))


def slab(**ends):
    return fields.slab(fields.grid_of((16, 6, 6)), **ends)


STOPS = {
    StopReason.LEFT_MASK: lambda: box(mask=masked_part(), fod_cutoff=0.2),
    StopReason.LEFT_IMAGE: lambda: box(fod_cutoff=0.2),
    StopReason.LOW_SIGNAL: lambda: box(fa=low_fa()),
    StopReason.ENTERED_CORTEX: lambda: box(slab()),
    StopReason.ENTERED_DEEP_GREY: lambda: box(slab(left=DEEP)),
    StopReason.ENTERED_CSF: lambda: box(slab(left=CSF)),
    StopReason.TOO_LONG: lambda: box(max_length_mm=20.0),
}
REJECTIONS = {
    RejectReason.BAD_SEED: lambda: box(slab(), mask=masked_part()),
    RejectReason.TOO_SHORT: lambda: box(min_length_mm=100.0),
    RejectReason.TOO_LONG: lambda: ring(),
    RejectReason.ENDS_IN_CSF: lambda: box(slab(left=CSF)),
    RejectReason.ENDS_IN_WHITE_MATTER: lambda: box(slab(), mask=masked_part()),
    RejectReason.SEED_TOO_DEEP: lambda: box(slab(), seed_source="balanced", seed_depth_mm=3.0),
}
GATE_REASONS = {RejectReason.MISSED_INCLUDE, RejectReason.ENTERED_EXCLUDE}
"""Given after tracking: see test_track_gates."""


def test_every_reason_has_a_case_and_the_kernel_its_number():
    assert set(STOPS) == set(StopReason) - {StopReason.NONE}
    assert set(REJECTIONS) == set(RejectReason) - {RejectReason.NONE} - GATE_REASONS
    for reason in STOPS:
        assert getattr(types, reason.name) == reason
    in_kernel = {"TOO_SHORT": "REJECT_SHORT", "TOO_LONG": "REJECT_LONG", "ENDS_IN_CSF": "REJECT_CSF",
                 "ENDS_IN_WHITE_MATTER": "REJECT_WHITE"}  # fmt: skip
    for reason in REJECTIONS:
        assert getattr(types, in_kernel.get(reason.name, reason.name)) == reason


@pytest.mark.parametrize("reason", STOPS, ids=lambda reason: reason.name)
def test_stops_for_each_reason(reason):
    _, verdicts = STOPS[reason]().track(200)
    assert (verdicts[:, 1:] == reason).any()


@pytest.mark.parametrize("reason", REJECTIONS, ids=lambda reason: reason.name)
def test_rejects_for_each_reason(reason):
    streamlines, verdicts = REJECTIONS[reason]().track(200)
    assert (verdicts[:, 0] == reason).any()
    for points, verdict in zip(streamlines, verdicts[:, 0], strict=True):
        assert (len(points) == 0) == (verdict != RejectReason.NONE)


def test_lengths_keep_their_limits():
    run = box(fa=low_fa(), min_length_mm=5.0, max_length_mm=22.0, step_size_mm=0.5, fod_cutoff=0.2)
    streamlines, verdicts = run.track(500)
    lengths = np.array([(len(points) - 1) * 0.5 for points in streamlines if len(points)])
    assert len(lengths) > 50
    assert lengths.min() >= 5.0 and lengths.max() <= 22.0
    assert {RejectReason.TOO_LONG, RejectReason.NONE} <= {RejectReason(code) for code in verdicts[:, 0]}


def test_the_tissue_that_outweighs_the_others_decides():
    # Every mixture of tissues, and the outside of the brain.
    rng = np.random.default_rng(5)
    fractions = rng.dirichlet(np.full(5, 0.4), (8, 8, 8)) * (rng.random((8, 8, 8, 1)) < 0.8)
    from_field = np.array([[1.0, 0.1, 0, 0.3], [0, 0.9, 0, 0], [0, 0.2, 1.1, -0.5]])
    fractions[5:] = rng.dirichlet([0.2, 0.2, 4.0, 0.2, 0.2], (3, 8, 8))  # mostly white matter
    fractions = fractions.astype(np.float32)
    cells = tracking.plain_cells(fractions)
    tissue = tracking.Tissue(fractions, cells, from_field, True)
    twin = naive.Tissues(tissue)
    seen = set()
    for point in rng.uniform(0, 7, (1500, 3)):
        stop = twin.stop(point)
        seen.add(stop)
        assert anatomy.tissue_stop(tissue, *point, np.empty(5)) == (StopReason[stop] if stop else 0)
    assert seen == {"", "LEFT_MASK", "ENTERED_CSF", "ENTERED_CORTEX", "ENTERED_DEEP_GREY"}
    assert 0 < cells.mean() < 0.5, "both the cubes of plain white matter and the others must be met"


def winding(**options):
    """Streamlines that spread and bend among cortex, deep grey, CSF and a lesion."""
    rng = np.random.default_rng(8)
    grid = fields.grid_of((20, 14, 10))
    tissue = rough_anatomy(rng, grid)
    return Run(fields.field_of(fields.smooth_axes(rng, grid, bend=0.25), grid), tissue, **options), tissue


def tissue_at(tissue, points):
    """Grey, white and CSF fractions (n, 3) along a streamline, world mm."""
    fractions = np.array([naive.interpolate(tissue.fractions, point) for point in tissue.grid.to_voxel(points)])
    return np.stack([fractions[:, 0] + fractions[:, 1], fractions[:, 2] + fractions[:, 4], fractions[:, 3]], -1)


@pytest.mark.parametrize("crop", [True, False])
def test_accepted_streamlines_obey_anatomy(crop):
    run, tissue = winding(crop_at_interface=crop)
    streamlines, _, stops = run.accepted(250)
    assert len(streamlines) > 60
    assert {StopReason.ENTERED_CORTEX, StopReason.ENTERED_DEEP_GREY} <= {StopReason(code) for code in stops.flat}
    for points, ends in zip(streamlines, stops, strict=True):
        grey, white, csf = tissue_at(tissue, points).T
        # On the way white matter outweighs each of the others: no CSF, and nothing beyond the first grey.
        assert (white[1:-1] >= grey[1:-1]).all() and (white[1:-1] >= csf[1:-1] - 1e-6).all()
        for end, stop in zip((0, -1), ends, strict=True):
            assert stop in (StopReason.ENTERED_CORTEX, StopReason.ENTERED_DEEP_GREY, StopReason.LEFT_MASK,
                            StopReason.LEFT_IMAGE)  # fmt: skip
            if stop in (StopReason.ENTERED_CORTEX, StopReason.ENTERED_DEEP_GREY):
                assert grey[end] >= white[end] - 1e-5 and grey[end] > csf[end]
            if stop == StopReason.ENTERED_CORTEX and crop:
                assert abs(grey[end] - white[end]) < 0.02
    n_in_cortex = (stops == StopReason.ENTERED_CORTEX).sum()
    assert n_in_cortex > 30


def test_cropping_moves_nothing_but_the_ends():
    cropped, _ = winding()
    whole, _ = winding(crop_at_interface=False)
    for short, long in zip(cropped.track(100)[0], whole.track(100)[0], strict=True):
        assert len(short) == len(long)
        np.testing.assert_array_equal(short[1:-1], long[1:-1])


def test_going_back_saves_streamlines_and_leaves_the_others_alone():
    without, verdicts_without = winding(backtrack_mm=0.0)[0].track(250)
    streamlines, verdicts = winding(backtrack_mm=10.0)[0].track(250)
    accepted_without, accepted = verdicts_without[:, 0] == 0, verdicts[:, 0] == 0
    assert accepted.sum() > accepted_without.sum()
    both_at_once = 0
    for index in np.flatnonzero(accepted_without):
        if accepted[index]:
            both_at_once += np.array_equal(without[index], streamlines[index])
    assert both_at_once == accepted_without.sum()


@pytest.mark.parametrize("method", DIRECTION_METHODS)
@pytest.mark.parametrize("max_angle_deg", [10.0, 25.0])
def test_no_turn_is_larger_than_the_angle(method, max_angle_deg):
    # At the seed, where the two halves meet, and where a stuck streamline went back, too.
    run, _ = winding(method=method, max_angle_deg=max_angle_deg, step_size_mm=0.5, backtrack_mm=10.0)
    streamlines, _, _ = run.accepted(250)
    assert len(streamlines) > 40
    turns = [fields.largest_turn_deg(points, shortest_mm=0.05) for points in streamlines]
    assert max(turns) <= max_angle_deg + 0.1
    if method == "probabilistic":
        assert max(turns) > 0.7 * max_angle_deg, "the limit must matter in this case"


def test_gather_brings_the_accepted_to_world():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 50, (4, 6, 3)).astype(np.float32)
    affine = np.array([[-2.0, 0.1, 0, 90], [0, 2.2, 0.3, -126], [0.2, 0, 1.9, -72], [0, 0, 0, 1]])
    joined = tracking.gather(points, np.array([0, 2, 3]), np.array([0, 3, 4, 10]), affine)
    expected = np.concatenate([points[0, :3], points[2, :1], points[3]]) @ affine[:3, :3].T + affine[:3, 3]
    assert joined.dtype == np.float32
    np.testing.assert_allclose(joined, expected, atol=2e-5)
