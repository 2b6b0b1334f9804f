"""A check is silent on real scans, and names what is done to them."""

import numpy as np
import pytest
from specimen import from_folder, hcp_shaped
from test_check import checked

pytestmark = pytest.mark.real

SCANS = ("philips_dwi_t1", "siemens_42vol", "siemens_3mm", "phantom_2mm", "multishell_slices")


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("scan", SCANS)
def test_real_scans_are_clean(shared_data, tmp_path, scan, with_mask):
    report = checked(from_folder(shared_data / scan, with_mask), tmp_path)
    assert report.names == (), [each.message for each in report.findings]
    said = report.facts["gradient orientation"]
    assert ("cannot be told" in said) == (scan == "multishell_slices")


def test_the_sample_subject_is_clean(sample_data, tmp_path):
    assert checked(from_folder(sample_data), tmp_path).names == ()


def test_a_subject_with_the_gradients_of_the_hcp_is_clean(shared_data, tmp_path):
    report = checked(hcp_shaped(shared_data / "hcp_gradients"), tmp_path)
    assert report.names == (), [each.message for each in report.findings]
    assert report.facts["shells"].startswith("18 at b = 0, 90 at b = 1000, 90 at b = 2000")


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("scan", SCANS[:4])
def test_flipped_directions_are_found_in_real_scans(shared_data, tmp_path, scan, axis):
    subject = from_folder(shared_data / scan).without("t1", "labels", "tissue")
    subject.bvecs[:, axis] *= -1
    (found,) = checked(subject, tmp_path).findings
    assert (found.name, found.evidence["fix"]) == ("gradient-orientation", f"negate {'xyz'[axis]}")


def _shuffle(subject):
    weighted = np.flatnonzero(subject.bvals > 50)
    subject.bvecs[weighted] = np.random.default_rng(5).permutation(subject.bvecs[weighted])


def _darken(subject):
    place = np.argmax(subject["mask"].values.sum(axis=(0, 1)))
    subject["dwi"].values[:, :, place, -2] = subject["dwi"].values[:, :, place, -2] * 0.5


def _move_mask(subject):
    subject["mask"].values = np.roll(subject["mask"].values, 5, axis=1)


def _divide(subject):
    subject.bvals = subject.bvals / 10


@pytest.mark.parametrize("scan", SCANS[:3])
@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (_shuffle, "bvecs-order"),
        (_darken, "dropped-slices"),
        (_move_mask, "mask-shifted"),
        (_divide, "bvals-too-low"),
    ],
)
def test_what_is_done_to_real_scans_is_named(shared_data, tmp_path, scan, spoil, name):
    subject = from_folder(shared_data / scan, with_mask=True).without("t1")
    spoil(subject)
    assert checked(subject, tmp_path).names == (name,)


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda t1: np.flip(t1, 0), "t1-mirrored"),
        (lambda t1: np.roll(np.flip(t1, 0), 4, axis=0), "t1-mirrored"),
        (lambda t1: np.roll(t1, 20, axis=1), "t1-shifted"),
        (lambda t1: np.flip(t1, 1), "t1-shifted"),
    ],
)
def test_a_real_t1_that_is_not_where_it_should_be(shared_data, tmp_path, spoil, name):
    subject = from_folder(shared_data / "philips_dwi_t1")
    subject["t1"].values = np.ascontiguousarray(spoil(subject["t1"].values))
    assert checked(subject, tmp_path, quick=True).names == (name,)
