"""Subjects with one fault each, and the name that a check must give it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from specimen import Specimen, renamed, stored_as, turned

RANDOM = 11


@dataclass(frozen=True)
class Broken:
    """One fault.

    Parameters
    ----------
    expected : str
        Name of the finding.
    spoil : callable
        Changes a good subject.
    quick : bool
        Whether a quick check sees it.
    also : tuple of str
        Findings that truly follow from the fault.
    """

    expected: str
    spoil: Callable[[Specimen], object]
    quick: bool = True
    also: tuple[str, ...] = ()


BROKEN: dict[str, Broken] = {}
ANATOMY = ("t1", "labels", "tissue", "regions")


def broken(expected: str, *also: str, quick: bool = True, keep: tuple[str, ...] = ()) -> Callable[..., object]:
    """Add a row: the function spoils a subject of which only scan, mask and `keep` are left."""

    def note(spoil: Callable[[Specimen], object]) -> Callable[[Specimen], object]:
        def whole(subject: Specimen) -> object:
            return spoil(subject.without(*(role for role in ANATOMY if role not in keep)))

        BROKEN[spoil.__name__.removeprefix("_").replace("_", "-")] = Broken(expected, whole, quick, also)
        return spoil

    return note


def slow(expected: str, *also: str) -> Callable[..., object]:
    """Add a row whose fault only the volumes show."""
    return broken(expected, *also, quick=False)


def _noise(shape, scale=1.0):
    return np.random.default_rng(RANDOM).normal(0, scale, shape)


# --- files and headers -----------------------------------------------------------------------------------------------


@broken("missing-file")
def scan_missing(subject):
    subject.after.append(lambda paths: paths["dwi"].unlink())


@broken("missing-file")
def directions_missing(subject):
    subject.after.append(lambda paths: paths["bvec"].unlink())


@broken("unreadable-image")
def scan_is_text(subject):
    subject.after.append(lambda paths: paths["dwi"].write_text("not an image\n" * 100))


@broken("unreadable-image")
def scan_is_complex(subject):
    subject["dwi"].values = subject["dwi"].values.astype(np.complex64)


def _cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


@broken("truncated-image")
def scan_cut_off(subject):
    subject.after.append(lambda paths: _cut(paths["dwi"], 0.8))


@slow("truncated-image")
def compressed_scan_cut_off(subject):
    renamed(subject, dwi="dwi.nii.gz").after.append(lambda paths: _cut(paths["dwi"], 0.8))


@slow("truncated-image")
def compressed_scan_damaged(subject):
    def spoil(paths):
        content = bytearray(paths["dwi"].read_bytes())
        middle = len(content) // 2
        content[middle : middle + 64] = bytes(64)
        paths["dwi"].write_bytes(content)

    renamed(subject, dwi="dwi.nii.gz").after.append(spoil)


@broken("truncated-image", keep=("labels",))
def labels_cut_off(subject):
    renamed(subject, labels="labels.nii.gz").after.append(lambda paths: _cut(paths["labels"], 0.6))


def _edit(subject, role, edit):
    subject[role].edit = edit


@broken("no-space")
def no_place_in_the_header(subject):
    def edit(header):
        header["sform_code"] = header["qform_code"] = 0

    _edit(subject, "dwi", edit)


@broken("wrong-dimensions")
def scan_of_one_volume(subject):
    subject["dwi"].values = subject["dwi"].values[..., 0]


@broken("wrong-dimensions", keep=("t1",))
def t1_of_two_volumes(subject):
    subject["t1"].values = np.stack([subject["t1"].values] * 2, axis=-1)


@broken("header-flips", keep=("t1",))
def sform_and_qform_mirrored(subject):
    _edit(subject, "t1", lambda header: header.set_qform(np.diag([-1.0, 1, 1, 1]) @ subject["t1"].affine, 1))


@broken("header-disagrees", keep=("t1",))
def sform_and_qform_apart(subject):
    moved = subject["t1"].affine.copy()
    moved[:3, 3] += 12
    _edit(subject, "t1", lambda header: header.set_qform(moved, 1))


@broken("header-voxel-size", keep=("t1",))
def voxel_size_lost(subject):
    def edit(header):
        header["qform_code"] = 0
        header["pixdim"][1:4] = 1.0

    _edit(subject, "t1", edit)


@broken("sheared-affine", keep=("t1",))
def sheared(subject):
    def edit(header):
        header["qform_code"] = 0

    shear = np.eye(4)
    shear[0, 1] = 0.04
    subject["t1"].affine = subject["t1"].affine @ shear
    _edit(subject, "t1", edit)


@broken("odd-voxel-size")
def in_metres(subject):
    for role in ("dwi", "mask"):
        subject[role].affine = np.diag([1e-3, 1e-3, 1e-3, 1]) @ subject[role].affine


@broken("anisotropic-voxels")
def thick_slices(subject):
    for role in ("dwi", "mask"):
        subject[role].affine = subject[role].affine @ np.diag([0.5, 0.5, 1.5, 1])


# --- b-values and directions -----------------------------------------------------------------------------------------


@broken("gradients-unreadable")
def words_among_directions(subject):
    subject.texts["bvec"] = "x 0 0 1\ny 0 1 0\nz 1 0 0\n"


@broken("gradients-unreadable")
def b_values_empty(subject):
    subject.texts["bval"] = "\n"


@broken("bval-bvec-swapped")
def gradient_files_exchanged(subject):
    def swap(paths):
        paths["bval"], paths["bvec"] = paths["bvec"], paths["bval"]

    subject.after.append(swap)


@broken("bvec-shape")
def two_rows_of_directions(subject):
    rows = [" ".join(f"{x:.4f}" for x in row) for row in subject.bvecs.T]
    subject.texts["bvec"] = "\n".join(rows[:2])


@broken("bvec-shape")
def directions_cut_off(subject):
    rows = [" ".join(f"{x:.4f}" for x in row) for row in subject.bvecs.T]
    subject.texts["bvec"] = "\n".join(rows)[:-60]


@broken("gradient-count")
def one_b_value_short(subject):
    subject.bvals = subject.bvals[:-1]


@broken("gradient-count")
def volumes_taken_out(subject):
    subject["dwi"].values = subject["dwi"].values[..., :-4]


@broken("bvals-invalid")
def negative_b_value(subject):
    subject.bvals[5] = -1000


@broken("bvals-units")
def b_in_ms_per_um2(subject):
    subject.bvals = subject.bvals / 1000


@broken("bvals-units")
def b_in_s_per_m2(subject):
    subject.bvals = subject.bvals * 1e6


@broken("no-b0")
def b0_at_100(subject):
    subject.bvals = np.where(subject.bvals == 0, 100.0, subject.bvals)


@broken("no-weighted")
def every_b_zero(subject):
    subject.bvals = np.zeros_like(subject.bvals)


@broken("directions-absent")
def half_of_the_directions_zero(subject):
    subject.bvecs[14:] = 0


@broken("volumes-without-direction")
def two_trace_volumes(subject):
    subject.bvecs[[6, 20]] = 0


@broken("bvecs-not-unit")
def directions_twice_as_long(subject):
    subject.bvecs = subject.bvecs * 2


@broken("bvecs-not-unit")
def directions_in_per_mille(subject):
    subject.bvecs = np.rint(subject.bvecs * 1000)


@broken("bvecs-scale-b")
def directions_rounded(subject):
    subject.bvecs = np.round(subject.bvecs, 1) * 0.93


def _select(subject, volumes):
    subject["dwi"].values = subject["dwi"].values[..., volumes]
    subject.bvals, subject.bvecs = subject.bvals[volumes], subject.bvecs[volumes]


@broken("too-few-directions")
def five_directions(subject):
    _select(subject, np.arange(8))


@broken("few-directions")
def nine_directions(subject):
    _select(subject, np.arange(12))


@broken("directions-degenerate")
def row_of_zeros(subject):
    subject.bvecs[:, 2] = 0
    norms = np.linalg.norm(subject.bvecs, axis=1, keepdims=True)
    subject.bvecs = subject.bvecs / np.where(norms > 0, norms, 1)


@broken("directions-uneven")
def scan_stopped_early(subject):
    # A table whose order goes round the sphere from the pole down.
    order = np.argsort(-np.abs(subject.bvecs[:, 2]), kind="stable")
    weighted = [volume for volume in order if subject.bvals[volume] > 0]
    _select(subject, np.array([0, 1, 2, *sorted(weighted[:13])]))


@broken("bvals-scattered")
def b_values_jittered(subject):
    jitter = np.linspace(-150, 150, len(subject.bvals))[np.random.default_rng(RANDOM).permutation(len(subject.bvals))]
    subject.bvals = np.where(subject.bvals > 0, subject.bvals + jitter, subject.bvals)


@broken("stray-bvals")
def typing_error_in_b(subject):
    subject.bvals[9] = 700


@broken("few-b0")
def one_b0_for_seventy(subject):
    dwi = subject["dwi"].values
    noisy = dwi[..., 3:] + np.rint(_noise(dwi[..., 3:].shape, 3)) * (dwi[..., 3:] > 0)
    more = dwi[..., 3:] + np.rint(_noise(dwi[..., 3:].shape, 2)) * (dwi[..., 3:] > 0)
    subject["dwi"].values = np.concatenate([dwi[..., :1], dwi[..., 3:], noisy, more], axis=3).astype(np.int16)
    subject.bvals = np.concatenate([[0], *[subject.bvals[3:]] * 3])
    subject.bvecs = np.concatenate([subject.bvecs[:1], *[subject.bvecs[3:]] * 3])


def _turned_directions(name, matrix):
    def spoil(subject):
        subject.bvecs = subject.bvecs @ np.array(matrix).T

    spoil.__name__ = name
    slow("gradient-orientation")(spoil)


_turned_directions("x_flipped", np.diag([-1, 1, 1]))
_turned_directions("y_flipped", np.diag([1, -1, 1]))
_turned_directions("z_flipped", np.diag([1, 1, -1]))
_turned_directions("x_and_y_exchanged", np.eye(3)[[1, 0, 2]])
_turned_directions("x_and_z_exchanged", np.eye(3)[[2, 1, 0]])
_turned_directions("y_and_z_exchanged", np.eye(3)[[0, 2, 1]])
_turned_directions("axes_turned_in_a_circle", np.eye(3)[[1, 2, 0]])


@slow("gradient-orientation")
def image_turned_directions_not(subject):
    given = subject.bvecs
    stored_as(subject, (1, 2, 0), ())
    subject.bvecs = given


@slow("gradient-orientation")
def world_axes_in_a_bvec_file(subject):
    stored_as(turned(subject, (0, 90)), (0, 1, 2), ())
    rotation = subject["dwi"].affine[:3, :3] / 4.0
    subject.bvecs = (subject.bvecs * [-1, 1, 1]) @ rotation.T


@slow("bvecs-order")
def directions_in_another_order(subject):
    subject.bvecs[3:] = np.random.default_rng(RANDOM).permutation(subject.bvecs[3:])


@slow("bvecs-order")
def directions_of_another_scan(subject):
    z = (np.arange(24) + 0.5) / 24
    turn = np.arange(24) * 2.4
    radius = np.sqrt(1 - z * z)
    subject.bvecs[3:] = np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)


@slow("bvals-order")
def b_values_backwards(subject):
    subject.bvals = subject.bvals[::-1].copy()
    subject.bvecs = subject.bvecs[::-1].copy()


@slow("bvals-order")
def one_b0_misplaced(subject):
    values = subject["dwi"].values
    values[..., [1, 12]] = values[..., [12, 1]]


@slow("bvals-too-low")
def b_divided_by_ten(subject):
    subject.bvals = subject.bvals * 0.1


@slow("bvals-too-high")
def b_times_ten(subject):
    subject.bvals = subject.bvals * 10
