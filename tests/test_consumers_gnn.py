"""Exports opened by graph learning libraries (make check-gnn); torch is no dependency."""

from __future__ import annotations

import exports
import numpy as np
import pytest
import wirings

from tractome.io.graphs import write_graph
from tractome.options import ExportOptions
from tractome.stages.export import to_graph

pytestmark = pytest.mark.gnn
WHY = "is not installed: make check-gnn"


@pytest.fixture(scope="module")
def connectome():
    return wirings.connectome()


@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("torch_geometric", reason=f"torch_geometric {WHY}")
    return pytest.importorskip("torch", reason=f"torch {WHY}")


def test_pyg__torch_geometric(connectome, tmp_path, torch):
    from torch_geometric.data import Data

    graph = to_graph(connectome, ExportOptions())
    (path,) = exports.export(tmp_path, connectome, "pyg")
    data = Data.from_dict(torch.load(path, weights_only=True))
    data.validate(raise_on_error=True)
    assert data.num_nodes == graph.n_nodes and data.num_edges == graph.n_edges
    assert data.is_undirected() and not data.has_self_loops()
    for name in ("x", "edge_index", "edge_attr", "pos"):
        np.testing.assert_array_equal(getattr(data, name).numpy(), getattr(graph, name))
    assert tuple(data.node_names) == graph.node_names and tuple(data.edge_features) == graph.edge_features
    (again,) = exports.export(tmp_path / "again", connectome, "pyg")
    assert path.read_bytes() == again.read_bytes()


def test_pyg_set__in_memory_dataset(tmp_path, torch):
    from torch_geometric.data import InMemoryDataset

    (path,), given = exports.dataset(tmp_path, "pyg")
    content, slices = torch.load(path, weights_only=True)
    assert set(slices) == {"x", "pos", "edge_index", "edge_attr", "y"}
    dataset = InMemoryDataset()
    dataset.load(str(path))
    assert len(dataset) == 4 and dataset.num_classes == 2
    for data, graph, label in zip(dataset, given.graphs.graphs, given.graphs.y, strict=True):
        data.validate(raise_on_error=True)
        for name in ("x", "edge_index", "edge_attr", "pos"):
            np.testing.assert_array_equal(getattr(data, name).numpy(), getattr(graph, name))
        assert data.y.item() == label
    assert content["classes"] == ["a", "b"] and tuple(content["node_names"]) == given.graphs.graphs[0].node_names


def test_graph_npz__torch_geometric_learns_from_it(connectome, tmp_path, torch):
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


def test_dgl_folder__dgl(connectome, tmp_path, torch):
    dgl = pytest.importorskip("dgl", reason="dgl is not installed (1.1 works with this torch)", exc_type=Exception)
    exports.export(tmp_path / "one", connectome, "dgl")
    graph = to_graph(connectome, ExportOptions())
    loaded = dgl.data.CSVDataset(str(tmp_path / "one" / f"{exports.PREFIX}_dgl"), force_reload=True, verbose=False)
    made = loaded[0]
    np.testing.assert_array_equal(np.stack([each.numpy() for each in made.edges()]), graph.edge_index)
    np.testing.assert_array_equal(made.ndata["feat"].numpy(), graph.x)
    np.testing.assert_array_equal(made.edata["feat"].numpy(), graph.edge_attr)
    _, given = exports.dataset(tmp_path / "set", "dgl")
    loaded = dgl.data.CSVDataset(str(tmp_path / "set" / "set_dgl"), force_reload=True, verbose=False)
    assert len(loaded) == 4
    for (made, label), graph, y in zip(loaded, given.graphs.graphs, given.graphs.y, strict=True):
        assert int(label["label"] if isinstance(label, dict) else label) == y
        np.testing.assert_array_equal(made.edata["feat"].numpy(), graph.edge_attr)
