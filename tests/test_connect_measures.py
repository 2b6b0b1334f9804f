"""Statistics, weights and pooled means of edges; forward ends; each against its slow twin and by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace

import naive
import numpy as np
import pytest
import wirings
from hypothesis import given, settings
from hypothesis import strategies as st

from tractome.datatypes.fields import ScalarMap
from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation
from tractome.errors import OptionError, TableError
from tractome.options import EDGE_STATISTICS, ConnectOptions
from tractome.stages.connect import ConnectomeBuilder, assign, concatenate, connect, summarise

EVERYTHING = ConnectOptions(radius_mm=2.0, statistics=EDGE_STATISTICS, pooled=True)
SEEDS = st.integers(0, 2**32 - 1)


def subject(seed, n=150, weights=False):
    parcellation, maps, streamlines = wirings.subject(seed, n)
    table = summarise(streamlines, maps, directions=True, crossed=True)
    if weights:
        table = replace(table, weights=np.random.default_rng(seed).exponential(size=n), mu=0.25)
    return parcellation, maps, streamlines, table


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_every_statistic_equals_the_slow_twin(seed, weights):
    parcellation, _, _, table = subject(seed, weights=weights)
    made = connect(table, parcellation, EVERYTHING)
    ends = assign(table, parcellation, EVERYTHING)
    for name, values in {"length": table.length_mm, **table.means}.items():
        for statistic in EDGE_STATISTICS:
            expected = naive.edge_statistic(ends, values, 6, statistic, table.weights)
            measure = name if statistic == "mean" else f"{name}{statistic}"
            np.testing.assert_allclose(made.matrices[measure], expected, rtol=1e-6, err_msg=measure)
    for name, sums in table.crossed.items():
        expected = naive.edge_pooled(ends, sums, 6, table.weights)
        np.testing.assert_allclose(made.matrices[f"{name}pooled"], expected, rtol=1e-6)
    if weights:
        expected = 0.25 * naive.edge_statistic(ends, np.ones(150), 6, "sum", table.weights)
        np.testing.assert_allclose(made.matrices["weight"], expected, rtol=1e-12)
        assert made.metadata["mu"] == "0.25" and "by its weight" in made.measures["fa"].definition
    else:
        assert "weight" not in made.matrices


def test_weights_may_be_left_out_of_means_and_one_weight_for_all_changes_none():
    parcellation, _, _, table = subject(1, weights=True)
    plain = connect(replace(table, weights=None, mu=None), parcellation, EVERYTHING)
    unweighted = connect(table, parcellation, replace(EVERYTHING, weighted=False))
    alike = connect(replace(table, weights=np.full(150, 2.0)), parcellation, replace(EVERYTHING, statistics=("mean",)))
    for name in ("fa", "length", "famedian", "fasum", "fapooled"):
        np.testing.assert_array_equal(unweighted.matrices[name], plain.matrices[name])
    for name in ("fa", "length", "fapooled"):
        np.testing.assert_allclose(alike.matrices[name], plain.matrices[name], rtol=1e-12)


@given(SEEDS, st.lists(st.integers(0, 60), max_size=4), st.booleans())
@settings(max_examples=15, deadline=None)
def test_cutting_into_batches_changes_no_byte_of_any_measure(seed, cuts, weights):
    parcellation, _, streamlines, table = subject(seed, 60, weights)
    whole = connect(table, parcellation, EVERYTHING)
    builder = ConnectomeBuilder(parcellation, EVERYTHING)
    for first, last in itertools.pairwise([0, *sorted(cuts), 60]):
        part = wirings.block([streamlines.streamline(i) for i in range(first, last)])
        rows = summarise(part, wirings.subject(seed, 60)[1], directions=True, crossed=True)
        builder.add(replace(rows, weights=table.weights[first:last], mu=0.25) if weights else rows)
    pieces = builder.build()
    assert whole.matrices.keys() == pieces.matrices.keys() and whole.metadata == pieces.metadata
    for name, matrix in whole.matrices.items():
        assert matrix.tobytes() == pieces.matrices[name].tobytes(), name


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_the_order_of_streamlines_changes_nothing_but_rounding(seed):
    parcellation, maps, streamlines, table = subject(seed, 60)
    order = np.random.default_rng(seed).permutation(60)
    mixed = summarise(wirings.block([streamlines.streamline(i) for i in order]), maps, directions=True, crossed=True)
    one, other = connect(table, parcellation, EVERYTHING), connect(mixed, parcellation, EVERYTHING)
    for name, matrix in one.matrices.items():
        np.testing.assert_allclose(other.matrices[name], matrix, rtol=1e-12, err_msg=name)


def test_a_statistic_that_a_map_is_named_after_is_refused():
    parcellation, _, streamlines, _ = subject(1, 20)
    maps = [wirings.scalar_map(np.random.default_rng(0), parcellation.grid, name) for name in ("fa", "famax")]
    with pytest.raises(OptionError, match="another name"):
        connect(summarise(streamlines, maps), parcellation, ConnectOptions(statistics=("mean", "max")))


def test_what_a_table_lacks_is_said():
    parcellation, maps, streamlines, table = subject(1, 20)
    ends_only = summarise(streamlines, maps)
    with pytest.raises(TableError, match="directions"):
        connect(ends_only, parcellation, ConnectOptions(assignment="forward"))
    with pytest.raises(TableError, match="crossed"):
        connect(ends_only, parcellation, ConnectOptions(pooled=True))
    weighed = replace(table, weights=np.ones(20))
    with pytest.raises(TableError, match="only some have weights"):
        connect([table, weighed], parcellation, ConnectOptions())
    with pytest.raises(TableError, match="another mu"):
        concatenate([weighed, replace(weighed, mu=2.0)])


# --- voxels that a streamline crosses -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_crossed_voxels_equal_the_slow_twin(seed):
    rng = np.random.default_rng(seed)
    grid = wirings.random_grid(rng, sheared=seed % 2 == 1)
    map_, streamlines = wirings.scalar_map(rng, grid), wirings.tractogram(rng, grid, 25)
    found = summarise(streamlines, [map_], crossed=True).crossed["fa"]
    for index in range(25):
        points = grid.to_voxel(streamlines.streamline(index))
        expected = naive.crossed(map_.volume(np.nan), points)
        np.testing.assert_allclose(found[index], expected, rtol=1e-6)


def test_a_voxel_counts_once_however_long_the_way_in_it():
    grid = Grid((5, 3, 3), np.eye(4))
    map_ = ScalarMap("fa", "unitless", np.repeat(np.arange(5.0), 9), np.ones(grid.shape, bool), grid)
    there_and_back = np.array([[0.6, 1, 1], [1.4, 1, 1], [2.2, 1, 1], [0.9, 1.1, 1]])
    found = summarise(wirings.block([there_and_back]), [map_], crossed=True)
    np.testing.assert_allclose(found.crossed["fa"], [[1 + 2, 2]])
    assert found.means["fa"][0] != pytest.approx(1.5)


# --- forward -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius_mm", [0.0, 3.0, 6.0])
@pytest.mark.parametrize("seed", range(3))
def test_forward_equals_the_slow_twin(seed, radius_mm):
    rng = np.random.default_rng(seed)
    grid = wirings.random_grid(rng, sheared=seed % 2 == 1)
    parcellation = wirings.parcellation(rng, grid, share=0.05)
    table = summarise(wirings.tractogram(rng, grid, 80), [], directions=True)
    found = assign(table, parcellation, ConnectOptions(assignment="forward", radius_mm=radius_mm))
    for row, points, ways in zip(found, table.ends_mm, table.directions, strict=True):
        for side in range(2):
            expected = naive.forward_row(parcellation.rows, points[side], ways[side], grid.affine, radius_mm)
            assert row[side] == expected


def test_forward_looks_ahead_only():
    labels = np.zeros((9, 5, 5), np.int64)
    labels[0, 2, 2], labels[8, 2, 2], labels[4, 4, 2] = 10, 11, 12
    parcellation = Parcellation.from_labels(labels, Grid((9, 5, 5), np.eye(4)), wirings.region_table(3))
    line = np.array([[3, 2, 2], [4, 2, 2], [5, 2, 2]], float)
    ahead = ConnectOptions(assignment="forward", radius_mm=4)
    rows = assign(summarise(wirings.block([line]), [], directions=True), parcellation, ahead)
    assert rows.tolist() == [[0, 1]]
    near = assign(summarise(wirings.block([line]), []), parcellation, ConnectOptions(radius_mm=4))
    assert near.tolist() == [[2, 2]], "the nearest of all lies beside the streamline"


def test_the_direction_of_an_end_is_not_that_of_a_cropped_segment():
    line = np.array([[0, 0, 0], [2, 0, 0], [4, 0, 0], [4, 0.01, 0]], float)
    table = summarise(wirings.block([line]), [], directions=True)
    np.testing.assert_allclose(table.directions[0], [[-1, 0, 0], [1, 0, 0]], atol=0.01)


def test_how_far_ends_are_is_counted():
    labels = np.zeros((9, 5, 5), np.int64)
    labels[0, 2, 2], labels[8, 2, 2] = 10, 11
    parcellation = Parcellation.from_labels(labels, Grid((9, 5, 5), np.eye(4)), wirings.region_table(2))
    lines = [np.array([[0.2, 2, 2], [6.8, 2, 2]], float), np.array([[4, 2, 2], [8, 2, 2]], float)]
    made = connect(summarise(wirings.block(lines), []), parcellation, ConnectOptions(radius_mm=2))
    # 0.2, 1.2 and 0 mm; the fourth end has no region within 2 mm.
    assert made.metadata["ends_by_distance"] == "2 0 1 0 0"
    assert made.n_unassigned == 1
