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
from tractome.kernels._jit import sweep
from tractome.kernels.tensor import vectors
from tractome.options import TENSOR_METHODS, FitOptions
from tractome.stages.fit import fit_tensors, principal_directions, tensor_maps, tensor_notices

N_REWEIGHTINGS = {"ols": 0, "wls": 1, "iwls": 3}
PLAIN_METHODS = tuple(N_REWEIGHTINGS)
FULL_ROBUST = FitOptions(tensor_method="robust")


def noisy_scan(n=150, snr=20):
    gradients = table((15, 20), (700.0, 1200.0), n_b0=3)
    return image(rician([fibre_signal(gradients, axis) for axis in random_axes(n)], snr), gradients)


@pytest.mark.parametrize("method", PLAIN_METHODS)
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


def test_scalars_are_their_slow_twin():
    tensors = np.random.default_rng(3).normal(size=(400, 6)).astype(np.float32) * 1e-3
    tensors[:200, [0, 2, 5]] += 3e-3
    tensors[0], tensors[1] = 0, (1e-3, 0, 1e-3, 0, 0, 1e-3)
    tensors[2], tensors[3] = (2e-3, 0, 1e-3, 0, 0, 1e-3), np.nan
    maps = np.empty((4, 400), np.float32)
    tensor.tensor_scalars(tensors, 0, 150, maps)
    tensor.tensor_scalars(tensors, 150, 400, maps)
    assert np.isnan(maps[:, 3]).all() and (maps[:, 0] == 0).all()
    for voxel in [1, 2, *range(4, 400)]:
        values = np.maximum(naive.eigen(tensors[voxel])[0], 0)
        if not values.any():
            assert not maps[:, voxel].any()
            continue
        expected = [naive.fractional_anisotropy(values), values.mean(), values[0], values[1:].mean()]
        np.testing.assert_allclose(maps[0, voxel], expected[0], atol=1e-6)
        np.testing.assert_allclose(maps[1:, voxel], expected[1:], rtol=1e-6, atol=1e-10)


def test_elementary_functions_are_those_of_numpy():
    values = np.r_[np.float32(np.exp(np.random.default_rng(0).uniform(-80, 80, 500))), 0, -1, np.nan, np.inf, 1e-40]
    row = np.r_[values, np.ones(7)].astype(np.float32)
    logs, usable = np.empty((2, len(row))), np.empty((2, len(row)))
    n_bad = vectors.logarithms(row, len(values), np.empty(len(row), np.int32), 1, logs, usable)
    logs, usable = logs[1], usable[1]
    assert n_bad == 5
    np.testing.assert_allclose(logs[:500], np.log(row[:500].astype(float)), atol=2e-9, rtol=0)
    assert (usable[:500] == 1).all() and not usable[500:].any() and not logs[500:].any()
    exponents = np.linspace(-8, 8, 100)
    found = exponents[None].copy()
    vectors.exponentials(found, 0)
    np.testing.assert_allclose(found[0], np.exp(exponents), rtol=2e-6)
    extremes = np.array([[-1e30, 1e30]])
    vectors.exponentials(extremes, 0)
    assert 0 < extremes[0, 0] < 1e-13 and np.isfinite(extremes[0, 1])


# --- outliers ---


def spoilt_scan(n=120, snr=25, n_spoilt=4):
    """A noisy scan, the same with some signals lost, and where."""
    scan = noisy_scan(n, snr)
    rng = np.random.default_rng(5)
    signal = scan.signal.copy()
    for voxel in range(n):
        volumes = rng.choice(np.flatnonzero(scan.gradients.bvals > 0), n_spoilt, replace=False)
        signal[voxel, volumes] *= rng.choice([0.3, 2.5], n_spoilt)
    # Signals that were low already are lost within the noise.
    is_spoilt = np.abs(signal - scan.signal) > 5 * 1000 / snr
    return scan, DiffusionImage(signal, scan.gradients, scan.mask, scan.grid), is_spoilt


def robust_by_kernel(scan, scan_noise, cutoff):
    bvals, bvecs = scan.gradients.bvals, scan.gradients.bvecs
    moments, n = tensor.tensor_moments(bvals, bvecs), scan.n_voxels
    written = np.empty((n, 6), np.float32), np.empty(n, np.float32), np.empty(n, np.int8), np.empty(n, np.int32)
    more = np.empty(n, np.int32), np.empty(n, np.float32)
    tensor.fit_robust(
        0, n, scan.signal, np.arange(len(bvals)), moments, tensor.tensor_start(moments, len(bvals)), scan_noise, cutoff,
        np.empty((0, 3, 3), np.float32), *written, *more,
    )  # fmt: skip
    return (*written, *more)


def test_robust_fit_is_its_slow_twin():
    _, scan, _ = spoilt_scan(80)
    tensors, s0, status, _, n_outliers, noises = robust_by_kernel(scan, 40.0, 3.0)
    assert not (status & tensor.REJECTION_REFUSED).any()
    for voxel in range(scan.n_voxels):
        expected, expected_s0, n_found, noise = naive.robust_tensor_fit(
            scan.signal[voxel], scan.gradients.bvals, scan.gradients.bvecs, 40.0, 3.0
        )
        assert n_outliers[voxel] == n_found
        np.testing.assert_allclose(noises[voxel], noise, rtol=1e-4)
        np.testing.assert_allclose(tensors[voxel], expected, rtol=1e-4, atol=1e-8)
        np.testing.assert_allclose(s0[voxel], expected_s0, rtol=1e-5)


def test_robust_fit_finds_planted_outliers_and_restores_fa():
    clean, spoilt, is_spoilt = spoilt_scan()
    truth = 1.45 / np.sqrt(1.7**2 + 2 * 0.25**2)
    error = {}
    for name, scan, method in (("clean", clean, "wls"), ("spoilt", spoilt, "wls"), ("robust", spoilt, "robust")):
        field = fit_tensors(scan, FitOptions(tensor_method=method))
        error[name] = np.sqrt(np.mean((tensor_maps(field)["fa"].values - truth) ** 2))
    assert error["spoilt"] > 3 * error["clean"]
    assert error["robust"] < 1.25 * error["clean"]
    found = field.n_outliers
    assert found.sum() > 0.93 * is_spoilt.sum()
    assert found.sum() < 1.3 * is_spoilt.sum()
    assert field.counts["outliers"] == found.sum()
    assert field.counts["voxels_with_outliers"] == np.count_nonzero(found)


def test_robust_fit_rejects_nothing_without_cause():
    gradients, axes = table((30,), (1000.0,)), random_axes(30)
    field = fit_tensors(image([fibre_signal(gradients, axis) for axis in axes], gradients), FULL_ROBUST)
    assert not field.n_outliers.any()
    field = fit_tensors(noisy_scan(200, 20), FULL_ROBUST)
    # Three standard deviations of Gaussian noise: 0.27 percent.
    assert field.n_outliers.sum() < 0.01 * field.n_outliers.size * 38
    assert fit_tensors(noisy_scan(20), FitOptions()).n_outliers is None


def test_outliers_are_kept_where_the_tensor_would_hang_on_too_few_measurements():
    gradients = table((12,), (1000.0,), n_b0=2)
    scan = image(rician([fibre_signal(gradients, axis) for axis in random_axes(100)], 15), gradients)
    tensors, _, status, _, n_outliers, _ = robust_by_kernel(scan, 1.0, 0.5)
    is_kept = (status & tensor.REJECTION_REFUSED) != 0
    assert is_kept.sum() > 3 and not n_outliers[is_kept].any()
    plain = fit_tensors(scan, FitOptions(tensor_method="iwls"))
    np.testing.assert_array_equal(tensors[is_kept], plain.tensors[is_kept])


def test_notices_say_what_was_counted():
    gradients = table((20,), (1000.0,))
    rising = isotropic_signal(gradients, 0.8e-3) * np.exp(2 * gradients.bvecs[:, 2] ** 2)
    signal = np.array([rising, isotropic_signal(gradients, 0.8e-3), np.zeros(gradients.n_volumes)])
    notices = tensor_notices(fit_tensors(image(signal, gradients), FitOptions()))
    assert [notice.split(" ", 6)[:5] for notice in notices] == [["1", "of", "3", "voxels", "(33"]] * 3
    assert "not positive definite" in notices[0] and "too few" in notices[1] and "zero or less" in notices[2]
    assert tensor_notices(fit_tensors(image(signal[1:2], gradients), FitOptions())) == ()


# --- every voxel alone ---


@pytest.mark.parametrize("method", TENSOR_METHODS)
def test_a_voxel_does_not_depend_on_its_neighbours(method):
    """Two voxels are worked on at a time: neither the partner, nor the side, nor the thread may show in the bytes."""
    _, scan, _ = spoilt_scan(61)
    signal = scan.signal.copy()
    signal[7, 3] = signal[20, 9] = 0
    gradients = scan.gradients
    moments = tensor.tensor_moments(gradients.bvals, gradients.bvecs)
    shared = np.arange(gradients.n_volumes), moments, tensor.tensor_start(moments, gradients.n_volumes)
    no_deviations = np.empty((0, 3, 3), np.float32)

    def fitted(signal, n_per_piece):
        n = len(signal)
        written = np.zeros((n, 6), np.float32), np.zeros(n, np.float32), np.zeros(n, np.int8), np.zeros(n, np.int32)
        if method == "robust":
            more = np.zeros(n, np.int32), np.zeros(n, np.float32)
            arguments = (*shared, 40.0, 3.0, no_deviations, *written, *more)
            sweep(tensor.fit_robust, 0, n, n_per_piece, signal, *arguments)
            return (*written, *more)
        sweep(tensor.fit_tensors, 0, n, n_per_piece, signal, *shared, N_REWEIGHTINGS[method], no_deviations, *written)
        return written

    together = fitted(signal, 1000)
    for first, n_per_piece in ((0, 1), (0, 7), (1, 4), (2, 1000)):
        for own, expected in zip(fitted(signal[first:], n_per_piece), together, strict=True):
            np.testing.assert_array_equal(own, expected[first:])


def test_every_volume_is_used_when_asked_for():
    gradients = table((30, 30), (1000.0, 3000.0))
    scan = image([fibre_signal(gradients, (1, 0, 0))] * 2, gradients)
    signal = scan.signal.copy()
    signal[:, gradients.bvals > 2000] *= 1.2
    scan = DiffusionImage(signal, gradients, scan.mask, scan.grid)
    low, full = (
        tensor_maps(fit_tensors(scan, o))["md"].values[0] for o in (FitOptions(), FitOptions(tensor_all_volumes=True))
    )
    assert abs(low / (2.2e-3 / 3) - 1) < 1e-4
    assert full < 0.95 * low


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


@pytest.mark.real
def test_iterated_fit__mrtrix_comparison(shared_data, tmp_path):
    """FA, and MD in 1e-3 mm2/s, within 1e-3 of what dwi2tensor and tensor2metric give in 99 percent of the voxels."""
    import shutil
    import subprocess

    from tractome.io.images import read_volume
    from tractome.io.subjects import read_diffusion
    from tractome.options import ReadOptions

    if shutil.which("dwi2tensor") is None:
        pytest.skip("MRtrix3 is not on the PATH")
    folder = shared_data / "phantom_2mm"
    names = [folder / name for name in ("dwi.nii.gz", "dwi.bval", "dwi.bvec", "mask.nii.gz")]
    scan = read_diffusion(*names, ReadOptions(), None).image
    maps = tensor_maps(fit_tensors(scan, FitOptions(tensor_method="iwls", tensor_all_volumes=True)))
    tensors, fa, md = (str(tmp_path / f"{name}.nii") for name in ("dt", "fa", "md"))
    # More iterations than its default: it starts from other weights.
    first = ["dwi2tensor", str(names[0]), tensors, "-fslgrad", str(names[2]), str(names[1]), "-iter", "6"]
    for command in ([*first, "-mask", str(names[3])], ["tensor2metric", tensors, "-fa", fa, "-adc", md]):
        subprocess.run([*command, "-quiet", "-nthreads", "2"], check=True, timeout=300)
    for name, path, scale in (("fa", fa, 1.0), ("md", md, 1e-3)):
        off = np.abs(maps[name].values - read_volume(path)[0][scan.mask]) / scale
        print(f"{name}: median {np.median(off):.1e}, 99th percentile {np.percentile(off, 99):.1e} of {scale:g}")
        assert np.median(off) < 1e-4
        assert np.percentile(off, 99) < 1e-3


@pytest.mark.real
def test_robust_fit__dipy_comparison(shared_data):
    """On spoilt signals our robust FA is as near to the unspoilt FA as that of DIPY's RESTORE, or nearer."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst import dti

    clean, spoilt, _ = spoilt_scan(150)
    truth = tensor_maps(fit_tensors(clean, FitOptions()))["fa"].values
    ours = tensor_maps(fit_tensors(spoilt, FULL_ROBUST))["fa"].values
    dipy_table = gradient_table(spoilt.gradients.bvals, bvecs=spoilt.gradients.bvecs, b0_threshold=50)
    model = dti.TensorModel(dipy_table, fit_method="RESTORE", sigma=1000 / 25)
    theirs = model.fit(spoilt.signal.astype(float)).fa
    error = [float(np.sqrt(np.mean((fa - truth) ** 2))) for fa in (ours, theirs)]
    print(f"FA off by {error[0]:.4f} (ours), {error[1]:.4f} (DIPY)")
    assert error[0] <= 1.05 * error[1]
