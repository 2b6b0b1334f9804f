"""Many subjects: imported, exported and put together as the commands do it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import exports
import numpy as np
import pytest
from test_cli import run_cli

from tractome.errors import OptionError, OutputError, TableError
from tractome.io.graphs import read_graph_set
from tractome.io.matrices import read_connectome, write_connectome
from tractome.io.participants import read_participants
from tractome.options import DatasetOptions, ImportOptions
from tractome.pipeline import (
    MatrixFiles,
    Target,
    files_by_subject,
    find_cohort,
    import_subject,
    make_dataset,
    new_subject,
    old_subject,
)
from tractome.pipeline.listener import LogListener

LABELS = ("31", "32", "33", "34")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Four imported subjects: two measures each, in files of their own, with values of the regions."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("imported") / "out"
    connectomes = exports.cohort(4)
    regions = source / "lut.tsv"
    lines = [f"{label}\t{name}" for label, name in zip(*table(connectomes[0]), strict=True)]
    regions.write_text("label\tname\n" + "\n".join(lines) + "\n", encoding="utf-8")
    for label, each in zip(LABELS, connectomes, strict=True):
        for name in ("count", "fa"):
            np.savetxt(source / f"sub-{label}_{name}.csv", np.nan_to_num(each.matrices[name]), delimiter=",")
        values = "".join(f"{row},{row / 7}\n" for row in each.regions.labels)
        (source / f"values-{label}.csv").write_text(f"label,thickness\n{values}")
    given = files_by_subject(sorted(source.glob("sub-*.csv")), None, regions, str(source / "values-{subject}.csv"))
    for label, files in given.items():
        with new_subject(out, files.matrices[0], label, LogListener()) as ledger:
            import_subject(ledger, files, ImportOptions())
    participants = out / "participants.tsv"
    participants.write_text("participant_id\tgroup\tage\n" + "".join(
        f"sub-{label}\t{'ab'[k % 2]}\t{30 + k}\n" for k, label in enumerate(LABELS)))  # fmt: skip
    return out


def table(connectome):
    return connectome.regions.labels.tolist(), connectome.regions.names


def test_imported_subjects_hold_what_was_given(results):
    for label, each in zip(LABELS, exports.cohort(4), strict=True):
        found = read_connectome(results / f"sub-{label}/connectivity/sub-{label}_seg-lut_connectome.npz")
        np.testing.assert_array_equal(found.matrices["count"], each.matrices["count"])
        np.testing.assert_array_equal(found.matrices["fa"], each.matrices["fa"])
        assert found.regions.names == each.regions.names and found.regions.atlas == "lut"
        np.testing.assert_allclose(found.node_features["thickness"], each.regions.labels / 7)
        assert (results / f"sub-{label}/figures/sub-{label}_seg-lut_matrices.png").stat().st_size > 1000


def test_what_was_imported_is_not_imported_again(results):
    source = results.parent.parent / "none"
    with old_subject(results / "sub-31", LogListener()) as ledger:
        record = ledger.records()["connect/lut"]
        files = MatrixFiles(
            tuple(Path(path) for role, path in sorted(record.input_paths.items()) if role.startswith("matrix")),
            Path(record.input_paths["regions"]),
            Path(record.input_paths["region_values"]),
        )
        import_subject(ledger, files, ImportOptions())
        assert ledger.n_done == 0
        gone = dataclasses.replace(files, values=source)
        with pytest.raises(OptionError, match="There is no file"):
            import_subject(ledger, gone, ImportOptions())


def test_what_was_tracked_is_not_replaced_by_what_is_imported(results, copy):
    source = find_cohort([results], None)["31"]
    with new_subject(copy, source, "99", LogListener()) as ledger:
        import_subject(ledger, MatrixFiles((source,)), ImportOptions())
    with old_subject(copy / "sub-01", LogListener()) as ledger:
        atlas = next(name for name in ledger.records() if name.startswith("connect/")).removeprefix("connect/")
        with pytest.raises(OutputError, match=f"matrices of {atlas} made from its own streamlines"):
            import_subject(ledger, MatrixFiles((source,)), ImportOptions(), atlas=atlas)


@pytest.mark.parametrize("verb", ["export", "compare"])
def test_later_verbs_work_on_imported_subjects(verb, results, tmp_path):
    one, other = results / "sub-31", results / "sub-32"
    words = ["export", one, "--formats", "graphml,edges"] if verb == "export" else ["compare", one, other, "--json"]
    code, said, complaint = run_cli(*words)
    assert code == 0, complaint
    if verb == "export":
        assert (one / "graph/sub-31_seg-lut_graph.graphml").exists()
    else:
        assert json.loads(said)["n_regions"] == 6


def test_a_data_set_has_one_graph_per_subject_and_its_label(results, tmp_path):
    code, said, complaint = run_cli(
        "dataset", results, "--participants", results / "participants.tsv", "--target", "group",
        "--node-features", "thickness,strength", "--formats", "graph,dgl", "--out", tmp_path / "set",
    )  # fmt: skip
    assert code == 0, complaint
    assert "4 graphs of 6 nodes" in said and "a 2, b 2" in said
    back = read_graph_set(tmp_path / "set" / "lut_dataset.npz")
    assert back.subjects == LABELS and back.y.tolist() == [0, 1, 0, 1] and back.classes == ("a", "b")
    assert back.graphs[0].node_features == ("thickness", "strength")
    about = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert about["Target"] == "group" and about["Options"]["min_count"] == 1
    code, _, complaint = run_cli("dataset", results, "--out", tmp_path / "set")
    assert code == 2 and "--force" in complaint, "an earlier data set is not replaced unasked"
    code, _, complaint = run_cli("dataset", results, "--node-features", "foo", "--out", tmp_path / "other")
    assert code == 2 and "--node-features: 'foo' is not there" in complaint and not (tmp_path / "other").exists()


def test_a_wrong_feature_is_named_by_its_option(results):
    code, _, complaint = run_cli("export", results / "sub-33", "--node-features", "strenght")
    assert code == 2 and "--node-features: 'strenght' is not there" in complaint and "'strength'" in complaint


def test_numbers_to_learn_stay_numbers_and_braingb_wants_classes(results, tmp_path):
    target = Target(results / "participants.tsv", "age")
    about = make_dataset([results], tmp_path / "set", DatasetOptions(), target=target)
    assert about["Classes"] == []
    assert read_graph_set(tmp_path / "set" / "lut_dataset.npz").y.tolist() == [30, 31, 32, 33]
    with pytest.raises(OptionError, match="needs labels"):
        make_dataset([results], tmp_path / "b", DatasetOptions(set_formats=("braingb",)))


def test_subjects_that_do_not_belong_together_are_refused(results, tmp_path):
    with pytest.raises(OutputError, match="holds no connectome"):
        find_cohort([tmp_path], None)
    with pytest.raises(OptionError, match="two connectomes of 31"):
        find_cohort([results / "sub-31", results], None)
    with pytest.raises(OptionError, match="Name it once"):
        find_cohort([results, results], None)
    first = exports.cohort(1)[0]
    other = dataclasses.replace(first.regions, names=("x", *first.regions.names[1:]))
    write_connectome(tmp_path / "sub-9.npz", dataclasses.replace(first, regions=other))
    with pytest.raises(TableError, match="regions of 9 are not those of 31"):
        make_dataset([results / "sub-31", tmp_path / "sub-9.npz"], tmp_path / "set", DatasetOptions())
    assert not (tmp_path / "set").exists()


def test_tables_of_participants(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("participant_id,sex\nsub-1,F\n2,n/a\n")
    assert read_participants(path, "sex", ["1"]) == ("F",)
    for subjects, column, said in ((["1", "2"], "sex", "no sex for 2"), (["1"], "age", "no column 'age'")):
        with pytest.raises(TableError, match=said):
            read_participants(path, column, subjects)
    path.write_text("participant_id,sex\nsub-1,F\n1,M\n")
    with pytest.raises(TableError, match="two lines for 1"):
        read_participants(path, "sex", ["1"])


def test_one_table_of_values_for_many_subjects_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"--region-values .* is one table"):
        files_by_subject([tmp_path / "sub-1.csv", tmp_path / "sub-2.csv"], None, None, "values.csv")


def test_what_cannot_be_imported_leaves_no_folder(tmp_path):
    np.savetxt(tmp_path / "sub-1_count.csv", np.ones((3, 3)), delimiter=",")
    out = tmp_path / "out"
    for wrong in (
        (tmp_path / "sub-1_count.csv", tmp_path / "sub-2_count.csv"),
        (tmp_path / "sub-1_count.csv", "--regions", tmp_path / "no.tsv"),
        (tmp_path / "sub-1_count.csv", "--atlas", "a_b"),
    ):
        code, _, complaint = run_cli("import", *wrong, "--out", out)
        assert code == 2 and complaint.count("error:") == 1 and not out.exists()


def test_a_region_table_of_any_name_names_the_regions(tmp_path):
    np.savetxt(tmp_path / "sub-1_count.csv", np.ones((2, 2)), delimiter=",")
    (tmp_path / "node_labels.v2.txt").write_text("1\tone\n2\ttwo\n")
    out = tmp_path / "out"
    code, *_ = run_cli(
        "import", tmp_path / "sub-1_count.csv", "--regions", tmp_path / "node_labels.v2.txt", "--out", out
    )
    assert code == 0
    made = out / "sub-1" / "connectivity" / "sub-1_seg-node-labels_connectome.npz"
    assert read_connectome(made).regions.names == ("one", "two")


@pytest.mark.parametrize(("wanted", "says"), [("tvb", "The Virtual Brain needs"), ("nilearn", "place of any")])
def test_a_format_that_cannot_be_written_stops_before_the_first_file(results, wanted, says):
    before = sorted(path for path in results.rglob("*") if path.is_file())
    code, _, complaint = run_cli("export", results / "sub-34", "--formats", f"tsv,h5,{wanted}")
    assert code == 2 and says in complaint
    assert sorted(path for path in results.rglob("*") if path.is_file()) == before


def test_an_imported_subject_without_lengths_is_analysed(results, tmp_path):
    from matplotlib.image import imread

    code, *_ = run_cli("analyze", results / "sub-31", "--nulls", "2", "--partitions", "4", "--out", tmp_path / "a")
    assert code == 0
    names = {path.name.removeprefix("sub-31_seg-lut_") for path in (tmp_path / "a").iterdir()}
    assert {"analysis.json", "regions.tsv", "curve-rich_club.tsv", "curve-spread.tsv", "spread.png"} <= names
    assert "curve-robustness.tsv" not in names, "lengths are not known"
    curves, spread = (imread(tmp_path / "a" / f"sub-31_seg-lut_{name}.png") for name in ("curves", "spread"))
    assert curves.shape[1] < 1.5 * curves.shape[0], "one panel"
    lower = spread[spread.shape[0] // 2 :, ..., :3]
    assert np.ptp(lower.reshape(-1, 3), axis=0).any(), "no empty half"
    code, *_ = run_cli("analyze", results / "sub-31", "--nulls", "0", "--partitions", "4", "--out", tmp_path / "a")
    assert code == 0 and not (tmp_path / "a" / "sub-31_seg-lut_curves.png").exists()
    code, _, complaint = run_cli("analyze", results / "sub-99")
    assert code == 2 and "There is no" in complaint


def test_a_group_becomes_a_subject_to_be_exported(results, tmp_path):
    assert run_cli("group", results, "--out", tmp_path / "group")[0] == 0
    made = tmp_path / "group" / "group_seg-lut_connectome.npz"
    code, _, complaint = run_cli("export", made, "--formats", "graphml")
    assert code == 2 and "tractome import" in complaint
    assert run_cli("import", made, "--subject", "group", "--out", tmp_path / "as")[0] == 0
    assert run_cli("export", tmp_path / "as" / "sub-group", "--formats", "graphml")[0] == 0
    assert (tmp_path / "as" / "sub-group" / "graph" / "sub-group_seg-lut_graph.graphml").exists()


@pytest.mark.parametrize("name", ["sub-1_count.npz", "sub-1_count.npy", "sub-1_count.mat", "sub-1_count.csv"])
def test_garbage_is_one_message(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x00\x01garbage")
    code, _, complaint = run_cli("import", tmp_path / name, "--out", tmp_path / "out")
    assert code == 2 and complaint.count("error:") == 1 and "allow_pickle" not in complaint


def test_a_list_of_edges_is_what_its_name_says(tmp_path):
    (tmp_path / "sub-1_count.edgelist").write_text("a b 3\nb c 2\n")
    assert run_cli("import", tmp_path / "sub-1_count.edgelist", "--out", tmp_path / "out")[0] == 0
    made = read_connectome(tmp_path / "out/sub-1/connectivity/sub-1_seg-imported_connectome.npz")
    assert made.matrices["count"].sum() == 10


def test_nothing_in_common_is_said_without_numbers(tmp_path):
    np.savetxt(tmp_path / "sub-1_count.csv", np.zeros((3, 3)), delimiter=",")
    code, shown, _ = run_cli("compare", tmp_path / "sub-1_count.csv", tmp_path / "sub-1_count.csv")
    assert code == 0 and "no edge in both" in shown and "nan" not in shown
