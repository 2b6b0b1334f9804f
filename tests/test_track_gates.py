"""Masks that streamlines must visit, must not visit, or must not leave."""

from __future__ import annotations

import numpy as np
import pytest
import tracking_fields as fields

from tractome.datatypes.grid import Grid
from tractome.datatypes.seeds import Mask
from tractome.datatypes.tractogram import RejectReason, StopReason
from tractome.errors import SpaceError
from tractome.options import TrackOptions
from tractome.stages.track import Gates, track

OPTIONS = TrackOptions(n_seeds=400, seed_source="white-matter")


def half(name, axis, low, high, grid=None):
    """A mask of the scene's voxels from `low` to `high` along an axis, perhaps cut finer and stored the other way."""
    scene_grid = fields.scene()[0].grid
    inside = np.zeros(scene_grid.shape, bool)
    inside[tuple(slice(low, high) if a == axis else slice(None) for a in range(3))] = True
    if grid == "finer":
        fine = np.diag([0.5, 0.5, 0.5, 1.0])
        fine[:3, 3] = -0.25
        inside = inside.repeat(2, 0).repeat(2, 1).repeat(2, 2)[::-1]
        affine = scene_grid.affine @ fine
        affine[:3, 3] += affine[:3, 0] * (inside.shape[0] - 1)
        affine[:3, 0] *= -1
        return Mask(name, inside, Grid(inside.shape, affine))
    return Mask(name, inside, scene_grid)


def visited(points, mask):
    voxels = np.floor(mask.grid.to_voxel(points) + 0.5).astype(int)
    within = ((voxels >= 0) & (voxels < mask.grid.shape)).all(axis=1)
    return mask.inside[tuple(voxels[within].T)].any()


def run(gates=None, options=OPTIONS, with_tissue=True):
    field, tissue = fields.scene()
    return fields.all_of(track(field, options, tissue=tissue if with_tissue else None, gates=gates))


@pytest.fixture(scope="module")
def free():
    return run()


@pytest.mark.parametrize("grid", [None, "finer"])
def test_gates_pick_exactly_the_streamlines_that_obey(free, grid):
    left, top, low = half("left", 1, 0, 5, grid), half("top", 2, 6, 9, grid), half("low", 2, 0, 2, grid)
    streamlines, _, index, n_seeds, rejected = run(Gates(include=(left, top), exclude=(low,)))
    expected = [i for i, points in enumerate(free[0])
                if visited(points, left) and visited(points, top) and not visited(points, low)]  # fmt: skip
    assert 5 < len(expected) < len(free[0]) - 5
    np.testing.assert_array_equal(index, free[2][expected])
    for ours, i in zip(streamlines, expected, strict=True):
        np.testing.assert_array_equal(ours, free[0][i])
    # Every other reason stays what it was, and nothing is lost.
    extra = {RejectReason.MISSED_INCLUDE, RejectReason.ENTERED_EXCLUDE}
    assert {reason: number for reason, number in rejected.items() if reason not in extra} == free[4]
    assert rejected[RejectReason.ENTERED_EXCLUDE] == sum(visited(points, low) for points in free[0])
    assert n_seeds == len(streamlines) + sum(rejected.values()) == 400


def test_the_number_of_streamlines_is_exact_behind_gates():
    gates = Gates(include=(half("left", 1, 0, 5),))
    outcomes = []
    for block_size in (23, 5000):
        options = TrackOptions(n_streamlines=60, block_size=block_size)
        streamlines, _, index, n_seeds, rejected = run(gates, options)
        assert len(streamlines) == 60 and n_seeds == index[-1] + 1 == 60 + sum(rejected.values())
        outcomes.append((np.concatenate(streamlines).tobytes(), rejected))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("with_tissue", [True, False])
@pytest.mark.parametrize("grid", [None, "finer"])
def test_leaving_the_tracking_mask_ends_a_streamline(with_tissue, grid):
    within = half("middle", 0, 4, 14, grid)
    options = TrackOptions(n_seeds=300, seed_source="white-matter", min_length_mm=2.0)
    streamlines, stops, *_ = run(Gates(within=within), options, with_tissue)
    x = [fields.scene()[0].grid.to_voxel(points)[:, 0] for points in streamlines]
    assert len(streamlines) > 50
    # The border is between voxel centres; one point may lie behind it.
    for along in x:
        assert (along[1:-1] > 3.5).all() and (along[1:-1] < 13.5).all()
        assert along.min() > 3.2 and along.max() < 13.8
    assert (stops == StopReason.LEFT_MASK).mean() > 0.5


def test_seeds_outside_of_the_tracking_mask_are_not_tracked():
    # The seeds themselves come from inside of it: none is wasted.
    _, _, _, _, rejected = run(Gates(within=half("middle", 0, 6, 12)))
    assert rejected.get(RejectReason.BAD_SEED, 0) < 0.2 * 400


@pytest.mark.parametrize("with_tissue", [True, False])
def test_a_tracking_mask_elsewhere_is_a_clear_error(with_tissue):
    far = Mask("far.nii", np.ones((3, 3, 3), bool), fields.grid_of((3, 3, 3), 2.0, (500, 0, 0)))
    with pytest.raises(SpaceError, match=r"far\.nii.*in the space of the scan"):
        run(Gates(within=far), with_tissue=with_tissue)
