"""From a path to matrices: one head in every layout, sessions apart, what is named overrides what is found."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from runs import Heard
from typer.testing import CliRunner

from tractome.errors import LayoutError, OptionError
from tractome.io.images import read_volume
from tractome.io.matrices import read_connectome
from tractome.options import FitOptions, ParcellateOptions, TrackOptions
from tractome.phantom import make_phantom, phantom_files, preset_options, write_phantom
from tractome.pipeline import (
    GivenFiles,
    RunOptions,
    SubjectFiles,
    find_subject,
    gather_sources,
    new_subject,
    run_subject,
)
from tractome_cli.app import app

COARSE = {
    "voxel_size_mm": 5.0,
    "t1_voxel_size_mm": 4.0,
    "n_bundles": 40,
    "n_u_fibres": 10,
    "median_fibres": 100,
    "shells": (1000.0,),
    "directions": (16,),
    "n_b0": 2,
    "random_seed": 5,
    "label_numbers": "freesurfer",
    "value_type": "int16",
}
OPTIONS = RunOptions(fit=FitOptions(model="csd", lmax=4), track=TrackOptions(n_streamlines=2000))


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Folders of one head, by layout."""
    folders = {}
    for layout in ("plain", "hcp", "qsiprep", "bids"):
        folders[layout] = tmp_path_factory.mktemp(layout) / "head01"
        made = make_phantom(preset_options("standard", **COARSE, layout=layout))
        write_phantom(folders[layout], made)
    return folders


def run(path, out, given=None, **chosen):
    """What `tractome run PATH` does, but for the check; so coarse a head has no detail to check."""
    sources = gather_sources(path, given or GivenFiles(), **chosen)
    freesurfer = sources.found.freesurfer_labels
    follow = sources.labels_follow_t1
    files = SubjectFiles(
        sources.scan, sources.regions_from, sources.tissue, freesurfer=freesurfer, labels_follow_t1=follow
    )
    heard = Heard()
    options = dataclasses.replace(OPTIONS, parcellate=ParcellateOptions(atlas=sources.atlas, min_t1_detail=0.0))
    place = {"session": sources.session, "scan": sources.scan_name}
    with new_subject(out, sources.scan.dwi, sources.label, heard, **place) as ledger:
        records = run_subject(ledger, files, options)
    return ledger.subject, heard, records


@pytest.fixture(scope="module")
def results(heads, tmp_path_factory):
    """Results of a run on each folder alone, by layout."""
    out = tmp_path_factory.mktemp("results")
    return {
        "qsiprep": run(heads["qsiprep"], out / "qsiprep"),
        "bids": run(heads["bids"], out / "bids", session="1"),
    }


def counts(subject):
    """Counts, with rows in the order of the region's names."""
    found = read_connectome(next((subject.root / "connectivity").glob("*_connectome.npz")))
    order = np.argsort(found.regions.names)
    return sorted(found.regions.names), found.matrices["count"][np.ix_(order, order)]


def _other_side(name):
    stem, _, side = name.rpartition("-")
    return f"{stem}-{ {'left': 'right', 'right': 'left'}[side] }"


def fa_at(subject, places):
    volume, grid = read_volume(subject.tensor_map("fa"))
    voxels = np.rint(grid.to_voxel(places)).astype(int)
    return volume[tuple(voxels.T)]


def test_one_head_gives_one_fa_and_one_wiring_in_every_layout(results):
    """Stored as LPS with an MRtrix3 table and a mask, and as LAS with an FSL pair and without."""
    first, second = results["qsiprep"][0], results["bids"][0]
    volume, grid = read_volume(first.tensor_map("fa"))
    places = grid.to_world(np.argwhere(volume > 0))
    expected, found = fa_at(first, places), fa_at(second, places)
    both = found > 0
    assert both.mean() > 0.8
    np.testing.assert_allclose(found[both], expected[both], atol=1e-5)
    (names, expected), (found_names, found) = counts(first), counts(second)
    assert found_names == names
    mirrored = [names.index(_other_side(name)) for name in names]
    upper = np.triu_indices(len(names), 1)
    # The streamlines are others (seeds follow the order of voxels), and few; sides exchanged would show.
    same = np.corrcoef(found[upper], expected[upper])[0, 1]
    other = np.corrcoef(found[upper], expected[np.ix_(mirrored, mirrored)][upper])[0, 1]
    assert same > 0.6
    assert same > other + 0.2


def test_each_layout_brings_its_own_labels_and_tissues(results):
    for layout, (_, _, records) in results.items():
        facts = records["parcellate"].facts
        assert facts["n_regions"] == 84, layout
        assert facts["atlas"] == "freesurfer-dk-84", layout
    assert "freesurfer" in results["bids"][2]["tissue"].facts["source"]
    assert "tissue" not in results["qsiprep"][2]


def test_labels_of_a_t1_are_brought_to_the_scan(results):
    """Phantom T1 and scan lie on each other: the rigid step must find nearly nothing to do."""
    _, _, records = results["bids"]
    matrix = np.array(records["align"].facts["t1_to_dwi"])
    corners = np.array([[-60.0, -80, -40, 1], [60, 60, 60, 1], [0, 0, 0, 1]])
    assert np.abs(corners @ matrix.T - corners).max() < 2.5
    assert list(records)[:3] == ["fit", "align", "parcellate"]


def test_the_second_run_does_nothing(heads, results):
    subject, heard, _ = run(heads["qsiprep"], results["qsiprep"][0].root.parent)
    assert heard.done == []
    assert subject.root == results["qsiprep"][0].root


def test_the_directions_of_qsiprep_are_those_of_its_table(heads, tmp_path):
    """Its .bvec is a known trap: a wrong one changes nothing but what is said."""
    files = phantom_files(heads["qsiprep"], preset_options("standard", **COARSE, layout="qsiprep"))
    right = files["bvec"].read_bytes()
    vectors = np.loadtxt(files["bvec"])
    assert gather_sources(heads["qsiprep"], GivenFiles()).found.notices == ()
    try:
        np.savetxt(files["bvec"], vectors * [[-1], [1], [1]])
        sources = gather_sources(heads["qsiprep"], GivenFiles())
    finally:
        files["bvec"].write_bytes(right)
    assert (sources.scan.bval, sources.scan.bvec) == (files["table"], None)
    assert any("degrees" in notice for notice in sources.found.notices)


def test_sessions_have_results_apart(heads, results, tmp_path):
    subject = results["bids"][0]
    assert subject.root.parts[-2:] == ("sub-01", "ses-1")
    assert subject.connectome("freesurfer-dk-84").name == "sub-01_ses-1_seg-freesurfer-dk-84_connectome.npz"
    assert subject.connectome("freesurfer-dk-84").is_file()
    assert find_subject(subject.root.parents[1]).name == "sub-01_ses-1"
    assert find_subject(subject.root.parent).root.samefile(subject.root)
    with pytest.raises(LayoutError, match="2 sessions"):
        gather_sources(heads["bids"], GivenFiles())


def test_what_is_named_overrides_what_was_found(heads):
    hcp, plain = heads["hcp"], heads["plain"]
    named = GivenFiles(mask=plain / "mask.nii.gz", tissue=plain / "5tt.nii.gz")
    sources = gather_sources(hcp, named)
    assert (sources.scan.mask, sources.tissue) == (named.mask, named.tissue)
    assert sources.regions_from.labels.name == "aparc+aseg.nii.gz"
    named = GivenFiles(labels=plain / "labels.nii.gz", regions=plain / "regions.tsv")
    sources = gather_sources(hcp, named, atlas="mine")
    assert (sources.atlas, sources.regions_from.labels, sources.regions_from.regions) == (
        "mine",
        named.labels,
        named.regions,
    )
    # Another atlas comes through the T1, unless the subject has labels of that name.
    sources = gather_sources(hcp, GivenFiles(), atlas="schaefer-100")
    assert (sources.regions_from.labels, sources.regions_from.t1.name) == (None, "T1w_acpc_dc_restore.nii.gz")
    # Another scan brings its own gradients and mask.
    sources = gather_sources(hcp, GivenFiles(dwi=plain / "dwi.nii.gz"))
    assert (sources.scan.bvec, sources.scan.mask) == (plain / "dwi.bvec", None)
    assert sources.regions_from.labels.name == "aparc+aseg.nii.gz"
    # Labels of the T1 are not mixed with labels of the scan.
    sources = gather_sources(heads["bids"], GivenFiles(labels=plain / "labels.nii.gz"), session="1")
    assert not sources.labels_follow_t1


def test_no_path_needs_a_scan(heads):
    with pytest.raises(OptionError, match="No scan is given"):
        gather_sources(None, GivenFiles())
    with pytest.raises(OptionError, match="Give the path"):
        gather_sources(None, GivenFiles(dwi=heads["plain"] / "dwi.nii.gz"), session="1")


def test_a_dry_run_says_what_would_be_used_and_does_nothing(heads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["run", str(heads["hcp"]), "--dry-run", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["layout"], found["subject"], found["atlas"]) == ("hcp", "head01", "freesurfer-dk-84")
    files = phantom_files(heads["hcp"], preset_options("standard", **COARSE, layout="hcp"))
    for role in ("dwi", "bval", "bvec", "mask", "t1", "labels", "tissue"):
        assert Path(found["files"][role]) == files[role], role
    result = CliRunner().invoke(app, ["run", str(heads["bids"]), "--session", "1", "--dry-run"])
    assert "raw BIDS" in result.stderr
    assert "sub-01_ses-1_T1w" not in result.stderr  # the segmented T1 is taken
    assert list(tmp_path.iterdir()) == []


def test_several_sessions_are_refused_with_commands(heads, tmp_path):
    result = CliRunner().invoke(app, ["run", str(heads["bids"]), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert f"tractome run {heads['bids']} --session 2" in result.stderr
    assert not (tmp_path / "out").exists()
