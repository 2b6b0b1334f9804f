"""Broken subjects, the second part: signal, mask, T1."""

from __future__ import annotations

import numpy as np
from broken import RANDOM, _noise, broken, slow
from scipy import ndimage

# --- signal ----------------------------------------------------------------------------------------------------------


@broken("no-signal")
def b0_empty(subject):
    subject["dwi"].values[..., :3] = 0


@slow("not-finite")
def some_nan(subject):
    values = subject["dwi"].values = subject["dwi"].values.astype(np.float32)
    values[15:18, 20:22, 15, 4:9] = np.nan


@slow("mostly-not-finite")
def much_nan(subject):
    values = subject["dwi"].values = subject["dwi"].values.astype(np.float32)
    values[10:26, 12:34, 8:26, 3:] = np.nan


@slow("negative-signal")
def phase_image(subject):
    values = subject["dwi"].values
    values[..., 3:] = values[..., 3:] * np.sign(_noise(values[..., 3:].shape) + 1)


@slow("clipped-signal")
def cut_off_at_the_top(subject):
    values = subject["dwi"].values
    subject["dwi"].values = np.minimum(values, int(np.percentile(values[values > 0], 98)))


@slow("coarse-signal")
def stored_in_few_steps(subject):
    values = subject["dwi"].values
    subject["dwi"].values = np.rint(values / values.max() * 40).astype(np.uint8)


@slow("empty-volumes")
def one_volume_empty(subject):
    subject["dwi"].values[..., 10] = 0


@slow("mostly-empty")
def last_third_empty(subject):
    subject["dwi"].values[..., 18:] = 0


@slow("duplicate-volumes")
def volume_copied(subject):
    subject["dwi"].values[..., 15] = subject["dwi"].values[..., 14]


@slow("zero-slices")
def slices_of_zeros(subject):
    subject["dwi"].values[:, :, [12, 17], 8] = 0


@slow("dropped-slices")
def slices_half_as_bright(subject):
    values = subject["dwi"].values
    values[:, :, 10, 6] = values[:, :, 10, 6] * 0.5
    values[:, :, 18, 13] = values[:, :, 18, 13] * 0.4


@slow("odd-volumes")
def volume_of_noise(subject):
    values = subject["dwi"].values
    values[..., 9] = np.abs(_noise(values.shape[:3], values[..., 9].mean() * 2.5)) * (values[..., 9] > 0)


@slow("volume-intensity")
def volume_three_times_as_bright(subject):
    subject["dwi"].values[..., 11] *= 2


@slow("motion")
def head_moved(subject):
    values = subject["dwi"].values
    for volume in range(18, 27):
        values[..., volume] = np.roll(values[..., volume], 1, axis=1)


@slow("noisy")
def buried_in_noise(subject):
    values = subject["dwi"].values.astype(np.float64)
    inside = values > 0
    level = np.median(values[..., :3][inside[..., :3]]) / 3
    noise = np.random.default_rng(RANDOM).normal(0, level, (2, *values.shape))
    subject["dwi"].values = (np.hypot(values + noise[0], noise[1]) * inside).astype(np.int16)


# --- mask ------------------------------------------------------------------------------------------------------------


@broken("mask-grid")
def mask_of_another_grid(subject):
    subject["mask"].values = subject["mask"].values[::2, ::2, ::2]
    subject["mask"].affine = subject["mask"].affine @ np.diag([2.0, 2, 2, 1])


@broken("mask-grid")
def mask_with_another_origin(subject):
    moved = subject["mask"].affine.copy()
    moved[:3, 3] += 8
    subject["mask"].affine = moved


@broken("mask-empty")
def mask_of_zeros(subject):
    subject["mask"].values = np.zeros_like(subject["mask"].values)


@broken("mask-full")
def mask_of_ones(subject):
    subject["mask"].values = np.ones_like(subject["mask"].values)


@broken("mask-inverted", "mask-holes")
def mask_inside_out(subject):
    subject["mask"].values = ~subject["mask"].values


@broken("mask-shifted")
def mask_moved_sideways(subject):
    subject["mask"].values = np.roll(subject["mask"].values, 3, axis=0)


@broken("mask-shifted")
def mask_moved_up(subject):
    subject["mask"].values = np.roll(subject["mask"].values, 3, axis=2)


@broken("mask-shifted")
def mask_upside_down(subject):
    dwi, mask = subject["dwi"], subject["mask"]
    # A head that lies to one side of its image, as heads do.
    dwi.values, mask.values = (np.roll(each, 4, axis=2) for each in (dwi.values, mask.values))
    mask.values = np.flip(mask.values, 2)


@broken("mask-on-background")
def mask_too_large(subject):
    subject["mask"].values = ndimage.binary_dilation(subject["mask"].values, iterations=2)


@broken("mask-misses-brain")
def mask_of_a_part(subject):
    subject["mask"].values = ndimage.binary_erosion(subject["mask"].values, iterations=6)


@broken("mask-pieces")
def mask_in_pieces(subject):
    subject["mask"].values[:, 20:23] = False


@broken("mask-holes")
def mask_with_holes(subject):
    subject["mask"].values[12:22, 15:25, 12:20] = False


@broken("mask-not-binary")
def mask_is_a_probability(subject):
    subject["mask"].values = ndimage.gaussian_filter(subject["mask"].values.astype(np.float32), 0.7)


# --- T1 --------------------------------------------------------------------------------------------------------------


@broken("t1-no-contrast", keep=("t1",))
def t1_constant(subject):
    subject["t1"].values[...] = 100


def _move(subject, role, step):
    moved = subject[role].affine.copy()
    moved[:3, 3] += step
    subject[role].affine = moved


@broken("t1-elsewhere", keep=("t1",))
def t1_of_another_space(subject):
    _move(subject, "t1", (0, 0, 300))


@broken("t1-covers-part", keep=("t1",))
def t1_cut_off(subject):
    subject["t1"].values = subject["t1"].values[:, :, :18]


@broken("t1-shifted", keep=("t1",))
def t1_of_another_session(subject):
    _move(subject, "t1", (0, 26, 0))


@broken("t1-mirrored", keep=("t1",))
def t1_left_right_exchanged(subject):
    # A lesion, seen by both images: without one, this head is its own mirror image.
    dwi, t1 = subject["dwi"], subject["t1"]
    for image, value in ((dwi, 3), (t1, 0)):
        voxels = np.argwhere(np.ones(image.values.shape[:3], dtype=bool))
        place = voxels @ image.affine[:3, :3].T + image.affine[:3, 3]
        near = np.linalg.norm(place - (28, 10, 15), axis=1) < 20
        image.values[tuple(voxels[near].T)] *= value
    t1.values = np.flip(t1.values, 0)


@broken("t1-thick-slices", keep=("t1",))
def t1_of_thick_slices(subject):
    subject["t1"].values = subject["t1"].values[:, :, ::2]
    subject["t1"].affine = subject["t1"].affine @ np.diag([1.0, 1, 2, 1])
