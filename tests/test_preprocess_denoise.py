"""Denoising: noise is measured and removed, signal stays."""

import numpy as np
import pytest

from tractome.errors import ImageError
from tractome.stages.preprocess.denoise import denoise, patch_radius, split_spectrum

SIGMA = 20.0


def low_rank(shape=(16, 15, 14), n_volumes=24, rank=3, seed=0):
    """A signal of few components that vary smoothly through space, (x, y, z, v)."""
    rng = np.random.default_rng(seed)
    place = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    waves = np.stack([np.sin(2 * place[k % 3] + k) for k in range(rank)])
    return (500 + 80 * np.einsum("kxyz,kv->xyzv", waves, rng.normal(size=(rank, n_volumes)))).astype(np.float32)


@pytest.fixture(scope="module")
def noisy():
    clean = low_rank()
    noise = np.random.default_rng(1).normal(size=clean.shape).astype(np.float32) * SIGMA
    return clean, clean + noise


@pytest.fixture(scope="module")
def found(noisy):
    return denoise(noisy[1], np.ones(noisy[1].shape[:3], dtype=bool))


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def test_noise_is_measured(found):
    assert np.median(found.sigma) == pytest.approx(SIGMA, rel=0.04)
    assert 2.0 < found.n_components < 4.0  # three planted


def test_noise_goes_and_signal_stays(noisy, found):
    clean, raw = noisy
    assert rms(found.signal - clean) < 0.5 * rms(raw - clean)
    removed = raw - found.signal
    # What went is noise: as large as it, and not like the signal.
    assert rms(removed) == pytest.approx(SIGMA, rel=0.1)
    contrast = clean - clean.mean(axis=3, keepdims=True)
    assert abs(np.corrcoef(removed.ravel(), contrast.ravel())[0, 1]) < 0.05


def test_without_noise_nothing_changes():
    clean = low_rank()
    found = denoise(clean, np.ones(clean.shape[:3], dtype=bool))
    np.testing.assert_allclose(found.signal, clean, rtol=1e-4)


def test_denoise_dipy_comparison(noisy, found):
    from dipy.denoise.localpca import mppca

    clean, raw = noisy
    theirs, sigma = mppca(raw, return_sigma=True)
    inside = (slice(3, -3),) * 3
    assert np.median(found.sigma[inside]) == pytest.approx(np.median(sigma[inside]), rel=0.06)
    assert rms((found.signal - clean)[inside]) < 1.02 * rms((theirs - clean)[inside])


def test_outside_of_the_mask_nothing_changes(noisy):
    mask = np.zeros(noisy[1].shape[:3], dtype=bool)
    mask[5:10, 5:10, 5:10] = True
    found = denoise(noisy[1], mask)
    np.testing.assert_array_equal(found.signal[~mask], np.maximum(noisy[1], 0)[~mask])
    assert (found.sigma[~mask] == 0).all()
    assert (found.signal[mask] != noisy[1][mask]).any()


def test_background_cut_to_zero_does_not_lower_the_noise(noisy):
    cut = noisy[1].copy()
    cut[8:] = 0
    mask = np.ones(cut.shape[:3], dtype=bool)
    mask[8:] = False
    found = denoise(cut, mask)
    assert np.median(found.sigma[6:8]) == pytest.approx(SIGMA, rel=0.1)


def test_spectrum_is_split_as_a_loop_would():
    rng = np.random.default_rng(4)
    samples = rng.normal(size=(5, 125, 20))
    samples[1] += 3 * rng.normal(size=(125, 1)) * rng.normal(size=20)
    samples[2] += rng.normal(size=(125, 2)) @ (4 * rng.normal(size=(2, 20)))
    samples -= samples.mean(axis=1, keepdims=True)
    values = np.linalg.eigvalsh(np.einsum("nsv,nsw->nvw", samples, samples) / 125)
    n_noise, variance = split_spectrum(values, np.full(5, 125.0))
    assert n_noise[0] >= 19  # the edge of a finite sample's spectrum is not sharp
    assert n_noise.tolist()[1:3] == [19, 18]
    for row, noise in zip(values, n_noise, strict=True):
        for count in range(20, 0, -1):
            freedom = 125 - 1 - (20 - count)
            mean = row[:count].mean() * 125 / freedom
            if (row[count - 1] - row[0]) * 125 / freedom <= 4 * np.sqrt(count / freedom) * mean:
                break
        assert count == noise
    np.testing.assert_allclose(variance, 1.0, rtol=0.1)


@pytest.mark.parametrize(("n_volumes", "radius"), [(7, 2), (125, 2), (126, 3), (288, 3), (344, 4)])
def test_patches_have_as_many_voxels_as_volumes(n_volumes, radius):
    assert patch_radius(n_volumes) == radius


def test_scan_smaller_than_a_patch_is_refused():
    with pytest.raises(ImageError, match=r"cannot be denoised.*Leave out the step denoise"):
        denoise(np.ones((4, 9, 9, 10), dtype=np.float32), np.ones((4, 9, 9), dtype=bool))
