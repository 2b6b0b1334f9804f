"""The stage tissue on files: which source is taken, what it writes, and what it says when it cannot."""

from __future__ import annotations

import json

import heads
import numpy as np
import pytest
from runs import Heard

from tractome.datatypes.grid import Grid
from tractome.datatypes.tissue import TISSUES
from tractome.errors import ImageError, OptionError, RegistrationError
from tractome.io.images import read_tissue, write_volume
from tractome.options import ParcellateOptions, TissueOptions
from tractome.pipeline import TissueFiles, TrackingFiles, earlier_files, old_subject, tissue_subject, with_tissue

AUTO = TissueOptions()


@pytest.fixture(scope="module")
def freesurfer(tmp_path_factory):
    """A FreeSurfer-like label image in a world of its own: where it lies does not matter here."""
    kinds, _, grid = heads.head()
    labels = np.zeros(kinds.shape, np.int16)
    for tissue, label in heads.LABEL_OF.items():
        labels[kinds == tissue] = label
    path = tmp_path_factory.mktemp("labels") / "aparc+aseg.nii.gz"
    write_volume(path, labels, grid)
    return path


def make(copy, options=AUTO, files=None, **more):
    heard = Heard()
    with old_subject(copy, heard) as ledger:
        files = files if files is not None else TissueFiles()
        return heard, tissue_subject(ledger, options, files, **more), ledger


def test_freesurfer_labels_come_first_and_the_map_says_so(copy, phantom, freesurfer):
    heard, record, ledger = make(copy, files=TissueFiles(t1=phantom / "T1w.nii.gz", labels=freesurfer))
    assert heard.done == ["tissue"]
    assert record.facts["source"] == "freesurfer"
    tissue = read_tissue(ledger.subject.tissue)
    sidecar = json.loads(ledger.subject.tissue.with_name("sub-01_desc-5tt_probseg.json").read_text())
    assert sidecar["LabelMap"] == list(TISSUES) and sidecar["Sources"] == ["aparc+aseg.nii.gz"]
    for index, name in enumerate(TISSUES):
        ml = tissue.fractions[..., index].sum(dtype=float) * tissue.grid.voxel_volume_mm3 / 1000
        assert sidecar["VolumesMl"][name] == pytest.approx(ml, abs=1e-3) == record.facts["volumes_ml"][name]
    assert ledger.subject.figure("tissue").is_file()


def test_labels_of_another_place_are_refused(copy, tmp_path):
    kinds, _, grid = heads.head()
    labels = np.zeros(kinds.shape, np.int16)
    for tissue, label in heads.LABEL_OF.items():
        labels[kinds == tissue] = label
    affine = grid.affine.copy()
    affine[:3, 3] += 150
    write_volume(tmp_path / "aparc+aseg.nii.gz", labels, Grid(grid.shape, affine))
    files = TissueFiles(freesurfer=tmp_path / "aparc+aseg.nii.gz")
    with pytest.raises(ImageError, match="does not lie on the scan"):
        make(copy, TissueOptions(tissue_source="freesurfer"), files)
    heard, record, ledger = make(copy, files=files)
    assert any("does not lie on the scan" in note for note in heard.notes)
    assert any("nothing says where cortex is" in note for note in heard.notes)
    assert record is None and not ledger.subject.tissue.exists()


def test_what_is_done_is_not_done_again_and_a_choice_redoes_it(copy, freesurfer):
    files = TissueFiles(freesurfer=freesurfer)
    make(copy, files=files)
    assert make(copy, files=files)[0].done == []
    heard, record, _ = make(copy, TissueOptions(hippocampus="subcortical"), files)
    assert heard.done == ["tissue"] and record.options["hippocampus"] == "subcortical"
    assert make(copy, TissueOptions(tissue_voxel_size_mm=3.0), files)[0].done == ["tissue"]


def test_own_labels_of_all_grey_matter_stand_in_where_there_is_no_t1(copy, phantom):
    _, record, ledger = make(copy, files=earlier_of(copy))
    assert record.facts["source"] == "dwi" and "own labels" in record.facts["Registration"]
    found, truth = read_tissue(ledger.subject.tissue).fractions, read_tissue(phantom / "5tt.nii.gz").fractions
    inside = truth.sum(axis=3) > 0.9
    assert (found[inside].argmax(axis=1) == truth[inside].argmax(axis=1)).mean() > 0.85


def earlier_of(copy):
    with old_subject(copy, Heard()) as ledger:
        return earlier_files(ledger)


def test_files_of_earlier_stages_are_remembered_as_long_as_they_are_there(copy, phantom, tmp_path):
    found = earlier_of(copy)
    assert found.labels == (phantom / "labels.nii.gz").resolve() and found.t1 is None
    assert found.regions == (phantom / "regions.tsv").resolve()


def test_nothing_to_make_a_map_from_is_said_once_and_is_no_error(copy):
    heard, record, _ = make(copy)
    assert record is None and heard.done == []
    assert any("No tissue map" in note and "no T1" in note for note in heard.notes)
    with old_subject(copy, Heard()) as ledger:
        tracking, made = with_tissue(ledger, TrackingFiles(), AUTO, TissueFiles())
        assert tracking.tissue is None and made is None


def test_none_is_silent(copy):
    heard, record, _ = make(copy, TissueOptions(tissue_source="none"))
    assert record is None and heard.notes == []


def test_a_map_of_the_users_own_is_taken_as_it_is(copy, phantom):
    given = TrackingFiles(tissue=phantom / "5tt.nii.gz")
    with old_subject(copy, Heard()) as ledger:
        assert with_tissue(ledger, given, AUTO, TissueFiles()) == (given, None)
        with pytest.raises(OptionError, match="Give one of them"):
            with_tissue(ledger, given, TissueOptions(tissue_source="dwi"), TissueFiles())


@pytest.mark.parametrize(("source", "needs"), [("freesurfer", "--labels"), ("t1", "--t1")])
def test_a_source_asked_for_by_name_must_be_there(copy, source, needs):
    with pytest.raises(OptionError, match=f"--tissue-source {source} needs.*{needs}"):
        make(copy, TissueOptions(tissue_source=source))


def test_labels_that_are_not_freesurfers_are_refused_when_asked_for(copy, phantom):
    files = TissueFiles(labels=phantom / "labels.nii.gz")
    with pytest.raises(ImageError, match="not numbered as FreeSurfer's"):
        make(copy, TissueOptions(tissue_source="freesurfer"), files)
    assert not (copy / "sub-01/dwi/sub-01_desc-5tt_probseg.nii.gz").exists()


def test_a_t1_that_does_not_register_is_an_error_when_asked_for_and_a_note_otherwise(copy, phantom, monkeypatch):
    def fails(*arguments, **named):
        raise RegistrationError("The registration failed: told to.")

    monkeypatch.setattr("tractome.pipeline.tissue.register_subject", fails)
    files = TissueFiles(t1=phantom / "T1w.nii.gz", labels=phantom / "labels.nii.gz", regions=phantom / "regions.tsv")
    with pytest.raises(RegistrationError, match="told to"):
        make(copy, TissueOptions(tissue_source="t1"), files)
    heard, record, _ = make(copy, files=files)
    assert any("No tissue map from the T1" in note and "told to" in note for note in heard.notes)
    assert record.facts["source"] == "dwi"


def test_an_unfitting_template_leaves_the_scan_alone_to_itself(copy, monkeypatch):
    def fails(*arguments, **named):
        raise RegistrationError("The registration failed: told to.")

    monkeypatch.setattr("tractome.pipeline.tissue.register_subject", fails)
    heard, record, ledger = make(copy, TissueOptions(tissue_source="dwi"), parcellate=ParcellateOptions())
    assert any("without a template" in note for note in heard.notes)
    assert record.facts["source"] == "dwi" and read_tissue(ledger.subject.tissue).fractions.shape[3] == 5
