"""Tracking FODs that another program made: no scan, no fit."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest
from runs import Heard
from typer.testing import CliRunner

from tractome.errors import ImageError, OutputError, RegistrationError, SpaceError
from tractome.io.images import read_volume, write_volume
from tractome.io.matrices import read_connectome
from tractome.io.tractograms import read_streamline_table
from tractome.options import ConnectOptions, ParcellateOptions, TrackOptions
from tractome.pipeline import (
    GivenOrientations,
    LabelSource,
    TrackingFiles,
    adopt_orientations,
    connect_subject,
    new_subject,
    old_subject,
    parcellate_subject,
    track_subject,
)
from tractome_cli.app import app

OPTIONS = TrackOptions(n_streamlines=200)


@pytest.fixture(scope="module")
def other(done, tmp_path_factory):
    """Files as another program would leave them: FODs without a sidecar, mask and FA."""
    folder = tmp_path_factory.mktemp("other")
    source = done / "sub-01" / "dwi"
    for name, new in {
        "model-csd_param-wmfod_dwimap": "wmfod",
        "desc-brain_mask": "mask",
        "model-tensor_param-fa_dwimap": "fa",
    }.items():
        shutil.copy(source / f"sub-01_{name}.nii.gz", folder / f"{new}.nii.gz")
    return folder


def track(out, given, files=None, options=OPTIONS, **how):
    heard = Heard()
    with new_subject(out, given.fod, None, heard) as ledger:
        adopt_orientations(ledger, given)
        record = track_subject(ledger, options, files, **how)
    return record, read_streamline_table(ledger.subject.streamline_table), heard


def test_the_same_fods_give_the_same_streamlines_as_after_fit(other, phantom, done, tmp_path):
    given = GivenOrientations(other / "wmfod.nii.gz", other / "mask.nii.gz", other / "fa.nii.gz")
    files = TrackingFiles(phantom / "5tt.nii.gz")
    record, table, heard = track(tmp_path, given, files, TrackOptions(n_streamlines=300))
    own = read_streamline_table(done / "sub-01" / "tractogram" / "sub-01_streamlines.trx")
    np.testing.assert_array_equal(table.ends_mm, own.ends_mm)
    np.testing.assert_allclose(table.means["fa"], own.means["fa"], atol=1e-6)
    assert set(table.means) == {"fa"} and set(own.means) == {"fa", "md", "ad", "rd"}
    assert heard.done == ["fit", "track"] and record.facts["n_accepted"] == 300
    assert track(tmp_path, given, files, TrackOptions(n_streamlines=300))[2].done == []


def test_labels_and_matrices_need_no_scan_either(other, phantom, done, tmp_path):
    given = GivenOrientations(other / "wmfod.nii.gz", other / "mask.nii.gz")
    track(tmp_path, given, TrackingFiles(phantom / "5tt.nii.gz"), TrackOptions(n_streamlines=300))
    with old_subject(tmp_path, Heard()) as ledger:
        parcellate_subject(ledger, ParcellateOptions(), LabelSource(None, phantom / "labels.nii.gz"))
        connect_subject(ledger, ConnectOptions())
        for t1, lacks in ((phantom / "T1w.nii.gz", "no b0 image"), (None, "no FA map")):
            with pytest.raises(RegistrationError, match=lacks):
                parcellate_subject(ledger, ParcellateOptions(), LabelSource(t1))
    connectome = read_connectome(tmp_path / "sub-01" / "connectivity" / "sub-01_seg-labels_connectome.npz")
    own = read_connectome(done / "sub-01" / "connectivity" / "sub-01_seg-labels_connectome.npz")
    np.testing.assert_array_equal(connectome.matrices["count"], own.matrices["count"])
    assert "length" in connectome.matrices and "fa" not in connectome.matrices


def test_without_tissue_and_fa_the_cutoff_alone_ends_streamlines(other, tmp_path):
    record, table, _ = track(tmp_path, GivenOrientations(other / "wmfod.nii.gz"))
    assert table.n_streamlines == 200 and table.means == {}
    assert record.facts["white_matter"] == "no FA map"
    assert set(record.facts["stopped"]) <= {"low_signal", "left_mask", "left_image"}
    assert record.facts["stopped"]["low_signal"] > 0


def test_without_a_mask_voxels_that_hold_an_fod_are_taken(other, tmp_path):
    track(tmp_path, GivenOrientations(other / "wmfod.nii.gz"))
    mask, _ = read_volume(tmp_path / "sub-01" / "dwi" / "sub-01_desc-brain_mask.nii.gz")
    given, _ = read_volume(other / "mask.nii.gz")
    assert mask.sum() >= 0.99 * given.sum() and not mask[given == 0].any()


def test_other_fods_are_another_subject_and_the_same_ones_may_move(other, tmp_path):
    here = shutil.copy(other / "wmfod.nii.gz", tmp_path / "wmfod.nii.gz")
    given = GivenOrientations(tmp_path / "wmfod.nii.gz")
    track(tmp_path / "out", given)
    shutil.move(here, tmp_path / "moved.nii.gz")
    with old_subject(tmp_path / "out", Heard()) as ledger, pytest.raises(ImageError, match="no longer at"):
        track_subject(ledger, OPTIONS)
    assert track(tmp_path / "out", GivenOrientations(tmp_path / "moved.nii.gz"))[2].done == []
    volume, grid = read_volume(other / "fa.nii.gz")
    write_volume(tmp_path / "different.nii.gz", np.repeat(volume[..., None], 6, axis=3), grid)
    with pytest.raises(OutputError, match="holds the results of another scan"):
        track(tmp_path / "out", GivenOrientations(tmp_path / "different.nii.gz"))


def test_files_that_are_not_there_or_not_on_the_grid_are_refused(other, tmp_path):
    for given, flag in (
        (GivenOrientations(tmp_path / "none.nii.gz"), "--fod"),
        (GivenOrientations(other / "wmfod.nii.gz", tmp_path / "none.nii.gz"), "--mask"),
        (GivenOrientations(other / "wmfod.nii.gz", fa=tmp_path / "none.nii.gz"), "--fa"),
    ):
        with pytest.raises(ImageError, match=f"given with {flag}"):
            track(tmp_path / "out", given)
    volume, grid = read_volume(other / "fa.nii.gz")
    moved = type(grid)(grid.shape, grid.affine + 5 * np.eye(4, k=3))
    write_volume(tmp_path / "fa.nii.gz", volume, moved)
    with pytest.raises(SpaceError):
        track(tmp_path / "out", GivenOrientations(other / "wmfod.nii.gz", fa=tmp_path / "fa.nii.gz"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "Give the folder of a fitted subject, or an FOD image with --fod"),
        (["--fod", "wmfod.nii.gz"], "a folder for results with --out"),
        (["out", "--fod", "wmfod.nii.gz", "--out", "x"], "Give the folder of a fitted subject, or"),
        (["out", "--mask", "mask.nii.gz"], "--mask belongs to --fod"),
        (["out", "--out", "x"], "--out belongs to --fod"),
    ],
)
def test_a_folder_or_fods_not_both(words, complaint):
    result = CliRunner().invoke(app, ["track", *words])
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())


def test_the_command_tracks_given_fods(other, phantom, tmp_path):
    words = ["--fod", other / "wmfod.nii.gz", "--mask", other / "mask.nii.gz", "--tissue", phantom / "5tt.nii.gz"]
    more = ["--streamlines", "100", "--tractogram", "tck", "--out", tmp_path, "--subject", "mine"]
    result = CliRunner().invoke(app, ["track", *map(str, [*words, *more])])
    assert result.exit_code == 0, result.output
    folder = tmp_path / "sub-mine"
    table = read_streamline_table(folder / "tractogram" / "sub-mine_streamlines.trx")
    assert table.n_streamlines == 100
    assert (folder / "tractogram" / "sub-mine_desc-whole_streamlines.tck").is_file()
    record = json.loads((folder / "provenance.json").read_text())["stages"]["track"]
    assert record["input_paths"]["orientations"] == str((other / "wmfod.nii.gz").resolve())


@pytest.mark.real
def test_mif_files_of_mrtrix_are_tracked_like_nifti(other, phantom, tmp_path, mrtrix):
    for name in ("wmfod", "mask"):
        for end in ("mif", "mif.gz"):
            words = ["mrconvert", "-quiet", other / f"{name}.nii.gz", tmp_path / f"{name}.{end}"]
            subprocess.run([*words, "-strides", "-2,1,3" if name == "mask" else "2,3,4,1"], check=True)
    files = TrackingFiles(phantom / "5tt.nii.gz")
    nifti = track(tmp_path / "a", GivenOrientations(other / "wmfod.nii.gz", other / "mask.nii.gz"), files)[1]
    for index, end in enumerate(("mif", "mif.gz")):
        given = GivenOrientations(tmp_path / f"wmfod.{end}", tmp_path / f"mask.{end}")
        table = track(tmp_path / f"out{index}", given, files)[1]
        np.testing.assert_allclose(table.ends_mm, nifti.ends_mm, atol=1e-3)


def _run(words, folder):
    subprocess.run([str(word) for word in words], cwd=folder, check=True, capture_output=True)


@pytest.mark.real
def test_tckgen_tracks_our_fods_and_we_track_those_of_dwi2fod(sample_data, tmp_path, mrtrix):
    """The same FODs give much the same matrix in both programs, whichever of them made the FODs."""
    from tractome.options import FitOptions, ReadOptions
    from tractome.pipeline import find_scan, fit_subject

    tissue, labels = sample_data / "5tt.nii.gz", sample_data / "labels.nii.gz"
    options = TrackOptions(n_streamlines=5000, seed_source="white-matter")
    scan = find_scan(sample_data / "dwi.nii.gz", mask=sample_data / "mask.nii.gz")
    with new_subject(tmp_path / "ours", scan.dwi, None, Heard()) as ledger:
        fit_subject(ledger, scan, ReadOptions(), FitOptions(model="csd"))
        subject = ledger.subject
        track_subject(ledger, options, TrackingFiles(tissue))
        parcellate_subject(ledger, ParcellateOptions(), LabelSource(None, labels))
        connect_subject(ledger, ConnectOptions())
    response = next((subject.root / "dwi").glob("*_response-wm.txt"))
    shell = response.read_text().splitlines()[0].split()[-1]
    gradients = ["-fslgrad", sample_data / "dwi.bvec", sample_data / "dwi.bval", "-shells", shell]
    _run(["dwi2fod", "csd", scan.dwi, response, "theirs.mif", "-mask", scan.mask, *gradients], tmp_path)
    _run(["mrconvert", tissue, "-coord", "3", "2", "-axes", "0,1,2", "white.mif"], tmp_path)
    _run(["mrthreshold", "white.mif", "-abs", "0.5", "seeds.mif"], tmp_path)
    words = "tckgen -algorithm iFOD1 -angle 30 -cutoff 0.1 -maxlength 250 -select 5000 -seed_image seeds.mif"
    _run([*words.split(), subject.orientations("csd"), "ours.tck", "-act", tissue], tmp_path)
    radius = ["-assignment_radial_search", "4"]
    _run(["tck2connectome", "ours.tck", labels, "matrix.csv", "-symmetric", *radius], tmp_path)

    given = GivenOrientations(tmp_path / "theirs.mif", scan.mask)
    track(tmp_path / "given", given, TrackingFiles(tissue), options)
    with old_subject(tmp_path / "given", Heard()) as ledger:
        parcellate_subject(ledger, ParcellateOptions(), LabelSource(None, labels))
        connect_subject(ledger, ConnectOptions())

    def counts(folder):
        name = "sub-01/connectivity/sub-01_seg-labels_connectome.npz"
        return read_connectome(tmp_path / folder / name).matrices["count"]

    ours, upper = counts("ours"), np.triu_indices(len(counts("ours")), 1)
    tckgens = np.loadtxt(tmp_path / "matrix.csv", delimiter=",")
    assert tckgens.sum() > 3000
    same_program = np.corrcoef(np.log1p(ours[upper]), np.log1p(counts("given")[upper]))[0, 1]
    same_fods = np.corrcoef(np.log1p(ours[upper]), np.log1p(tckgens[upper]))[0, 1]
    assert same_program > 0.9
    assert same_fods > 0.75
