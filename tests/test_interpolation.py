"""Trilinear interpolation, and the rows that the engine reads: against slow twins, exact on linear fields."""

from __future__ import annotations

import naive
import numpy as np
import pytest

from tractome.kernels.interpolation import multi_trilinear
from tractome.kernels.tracking.field import look, n_columns, pack_field
from tractome.kernels.tracking.types import FA, INSIDE, PEAK

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


def packed(rng, n_coeffs=3, share=0.6, fa=None):
    """A field of the engine with random coefficients, and what its twin takes."""
    mask = rng.random(SHAPE) < share
    coefficients = rng.normal(size=(int(mask.sum()), n_coeffs)).astype(np.float32)
    basis = np.zeros((8, n_columns(n_coeffs)), np.float32)
    basis[:4, :n_coeffs] = rng.normal(size=(4, n_coeffs))
    basis[4:] = basis[:4]
    row_of = np.full(SHAPE, -1, np.int32)
    row_of[mask] = np.arange(mask.sum())
    return pack_field(coefficients, mask, fa, basis), coefficients, row_of, basis


def looked(field, point):
    sh = np.full(field.rows.shape[1], np.nan, np.float32)
    return look(*field, *map(float, point), sh), sh


@pytest.mark.parametrize("seed", range(3))
def test_equal_their_twins(seed):
    rng = np.random.default_rng(seed)
    volume = rng.normal(size=(*SHAPE, 4)).astype(np.float32)
    field, coefficients, row_of, _ = packed(rng)
    for point in points(rng):
        np.testing.assert_allclose(multi(volume, point), naive.interpolate(volume, point), atol=1e-12)
        is_inside, sh = looked(field, point)
        expected, share = naive.interpolate_packed(coefficients, row_of, point)
        assert is_inside == ((point >= -1) & (point < SHAPE)).all()
        np.testing.assert_allclose(sh[:3], expected, atol=1e-6)
        assert sh[INSIDE] == pytest.approx(share, abs=1e-6)


def test_exact_on_linear_fields():
    rng = np.random.default_rng(0)
    slope, height = np.array([2.0, -3.0, 0.5]), 7.0
    volume = (np.moveaxis(np.indices(SHAPE), 0, -1) @ slope + height).astype(np.float32)
    field = pack_field(volume.reshape(-1, 1), np.ones(SHAPE, bool), None, np.zeros((2, n_columns(1)), np.float32))
    for point in rng.uniform(0, np.array(SHAPE) - 1, (100, 3)):
        expected = point @ slope + height
        assert multi(volume[..., None], point)[0] == pytest.approx(expected, abs=1e-6)
        is_inside, sh = looked(field, point)
        assert is_inside and sh[0] == pytest.approx(expected, rel=1e-5, abs=1e-5)
        assert sh[INSIDE] == pytest.approx(1)


def test_a_voxel_centre_has_its_own_value_alone():
    rng = np.random.default_rng(1)
    volume = rng.normal(size=SHAPE).astype(np.float32)
    field, coefficients, row_of, _ = packed(rng)
    for voxel in np.ndindex(SHAPE):
        assert multi(volume[..., None], voxel)[0] == volume[voxel]
        _, sh = looked(field, voxel)
        assert sh[INSIDE] == (row_of[voxel] >= 0)
        np.testing.assert_array_equal(sh[:3], coefficients[row_of[voxel]] if row_of[voxel] >= 0 else np.zeros(3))


@pytest.mark.parametrize("point", FAR)
def test_zero_outside(point):
    assert multi(np.ones((*SHAPE, 1), np.float32), point)[0] == 0
    field, *_ = packed(np.random.default_rng(3), share=1.1)
    _, sh = looked(field, point)
    assert (sh == 0).all()


def test_a_row_carries_what_the_engine_asks_of_a_voxel():
    rng = np.random.default_rng(2)
    fa = rng.random(SHAPE).astype(np.float32)
    field, coefficients, _, basis = packed(rng, share=1.1, fa=fa.ravel())
    np.testing.assert_array_equal(field.rows[:-1, FA], fa.ravel())
    highest = np.maximum((basis[:, :3] @ coefficients.T).max(axis=0), 0)
    np.testing.assert_allclose(field.rows[:-1, PEAK], highest, rtol=1e-5, atol=1e-6)
    assert (field.rows[-1] == 0).all() and field.rows.shape[1] % 8 == 0
    # Interpolated, it bounds what is interpolated.
    for point in rng.uniform(0, np.array(SHAPE) - 1, (100, 3)):
        _, sh = looked(field, point)
        assert (basis @ sh <= sh[PEAK] * 1.0001).all()


@pytest.mark.parametrize("has_fa", [True, False])
@pytest.mark.parametrize("n_coeffs", [1, 6, 15, 45])
def test_packed_rows_equal_their_twin(n_coeffs, has_fa):
    rng = np.random.default_rng(n_coeffs)
    mask = rng.random(SHAPE) < 0.6
    n = int(mask.sum())
    coefficients = rng.normal(size=(n, n_coeffs)).astype(np.float32)
    coefficients[rng.random(coefficients.shape) < 0.05] = rng.choice([np.nan, np.inf, -np.inf])
    fa = np.where(rng.random(n) < 0.1, np.nan, rng.random(n)).astype(np.float32) if has_fa else None
    basis = np.zeros((40, n_columns(n_coeffs)), np.float32)
    basis[:20, :n_coeffs] = rng.normal(size=(20, n_coeffs))
    basis[20:] = basis[:20]
    field, expected = pack_field(coefficients, mask, fa, basis), naive.pack_field(coefficients, mask, fa, basis)
    assert field.rows.dtype == np.float32 and field.rows.shape[1] % 8 == 0 and len(field.rows) == n + 1
    packed_image = field.rows[field.row_of]
    np.testing.assert_allclose(packed_image[1:-1, 1:-1, 1:-1], expected, rtol=1e-5, atol=1e-6)
    packed_image[1:-1, 1:-1, 1:-1] = 0
    assert (packed_image == 0).all(), "a border of nothing on every side"


def test_what_is_not_finite_counts_as_nothing():
    coefficients = np.array([[1.0], [np.nan], [np.inf], [2.0]], np.float32)
    field = pack_field(coefficients, np.ones((4, 1, 1), bool), None, np.ones((2, n_columns(1)), np.float32))
    np.testing.assert_array_equal(field.rows[:, 0], [1, 0, 0, 2, 0])
    for x in np.linspace(-1.5, 4.5, 41):
        assert np.isfinite(looked(field, (x, 0.0, 0.0))[1]).all()
