"""Constrained deconvolution: the optimum of its slow twins, and the fibres that were put in."""

from __future__ import annotations

import subprocess

import naive_fit as naive
import numpy as np
import pytest
from fibres import angle_deg, fibre_signal, isotropic_signal, random_axes, rician, table

from tractome.kernels import convolution, deconvolution, harmonics, responses
from tractome.kernels.peaks import largest_peaks


def wm_response(gradients, lmax=8):
    """Zonal coefficients of the simulated fibre, one row per b-value with b0 first."""
    from tractome.datatypes.diffusion import GradientTable

    angle = np.linspace(0, np.pi / 2, 60)
    rows = []
    for b in [0.0, *(shell.b_s_per_mm2 for shell in gradients.shells)]:
        directions = np.stack([np.sin(angle), np.zeros(60), np.cos(angle)], axis=1)
        signal = fibre_signal(GradientTable(np.full(60, b), directions), (0, 0, 1))
        rows.append(np.linalg.lstsq(harmonics.zonal_basis(np.cos(angle), lmax), signal, rcond=None)[0])
    return np.array(rows)


def single_shell(n=32, lmax=8):
    gradients = table((n,), (2000.0,), n_b0=0)
    return gradients, convolution.single_shell_system(gradients.bvecs, wm_response(gradients)[1], lmax)


def square(system):
    n = system.design.shape[1]
    whole = np.zeros((n, n))
    whole[np.triu_indices(n)] = system.hessian
    return whole + np.triu(whole, 1).T


def solve(system, signal):
    return convolution.deconvolve_all(np.asarray(signal, np.float32), np.arange(len(system.design)), system)


def crossing_scan(gradients, n=40, snr=30):
    first, second = random_axes(n, seed=4), random_axes(n, seed=5)
    return rician([fibre_signal(gradients, pair) for pair in zip(first, second, strict=True)], snr)


@pytest.mark.parametrize("lmax", [2, 4, 6, 8])
def test_soft_constraint_is_its_slow_twin(lmax):
    gradients, system = single_shell(lmax=lmax)
    signal = crossing_scan(gradients)
    coefficients, status = solve(system, signal)
    assert (status == deconvolution.CONVERGED).all()
    for own, voxel in zip(coefficients, signal, strict=True):
        b = system.design.T @ voxel.astype(float)
        twin = naive.penalised(b, square(system), system.constraints, system.penalty)
        np.testing.assert_allclose(own, twin, atol=2e-5 * np.abs(twin).max())


def test_hard_constraint_is_its_slow_twin():
    gradients = table((20, 30), (1000.0, 2500.0), n_b0=3)
    system, signal = multi_tissue(gradients), crossing_scan(gradients, 25)
    system = system._replace(tolerance=1e-4, floor=0.0, max_steps=1000)
    order = np.concatenate([np.flatnonzero(gradients.is_b0), *(shell.volumes for shell in gradients.shells)])
    coefficients, status = solve(system, signal[:, order])
    assert (status == deconvolution.CONVERGED).mean() > 0.9
    for own, voxel in zip(coefficients[status == 0], signal[status == 0][:, order], strict=True):
        twin = naive.constrained(system.design.T @ voxel.astype(float), square(system), system.constraints)
        np.testing.assert_allclose(own, twin, atol=1e-2 * np.abs(twin).max())


def multi_tissue(gradients, lmax=8):
    bvals = [0.0, *(shell.b_s_per_mm2 for shell in gradients.shells)]
    csf = np.exp(-3e-3 * np.array(bvals))[:, None] * 1000 * np.sqrt(4 * np.pi)
    grey = np.exp(-0.8e-3 * np.array(bvals))[:, None] * 1000 * np.sqrt(4 * np.pi)
    rows = [gradients.is_b0.nonzero()[0], *(np.array(shell.volumes) for shell in gradients.shells)]
    volumes = np.concatenate(rows)
    row_of_volume = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return convolution.multi_tissue_system(
        gradients.bvecs[volumes], row_of_volume, [wm_response(gradients, lmax), grey, csf], lmax
    )


def test_hard_constraint_holds_to_its_tolerance():
    gradients = table((20, 30), (1000.0, 2500.0), n_b0=3)
    coefficients, _ = solve(multi_tissue(gradients), crossing_scan(gradients, 200))
    amplitudes = coefficients[:, :45] @ harmonics.sh_basis(harmonics.spread_directions(300), 8).T
    assert (amplitudes.min(axis=1) >= -0.01 * amplitudes.max(axis=1)).all()
    assert coefficients[:, 45:].min() >= -0.02


def test_tissues_are_told_apart():
    gradients = table((20, 30), (1000.0, 2500.0), n_b0=3)
    fibre, grey = fibre_signal(gradients, (1, 1, 0)), isotropic_signal(gradients, 0.8e-3)
    csf = isotropic_signal(gradients, 3e-3)
    coefficients, _ = solve(multi_tissue(gradients), [fibre, grey, csf, 0.5 * fibre + 0.5 * csf, 0 * csf])
    whole = np.sqrt(1 / (4 * np.pi))
    shares = coefficients[:, [0, 45, 46]] / whole
    # A fibre is a little more than 1: the sharpest distribution of lmax 8 without negative lobes is blunter than it.
    np.testing.assert_allclose(shares, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0, 0.5], [0, 0, 0]], atol=0.06)


@pytest.mark.parametrize("n,lmax,limit_deg", [(16, 4, 9), (30, 8, 5), (60, 8, 3)])
def test_single_fibres_are_found(n, lmax, limit_deg):
    gradients, system = single_shell(n, lmax)
    axes = random_axes(200, seed=6)
    coefficients, _ = solve(system, rician([fibre_signal(gradients, axis) for axis in axes], 30))
    directions, _ = largest_peaks(coefficients, lmax, 1)
    assert np.percentile(angle_deg(directions[:, 0], axes), 90) < limit_deg
    np.testing.assert_allclose(coefficients[:, 0].mean(), np.sqrt(1 / (4 * np.pi)), rtol=0.03)


def test_two_fibres_crossing_at_60_degrees_are_both_found():
    gradients, system = single_shell(60)
    first = random_axes(100, seed=7)
    side = np.cross(first, random_axes(100, seed=8))
    second = 0.5 * first + np.sqrt(0.75) * side / np.linalg.norm(side, axis=1)[:, None]
    signal = [fibre_signal(gradients, pair) for pair in zip(first, second, strict=True)]
    directions, amplitudes = largest_peaks(solve(system, rician(signal, 50))[0], 8, 2)
    assert (amplitudes[:, 1] > 0.3 * amplitudes[:, 0]).mean() > 0.95
    nearest = np.minimum(angle_deg(directions[:, 0], first), angle_deg(directions[:, 1], first))
    assert np.median(nearest) < 6


def test_voxels_without_signal_are_zero_and_said():
    gradients, system = single_shell()
    good = fibre_signal(gradients, (1, 0, 0))
    bad = np.tile(good, (4, 1))
    bad[1], bad[2, 3], bad[3] = 0, np.nan, -5
    coefficients, status = solve(system, bad)
    assert status.tolist() == [0, 2, 2, 2]
    assert not coefficients[1:].any() and coefficients[0].any()


def test_brighter_signal_scales_the_result():
    gradients, system = single_shell()
    signal = crossing_scan(gradients, 20)
    np.testing.assert_allclose(solve(system, 4 * signal)[0], 4 * solve(system, signal)[0], rtol=1e-4, atol=1e-5)


def test_a_voxel_does_not_depend_on_its_neighbours_in_the_block():
    gradients, system = single_shell()
    signal = crossing_scan(gradients, 150)
    whole = solve(system, signal)[0]
    np.testing.assert_array_equal(whole[70:90], solve(system, signal[70:90])[0])


def test_one_and_two_threads_give_the_same_bytes():
    from tractome.kernels._jit import set_threads

    gradients, system = single_shell()
    signal = crossing_scan(gradients, 300)
    try:
        results = [solve(system, signal)[0].tobytes() for n in (1, 2) if set_threads(n)]
    finally:
        set_threads(0)
    assert results[0] == results[1]


def test_response_of_known_fibres_comes_back():
    gradients = table((40,), (2000.0,), n_b0=0)
    axes = random_axes(300, seed=9)
    signal = rician([fibre_signal(gradients, axis) for axis in axes], 30)
    cosine = axes @ gradients.bvecs.T
    found = responses.zonal_response(signal.ravel(), cosine.ravel(), 8)
    truth = wm_response(gradients)[1]
    np.testing.assert_allclose(found[:3], truth[:3], rtol=0.05)
    angle = np.linspace(0, np.pi / 2, 40)
    assert (harmonics.zonal_derivative(angle, 8) @ found > -1e-2 * found[0]).all()


def test_single_fibre_voxels_are_chosen_among_crossings_and_noise():
    gradients = table((40,), (2000.0,), n_b0=0)
    single = [fibre_signal(gradients, axis) for axis in random_axes(400, seed=10)]
    first, second = random_axes(1200, seed=11), random_axes(1200, seed=12)
    crossing = [fibre_signal(gradients, pair) for pair in zip(first, second, strict=True)]
    grey = [isotropic_signal(gradients, 0.8e-3)] * 800
    signal = rician(np.array(single + crossing + grey), 30)
    no_neighbours = np.full((len(signal), 6), -1)
    response, voxels, axes = responses.single_fibre_response(signal, np.arange(40), gradients.bvecs, 8, no_neighbours)
    # Nearly parallel pairs are single fibres too.
    nearly = 400 + np.flatnonzero(angle_deg(first, second) < 25)
    assert np.isin(voxels, [*range(400), *nearly]).mean() > 0.9
    np.testing.assert_allclose(response[:2], wm_response(gradients)[1][:2], rtol=0.1)
    assert len(axes) == len(voxels)


def test_threshold_is_its_slow_twin():
    values = np.concatenate([np.random.default_rng(0).normal(m, 0.2, 60) for m in (1.0, 2.5)])
    assert responses.least_variance_threshold(values) == pytest.approx(naive.least_variance_threshold(values))


def test_tissue_voxels_are_of_their_tissue():
    rng = np.random.default_rng(0)
    decay = np.concatenate([rng.normal(1.0, 0.05, 3000), rng.normal(0.8, 0.05, 3000), rng.normal(2.5, 0.2, 1000)])
    fa = np.concatenate([rng.uniform(0.3, 0.8, 3000), rng.uniform(0, 0.19, 4000)])
    interior = rng.random(7000) < 0.9
    tissues = responses.tissue_voxels(decay, fa, interior)
    assert (tissues.white < 3000).all() and ((tissues.grey >= 3000) & (tissues.grey < 6000)).all()
    assert (tissues.csf >= 6000).all() and interior[np.concatenate(tissues)].all()
    assert np.median(decay[tissues.csf]) > 2.6


@pytest.mark.real
def test_csd__mrtrix_comparison(tmp_path, mrtrix):
    """Given the same response, FODs are MRtrix3's: median angular correlation at least 0.99."""
    import nibabel as nib

    gradients = table((32,), (2000.0,), n_b0=0)
    signal = crossing_scan(gradients, 600)
    response = wm_response(gradients)[1]
    nib.save(nib.Nifti1Image(signal.reshape(600, 1, 1, 32), np.diag([2.0, 2, 2, 1])), tmp_path / "dwi.nii")
    np.savetxt(tmp_path / "grad.b", np.column_stack([gradients.bvecs, gradients.bvals]))
    np.savetxt(tmp_path / "response.txt", response[None])
    command = "dwi2fod csd -quiet -grad grad.b -lmax 8 dwi.nii response.txt fod.nii"
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    theirs = nib.load(tmp_path / "fod.nii").get_fdata().reshape(600, 45)
    ours, _ = solve(convolution.single_shell_system(gradients.bvecs, response, 8), signal)
    assert np.median(angular_correlation(ours, theirs)) >= 0.99
    np.testing.assert_allclose(np.median(ours[:, 0] / theirs[:, 0]), 1, atol=0.01)


@pytest.mark.real
def test_msmt__mrtrix_comparison(tmp_path, mrtrix):
    """Same responses: correlation at least 0.98, and a cost no higher than MRtrix3's where neither breaks the rule."""
    import nibabel as nib

    gradients = table((20, 30), (1000.0, 2500.0), n_b0=3)
    rng = np.random.default_rng(0)
    share = rng.uniform(0.3, 1, (150, 1))
    clean = share * np.array([fibre_signal(gradients, pair) for pair in rng.normal(size=(150, 2, 3))])
    signal = rician(clean + (1 - share) * isotropic_signal(gradients, 3e-3), 30)
    system = multi_tissue(gradients)
    nib.save(nib.Nifti1Image(signal.reshape(150, 1, 1, -1), np.diag([2.0, 2, 2, 1])), tmp_path / "dwi.nii")
    np.savetxt(tmp_path / "grad.b", np.column_stack([gradients.bvecs, gradients.bvals]))
    bvals = np.array([0.0, 1000, 2500])
    np.savetxt(tmp_path / "wm.txt", wm_response(gradients))
    np.savetxt(tmp_path / "gm.txt", np.exp(-0.8e-3 * bvals)[:, None] * 1000 * np.sqrt(4 * np.pi))
    np.savetxt(tmp_path / "csf.txt", np.exp(-3e-3 * bvals)[:, None] * 1000 * np.sqrt(4 * np.pi))
    command = "dwi2fod msmt_csd -quiet -grad grad.b -lmax 8,0,0 dwi.nii wm.txt wm.nii gm.txt gm.nii csf.txt csf.nii"
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    parts = [nib.load(tmp_path / f"{name}.nii").get_fdata().reshape(150, -1) for name in ("wm", "gm", "csf")]
    theirs = np.concatenate(parts, axis=1)
    ours, _ = solve(system, signal)
    assert np.median(angular_correlation(ours[:, :45], theirs[:, :45])) >= 0.98
    design, hessian = system.design / (system.design[:, 0] @ system.design[:, 0]), square(system)

    def cost(f):
        # Project first, so that breaking the constraint does not pay.
        feasible = np.array([naive.constrained(hessian @ one, hessian, system.constraints) for one in f.astype(float)])
        return ((feasible @ design.T - signal[: len(f)]) ** 2).sum(axis=1)

    ratio = cost(ours[:60]) / cost(theirs[:60])
    print("cost ours / theirs", np.percentile(ratio, [0, 50, 100]))
    assert np.median(ratio) <= 1.001 and ratio.max() <= 1.01


def angular_correlation(first, second):
    a, b = first[:, 1:].astype(float), second[:, 1:].astype(float)
    return (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
