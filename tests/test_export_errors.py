"""What says how sure an edge is, on its way to other tools."""

from __future__ import annotations

import exports
import numpy as np
import pytest
import wirings

from tractome.io.matrices import read_connectome, write_connectome
from tractome.options import ExportOptions, GroupOptions
from tractome.stages.export import prepare, to_graph
from tractome.stages.group import group


@pytest.fixture(scope="module")
def made():
    return wirings.connectome()


def test_errors_are_written_only_when_asked_for_or_named(made):
    about = set(made.matrices) - set(made.plain_measures)
    assert {"countse", "fase", "lengthse", "neff"} <= about
    assert set(prepare(made, ExportOptions()).matrices) == set(made.plain_measures)
    assert set(prepare(made, ExportOptions(), errors=True).matrices) == set(made.matrices)
    options = ExportOptions(edge_features=("count", "countse"))
    assert set(prepare(made, options).matrices) == {*made.plain_measures, "countse"}
    graph = to_graph(made, options)
    rows, targets = graph.edge_index
    np.testing.assert_array_equal(graph.edge_attr[:, 1], made.matrices["countse"][rows, targets].astype(np.float32))


def test_each_matrix_of_errors_is_a_file_that_says_what_it_is(made, tmp_path):
    paths = exports.export(tmp_path, made, "tsv", edge_errors=True)
    written = {path.name for path in paths}
    assert any("countse" in name for name in written) and any("neff" in name for name in written)
    path = next(path for path in paths if "stat-fase" in path.name and path.suffix == ".tsv")
    back = read_connectome(path)
    meaning = back.measures["fase"]
    assert (
        meaning.about == "fa"
        and meaning.is_error
        and meaning.unit == "unitless"
        and "Monte-Carlo" in meaning.definition
    )
    assert not back.plain_measures


def test_the_archive_keeps_what_they_are_about(made, tmp_path):
    write_connectome(tmp_path / "made.npz", made)
    back = read_connectome(tmp_path / "made.npz")
    assert back.measures == made.measures and back.plain_measures == made.plain_measures
    for name, matrix in made.matrices.items():
        np.testing.assert_array_equal(back.matrices[name], matrix)


@pytest.mark.parametrize("normalisation", ["none", "max", "sum", "strength"])
def test_an_error_follows_its_measure_through_scaling(made, normalisation):
    """The change of the scaled value when the value moves by its error, the divisor held."""
    plain = prepare(made, ExportOptions(), errors=True).matrices
    for transform in ("none", "log"):
        options = ExportOptions(edge_normalisation=normalisation, edge_transform=transform)
        scaled = prepare(made, options, errors=True)
        run = plain["count"] > 0
        relative = plain["countse"][run] / plain["count"][run]
        if transform == "none":
            found = scaled.matrices["countse"][run] / scaled.matrices["count"][run]
            np.testing.assert_allclose(found, relative, rtol=1e-12)
        else:
            divided = np.expm1(scaled.matrices["count"][run])
            step = 1e-6
            moved = (np.log1p(divided * (1 + step * relative)) - np.log1p(divided)) / step
            np.testing.assert_allclose(scaled.matrices["countse"][run], moved, rtol=1e-4)
        np.testing.assert_array_equal(scaled.matrices["fase"], plain["fase"])
        np.testing.assert_array_equal(scaled.matrices["neff"], plain["neff"])


def test_a_binary_edge_has_no_error(made):
    matrices = prepare(made, ExportOptions(edge_transform="binary"), errors=True).matrices
    assert "countse" not in matrices and "fase" in matrices


def test_a_group_has_no_errors_of_its_subjects():
    assert not {"countse", "neff", "fase"} & set(group(exports.cohort(), GroupOptions()).matrices)


def test_errors_that_come_without_their_measure_are_edges_like_any_other(made, tmp_path):
    paths = exports.export(tmp_path, made, "tsv", edge_errors=True)
    alone = read_connectome(next(path for path in paths if "stat-countse" in path.name and path.suffix == ".tsv"))
    scaled = prepare(alone, ExportOptions(edge_normalisation="max"))
    assert set(scaled.matrices) == {"countse"} and scaled.matrices["countse"].max() == 1
