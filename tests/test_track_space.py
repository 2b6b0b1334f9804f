"""Tracking in space: moved, turned, stored in another order, unequal voxels, a tissue map on a grid of its own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tracking_fields as fields

from tractome.datatypes.fields import OrientationField
from tractome.datatypes.grid import Grid
from tractome.datatypes.tractogram import StopReason
from tractome.options import TrackOptions
from tractome.stages.track import Seeds, track
from tractome.stages.track.sources import seeds_in_field


def moved(field, tissue, affine):
    grid = Grid(field.grid.shape, affine)
    return (
        OrientationField(field.coefficients, field.mask, grid),
        dataclasses.replace(tissue, grid=Grid(tissue.grid.shape, affine)),
    )


def test_moving_the_affine_moves_the_streamlines():
    field, tissue = fields.scene()
    shift = np.array([64.0, -32.0, 16.0])
    affine = field.grid.affine.copy()
    affine[:3, 3] += shift
    there = moved(field, tissue, affine)
    options = TrackOptions(n_streamlines=100)
    here = fields.all_of(track(field, options, tissue=tissue))
    away = fields.all_of(track(there[0], options, tissue=there[1]))
    np.testing.assert_array_equal(here[2], away[2])
    for one, other in zip(here[0], away[0], strict=True):
        np.testing.assert_allclose(one + shift, other, atol=1e-4)


def test_a_quarter_turn_of_the_affine_turns_the_streamlines():
    # x -> y -> z -> x carries the sphere's directions to themselves, but in another order: equal up to sampling.
    turn = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    grid = fields.grid_of((18, 12, 9))
    axes = fields.smooth_axes(np.random.default_rng(8), grid, bend=0.25)
    turned_affine = np.eye(4)
    turned_affine[:3] = turn @ grid.affine[:3]
    turned = Grid(grid.shape, turned_affine)
    assert_same_statistics(
        (fields.field_of(axes, grid), fields.slab(grid), None),
        (fields.field_of(axes @ turn.T, turned), fields.slab(turned), turn),
    )


def reoriented(grid, volumes, order, flips):
    """The same world stored in another order of axes, some of them reversed."""
    affine = grid.affine[:, [*order, 3]].copy()
    shape = tuple(grid.shape[axis] for axis in order)
    volumes = [np.moveaxis(volume, order, (0, 1, 2)) for volume in volumes]
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
        affine[:3, axis] *= -1
        volumes = [np.flip(volume, axis) for volume in volumes]
    return Grid(shape, affine), volumes


def assert_same_statistics(first, second, n=1500):
    """Means of what is tracked in two descriptions of one thing agree within 4 standard errors."""
    outcomes = []
    for field, tissue, turn in (first, second):
        options = TrackOptions(n_seeds=n, seed_source="white-matter")
        streamlines, *_ = fields.all_of(track(field, options, tissue=tissue))
        turn = np.eye(3) if turn is None else turn
        lengths = np.array([np.linalg.norm(np.diff(points, axis=0), axis=1).sum() for points in streamlines])
        ends = np.array([points[[0, -1]] @ turn for points in streamlines])
        middle, spread = ends.mean(axis=1), (ends[:, 1] - ends[:, 0]) ** 2
        outcomes.append((len(streamlines) / n, np.column_stack([lengths, middle, spread])))
    (share, one), (other_share, other) = outcomes
    assert abs(share - other_share) < 4 * np.sqrt(2 * share * (1 - share) / n + 1 / n**2)
    error = np.sqrt(one.var(axis=0) / len(one) + other.var(axis=0) / len(other))
    assert (np.abs(one.mean(axis=0) - other.mean(axis=0)) < 4 * error).all()


@pytest.mark.parametrize(
    ("order", "flips"), [((0, 1, 2), (0,)), ((0, 1, 2), (0, 1)), ((1, 2, 0), ()), ((2, 0, 1), (1, 2))]
)
def test_storage_order_changes_nothing_but_the_draws(order, flips):
    field, tissue = fields.scene()
    axes = fields.smooth_axes(np.random.default_rng(8), field.grid, bend=0.25)
    grid, (fractions, other_axes) = reoriented(field.grid, [tissue.fractions, axes], order, flips)
    other = (fields.field_of(other_axes, grid), dataclasses.replace(tissue, fractions=fractions, grid=grid))
    assert_same_statistics((field, tissue, None), (*other, None))


def oblique():
    """A rotation by 30 degrees about a skew axis, with a reflection."""
    axis = np.array([1.0, 2.0, -1.0]) / np.sqrt(6)
    cross = np.cross(np.eye(3), axis)
    angle = np.deg2rad(30)
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return rotation @ np.diag([-1.0, 1, 1])


def test_oblique_storage_gives_the_same_streamlines_turned():
    grid = fields.grid_of((18, 12, 9))
    turn = oblique()
    affine = np.eye(4)
    affine[:3] = turn @ grid.affine[:3]
    axes = fields.smooth_axes(np.random.default_rng(8), grid, bend=0.25)
    turned = Grid(grid.shape, affine)
    assert_same_statistics(
        (fields.field_of(axes, grid), fields.slab(grid), None),
        (fields.field_of(axes @ turn.T, turned), fields.slab(turned), turn),
    )


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
def test_steps_are_equal_in_mm_in_unequal_voxels(axis):
    grid = Grid((12, 12, 12), np.diag([1.0, 2.0, 4.0, 1.0]) @ np.array([[1, 0.2, 0, 3], [0, 1, 0, 5], [0.1, 0, 1, 7],
                                                                       [0, 0, 0, 1.0]]))  # fmt: skip
    options = TrackOptions(n_streamlines=50, step_size_mm=0.4, seed_source="white-matter", min_length_mm=2.0)
    streamlines, *_ = fields.all_of(track(fields.field_of(axis, grid), options))
    segments = np.concatenate([np.diff(points.astype(float), axis=0) for points in streamlines])
    np.testing.assert_allclose(np.linalg.norm(segments, axis=1), 0.4, atol=1e-4)
    # World directions stay world directions: on average along the lobe.
    mean = np.linalg.svd(segments)[2][0]
    assert abs(mean @ axis) / np.linalg.norm(axis) > np.cos(np.deg2rad(5))


def test_a_tissue_map_on_another_grid_is_looked_up_in_the_world():
    field, tissue = fields.scene()
    grid = tissue.grid
    halved = np.diag([0.5, 0.5, 0.5, 1.0])
    halved[:3, 3] = -0.25
    finer = Grid(tuple(2 * n for n in grid.shape), grid.affine @ halved)
    fractions = tissue.fractions.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    finer, (fractions,) = reoriented(finer, [fractions], (2, 0, 1), (1,))
    options = TrackOptions(n_streamlines=150)
    streamlines, stops, *_ = fields.all_of(
        track(field, options, tissue=dataclasses.replace(tissue, fractions=fractions, grid=finer))
    )
    for points, ends in zip(streamlines, stops, strict=True):
        for point, stop in zip(points[[0, -1]], ends, strict=True):
            if stop == StopReason.ENTERED_CORTEX:
                x = field.grid.to_voxel(point)[0]
                assert min(abs(x - 1.5), abs(x - 15.5)) < 0.05
        inside = field.grid.to_voxel(points[1:-1])
        assert not (np.abs(inside - (8.5, 4.5, 0)) < (0.9, 0.9, 99)).all(axis=1).any()
    assert (stops == StopReason.ENTERED_CORTEX).mean() > 0.5


def test_seeds_fill_their_voxels_on_whatever_grid_they_are():
    affine = np.eye(4)
    affine[:3] = np.column_stack([oblique() @ np.diag([0.7, 1.1, 0.9]), (3.0, -4.0, 5.0)])
    seeds = Seeds(np.array([[0, 0, 0], [4, 2, 7]]), Grid((9, 9, 9), affine))
    grid = fields.grid_of((10, 10, 10), (2.0, 1.5, 3.0), (-5, 1, 2))
    centres, axes = seeds_in_field(seeds, grid)
    for jitter in np.random.default_rng(0).uniform(-0.5, 0.5, (10, 3)):
        expected = grid.to_voxel(seeds.grid.to_world(seeds.voxels + jitter))
        np.testing.assert_allclose(centres + axes @ jitter, expected, atol=1e-9)
