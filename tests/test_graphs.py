"""Graph files, each read back by the library it is written for."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import wirings

from tractome.errors import OptionError, OutputError, TableError
from tractome.io.exporters import EXPORTERS, Export, export_connectome
from tractome.io.graphs import read_graph, write_graph, write_pyg
from tractome.io.matrices import read_connectome
from tractome.options import EXPORT_FORMATS, ExportOptions
from tractome.stages.export import to_graph

WITHOUT_TORCH = tuple(name for name in EXPORT_FORMATS if name != "pyg")


@pytest.fixture(scope="module")
def connectome():
    return wirings.connectome()


def export(folder, connectome, *formats, **choices):
    options = ExportOptions(formats=formats, **choices)
    return export_connectome(
        Export(folder / "sub-1_seg-test", connectome, to_graph(connectome, options), options, {"Version": "0"})
    )


def test_options_and_table_name_the_same_formats():
    assert set(EXPORT_FORMATS) == set(EXPORTERS)
    assert "pyg" not in ExportOptions().formats, "a plain install has no torch"


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_every_format_writes_the_same_bytes_twice_and_no_pickle(name, connectome, tmp_path):
    one = export(tmp_path / "one", connectome, name)
    two = export(tmp_path / "two", connectome, name)
    assert one and [path.name for path in one] == [path.name for path in two]
    for a, b in zip(one, two, strict=True):
        assert a.read_bytes() == b.read_bytes()
        assert a.name.startswith("sub-1_seg-test_")
        assert b"cnumpy" not in a.read_bytes() and b"\x80\x04\x95" not in a.read_bytes()
    assert sorted((tmp_path / "one").iterdir()) == sorted(one), "nothing else is left behind"


def test_self_connections_are_dropped_by_default_and_kept_on_request(connectome, tmp_path):
    assert np.trace(connectome.matrices["count"]) > 0
    export(tmp_path / "a", connectome, "tsv", "npz")
    export(tmp_path / "b", connectome, "tsv", keep_self_connections=True)
    name = "sub-1_seg-test_stat-count_relmat.tsv"
    assert np.trace(read_connectome(tmp_path / "a" / name).matrices["count"]) == 0
    kept = read_connectome(tmp_path / "b" / name).matrices["count"]
    np.testing.assert_array_equal(kept, connectome.matrices["count"])
    everything = read_connectome(tmp_path / "a" / "sub-1_seg-test_connectome.npz")
    np.testing.assert_array_equal(everything.matrices["count"], connectome.matrices["count"])


def test_graph_reads_back(connectome, tmp_path):
    graph = to_graph(connectome, ExportOptions())
    write_graph(tmp_path / "g.npz", graph)
    back = read_graph(tmp_path / "g.npz")
    for name in ("x", "edge_index", "edge_attr", "pos"):
        assert getattr(back, name).tobytes() == getattr(graph, name).tobytes()
    for name in ("node_names", "node_features", "edge_features", "metadata"):
        assert getattr(back, name) == getattr(graph, name)
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(TableError, match="as a graph"):
        read_graph(tmp_path / "bad.npz")


def test_graphml__networkx(connectome, tmp_path):
    import networkx

    (path,) = export(tmp_path, connectome, "graphml")
    graph, back = to_graph(connectome, ExportOptions()), networkx.read_graphml(path)
    assert not back.is_directed()
    assert tuple(back.nodes) == connectome.regions.names, "names intact, in row order"
    for row, (name, attributes) in enumerate(back.nodes(data=True)):
        assert attributes["row"] == row and attributes["label"] == connectome.regions.labels[row]
        assert attributes["hemisphere"] == connectome.regions.hemispheres[row], name
        found = np.array([attributes[feature] for feature in graph.node_features], np.float32)
        np.testing.assert_array_equal(found, graph.x[row])
    assert back.number_of_edges() * 2 == graph.n_edges
    for (i, j), values in zip(graph.edge_index.T, graph.edge_attr, strict=True):
        attributes = back.edges[graph.node_names[i], graph.node_names[j]]
        found = np.array([attributes[feature] for feature in graph.edge_features], np.float32)
        np.testing.assert_array_equal(found, values)
    assert back.graph["atlas"] == "test-atlas"


def test_nilearn_plots_it(connectome, tmp_path):
    plotting = pytest.importorskip("nilearn.plotting", reason="nilearn cannot plot here")
    import matplotlib.pyplot

    path, table = export(tmp_path, connectome, "nilearn")
    arrays = np.load(path, allow_pickle=False)
    assert str(arrays["frame"]) == "template"
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
        write_pyg(tmp_path / "g.pt", to_graph(connectome, ExportOptions()))
    assert not list(tmp_path.iterdir())


def test_unknown_formats_are_refused(connectome):
    with pytest.raises(OptionError, match="Did you mean 'graphml'"):
        ExportOptions(formats=("grapml",))


@pytest.mark.gnn
def test_pyg__torch_geometric(connectome, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed: make check-gnn")
    data_module = pytest.importorskip("torch_geometric.data", reason="torch_geometric is not installed: make check-gnn")
    graph = to_graph(connectome, ExportOptions())
    (path,) = export(tmp_path, connectome, "pyg")
    data = data_module.Data.from_dict(torch.load(path, weights_only=True))
    data.validate(raise_on_error=True)
    assert data.num_nodes == graph.n_nodes and data.num_edges == graph.n_edges
    assert data.is_undirected() and not data.has_self_loops()
    for name in ("x", "edge_index", "edge_attr", "pos"):
        np.testing.assert_array_equal(getattr(data, name).numpy(), getattr(graph, name))
    assert tuple(data.node_names) == graph.node_names and tuple(data.edge_features) == graph.edge_features
    (again,) = export(tmp_path / "again", connectome, "pyg")
    assert path.read_bytes() == again.read_bytes()


@pytest.mark.gnn
def test_graph_npz__torch_geometric_learns_from_it(connectome, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed: make check-gnn")
    pytest.importorskip("torch_geometric", reason="torch_geometric is not installed: make check-gnn")
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader
    from torch_geometric.nn import GCNConv, global_mean_pool

    path = tmp_path / "g.npz"
    write_graph(path, to_graph(connectome, ExportOptions()))
    data = Data(**{k: torch.from_numpy(v) for k, v in np.load(path).items() if v.dtype.kind in "fi"})
    data.validate(raise_on_error=True)
    batch = next(iter(DataLoader([data, data], batch_size=2)))
    layer = GCNConv(data.num_node_features, 4)
    pooled = global_mean_pool(layer(batch.x, batch.edge_index, batch.edge_attr[:, 0]), batch.batch)
    assert pooled.shape == (2, 4) and torch.isfinite(pooled).all()
    pooled.sum().backward()
    assert torch.isfinite(layer.lin.weight.grad).all()
