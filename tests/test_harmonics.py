"""The SH basis: MRtrix3's, orthonormal, turned as vectors turn."""

from __future__ import annotations

import subprocess

import naive_fit as naive
import numpy as np
import pytest
from fibres import angle_deg, random_axes

from tractome.kernels import harmonics
from tractome.kernels.peaks import largest_peaks


def test_basis_is_its_slow_twin():
    directions = random_axes(40)
    np.testing.assert_allclose(harmonics.sh_basis(directions, 8), naive.sh_basis(directions, 8), atol=1e-13)


def test_lower_order_is_the_start_of_a_higher_one():
    directions = random_axes(10)
    np.testing.assert_array_equal(harmonics.sh_basis(directions, 4), harmonics.sh_basis(directions, 12)[:, :15])


def test_basis_is_orthonormal():
    nodes, weights = np.polynomial.legendre.leggauss(20)
    phi = np.arange(40) * 2 * np.pi / 40
    sine = np.sqrt(1 - nodes**2)
    grid = np.stack([np.outer(sine, np.cos(phi)), np.outer(sine, np.sin(phi)), np.outer(nodes, np.ones(40))], axis=-1)
    basis = harmonics.sh_basis(grid.reshape(-1, 3), 8)
    product = basis.T * np.repeat(weights * 2 * np.pi / 40, 40) @ basis
    np.testing.assert_allclose(product, np.eye(45), atol=1e-12)


def test_opposite_directions_are_the_same_and_zero_vectors_are_harmless():
    directions = random_axes(10)
    np.testing.assert_allclose(harmonics.sh_basis(-directions, 8), harmonics.sh_basis(directions, 8), atol=1e-13)
    assert np.isfinite(harmonics.sh_basis(np.zeros((1, 3)), 8)).all()


def test_sign_and_place_of_each_phase_on_known_axes():
    # (l = 2): m = -2 ~ xy, -1 ~ -yz, 0 ~ 3 z^2 - 1, 1 ~ -xz, 2 ~ x^2 - y^2: the phase (-1)^m is in it.
    s = np.sqrt(0.5)
    at = harmonics.sh_basis(np.array([[s, s, 0], [0, s, s], [0, 0, 1], [s, 0, s], [1, 0, 0]]), 2)
    assert at[0, 1] > 0 > at[1, 2]
    assert at[2, 3] > 0 > at[3, 4]
    assert at[4, 5] > 0
    assert harmonics.orders(2)[1].tolist() == [0, -2, -1, 0, 1, 2]


def test_zonal_parts_agree_with_the_basis():
    angle = np.linspace(0, np.pi, 30)
    directions = np.stack([np.sin(angle), np.zeros(30), np.cos(angle)], axis=1)
    _, phase = harmonics.orders(8)
    np.testing.assert_allclose(
        harmonics.zonal_basis(np.cos(angle), 8), harmonics.sh_basis(directions, 8)[:, phase == 0], atol=1e-13
    )
    step = 1e-6
    rise = harmonics.zonal_basis(np.cos(angle + step), 8) - harmonics.zonal_basis(np.cos(angle - step), 8)
    np.testing.assert_allclose(harmonics.zonal_derivative(angle, 8), rise / (2 * step), atol=1e-7)
    np.testing.assert_allclose(harmonics.delta_zonal(8), harmonics.zonal_basis(np.ones(1), 8)[0], atol=1e-13)


def test_convolution_of_a_delta_with_a_response_is_the_response_about_its_axis():
    axis, response = random_axes(1)[0], np.array([900.0, -400, 100, -20, 3])
    directions = random_axes(50, seed=1)
    signal = harmonics.sh_basis(directions, 8) @ (
        harmonics.convolution_factors(response, 8) * harmonics.sh_basis(axis[None], 8)[0]
    )
    np.testing.assert_allclose(signal, harmonics.zonal_basis(directions @ axis, 8) @ response, atol=1e-9)


@pytest.mark.parametrize("n", [60, 300])
def test_spread_directions_are_even(n):
    directions = harmonics.spread_directions(n)
    cosine = np.abs(directions @ directions.T)
    np.fill_diagonal(cosine, 0)
    nearest = np.degrees(np.arccos(cosine.max(axis=1)))
    assert nearest.min() > 0.85 * nearest.max()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)


@pytest.mark.parametrize("n", [15, 75])
def test_mirrored_directions_are_nearly_even_and_mirror_images(n):
    directions = harmonics.mirrored_directions(n)
    cosine = np.abs(directions @ directions.T)
    np.fill_diagonal(cosine, 0)
    nearest = np.degrees(np.arccos(cosine.max(axis=1)))
    assert nearest.min() > 0.75 * nearest.max()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    assert (directions[:, 2] > 0).all() and (directions[:n] > 0).all()
    for block, signs in enumerate([(1, 1, 1), (-1, 1, 1), (1, -1, 1), (-1, -1, 1)]):
        np.testing.assert_array_equal(directions[block * n : (block + 1) * n], directions[:n] * signs)


@pytest.mark.parametrize("lmax", [0, 2, 8])
def test_mirror_classes_say_how_harmonics_change_sign(lmax):
    order, first = harmonics.mirror_classes(lmax)
    assert sorted(order) == list(range(harmonics.n_coefficients(lmax))) and first[4] == len(order)
    directions = random_axes(20, seed=1)
    basis = harmonics.sh_basis(directions, lmax)
    in_x, in_y = (harmonics.sh_basis(directions * signs, lmax) for signs in ((-1, 1, 1), (1, -1, 1)))
    for kind, (x_sign, y_sign) in enumerate([(1, 1), (-1, 1), (1, -1), (-1, -1)]):
        chosen = order[first[kind] : first[kind + 1]]
        np.testing.assert_allclose(in_x[:, chosen], x_sign * basis[:, chosen], atol=1e-12)
        np.testing.assert_allclose(in_y[:, chosen], y_sign * basis[:, chosen], atol=1e-12)


def test_peaks_are_found_within_half_a_degree_and_in_order():
    axes = random_axes(200, seed=2)
    second = np.cross(axes, random_axes(200, seed=3))
    second /= np.linalg.norm(second, axis=1)[:, None]
    fields = harmonics.sh_basis(axes, 8) + 0.6 * harmonics.sh_basis(second, 8)
    directions, amplitudes = largest_peaks(fields.astype(np.float32), 8, 2)
    # The two lobes' ripples shift each other's top: the truth is the top of the sum, found on a fine cap.
    for field, axis, found in zip(fields[:10], axes[:10], directions[:10, 0], strict=True):
        near = axis + 0.08 * np.random.default_rng(0).normal(size=(2000, 3))
        best = near[np.argmax(harmonics.sh_basis(near, 8) @ field)]
        assert angle_deg(best, found) < 1.0
    assert (amplitudes[:, 0] > amplitudes[:, 1]).all()
    assert np.median(angle_deg(directions[:, 1], second)) < 3


def test_no_peak_of_a_field_that_is_nowhere_positive():
    field = np.zeros((1, 45), dtype=np.float32)
    field[0, 0] = -1
    directions, amplitudes = largest_peaks(field, 8, 2)
    assert not directions.any() and not amplitudes.any()


@pytest.mark.real
def test_basis__mrtrix_comparison(tmp_path, mrtrix):
    """MRtrix3 evaluates each of our basis functions as we do, whatever the storage order of the image."""
    import nibabel as nib

    directions = random_axes(60)
    np.savetxt(tmp_path / "directions.txt", directions)
    for name, affine in (("ras", np.diag([2.0, 2, 2, 1])), ("las", np.diag([-2.0, 2, 2, 1]))):
        unit = np.eye(45, dtype=np.float32).reshape(45, 1, 1, 45)
        nib.save(nib.Nifti1Image(unit, affine), tmp_path / f"{name}.nii")
        command = ["sh2amp", "-quiet", f"{name}.nii", "directions.txt", f"{name}_amplitude.nii"]
        subprocess.run(command, cwd=tmp_path, check=True)
        amplitudes = np.squeeze(nib.load(tmp_path / f"{name}_amplitude.nii").get_fdata())
        np.testing.assert_allclose(amplitudes, harmonics.sh_basis(directions, 8).T, atol=1e-6)


@pytest.mark.real
@pytest.mark.parametrize("x_sign", [1, -1])
def test_peak_on_a_known_axis__mrtrix_comparison(tmp_path, mrtrix, x_sign):
    """World axes: flipping the storage of the image moves no peak."""
    import nibabel as nib

    axis = np.array([0.6, 0.2, -0.77])
    field = harmonics.sh_basis(axis[None], 8).astype(np.float32).reshape(1, 1, 1, 45)
    nib.save(nib.Nifti1Image(field, np.diag([2.0 * x_sign, 2, 2, 1])), tmp_path / "field.nii")
    subprocess.run(["sh2peaks", "-quiet", "-num", "1", "field.nii", "peak.nii"], cwd=tmp_path, check=True)
    assert angle_deg(nib.load(tmp_path / "peak.nii").get_fdata().squeeze(), axis) < 0.01
