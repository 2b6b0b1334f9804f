"""Fixels: lobes of FODs, their peaks and integrals."""

from __future__ import annotations

import shutil
import subprocess

import naive_fixels as naive
import numpy as np
import pytest
from fibres import angle_deg, random_axes

from tractome.datatypes.fields import OrientationField
from tractome.datatypes.fixels import FixelField
from tractome.datatypes.grid import Grid
from tractome.errors import ImageError
from tractome.kernels import fixels, harmonics
from tractome.kernels._jit import set_threads
from tractome.stages.fit import segment_fixels

# Right, front, up: the order in which MRtrix3 lists the voxels of its fixel images.
GRID_AFFINE = np.array([[2.0, 0, 0, 10], [0, 2, 0, -20], [0, 0, 2, 5], [0, 0, 0, 1]])


def lobe(axes, lmax=8):
    """Coefficients of one narrow lobe of integral 1 along each axis, (n, n_coeffs): a delta made smooth."""
    order, _ = harmonics.orders(lmax)
    return harmonics.sh_basis(np.atleast_2d(axes), lmax) * np.exp(-0.02 * order * (order + 1))


def field(coefficients):
    coefficients = np.asarray(coefficients, np.float32)
    shape = (len(coefficients), 1, 1)
    return OrientationField(coefficients, np.ones(shape, bool), Grid(shape, GRID_AFFINE))


def noisy(n, seed=0, lmax=8):
    """FODs of one to three fibres with a little noise."""
    rng = np.random.default_rng(seed)
    total = rng.normal(scale=0.01, size=(n, harmonics.n_coefficients(lmax)))
    for k, share in enumerate((1.0, 0.7, 0.4)):
        total += (rng.uniform(0.2, 1, n) * (rng.uniform(size=n) < share))[:, None] * lobe(
            random_axes(n, seed + k), lmax
        )
    return total


@pytest.mark.parametrize("lmax", [2, 4, 8, 12])
def test_weights_of_the_sphere_integrate_every_harmonic(lmax):
    sphere = fixels.lobe_sphere(lmax)
    integral = sphere.columns.astype(float) @ sphere.weights.astype(float)
    np.testing.assert_allclose(integral, np.sqrt(4 * np.pi) * (np.arange(len(integral)) == 0), atol=1e-5)
    assert sphere.weights.min() > 0.8 * sphere.weights.mean()


def test_neighbours_are_mutual_and_all_but_the_corners_have_six():
    neighbours = fixels.lobe_sphere(4).neighbours
    own = np.arange(len(neighbours))[:, None]
    pairs = {(i, j) for i, row in enumerate(neighbours) for j in row if j != i}
    assert {(j, i) for i, j in pairs} == pairs
    assert sorted((neighbours != own).sum(axis=1))[:7] == [5] * 6 + [6]


def test_a_single_fibre_is_one_fixel_along_it():
    axes = random_axes(200)
    found = segment_fixels(field(lobe(axes)))
    assert (np.diff(found.offsets) == 1).all()
    assert angle_deg(found.directions, axes).max() < 0.3
    np.testing.assert_allclose(found.peaks, (lobe(axes) * harmonics.sh_basis(axes, 8)).sum(1), rtol=0.01)
    # The integral of the whole is 1; the ripples below zero are left out.
    np.testing.assert_allclose(found.afd, 1.01, atol=0.02)


def test_crossing_fibres_keep_their_directions_and_shares():
    first = random_axes(100, 1)
    second = np.cross(first, random_axes(100, 2))
    second /= np.linalg.norm(second, axis=1)[:, None]
    found = segment_fixels(field(0.6 * lobe(first) + 0.4 * lobe(second)))
    assert (np.diff(found.offsets) == 2).all()
    assert angle_deg(found.directions[0::2], first).max() < 0.5
    assert angle_deg(found.directions[1::2], second).max() < 0.5
    np.testing.assert_allclose(found.afd[0::2], 0.6, atol=0.03)
    np.testing.assert_allclose(found.afd[1::2], 0.4, atol=0.03)


def test_equal_fibres_get_equal_shares_even_where_their_lobes_touch():
    axes = random_axes(100, 3)
    across = np.cross(axes, [0.3, 0.5, -0.8])
    across /= np.linalg.norm(across, axis=1)[:, None]
    half = np.radians(50) / 2
    pair = [np.cos(half) * axes + sign * np.sin(half) * across for sign in (1, -1)]
    found = segment_fixels(field(0.5 * lobe(pair[0]) + 0.5 * lobe(pair[1])))
    assert (np.diff(found.offsets) == 2).all()
    share = found.afd[0::2] / (found.afd[0::2] + found.afd[1::2])
    assert abs(share.mean() - 0.5) < 0.01 and abs(share - 0.5).max() < 0.06


def test_turning_the_field_turns_the_fixels():
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    first, second = random_axes(100, 6), random_axes(100, 7)
    apart = angle_deg(first, second) > 60
    first, second = first[apart], second[apart]
    plain = segment_fixels(field(0.6 * lobe(first) + 0.4 * lobe(second)))
    turned = segment_fixels(field(0.6 * lobe(first @ turn.T) + 0.4 * lobe(second @ turn.T)))
    np.testing.assert_array_equal(plain.offsets, turned.offsets)
    assert angle_deg(plain.directions @ turn.T, turned.directions).max() < 0.5
    np.testing.assert_allclose(plain.afd, turned.afd, atol=0.02)
    np.testing.assert_allclose(plain.peaks, turned.peaks, rtol=0.02)


@pytest.mark.parametrize("lmax", [4, 8])
def test_lobes_are_those_of_the_slow_twin(lmax):
    coefficients = noisy(60, lmax=lmax).astype(np.float32)
    found = segment_fixels(field(coefficients), with_lookup=True)
    for voxel, row in enumerate(coefficients):
        rows, table = naive.lobes(row.astype(float), lmax, 0.1)
        own = slice(found.offsets[voxel], found.offsets[voxel + 1])
        if len(rows) != own.stop - own.start:  # a sampled peak just below the threshold whose top is just above
            assert abs(found.peaks[own] - 0.1).min() < 0.01
            continue
        # The twin takes the highest sample for the peak.
        np.testing.assert_allclose(np.sort(found.afd[own]), np.sort(rows[:, 0]), rtol=0.03, atol=0.003)
        np.testing.assert_allclose(found.peaks[own], np.sort(rows[:, 1])[::-1], rtol=0.05)
        assert (np.diff(found.peaks[own]) <= 0).all()
        if (np.diff(rows[:, 1]) < -0.05 * rows[0, 1]).all():
            assert angle_deg(found.directions[own], rows[:, 2:]).max() < 6.2  # a spacing
            assert (found.lobe_of_direction[voxel] == table).mean() > 0.999


def test_the_look_up_table_parts_the_sphere_as_the_lobes_do():
    coefficients = noisy(50)
    found = segment_fixels(field(coefficients), with_lookup=True)
    sphere = fixels.lobe_sphere(8)
    table = found.lobe_of_direction
    assert segment_fixels(field(coefficients)).lobe_of_direction is None
    for voxel in range(50):
        own = slice(found.offsets[voxel], found.offsets[voxel + 1])
        amplitude = coefficients[voxel] @ sphere.columns
        assert set(np.unique(table[voxel])) <= {*range(own.stop - own.start), fixels.NO_LOBE}
        assert (table[voxel][amplitude < -1e-4] == fixels.NO_LOBE).all()
        for lobe_index, row in enumerate(range(own.start, own.stop)):
            inside = table[voxel] == lobe_index
            np.testing.assert_allclose((sphere.weights * amplitude)[inside].sum(), found.afd[row], rtol=1e-3)
            top = np.argmax(np.where(inside, amplitude, -1))
            assert angle_deg(sphere.directions[top], found.directions[row]) < 6.2
            x, y, z = (float(each) for each in found.directions[row])
            assert fixels.nearest_lobe(own.start, own.stop, found.directions, x, y, z) == row
    assert fixels.nearest_lobe(3, 3, found.directions, 1.0, 0.0, 0.0) == -1


def test_the_nearest_peak_mostly_agrees_with_the_table():
    coefficients = noisy(200)
    found = segment_fixels(field(coefficients), with_lookup=True)
    directions = fixels.lobe_sphere(8).directions
    agree, weight = 0.0, 0.0
    for voxel in range(200):
        own = slice(found.offsets[voxel], found.offsets[voxel + 1])
        inside = found.lobe_of_direction[voxel] != fixels.NO_LOBE
        nearest = np.abs(directions[inside] @ found.directions[own].T).argmax(axis=1)
        amplitude = (coefficients[voxel] @ fixels.lobe_sphere(8).columns)[inside]
        agree += (amplitude * (nearest == found.lobe_of_direction[voxel][inside])).sum()
        weight += amplitude.sum()
    assert agree / weight > 0.97


def test_low_and_small_lobes_are_left_out_and_empty_voxels_have_none():
    coefficients = np.stack([0 * lobe([0, 0, 1.0])[0], 0.02 * lobe([0, 0, 1.0])[0], lobe([1.0, 0, 0])[0]])
    assert np.diff(segment_fixels(field(coefficients)).offsets).tolist() == [0, 0, 1]
    # Down there the ripples around a lobe count as well, unless a least integral is asked for.
    low = np.diff(segment_fixels(field(coefficients), min_peak=0.01).offsets)
    assert low[:2].tolist() == [0, 1] and low[2] > 1
    assert np.diff(segment_fixels(field(coefficients), min_peak=0.01, min_afd=0.1).offsets).tolist() == [0, 0, 1]


def test_more_lobes_than_room_keeps_the_highest():
    ripple = np.random.default_rng(0).normal(size=(300, 91)) * (harmonics.orders(12)[0] == 12)
    found = segment_fixels(field(ripple), min_peak=1e-3)
    counts = np.diff(found.offsets)
    assert counts.max() == fixels.MAX_LOBES
    full = int(np.argmax(counts))
    rows, _ = naive.lobes(ripple[full].astype(np.float32).astype(float), 12, 1e-3)
    assert len(rows) > fixels.MAX_LOBES
    kept = np.sort(rows[:, 1])[::-1][: fixels.MAX_LOBES]
    np.testing.assert_allclose(found.peaks[found.offsets[full] : found.offsets[full + 1]], kept, rtol=0.08)


def test_threads_and_blocks_change_nothing(monkeypatch):
    coefficients = noisy(300)
    whole = segment_fixels(field(coefficients), with_lookup=True)
    monkeypatch.setattr(fixels, "VOXELS_PER_CALL", 37)
    try:
        set_threads(1)
        again = segment_fixels(field(coefficients), with_lookup=True)
    finally:
        set_threads(0)
    for name in ("offsets", "directions", "peaks", "afd", "lobe_of_direction"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(again, name))


def test_peak_vectors_hold_direction_and_amplitude_highest_first():
    found = segment_fixels(field([lobe([0, 0, 1.0])[0], (0.5 * lobe([0, 1.0, 0]) + 0.9 * lobe([1.0, 0, 0]))[0]]))
    vectors = found.peak_vectors(3)
    assert vectors.shape == (2, 9) and not vectors[0, 3:].any() and not vectors[1, 6:].any()
    np.testing.assert_allclose(np.linalg.norm(vectors[1, :6].reshape(2, 3), axis=1), found.peaks[1:], rtol=1e-5)
    assert (
        angle_deg(vectors[1, :3], np.array([1.0, 0, 0])) < 1 and angle_deg(vectors[1, 3:6], np.array([0, 1.0, 0])) < 1
    )
    np.testing.assert_array_equal(found.peak_vectors(1), vectors[:, :3])


def test_a_wrong_index_is_refused():
    grid = Grid((2, 1, 1), GRID_AFFINE)
    mask, none = np.ones((2, 1, 1), bool), np.zeros(0, np.float32)
    with pytest.raises(ImageError, match="begin with 0 and never fall"):
        FixelField(np.array([0, 1, 0]), np.zeros((0, 3)), none, none, mask, grid)
    with pytest.raises(ImageError, match="directions of the fixels"):
        FixelField(np.array([0, 1, 1]), np.zeros((0, 3)), none, none, mask, grid)


@pytest.mark.real
def test_fixels__mrtrix_comparison(tmp_path, mrtrix):
    from tractome.io.images import read_volume, write_orientation_field
    from tractome.io.nifti import open_nifti

    if shutil.which("fod2fixel") is None:
        pytest.skip("MRtrix3 is not installed; it is a test oracle only")
    coefficients = noisy(3000, seed=11)
    ours = segment_fixels(field(coefficients))
    write_orientation_field(tmp_path / "fod.nii", field(coefficients))
    command = "fod2fixel -quiet -nthreads 1 fod.nii out -nii -afd afd.nii -peak_amp peak.nii -dirpeak"
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    command = "sh2peaks -quiet -nthreads 1 -num 3 -threshold 0.1 fod.nii peaks.nii"
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    peaks = np.stack(list(open_nifti(tmp_path / "peaks.nii").volumes()), axis=-1).reshape(-1, 3, 3)
    vectors = ours.peak_vectors(3).reshape(-1, 3, 3)
    highest = (np.linalg.norm(vectors, axis=2)[:, 1] < 0.9 * np.linalg.norm(vectors, axis=2)[:, 0]) & ~np.isnan(
        peaks[:, 0, 0]
    )
    assert highest.mean() > 0.8
    assert np.percentile(angle_deg(vectors[highest, 0], peaks[highest, 0]), 95) < 1
    lengths = np.linalg.norm(vectors[highest, 0], axis=1) / np.linalg.norm(peaks[highest, 0], axis=1)
    np.testing.assert_allclose(np.percentile(lengths, (5, 50, 95)), 1, atol=0.01)

    afd, peak = (read_volume(tmp_path / "out" / f"{name}.nii")[0].ravel() for name in ("afd", "peak"))
    directions = read_volume(tmp_path / "out" / "directions.nii")[0].reshape(-1, 3)
    import nibabel

    index = np.asarray(nibabel.load(tmp_path / "out" / "index.nii").dataobj).reshape(-1, 2)
    assert (np.diff(ours.offsets) == index[:, 0]).mean() > 0.97
    angle, afd_ratio, peak_ratio = [], [], []
    for voxel, (count, start) in enumerate(index):
        for row in range(ours.offsets[voxel], ours.offsets[voxel + 1]):
            if count:
                angles = angle_deg(directions[start : start + count], ours.directions[row])
                match = start + int(np.argmin(angles))
                angle.append(angles.min())
                afd_ratio.append(ours.afd[row] / afd[match])
                peak_ratio.append(ours.peaks[row] / peak[match])
    assert np.percentile(angle, 50) < 0.3 and np.percentile(angle, 95) < 2
    np.testing.assert_allclose(np.percentile(afd_ratio, (5, 50, 95)), 1, atol=0.06)
    np.testing.assert_allclose(np.percentile(peak_ratio, (5, 50, 95)), 1, atol=0.01)
