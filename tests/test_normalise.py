"""Multi-tissue intensity normalisation: a planted field is found, whatever the tissues do."""

from __future__ import annotations

import subprocess

import naive_normalise as naive
import numpy as np
import pytest

from tractome.datatypes.fields import OrientationField
from tractome.datatypes.grid import Grid
from tractome.errors import ImageError
from tractome.stages.fit import normalise, normalise_tissues

REFERENCE = 1 / np.sqrt(4 * np.pi)
SHAPE = (24, 28, 20)


def tissue_field(n_tissues=3, seed=0, noise=0.0, balance=(1.0, 1.0, 1.0), bias=True, outliers=0):
    """Tissue shares that add up to the reference times a planted smooth field; and that field."""
    rng = np.random.default_rng(seed)
    grid = Grid(SHAPE, np.array([[-2.0, 0.1, 0, 20], [0, 2, 0.2, -30], [0, 0, 2.5, 5], [0, 0, 0, 1]]))
    mask = np.ones(SHAPE, bool)
    mask[:2], mask[:, -3:] = False, False
    where = grid.to_world(np.argwhere(mask))
    x, y, z = ((where - where.mean(0)) / np.ptp(where, axis=0)).T
    planted = np.exp(0.4 * x - 0.3 * y * z + 0.5 * x * y * y + 0.2 * z**3 - 0.1) if bias else np.ones(len(x))
    shares = rng.dirichlet(np.ones(n_tissues), len(x)) / np.array(balance[:n_tissues])
    shares *= REFERENCE * (planted * np.exp(noise * rng.normal(size=len(x))))[:, None]
    if outliers:
        shares[rng.permutation(len(x))[:outliers]] *= rng.choice([0.02, 8.0], size=(outliers, 1))
    coefficients = np.zeros((len(x), 15))
    coefficients[:, 0], coefficients[:, 1:] = shares[:, 0], 0.1 * rng.normal(size=(len(x), 14)) * shares[:, :1]
    names = ("csf",) if n_tissues == 2 else ("gm", "csf")
    tissues = {name: shares[:, i + 1].astype(np.float32) for i, name in enumerate(names)}
    return OrientationField(coefficients.astype(np.float32), mask, grid, tissues, "msmt"), planted


@pytest.mark.parametrize("n_tissues", [2, 3])
def test_a_planted_field_is_found_and_taken_out(n_tissues):
    field, planted = tissue_field(n_tissues)
    found = normalise_tissues(field)
    np.testing.assert_allclose(found.scale.values, planted, rtol=2e-4)
    total = found.field.coefficients[:, 0] + sum(found.field.tissues.values())
    np.testing.assert_allclose(total, REFERENCE, rtol=2e-4)
    np.testing.assert_allclose(list(found.balance.values()), 1, atol=1e-3)
    assert list(found.balance) == (["wm", "csf"] if n_tissues == 2 else ["wm", "gm", "csf"])


def test_noise_and_outliers_do_not_move_the_field():
    field, planted = tissue_field(noise=0.05, outliers=800)
    found = normalise_tissues(field)
    np.testing.assert_allclose(found.scale.values, planted, rtol=0.02)
    assert 0.85 < found.share_used < 0.97


def test_tissues_that_are_out_of_balance_are_balanced_to_find_the_field_and_left_as_they_are():
    wanted = np.array([1.3, 0.8, 1.0])
    wanted /= np.exp(np.log(wanted).mean())
    field, planted = tissue_field(balance=wanted)
    found = normalise_tissues(field)
    np.testing.assert_allclose(list(found.balance.values()), wanted, rtol=1e-3)
    np.testing.assert_allclose(found.scale.values, planted, rtol=1e-3)
    np.testing.assert_allclose(found.field.tissues["csf"], field.tissues["csf"] / found.scale.values, rtol=1e-5)


def test_every_coefficient_is_divided_alike_so_directions_stay():
    field, _ = tissue_field()
    found = normalise_tissues(field)
    expected = field.coefficients / found.scale.values[:, None]
    np.testing.assert_allclose(found.field.coefficients, expected, rtol=1e-5)
    assert found.field.method == "msmt" and found.field.grid is field.grid


def test_what_is_normal_already_stays_and_a_second_time_changes_nothing():
    field, _ = tissue_field(bias=False)
    np.testing.assert_allclose(normalise_tissues(field).scale.values, 1, atol=1e-4)
    field, _ = tissue_field(noise=0.05)
    np.testing.assert_allclose(normalise_tissues(normalise_tissues(field).field).scale.values, 1, atol=1e-3)


def test_a_brighter_scan_gives_the_same_result():
    field, _ = tissue_field(noise=0.03)
    bright = OrientationField(
        3 * field.coefficients, field.mask, field.grid, {k: 3 * v for k, v in field.tissues.items()}, "msmt"
    )
    first, second = normalise_tissues(field), normalise_tissues(bright)
    np.testing.assert_allclose(3 * first.scale.values, second.scale.values, rtol=1e-5)
    np.testing.assert_allclose(first.field.coefficients, second.field.coefficients, rtol=1e-4, atol=1e-6)


def test_the_field_is_that_of_the_slow_twin():
    field, _ = tissue_field(noise=0.1, outliers=500, balance=(1.1, 0.9, 1.0))
    found = normalise_tissues(field)
    shares = np.stack([field.coefficients[:, 0], *field.tissues.values()], axis=1).astype(float)
    twin, balance = naive.normalise(shares, field.grid.to_world(np.argwhere(field.mask)))
    np.testing.assert_allclose(found.scale.values, twin, rtol=1e-4)
    np.testing.assert_allclose(list(found.balance.values()), balance, rtol=1e-4)


def test_a_tissue_that_hardly_occurs_is_warned_of(caplog):
    field, _ = tissue_field(balance=(1.0, 1.0, 30.0))
    normalise_tissues(field)
    assert "far from 1" in caplog.text
    caplog.clear()
    normalise_tissues(tissue_field()[0])
    assert not caplog.text


def test_a_share_of_the_voxels_is_enough(monkeypatch):
    field, planted = tissue_field(noise=0.05)
    monkeypatch.setattr(normalise, "MAX_VOXELS", 2000)
    np.testing.assert_allclose(normalise_tissues(field).scale.values, planted, rtol=0.03)


def test_what_cannot_be_normalised_is_refused():
    field, _ = tissue_field()
    alone = OrientationField(field.coefficients, field.mask, field.grid)
    with pytest.raises(ImageError, match="model = msmt"):
        normalise_tissues(alone)
    nothing = {name: 0 * values for name, values in field.tissues.items()}
    empty = OrientationField(0 * field.coefficients, field.mask, field.grid, nothing)
    with pytest.raises(ImageError, match="Only 0 voxels hold tissue"):
        normalise_tissues(empty)
    odd = np.where(np.arange(len(field.coefficients)) % 2, 0.9, 0.5).astype(np.float32)
    coefficients = np.zeros_like(field.coefficients)
    coefficients[:, 0] = 0.28
    with pytest.raises(ImageError, match="cannot be balanced"):
        normalise_tissues(OrientationField(coefficients * (1 + odd[:, None]), field.mask, field.grid, {"csf": odd}))


@pytest.mark.real
def test_normalise__mrtrix_comparison(tmp_path, mrtrix):
    from tractome.io.images import (
        read_orientation_field,
        read_volume,
        write_orientation_field,
        write_packed,
        write_volume,
    )

    field, _ = tissue_field(noise=0.05, outliers=300, balance=(1.2, 0.9, 1.0))
    write_orientation_field(tmp_path / "wm.nii", field)
    for name, values in field.tissues.items():
        write_packed(tmp_path / f"{name}.nii", values[:, None], field.mask, field.grid)
    write_volume(tmp_path / "mask.nii", field.mask, field.grid)
    words = "mtnormalise -quiet -nthreads 1 wm.nii wmn.nii gm.nii gmn.nii csf.nii csfn.nii -mask mask.nii"
    subprocess.run([*words.split(), "-check_norm", "norm.nii"], cwd=tmp_path, check=True)
    theirs, _ = read_volume(tmp_path / "norm.nii")
    ours = normalise_tissues(field)
    ratio = ours.scale.values / theirs[field.mask]
    np.testing.assert_allclose(ratio / np.median(ratio), 1, atol=0.01)
    fods = read_orientation_field(tmp_path / "wmn.nii", tmp_path / "mask.nii")
    np.testing.assert_allclose(np.median(ours.field.coefficients[:, 0] / fods.coefficients[:, 0]), 1, atol=0.01)
