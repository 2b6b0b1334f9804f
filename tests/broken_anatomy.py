"""Broken subjects, the last part: labels, regions, tissue, gradient nonlinearity."""

from __future__ import annotations

import numpy as np
from broken import RANDOM, broken
from broken_images import _move
from scipy import ndimage
from specimen import Image

# --- labels ----------------------------------------------------------------------------------------------------------

LABELS = ("labels", "regions")


@broken("labels-not-whole", keep=LABELS)
def labels_interpolated(subject):
    subject["labels"].values = ndimage.zoom(subject["labels"].values.astype(np.float32), 1.1, order=1)


@broken("labels-negative", keep=LABELS)
def labels_below_zero(subject):
    subject["labels"].values[subject["labels"].values == 4] = -4


@broken("labels-empty", keep=LABELS)
def labels_of_zeros(subject):
    subject["labels"].values[...] = 0


@broken("labels-one-region", keep=LABELS)
def mask_in_place_of_labels(subject):
    subject["labels"].values = subject["mask"].values.astype(np.int16)


@broken("labels-no-regions", keep=LABELS)
def map_in_place_of_labels(subject):
    values = subject["dwi"].values[..., 0]
    subject["labels"].values = np.where(subject["labels"].values > 0, np.maximum(values, 1), 0)


@broken("labels-elsewhere", keep=LABELS)
def labels_of_a_subject_elsewhere(subject):
    _move(subject, "labels", (0, -90, 40))


@broken("labels-elsewhere", keep=LABELS)
def labels_in_voxels_of_a_corner(subject):
    subject["labels"].affine = np.diag([4.0, 4, 4, 1])


@broken("labels-partly-outside", keep=LABELS)
def labels_not_registered(subject):
    _move(subject, "labels", (10, 12, 0))


@broken("scan-covers-part", keep=LABELS)
def top_of_the_brain_cut_off(subject):
    for role in ("dwi", "mask"):
        subject[role].values = subject[role].values[:, :, :22]


@broken("labels-mirrored", keep=LABELS)
def labels_left_right_exchanged(subject):
    subject["labels"].values = np.flip(subject["labels"].values, 0)


@broken("labels-of-another-subject", keep=(*LABELS, "tissue"))
def labels_of_another_head(subject):
    values = subject["labels"].values
    smaller = ndimage.zoom(values, 0.86, order=0)
    around = [((a - b) // 2, a - b - (a - b) // 2) for a, b in zip(values.shape, smaller.shape, strict=True)]
    subject["labels"].values = np.pad(smaller, around)


@broken("labels-in-pieces", "table-order", "hemispheres-disagree", keep=LABELS)
def labels_shuffled_by_blocks(subject):
    values = subject["labels"].values
    blocks = np.random.default_rng(RANDOM).integers(1, 31, [-(-n // 3) for n in values.shape])
    whole = np.kron(blocks, np.ones((3, 3, 3), dtype=int))[tuple(slice(0, n) for n in values.shape)]
    subject["labels"].values = np.where(values > 0, whole, 0).astype(np.int16)


# --- table of regions ------------------------------------------------------------------------------------------------


def _cells(subject):
    return [line.split("\t") for line in subject.regions]


def _set(subject, cells):
    subject.regions = ["\t".join(row) for row in cells]


@broken("regions-unreadable", keep=LABELS)
def names_repeated(subject):
    cells = _cells(subject)
    cells[4][1], cells[4][2] = cells[5][1], cells[5][2]
    _set(subject, cells)


@broken("regions-without-labels", keep=("regions",))
def table_alone(subject):
    pass


@broken("table-of-another-atlas", keep=LABELS)
def other_atlas(subject):
    _set(subject, [row if k == 0 else [str(1000 + k), *row[1:]] for k, row in enumerate(_cells(subject))])


def _renumbered(subject, step):
    _set(subject, [row if k == 0 else [str(int(row[0]) + step), *row[1:]] for k, row in enumerate(_cells(subject))])


@broken("table-shifted", keep=LABELS)
def table_one_too_high(subject):
    _renumbered(subject, 1)


@broken("table-order", "labels-not-in-table", keep=LABELS)
def table_counts_from_zero(subject):
    _renumbered(subject, -1)


@broken("table-order", keep=LABELS)
def names_moved_by_a_line(subject):
    cells = _cells(subject)
    names = [row[1:] for row in cells[1:]]
    _set(subject, [cells[0], *([row[0], *name] for row, name in zip(cells[1:], names[1:] + names[:1], strict=True))])


@broken("regions-missing", keep=LABELS)
def three_regions_lost(subject):
    subject["labels"].values[np.isin(subject["labels"].values, (3, 11, 26))] = 0


@broken("labels-not-in-table", keep=LABELS)
def table_cut_off(subject):
    subject.regions = subject.regions[:-3]


@broken("hemispheres-disagree", keep=LABELS)
def sides_mistyped(subject):
    cells = _cells(subject)
    for row in (2, 7):
        cells[row][2] = "R"
    _set(subject, cells)


@broken("labels-mirrored", keep=LABELS)
def sides_exchanged_in_the_table(subject):
    cells = _cells(subject)
    for row in cells[1:]:
        row[2] = {"L": "R", "R": "L"}.get(row[2], row[2])
    _set(subject, cells)


# --- tissue, gradient nonlinearity -----------------------------------------------------------------------------------


@broken("tissue-volumes", keep=("tissue",))
def three_tissues(subject):
    subject["tissue"].values = subject["tissue"].values[..., :3]


@broken("tissue-range", keep=("tissue",))
def tissue_in_percent(subject):
    subject["tissue"].values = subject["tissue"].values * 100


@broken("tissue-order", keep=("tissue",))
def tissue_in_fsl_order(subject):
    tissue = subject["tissue"].values
    grey = tissue[..., 0] + tissue[..., 1]
    empty = np.zeros_like(grey)
    subject["tissue"].values = np.stack([tissue[..., 3], grey, tissue[..., 2], empty, empty], axis=-1)


@broken("tissue-order", keep=("tissue",))
def cortex_and_deep_exchanged(subject):
    subject["tissue"].values = subject["tissue"].values[..., [1, 0, 2, 3, 4]]


@broken("tissue-order", quick=False, keep=("tissue",))
def white_and_csf_exchanged(subject):
    subject["tissue"].values = subject["tissue"].values[..., [0, 1, 3, 2, 4]]


@broken("tissue-order", quick=False, keep=("tissue",))
def white_and_cortex_exchanged(subject):
    subject["tissue"].values = subject["tissue"].values[..., [2, 1, 0, 3, 4]]


@broken("tissue-elsewhere", keep=("tissue",))
def tissue_of_another_space(subject):
    _move(subject, "tissue", (70, 80, 60))


@broken("tissue-incomplete", keep=("tissue",))
def tissue_without_csf_and_cortex(subject):
    subject["tissue"].values[:, :22] = 0


@broken("grad-dev-unusable")
def nonlinearity_of_three_volumes(subject):
    dwi = subject["dwi"]
    values = np.zeros((*dwi.values.shape[:3], 3), dtype=np.float32)
    subject.images["grad_dev"] = Image(values, dwi.affine, "grad_dev.nii")
