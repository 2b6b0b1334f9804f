"""The fit stage: which model and why, responses from the data, FODs and the tensor's bootstrap."""

from __future__ import annotations

import naive_fit as naive
import numpy as np
import pytest
from fibres import angle_deg, block, fibre_signal, image, isotropic_signal, random_axes, rician, table

from tractome.datatypes.diffusion import DiffusionImage, GradientTable
from tractome.errors import GradientError, OptionError
from tractome.kernels import bootstrap, harmonics
from tractome.kernels.peaks import largest_peaks
from tractome.kernels.random import random_bits
from tractome.options import FitOptions
from tractome.stages.fit import (
    bootstrap_orientations,
    choose_model,
    estimate_response,
    fit_fods,
    fit_tensors,
    tensor_maps,
)
from tractome.stages.fit.model import default_lmax, n_distinct_directions


def brain(gradients, shape=(16, 14, 10), snr=30, seed=0):
    """A box of single fibres, crossings, grey matter and CSF, and which is which (0 to 3)."""
    rng = np.random.default_rng(seed)
    kind = np.minimum(np.arange(shape[0]) // 4, 3)[:, None, None] * np.ones(shape, int)
    axes = random_axes(kind.size, seed + 1).reshape(*shape, 3)
    signal = np.empty((*shape, gradients.n_volumes))
    for voxel in np.ndindex(shape):
        signal[voxel] = (
            fibre_signal(gradients, axes[voxel]),
            fibre_signal(gradients, [axes[voxel], rng.normal(size=3)]),
            isotropic_signal(gradients, 0.8e-3),
            isotropic_signal(gradients, 3e-3, 2000),
        )[kind[voxel]]
    return block(rician(signal, snr, seed).reshape(-1, gradients.n_volumes), gradients, shape), kind.ravel(), axes


def test_distinct_directions_count_repeats_and_opposites_once():
    directions = random_axes(17)
    assert n_distinct_directions(np.concatenate([directions, -directions, directions])) == 17
    assert n_distinct_directions(np.zeros((0, 3))) == 0


@pytest.mark.parametrize("n,lmax", [(6, 4), (8, 6), (16, 6), (20, 8), (30, 8), (90, 8)])
def test_lmax_follows_the_number_of_directions(n, lmax):
    assert default_lmax(n) == lmax
    gradients = table((n,), (2000.0,))
    assert choose_model(gradients, FitOptions(model="csd")).lmax == lmax


@pytest.mark.parametrize(
    "directions,bvals,model,shells",
    [
        ((32,), (1000.0,), "csd", (1000.0,)),
        ((32, 32), (1000.0, 2000.0), "csd", (2000.0,)),
        ((90, 90, 90), (1000.0, 2000.0, 3000.0), "csd", (3000.0,)),
        ((64, 64), (1000.0, 6000.0), "csd", (1000.0,)),
        ((64, 12), (1000.0, 3000.0), "csd", (1000.0,)),
        ((7,), (1000.0,), "tensor", (1000.0,)),
        ((16,), (1000.0,), "csd", (1000.0,)),
    ],
)
def test_the_model_chosen_and_its_reason(directions, bvals, model, shells):
    choice = choose_model(table(directions, bvals), FitOptions())
    assert (choice.model, choice.shells_s_per_mm2) == (model, shells)
    assert "distinct directions" in choice.reason


def test_asking_overrides_the_choice():
    gradients = table((32, 32), (1000.0, 2000.0))
    assert choose_model(gradients, FitOptions(fod_shell_s_per_mm2=1000)).shells_s_per_mm2 == (1000.0,)
    assert choose_model(gradients, FitOptions(model="tensor")).model == "tensor"
    assert choose_model(gradients, FitOptions(model="msmt")).shells_s_per_mm2 == (1000.0, 2000.0)
    assert choose_model(gradients, FitOptions(lmax=6)).lmax == 6
    assert choose_model(table((16,), (1000.0,)), FitOptions(model="csd")).lmax == 6


def test_what_cannot_be_fitted_is_refused_with_what_to_do():
    gradients = table((32,), (1000.0,))
    with pytest.raises(GradientError, match="choose one of: 1000"):
        choose_model(gradients, FitOptions(fod_shell_s_per_mm2=2000))
    with pytest.raises(GradientError, match="No shell up to"):
        choose_model(table((32,), (9000.0,)), FitOptions())
    with pytest.raises(GradientError, match="needs b0 volumes"):
        choose_model(table((32,), (1000.0,), n_b0=0), FitOptions(model="msmt"))
    with pytest.raises(GradientError, match="at least 6"):
        choose_model(table((5,), (1000.0,)), FitOptions())
    with pytest.raises(GradientError, match="weighted volumes"):
        choose_model(GradientTable(np.zeros(5), np.zeros((5, 3))), FitOptions())
    with pytest.raises(OptionError, match="Did you mean 'csd'"):
        FitOptions(model="cds")
    scan = image(np.ones((2, 9)), table((7,), (1000.0,)))
    with pytest.raises(GradientError, match="has no response function"):
        estimate_response(scan, fit_tensors(scan, FitOptions()), FitOptions())


def test_csd_finds_the_fibres_with_a_response_from_the_data():
    scan, kind, axes = brain(table((45,), (2500.0,)))
    options = FitOptions()
    response = estimate_response(scan, fit_tensors(scan, options), options)
    seen = []
    field = fit_fods(scan, response, options, lambda done, total: seen.append((done, total)))
    assert field.method == "csd" and field.lmax == 8 and seen[-1] == (scan.n_voxels, scan.n_voxels)
    directions, amplitudes = largest_peaks(field.coefficients, 8, 1)
    single = kind == 0
    assert np.median(angle_deg(directions[single, 0], axes.reshape(-1, 3)[single])) < 3
    np.testing.assert_allclose(np.median(field.coefficients[single, 0]), np.sqrt(1 / (4 * np.pi)), rtol=0.1)
    assert np.median(amplitudes[single]) > 3 * np.median(amplitudes[kind == 2])


def test_msmt_tells_the_tissues_apart_with_responses_from_the_data():
    scan, kind, axes = brain(table((20, 45), (1000.0, 2500.0), n_b0=5))
    options = FitOptions(model="msmt")
    response = estimate_response(scan, fit_tensors(scan, options), options)
    assert set(response.zonal) == {"wm", "gm", "csf"} and (response.bvals == [0, 1000, 2500]).all()
    np.testing.assert_allclose(response.zonal["gm"][:, 0] / np.sqrt(4 * np.pi), [1000, 449, 135], rtol=0.1)
    np.testing.assert_allclose(response.zonal["csf"][:2, 0] / np.sqrt(4 * np.pi), [2000, 100], rtol=0.15)
    field = fit_fods(scan, response, options)
    assert field.method == "msmt" and set(field.tissues) == {"gm", "csf"}
    whole = np.sqrt(1 / (4 * np.pi))
    shares = np.stack([field.coefficients[:, 0], field.tissues["gm"], field.tissues["csf"]], axis=1) / whole
    for tissue, own in ((0, kind == 0), (1, kind == 2), (2, kind == 3)):
        assert np.median(shares[own, tissue]) > 0.85
        assert np.median(np.delete(shares[own], tissue, axis=1).max(axis=1)) < 0.15
    assert field.tissues["csf"].min() >= 0
    directions, _ = largest_peaks(field.coefficients, 8, 1)
    assert np.median(angle_deg(directions[kind == 0, 0], axes.reshape(-1, 3)[kind == 0])) < 3


def test_one_shell_and_b0_make_two_tissues():
    scan, kind, _ = brain(table((45,), (2500.0,), n_b0=5))
    options = FitOptions(model="msmt")
    response = estimate_response(scan, fit_tensors(scan, options), options)
    field = fit_fods(scan, response, options)
    assert set(field.tissues) == {"csf"}
    assert np.median(field.tissues["csf"][kind == 3]) > 10 * np.median(field.tissues["csf"][kind == 0])


def test_a_scan_without_csf_is_refused_by_msmt_with_what_to_do():
    gradients = table((32,), (1000.0,), n_b0=4)
    signal = rician([fibre_signal(gradients, axis) for axis in random_axes(1000)], 50)
    scan = block(signal, gradients, (10, 10, 10))
    options = FitOptions(model="msmt")
    with pytest.raises(GradientError, match="use model = csd"):
        estimate_response(scan, fit_tensors(scan, options), options)


def test_turning_the_gradients_turns_the_fods():
    gradients = table((45,), (2500.0,))
    scan, kind, _ = brain(gradients, (8, 6, 5))
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    turned_table = GradientTable(gradients.bvals, gradients.bvecs @ rotation.T)
    turned = DiffusionImage(scan.signal, turned_table, scan.mask, scan.grid)
    options = FitOptions()
    peaks = []
    for one in (scan, turned):
        response = estimate_response(one, fit_tensors(one, options), options)
        peaks.append(largest_peaks(fit_fods(one, response, options).coefficients, 8, 1)[0][:, 0])
    assert np.median(angle_deg(peaks[0] @ rotation.T, peaks[1])[kind == 0]) < 1.5


# --- the tensor's bootstrap ---


def test_density_kernel_is_a_narrow_bump_that_is_nowhere_negative():
    angle = np.linspace(0, np.pi / 2, 181)
    directions = np.stack([np.sin(angle), np.zeros(181), np.cos(angle)], axis=1)
    for lmax in (4, 8, 12):
        bump = harmonics.sh_basis(directions, lmax) @ (
            bootstrap.density_kernel(lmax) * harmonics.sh_basis(np.array([[0, 0, 1.0]]), lmax)[0]
        )
        assert bump[0] == pytest.approx(1) and bump.min() > -1e-9
    assert bump[angle > np.radians(35)].max() < 0.02


def test_harmonics_of_the_bootstrap_are_those_of_the_basis():
    directions, found = random_axes(30), np.zeros((30, 45))
    for direction, row in zip(directions, found, strict=True):
        bootstrap.add_harmonics(*direction, 8, np.zeros((9, 9)), row)
    np.testing.assert_allclose(found, harmonics.sh_basis(directions, 8), atol=1e-12)


def test_bootstrap_is_its_slow_twin():
    gradients = table((16,), (1000.0,))
    signal = rician([fibre_signal(gradients, axis) for axis in random_axes(5)], 20)
    field = bootstrap_orientations(image(signal, gradients), FitOptions(n_bootstrap_draws=20, bootstrap_seed=7))
    factors = bootstrap.density_kernel(8)
    for voxel in range(5):
        bits = [int(random_bits(np.uint64(7), np.uint64(voxel), np.uint64(draw))) for draw in range(20)]
        signs = np.array([[1.0 if word >> v & 1 else -1.0 for v in range(18)] for word in bits])
        draws = naive.bootstrap_tensors(signal[voxel], gradients.bvals, gradients.bvecs, signs)
        twin = factors * harmonics.sh_basis(draws, 8).mean(axis=0)
        np.testing.assert_allclose(field.coefficients[voxel], twin, atol=1e-4)


def peak_heights(field):
    return (field.coefficients @ harmonics.sh_basis(harmonics.spread_directions(724), 8).T).max(axis=1)


def test_bootstrap_is_sure_without_noise_and_less_sure_with_more():
    gradients, axes = table((16,), (1000.0,)), random_axes(150)
    clean = np.array([fibre_signal(gradients, axis) for axis in axes])
    heights = [
        np.median(peak_heights(bootstrap_orientations(image(signal, gradients), FitOptions())))
        for signal in (clean, rician(clean, 40), rician(clean, 10), rician(0 * clean + 500, 10))
    ]
    assert heights[0] > 0.98
    assert heights[0] > heights[1] > heights[2] > heights[3]


def test_spread_of_bootstrap_directions_is_the_spread_of_the_noise():
    """The cone of uncertainty: the bootstrap of one scan is as wide as the fits of many scans, within a third."""
    gradients, axis = table((30,), (1000.0,)), np.array([0.3, -0.5, 0.8])
    clean = np.tile(fibre_signal(gradients, axis), (400, 1))
    scan = image(rician(clean, 20), gradients)
    from tractome.stages.fit import principal_directions

    true_spread = np.median(angle_deg(principal_directions(fit_tensors(scan, FitOptions())), axis))
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(50, gradients.n_volumes))
    spreads = []
    for voxel in range(30):
        draws = naive.bootstrap_tensors(scan.signal[voxel], gradients.bvals, gradients.bvecs, signs)
        centre = np.linalg.eigh(draws.T @ draws)[1][:, -1]
        spreads.append(np.median(angle_deg(draws, centre)))
    assert np.median(spreads) == pytest.approx(true_spread, rel=0.35)


def test_bootstrap_density_is_never_negative_and_zero_without_signal():
    gradients = table((16,), (1000.0,))
    signal = rician([isotropic_signal(gradients, 1e-3)] * 20, 10)
    signal[3], signal[4, 5] = 0, 0
    field = bootstrap_orientations(image(signal, gradients), FitOptions())
    assert field.method == "bootstrap" and field.lmax == 8
    amplitudes = field.coefficients @ harmonics.sh_basis(harmonics.spread_directions(300), 8).T
    assert amplitudes.min() > -1e-5
    assert not field.coefficients[3].any() and field.coefficients[4].any()


def test_bootstrap_depends_on_its_seed_and_on_nothing_else(monkeypatch):
    from tractome.kernels._jit import set_threads
    from tractome.stages.fit import fods

    gradients = table((16,), (1000.0,))
    scan = image(rician([fibre_signal(gradients, axis) for axis in random_axes(300)], 20), gradients)
    whole = bootstrap_orientations(scan, FitOptions()).coefficients
    monkeypatch.setattr(fods, "VOXELS_PER_CALL", 37)
    try:
        set_threads(1)
        np.testing.assert_array_equal(bootstrap_orientations(scan, FitOptions()).coefficients, whole)
    finally:
        set_threads(0)
    other = bootstrap_orientations(scan, FitOptions(bootstrap_seed=1)).coefficients
    assert (other != whole).any()


def test_sixteen_directions_on_a_real_scan(shared_data):
    """The clinical case: directions are surer where anisotropy is higher."""
    from tractome.io.subjects import read_diffusion
    from tractome.options import ReadOptions

    folder = shared_data / "philips_dwi_t1"

    def middle(mean_b0, grid):
        mask = np.zeros(grid.shape, dtype=bool)
        mask[40:90, 40:90, 45] = True
        return mask

    names = (folder / "dwi.nii.gz", folder / "dwi.bval", folder / "dwi.bvec")
    scan = read_diffusion(*names, middle, ReadOptions()).image
    choice = choose_model(scan.gradients, FitOptions())
    assert (choice.model, choice.lmax) == ("csd", 6) and "16 distinct directions" in choice.reason
    heights = peak_heights(bootstrap_orientations(scan, FitOptions()))
    fa = tensor_maps(fit_tensors(scan, FitOptions()))["fa"].values
    assert np.median(heights[fa > 0.5]) > 0.85 > np.median(heights[fa < 0.15])
