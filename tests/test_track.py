"""The tracking stage: same bytes for any threads and blocks, exact numbers, seeds, bad input."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tracking_fields as fields
from tracking_fields import CORTEX, WHITE

from tractome.datatypes.fields import OrientationField, ScalarMap
from tractome.datatypes.tractogram import RejectReason, StopReason
from tractome.errors import OptionError, SpaceError, TrackingError
from tractome.options import SEED_SOURCES, TrackOptions
from tractome.stages.track import find_seeds, max_angle_deg, min_length_mm, step_size_mm, track

STRAIGHT = 0.99


def digest(blocks):
    """SHA-256 of all that the blocks hold, joined; the number of seeds; the rejections."""
    points, lengths, index, stops, n_seeds, rejected = [], [], [], [], 0, {}
    for block in blocks:
        points.append(block.points)
        lengths.append(np.diff(block.offsets))
        index.append(block.seed_index)
        stops.append(block.stop_reasons)
        n_seeds += block.n_seeds
        for reason, number in block.rejected.items():
            rejected[int(reason)] = rejected.get(int(reason), 0) + number
    joined = b"".join(np.concatenate(part).tobytes() for part in (points, lengths, index, stops))
    return hashlib.sha256(joined).hexdigest(), n_seeds, sorted(rejected.items())


def run_scene(**options):
    field, tissue = fields.scene()
    return digest(track(field, TrackOptions(**{"n_streamlines": 300} | options), tissue=tissue))


@pytest.fixture(scope="module")
def reference():
    return run_scene(n_threads=1)


@pytest.mark.parametrize("options", [{"n_threads": 2}, {"n_threads": 0}, {"block_size": 17}, {"block_size": 500},
                                     {"n_threads": 2, "block_size": 5000}], ids=str)  # fmt: skip
def test_same_bytes_for_any_threads_and_blocks(options, reference):
    assert run_scene(**options) == reference


def test_same_bytes_with_eight_threads(reference):
    # More threads than the machine may have: only a fresh process can be given them.
    code = "import test_track; print(test_track.run_scene(n_threads=8), __import__('numba').get_num_threads())"
    environment = os.environ | {"NUMBA_NUM_THREADS": "8", "PYTHONPATH": str(Path(__file__).parent)}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert answer.stdout.strip() == f"{reference} 8", answer.stderr


def test_another_seed_value_gives_other_streamlines(reference):
    assert run_scene(random_seed=1)[0] != reference[0]


def test_no_streamline_comes_twice():
    field, tissue = fields.scene()
    streamlines, _, index, _, _ = fields.all_of(track(field, TrackOptions(n_streamlines=500), tissue=tissue))
    assert len({points.tobytes() for points in streamlines}) == 500
    assert (np.diff(index) > 0).all()


@pytest.mark.parametrize("wanted", [1, 57, 300])
@pytest.mark.parametrize("block_size", [17, 5000])
def test_the_number_is_exact_and_a_prefix_of_more(wanted, block_size):
    field, tissue = fields.scene()
    many = fields.all_of(track(field, TrackOptions(n_streamlines=400), tissue=tissue))
    options = TrackOptions(n_streamlines=wanted, block_size=block_size)
    few = fields.all_of(track(field, options, tissue=tissue))
    assert len(few[0]) == wanted
    for one, other in zip(few[0], many[0], strict=False):
        np.testing.assert_array_equal(one, other)
    # Seeds after the last one needed do not count.
    assert few[3] == few[2][-1] + 1
    assert few[3] == wanted + sum(few[4].values())


def test_seeds_after_the_last_streamline_do_not_count_at_a_block_s_end():
    # A block that holds just the number wanted, and then some rejected seeds.
    field, tissue = fields.scene()
    _, _, index, _, _ = fields.all_of(track(field, TrackOptions(n_streamlines=100), tissue=tissue))
    last = int(np.flatnonzero(np.diff(index) > 1)[-1])
    options = TrackOptions(n_streamlines=last + 1, block_size=int(index[last]) + 2)
    _, _, _, n_seeds, rejected = fields.all_of(track(field, options, tissue=tissue))
    assert n_seeds == index[last] + 1 == last + 1 + sum(rejected.values())


def test_a_number_of_seeds_is_exact_too():
    field, tissue = fields.scene()
    blocks = list(track(field, TrackOptions(n_seeds=777, block_size=100), tissue=tissue))
    assert [block.n_seeds for block in blocks] == [100] * 7 + [77]
    for block in blocks:
        assert block.n_seeds == block.n_streamlines + sum(block.rejected.values())
        assert all(isinstance(reason, RejectReason) and number > 0 for reason, number in block.rejected.items())


@pytest.mark.parametrize("options", [{"n_streamlines": 200}, {"n_seeds": 500}], ids=str)
def test_progress_rises_to_the_end(options):
    field, tissue = fields.scene()
    calls = []
    wanted = next(iter(options.values()))
    blocks = track(
        field, TrackOptions(block_size=50, **options), tissue=tissue, progress=lambda *call: calls.append(call)
    )
    for n_blocks, _ in enumerate(blocks, start=1):
        assert len(calls) == n_blocks
    done = [call[0] for call in calls]
    assert done == sorted(done) and calls[-1] == (wanted, wanted)
    assert {call[1] for call in calls} == {wanted}


def test_blocks_come_as_they_are_tracked():
    field, tissue = fields.scene()
    blocks = track(field, TrackOptions(n_streamlines=10**6, block_size=20), tissue=tissue)
    assert next(blocks).n_seeds == 20
    blocks.close()


@pytest.mark.parametrize(("voxel_mm", "mean"), [(2.0, 2.0), ((1.0, 2.0, 4.0), 2.0), (1.25, 1.25)])
def test_defaults_follow_the_voxel(voxel_mm, mean):
    grid, options = fields.grid_of((4, 4, 4), voxel_mm), TrackOptions()
    assert step_size_mm(options, grid) == pytest.approx(0.25 * mean)
    assert max_angle_deg(options, grid) == pytest.approx(15.0)
    assert min_length_mm(options, grid, has_tissue=True) == pytest.approx(2 * mean)
    assert min_length_mm(options, grid, has_tissue=False) == pytest.approx(5 * mean)
    # The turn goes with the step, up to 45 degrees.
    longer = TrackOptions(step_size_mm=0.5 * mean)
    assert max_angle_deg(longer, grid) == pytest.approx(30.0)
    assert max_angle_deg(TrackOptions(step_size_mm=2 * mean), grid) == 45.0
    given = TrackOptions(step_size_mm=0.3, max_angle_deg=7.0, min_length_mm=1.0)
    assert (step_size_mm(given, grid), max_angle_deg(given, grid)) == (0.3, 7.0)
    assert min_length_mm(given, grid, has_tissue=True) == 1.0


def test_defaults_hold_in_the_streamlines():
    field, tissue = fields.scene()
    streamlines, *_ = fields.all_of(track(field, TrackOptions(n_streamlines=200), tissue=tissue))
    for points in streamlines:
        lengths = np.linalg.norm(np.diff(points.astype(float), axis=0), axis=1)
        np.testing.assert_allclose(lengths[1:-1], 0.5, atol=1e-4)
        assert (lengths <= 0.5 + 1e-4).all()
        assert len(lengths) * 0.5 >= 4.0
        assert fields.largest_turn_deg(points, shortest_mm=0.05) <= 15.1


def bundles(source, n_seeds=8000):
    """Streamlines found in two straight bundles of equal width, 20 and 80 mm long, that end in cortex."""
    grid = fields.grid_of((46, 9, 5))
    classes = np.full(grid.shape, -1)
    for y, n_voxels in ((1, 10), (6, 40)):
        classes[1 : n_voxels + 5, y - 1 : y + 3] = CORTEX
        classes[3 : n_voxels + 3, y - 1 : y + 3] = WHITE
    field = fields.field_of((1, 0, 0), grid)
    options = TrackOptions(n_seeds=n_seeds, fod_cutoff=STRAIGHT, seed_source=source)
    streamlines, *_ = fields.all_of(track(field, options, tissue=fields.tissue_of(classes, grid)))
    lengths = np.array([np.linalg.norm(np.diff(points, axis=0), axis=1).sum() for points in streamlines])
    is_short, is_long = np.abs(lengths - 20) < 1, np.abs(lengths - 80) < 1
    assert (is_short | is_long).all()
    return int(is_short.sum()), int(is_long.sum())


@pytest.mark.parametrize(("source", "ratio"), [("balanced", 1), ("white-matter", 4), ("interface", 1)])
def test_counts_by_length_of_the_bundle(source, ratio):
    n_short, n_long = bundles(source)
    n, share = n_short + n_long, ratio / (1 + ratio)
    assert n > 1000
    assert abs(n_long - share * n) < 3 * np.sqrt(n * share * (1 - share))


def test_balanced_seeding_leaves_out_only_what_is_too_deep():
    grid = fields.grid_of((40, 5, 5))
    field, tissue = fields.field_of((1, 0, 0), grid), fields.slab(grid)
    seeds = find_seeds(field, TrackOptions(seed_source="balanced", seed_depth_mm=6.0), tissue)
    chosen = np.zeros(grid.shape, bool)
    chosen[tuple(seeds.voxels.T)] = True
    # White matter reaches from 3 to 75 mm: any part of these voxels is within 6 mm of an end.
    faces = np.arange(40) * 2.0 - 1
    near = ((faces >= 3) & (faces < 9)) | ((faces + 2 > 69) & (faces + 2 <= 75))
    assert chosen[near].all()
    # Not many more than that are chosen: a voxel's diagonal.
    assert chosen.any(axis=(1, 2)).sum() <= near.sum() + 2 * 2
    assert not (chosen & (tissue.fractions[..., WHITE] < 0.5)).any()


def test_a_seed_mask_may_lie_at_any_depth():
    grid = fields.grid_of((40, 5, 5))
    middle = np.zeros(grid.shape, bool)
    middle[20, 2, 2] = True
    options = TrackOptions(n_streamlines=20, seed_source="balanced", fod_cutoff=STRAIGHT)
    blocks = track(fields.field_of((1, 0, 0), grid), options, tissue=fields.slab(grid), seed_mask=middle)
    assert len(fields.all_of(blocks)[0]) == 20


def test_seed_sources():
    field, tissue = fields.scene()
    white = tissue.fractions[..., WHITE] > 0.5
    found = {source: find_seeds(field, TrackOptions(seed_source=source), tissue) for source in SEED_SOURCES}
    assert len(found["white-matter"].voxels) == white.sum()
    assert len(found["interface"].voxels) == 2 * 12 * 9
    for seeds in found.values():
        assert white[tuple(seeds.voxels.T)].all()


def test_a_seed_mask_is_where_streamlines_start():
    field, tissue = fields.scene()
    mask = np.zeros(field.grid.shape, bool)
    mask[4, 5:7, 4] = True
    options = TrackOptions(n_streamlines=100, seed_source="white-matter")
    streamlines, *_ = fields.all_of(track(field, options, tissue=tissue, seed_mask=mask))
    for points in streamlines:
        nearest = np.abs(field.grid.to_voxel(points) - (4, 5.5, 4)) <= (0.51, 1.01, 0.51)
        assert nearest.all(axis=1).any()


def test_fa_stands_in_for_the_tissue_map():
    grid = fields.grid_of((20, 6, 6))
    values = np.full(grid.shape, 0.4)
    values[:4] = 0.1
    fa = ScalarMap("fa", "unitless", values.ravel(), np.ones(grid.shape, bool), grid)
    field = fields.field_of((1, 0, 0), grid)
    assert find_seeds(field, TrackOptions(), fa=fa).voxels[:, 0].min() == 4
    options = TrackOptions(n_streamlines=100, fod_cutoff=0.3)
    streamlines, stops, *_ = fields.all_of(track(field, options, fa=fa))
    # FA falls to its threshold of 0.15 at x = 3.17 voxels: no more than one point beyond it.
    for points in streamlines:
        assert (points[:, 0] / 2 < 3.16).sum() <= 1
    assert (stops == StopReason.LOW_SIGNAL).any()


@pytest.mark.parametrize(("what", "value"), [("field", np.nan), ("field", np.inf), ("fa", np.nan)])
def test_what_is_not_finite_counts_as_nothing(what, value):
    grid = fields.grid_of((20, 6, 6))
    hole = np.zeros(grid.shape, bool)
    hole[8:11] = True
    digests = []
    for fill in (value, 0.0):
        field = fields.field_of((1, 0, 0), grid)
        fa_values = np.full(hole.size, 0.5)
        if what == "field":
            coefficients = field.coefficients.copy()
            coefficients[hole.ravel()] = fill
            field = OrientationField(coefficients, field.mask, grid)
        else:
            fa_values[hole.ravel()] = fill
        fa = ScalarMap("fa", "unitless", fa_values, field.mask, grid)
        options = TrackOptions(n_seeds=300, seed_source="white-matter", min_length_mm=2.0)
        blocks = list(track(field, options, fa=fa, seed_mask=~hole))
        digests.append(digest(blocks))
        streamlines, *_ = fields.all_of(blocks)
        for points in streamlines:
            assert np.isfinite(points).all()
            assert not ((points[:, 0] < 16).any() and (points[:, 0] > 20).any()), "none crosses the hole"
    assert digests[0] == digests[1]


BAD = {
    "empty seed mask": (TrackingError, "no voxel to start", lambda f, t: track(
        f, TrackOptions(), tissue=t, seed_mask=np.zeros(f.grid.shape, bool))),
    "seed mask of another shape": (SpaceError, "same grid", lambda f, t: track(
        f, TrackOptions(), tissue=t, seed_mask=np.ones((3, 3, 3), bool))),
    "interface without tissue": (OptionError, "tissue map", lambda f, t: track(
        f, TrackOptions(seed_source="interface"))),
    "interface without grey matter": (TrackingError, "no voxel to start", lambda f, t: track(
        f, TrackOptions(seed_source="interface"), tissue=fields.tissue_of(np.full(f.grid.shape, WHITE), f.grid))),
    "FA of another shape": (SpaceError, "another grid", lambda f, t: track(
        f, TrackOptions(), fa=ScalarMap("fa", "unitless", np.ones(8), np.ones((2, 2, 2), bool),
                                        fields.grid_of((2, 2, 2))))),
    "FA elsewhere": (SpaceError, "another grid", lambda f, t: track(
        f, TrackOptions(), seed_mask=f.mask, fa=ScalarMap("fa", "unitless", np.ones(f.mask.size), f.mask,
                                                          fields.grid_of(f.grid.shape)))),
    "FA below the threshold": (TrackingError, "FA >= 0.15", lambda f, t: track(
        f, TrackOptions(), fa=ScalarMap("fa", "unitless", np.zeros(f.mask.size), f.mask, f.grid))),
    "nothing accepted": (TrackingError, "0 streamlines were accepted from 50 seeds; rejected: .* too short",
                         lambda f, t: track(f, TrackOptions(n_seeds=50, seed_source="white-matter",
                                                            min_length_mm=200.0))),
    "hopeless": (TrackingError, "0 streamlines of 100,000 wanted were accepted from 2,000 seeds",
                 lambda f, t: track(f, TrackOptions(max_seeds_per_streamline=2, fod_cutoff=9.0), tissue=t)),
    "too few accepted": (TrackingError, "0 streamlines of 10 wanted were accepted from 200 seeds",
                         lambda f, t: track(f, TrackOptions(n_streamlines=10, max_seeds_per_streamline=20,
                                                            fod_cutoff=9.0), tissue=t)),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_clear_error(case):
    error, words, call = BAD[case]
    with pytest.raises(error, match=words):
        list(call(*fields.scene()))
