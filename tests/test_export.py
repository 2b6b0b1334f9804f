"""export: the graph that follows from the matrices."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import wirings
from hypothesis import given, settings
from hypothesis import strategies as st

from tractome.datatypes.connectome import Connectome
from tractome.errors import OptionError
from tractome.options import ExportOptions
from tractome.stages.export import DEFAULT_EDGE_FEATURES, to_graph


@given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(0, 8))
@settings(max_examples=25, deadline=None)
def test_the_graph_holds_exactly_the_edges_of_the_matrix(seed, keep, min_count):
    made = wirings.connectome(seed, 200)
    options = ExportOptions(keep_self_connections=keep, min_count=min_count, edge_features=("count", "length"))
    graph = to_graph(made, options)
    rebuilt = np.zeros((6, 6))
    rebuilt[graph.edge_index[0], graph.edge_index[1]] = graph.edge_attr[:, 0]
    expected = made.matrices["count"] * (made.matrices["count"] >= max(min_count, 1))
    if not keep:
        np.fill_diagonal(expected, 0)
    np.testing.assert_array_equal(rebuilt, expected)
    np.testing.assert_array_equal(rebuilt, rebuilt.T)
    lengths = made.matrices["length"][graph.edge_index[0], graph.edge_index[1]]
    np.testing.assert_array_equal(graph.edge_attr[:, 1], lengths.astype(np.float32))


def test_nodes_are_rows_with_named_columns():
    made = wirings.connectome()
    graph = to_graph(made, ExportOptions())
    assert graph.node_names == made.regions.names
    assert graph.node_features == ("x_mm", "y_mm", "z_mm", "volume_mm3", "fa", "md", "strength")
    assert graph.edge_features == DEFAULT_EDGE_FEATURES
    assert np.isfinite(graph.x).all() and np.isfinite(graph.pos).all() and np.isfinite(graph.edge_attr).all()
    np.testing.assert_allclose(graph.x[:5, :3], made.centroids_mm[:5], rtol=1e-6)
    np.testing.assert_allclose(graph.x[:, 3], made.volumes_mm3, rtol=1e-6)
    np.testing.assert_allclose(graph.x[:5, 4], made.node_features["fa"][:5], rtol=1e-6)
    np.testing.assert_allclose(graph.x[:, 6], made.strength())


def test_a_missing_region_keeps_its_node_and_is_named():
    graph = to_graph(wirings.connectome(), ExportOptions())
    assert not graph.x[5].any() and not graph.pos[5].any()
    assert 5 not in graph.edge_index
    assert graph.metadata["missing_regions"] == "missing"


def test_features_are_chosen_by_name_and_in_that_order():
    made = wirings.connectome()
    graph = to_graph(made, ExportOptions(edge_features=("md", "density"), node_features=("strength", "centroid")))
    assert graph.edge_features == ("md", "density")
    assert graph.node_features == ("strength", "x_mm", "y_mm", "z_mm")
    assert to_graph(made, ExportOptions(node_features=())).x.shape == (6, 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ExportOptions(edge_features=("lenght",)), "Did you mean 'length'"),
        (ExportOptions(node_features=("volumes",)), "Did you mean 'volume'"),
        (ExportOptions(edge_features=()), "at least one"),
    ],
)
def test_unknown_features_are_refused(options, said):
    with pytest.raises(OptionError, match=said):
        to_graph(wirings.connectome(), options)


def test_an_edge_without_a_value_is_left_out_and_counted():
    made = wirings.connectome()
    fa = made.matrices["fa"].copy()
    i, j = np.argwhere(np.triu(made.matrices["count"], 1) > 0)[0]
    fa[i, j] = fa[j, i] = np.nan
    holed = dataclasses.replace(made, matrices={**made.matrices, "fa": fa})
    whole, graph = to_graph(made, ExportOptions()), to_graph(holed, ExportOptions())
    assert graph.n_edges == whole.n_edges - 2
    assert graph.metadata["edges_without_value"] == "1"


def test_a_matrix_without_counts_gives_the_edges_it_has():
    made = wirings.connectome()
    only_fa = Connectome(
        made.regions,
        made.centroids_mm,
        made.volumes_mm3,
        {"fa": made.matrices["fa"]},
        {"fa": made.measures["fa"]},
        0,
        0,
    )
    graph = to_graph(only_fa, ExportOptions())
    assert graph.n_edges == int((np.isfinite(made.matrices["fa"]) & ~np.eye(6, dtype=bool)).sum())
    assert graph.metadata["edges_from"] == "fa"
