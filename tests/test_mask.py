"""The brain mask made from the b0 volume."""

from __future__ import annotations

import numpy as np
import pytest

from tractome.datatypes.grid import Grid
from tractome.errors import ImageError
from tractome.stages.mask import make_brain_mask

SHAPE = (40, 44, 30)
GRID = Grid(SHAPE, np.diag([4.0, 4, 4, 1]))


def head(bias=1.0):
    """A brain (an ellipsoid) in a dim skull, brighter at its rim by `bias`, with noise; and the brain."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    radius = np.sqrt((x / 0.7) ** 2 + (y / 0.75) ** 2 + (z / 0.8) ** 2)
    brain, skull = radius < 1, (radius > 1.15) & (radius < 1.25)
    volume = brain * 1000 * (1 + (bias - 1) * radius**2) + skull * 150.0
    return (volume + np.abs(np.random.default_rng(0).normal(scale=20, size=SHAPE))).astype(np.float32), brain


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("bias", [1.0, 4.0])
def test_the_brain_is_found_also_when_its_rim_is_bright(bias):
    volume, brain = head(bias)
    assert dice(make_brain_mask(volume, GRID), brain) > 0.93


def test_a_hole_is_filled_and_the_mask_is_one_piece():
    from scipy import ndimage

    volume, _ = head()
    volume[18:22, 20:24, 13:17] = 0
    volume[1:4, 1:4, 1:4] = 1500
    mask = make_brain_mask(volume, GRID)
    assert mask[18:22, 20:24, 13:17].all() and not mask[1:4, 1:4, 1:4].any()
    assert ndimage.label(mask)[1] == 1


def test_brightness_and_stray_values_do_not_matter():
    volume, _ = head()
    mask = make_brain_mask(volume, GRID)
    spoilt = 1000 * volume
    spoilt[0, 0, 0], spoilt[1, 1, 1] = np.nan, np.inf
    assert dice(make_brain_mask(spoilt, GRID), mask) > 0.99


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_a_volume_without_contrast_is_refused(value):
    with pytest.raises(ImageError, match="no brain can be found"):
        make_brain_mask(np.full(SHAPE, value), GRID)


@pytest.mark.real
@pytest.mark.parametrize(
    "name,low_ml,high_ml", [("siemens_3mm", 1200, 1600), ("philips_dwi_t1", 1350, 1700), ("siemens_42vol", 1250, 1600)]
)
def test_real_brains_have_a_brain_s_volume(shared_data, name, low_ml, high_ml):
    """Outlines were looked at once over the b0 of these three; the volumes keep them from drifting."""
    import nibabel as nib

    dwi = nib.load(shared_data / name / "dwi.nii.gz")
    is_b0 = np.loadtxt(shared_data / name / "dwi.bval") < 50
    volume = np.asarray(dwi.dataobj)[..., is_b0].mean(axis=3)
    grid = Grid(volume.shape, dwi.affine)
    assert low_ml < make_brain_mask(volume, grid).sum() * grid.voxel_volume_mm3 / 1000 < high_ml
