"""Streamlines in voxels: exact lengths, the fixel that is followed, masks that are visited."""

from __future__ import annotations

import naive
import numpy as np
import pytest
import tracking_fields as fields
from wirings import random_grid

from tractome.datatypes.fixels import FixelField
from tractome.datatypes.grid import Grid
from tractome.datatypes.seeds import Mask
from tractome.kernels import mapping


def random_fixels(rng, grid, share=0.8):
    mask = rng.random(grid.shape) < share
    counts = rng.integers(0, 4, int(mask.sum()))
    directions = rng.normal(size=(int(counts.sum()), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    ones = np.ones(len(directions))
    return FixelField(np.concatenate([[0], np.cumsum(counts)]), directions, ones, ones, mask, grid)


def walks(rng, grid, n=40):
    """Random walks of long and short segments that also leave the volume, in world mm."""
    sizes = rng.integers(1, 15, n)
    streamlines = [
        grid.to_world(rng.uniform(-1, np.array(grid.shape)) + np.cumsum(rng.normal(0, scale, (size, 3)), axis=0))
        for size, scale in zip(sizes, rng.choice([0.2, 1.0, 3.0], n), strict=True)
    ]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return np.concatenate(streamlines).astype(np.float32), offsets


def mapped(points, offsets, fixels):
    rows = np.full(fixels.grid.shape, -1, np.int32)
    rows[fixels.mask] = np.arange(fixels.mask.sum(), dtype=np.int32)
    to_voxel = np.ascontiguousarray(fixels.grid.inverse[:3])
    return mapping.map_to_fixels(points, offsets, to_voxel, rows, fixels.offsets, fixels.directions)


@pytest.mark.parametrize("seed", range(3))
def test_fixels_equal_the_slow_twin(seed):
    rng = np.random.default_rng(seed)
    grid = random_grid(rng, sheared=seed == 2)
    fixels = random_fixels(rng, grid)
    points, offsets = walks(rng, grid, 200)
    starts, found, lengths_mm = mapped(points, offsets, fixels)
    for s in range(len(offsets) - 1):
        expected = naive.fixels_along(points[offsets[s] : offsets[s + 1]], fixels)
        ours = slice(starts[s], starts[s + 1])
        assert [fixel for fixel, _ in expected] == found[ours].tolist()
        np.testing.assert_allclose(lengths_mm[ours], [length for _, length in expected], rtol=1e-6, atol=1e-6)
    assert len(found) > 200


def test_lengths_sum_to_the_streamline_s():
    rng = np.random.default_rng(5)
    grid = random_grid(rng, (30, 30, 30))
    whole = np.ones(grid.shape, bool)
    n = whole.sum()
    fixels = FixelField(np.arange(n + 1), np.tile([1.0, 0, 0], (n, 1)), np.ones(n), np.ones(n), whole, grid)
    steps = rng.normal(0, 0.4, (50, 3))
    points = grid.to_world(15 + np.cumsum(steps, axis=0)).astype(np.float32)
    _, _, lengths_mm = mapped(points, np.array([0, 50]), fixels)
    assert lengths_mm.sum() == pytest.approx(np.linalg.norm(np.diff(points.astype(float), axis=0), axis=1).sum())


@pytest.mark.parametrize("at", [0.5, 0.0, 0.25])
def test_a_line_along_an_axis_spends_a_voxel_in_each(at):
    # Also exactly along a face (0.5) and with points exactly on faces.
    grid = fields.grid_of((12, 5, 5), 2.0)
    whole = np.ones(grid.shape, bool)
    n = whole.sum()
    fixels = FixelField(np.arange(n + 1), np.tile([1.0, 0, 0], (n, 1)), np.ones(n), np.ones(n), whole, grid)
    x = np.arange(1.5, 9.6, 0.25)
    points = grid.to_world(np.column_stack([x, np.full((len(x), 2), 2 + at)])).astype(np.float32)
    _, found, lengths_mm = mapped(points, np.array([0, len(x)]), fixels)
    assert len(set(found.tolist())) == len(found) == 8
    np.testing.assert_allclose(lengths_mm, 2.0, atol=1e-5)


def test_the_fixel_nearest_in_direction_takes_the_length():
    grid = fields.grid_of((5, 5, 5), 1.0)
    whole = np.ones(grid.shape, bool)
    n = whole.sum()
    directions = np.tile([[1.0, 0, 0], [0, 0.6, 0.8]], (n, 1))
    fixels = FixelField(np.arange(0, 2 * n + 1, 2), directions, np.ones(2 * n), np.ones(2 * n), whole, grid)
    corner = np.array([[0.0, 2, 2], [2, 2, 2], [2, 3.2, 3.6]], np.float32)
    totals = np.zeros(2 * n)
    for points in (corner, corner[::-1].copy()):
        _, found, lengths_mm = mapped(points, np.array([0, 3]), fixels)
        mapping.add_lengths(found, lengths_mm, totals)
    assert totals.sum() == pytest.approx(2 * 4.0)
    # In the voxel of the corner the way from where it enters to where it leaves decides.
    assert totals[0::2].sum() == pytest.approx(2 * 1.5, abs=1.2)
    assert totals[1::2].sum() == pytest.approx(2 * 2.0, abs=1.2)


@pytest.mark.parametrize("finer", [1.0, 0.3])
def test_visits_equal_the_slow_twin(finer):
    rng = np.random.default_rng(3)
    grid = random_grid(rng)
    own = Grid(tuple(int(n / finer) for n in grid.shape), grid.affine @ np.diag([finer, finer, finer, 1.0]))
    mask = Mask("random", rng.random(own.shape) < 0.01 * finer, own)
    n_points = rng.integers(0, 12, 200).astype(np.int32)
    points = np.full((200, 12, 3), np.nan, np.float32)
    for item, n in enumerate(n_points):
        start = rng.uniform(0, np.array(grid.shape))
        points[item, :n] = start + np.cumsum(rng.normal(0, 0.05 * finer, (n, 3)), axis=0)
    found = mapping.visits(points, n_points, np.ascontiguousarray((own.inverse @ grid.affine)[:3]), mask.inside)
    expected = [naive.visits(points[i, : n_points[i]], grid, mask) for i in range(200)]
    assert found.tolist() == expected
    assert 0 < sum(expected) < 200


def test_a_thin_mask_between_two_points_is_visited():
    grid, fine = fields.grid_of((9, 3, 3), 2.0), fields.grid_of((90, 30, 30), 0.2)
    inside = np.zeros(fine.shape, bool)
    inside[45] = True
    points = np.zeros((2, 3, 3), np.float32)
    points[:, :, 0] = [1.0, 3.0, 7.0]
    n_points = np.array([3, 2], np.int32)
    to_mask = np.ascontiguousarray((fine.inverse @ grid.affine)[:3])
    assert mapping.visits(points, n_points, to_mask, inside).tolist() == [True, False]


def test_lengths_are_compared_in_mm():
    rng = np.random.default_rng(11)
    grid = random_grid(rng, sheared=True)
    n_points = rng.integers(0, 20, 100).astype(np.int32)
    points = np.full((100, 20, 3), np.nan, np.float32)
    lengths = np.zeros(100)
    for item, n in enumerate(n_points):
        points[item, :n] = rng.normal(0, 1, (n, 3))
        world = grid.to_world(points[item, :n])
        lengths[item] = np.linalg.norm(np.diff(world, axis=0), axis=1).sum()
    found = mapping.shorter_than(points, n_points, np.ascontiguousarray(grid.affine[:3]), 20.0)
    assert found.tolist() == (lengths < 20.0).tolist()
    assert 10 < found.sum() < 90


def test_a_mask_on_another_grid_takes_its_nearest_voxel():
    rng = np.random.default_rng(7)
    grid, other = random_grid(rng), random_grid(rng)
    mask = Mask("random", rng.random(other.shape) < 0.5, other)
    moved = mask.on(grid)
    for voxel in np.ndindex(grid.shape):
        assert moved[voxel] == naive.visits([voxel], grid, mask)
