"""Plain files, told by what they hold and by their names; and folders that hold no scan."""

import json
import re

import numpy as np
import pytest
from trees import BVALS, BVECS, commands, follow, gradients, image, names, scan

from tractome.errors import LayoutError
from tractome.io.layouts import find_subject_in


def test_plain_files_of_any_name(tmp_path):
    image(tmp_path / "Series0007.nii.gz")
    np.savetxt(tmp_path / "the_bvals.txt", BVALS[:, None])
    np.savetxt(tmp_path / "directions.txt", BVECS)
    image(tmp_path / "anat/MPRAGE.nii", volumes=1, zoom=1.0)
    image(tmp_path / "b0_brain_mask.nii.gz", volumes=1)
    image(tmp_path / "wm_mask.nii.gz", volumes=1)
    (tmp_path / "notes.txt").write_text("nothing to see\n")
    (tmp_path / "numbers.txt").write_text("1 2 3\n4 5 6\n")
    found = find_subject_in(tmp_path)
    assert found.layout == "plain"
    assert found.is_preprocessed is None
    assert names(found) == {
        "dwi": "Series0007.nii.gz",
        "bval": "the_bvals.txt",
        "bvec": "directions.txt",
        "mask": "b0_brain_mask.nii.gz",
        "t1": "MPRAGE.nii",
    }


@pytest.mark.parametrize("name", ["grad.txt", "dwi.b", "mygrad"])
def test_an_mrtrix_table_of_any_name(tmp_path, name):
    image(tmp_path / "dwi.nii.gz")
    np.savetxt(tmp_path / name, np.column_stack([BVECS, BVALS]))
    found = find_subject_in(tmp_path)
    assert (found.bval.name, found.bvec) == (name, None)


def test_gradients_of_another_number_of_volumes_do_not_count(tmp_path):
    image(tmp_path / "dwi.nii.gz", volumes=10)
    gradients(tmp_path / "dwi")
    with pytest.raises(LayoutError, match=r"has 10 volumes; .* there is neither near it\. Of another number") as error:
        find_subject_in(tmp_path)
    assert "dwi.bval (8)" in str(error.value)


def test_gradients_go_by_the_name_of_the_scan(tmp_path):
    for name in ("a", "b"):
        scan(tmp_path / name)
    with pytest.raises(LayoutError, match="2 diffusion scans") as error:
        find_subject_in(tmp_path)
    assert [follow(words).bvec.name for words in commands(error)] == ["a.bvec", "b.bvec"]
    assert find_subject_in(tmp_path / "b.nii.gz").bval.name == "b.bval"


def test_two_tables_that_differ_and_fit_as_well_are_refused(tmp_path):
    image(tmp_path / "dwi.nii.gz")
    gradients(tmp_path / "first")
    gradients(tmp_path / "second")
    assert find_subject_in(tmp_path).bval.name == "first.bval"  # the same numbers
    np.savetxt(tmp_path / "second.bvec", -BVECS.T[::-1])
    with pytest.raises(LayoutError, match=r"2 files with directions .* first\.bvec, second\.bvec"):
        find_subject_in(tmp_path)


def test_what_lies_with_another_scan_is_not_taken(tmp_path):
    for name in ("one", "two"):
        scan(tmp_path / name / "dwi")
    image(tmp_path / "one/T1w.nii.gz", volumes=1)
    image(tmp_path / "one/labels.nii.gz", volumes=1)
    assert "t1" not in names(find_subject_in(tmp_path, scan="two/dwi"))
    assert {"t1", "labels"} <= set(names(find_subject_in(tmp_path, scan="one/dwi")))


def test_labels_of_plain_files(tmp_path):
    scan(tmp_path / "dwi")
    image(tmp_path / "labels.nii.gz", volumes=1)
    (tmp_path / "regions.tsv").write_text("label\tname\n1\ta\n")
    found = find_subject_in(tmp_path)
    assert (found.atlas, found.regions) == ("labels", tmp_path / "regions.tsv")
    image(tmp_path / "other_parcellation.nii.gz", volumes=1)
    found = find_subject_in(tmp_path)
    assert found.labels is None
    assert any("2 label images" in notice for notice in found.notices)
    image(tmp_path / "aparc+aseg.nii.gz", volumes=1)
    found = find_subject_in(tmp_path)
    assert (found.atlas, found.labels.name) == ("freesurfer-dk-84", "aparc+aseg.nii.gz")


def test_a_mask_of_another_grid_is_not_taken(tmp_path):
    scan(tmp_path / "dwi")
    image(tmp_path / "brain_mask.nii.gz", volumes=1, zoom=1.0)
    found = find_subject_in(tmp_path)
    assert found.mask is None
    assert any("not on the grid" in notice for notice in found.notices)


def test_results_of_tractome_are_not_taken_for_data(tmp_path):
    scan(tmp_path / "dwi")
    results = tmp_path / "tractome-results"
    image(results / "sub-01/dwi/sub-01_desc-brain_mask.nii.gz", volumes=1)
    image(results / "sub-01/dwi/sub-01_seg-x_dseg.nii.gz", volumes=1)
    image(results / "sub-01/dwi/sub-01_model-csd_param-wmfod_dwimap.nii.gz", volumes=15)
    (results / "dataset_description.json").write_text(json.dumps({"GeneratedBy": [{"Name": "tractome"}]}))
    found = find_subject_in(tmp_path)
    assert set(names(found)) == {"dwi", "bval", "bvec"}


@pytest.mark.parametrize("content", ["nothing", "text", "a T1"])
def test_a_folder_without_a_scan_says_what_is_known(tmp_path, content):
    if content == "text":
        (tmp_path / "readme.txt").write_text("hello")
    elif content == "a T1":
        image(tmp_path / "T1w.nii.gz", volumes=1)
    with pytest.raises(LayoutError, match="no diffusion scan that is understood"):
        find_subject_in(tmp_path)
    with pytest.raises(LayoutError, match=re.escape("There is no")):
        find_subject_in(tmp_path / "missing")


def test_a_broken_sidecar_is_named(tmp_path):
    scan(tmp_path / "sub-01/dwi/sub-01_dwi")
    (tmp_path / "sub-01/dwi/sub-01_dwi.json").write_text("{not json")
    with pytest.raises(LayoutError, match=r"sub-01_dwi\.json cannot be read as JSON"):
        find_subject_in(tmp_path)
