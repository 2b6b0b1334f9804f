"""Trilinear interpolation: against the slow twin, exact on linear fields, zero outside."""

from __future__ import annotations

import naive
import numpy as np
import pytest

from tractome.kernels.interpolation import multi_trilinear, packed_trilinear, trilinear

SHAPE = (5, 4, 6)
FAR = [(-1.0, 2, 2), (5.0, 2, 2), (2, -1.5, 2), (2, 4.0, 2), (2, 2, 6.01), (-100, 900, 1e6)]


def points(rng, n=200):
    """Inside, around the border and outside, and exactly on voxel centres."""
    return np.concatenate(
        [rng.uniform(-1.5, np.array(SHAPE) + 0.5, (n, 3)), rng.integers(-1, 6, (30, 3)).astype(float)]
    )


def multi(volume, point):
    out = np.full(volume.shape[3], np.nan)
    multi_trilinear(volume, *point, out)
    return out


def packed(rows, row_of, point):
    out = np.full(rows.shape[1], np.nan, np.float32)
    inside = packed_trilinear(rows, row_of, *point, out)
    return out, inside


def masked(rng, n_columns=3, share=0.6):
    mask = rng.random(SHAPE) < share
    row_of = np.full(SHAPE, -1, np.int32)
    row_of[mask] = np.arange(mask.sum())
    return rng.normal(size=(int(mask.sum()), n_columns)).astype(np.float32), row_of, mask


@pytest.mark.parametrize("seed", range(3))
def test_equal_their_twins(seed):
    rng = np.random.default_rng(seed)
    volume = rng.normal(size=(*SHAPE, 4)).astype(np.float32)
    rows, row_of, _ = masked(rng)
    for point in points(rng):
        np.testing.assert_allclose(multi(volume, point), naive.interpolate(volume, point), atol=1e-12)
        first = np.ascontiguousarray(volume[..., 0])
        assert trilinear(first, *point) == pytest.approx(float(naive.interpolate(first, point)), abs=1e-12)
        values, inside = packed(rows, row_of, point)
        expected, share = naive.interpolate_packed(rows, row_of, point)
        np.testing.assert_allclose(values, expected, atol=1e-6)
        assert inside == pytest.approx(share, abs=1e-12)


def test_exact_on_linear_fields():
    rng = np.random.default_rng(0)
    slope, height = np.array([2.0, -3.0, 0.5]), 7.0
    volume = (np.moveaxis(np.indices(SHAPE), 0, -1) @ slope + height).astype(np.float32)
    row_of = np.arange(volume.size, dtype=np.int32).reshape(SHAPE)
    for point in rng.uniform(0, np.array(SHAPE) - 1, (100, 3)):
        expected = point @ slope + height
        assert trilinear(volume, *point) == pytest.approx(expected, abs=1e-6)
        assert multi(volume[..., None], point)[0] == pytest.approx(expected, abs=1e-6)
        values, inside = packed(volume.reshape(-1, 1), row_of, point)
        assert values[0] == pytest.approx(expected, rel=1e-5)
        assert inside == pytest.approx(1)


def test_a_voxel_centre_has_its_own_value_alone():
    rng = np.random.default_rng(1)
    volume = rng.normal(size=SHAPE).astype(np.float32)
    rows, row_of, mask = masked(rng)
    for voxel in np.ndindex(SHAPE):
        assert trilinear(volume, *map(float, voxel)) == volume[voxel]
        values, inside = packed(rows, row_of, tuple(map(float, voxel)))
        assert inside == mask[voxel]
        np.testing.assert_array_equal(values, rows[row_of[voxel]] if mask[voxel] else np.zeros(3))


@pytest.mark.parametrize("point", FAR)
def test_zero_outside(point):
    ones = np.ones(SHAPE, np.float32)
    row_of = np.arange(ones.size, dtype=np.int32).reshape(SHAPE)
    assert trilinear(ones, *map(float, point)) == 0
    assert multi(ones[..., None], point)[0] == 0
    values, inside = packed(ones.reshape(-1, 1), row_of, point)
    assert values[0] == 0 and inside == 0


def test_the_share_is_that_of_the_mask():
    rng = np.random.default_rng(2)
    _, row_of, mask = masked(rng)
    ones = np.ones((int(mask.sum()), 1), np.float32)
    for point in points(rng):
        values, inside = packed(ones, row_of, point)
        assert 0 <= inside <= 1 + 1e-12
        assert inside == pytest.approx(trilinear(mask.astype(np.float32), *point), abs=1e-12)
        assert values[0] == pytest.approx(inside, abs=1e-6)
    # Half a voxel over the border of the mask, half of the weights are left.
    line = np.array([0, 1, -1, -1, -1], np.int32)[:, None, None]
    assert packed(np.ones((2, 1), np.float32), line, (1.5, 0.0, 0.0))[1] == pytest.approx(0.5)


def test_what_is_not_defined_outside_the_mask_never_gets_in():
    rows = np.ones((2, 1), np.float32)
    row_of = np.array([0, 1, -1], np.int32)[:, None, None]
    for x in np.linspace(-1, 3, 41):
        assert np.isfinite(packed(rows, row_of, (float(x), 0.0, 0.0))[0]).all()
    # A neighbour of no weight does not matter, whatever it holds.
    rows[1] = np.nan
    assert packed(rows, row_of, (0.0, 0.0, 0.0))[0][0] == 1
