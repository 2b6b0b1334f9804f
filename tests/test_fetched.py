"""Atlases by way of nilearn; a local stand-in takes the place of its downloads."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from tractome.errors import AtlasError
from tractome.io.atlases import read_atlas
from tractome.io.fetched import atlas_fetchers, fetch_atlas

AFFINE = np.array([[-2.0, 0, 0, 20], [0, 2, 0, -20], [0, 0, 2, -20], [0, 0, 0, 1]])


def volume():
    """Left, right and midline boxes and a medial wall, numbered with gaps; x decreases with the index."""
    labels = np.zeros((20, 20, 20), np.int16)
    labels[12:16, 4:8, 4:8] = 2001
    labels[4:8, 4:8, 4:8] = 2002
    labels[9:12, 10:14, 4:8] = 9110
    labels[12:16, 15:18, 15:18] = 42
    return nib.Nifti1Image(labels, AFFINE)


def stand_in(**content):
    """What stands in for a fetcher: of nilearn's kind, without a network."""

    def fetch_atlas_standin(version="3v2", data_dir=None, verbose=1):
        if version != "3v2":
            raise ValueError(f"version {version!r} is unknown")
        return content

    return fetch_atlas_standin


LUT = pd.DataFrame(
    {
        "index": [0, 42, 2001, 2002, 9110, 35],
        "name": ["Background", "L Medial_wall", "Thing_L", "Thing_R", "Worm", "Gone"],
    }
)


@pytest.fixture
def fetcher(tmp_path, monkeypatch):
    """Put a stand-in into nilearn, and the user's atlases into an empty folder."""
    monkeypatch.setenv("TRACTOME_ATLAS_DIR", str(tmp_path / "atlases"))

    def install(**content):
        from nilearn import datasets

        monkeypatch.setattr(datasets, "fetch_atlas_standin", stand_in(**content), raising=False)

    return install


def test_a_look_up_table_becomes_regions(fetcher):
    fetcher(maps=volume(), lut=LUT, template="MNI152NLin6Asym", atlas_type="deterministic", description="Who, 2020.")
    info, note = fetch_atlas("standin", {"version": "3v2"})
    assert info.name == "standin-3v2"
    assert info.space == "MNI152NLin6Asym"
    assert info.citation == "Who, 2020."
    assert "Gone" in note
    atlas = read_atlas("standin-3v2")
    assert atlas.regions.names == ("Thing_L", "Thing_R", "Worm")
    assert atlas.regions.hemispheres == ("L", "R", "B")
    assert atlas.regions.labels.tolist() == [2001, 2002, 9110]
    assert 42 not in atlas.labels  # the medial wall is no region


def test_two_lists_become_regions(fetcher):
    """As nilearn's AAL: numbers as text beside the names."""
    names = ["Thing_L", "Thing_R", "Worm", "Side_L"]
    fetcher(maps=volume(), labels=names, indices=["2001", "2002", "9110", "42"])
    info, note = fetch_atlas("standin", {}, "mine")
    assert (info.name, note) == ("mine", "")
    assert read_atlas("mine").regions.names == ("Side_L", "Thing_L", "Thing_R", "Worm")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"maps": nib.Nifti1Image(np.zeros((4, 4, 4, 2)), AFFINE), "lut": LUT}, "several maps"),
        ({"maps": nib.Nifti1Image(np.full((4, 4, 4), 0.5), AFFINE), "lut": LUT}, "probabilities"),
        ({"maps": volume(), "labels": []}, "no names"),
        ({"maps": volume(), "labels": ["one"], "indices": ["1", "2"]}, "no names"),
        ({"maps": volume(), "lut": LUT[:3]}, "not in the table"),
    ],
)
def test_what_cannot_be_an_atlas_is_refused(fetcher, tmp_path, content, says):
    fetcher(**content)
    with pytest.raises(AtlasError, match=says):
        fetch_atlas("standin", {})
    assert not list((tmp_path / "atlases").glob("*"))


def test_wrong_names_and_failed_downloads_say_so(fetcher):
    fetcher(maps=volume(), lut=LUT)
    with pytest.raises(AtlasError, match="Did you mean 'harvard_oxford'"):
        fetch_atlas("harvard-oxford", {})
    with pytest.raises(AtlasError, match="does not take colour; it takes: version"):
        fetch_atlas("standin", {"colour": 1})
    with pytest.raises(AtlasError, match="could not fetch standin: version 7 is unknown"):
        fetch_atlas("standin", {"version": 7})
    assert {"aal", "destrieux_2009", "schaefer_2018", "standin"} <= set(atlas_fetchers())


def test_the_command_fetches_and_says_what_was_left_out(fetcher, tmp_path):
    from typer.testing import CliRunner

    from tractome_cli.app import app

    fetcher(maps=volume(), lut=LUT, template="MNI152NLin6Asym")
    done = CliRunner().invoke(app, ["atlas", "fetch", "standin", "--set", "version=3v2", "--name", "boxes"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "atlases" / "boxes" / "labels.nii.gz").is_file()
    assert "3 regions" in done.output
    wrong = CliRunner().invoke(app, ["atlas", "fetch", "standin", "--set", "version"])
    assert wrong.exit_code == 2
