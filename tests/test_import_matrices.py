"""import: matrices made elsewhere; every misfit has an answer, and what an exporter wrote is read back."""

from __future__ import annotations

import dataclasses
import logging

import exports
import numpy as np
import pytest
import wirings
from hypothesis import given, settings
from hypothesis import strategies as st

from tractome.datatypes.parcellation import RegionTable
from tractome.errors import OptionError, TableError, TractomeError
from tractome.io.importers import IMPORTERS, read_given, read_region_values
from tractome.options import ImportOptions
from tractome.stages.import_matrices import import_matrices

A = np.array([[0, 3, 1], [3, 0, 0], [1, 0, 2.0]])
NAMES = ("a", "b", "c")
TABLE = RegionTable.from_names(NAMES, "abc")
COUNT = ImportOptions(given_measure="count")


def bring(path, table=TABLE, options=COUNT, values=None):
    return import_matrices(read_given(path, options), table, options, values)


def written(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "0,3,1\n3,0,0\n1,0,2\n"),
        ("m.csv", "region,a,b,c\na,0,3,1\nb,3,0,0\nc,1,0,2\n"),
        ("m.tsv", "a\tb\tc\n0\t3\t1\n3\t0\t0\n1\t0\t2\n"),
        ("m.txt", "# tck2connectome\n0 3 1\n0 0 0\n0 0 2\n"),
        ("m.edgelist", "a b 3\na c 1.0\nc c 2\n"),
        ("m.edges", "0 1 3\n0 2 1\n2 2 2\n"),
        ("m.edgelist", "0\t1\t{'weight': 3}\n0\t2\t{'weight': 1.0}\n2\t2\t{'weight': 2}\n"),
        ("m.csv", "from,to,count\na,b,3\na,c,1\nc,c,2\n"),
        ("m.csv", '"source","target","weight"\n"c","a",1\n"b","a",3\n"c","c",2\n'),
        ("m.csv", "a;b;3\na;c;1\nc;c;2\nb;c;0\n"),
        ("m.edgelist", "a b 3\nb a 3\na c 1\nc a 1\nc c 2\n"),
    ],
)
def test_text_of_other_programs(name, text, tmp_path):
    made = bring(written(tmp_path, name, text))
    np.testing.assert_array_equal(made.matrices["count"], A)
    assert made.regions.names == NAMES and made.n_streamlines == 6
    assert made.metadata["imported_from"] == name


@pytest.mark.parametrize(
    ("numbers", "options", "expected"),
    [
        ("1 2 3\n1 4 1\n", "auto", "rows-from-1"),
        ("0 1 3\n0 3 1\n", "auto", "rows-from-0"),
        ("1 2 3\n1 3 1\n", "rows-from-0", "rows-from-0"),
        ("10 11 3\n10 13 1\n", "auto", "labels"),
    ],
)
def test_what_numbers_of_nodes_mean(numbers, options, expected, tmp_path, caplog):
    regions = RegionTable.from_names(["w", "x", "y", "z"], "four")
    if expected == "labels":
        regions = dataclasses.replace(regions, labels=np.arange(10, 14))
    with caplog.at_level(logging.WARNING):
        made = bring(
            written(tmp_path, "m.edges", numbers), regions, ImportOptions(given_measure="count", node_numbers=options)
        )
    assert made.metadata["count_nodes"] == expected
    first = 1 if options == "rows-from-0" else 0
    assert made.matrices["count"][first, first + 1] == 3
    assert (f"taken as {expected}" in caplog.text) == (options == "auto"), "what was taken is said"


@pytest.mark.parametrize("numbers", ["1 2 3\n1 3 1\n", "1 9 3\n"])
def test_numbers_that_can_mean_two_things_or_nothing_are_refused(numbers, tmp_path):
    regions = RegionTable.from_names(["w", "x", "y", "z"], "four")
    with pytest.raises(OptionError, match=r"node_numbers: the nodes of m.edges are numbers"):
        bring(written(tmp_path, "m.edges", numbers), regions)


def test_without_a_table_the_rows_are_those_of_the_file(tmp_path, caplog):
    made = bring(written(tmp_path, "m.edges", "0 1 3\n0 10 1\n"), None)
    assert made.regions.names == tuple(str(number) for number in range(11)) and made.regions.from_image
    assert "the highest one is taken as the last" in caplog.text
    named = bring(written(tmp_path, "n.edges", "b a 3\na c 1\n"), None)
    assert named.regions.names == NAMES and named.regions.from_image
    bare = bring(written(tmp_path, "m.csv", "0 1\n1 0\n"), None)
    assert bare.regions.is_numbered


def test_names_in_another_order_are_put_in_order_and_it_is_said(tmp_path, caplog):
    made = bring(written(tmp_path, "m.csv", "region,c,a,b\nc,2,1,0\na,1,0,3\nb,0,3,0\n"))
    np.testing.assert_array_equal(made.matrices["count"], A)
    assert "another order" in caplog.text


@pytest.mark.parametrize(
    ("how", "expected"), [("mean", 2), ("max", 3), ("min", 1), ("sum", 4), ("upper", 3), ("lower", 1)]
)
def test_asymmetry_is_refused_or_settled_as_said(how, expected, tmp_path):
    path = written(tmp_path, "m.csv", "5,3,2\n1,0,2\n2,2,0\n")
    with pytest.raises(TableError, match=r"not symmetric \(rows 1 and 2: 3 and 1\).*--asymmetry"):
        bring(path)
    made = bring(path, options=ImportOptions(given_measure="count", asymmetry=how))
    matrix = made.matrices["count"]
    assert matrix[0, 1] == matrix[1, 0] == expected and matrix[0, 0] == 5
    assert made.metadata["count_asymmetry"] == f"{how} of the two directions"


def test_a_directed_list_is_not_taken_for_an_undirected_one(tmp_path):
    path = written(tmp_path, "m.edges", "a b 3\nb a 3\na c 1\n")
    with pytest.raises(TableError, match="not symmetric"):
        bring(path)
    made = bring(path, options=ImportOptions(given_measure="fa", asymmetry="max"))
    assert made.matrices["fa"][2, 0] == 1, "of a mean, the direction that has a value"


@pytest.mark.parametrize(("how", "expected"), [("keep", -3), ("zero", 0), ("absolute", 3)])
def test_negative_values_are_refused_or_settled_as_said(how, expected, tmp_path):
    path = written(tmp_path, "m.csv", "0,-3,0\n-3,0,1\n0,1,0\n")
    with pytest.raises(TableError, match=r"2 negative values, down to -3.*--negative"):
        bring(path)
    assert bring(path, options=ImportOptions(given_measure="r", negative=how)).matrices["r"][0, 1] == expected


def test_nan_is_no_value_in_a_mean_and_refused_in_a_sum(tmp_path):
    path = written(tmp_path, "m.csv", "n/a,0.5,nan\n0.5,n/a,0\nnan,0,n/a\n")
    fa = bring(path, options=ImportOptions(given_measure="fa")).matrices["fa"]
    assert np.isnan(fa[0, 2]) and fa[1, 2] == 0, "a 0 beside NaN is a value"
    with pytest.raises(TableError, match=r"5 entries of count without a number.*--missing zero"):
        bring(path)
    made = bring(path, options=ImportOptions(given_measure="count", missing="zero"))
    assert made.matrices["count"][0, 2] == 0 and made.metadata["count_missing"].startswith("5 entries")


def test_zero_in_a_mean_without_any_nan_is_no_value(tmp_path):
    path = written(tmp_path, "m.csv", "0,0.5,0\n0.5,0,0.2\n0,0.2,0\n")
    assert np.isnan(bring(path, options=ImportOptions(given_measure="fa")).matrices["fa"][0, 2])
    kept = bring(path, options=ImportOptions(given_measure="fa", kind="sum")).matrices["fa"]
    assert kept[0, 2] == 0
    listed = bring(written(tmp_path, "m.edges", "a b 0.5\nb c 0\n"), options=ImportOptions(given_measure="fa"))
    assert listed.matrices["fa"][1, 2] == 0 and np.isnan(listed.matrices["fa"][0, 2]), "a list says what it lists"


def test_the_diagonal_is_kept_or_dropped(tmp_path):
    path = written(tmp_path, "m.csv", "0,3,1\n3,0,0\n1,0,2\n")
    assert bring(path).matrices["count"][2, 2] == 2
    dropped = bring(path, options=ImportOptions(given_measure="count", diagonal="drop"))
    assert np.trace(dropped.matrices["count"]) == 0


@pytest.mark.parametrize(
    ("name", "text", "options", "said"),
    [
        ("m.csv", "0,1\n1,0\n", {}, "has 2 rows without names; the region table abc has 3"),
        ("m.csv", "region,a,b\na,0,1\nb,1,0\n", {}, "2 of the 3 regions"),
        ("m.csv", "region,a,b,x\na,0,1,1\nb,1,0,0\nx,1,0,0\n", {}, "lacks.*x"),
        ("m.csv", "0,inf,0\ninf,0,0\n0,0,0\n", {}, "infinite"),
        ("m.csv", "", {}, "is empty"),
        ("m.csv", "from,to,count\n", {}, "no edges"),
        ("m.edges", "a b x\n", {}, "line 1 holds 'x'"),
        ("m.edges", "a b 1\na b 2\n", {}, "edge a - b twice"),
        ("m.edges", "a b 1 2\n", {}, "line 1 has 4 cells"),
        ("m.edges", "a b {'w': 'x'}\n", {}, "no dict of numbers"),
        ("m.edges", "a\n", {}, "line 1 has 1 cells"),
        ("m.csv", "0,3,1\n3,0,0\n1,0,2\n", {"given_measure": None}, "given_measure: nothing says what m.csv holds"),
        ("m.doc", "0", {}, "that end in '.doc' are not read"),
        ("m.graphml", "<no", {}, "as a graph"),
        ("m.mat", "no", {}, "cannot be read as .mat"),
        ("m.npy", "no", {}, "cannot be read as .npy"),
    ],
)
def test_what_does_not_fit_is_refused(name, text, options, said, tmp_path):
    with pytest.raises(TractomeError, match=said):
        bring(written(tmp_path, name, text), options=ImportOptions(**{"given_measure": "count", **options}))


def test_no_file_and_two_of_one_measure(tmp_path):
    with pytest.raises(TableError, match="There is no file"):
        read_given(tmp_path / "none.csv", COUNT)
    given_matrices = read_given(written(tmp_path, "m.csv", "0 1\n1 0\n"), COUNT)
    with pytest.raises(OptionError, match="two matrices hold count"):
        import_matrices(given_matrices * 2, None, COUNT)


@pytest.fixture(scope="module")
def connectome():
    return wirings.connectome()


READ_BACK = {
    "tsv": "stat-fa_relmat.tsv", "csv": "stat-fa.csv", "mat": "connectome.mat", "h5": "connectome.h5",
    "edges": "edges.csv", "graphml": "graph.graphml", "gexf": "graph.gexf", "json": "graph.json",
}  # fmt: skip


@pytest.mark.parametrize("name", READ_BACK)
def test_what_is_exported_is_read_back(name, connectome, tmp_path):
    exports.export(tmp_path, connectome, name)
    made = bring(tmp_path / f"{exports.PREFIX}_{READ_BACK[name]}", connectome.regions, ImportOptions())
    assert made.regions is connectome.regions
    fa = connectome.matrices["fa"].copy()
    np.fill_diagonal(fa, np.nan)
    found = made.matrices["fa"]
    if name in ("graphml", "gexf", "json"):  # which hold float32
        np.testing.assert_allclose(found, fa, rtol=1e-6)
    else:
        np.testing.assert_array_equal(found, fa)
    if name not in ("tsv", "csv"):
        np.testing.assert_array_equal(made.matrices["count"], connectome.matrices["count"] * (1 - np.eye(6)))


def test_a_connectome_of_ours_is_read_whole(connectome, tmp_path):
    exports.export(tmp_path, connectome, "npz")
    made = read_given(tmp_path / f"{exports.PREFIX}_connectome.npz", ImportOptions())
    np.testing.assert_array_equal(made.matrices["fa"], connectome.matrices["fa"])


def save_73(path, **arrays):
    """As MATLAB saves with -v7.3: axes exchanged, a cell of strings as references to arrays of 16-bit numbers."""
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            if isinstance(array, tuple):
                cells = [file.create_dataset(f"#refs#/{k}", data=np.array([list(map(ord, each))], np.uint16).T)
                         for k, each in enumerate(array)]  # fmt: skip
                file.create_dataset(name, data=np.array([[cell.ref for cell in cells]], h5py.ref_dtype))
            else:
                file.create_dataset(name, data=array.T)
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_mat_files(version, tmp_path):
    from scipy.io import savemat
    from scipy.sparse import csc_matrix

    path, directed = tmp_path / "m.mat", np.array([[0, 3, 1], [4, 0, 0], [1, 0, 2.0]])
    names = np.array(NAMES, dtype=object)[:, None]

    def save(**arrays):
        if version == "5":
            savemat(path, {**arrays, "names": names})
        else:
            save_73(path, **arrays, names=NAMES)

    save(SC=A)
    np.testing.assert_array_equal(bring(path).matrices["count"], A)
    assert bring(path, None).regions.names == NAMES
    save(SC=A, FC=2 * A)
    with pytest.raises(OptionError, match=r"variable: .* holds 2 square matrices: (SC, FC|FC, SC)"):
        bring(path)
    made = bring(path, options=ImportOptions(given_measure="count", variable="FC"))
    np.testing.assert_array_equal(made.matrices["count"], 2 * A)
    with pytest.raises(OptionError, match="no square matrix 'X'"):
        bring(path, options=ImportOptions(given_measure="count", variable="X"))
    save(SC=directed)
    upper = bring(path, options=ImportOptions(given_measure="count", asymmetry="upper")).matrices["count"]
    assert upper[1, 0] == 3, "axes are the right way round"
    save(x=np.zeros((3, 3, 2)))
    with pytest.raises(TableError, match=r"no square matrix; it has: x \(3, 3, 2\)"):
        bring(path)
    if version == "5":
        savemat(path, {"SC": csc_matrix(A)})
        np.testing.assert_array_equal(bring(path).matrices["count"], A)


def test_npy_and_npz_of_others_never_unpickle(tmp_path):
    np.save(tmp_path / "m.npy", A)
    np.testing.assert_array_equal(bring(tmp_path / "m.npy").matrices["count"], A)
    np.savez(tmp_path / "m.npz", sc=A)
    np.testing.assert_array_equal(bring(tmp_path / "m.npz").matrices["count"], A)
    np.save(tmp_path / "p.npy", np.array({"a": 1}, dtype=object), allow_pickle=True)
    with pytest.raises(TableError, match=r"cannot be read as \.npy"):
        bring(tmp_path / "p.npy")


def test_networks_of_networkx(tmp_path):
    import networkx

    made = networkx.DiGraph()
    made.add_nodes_from(NAMES)
    made.add_edge("a", "b", weight=3.0)
    networkx.write_graphml(made, tmp_path / "m.graphml")
    with pytest.raises(TableError, match="not symmetric"):
        bring(tmp_path / "m.graphml")
    networkx.write_graphml(made.to_undirected(), tmp_path / "m.graphml")
    assert bring(tmp_path / "m.graphml").matrices["count"][1, 0] == 3
    several = networkx.MultiGraph([("a", "b"), ("a", "b")])
    networkx.write_graphml(several, tmp_path / "m.graphml")
    with pytest.raises(TableError, match="several edges"):
        bring(tmp_path / "m.graphml")
    networkx.write_graphml(networkx.Graph([("a", "b")]), tmp_path / "m.graphml")
    with pytest.raises(TableError, match="no edge with a number"):
        bring(tmp_path / "m.graphml")


@given(st.integers(0, 2**32 - 1), st.permutations(range(5)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_lines_and_of_nodes_changes_nothing(tmp_path_factory, seed, order):
    rng = np.random.default_rng(seed)
    matrix = np.triu(rng.integers(0, 4, (5, 5)))
    names = [f"n{i}" for i in range(5)]
    lines = [f"{names[i]} {names[j]} {matrix[i, j]}" for i, j in np.argwhere(matrix)] or ["n0 n1 0"]
    rng.shuffle(lines)
    path = written(tmp_path_factory.mktemp("lines"), "m.edges", "\n".join(lines))
    table = RegionTable.from_names([names[k] for k in order], "five")
    found = bring(path, table).matrices["count"]
    full = matrix + np.triu(matrix, 1).T
    np.testing.assert_array_equal(found, full[np.ix_(order, order)])


def test_values_of_regions_become_node_features(tmp_path):
    text = (
        ",runno:,N1\n\nROI,name_of,volume_mm3,fa,x_mm,y_mm,z_mm\n"
        "0,out,9,9,9,9,9\n3,q,3.5,0.3,1,2,3\n2,q,2.5,,4,5,6\n1,q,1.5,0.1,7,8,9\n"
    )
    values = read_region_values(written(tmp_path, "v.csv", text))
    made = bring(written(tmp_path, "m.csv", "0,3,1\n3,0,0\n1,0,2\n"), values=values)
    np.testing.assert_array_equal(made.volumes_mm3, [1.5, 2.5, 3.5])
    np.testing.assert_array_equal(made.node_features["fa"], [0.1, np.nan, 0.3])
    np.testing.assert_array_equal(made.centroids_mm[0], [7, 8, 9])
    assert set(made.node_features) == {"fa"}, "text is passed over"
    short = read_region_values(written(tmp_path, "v.csv", "name,fa\na,1\nb,2\n"))
    with pytest.raises(TableError, match="lacks"):
        bring(tmp_path / "m.csv", values=short)
    with pytest.raises(TableError, match="no header"):
        read_region_values(written(tmp_path, "v.csv", "1,2\n3,4\n"))


def test_matrices_of_mrtrix_with_its_labels(shared_data, tmp_path):
    """As MRtrix3 wrote it: no names, only the upper triangle; names from a label file."""
    lut = "".join(f"{k} R{k:02d} region-{k} 10 20 30 255\n" for k in range(1, 85))
    from tractome.io.regions import read_region_table

    table = read_region_table(written(tmp_path, "lut.txt", lut), "lut")
    path = shared_data / "phantom_2mm" / "mrtrix_ifod2_count.csv"
    made = bring(path, table)
    raw = np.loadtxt(path, delimiter="," if "," in path.read_text()[:400] else None)
    np.testing.assert_array_equal(np.triu(made.matrices["count"]), np.triu(np.maximum(raw, raw.T)))
    assert made.regions.names[83] == "region-84"


def test_a_real_mouse_is_read(shared_data, tmp_path):
    import tarfile

    with tarfile.open(shared_data / "mouse_connectomes" / "edgelists.tar.gz") as archive:
        member = next(each for each in archive if "54866" in each.name)
        archive.extract(member, tmp_path, filter="data")
    table = RegionTable.from_names([f"n{k}" for k in range(332)], "mouse")
    made = bring(tmp_path / member.name, table)
    edges = np.loadtxt(tmp_path / member.name)
    count = made.matrices["count"]
    assert np.count_nonzero(np.triu(count, 1)) == len(edges) and np.triu(count).sum() == edges[:, 2].sum()
    i, j, value = edges[1234]
    assert count[int(i), int(j)] == count[int(j), int(i)] == value


def test_every_ending_has_a_reader():
    assert {".csv", ".tsv", ".mat", ".graphml", ".edgelist", ".npz", ".h5"} <= set(IMPORTERS)
