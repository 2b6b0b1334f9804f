"""Exports opened by the programs they are for: values compared, names intact. What is not installed is skipped."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess

import exports
import numpy as np
import pytest
import wirings

from tractome.errors import OptionError, OutputError
from tractome.io.regions import read_region_table
from tractome.options import ExportOptions
from tractome.stages.export import to_graph


@pytest.fixture(scope="module")
def connectome():
    return wirings.connectome()


@pytest.fixture(scope="module")
def folder(connectome, tmp_path_factory):
    """Everything that needs no torch, exported once."""
    folder = tmp_path_factory.mktemp("exported")
    exports.export(folder, connectome, "tsv", "csv", "mat", "h5", "edges", "dgl", "tvb")
    return folder


def without_diagonal(matrix, absent=0.0):
    matrix = np.where(np.isnan(matrix), absent, matrix)
    np.fill_diagonal(matrix, absent)
    return matrix


def require_program(name):
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    return program


def test_mat__bctpy(connectome, folder):
    bct = pytest.importorskip("bct", reason="bctpy is not installed")
    from scipy.io import loadmat

    back = loadmat(folder / f"{exports.PREFIX}_connectome.mat")
    assert tuple(str(cell[0]) for cell in back["regions"][:, 0]) == connectome.regions.names
    np.testing.assert_array_equal(back["fa"], without_diagonal(connectome.matrices["fa"]))
    np.testing.assert_allclose(bct.strengths_und(back["count"]), connectome.strength())
    about = json.loads(str(back["about"][0]))
    assert about["measures"]["md"]["unit"] == "mm2/s" and about["metadata"]["self_connections"] == "dropped"


def test_mat__octave(connectome, folder, tmp_path):
    octave = require_program("octave-cli")
    script = tmp_path / "read.m"
    script.write_text(
        f"c = load('{folder}/{exports.PREFIX}_connectome.mat');\n"
        "printf('%s\\n', strsplit(char(c.regions_utf8), \"\\n\"){:});\n"
        'assert(c.regions(2:6), strsplit(char(c.regions_utf8), "\\n")(2:6)\');\n'
        "printf('%.17g\\n', c.fa);\n"
        "a = jsondecode(c.about); printf('%s\\n', a.measures.md.unit);\n",
        encoding="utf-8",
    )
    done = subprocess.run([octave, "--quiet", script], capture_output=True, timeout=60, check=True)
    lines = done.stdout.decode("utf-8").splitlines()
    assert tuple(lines[:6]) == connectome.regions.names
    found = np.array([float(line) for line in lines[6:42]]).reshape(6, 6)
    np.testing.assert_array_equal(found, without_diagonal(connectome.matrices["fa"]))
    assert lines[42] == "mm2/s"


def test_tables__rscript(connectome, folder, tmp_path):
    rscript = require_program("Rscript")
    script = tmp_path / "read.R"
    script.write_text(
        f"p <- '{folder}/{exports.PREFIX}'\n"
        "m <- as.matrix(read.delim(paste0(p, '_stat-fa_relmat.tsv'), row.names=1, check.names=FALSE, na.strings='n/a',"
        " quote='', encoding='UTF-8'))\n"
        "stopifnot(identical(rownames(m), colnames(m)))\n"
        "writeLines(rownames(m), useBytes=TRUE)\n"
        "cat(sprintf('%.17g', m), sep='\\n')\n"
        "n <- as.matrix(read.csv(paste0(p, '_stat-count.csv'), header=FALSE)); cat(sum(n), '\\n')\n"
        "e <- read.csv(paste0(p, '_edges.csv')); v <- read.csv(paste0(p, '_vertices.csv'))\n"
        "stopifnot(all(e$from %in% v$name), all(e$to %in% v$name)); cat(sprintf('%.17g', sum(e$length)), '\\n')\n",
        encoding="utf-8",
    )
    done = subprocess.run([rscript, "--vanilla", script], capture_output=True, timeout=60, check=True)
    lines = done.stdout.decode("utf-8").splitlines()
    assert tuple(lines[:6]) == connectome.regions.names
    found = np.array([float(line.replace("NA", "nan")) for line in lines[6:42]]).reshape(6, 6)
    np.testing.assert_array_equal(found, without_diagonal(connectome.matrices["fa"], np.nan))
    counts = without_diagonal(connectome.matrices["count"])
    assert float(lines[42]) == counts.sum()
    lengths = np.triu(without_diagonal(connectome.matrices["length"]))
    assert float(lines[43]) == pytest.approx(lengths.sum(), rel=1e-12)


def test_edge_table__csv(connectome, folder):
    with (folder / f"{exports.PREFIX}_edges.csv").open(encoding="utf-8", newline="") as file:
        edges = list(csv.DictReader(file))
    row = {name: index for index, name in enumerate(connectome.regions.names)}
    found = np.zeros((6, 6))
    for edge in edges:
        i, j = row[edge["from"]], row[edge["to"]]
        assert found[i, j] == 0 and i < j, "an edge stands once"
        found[i, j] = found[j, i] = float(edge["count"])
        assert float(edge["md"]) == connectome.matrices["md"][i, j]
    np.testing.assert_array_equal(found, without_diagonal(connectome.matrices["count"]))
    with (folder / f"{exports.PREFIX}_vertices.csv").open(encoding="utf-8", newline="") as file:
        vertices = list(csv.DictReader(file))
    assert tuple(each["name"] for each in vertices) == connectome.regions.names
    assert vertices[5]["x_mm"] == "" and float(vertices[5]["volume_mm3"]) == 0
    assert json.loads((folder / f"{exports.PREFIX}_edges.json").read_text())["Measures"]["fa"]["Unit"] == "unitless"


def test_hdf5__h5py(connectome, folder):
    import h5py

    with h5py.File(folder / f"{exports.PREFIX}_connectome.h5") as file:
        assert tuple(file["regions/name"].asstr()) == connectome.regions.names
        np.testing.assert_array_equal(file["regions/label"], connectome.regions.labels)
        assert set(file["matrices"]) == set(connectome.plain_measures)
        for name in connectome.plain_measures:
            matrix = connectome.matrices[name]
            absent = np.nan if connectome.measures[name].is_mean else 0.0
            np.testing.assert_array_equal(file[f"matrices/{name}"], without_diagonal(matrix, absent))
            assert file[f"matrices/{name}"].attrs["unit"] == connectome.measures[name].unit
        np.testing.assert_array_equal(file["nodes/fa"], connectome.node_features["fa"])
        assert json.loads(file.attrs["metadata"])["edge_density"] == "none"


def test_csv__mrtrix(connectome, folder, tmp_path, mrtrix):
    """MRtrix3 reads the matrix (as numbers) and the label file (as a lookup table's number and name)."""
    table = read_region_table(folder / f"{exports.PREFIX}_labels.txt")
    assert table.labels.tolist() == list(range(1, 7))
    matrix = folder / f"{exports.PREFIX}_stat-length.csv"
    for mode in ("upper_triangular", "lower_triangular"):
        out = tmp_path / f"{mode}.csv"
        done = subprocess.run(
            ["connectomeedit", matrix, mode, out, "-quiet"], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        triangle = np.triu if mode.startswith("upper") else np.tril
        expected = triangle(without_diagonal(connectome.matrices["length"]))
        np.testing.assert_allclose(np.loadtxt(out, delimiter=","), expected, rtol=1e-6)


def test_relmat_sidecar_has_the_fields_of_the_bids_proposal(folder):
    sidecar = json.loads((folder / f"{exports.PREFIX}_stat-fa_relmat.json").read_text())
    wanted = {"RelationshipMeasure": "fa", "Weighted": True, "Directed": False, "ValidDiagonal": False}
    assert wanted.items() <= sidecar.items()
    assert sidecar["StorageFormat"] == "Full" and sidecar["NonNegative"] is True and sidecar["AbsentValue"] == "n/a"


def test_tvb__tvb_library(connectome, folder):
    pytest.importorskip("tvb.datatypes.connectivity", reason="tvb-library is not installed")
    from tvb.datatypes.connectivity import Connectivity

    back = Connectivity.from_file(str(folder / f"{exports.PREFIX}_tvb.zip"))
    back.configure()
    np.testing.assert_array_equal(back.weights, without_diagonal(connectome.matrices["count"]))
    np.testing.assert_array_equal(back.tract_lengths, without_diagonal(connectome.matrices["length"]))
    np.testing.assert_array_equal(back.centres, connectome.regions.centroids_mm)
    assert tuple(back.region_labels) == tuple(name.replace(" ", "_") for name in connectome.regions.names)
    assert back.hemispheres.tolist() == [side == "R" for side in connectome.regions.hemispheres]
    assert back.cortical.all()


def test_tvb_members_are_as_its_own_connectivities_have_them(connectome, folder):
    import io
    import zipfile

    with zipfile.ZipFile(folder / f"{exports.PREFIX}_tvb.zip") as archive:
        assert {"weights.txt", "tract_lengths.txt", "centres.txt", "hemispheres.txt"} <= set(archive.namelist())
        weights = np.loadtxt(io.BytesIO(archive.read("weights.txt")))
        lines = archive.read("centres.txt").decode("latin-1").splitlines()
    np.testing.assert_array_equal(weights, without_diagonal(connectome.matrices["count"]))
    assert [len(line.split()) for line in lines] == [4] * 6
    about = json.loads((folder / f"{exports.PREFIX}_tvb.json").read_text())
    assert about["TractLengths"].startswith("mean length") and about["CentresFrame"] == "template"
    assert tuple(about["RegionNames"]) == connectome.regions.names


def test_tvb_without_lengths_takes_distances_or_says_what_is_missing(connectome, tmp_path):
    import dataclasses
    import io
    import zipfile

    only = {name: {"count": table["count"]} for name, table in vars(connectome).items() if name in MATRIX_TABLES}
    bare = dataclasses.replace(connectome, **only)
    path, about = exports.export(tmp_path, bare, "tvb")
    with zipfile.ZipFile(path) as archive:
        lengths = np.loadtxt(io.BytesIO(archive.read("tract_lengths.txt")))
    i, j = np.argwhere(np.triu(without_diagonal(connectome.matrices["count"])))[0]
    points = connectome.regions.centroids_mm
    assert lengths[i, j] == pytest.approx(np.linalg.norm(points[i] - points[j]))
    assert json.loads(about.read_text())["TractLengths"].startswith("distance of the centroids")
    nowhere = dataclasses.replace(bare.regions, centroids_mm=np.full((6, 3), np.nan))
    with pytest.raises(OutputError, match="Import a matrix of lengths"):
        exports.export(tmp_path / "b", dataclasses.replace(bare, regions=nowhere), "tvb")


MATRIX_TABLES = ("matrices", "measures")


def test_dgl_columns_are_those_of_its_guide(connectome, folder):
    graph = to_graph(connectome, ExportOptions())
    room = folder / f"{exports.PREFIX}_dgl"
    with (room / "nodes.csv").open(newline="") as file:
        nodes = list(csv.DictReader(file))
    with (room / "edges.csv").open(newline="") as file:
        edges = list(csv.DictReader(file))
    assert list(nodes[0])[:3] == ["graph_id", "node_id", "feat"]
    assert list(edges[0])[:4] == ["graph_id", "src_id", "dst_id", "feat"]
    x = np.array([json.loads(node["feat"]) for node in nodes], np.float32)
    np.testing.assert_array_equal(x, graph.x)
    found = np.array([[int(edge["src_id"]), int(edge["dst_id"])] for edge in edges]).T
    np.testing.assert_array_equal(found, graph.edge_index)
    assert "graph_data" not in (room / "meta.yaml").read_text() and not (room / "graphs.csv").exists()
    assert json.loads((room / "names.json").read_text(encoding="utf-8"))["node_names"] == list(graph.node_names)


def test_braingb_layout_has_nan_where_there_is_no_edge(tmp_path):
    """The shapes and the meaning that src/dataset/brain_dataset.py of BrainGB reads; the program is not run."""
    from scipy.io import loadmat

    (path,), given = exports.dataset(tmp_path, "braingb")
    back = loadmat(path)
    per_subject = back["dti"].transpose(2, 1, 0)
    for matrix, graph in zip(per_subject, given.graphs.graphs, strict=True):
        np.testing.assert_array_equal(np.argwhere(~np.isnan(matrix)).T, graph.edge_index)
        np.testing.assert_array_equal(matrix[tuple(graph.edge_index)].astype(np.float32), graph.edge_attr[:, 0])
    assert back["label"].ravel().tolist() == [1, 0, 1, 0]
    assert [str(cell[0]) for cell in back["classes"][:, 0]] == ["a", "b"]
    with pytest.raises(OptionError, match="a class for every subject"):
        exports.dataset(tmp_path, "braingb", labels=("1.5", "2"))


@pytest.mark.parametrize("name", ["tsv", "csv", "mat", "h5", "edges", "graphml", "nilearn", "tvb", "dgl"])
def test_choices_about_edges_reach_every_format(name, connectome, tmp_path):
    plain = exports.export(tmp_path / "plain", connectome, name)
    fewer = exports.export(tmp_path / "fewer", connectome, name, edge_density=0.2)
    assert any(a.read_bytes() != b.read_bytes() for a, b in zip(plain, fewer, strict=True))


def test_the_page_of_formats_has_the_table_of_the_code():
    from pathlib import Path

    from tractome.io.exporters import EXPORTERS

    page = Path(__file__).parents[1] / "docs" / "formats.md"
    if not page.exists():
        pytest.skip("only in a checkout")
    text = page.read_text(encoding="utf-8")
    for name, row in EXPORTERS.items():
        assert f"| `{name}` | {row.reader} | {row.absent} | {row.checked} |" in text
