"""Constrained deconvolution: the optimum of its slow twins, and the fibres that were put in."""

from __future__ import annotations

import subprocess

import naive
import numba
import numpy as np
import pytest
from fibres import angle_deg, fibre_signal, isotropic_signal, random_axes, rician, table

from tractome.kernels import convolution, deconvolution, harmonics, quadratic, responses
from tractome.kernels._lanes import WIDTH
from tractome.kernels.deconvolution import algebra
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
    """The Hessian as a whole matrix, double precision."""
    n = system.design.shape[1]
    whole = np.zeros((n, n))
    whole[np.tril_indices(n)] = system.hessian
    return whole + np.tril(whole, -1).T


DIRECTIONS = harmonics.mirrored_directions(convolution.N_CONSTRAINT_DIRECTIONS // 4)


def constraints(system):
    """Directions first, then the isotropic tissues."""
    n_white, n = system.n_white, system.design.shape[1]
    whole = np.zeros((len(DIRECTIONS) + n - n_white, n))
    whole[: len(DIRECTIONS), :n_white] = harmonics.sh_basis(DIRECTIONS, lmax_of(n_white))
    whole[len(DIRECTIONS) :, n_white:] = np.eye(n - n_white)
    return whole


def lmax_of(n_white):
    return next(lmax for lmax in range(0, 20, 2) if harmonics.n_coefficients(lmax) == n_white)


def solve(system, signal):
    return convolution.deconvolve_all(np.asarray(signal, np.float32), np.arange(len(system.design)), system)


def crossing_scan(gradients, n=40, snr=30):
    first, second = random_axes(n, seed=4), random_axes(n, seed=5)
    return rician([fibre_signal(gradients, pair) for pair in zip(first, second, strict=True)], snr)


@numba.njit
def solve_lanes(matrix, n, x):
    algebra.cholesky(matrix, n)
    algebra.substitute(matrix, n, x)


@numba.njit
def quadratic_lanes(hessian, n, d):
    algebra.quadratic_form(hessian, n, d)


@numba.njit
def weighted_gram(system, weight, moments, matrix):
    n_octant = system.columns.shape[1]
    algebra.mirror(weight, n_octant)
    for c in range(4):
        begin, end = system.high_first[c], system.high_first[c + 1]
        algebra.multiply(system.high_basis, 0, n_octant, begin, end, weight, c * n_octant, moments, begin)
    algebra.add_products(system.hessian, system.place, system.first, system.moment, system.factor, moments, matrix)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 45])
def test_lanes_solve_what_numpy_solves(n):
    rng = np.random.default_rng(n)
    roots = rng.normal(size=(WIDTH, n, n + 20))
    whole, right = roots @ roots.transpose(0, 2, 1), rng.normal(size=(n, WIDTH)).astype(np.float32)
    lower = np.tril_indices(n)
    packed = np.ascontiguousarray(whole[:, lower[0], lower[1]].T.astype(np.float32))
    x = right.copy()
    solve_lanes(packed, n, x)
    twin = np.linalg.solve(whole, right.T[:, :, None].astype(float))[:, :, 0].T
    np.testing.assert_allclose(x, twin, atol=2e-4 * np.abs(twin).max())
    d = np.concatenate([right, np.zeros((1, WIDTH), np.float32)])
    quadratic_lanes(whole[0][lower].astype(np.float32), n, d)
    np.testing.assert_allclose(d[n], np.einsum("il,ij,jl->l", right, whole[0], right), rtol=1e-4)


@pytest.mark.parametrize("lmax", [2, 4, 8, 12])
def test_moments_of_the_weights_are_the_sum_of_outer_products(lmax):
    _, system = single_shell(lmax=lmax)
    rows = constraints(system)
    weight = np.random.default_rng(0).random((len(rows), WIDTH), np.float32)
    twin = naive.weighted_gram(square(system), rows, weight)
    moments = np.empty((system.high_basis.shape[1], WIDTH), np.float32)
    matrix = np.empty((len(system.hessian), WIDTH), np.float32)
    weighted_gram(system, weight, moments, matrix)
    for lane in range(WIDTH):
        np.testing.assert_allclose(
            matrix[:, lane], twin[lane][np.tril_indices(system.n_white)], atol=2e-6 * np.abs(twin[lane]).max()
        )


def test_small_problem_is_its_slow_twin():
    rng = np.random.default_rng(1)
    for n, n_constraints in ((1, 3), (3, 5), (5, 120), (12, 40)):
        for _ in range(20):
            root = rng.normal(size=(n, n + 3))
            hessian, b, rules = root @ root.T, rng.normal(size=n), rng.normal(size=(n_constraints, n))
            rules[0] = np.abs(rules[0])
            own = quadratic.constrained_minimum(hessian, b, rules)
            np.testing.assert_allclose(own, naive.constrained(b, hessian, rules), atol=1e-7)


@pytest.mark.parametrize("lmax", [2, 4, 6, 8, 10, 12])
def test_soft_constraint_is_its_slow_twin(lmax):
    gradients, system = single_shell(lmax=lmax)
    signal = crossing_scan(gradients)
    coefficients, status = solve(system, signal)
    assert (status == deconvolution.CONVERGED).all()
    for own, voxel in zip(coefficients, signal, strict=True):
        b = system.design.astype(float).T @ voxel
        twin = naive.penalised(b, square(system), constraints(system), system.penalty)
        np.testing.assert_allclose(own, twin, atol=3e-4 * np.abs(twin).max())


def test_hard_constraint_is_its_slow_twin():
    gradients = table((20, 30), (1000.0, 2500.0), n_b0=3)
    system, signal = multi_tissue(gradients), crossing_scan(gradients, 25)
    system = system._replace(tolerance=1e-4, flip_tolerance=1e-5, floor=0.0, max_steps=1000)
    order = np.concatenate([np.flatnonzero(gradients.is_b0), *(shell.volumes for shell in gradients.shells)])
    coefficients, status = solve(system, signal[:, order])
    assert (status == deconvolution.CONVERGED).mean() > 0.9
    for own, voxel in zip(coefficients[status == 0], signal[status == 0][:, order], strict=True):
        twin = naive.constrained(system.design.astype(float).T @ voxel, square(system), constraints(system))
        np.testing.assert_allclose(own, twin, atol=1e-2 * np.abs(twin).max())


DIFFUSIVITY = {"gm": 0.8e-3, "csf": 3e-3}


def isotropic_response(bvals, name):
    return np.exp(-DIFFUSIVITY[name] * np.array(bvals))[:, None] * 1000 * np.sqrt(4 * np.pi)


def multi_tissue(gradients, lmax=8, isotropic=("gm", "csf")):
    bvals = [0.0, *(shell.b_s_per_mm2 for shell in gradients.shells)]
    rows = [gradients.is_b0.nonzero()[0], *(np.array(shell.volumes) for shell in gradients.shells)]
    volumes = np.concatenate(rows)
    row_of_volume = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    tissues = [isotropic_response(bvals, name) for name in isotropic]
    return convolution.multi_tissue_system(
        gradients.bvecs[volumes], row_of_volume, [wm_response(gradients, lmax), *tissues], lmax
    )


def test_hard_constraint_holds_to_its_tolerance():
    gradients = table((20, 30), (1000.0, 2500.0), n_b0=3)
    coefficients, _ = solve(multi_tissue(gradients), crossing_scan(gradients, 200))
    amplitudes = coefficients[:, :45] @ harmonics.sh_basis(DIRECTIONS, 8).T
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


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_a_voxel_depends_on_nothing_but_itself(kind, monkeypatch):
    """Neither on its neighbours nor on their order, the size of a piece, or the number of threads: equal bytes."""
    from tractome.kernels._jit import set_threads

    gradients = table((20, 30), (1000.0, 2500.0), n_b0=3) if kind == "hard" else single_shell()[0]
    system = multi_tissue(gradients) if kind == "hard" else single_shell()[1]
    signal = crossing_scan(gradients, 700)
    whole = solve(system, signal)[0]
    np.testing.assert_array_equal(whole[70:90], solve(system, signal[70:90])[0])
    np.testing.assert_array_equal(whole[::-1], solve(system, signal[::-1])[0])
    try:
        for n_threads, size in ((1, 1024), (2, 1024), (2, 37)):
            monkeypatch.setattr(convolution, "VOXELS_PER_PIECE", size)
            assert set_threads(n_threads)
            np.testing.assert_array_equal(whole, solve(system, signal)[0])
    finally:
        set_threads(0)


def test_progress_counts_up_and_an_interrupt_stops_it(monkeypatch):
    monkeypatch.setattr(convolution, "VOXELS_PER_CALL", 50)
    gradients, system = single_shell()
    signal, seen = crossing_scan(gradients, 220), []

    def interrupt(done, n):
        seen.append((done, n))
        if done == 150:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convolution.deconvolve_all(signal, np.arange(32), system, interrupt)
    assert seen == [(50, 220), (100, 220), (150, 220)]


def test_too_few_steps_are_said_and_a_limit_leaves_no_nonsense():
    gradients, system = single_shell()
    coefficients, status = solve(system._replace(max_steps=2), crossing_scan(gradients, 50))
    assert (status == deconvolution.NOT_CONVERGED).mean() > 0.9
    assert np.isfinite(coefficients).all()
    huge, status = solve(system, np.full((3, 32), 3e37))
    assert np.isfinite(huge).all() and (status != deconvolution.CONVERGED).all()


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
@pytest.mark.parametrize("names", [("wm", "gm", "csf"), ("wm", "csf")], ids="-".join)
def test_msmt__mrtrix_comparison(tmp_path, mrtrix, names):
    """Same responses: correlation at least 0.98, and a cost no higher than MRtrix3's where neither breaks the rule."""
    import nibabel as nib

    gradients = table((20, 30), (1000.0, 2500.0), n_b0=3)
    rng = np.random.default_rng(0)
    share = rng.uniform(0.3, 1, (150, 1))
    clean = share * np.array([fibre_signal(gradients, pair) for pair in rng.normal(size=(150, 2, 3))])
    signal = rician(clean + (1 - share) * isotropic_signal(gradients, 3e-3), 30)
    system = multi_tissue(gradients, isotropic=names[1:])
    nib.save(nib.Nifti1Image(signal.reshape(150, 1, 1, -1), np.diag([2.0, 2, 2, 1])), tmp_path / "dwi.nii")
    np.savetxt(tmp_path / "grad.b", np.column_stack([gradients.bvecs, gradients.bvals]))
    np.savetxt(tmp_path / "wm.txt", wm_response(gradients))
    for name in names[1:]:
        np.savetxt(tmp_path / f"{name}.txt", isotropic_response([0.0, 1000, 2500], name))
    lmax = ",".join(["8", *("0" for _ in names[1:])])
    command = f"dwi2fod msmt_csd -quiet -grad grad.b -lmax {lmax} dwi.nii"
    for name in names:
        command += f" {name}.txt {name}.nii"
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    parts = [nib.load(tmp_path / f"{name}.nii").get_fdata().reshape(150, -1) for name in names]
    theirs = np.concatenate(parts, axis=1)
    ours, _ = solve(system, signal)
    assert np.median(angular_correlation(ours[:, :45], theirs[:, :45])) >= 0.98
    amplitudes = ours[:, :45] @ constraints(system)[:300, :45].T
    peak = amplitudes.max(axis=1)
    matters = peak > 0.05 * np.median(peak)
    assert (amplitudes.min(axis=1) >= -0.01 * peak)[matters].all()
    design = system.design.astype(float)
    design, hessian = design / (design[:, 0] @ design[:, 0]), square(system)

    def cost(f):
        # Project first, so that breaking the constraint does not pay.
        feasible = np.array([naive.constrained(hessian @ one, hessian, constraints(system)) for one in f.astype(float)])
        return ((feasible @ design.T - signal[: len(f)]) ** 2).sum(axis=1)

    ours_cost, theirs_cost = cost(ours[:60]), cost(theirs[:60])
    print(
        "cost ours / theirs", np.percentile(ours_cost / theirs_cost, [0, 50, 100]), ours_cost.sum() / theirs_cost.sum()
    )
    assert ours_cost.sum() <= 1.001 * theirs_cost.sum() and (ours_cost / theirs_cost).max() <= 1.01


def angular_correlation(first, second):
    a, b = first[:, 1:].astype(float), second[:, 1:].astype(float)
    return (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
