"""Distortion that was planted is found, from a reversed b0 or from a T1; where there is none, none is made."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, map_coordinates
from spoiled import displaced, make_head, smooth_field

from tractome.datatypes.fields import unpack
from tractome.stages.preprocess.distortion import corrected, from_pair, from_t1
from tractome.stages.preprocess.motion import Frame, Motion, rigid
from tractome.stages.preprocess.pair import distortion_from_pair
from tractome.stages.preprocess.resample import resample_scan

AXIS = 1


class Distorted:
    def __init__(self):
        phantom = make_head(directions=(6,), n_bundles=8, n_u_fibres=2)
        self.grid, self.mask = phantom.grid, phantom.mask
        self.room = binary_dilation(phantom.mask, iterations=2)
        self.clean = unpack(phantom.clean_signal, phantom.mask)[..., 0]
        places = phantom.grid.to_world(np.stack(np.meshgrid(*map(np.arange, self.grid.shape), indexing="ij"), axis=-1))
        t1_grid = phantom.structural.t1_grid
        self.t1 = map_coordinates(phantom.structural.t1, np.moveaxis(t1_grid.to_voxel(places), -1, 0), order=1)
        self.field = smooth_field(self.grid, 7.0)
        self.first, self.second = (self.measured(sign * self.field, seed) for seed, sign in enumerate((1, -1)))

    def measured(self, field, seed):
        noise = np.random.default_rng(seed).normal(size=field.shape) * 30
        return (displaced(self.clean, field, self.grid, AXIS) + noise).astype(np.float32)

    def off(self, found):
        return np.abs(found.displacement_mm - self.field)[self.mask]


@pytest.fixture(scope="module")
def head():
    return Distorted()


@pytest.fixture(scope="module")
def by_pair(head):
    return from_pair(head.first, head.second, head.room, head.grid, AXIS)


def test_pair_shows_the_displacement(head, by_pair):
    planted = np.abs(head.field)[head.mask]
    assert planted.max() > 5
    assert head.off(by_pair).mean() < 0.25 * planted.mean()
    assert np.percentile(head.off(by_pair), 99) < 1.0
    true_stretch = 1 + np.gradient(head.field, 4.0, axis=AXIS)
    assert np.abs(by_pair.stretch - true_stretch)[head.mask].mean() < 0.03
    assert by_pair.after > 0.99 > by_pair.before


def test_undone_b0_is_the_clean_one(head, by_pair):
    def error(volume):
        return np.sqrt(np.mean((volume - head.clean)[head.mask] ** 2))

    undone = corrected(head.first, by_pair.displacement_mm.astype(float), head.grid, AXIS)
    assert error(undone) < 0.7 * error(head.first)  # the noise stays


def test_pair_with_another_readout_time(head):
    half = head.measured(-0.5 * head.field, 3)
    found = from_pair(head.first, half, head.room, head.grid, AXIS, ratio=-0.5)
    assert head.off(found).mean() < 0.3 * np.abs(head.field)[head.mask].mean()


def test_pair_whose_head_moved_in_between(head):
    frame = Frame(head.grid, AXIS, 2)
    away = Motion(rigid(np.radians([1.0, 0.0, 2.0]), np.array([1.5, 0.0, -1.0]), frame.centre), np.zeros(0))
    second = resample_scan(head.second[None], [Motion(np.linalg.inv(away.matrix), np.zeros(0))], frame)[..., 0]
    found, motion = distortion_from_pair(head.first, second, head.room, frame, -1.0)
    points = head.grid.to_world(np.argwhere(head.mask)[::50])
    # Along the phase-encode axis a shift of the head and a constant displacement are one; across it they are not.
    left = (motion.matrix @ np.linalg.inv(away.matrix))[:3, :3] @ points.T - points.T
    assert np.abs(left).mean() < 0.6
    assert np.median(head.off(found)) < 0.6


def test_t1_shows_the_displacement(head):
    found = from_t1(head.first, head.t1, head.room, head.grid, AXIS)
    planted = np.abs(head.field)[head.mask]
    large = planted > 3
    assert head.off(found).mean() < 0.75 * planted.mean()
    assert head.off(found)[large].mean() < 0.5 * planted[large].mean()
    assert found.after > found.before
    assert found.stretch.min() > 0.5


def test_t1_makes_no_distortion_where_there_is_none(head):
    still = head.measured(np.zeros(head.grid.shape), 4)
    found = from_t1(still, head.t1, head.room, head.grid, AXIS)
    assert np.abs(found.displacement_mm[head.mask]).mean() < 0.35
    pair = from_pair(still, head.measured(np.zeros(head.grid.shape), 5), head.room, head.grid, AXIS)
    assert np.abs(pair.displacement_mm[head.mask]).mean() < 0.15
