"""Graph files, each read back by the library it is written for."""

from __future__ import annotations

import builtins
import json

import exports
import numpy as np
import pytest
import wirings

from tractome.errors import OptionError, OutputError, TableError
from tractome.io.export.torch_files import write_pyg_graph
from tractome.io.exporters import EXPORTERS, export_connectome
from tractome.io.graphs import read_graph, read_graph_set, write_graph
from tractome.io.matrices import read_connectome
from tractome.options import DATASET_FORMATS, EXPORT_FORMATS, DatasetOptions, ExportOptions
from tractome.stages.export import to_graph, to_graphs

WITHOUT_TORCH = tuple(name for name in EXPORT_FORMATS if name != "pyg")
SETS_WITHOUT_TORCH = tuple(name for name in DATASET_FORMATS if name != "pyg")


@pytest.fixture(scope="module")
def connectome():
    return wirings.connectome()


def test_options_and_table_name_the_same_formats():
    assert set(EXPORT_FORMATS) == {name for name, row in EXPORTERS.items() if row.write is not None}
    assert set(DATASET_FORMATS) == {name for name, row in EXPORTERS.items() if row.write_set is not None}
    assert "pyg" not in (*ExportOptions().formats, *DatasetOptions().set_formats), "a plain install has no torch"
    assert all(row.reader and row.absent and row.checked for row in EXPORTERS.values())


def require_same_and_no_pickle(one, two):
    assert one and [path.name for path in one] == [path.name for path in two]
    for a, b in zip(one, two, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name
        assert b"cnumpy" not in a.read_bytes() and b"\x80\x04\x95" not in a.read_bytes()


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_every_format_writes_the_same_bytes_twice_and_no_pickle(name, connectome, tmp_path):
    one = exports.export(tmp_path / "one", connectome, name)
    require_same_and_no_pickle(one, exports.export(tmp_path / "two", connectome, name))
    found = sorted(path for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert found == sorted(one), "nothing else is left behind"
    assert all(path.relative_to(tmp_path / "one").parts[0].startswith(exports.PREFIX) for path in found)


@pytest.mark.parametrize("name", SETS_WITHOUT_TORCH)
def test_every_set_format_writes_the_same_bytes_twice_and_no_pickle(name, tmp_path):
    one, _ = exports.dataset(tmp_path / "one", name)
    two, _ = exports.dataset(tmp_path / "two", name)
    require_same_and_no_pickle(one, two)


def test_self_connections_are_dropped_by_default_and_kept_on_request(connectome, tmp_path):
    assert np.trace(connectome.matrices["count"]) > 0
    exports.export(tmp_path / "a", connectome, "tsv", "npz")
    exports.export(tmp_path / "b", connectome, "tsv", keep_self_connections=True)
    name = f"{exports.PREFIX}_stat-count_relmat.tsv"
    assert np.trace(read_connectome(tmp_path / "a" / name).matrices["count"]) == 0
    kept = read_connectome(tmp_path / "b" / name).matrices["count"]
    np.testing.assert_array_equal(kept, connectome.matrices["count"])
    everything = read_connectome(tmp_path / "a" / f"{exports.PREFIX}_connectome.npz")
    np.testing.assert_array_equal(everything.matrices["count"], connectome.matrices["count"])


def test_graph_reads_back(connectome, tmp_path):
    graph = to_graph(connectome, ExportOptions())
    write_graph(tmp_path / "g.npz", graph)
    require_same_graph(read_graph(tmp_path / "g.npz"), graph)
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(TableError, match="as a graph"):
        read_graph(tmp_path / "bad.npz")


def require_same_graph(back, graph):
    for name in ("x", "edge_index", "edge_attr", "pos"):
        assert getattr(back, name).tobytes() == getattr(graph, name).tobytes()
    for name in ("node_names", "node_features", "edge_features", "metadata"):
        assert getattr(back, name) == getattr(graph, name)


def test_a_set_reads_back_with_labels_numbered_by_name(tmp_path):
    (path,), given = exports.dataset(tmp_path, "graph")
    back = read_graph_set(path)
    assert back.subjects == ("sub-0", "sub-1", "sub-2", "sub-3") and back.classes == ("a", "b")
    assert back.y.tolist() == [1, 0, 1, 0]
    for one, other in zip(back.graphs, given.graphs.graphs, strict=True):
        require_same_graph(one, other)


def test_labels_that_are_numbers_stay_numbers():
    made = to_graphs(exports.cohort(2), ("x", "y"), ("31.5", "60"), DatasetOptions())
    assert made.classes == () and made.y.tolist() == [31.5, 60.0]
    assert to_graphs(exports.cohort(2), ("x", "y"), None, DatasetOptions()).y is None


def test_graphs_of_other_regions_or_one_name_do_not_make_a_set():
    first = wirings.connectome()
    other = exports.cohort(2)[1]
    import dataclasses

    renamed = dataclasses.replace(other.regions, names=("x", *other.regions.names[1:]))
    with pytest.raises(TableError, match="sub-2 has other node names than sub-1"):
        to_graphs(
            (first, dataclasses.replace(other, regions=renamed)), ("sub-1", "sub-2"), ("a", "b"), DatasetOptions()
        )
    with pytest.raises(TableError, match="a subject of its own"):
        to_graphs((first, other), ("sub-1", "sub-1"), ("a", "b"), DatasetOptions())


def read_network(name, path):
    import networkx

    if name == "graphml":
        return networkx.read_graphml(path)
    if name == "gexf":
        return networkx.read_gexf(path)
    return networkx.node_link_graph(json.loads(path.read_text(encoding="utf-8")), edges="edges")


@pytest.mark.parametrize("name", ["graphml", "gexf", "json"])
def test_networks__networkx(name, connectome, tmp_path):
    (path,) = exports.export(tmp_path, connectome, name)
    graph, back = to_graph(connectome, ExportOptions()), read_network(name, path)
    assert not back.is_directed() and not back.is_multigraph()
    assert tuple(back.nodes) == connectome.regions.names, "names intact, in row order"
    for row, (region, attributes) in enumerate(back.nodes(data=True)):
        assert attributes["row"] == row
        assert attributes["label_value" if name == "gexf" else "label"] == connectome.regions.labels[row]
        assert attributes["hemisphere"] == connectome.regions.hemispheres[row], region
        found = np.array([attributes[feature] for feature in graph.node_features], np.float32)
        np.testing.assert_array_equal(found, graph.x[row])
    assert back.number_of_edges() * 2 == graph.n_edges
    for (i, j), values in zip(graph.edge_index.T, graph.edge_attr, strict=True):
        attributes = back.edges[graph.node_names[i], graph.node_names[j]]
        found = np.array([attributes[feature] for feature in graph.edge_features], np.float32)
        np.testing.assert_array_equal(found, values)
        assert attributes["weight"] == attributes["count"]
    if name != "gexf":  # which has no attributes of the whole graph
        assert back.graph["atlas"] == "test-atlas" and back.graph["edge_transform"] == "none"


def test_gexf_holds_where_gephi_draws_a_node(connectome, tmp_path):
    (path,) = exports.export(tmp_path, connectome, "gexf")
    back = read_network("gexf", path)
    for row, (_, attributes) in enumerate(back.nodes(data=True)):
        found = [attributes["viz"]["position"][axis] for axis in "xyz"]
        np.testing.assert_allclose(found, np.nan_to_num(connectome.centroids_mm[row]), rtol=1e-6)
    assert b"lastmodifieddate" not in path.read_bytes()


def test_nilearn_plots_it(connectome, tmp_path):
    plotting = pytest.importorskip("nilearn.plotting", reason="nilearn cannot plot here")
    import matplotlib.pyplot

    path, table = exports.export(tmp_path, connectome, "nilearn", edge_normalisation="max")
    arrays = np.load(path, allow_pickle=False)
    assert str(arrays["frame"]) == "template"
    assert json.loads(str(arrays["about"]))["Unit"] == "unitless" and arrays["adjacency_matrix"].max() == 1
    np.testing.assert_array_equal(arrays["node_coords"], connectome.regions.centroids_mm)
    display = plotting.plot_connectome(arrays["adjacency_matrix"], arrays["node_coords"])
    display.savefig(tmp_path / "plot.png")
    matplotlib.pyplot.close("all")
    assert (tmp_path / "plot.png").stat().st_size > 1000
    assert table.read_text(encoding="utf-8").splitlines()[1].split("\t")[0] == connectome.regions.names[0]


def test_without_torch_pyg_says_what_to_do(connectome, tmp_path, monkeypatch):
    real_import = builtins.__import__

    def no_torch(name, *args, **kwargs):
        if name.split(".")[0] == "torch":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_torch)
    with pytest.raises(OutputError, match=r"tractome\[gnn\].*format graph"):
        write_pyg_graph(tmp_path / "g.pt", to_graph(connectome, ExportOptions()))
    with pytest.raises(OutputError, match=r"tractome\[gnn\].*format graph"):
        exports.dataset(tmp_path, "pyg")
    assert not list(tmp_path.iterdir())


def test_unknown_formats_are_refused(tmp_path):
    with pytest.raises(OptionError, match="Did you mean 'graphml'"):
        ExportOptions(formats=("grapml",))
    with pytest.raises(OptionError, match="'braingb' is not known; choose among: npz, tsv"):
        export_connectome(exports.as_set(tmp_path), ["braingb"])
