"""The whole way on a small phantom: what is made, what is done again, and that the bytes stay the same."""

import dataclasses
import json

import numpy as np
import pytest
from runs import OPTIONS, Heard, contents, do, files_of

from tractome.errors import OptionError, OutputError, SpaceError, TableError, TrackingError
from tractome.options import (
    ConnectOptions,
    ExportOptions,
    FitOptions,
    ParcellateOptions,
    TrackOptions,
)
from tractome.pipeline import (
    LabelSource,
    LogListener,
    connect_subject,
    export_subject,
    fit_subject,
    new_subject,
    old_subject,
    parcellate_subject,
    run_subject,
    summarise_run,
    track_subject,
)


def test_everything_is_made(done, phantom):
    root = done / "sub-01"
    prefix = "connectivity/sub-01_seg-labels"
    for path in (
        *(f"dwi/sub-01_model-tensor_param-{name}_dwimap.nii.gz" for name in ("fa", "md", "ad", "rd", "s0")),
        "dwi/sub-01_model-csd_param-wmfod_dwimap.nii.gz",
        "dwi/sub-01_model-csd_param-wmfod_dwimap.json",
        "tractogram/sub-01_streamlines.trx",
        f"{prefix}_connectome.npz",
        *(f"{prefix}_stat-{name}_relmat.{suffix}" for name in ("count", "fa", "length") for suffix in ("tsv", "json")),
        f"{prefix}_regions.tsv",
        "graph/sub-01_seg-labels_graph.graphml",
        "figures/sub-01_colourfa.png",
        "figures/sub-01_seg-labels_labels.png",
        "figures/sub-01_seg-labels_matrices.png",
        "figures/sub-01_seg-labels_connectome.png",
        "figures/sub-01_streamlines.png",
        "provenance.json",
    ):
        assert (root / path).is_file(), path
    assert json.loads((done / "dataset_description.json").read_text())["GeneratedBy"] == [{"Name": "tractome"}]


def test_the_numbers_agree_with_each_other(done):
    from tractome.io.matrices import read_connectome
    from tractome.io.tractograms import read_streamline_table

    root = done / "sub-01"
    stages = json.loads((root / "provenance.json").read_text())["stages"]
    facts = {name.partition("/")[0]: record["facts"] for name, record in stages.items()}
    connectome = read_connectome(root / "connectivity/sub-01_seg-labels_connectome.npz")
    count = connectome.matrices["count"]
    assert read_streamline_table(root / "tractogram/sub-01_streamlines.trx").n_streamlines == 300
    assert facts["track"]["n_accepted"] == 300 == connectome.n_streamlines
    assert facts["track"]["n_seeds"] == 300 + sum(facts["track"]["rejected"].values())
    assert np.triu(count).sum() + connectome.n_unassigned == 300
    assert facts["connect"]["n_edges"] == np.count_nonzero(np.triu(count, 1))
    assert facts["export"]["n_edges"] == facts["connect"]["n_edges"]
    assert 0 < facts["track"]["mean_fa_white_matter"] < 1


def test_every_output_is_recorded_with_its_hash_and_its_source(done):
    root = done / "sub-01"
    stages = json.loads((root / "provenance.json").read_text())["stages"]
    recorded = {path: value for record in stages.values() for path, value in record["outputs"].items()}
    assert recorded == {path.removeprefix("sub-01/"): value for path, value in contents(done).items() if "/" in path}
    for name, record in stages.items():
        assert record["status"] == "done"
        assert record["seconds"] > 0
        assert record["peak_memory_mb"] > 10
        assert record["circumstances"]["packages"]["numpy"] == np.__version__
        assert record["inputs"].keys() == record["input_paths"].keys() != set(), name


def test_a_second_run_does_nothing_and_says_so(phantom, copy):
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()}
    heard, _ = do(phantom, copy)
    assert heard.done == []
    assert any("nothing was changed" in note for note in heard.notes)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"connect": ConnectOptions(radius_mm=6.0)}, ["connect", "export"]),
        ({"connect": ConnectOptions(assignment="end-voxel")}, ["connect", "export"]),
        ({"export": dataclasses.replace(OPTIONS.export, min_count=5.0)}, ["export"]),
        ({"parcellate": ParcellateOptions(atlas="other-name")}, ["parcellate", "connect", "export"]),
        ({"track": TrackOptions(n_streamlines=200)}, ["track", "connect", "export"]),
        ({"track": TrackOptions(n_streamlines=300, n_threads=1, block_size=77)}, []),
        ({"whole": "tck"}, ["track"]),
        ({"fit": FitOptions(model="csd", lmax=2)}, ["fit", "track", "connect", "export"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_one_changed_option_redoes_what_depends_on_it(phantom, copy, changed, expected):
    options = dataclasses.replace(OPTIONS, **changed)
    heard, _ = do(phantom, copy, options)
    assert heard.done == expected
    # And the way there does not show in the result: the folder of a fresh run with these options has the same bytes.
    if "fit" not in changed and "parcellate" not in changed:
        do(phantom, copy.parent / "fresh", options)
        assert contents(copy) == contents(copy.parent / "fresh")


def test_a_way_back_gives_the_first_bytes(phantom, copy):
    before = contents(copy)
    do(phantom, copy, dataclasses.replace(OPTIONS, export=dataclasses.replace(OPTIONS.export, min_count=5)))
    assert contents(copy) != before
    do(phantom, copy)
    assert contents(copy) == before


def test_formats_add_up_until_the_connectome_changes(phantom, copy):
    before = contents(copy)
    heard = Heard()
    with old_subject(copy, heard) as ledger:
        export_subject(ledger, ExportOptions(formats=("mat",)))
    assert heard.done == [] and contents(copy) == before
    few = ("npz", "graph")
    options = dataclasses.replace(
        OPTIONS, connect=ConnectOptions(radius_mm=6.0), export=ExportOptions(formats=few, min_count=2)
    )
    heard, _ = do(phantom, copy, options)
    stale = [name for name in OPTIONS.export.formats if name not in few]
    assert [note for note in heard.notes if note.endswith(f"is removed: {', '.join(stale)}.")]
    graph = copy / "sub-01/graph"
    assert [path.name for path in graph.iterdir()] == ["sub-01_seg-labels_graph.npz"]
    heard = Heard()
    with old_subject(copy, heard) as ledger:
        record = export_subject(ledger, ExportOptions(formats=("mat",)))
    assert record.facts["formats"] == [*few, "mat"]
    assert sorted(path.name for path in graph.iterdir()) == [
        "sub-01_seg-labels_connectome.mat",
        "sub-01_seg-labels_graph.npz",
    ]
    assert [note for note in heard.notes if "with other options" in note and note.endswith(": npz, graph.")]


def test_a_failed_export_is_not_tried_again_by_the_next(copy, monkeypatch):
    from tractome.io import exporters

    def fail(export):
        raise OutputError("no torch")

    row = dataclasses.replace(exporters.EXPORTERS["pyg"], write=fail, require=None)
    monkeypatch.setitem(exporters.EXPORTERS, "pyg", row)
    with old_subject(copy, LogListener()) as ledger:
        with pytest.raises(OutputError, match="no torch"):
            export_subject(ledger, ExportOptions(formats=("pyg",)))
        record = export_subject(ledger, ExportOptions(formats=("mat",)))
    assert record.facts["formats"] == list(OPTIONS.export.formats)


def test_threads_blocks_and_force_do_not_change_a_byte(phantom, copy):
    before = contents(copy)
    track = dataclasses.replace(OPTIONS.track, n_threads=1, block_size=41)
    heard, _ = do(phantom, copy, dataclasses.replace(OPTIONS, track=track), force=True)
    assert heard.done == ["fit", "parcellate", "track", "connect", "export"]
    assert contents(copy) == before


@pytest.mark.parametrize("victim", ["dwi/*param-fa*.nii.gz", "tractogram/*.trx", "connectivity/*connectome.npz"])
@pytest.mark.parametrize("harm", ["removed", "cut"])
def test_lost_or_damaged_results_are_made_again(phantom, copy, victim, harm):
    before = contents(copy)
    path = next((copy / "sub-01").glob(victim))
    if harm == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100])
    heard, _ = do(phantom, copy)
    # Its own stage, and nothing after it: the bytes came out the same.
    assert len(heard.done) == 1
    assert contents(copy) == before


def test_another_model_takes_the_place_of_the_first(phantom, copy):
    options = dataclasses.replace(OPTIONS, fit=FitOptions(model="tensor", lmax=4))
    heard, records = do(phantom, copy, options)
    assert heard.done == ["fit", "track", "connect", "export"]
    assert records["fit"].facts["model"] == "tensor"
    orientations = sorted(path.name for path in (copy / "sub-01/dwi").glob("*_model-*_param-*od*_dwimap.nii.gz"))
    assert orientations == ["sub-01_model-tensor_param-odf_dwimap.nii.gz"]


def test_two_atlases_live_side_by_side(phantom, copy):
    first = contents(copy)
    other = dataclasses.replace(OPTIONS, parcellate=ParcellateOptions(atlas="second"))
    do(phantom, copy, other)
    both = contents(copy)
    assert first.items() <= both.items()
    heard, _ = do(phantom, copy)
    assert heard.done == []
    with (
        old_subject(copy, LogListener()) as ledger,
        pytest.raises(OptionError, match=r"has 2 parcellations; choose one with --atlas: labels, second"),
    ):
        connect_subject(ledger, ConnectOptions())
    with (
        old_subject(copy, LogListener()) as ledger,
        pytest.raises(OptionError, match=r"'third' was not brought to this subject"),
    ):
        export_subject(ledger, ExportOptions(), atlas="third")


def test_stage_by_stage_gives_the_bytes_of_a_run(phantom, done, tmp_path):
    files, out = files_of(phantom), tmp_path / "out"
    with new_subject(out, files.scan.dwi, None, LogListener()) as ledger:
        fit_subject(ledger, files.scan, OPTIONS.read, OPTIONS.fit)
    with old_subject(out / "sub-01", LogListener()) as ledger:
        parcellate_subject(ledger, OPTIONS.parcellate, files.regions_from)
        track_subject(ledger, OPTIONS.track, files.tracking)
    with old_subject(out, LogListener()) as ledger:
        connect_subject(ledger, OPTIONS.connect)
        export_subject(ledger, OPTIONS.export)
    assert contents(out) == contents(done)


def test_a_stage_waits_for_the_one_before(phantom, tmp_path):
    files, out = files_of(phantom), tmp_path / "out"
    with new_subject(out, files.scan.dwi, None, LogListener()) as ledger:
        with pytest.raises(TableError, match=r"fit was not run .* Run `tractome fit` first"):
            track_subject(ledger, OPTIONS.track)
        with pytest.raises(TableError, match=r"parcellate was not run"):
            connect_subject(ledger, OPTIONS.connect)


def test_labels_without_a_table_are_named_by_number(phantom, copy):
    source = LabelSource(labels=phantom / "labels.nii.gz")
    heard, records = do(phantom, copy, regions_from=source)
    assert records["parcellate"].facts["from_image"]
    assert heard.done == ["parcellate", "connect", "export"]
    from tractome.io.matrices import read_connectome

    connectome = read_connectome(copy / "sub-01/connectivity/sub-01_seg-labels_connectome.npz")
    assert connectome.regions.from_image
    assert connectome.regions.names[0] == "region-0001"


def test_labels_elsewhere_are_refused_and_leave_nothing(phantom, tmp_path):
    from tractome.datatypes.grid import Grid
    from tractome.io.images import read_labels, write_volume

    labels, grid = read_labels(phantom / "labels.nii.gz")
    affine = grid.affine.copy()
    affine[0, 3] += 500.0
    write_volume(tmp_path / "far.nii.gz", labels, Grid(grid.shape, affine))
    with pytest.raises(SpaceError, match="do not lie where the DWI is"):
        do(phantom, tmp_path / "out", regions_from=LabelSource(labels=tmp_path / "far.nii.gz"))
    assert not list((tmp_path / "out").rglob("*_dseg.*"))
    # Put right, it goes on from there.
    heard, _ = do(phantom, tmp_path / "out")
    assert heard.done == ["parcellate", "track", "connect", "export"]


def test_no_accepted_streamline_is_explained(phantom, copy):
    options = dataclasses.replace(OPTIONS, track=TrackOptions(n_seeds=50, n_streamlines=None, min_length_mm=240.0))
    with pytest.raises(TrackingError, match=r"too short") as caught:
        do(phantom, copy, options)
    assert "50" in str(caught.value)
    # The tractogram of the earlier run is no result of these options; the run goes on when they are put right.
    heard, _ = do(phantom, copy)
    assert heard.done == ["track"]


def test_the_summary_is_complete(phantom, copy):
    from tractome_cli.tables import file_rows, run_rows, stage_rows

    heard = Heard()
    files = files_of(phantom)
    with new_subject(copy, files.scan.dwi, None, heard) as ledger:
        summary = summarise_run(ledger.subject, run_subject(ledger, files, OPTIONS))
    assert json.loads(json.dumps(summary))["subject"] == "sub-01"
    rows = dict(run_rows(summary))
    for row in ("brain volume", "mean FA in white matter", "streamlines accepted", "edges", "unassigned streamlines"):
        assert rows[row]
    assert [row[0] for row in stage_rows(summary)] == ["fit", "parcellate", "track", "connect", "export", "all"]
    for _, path in file_rows(summary):
        assert (copy / "sub-01" / path.partition(" and ")[0]).is_file()
