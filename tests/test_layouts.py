"""Layouts: which files of a folder are a subject's, and what is said where that is not clear."""

import json

import numpy as np
import pytest
from trees import BVALS, BVECS, commands, follow, gradients, image, names, scan

from tractome.errors import LayoutError
from tractome.io.atlases import read_atlas_regions
from tractome.io.layouts import find_subject_in

# --- HCP --------------------------------------------------------------------------------------------------------------


def hcp(root, subject="100307", *, grad_dev=True):
    structural = root / subject / "T1w"
    diffusion = structural / "Diffusion"
    image(diffusion / "data.nii.gz")
    gradients(diffusion / "x", bval="", bvec="")
    (diffusion / "x").unlink()
    np.savetxt(diffusion / "bvals", BVALS[None], fmt="%g")
    np.savetxt(diffusion / "bvecs", BVECS.T)
    image(diffusion / "nodif_brain_mask.nii.gz", volumes=1)
    if grad_dev:
        image(diffusion / "grad_dev.nii.gz", volumes=9)
    for name in ("aparc+aseg", "aparc.a2009s+aseg", "wmparc", "T1w_acpc_dc_restore", "T1w_acpc_dc_restore_brain"):
        image(structural / f"{name}.nii.gz", volumes=1, zoom=0.7)
    return root / subject


@pytest.mark.parametrize("place", ["", "T1w", "T1w/Diffusion", "T1w/Diffusion/data.nii.gz"])
def test_an_hcp_subject_is_found_from_any_of_its_folders(tmp_path, place):
    folder = hcp(tmp_path)
    found = find_subject_in(folder / place)
    assert found.layout == "hcp"
    assert found.subject == "100307"
    assert found.is_preprocessed is True
    assert names(found) == {
        "dwi": "data.nii.gz",
        "bval": "bvals",
        "bvec": "bvecs",
        "mask": "nodif_brain_mask.nii.gz",
        "grad_dev": "grad_dev.nii.gz",
        "t1": "T1w_acpc_dc_restore.nii.gz",
        "labels": "aparc+aseg.nii.gz",
    }
    assert found.atlas == "freesurfer-dk-84"
    assert found.label_images["freesurfer-a2009s-164"].path.name == "aparc.a2009s+aseg.nii.gz"
    assert found.freesurfer_labels.name == "aparc+aseg.nii.gz"
    assert found.notices == ()


def test_destrieux_s_regions_have_freesurfer_s_numbers_and_the_names_that_others_have():
    regions = read_atlas_regions("freesurfer-a2009s-164")[1]
    label = dict(zip(regions.names, regions.labels.tolist(), strict=True))
    assert (regions.n_regions, regions.structures.count("cortex")) == (164, 148)
    assert (label["G_and_S_frontomargin-left"], label["S_temporal_transverse-right"]) == (11101, 12175)
    assert not {11142, 12142} & set(label.values())  # the medial wall
    assert (label["S_calcarine-left"], label["G_precentral-right"], label["G_oc-temp_lat-fusifor-left"]) == (
        11145,
        12129,
        11121,
    )
    other = read_atlas_regions("freesurfer-dk-84")[1]
    deep = {name for name, structure in zip(other.names, other.structures, strict=True) if structure != "cortex"}
    assert {name: label[name] for name in deep} == {
        name: number for name, number in zip(other.names, other.labels.tolist(), strict=True) if name in deep
    }


def test_what_an_hcp_subject_lacks_is_said(tmp_path):
    folder = hcp(tmp_path, grad_dev=False)
    assert any("grad_dev" in notice for notice in find_subject_in(folder).notices)
    (folder / "T1w/Diffusion/bvecs").unlink()
    with pytest.raises(LayoutError, match="no bvecs beside it"):
        find_subject_in(folder)


def test_the_seven_tesla_scan_of_an_hcp_subject_can_be_named(tmp_path):
    folder = hcp(tmp_path)
    seven = folder / "T1w/Diffusion_7T"
    image(seven / "data.nii.gz")
    np.savetxt(seven / "bvals", BVALS[None])
    np.savetxt(seven / "bvecs", BVECS.T)
    found = find_subject_in(folder)
    assert (found.dwi.parent.name, found.scan) == ("Diffusion", None)
    assert any("Diffusion_7T" in notice for notice in found.notices)
    found = find_subject_in(folder, scan="Diffusion_7T")
    assert (found.dwi.parent.name, found.scan) == ("Diffusion_7T", "Diffusion_7T")
    assert find_subject_in(seven).dwi == found.dwi


# --- several subjects, sessions, scans --------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["hcp", "bids", "qsiprep"])
def test_several_subjects_are_listed_with_commands_that_work(tmp_path, layout):
    for subject in ("101", "102", "103"):
        if layout == "hcp":
            hcp(tmp_path, subject)
        else:
            desc = "_space-ACPC_desc-preproc" if layout == "qsiprep" else ""
            scan(tmp_path / f"sub-{subject}/dwi/sub-{subject}{desc}_dwi")
    with pytest.raises(LayoutError, match="3 subjects: 101, 102, 103") as error:
        find_subject_in(tmp_path)
    proposed = commands(error)
    assert [follow(words).subject for words in proposed] == ["101", "102", "103"]
    assert find_subject_in(tmp_path, "sub-102").subject == "102"
    with pytest.raises(LayoutError, match=r"no subject '9'.* There are: 101, 102, 103"):
        find_subject_in(tmp_path, "9")


def test_several_sessions_are_listed_with_commands_that_work(tmp_path):
    for subject, sessions in {"01": ("pre", "post"), "02": ("pre",)}.items():
        for session in sessions:
            scan(tmp_path / f"sub-{subject}/ses-{session}/dwi/sub-{subject}_ses-{session}_dwi")
    with pytest.raises(LayoutError, match="2 subjects"):
        find_subject_in(tmp_path)
    assert find_subject_in(tmp_path, "02").session == "pre"
    with pytest.raises(LayoutError, match="2 sessions with a diffusion scan: post, pre") as error:
        find_subject_in(tmp_path, "01")
    assert {follow(words).dwi for words in commands(error)} == set(tmp_path.glob("sub-01/*/dwi/*.nii.gz"))
    for place in ("sub-01/ses-pre", "sub-01/ses-pre/dwi", "sub-01/ses-pre/dwi/sub-01_ses-pre_dwi.nii.gz"):
        found = find_subject_in(tmp_path / place)
        assert (found.subject, found.session, found.root) == ("01", "pre", tmp_path)
    with pytest.raises(LayoutError, match=r"no session 'later'.* There are: post, pre"):
        find_subject_in(tmp_path, "01", "later")
    with pytest.raises(LayoutError, match="no subject '01'"):
        find_subject_in(tmp_path / "sub-02", "01")


def test_several_runs_are_not_joined(tmp_path):
    for run in ("1", "2"):
        scan(tmp_path / f"sub-01/dwi/sub-01_acq-b1000_run-{run}_dwi")
    with pytest.raises(LayoutError, match=r"2 diffusion scans\. They are not joined") as error:
        find_subject_in(tmp_path)
    assert [follow(words).scan for words in commands(error)] == ["acq-b1000_run-1", "acq-b1000_run-2"]
    assert find_subject_in(tmp_path, scan="run-2").dwi.name == "sub-01_acq-b1000_run-2_dwi.nii.gz"
    assert find_subject_in(tmp_path / "sub-01/dwi/sub-01_acq-b1000_run-1_dwi.nii.gz").scan == "acq-b1000_run-1"
    with pytest.raises(LayoutError, match="No scan of Subject 01 is called 'run-3'"):
        find_subject_in(tmp_path, scan="run-3")


# --- raw BIDS ---------------------------------------------------------------------------------------------------------


def test_metadata_is_inherited_from_general_to_own(tmp_path):
    folder = tmp_path / "sub-01/ses-a/dwi"
    image(folder / "sub-01_ses-a_dwi.nii.gz")
    gradients(tmp_path / "sub-01/sub-01_dwi")
    other = tmp_path / "acq-other_dwi.json"
    sidecars = {
        tmp_path / "dwi.json": {"EchoTime": 0.1, "PhaseEncodingDirection": "j"},
        tmp_path / "sub-01/ses-a/sub-01_ses-a_dwi.json": {"PhaseEncodingDirection": "j-"},
        folder / "sub-01_ses-a_dwi.json": {"TotalReadoutTime": 0.03},
        other: {"EchoTime": 9.0},
    }
    for path, content in sidecars.items():
        path.write_text(json.dumps(content))
    found = find_subject_in(tmp_path)
    assert found.layout == "bids"
    assert found.is_preprocessed is False
    assert names(found)["bval"] == "sub-01_dwi.bval"
    assert found.metadata == {"EchoTime": 0.1, "PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.03}
    assert other not in found.sidecars
    gradients(folder / "sub-01_ses-a_dwi")
    assert find_subject_in(tmp_path).bval.parent == folder


def test_no_gradients_anywhere_is_refused(tmp_path):
    image(tmp_path / "sub-01/dwi/sub-01_dwi.nii.gz")
    with pytest.raises(LayoutError, match=r"no sub-01_dwi\.bval beside it, nor a file above"):
        find_subject_in(tmp_path)


def test_reversed_phase_encoding_is_no_scan_of_its_own(tmp_path):
    folder = tmp_path / "sub-01/dwi"
    scan(folder / "sub-01_dir-AP_dwi")
    gradients(folder / "sub-01_dir-PA_dwi", n=1)
    image(folder / "sub-01_dir-PA_dwi.nii.gz", volumes=1)
    image(tmp_path / "sub-01/fmap/sub-01_dir-PA_epi.nii.gz", volumes=1)
    found = find_subject_in(tmp_path)
    assert found.dwi.name == "sub-01_dir-AP_dwi.nii.gz"
    assert {path.name for path in found.reverse_phase} == {"sub-01_dir-PA_dwi.nii.gz", "sub-01_dir-PA_epi.nii.gz"}
    assert found.scan is None


def test_a_session_without_a_t1_takes_that_of_another(tmp_path):
    for session in ("a", "b"):
        scan(tmp_path / f"sub-01/ses-{session}/dwi/sub-01_ses-{session}_dwi")
    image(tmp_path / "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz", volumes=1)
    assert find_subject_in(tmp_path, session="a").notices == ()
    found = find_subject_in(tmp_path, session="b")
    assert found.t1.name == "sub-01_ses-a_T1w.nii.gz"
    assert any("ses-a" in notice for notice in found.notices)


def test_preprocessed_data_of_the_same_subject_are_pointed_out(tmp_path):
    scan(tmp_path / "sub-01/dwi/sub-01_dwi")
    scan(tmp_path / "derivatives/qsiprep/sub-01/dwi/sub-01_space-ACPC_desc-preproc_dwi")
    assert any("derivatives/qsiprep" in notice for notice in find_subject_in(tmp_path).notices)
    found = find_subject_in(tmp_path / "derivatives/qsiprep")
    assert (found.layout, found.is_preprocessed) == ("qsiprep", True)


def test_labels_of_a_derivative_of_the_anatomy_follow_its_t1(tmp_path):
    scan(tmp_path / "sub-01/ses-a/dwi/sub-01_ses-a_dwi")
    image(tmp_path / "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz", volumes=1)
    anatomy = tmp_path / "derivatives/fmriprep/sub-01/anat"
    for name in ("desc-aparcaseg_dseg", "desc-aseg_dseg", "space-MNI152NLin6Asym_desc-aparcaseg_dseg"):
        image(anatomy / f"sub-01_{name}.nii.gz", volumes=1)
    assert not find_subject_in(tmp_path).labels_follow_t1  # without the T1 that they lie on
    image(anatomy / "sub-01_desc-preproc_T1w.nii.gz", volumes=1)
    found = find_subject_in(tmp_path)
    assert found.labels_follow_t1
    assert (found.atlas, found.labels) == ("freesurfer-dk-84", anatomy / "sub-01_desc-aparcaseg_dseg.nii.gz")
    assert found.t1 == anatomy / "sub-01_desc-preproc_T1w.nii.gz"
    assert found.freesurfer_labels == found.labels


# --- derivatives ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("session", ["", "ses-1"])
@pytest.mark.parametrize("space", ["ACPC", "T1w"])
def test_qsiprep(tmp_path, session, space):
    who = f"sub-01_{session}_" if session else "sub-01_"
    folder = tmp_path / "sub-01" / session / "dwi"
    scan(folder / f"{who}space-{space}_desc-preproc_dwi")
    (folder / f"{who}space-{space}_desc-preproc_dwi.b").write_text("0 0 1 0\n")
    image(folder / f"{who}space-{space}_desc-brain_mask.nii.gz", volumes=1)
    image(folder / f"{who}space-{space}_dwiref.nii.gz", volumes=1)
    old = space == "T1w"  # then the anatomy has no space in its names
    prefix = "sub-01_" if old else "sub-01_space-ACPC_"
    for name in ("desc-preproc_T1w", "desc-brain_mask", "desc-aparcaseg_dseg", "desc-aseg_dseg", "dseg"):
        image(tmp_path / f"sub-01/anat/{prefix}{name}.nii.gz", volumes=1)
        image(tmp_path / f"sub-01/anat/sub-01_space-MNI152NLin2009cAsym_{name}.nii.gz", volumes=1)
    found = find_subject_in(tmp_path)
    assert found.layout == "qsiprep"
    assert names(found) == {
        "dwi": f"{who}space-{space}_desc-preproc_dwi.nii.gz",
        "bval": f"{who}space-{space}_desc-preproc_dwi.b",
        "mask": f"{who}space-{space}_desc-brain_mask.nii.gz",
        "t1": f"{prefix}desc-preproc_T1w.nii.gz",
        "labels": f"{prefix}desc-aparcaseg_dseg.nii.gz",
    }
    assert found.bvec is None
    assert found.t1_mask.name == f"{prefix}desc-brain_mask.nii.gz"
    assert {path.suffix for path in found.other_gradients} == {".bval", ".bvec"}


def test_of_several_derivatives_the_preprocessed_one_in_the_best_space_is_taken(tmp_path):
    folder = tmp_path / "sub-01/dwi"
    for name in ("space-T1w_desc-preproc", "space-ACPC_desc-preproc", "space-ACPC_desc-denoised"):
        scan(folder / f"sub-01_{name}_dwi")
    scan(folder / "sub-01_space-MNI152NLin2009cAsym_desc-preproc_dwi")
    found = find_subject_in(tmp_path)
    assert found.dwi.name == "sub-01_space-ACPC_desc-preproc_dwi.nii.gz"
    assert found.scan is None
    assert found.layout == "derivatives"
    assert found.bvec is not None


def test_labels_with_a_table_are_known_by_the_name_of_their_atlas(tmp_path):
    folder = tmp_path / "sub-01/dwi"
    scan(folder / "sub-01_space-ACPC_desc-preproc_dwi")
    image(folder / "sub-01_space-ACPC_atlas-4S156_dseg.nii.gz", volumes=1)
    image(folder / "sub-01_space-ACPC_atlas-nameless_dseg.nii.gz", volumes=1)
    (tmp_path / "atlas-4S156_dseg.tsv").write_text("index\tname\n1\ta\n")
    found = find_subject_in(tmp_path)
    assert set(found.label_images) == {"4S156"}
    assert found.regions == tmp_path / "atlas-4S156_dseg.tsv"
