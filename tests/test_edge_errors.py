"""Monte-Carlo standard errors of edges: the slow twin, laws, and whether repeated draws spread as predicted."""

from __future__ import annotations

import itertools
from dataclasses import replace

import naive
import numpy as np
import pytest
import wirings
from hypothesis import given, settings
from hypothesis import strategies as st

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation
from tractome.datatypes.tractogram import StreamlineTable
from tractome.options import EDGE_STATISTICS, ConnectOptions
from tractome.stages.connect import ConnectomeBuilder, assign, connect, summarise

EVERYTHING = ConnectOptions(radius_mm=2.0, statistics=EDGE_STATISTICS, pooled=True)
END_VOXEL = ConnectOptions(assignment="end-voxel", statistics=("mean", "sum"))
SEEDS = st.integers(0, 2**32 - 1)
LAWS = settings(max_examples=15, deadline=None)
OF_MEANS = ("fase", "mdse", "lengthse", "fapooledse", "mdpooledse")


def subject(seed, n=150, weights=False):
    parcellation, maps, streamlines = wirings.subject(seed, n)
    table = summarise(streamlines, maps, directions=True, crossed=True)
    if weights:
        table = replace(table, weights=np.random.default_rng(seed).exponential(size=n), mu=0.25)
    return parcellation, table


def rows_of(table, chosen):
    """The streamlines of these indices, in this order."""
    return replace(
        table,
        ends_mm=table.ends_mm[chosen],
        length_mm=table.length_mm[chosen],
        means={name: values[chosen] for name, values in table.means.items()},
        seed_index=table.seed_index[chosen],
        weights=None if table.weights is None else table.weights[chosen],
        directions=None if table.directions is None else table.directions[chosen],
        crossed={name: values[chosen] for name, values in table.crossed.items()},
    )


def errors_of(made):
    return {name: matrix for name, matrix in made.matrices.items() if name == "neff" or name.endswith("se")}


def require_close(found, expected, scale=None):
    """Equal but for the rounding of sums: an error that is 0 may come out as the root of an epsilon."""
    for name, matrix in expected.items():
        largest = np.nanmax(np.abs(matrix), initial=0.0) if scale is None else scale
        np.testing.assert_allclose(found[name], matrix, rtol=1e-6, atol=1e-6 * largest, err_msg=name)


@pytest.mark.parametrize("weighted", [None, False, True])
@pytest.mark.parametrize("seed", range(2))
def test_errors_equal_the_slow_twin(seed, weighted):
    parcellation, table = subject(seed, weights=weighted is not None)
    options = replace(EVERYTHING, weighted=weighted is not False)
    made = connect(table, parcellation, options)
    ends = assign(table, parcellation, options)
    expected = naive.edge_errors(
        ends, table, parcellation.volumes_mm3, weighted=weighted is not False, sums=True, pooled=True
    )
    assert set(errors_of(made)) == set(expected)
    require_close(made.matrices, expected)
    for name in expected:
        np.testing.assert_array_equal(made.matrices[name], made.matrices[name].T)
        assert made.measures[name].definition and made.measures[name].unit


def test_no_row_where_errors_are_not_asked_for():
    parcellation, table = subject(0, weights=True)
    without = connect(table, parcellation, replace(EVERYTHING, errors=False))
    whole = connect(table, parcellation, EVERYTHING)
    assert not errors_of(without)
    assert set(whole.matrices) - set(errors_of(whole)) - {"pvalue"} == set(without.matrices)
    for name, matrix in without.matrices.items():
        assert matrix.tobytes() == whole.matrices[name].tobytes(), name
    rows = set(errors_of(whole))
    assert not rows & {f"{name}{statistic}se" for name in ("fa", "length") for statistic in ("median", "min", "max")}


@pytest.mark.parametrize("n", [0, 1])
def test_one_streamline_has_no_spread(n):
    parcellation, table = subject(1, 20, weights=True)
    made = connect(rows_of(table, np.arange(n)), parcellation, replace(EVERYTHING, radius_mm=50.0))
    for name, matrix in errors_of(made).items():
        if name == "neff":
            np.testing.assert_array_equal(matrix, made.matrices["count"])
        else:
            assert np.isnan(matrix).all(), name


def test_errors_of_a_wiring_done_by_hand():
    labels = np.zeros((7, 3, 3), np.int64)
    labels[0], labels[6, 1, 1] = 10, 11
    parcellation = Parcellation.from_labels(labels, Grid((7, 3, 3), np.eye(4)), wirings.region_table(3))
    ends = np.array([[[0, 1, 1], [6, 1, 1]], [[6, 1, 1], [0, 1, 1]], [[0, 0, 0], [0, 2, 2]], [[0, 1, 1], [3, 1, 1]]])
    table = StreamlineTable(
        ends, np.array([10, 14, 3, 3]), {"fa": np.array([0.4, 0.6, 0.5, 0.1])}, np.arange(4), {"fa": "unitless"}
    )
    made = connect(table, parcellation, END_VOXEL).matrices
    # Two of four streamlines: sqrt(4/3 x 2 x 1/2).
    of_count = np.sqrt(4 / 3)
    np.testing.assert_allclose(made["countse"][0], [1.0, of_count, 0.0])
    np.testing.assert_allclose(made["invnodevolse"][0, 1], 2 / 10 * of_count)
    # Half the difference of two values: the classical standard error of their mean.
    np.testing.assert_allclose(made["lengthse"][0], [np.nan, 2.0, np.nan])
    np.testing.assert_allclose(made["fase"][0, 1], 0.1, rtol=1e-6)
    relative = np.sqrt(of_count**2 / 4 + (2 / 12) ** 2)
    np.testing.assert_allclose(made["densityse"][0], [np.nan, 2 * 2 / 10 / 12 * relative, 0.0])
    np.testing.assert_allclose(made["lengthsumse"][0, 1], np.sqrt(4 / 3 * (100 + 196 - 24**2 / 4)))
    np.testing.assert_array_equal(made["neff"], made["count"])


# --- laws ----------------------------------------------------------------------------------------------------------


@given(SEEDS, st.booleans())
@LAWS
def test_neither_order_nor_direction_nor_names_change_an_error(seed, weights):
    parcellation, table = subject(seed, 60, weights)
    rng = np.random.default_rng(seed)
    before = connect(table, parcellation, EVERYTHING).matrices
    mixed = connect(rows_of(table, rng.permutation(60)), parcellation, EVERYTHING)
    require_close(mixed.matrices, before)
    turned = replace(table, ends_mm=table.ends_mm[:, ::-1], directions=table.directions[:, ::-1])
    for name, matrix in connect(turned, parcellation, EVERYTHING).matrices.items():
        assert matrix.tobytes() == before[name].tobytes(), name
    order = rng.permutation(6)
    row_of = np.append(np.argsort(order), -1).astype(np.int32)
    old = parcellation.regions
    regions = replace(
        old,
        labels=old.labels[order],
        **{c: tuple(getattr(old, c)[i] for i in order) for c in ("names", "hemispheres", "structures", "networks")},
        centroids_mm=old.centroids_mm[order],
    )
    renumbered = replace(
        parcellation,
        rows=row_of[parcellation.rows],
        regions=regions,
        centroids_mm=parcellation.centroids_mm[order],
        volumes_mm3=parcellation.volumes_mm3[order],
    )
    for name, matrix in connect(table, renumbered, EVERYTHING).matrices.items():
        np.testing.assert_array_equal(matrix, before[name][np.ix_(order, order)], err_msg=name)


@given(SEEDS, st.lists(st.integers(0, 60), max_size=4), st.booleans())
@LAWS
def test_cutting_into_tables_changes_no_byte_of_an_error(seed, cuts, weights):
    parcellation, table = subject(seed, 60, weights)
    whole = connect(table, parcellation, EVERYTHING)
    builder = ConnectomeBuilder(parcellation, EVERYTHING)
    for first, last in itertools.pairwise([0, *sorted(cuts), 60]):
        builder.add(rows_of(table, np.arange(first, last)))
    for name, matrix in builder.build().matrices.items():
        assert matrix.tobytes() == whole.matrices[name].tobytes(), name


@given(SEEDS, st.floats(1e-3, 1e3))
@LAWS
def test_weights_times_a_constant_scale_sums_alone(seed, factor):
    parcellation, table = subject(seed, 60, weights=True)
    before = connect(table, parcellation, EVERYTHING).matrices
    after = connect(replace(table, weights=factor * table.weights), parcellation, EVERYTHING).matrices
    same = ("neff", "countse", "invnodevolse", "densityse", *OF_MEANS)
    require_close(after, {name: before[name] for name in same})
    scaled = [name for name in errors_of(connect(table, parcellation, EVERYTHING)) if name not in same]
    assert "weightse" in scaled and "fasumse" in scaled
    require_close(after, {name: factor * before[name] for name in scaled})


@given(SEEDS)
@LAWS
def test_equal_weights_are_none_and_unequal_ones_count_for_fewer(seed):
    parcellation, table = subject(seed, 60, weights=True)
    plain = connect(replace(table, weights=None, mu=None), parcellation, EVERYTHING).matrices
    alike = connect(replace(table, weights=np.full(60, 3.0)), parcellation, EVERYTHING).matrices
    require_close(alike, {name: plain[name] for name in ("neff", "countse", "densityse", *OF_MEANS)})
    unequal = connect(table, parcellation, EVERYTHING).matrices
    assert (unequal["neff"] <= plain["count"] * (1 + 1e-12)).all()
    assert (unequal["neff"][plain["count"] > 0] >= 1 - 1e-12).all()
    unused = connect(table, parcellation, replace(EVERYTHING, weighted=False)).matrices
    np.testing.assert_array_equal(unused["neff"], plain["count"])
    np.testing.assert_array_equal(unused["fase"], plain["fase"])


# --- do repeated draws spread as predicted? ------------------------------------------------------------------------

SHARES = np.array([0.3, 0.2, 0.12, 0.12, 0.1, 0.06, 0.1])
"""Of the six edges between four regions, and of streamlines that end nowhere."""
PAIRS = np.array([*itertools.combinations(range(4), 2), (0, 4)])


def drawn(rng, n, weights):
    """A table of n streamlines that fall on the edges at random, and the regions they end in."""
    edge = rng.choice(len(SHARES), n, p=SHARES)
    ends = np.zeros((n, 2, 3), np.float32)
    ends[..., 0] = 2 * PAIRS[edge]
    # Length and FA differ from edge to edge and go together; some streamlines never meet the map.
    length = 20 + 10 * edge + rng.gamma(4.0, 4.0, n)
    fa = np.where(rng.random(n) < 0.1, np.nan, 0.3 + 0.03 * edge + 0.002 * length + rng.normal(0, 0.05, n))
    number = np.round(length / 2)
    return StreamlineTable(
        ends,
        length,
        {"fa": fa},
        np.arange(n),
        {"fa": "unitless"},
        rng.exponential(size=n) * (1 + (length > 50)) if weights else None,
        0.5 if weights else None,
        crossed={"fa": np.stack([np.nan_to_num(fa) * number, number * np.isfinite(fa)], axis=1)},
    )


def four_regions():
    labels = np.zeros((9, 1, 1), np.int64)
    labels[[0, 2, 4, 6], 0, 0] = np.arange(10, 14)
    return Parcellation.from_labels(labels, Grid((9, 1, 1), np.eye(4)), wirings.region_table(4))


UPPER = tuple(PAIRS[:6].T)
PREDICTED = ("count", "length", "fa", "invnodevol", "density", "fasum", "lengthsum", "fapooled", "weight")


@pytest.mark.parametrize("weights", [False, True])
def test_the_spread_over_draws_is_the_predicted_error(weights):
    rng, parcellation = np.random.default_rng(5), four_regions()
    options = replace(END_VOXEL, pooled=True)
    runs = [connect(drawn(rng, 1500, weights), parcellation, options).matrices for _ in range(400)]
    for name in PREDICTED if weights else PREDICTED[:-1]:
        values = np.array([run[name][UPPER] for run in runs])
        predicted = np.array([run[f"{name}se"][UPPER] for run in runs]).mean(axis=0)
        ratio = values.std(axis=0, ddof=1) / predicted
        # 400 draws know a spread to 3.5 percent.
        assert np.median(ratio) == pytest.approx(1, abs=0.05), name
        np.testing.assert_allclose(ratio, 1, atol=0.13, err_msg=name)


@pytest.mark.parametrize("weights", [False, True])
def test_independent_batches_agree(weights):
    """The spread over 100 interleaved batches, an estimate that knows nothing of the formulas."""
    n_batches, n = 100, 40_000
    parcellation = four_regions()
    table = drawn(np.random.default_rng(3), n, weights)
    whole = connect(table, parcellation, END_VOXEL).matrices
    batches = [
        connect(rows_of(table, np.arange(batch, n, n_batches)), parcellation, END_VOXEL).matrices
        for batch in range(n_batches)
    ]
    for name in ("count", "fa", "length", "fasum", *(["weight"] if weights else [])):
        spread = np.std([batch[name][UPPER] for batch in batches], axis=0, ddof=1)
        is_mean = name in ("fa", "length")
        by_batches = spread / np.sqrt(n_batches) if is_mean else spread * np.sqrt(n_batches)
        # 100 batches know a spread to 7 percent.
        np.testing.assert_allclose(by_batches / whole[f"{name}se"][UPPER], 1, atol=0.25, err_msg=name)
