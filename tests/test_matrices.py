"""Matrices as files: what is written is read back, by us and by the programs they are for; bad files are refused."""

from __future__ import annotations

import dataclasses
import json
import zipfile

import numpy as np
import pytest
import wirings
from hypothesis import given, settings
from hypothesis import strategies as st

from tractome.datatypes.parcellation import RegionTable
from tractome.errors import OutputError, TableError, TractomeError
from tractome.io.matrices import matrix_sidecar, read_connectome, write_connectome, write_mat
from tractome.io.matrix_text import read_edges, write_label_text, write_matrix_csv, write_matrix_tsv


@pytest.fixture(scope="module")
def connectome():
    return wirings.connectome()


def write_tsv(path, connectome, name):
    write_matrix_tsv(path, connectome.matrices[name], connectome.regions, matrix_sidecar(connectome, name))


def test_npz_holds_everything(connectome, tmp_path):
    path = tmp_path / "c.npz"
    write_connectome(path, connectome)
    back = read_connectome(path)
    for field in ("labels", "names", "hemispheres", "structures", "networks", "centroids_mm", "atlas", "from_image"):
        np.testing.assert_array_equal(getattr(back.regions, field), getattr(connectome.regions, field))
    for name, matrix in connectome.matrices.items():
        assert back.matrices[name].tobytes() == matrix.tobytes()
    assert list(back.matrices) == list(connectome.matrices)
    assert back.measures == connectome.measures and back.metadata == connectome.metadata
    assert (back.n_streamlines, back.n_unassigned) == (connectome.n_streamlines, connectome.n_unassigned)
    np.testing.assert_array_equal(back.centroids_mm, connectome.centroids_mm)
    np.testing.assert_array_equal(back.volumes_mm3, connectome.volumes_mm3)
    for name, values in connectome.node_features.items():
        np.testing.assert_array_equal(back.node_features[name], values)


def test_npz_is_read_by_numpy_alone_without_pickle(connectome, tmp_path):
    write_connectome(tmp_path / "c.npz", connectome)
    with np.load(tmp_path / "c.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["count"], connectome.matrices["count"])
        assert tuple(arrays["region_names"]) == connectome.regions.names
        assert all(arrays[name].dtype != object for name in arrays.files)
        assert json.loads(str(arrays["description"]))["measures"]["fa"]["unit"] == "unitless"


def test_bytes_are_the_same_at_any_time(connectome, tmp_path, monkeypatch):
    import time

    for name in ("one", "two"):
        write_connectome(tmp_path / f"{name}.npz", connectome)
        write_mat(tmp_path / f"{name}.mat", connectome, connectome.matrices)
        monkeypatch.setattr(time, "asctime", lambda *_: "another day")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert (tmp_path / "one.mat").read_bytes() == (tmp_path / "two.mat").read_bytes()
    assert all(m.date_time == (1980, 1, 1, 0, 0, 0) for m in zipfile.ZipFile(tmp_path / "one.npz").infolist())
    assert b"20" not in (tmp_path / "one.mat").read_bytes()[:116]


@pytest.mark.parametrize("name", ["count", "fa", "length", "density"])
def test_tsv_reads_back_exactly_with_its_meaning(connectome, tmp_path, name):
    path = tmp_path / f"sub-1_stat-{name}_relmat.tsv"
    write_tsv(path, connectome, name)
    back = read_connectome(path)
    np.testing.assert_array_equal(back.matrices[name], connectome.matrices[name])
    assert back.regions.names == connectome.regions.names and back.regions.atlas == "test-atlas"
    assert back.measures[name] == connectome.measures[name]
    assert back.n_unassigned == connectome.n_unassigned
    sidecar = json.loads(path.with_suffix(".json").read_text())
    assert sidecar["Definition"] == connectome.measures[name].definition
    header = path.read_text(encoding="utf-8").splitlines()[0].split("\t")
    assert tuple(header[1:]) == connectome.regions.names


def test_tsv_is_read_by_pandas(connectome, tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    write_tsv(tmp_path / "m.tsv", connectome, "fa")
    frame = pandas.read_csv(tmp_path / "m.tsv", sep="\t", index_col=0, na_values="n/a")
    assert tuple(frame.index) == tuple(frame.columns) == connectome.regions.names
    np.testing.assert_array_equal(frame.to_numpy(), connectome.matrices["fa"])


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_text_keeps_every_bit(tmp_path_factory, seed, n):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(n, n)) * 10.0 ** rng.integers(-20, 20, (n, n))
    matrix = np.triu(matrix) + np.triu(matrix, 1).T
    folder = tmp_path_factory.mktemp("text")
    regions = RegionTable.from_names([f"r {i}" for i in range(n)], "a")
    write_matrix_tsv(folder / "m_count.tsv", matrix, regions, {})
    write_matrix_csv(folder / "m_count.csv", matrix)
    for name in ("m_count.tsv", "m_count.csv"):
        assert read_connectome(folder / name).matrices["count"].tobytes() == matrix.tobytes()


def test_csv_is_mrtrix_style(connectome, tmp_path):
    write_matrix_csv(tmp_path / "x_stat-fa.csv", connectome.matrices["fa"])
    write_label_text(tmp_path / "labels.txt", connectome.regions)
    plain = np.loadtxt(tmp_path / "x_stat-fa.csv", delimiter=",")
    np.testing.assert_array_equal(plain, np.nan_to_num(connectome.matrices["fa"]))
    back = read_connectome(tmp_path / "x_stat-fa.csv")
    assert back.regions.is_numbered and back.measures["fa"].is_mean
    np.testing.assert_array_equal(back.matrices["fa"], connectome.matrices["fa"])
    named = read_connectome(tmp_path / "x_stat-fa.csv", regions=connectome.regions)
    assert named.regions is connectome.regions
    assert (tmp_path / "labels.txt").read_text(encoding="utf-8").splitlines()[0] == f"1 {connectome.regions.names[0]}"


@pytest.mark.parametrize(
    "text",
    [
        "0 3 1\n3 0 0\n1 0 2\n",
        "0,3,1\n3,0,0\n1,0,2\n",
        "0,3,1,\n3,0,0,\n1,0,2,\n",
        "# command_history: tck2connectome\n0 3 1\n0 0 0\n0 0 2\n",
        "0\t3\t1\n3\t0\t0\n1\t0\t2\n\n",
        "\ufeff0,3,1\r\n3,0,0\r\n1,0,2\r\n",
        "  0   3   1 \n 3 0 0 \n 1 0 2 \n",
    ],
)
def test_matrices_of_other_programs(text, tmp_path):
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    made = read_connectome(tmp_path / "m.csv")
    np.testing.assert_array_equal(made.matrices["count"], [[0, 3, 1], [3, 0, 0], [1, 0, 2]])
    assert made.n_streamlines == 6


@pytest.mark.parametrize(
    "text",
    [
        "region,a,b,c\na,0,3,1\nb,3,0,0\nc,1,0,2\n",
        'a,"b",c\n0,3,1\n3,0,0\n1,0,2\n',
        "a,b,c\na,0,3,1\nb,3,0,0\nc,1,0,2\n",
    ],
)
def test_matrices_with_names(text, tmp_path):
    (tmp_path / "m.csv").write_text(text)
    made = read_connectome(tmp_path / "m.csv")
    assert made.regions.names == ("a", "b", "c")
    np.testing.assert_array_equal(made.matrices["count"], [[0, 3, 1], [3, 0, 0], [1, 0, 2]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("0 1\n1 0 0\n", "line 2 has 3 numbers"),
        ("0 1 2\n1 0 2\n", "must be square"),
        ("0 1\n2 0\n", "not symmetric"),
        ("0 inf\ninf 0\n", "infinite"),
        ("0 1\n1 x\n", "line 2 holds 'x'"),
        ("region\ta\tb\na\t0\t1\nc\t1\t0\n", "row 2 is called 'c'"),
        ("a\tb\n", "no numbers"),
        ("region\ta\ta\na\t0\t1\na\t1\t0\n", "distinct"),
    ],
)
def test_bad_text_is_refused(text, said, tmp_path):
    (tmp_path / "m.tsv").write_text(text)
    with pytest.raises(TractomeError, match=said):
        read_connectome(tmp_path / "m.tsv")


def test_files_that_are_not_what_they_should_be(connectome, tmp_path):
    with pytest.raises(TableError, match="does not exist"):
        read_connectome(tmp_path / "none.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(TableError, match="cannot be read as a connectome"):
        read_connectome(tmp_path / "broken.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(TableError, match="cannot be read as a connectome"):
        read_connectome(tmp_path / "other.npz")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(TableError, match="as text"):
        read_connectome(tmp_path / "binary.csv")
    write_tsv(tmp_path / "m.tsv", connectome, "count")
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(TableError, match="not valid JSON"):
        read_connectome(tmp_path / "m.tsv")


def test_a_newer_file_is_refused(connectome, tmp_path, monkeypatch):
    import tractome.io.matrices as matrices

    monkeypatch.setattr(matrices, "FORMAT_VERSION", 99)
    write_connectome(tmp_path / "c.npz", connectome)
    monkeypatch.undo()
    with pytest.raises(TableError, match="newer tractome"):
        read_connectome(tmp_path / "c.npz")


def test_a_table_that_does_not_belong_is_refused(connectome, tmp_path):
    write_tsv(tmp_path / "m.tsv", connectome, "count")
    write_matrix_csv(tmp_path / "m.csv", connectome.matrices["count"])
    (tmp_path / "m.json").unlink()
    reversed_table = RegionTable.from_names(connectome.regions.names[::-1], "other")
    with pytest.raises(TableError, match="another order"):
        read_connectome(tmp_path / "m.tsv", regions=reversed_table)
    with pytest.raises(TableError, match="region table"):
        read_connectome(tmp_path / "m.csv", regions=RegionTable.from_names(list("abc"), "other"))


@pytest.mark.parametrize(
    ("file", "expected"), [("truth_fa.csv", "fa"), ("truth.csv", "count"), ("a_stat-md_b.csv", "md")]
)
def test_the_file_name_says_what_it_holds(file, expected, tmp_path):
    (tmp_path / file).write_text("0 0.5\n0.5 0\n")
    assert list(read_connectome(tmp_path / file).matrices) == [expected]
    assert list(read_connectome(tmp_path / file, measure="rd").matrices) == ["rd"]


def test_names_that_a_table_cannot_hold(connectome, tmp_path):
    bad = RegionTable.from_names(["a\tb", "c", "d", "e", "f", "g"], "x")
    with pytest.raises(TableError, match="tab or a line break"):
        write_matrix_tsv(tmp_path / "m.tsv", connectome.matrices["count"], bad, {})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_said(connectome, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_connectome(tmp_path / "file" / "c.npz", connectome)


def test_a_measure_called_like_a_table_is_refused(connectome, tmp_path):
    taken = dataclasses.replace(
        connectome,
        matrices={"region_names": connectome.matrices["count"]},
        measures={"region_names": connectome.measures["count"]},
    )
    with pytest.raises(TableError, match="another name"):
        write_connectome(tmp_path / "c.npz", taken)


def test_mat_is_read_by_scipy_and_the_brain_connectivity_toolbox(connectome, tmp_path):
    from scipy.io import loadmat

    absent_as_zero = {name: np.nan_to_num(matrix) for name, matrix in connectome.matrices.items()}
    write_mat(tmp_path / "c.mat", connectome, absent_as_zero)
    back = loadmat(tmp_path / "c.mat")
    assert tuple(str(cell[0]) for cell in back["regions"][:, 0]) == connectome.regions.names
    for name, matrix in absent_as_zero.items():
        np.testing.assert_array_equal(back[name], matrix)
    bct = pytest.importorskip("bct", reason="bctpy is not installed")
    weights = back["count"] - np.diag(np.diag(back["count"]))
    np.testing.assert_allclose(bct.strengths_und(weights), connectome.strength())


def test_edges_are_read(tmp_path):
    (tmp_path / "e.tsv").write_text("first\tsecond\na b\tc\n\nd\te\n")
    assert read_edges(tmp_path / "e.tsv") == (("a b", "c"), ("d", "e"))
    (tmp_path / "e.tsv").write_text("first\tsecond\na b c\n")
    with pytest.raises(TableError, match="line 2"):
        read_edges(tmp_path / "e.tsv")
    with pytest.raises(TableError, match="list of edges"):
        read_edges(tmp_path / "none.tsv")


@pytest.mark.parametrize("name", ["truth.csv", "mrtrix_ifod2_count.csv", "mrtrix_ifod2_sift2.csv"])
def test_real_matrices_are_read(shared_data, name):
    made = read_connectome(shared_data / "phantom_2mm" / name)
    assert made.n_regions == 84 and made.matrices["count"].sum() > 0
