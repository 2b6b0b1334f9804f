"""Tensor kernels: equal to their slow twins, exact without noise, defined for every bad signal."""

from __future__ import annotations

import naive_fit as naive
import numpy as np
import pytest
from fibres import angle_deg, fibre_signal, image, isotropic_signal, random_axes, rician, table
from scans import AFFINES

from tractome.datatypes.diffusion import DiffusionImage, GradientTable
from tractome.datatypes.grid import Grid
from tractome.errors import GradientError
from tractome.kernels import tensor
from tractome.options import TENSOR_METHODS, FitOptions
from tractome.stages.fit import fit_tensors, principal_directions, tensor_maps

N_REWEIGHTINGS = {"ols": 0, "wls": 1, "iwls": 3}


def noisy_scan(n=150, snr=20):
    gradients = table((15, 20), (700.0, 1200.0), n_b0=3)
    return image(rician([fibre_signal(gradients, axis) for axis in random_axes(n)], snr), gradients)


@pytest.mark.parametrize("method", TENSOR_METHODS)
def test_fit_is_its_slow_twin(method):
    scan = noisy_scan()
    field = fit_tensors(scan, FitOptions(tensor_method=method))
    for voxel in range(scan.n_voxels):
        tensors, s0 = naive.tensor_fit(
            scan.signal[voxel], scan.gradients.bvals, scan.gradients.bvecs, N_REWEIGHTINGS[method]
        )
        np.testing.assert_allclose(field.tensors[voxel], tensors, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(field.s0[voxel], s0, rtol=1e-6)


@pytest.mark.parametrize("method", TENSOR_METHODS)
def test_exact_without_noise(method):
    gradients, axes = table((12,), (1000.0,)), random_axes(30)
    scan = image([fibre_signal(gradients, axis) for axis in axes], gradients)
    field = fit_tensors(scan, FitOptions(tensor_method=method))
    maps = tensor_maps(field)
    assert angle_deg(principal_directions(field), axes).max() < 0.01
    np.testing.assert_allclose(maps["ad"].values, 1.7e-3, rtol=1e-4)
    np.testing.assert_allclose(maps["rd"].values, 0.25e-3, rtol=1e-3)
    np.testing.assert_allclose(maps["md"].values, 2.2e-3 / 3, rtol=1e-4)
    np.testing.assert_allclose(field.s0, 1000, rtol=1e-4)
    assert field.counts["not_positive_definite"] == 0


def test_eigen_is_its_slow_twin():
    tensors = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32) * 1e-3
    tensors[0], tensors[1] = 0, (1e-3, 0, 1e-3, 0, 0, 1e-3)
    values, principal = np.empty((300, 3)), np.empty((300, 3))
    tensor.decompose(tensors, values, principal)
    for voxel in range(300):
        expected, vectors = naive.eigen(tensors[voxel])
        np.testing.assert_allclose(values[voxel], expected, atol=1e-12)
        if voxel > 1:
            assert abs(principal[voxel] @ vectors[:, 0]) > 1 - 1e-9
            np.testing.assert_allclose(
                tensor.anisotropy(values[voxel : voxel + 1])[0] if expected[0] > 0 else 0,
                naive.fractional_anisotropy(expected) if expected[0] > 0 else 0,
                atol=1e-7,
            )


def test_anisotropy_lies_between_its_limits():
    values = np.array([[1.0, 0, 0], [1, 1, 1], [0, 0, 0], [1, -5, -5], [1, 1, 0], [np.nan] * 3])
    np.testing.assert_allclose(tensor.anisotropy(values), [1, 0, 0, 1, np.sqrt(0.5), np.nan], atol=1e-12)


def test_bad_signals_are_left_out_of_their_voxel_only():
    gradients = table((20,), (1000.0,), n_b0=3)
    clean = fibre_signal(gradients, (1, 2, 3)).astype(np.float32)
    signal = np.tile(clean, (6, 1))
    signal[1, 5] = 0
    signal[2, 7] = -30
    signal[3, :3] = np.nan  # every b0
    signal[4, 2] = np.inf
    signal[5] = 0
    field = fit_tensors(image(signal, gradients), FitOptions())
    for voxel in (1, 2, 4):
        np.testing.assert_allclose(field.tensors[voxel], field.tensors[0], rtol=1e-4, atol=1e-9)
    assert np.isnan(field.tensors[[3, 5]]).all() and np.isnan(field.s0[[3, 5]]).all()
    assert field.counts == {
        "not_positive_definite": 0,
        "not_determined": 2,
        "signals_left_out": 1 + 1 + 3 + 1 + 23,
        "voxels_with_signals_left_out": 5,
    }
    assert np.isnan(tensor_maps(field)["fa"].values[[3, 5]]).all()
    assert not principal_directions(field)[[3, 5]].any()


def test_negative_eigenvalues_are_counted_and_taken_as_zero_in_maps():
    gradients = table((20,), (1000.0,))
    rising = isotropic_signal(gradients, 0.8e-3) * np.exp(2 * gradients.bvecs[:, 2] ** 2)
    field = fit_tensors(image([rising, isotropic_signal(gradients, 0.8e-3)], gradients), FitOptions())
    assert field.counts["not_positive_definite"] == 1
    maps = tensor_maps(field)
    assert maps["fa"].values.min() >= 0 and maps["fa"].values.max() <= 1
    assert maps["rd"].values.min() >= 0


def test_high_shells_are_left_out_when_enough_remain_and_used_when_not():
    gradients, axis = table((20, 20), (1000.0, 3000.0)), (0.2, 1, 0.4)
    signal = fibre_signal(gradients, axis).astype(np.float32)
    spoilt = signal.copy()
    spoilt[gradients.bvals > 2000] *= 5
    fields = [fit_tensors(image([s], gradients), FitOptions()).tensors for s in (signal, spoilt)]
    np.testing.assert_array_equal(*fields)
    few = table((8, 20), (1000.0, 3000.0))
    field = fit_tensors(image([fibre_signal(few, axis)], few), FitOptions())
    assert angle_deg(principal_directions(field)[0], np.array(axis)) < 0.1


@pytest.mark.parametrize("storage", sorted(AFFINES))
def test_gradient_nonlinearity_is_honoured_in_every_storage_order(storage):
    """The scanner applied (I + L) g in FSL's frame; knowing L gives the true tensor back."""
    gradients, axis = table((30,), (1000.0,), n_b0=2), np.array([1.0, 2.0, -0.5])
    deviation = np.array([[0.05, 0.02, -0.01], [0.01, -0.04, 0.03], [0.02, 0.01, 0.06]])
    affine = AFFINES[storage]
    grid = Grid((1, 1, 1), affine)
    frame = grid.rotation @ np.diag([-1.0 if np.linalg.det(affine[:3, :3]) > 0 else 1.0, 1, 1])
    played = gradients.bvecs @ (np.eye(3) + frame @ deviation @ frame.T).T
    length = np.linalg.norm(played, axis=1)
    weighted = gradients.bvals > 0
    true_table = GradientTable(
        gradients.bvals * length**2, np.where(weighted[:, None], played / np.where(weighted, length, 1)[:, None], 0)
    )
    signal = fibre_signal(true_table, axis)[None].astype(np.float32)
    mask = np.ones((1, 1, 1), dtype=bool)
    known = DiffusionImage(signal, gradients, mask, grid, deviation[None].astype(np.float32))
    blind = DiffusionImage(signal, gradients, mask, grid)
    truth = 1.45 / np.sqrt(1.7**2 + 2 * 0.25**2)
    assert abs(tensor_maps(fit_tensors(known, FitOptions()))["fa"].values[0] - truth) < 1e-4
    assert abs(tensor_maps(fit_tensors(blind, FitOptions()))["fa"].values[0] - truth) > 1e-3


def test_rotating_everything_rotates_the_tensors_and_leaves_the_maps():
    scan = noisy_scan(60)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    gradients = GradientTable(scan.gradients.bvals, scan.gradients.bvecs @ rotation.T)
    turned = DiffusionImage(scan.signal, gradients, scan.mask, scan.grid)
    first, second = fit_tensors(scan, FitOptions()), fit_tensors(turned, FitOptions())
    for name, own in tensor_maps(first).items():
        np.testing.assert_allclose(tensor_maps(second)[name].values, own.values, rtol=2e-5, atol=1e-9)
    assert angle_deg(principal_directions(first) @ rotation.T, principal_directions(second)).max() < 0.01


def test_brighter_signal_changes_only_s0():
    scan = noisy_scan(40)
    brighter = DiffusionImage(scan.signal * 8, scan.gradients, scan.mask, scan.grid)
    first, second = fit_tensors(scan, FitOptions()), fit_tensors(brighter, FitOptions())
    np.testing.assert_allclose(second.tensors, first.tensors, rtol=1e-5, atol=1e-10)
    np.testing.assert_allclose(second.s0, 8 * first.s0, rtol=1e-5)


@pytest.mark.parametrize(
    "gradients",
    [
        table((5,), (1000.0,)),
        table((20,), (1000.0,), n_b0=0),
        GradientTable(np.r_[0, np.full(12, 1000.0)], np.r_[[[0, 0, 0]], np.tile(np.eye(3)[:2], (6, 1))]),
    ],
    ids=["five directions", "one shell without b0", "directions in a plane"],
)
def test_gradients_that_leave_the_tensor_open_are_refused(gradients):
    scan = image(np.ones((2, gradients.n_volumes)), gradients)
    with pytest.raises(GradientError, match="do not determine a tensor"):
        fit_tensors(scan, FitOptions())


@pytest.mark.real
@pytest.mark.parametrize("method", ["wls", "ols"])
def test_fit__dipy_comparison(shared_data, method):
    """FA (absolute) and MD (relative) within 1e-5 of DIPY's in 99.9 percent of the voxels that are well defined."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst import dti

    from tractome.io.subjects import read_diffusion
    from tractome.options import ReadOptions
    from tractome.stages.mask import make_brain_mask

    folder = shared_data / "siemens_3mm"
    names = (folder / "dwi.nii.gz", folder / "dwi.bval", folder / "dwi.bvec")
    scan = read_diffusion(*names, make_brain_mask, ReadOptions(), None).image
    field = fit_tensors(scan, FitOptions(tensor_method=method))
    maps = tensor_maps(field)
    dipy_table = gradient_table(scan.gradients.bvals, bvecs=scan.gradients.bvecs, b0_threshold=50)
    theirs = dti.TensorModel(dipy_table, fit_method=method.upper()).fit(scan.signal.astype(float))
    values, _ = np.empty((scan.n_voxels, 3)), np.empty((scan.n_voxels, 3))
    tensor.decompose(field.tensors, values, _)
    fair = (scan.signal > 0).all(axis=1) & (values[:, 2] > 0) & (theirs.evals[:, 2] > 1e-8)
    fa = np.abs(maps["fa"].values - theirs.fa)[fair]
    md = np.abs(maps["md"].values / theirs.md - 1)[fair]
    print(f"{fair.sum()} of {len(fair)} voxels compared; FA off by at most {fa.max():.1e}, MD by {md.max():.1e}")
    assert fair.mean() > 0.9
    assert np.mean((fa <= 1e-5) & (md <= 1e-5)) >= 0.999
