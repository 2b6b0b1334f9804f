"""Gibbs ringing: less of it, edges kept, nothing where there is none."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from tractome.stages.preprocess.unring import LEAST_RIM_POWER, rim_power, unring, unrung_planes


@pytest.fixture(scope="module")
def ringing():
    """A disc in a disc as 48 x 40 measured frequencies show it, and the truth."""
    factor, shape = 8, (48, 40)
    x, y = np.mgrid[: shape[0] * factor, : shape[1] * factor]
    fine = np.zeros(x.shape)
    fine[np.hypot((x - 190) / 150, (y - 163) / 130) < 1] = 1000
    fine[np.hypot((x - 190) / 60, (y - 163) / 70) < 1] = 2000
    spectrum = np.fft.fftshift(np.fft.fft2(fine))
    low = [(n * factor - n) // 2 for n in shape]
    part = spectrum[low[0] : low[0] + shape[0], low[1] : low[1] + shape[1]]
    image = np.abs(np.fft.ifft2(np.fft.ifftshift(part))) / factor**2
    truth = fine.reshape(shape[0], factor, shape[1], factor).mean(axis=(1, 3))
    flat = binary_erosion(sum(np.gradient(truth)[axis] ** 2 for axis in (0, 1)) < 1, iterations=1)
    return image.astype(np.float32), truth, flat


def error(image, ringing):
    return float(np.sqrt(np.mean((image - ringing[1])[ringing[2]] ** 2)))


def test_ringing_goes(ringing):
    assert error(unrung_planes(ringing[0][None])[0], ringing) < 0.75 * error(ringing[0], ringing)


def test_unring_dipy_comparison(ringing):
    from dipy.denoise.gibbs import gibbs_removal

    ours, theirs = unrung_planes(ringing[0][None])[0], gibbs_removal(ringing[0].copy(), inplace=False)
    assert error(ours, ringing) < 1.05 * error(theirs, ringing)
    assert np.abs(ours - theirs).mean() < 0.1 * np.abs(ours - ringing[0]).mean() + 1.0


def test_odd_sizes_and_constant_planes_are_kept():
    plane = np.full((3, 9, 11), 7.0, dtype=np.float32)
    np.testing.assert_allclose(unrung_planes(plane), plane, rtol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_lie_across_the_named_axis(ringing, axis):
    planes = np.stack([ringing[0], 2 * ringing[0], ringing[0]])
    scan = np.moveaxis(planes, 0, axis)[..., None]
    mask = np.ones(scan.shape[:3], dtype=bool)
    found = np.moveaxis(unring(scan, mask, axis)[..., 0], axis, 0)
    np.testing.assert_allclose(found, unrung_planes(planes), rtol=1e-4, atol=0.05)


def test_slices_outside_of_the_mask_are_left():
    scan = np.random.default_rng(0).uniform(1, 2, (10, 9, 4, 3)).astype(np.float32)
    mask = np.zeros(scan.shape[:3], dtype=bool)
    mask[..., 1] = True
    found = unring(scan, mask, 2)
    np.testing.assert_array_equal(found[:, :, [0, 2, 3]], scan[:, :, [0, 2, 3]])
    assert (found[:, :, 1] != scan[:, :, 1]).any()


def test_interpolated_images_are_told_by_their_empty_rim():
    noise = np.random.default_rng(0).normal(size=(32, 32, 6)).astype(np.float32)
    assert rim_power(noise, 1.0, 2) == pytest.approx(1.0, abs=0.3)
    spectrum = np.fft.fftshift(np.fft.fft2(noise, axes=(0, 1)), axes=(0, 1))
    spectrum[:4], spectrum[-4:], spectrum[:, :4], spectrum[:, -4:] = 0, 0, 0, 0
    padded = np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(0, 1)), axes=(0, 1)).real.astype(np.float32)
    assert rim_power(padded, float(padded.std()), 2) < LEAST_RIM_POWER
