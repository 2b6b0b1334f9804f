"""Where streamlines start: every source of seeds, and the same bytes for any threads and blocks in each."""

from __future__ import annotations

import numpy as np
import pytest
import tracking_fields as fields
from test_track import digest
from tracking_fields import CORTEX, DEEP, WHITE

from tractome.datatypes.fields import OrientationField
from tractome.datatypes.fixels import FixelField
from tractome.datatypes.seeds import SeedPoints
from tractome.datatypes.tractogram import RejectReason, StopReason
from tractome.errors import OptionError, TableError, TrackingError
from tractome.io.seed_points import read_seed_points
from tractome.options import DIRECTION_METHODS, SEED_SOURCES, TrackOptions
from tractome.stages.fit.fixels import segment_fixels
from tractome.stages.track import dynamic, find_seeds, track
from tractome.stages.track.sources import GridSource, InterfaceSource


def points_of_the_scene(n=40):
    """Points in its white matter, every second with a direction."""
    field, tissue = fields.scene()
    rng = np.random.default_rng(2)
    white = np.argwhere(tissue.fractions[..., WHITE] > 0.5)
    voxels = white[(white[:, 0] > 2) & (white[:, 0] < 15)][::29][:n]
    directions = np.where(np.arange(len(voxels))[:, None] % 2 == 0, (1.0, 0.17, 0.29), 0.0)
    return SeedPoints(field.grid.to_world(voxels + rng.uniform(-0.4, 0.4, voxels.shape)), directions)


def run_source(source, **options):
    """Blocks of the scene with any source of seeds."""
    field, tissue = fields.scene()
    chosen = TrackOptions(**{"seed_source": source, "seeds_per_point": 5, "seeds_per_axis": 1} | options)
    return track(
        field,
        chosen,
        tissue=tissue,
        seed_points=points_of_the_scene() if source == "points" else None,
        fixels=segment_fixels(field) if source == "dynamic" else None,
    )


@pytest.mark.parametrize("method", DIRECTION_METHODS)
@pytest.mark.parametrize("source", SEED_SOURCES)
def test_same_bytes_for_any_threads_and_blocks(source, method, monkeypatch):
    monkeypatch.setattr(dynamic, "FIRST_ROUND", 60)  # several rounds in a short test
    outcomes = [
        digest(run_source(source, method=method, n_seeds=350, **options))
        for options in ({"n_threads": 1}, {"n_threads": 2, "block_size": 37}, {"n_threads": 2, "block_size": 5000})
    ]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert outcomes[0][1] == {"points": 200}.get(source, 350)


@pytest.mark.parametrize("source", SEED_SOURCES)
def test_a_number_of_streamlines_is_a_prefix_of_all(source, monkeypatch):
    monkeypatch.setattr(dynamic, "FIRST_ROUND", 60)
    whole = fields.all_of(run_source(source, n_seeds=200))
    few = fields.all_of(run_source(source, n_streamlines=50, block_size=33))
    assert len(few[0]) == 50 and few[3] == few[2][-1] + 1
    # Dynamic seeds look ahead to the number that is wanted; the first round does not.
    for one, other in list(zip(few[0], whole[0], strict=False))[: 30 if source == "dynamic" else 50]:
        np.testing.assert_array_equal(one, other)


# --- a regular grid ---------------------------------------------------------------------------------------------------


def test_a_grid_seeds_every_place_once_and_in_order():
    field, tissue = fields.scene()
    seeds = find_seeds(field, TrackOptions(seed_source="grid"), tissue)
    assert len(seeds.voxels) == (tissue.fractions[..., WHITE] >= 0.5).sum()
    source = GridSource(seeds, field.grid, 3)
    assert source.n_seeds == 27 * len(seeds.voxels)
    points = np.concatenate([source.draw(first, min(1000, source.n_seeds - first))[0]
                             for first in range(0, source.n_seeds, 1000)])  # fmt: skip
    in_thirds = np.rint((points + 0.5) * 3 - 0.5).astype(int)
    np.testing.assert_allclose(points, (in_thirds + 0.5) / 3 - 0.5, atol=1e-5)
    assert len(np.unique(in_thirds, axis=0)) == len(points)
    np.testing.assert_array_equal(in_thirds // 3, np.repeat(seeds.voxels, 27, axis=0))


def test_a_grid_is_tracked_to_its_end():
    _, tissue = fields.scene()
    n_white = int((tissue.fractions[..., WHITE] >= 0.5).sum())
    *_, n_seeds, rejected = streamlines = fields.all_of(run_source("grid"))
    assert n_seeds == n_white == len(streamlines[0]) + sum(rejected.values())
    assert fields.all_of(run_source("grid", n_seeds=10**6))[3] == n_white
    with pytest.raises(TrackingError, match=f"of 999,999 wanted were accepted from {n_white:,} seeds"):
        list(run_source("grid", n_streamlines=999_999))


def test_a_grid_in_a_seed_mask():
    field, tissue = fields.scene()
    mask = np.zeros(field.grid.shape, bool)
    mask[6, 2:4, 3] = True
    options = TrackOptions(seed_source="grid", seeds_per_axis=2)
    assert fields.all_of(track(field, options, tissue=tissue, seed_mask=mask))[3] == 16


# --- given points -----------------------------------------------------------------------------------------------------


def straight(axes=((1, 0, 0),)):
    grid = fields.grid_of((20, 20, 8), 2.0, (-20, -20, -8))
    field = fields.field_of((1, 0, 0), grid)
    return OrientationField(
        np.tile(sum(fields.lobe(axis) for axis in axes).astype(np.float32), (grid.shape[0] * grid.shape[1] * 8, 1)),
        field.mask, grid,
    )  # fmt: skip


def test_each_point_is_tried_so_many_times():
    points = SeedPoints([[-3.0, 1, 1], [5, -6, 2.5]], np.zeros((2, 3)))
    options = TrackOptions(seeds_per_point=7, min_length_mm=0.0)
    streamlines, _, index, n_seeds, _ = fields.all_of(track(straight(), options, seed_points=points))
    assert n_seeds == 14
    for points_mm, seed in zip(streamlines, index, strict=True):
        distance = np.linalg.norm(points_mm - points.points_mm[seed // 7], axis=1)
        assert distance.min() < 1e-4


@pytest.mark.parametrize("method", DIRECTION_METHODS)
def test_a_direction_chooses_the_lobe_to_start_in(method):
    field = straight(((1, 0, 0), (0, 1, 0)))
    directions = np.array([[0.0, 5, 0.2], [-3, 0.1, 0]])
    options = TrackOptions(method=method, seeds_per_point=40, min_length_mm=0.0, max_length_mm=200.0)
    points = SeedPoints(np.zeros((2, 3)), directions)
    streamlines, _, index, *_ = fields.all_of(track(field, options, seed_points=points))
    assert (np.bincount(index // 40) > 20).all()
    for points_mm, seed in zip(streamlines, index, strict=True):
        nearest = int(np.argmin(np.linalg.norm(points_mm, axis=1)))
        way = points_mm[min(nearest + 1, len(points_mm) - 1)] - points_mm[max(nearest - 1, 0)]
        assert np.argmax(np.abs(way)) == (1 if seed < 40 else 0)


TABLES = {
    "spaces": ("1 2 3\n4 5 6\n", 3),
    "commas-and-names": ("x,y,z\n1,2,3\n4,5,6\n", 3),
    "tabs-comments-directions": ("# mm\n1\t2\t3\t0\t0\t1 # here\n\n4;5;6;0;1;0\n", 6),
}


@pytest.mark.parametrize("name", TABLES)
def test_points_are_read_from_text(tmp_path, name):
    text, width = TABLES[name]
    path = tmp_path / "points.csv"
    path.write_text(text)
    points = read_seed_points(path)
    np.testing.assert_array_equal(points.points_mm, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(points.directions, [[0, 0, 1], [0, 1, 0]] if width == 6 else np.zeros((2, 3)))


def test_points_are_read_from_numpy(tmp_path):
    values = np.arange(12.0).reshape(2, 6)
    np.save(tmp_path / "points.npy", values)
    points = read_seed_points(tmp_path / "points.npy")
    np.testing.assert_array_equal(np.hstack([points.points_mm, points.directions]), values)


BAD_TABLES = {
    "missing.txt": (None, "cannot be read"),
    "empty.txt": ("# nothing\n", "0 x 0"),
    "two.txt": ("1 2\n3 4\n", "rows of 3"),
    "ragged.txt": ("1 2 3\n4 5\n", "line 2 has 2 numbers"),
    "words.txt": ("1 2 3\nfour five six\n", "line 2: 'four five six'"),
    "nan.txt": ("1 2 nan\n", "not finite, in point 1"),
    "words.npy": ("not an array", "no NumPy array"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_tables_of_points_are_a_clear_error(tmp_path, name):
    text, words = BAD_TABLES[name]
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(TableError, match=words):
        read_seed_points(tmp_path / name)


# --- the interface ----------------------------------------------------------------------------------------------------


def test_interface_seeds_lie_on_the_interface_and_streamlines_end_there():
    grid = fields.grid_of((40, 7, 6), 2.0, (3, 1, -2))
    field, tissue = fields.field_of((1, 0, 0), grid), fields.slab(grid, left=CORTEX, right=DEEP)
    options = TrackOptions(seed_source="interface", n_seeds=600)
    source = InterfaceSource(find_seeds(field, options, tissue), grid, 0, tissue)
    drawn, _ = source.draw(0, 600)
    found = np.isfinite(drawn).all(axis=1)
    assert found.mean() > 0.6
    # Grey and white are equal half-way between voxel centres; seeds stay a thousandth of a voxel inside.
    from_surface = np.minimum(np.abs(drawn[found, 0] - 1.5), np.abs(drawn[found, 0] - 37.5))
    assert from_surface.max() < 0.002
    assert (drawn[found, 0] > 1.5).all() and (drawn[found, 0] < 37.5).all()
    assert 0.4 < (drawn[found, 0] < 20).mean() < 0.6
    streamlines, stops, _, _, rejected = fields.all_of(track(field, options, tissue=tissue))
    assert len(streamlines) > 0.5 * found.sum()
    assert rejected[RejectReason.BAD_SEED] == (~found).sum()
    cortex = stops == StopReason.ENTERED_CORTEX
    ends = np.array([points[[0, -1]] for points in streamlines])
    np.testing.assert_allclose(grid.to_voxel(ends[cortex])[:, 0], 1.5, atol=0.01)
    assert cortex.sum(axis=1).max() == 1 and (stops == StopReason.ENTERED_DEEP_GREY).sum() > 100


# --- towards fibre populations that have too few ----------------------------------------------------------------------


def mismatch(blocks, fixels):
    """Coefficient of variation over the fixels of streamline density / target, where streamlines can be."""
    density = np.zeros(fixels.n_fixels)
    source = dynamic.DynamicSource.__new__(dynamic.DynamicSource)
    source._fixels, source.density_mm, source._n_accepted, source._n_seeds, source.round_end = fixels, density, 0, 0, -1
    source._row_of = np.full(fixels.grid.shape, -1, np.int32)
    source._row_of[fixels.mask] = np.arange(fixels.mask.sum(), dtype=np.int32)
    n = 0
    for block in blocks:
        source.learn(block)
        n += block.n_streamlines
    ratio = density / fixels.afd
    inner = fixels.afd > np.median(fixels.afd) * 0.2
    return float(ratio[inner].std() / ratio[inner].mean()), n


def test_dynamic_seeds_even_out_the_density(monkeypatch):
    # Two bundles, one four times as long as the other and one ten times as dense as the other.
    monkeypatch.setattr(dynamic, "FIRST_ROUND", 300)
    grid = fields.grid_of((46, 9, 5))
    classes, scale = np.full(grid.shape, -1), np.full((*grid.shape, 1), 0.3)
    for y, n_voxels in ((1, 10), (6, 40)):
        classes[1 : n_voxels + 5, y - 1 : y + 3] = CORTEX
        classes[3 : n_voxels + 3, y - 1 : y + 3] = WHITE
    scale[:, :4] = 1.0
    mask = classes == WHITE
    field = fields.field_of((1, 0, 0), grid, None, scale.reshape(-1, 1))
    tissue = fields.tissue_of(classes, grid)
    fixels = segment_fixels(OrientationField(field.coefficients[mask.ravel()], mask, grid), min_peak=0.05)
    found = {}
    for source in ("white-matter", "dynamic"):
        options = TrackOptions(n_streamlines=1500, seed_source=source, fod_cutoff=0.25, max_angle_deg=5.0)
        found[source], n = mismatch(track(field, options, tissue=tissue, fixels=fixels), fixels)
        assert n == 1500
    assert found["dynamic"] < 0.6 * found["white-matter"]


BAD = {
    "points without a file": (OptionError, "--seed-points", {"seed_source": "points"}, {}),
    "dynamic without fixels": (OptionError, "needs the fixels", {"seed_source": "dynamic"}, {}),
    "points and a mask": (OptionError, "Give one of them", {}, {"seed_points": True, "seed_mask": True}),
    "points outside": (TrackingError, "12 bad seed", {"seeds_per_point": 12}, {"seed_points": "far"}),
    "no fixel": (TrackingError, "no voxel to start", {"seed_source": "dynamic"}, {"fixels": True}),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_clear_error(case):
    error, words, options, given = BAD[case]
    field, tissue = fields.scene()
    given = dict(given)
    if "seed_points" in given:
        place = [999.0, 0, 0] if given["seed_points"] == "far" else [0.0, 10, 10]
        given["seed_points"] = SeedPoints([place], [[0, 0, 0]])
    if "seed_mask" in given:
        given["seed_mask"] = field.mask
    if "fixels" in given:
        none = np.zeros((0, 3), np.float32)
        offsets = np.zeros(field.mask.sum() + 1, np.int64)
        given["fixels"] = FixelField(offsets, none, none[:, 0], none[:, 0], field.mask, field.grid)
    with pytest.raises(error, match=words):
        list(track(field, TrackOptions(**options), tissue=tissue, **given))
