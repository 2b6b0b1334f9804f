"""The stage preprocess from files to files: better data, resumable, equal bytes, and said what was not possible."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from runs import Heard, contents
from scans import fsl_vectors, principal_axis, write_nifti, write_text
from scipy.ndimage import binary_erosion
from spoiled import displaced, make_head, random_motions, smooth_field, spoil

from tractome.errors import ImageError, OptionError
from tractome.io.acquisition import acquisition_of, phase_direction
from tractome.options import PreprocessOptions, ReadOptions
from tractome.pipeline import PreprocessFiles, find_scan, new_subject, preprocess_subject, wants_preprocessing
from tractome.stages.preprocess.motion import Frame

READ = ReadOptions()
NO_RINGING = PreprocessOptions(preprocess_steps=("denoise", "align", "distortion", "bias"))
"""The phantom's voxels are means, not truncated frequencies: it does not ring, and unringing would only blur it."""


@pytest.fixture(scope="module")
def head():
    phantom = make_head(voxel_size_mm=5.0, t1_voxel_size_mm=5.0, directions=(8,))
    frame = Frame(phantom.grid, 1, 2)
    motions = random_motions(phantom, frame)
    field = smooth_field(phantom.grid, 6.0)
    return phantom, spoil(phantom, motions, field, snr=30.0), field


@pytest.fixture(scope="module")
def raw(head, tmp_path_factory):
    """A raw scan with its sidecar, and a b0 of reversed phase encoding."""
    phantom, spoilt, field = head
    folder, affine = tmp_path_factory.mktemp("raw"), phantom.grid.affine
    write_nifti(folder / "dwi.nii.gz", spoilt.signal, affine)
    write_text(folder / "dwi.bval", phantom.gradients.bvals)
    write_text(folder / "dwi.bvec", fsl_vectors(phantom.gradients.bvecs, affine).T)
    (folder / "dwi.json").write_text(json.dumps({"PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.05}))
    second = displaced(spoilt.clean[..., 0], -field, phantom.grid, 1).astype(np.float32)
    write_nifti(folder / "reversed.nii.gz", second, affine)
    (folder / "reversed.json").write_text(json.dumps({"PhaseEncodingDirection": "j", "TotalReadoutTime": 0.05}))
    return folder


def do(raw, out, options=None, files=None, *, force=False):
    heard = Heard()
    files = PreprocessFiles(reversed_phase=(raw / "reversed.nii.gz",)) if files is None else files
    with new_subject(out, raw / "dwi.nii.gz", "01", heard, force=force) as ledger:
        scan = preprocess_subject(ledger, find_scan(raw / "dwi.nii.gz"), READ, options or PreprocessOptions(), files)
        return scan, ledger.finished("preprocess").facts, heard


@pytest.fixture(scope="module")
def done(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("done")
    return out, *do(raw, out, NO_RINGING)


def error(signal, head):
    """Of the weighted volumes over the b0, inside the brain: what FA and orientations come from."""
    phantom, spoilt, _ = head
    inside = binary_erosion(phantom.mask, iterations=2)
    ratios = [each[inside][:, 1:] / np.maximum(each[inside][:, :1], 1) for each in (signal, spoilt.clean)]
    return float(np.sqrt(np.mean((ratios[0] - ratios[1]) ** 2)))


def test_scan_is_nearer_to_the_truth(head, done):
    _, scan, facts, _ = done
    after = np.asarray(nib.load(scan.dwi).dataobj)
    assert error(after, head) < 0.8 * error(head[1].signal, head)
    assert facts["disagreement_after"] < facts["disagreement_before"]
    assert facts["distortion"]["source"] == "reversed"
    assert facts["distortion"]["displacement_mm"]["largest"] == pytest.approx(6.0, abs=2.0)
    assert facts["denoise"]["sigma"] == pytest.approx(1000 / 30, rel=0.25)


def test_directions_are_written_as_the_image_is_stored(head, done):
    """Fibres fitted from the files run where the truth runs; the image is LAS."""
    phantom, spoilt, _ = head
    _, scan, _, _ = done
    image = nib.load(scan.dwi)
    assert nib.aff2axcodes(image.affine) == ("L", "A", "S")
    bvals, fsl = np.loadtxt(scan.bval), np.loadtxt(scan.bvec)
    world = (fsl * np.ones((3, 1))).T @ image.affine[:3, :3].T / 5.0
    strong = np.argwhere(phantom.mask & (np.ptp(spoilt.clean[..., 1:], axis=3) > 0.3 * spoilt.clean[..., 0]))[::3]
    assert len(strong) > 15
    cosines = []
    for voxel in strong:
        mine = principal_axis(np.maximum(np.asarray(image.dataobj[tuple(voxel)], dtype=float), 1), bvals, world)
        true = principal_axis(spoilt.clean[tuple(voxel)].astype(float), bvals, phantom.gradients.bvecs)
        cosines.append(abs(mine @ true))
    assert np.median(cosines) > np.cos(np.radians(8))


def test_done_twice_is_done_once_and_forced_gives_the_same_bytes(raw, done, tmp_path):
    out, _, _, _ = done
    copy = shutil.copytree(out, tmp_path / "copy")
    _, _, heard = do(raw, copy, NO_RINGING)
    assert heard.done == []
    before = contents(copy)
    _, _, heard = do(raw, copy, NO_RINGING, force=True)
    assert heard.done == ["preprocess"]
    assert contents(copy) == before
    assert sum(name.endswith(".png") for name in before) == 3


@pytest.mark.parametrize("steps", [("denoise",), ("unring", "bias")])
def test_only_the_steps_asked_for_are_done(raw, tmp_path, steps):
    _, facts, _ = do(raw, tmp_path, PreprocessOptions(preprocess_steps=steps))
    assert set(facts) & {"denoise", "unring", "align", "distortion", "bias"} == set(steps)


def test_what_was_not_possible_is_said(raw, tmp_path):
    _, facts, heard = do(raw, tmp_path, PreprocessOptions(preprocess_steps=("distortion",)), PreprocessFiles())
    assert facts["distortion"]["source"] == "none"
    assert any("neither a b0 of reversed phase encoding nor a T1" in note for note in heard.notes)
    no_facts = PreprocessFiles(reversed_phase=(raw / "reversed.nii.gz",), metadata={})
    _, _, heard = do(raw, tmp_path, PreprocessOptions(preprocess_steps=("distortion",)), no_facts)
    assert any("along which axis the phase was encoded" in note for note in heard.notes)


def test_source_that_is_not_there_is_refused(raw, tmp_path):
    options = PreprocessOptions(preprocess_steps=("distortion",), distortion_source="t1")
    with pytest.raises(OptionError, match="needs a T1 with --t1"):
        do(raw, tmp_path, options)


def test_b0_of_the_same_direction_is_refused(raw, tmp_path):
    options = PreprocessOptions(preprocess_steps=("distortion",), phase_encoding="j")
    with pytest.raises(ImageError, match="none has the opposite phase encoding"):
        do(raw, tmp_path, options)


@pytest.mark.parametrize(
    ("asked", "known", "expected"),
    [("auto", False, True), ("auto", True, False), ("auto", None, False), ("yes", True, True), ("no", False, False)],
)
def test_raw_data_is_preprocessed_and_nothing_else_is(asked, known, expected):
    assert wants_preprocessing(asked, known)[0] is expected
    if asked == "auto" and known is None:
        assert "--preprocess yes" in wants_preprocessing(asked, known)[1]


def test_unknown_answer_is_refused():
    with pytest.raises(OptionError, match="auto, yes or no"):
        wants_preprocessing("maybe", None)


def test_sidecars_are_understood(tmp_path):
    image = tmp_path / "x.nii.gz"
    known = acquisition_of(image, {"PhaseEncodingAxis": "j", "PartialFourier": 0.75, "SliceEncodingDirection": "k-"})
    assert (known.phase_axis, known.phase_sign, known.partial_fourier, known.slice_axis) == (1, None, 0.75, 2)
    assert phase_direction("i-", "") == (0, -1)
    with pytest.raises(ImageError, match="must be one of i, i-"):
        acquisition_of(image, {"PhaseEncodingDirection": "y"})
    with pytest.raises(ImageError, match="no number"):
        acquisition_of(image, {"TotalReadoutTime": "long"})
