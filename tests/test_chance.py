"""p-values of edges: the slow twin, counts drawn from the null and beside it, laws, and what too little gives."""

from __future__ import annotations

from dataclasses import replace

import naive
import numpy as np
import pytest
import wirings
from scipy.stats import kstest, nbinom

from tractome.datatypes.measures import chance_of_strays, measure_named
from tractome.datatypes.parcellation import Parcellation, RegionTable
from tractome.datatypes.tractogram import StreamlineTable
from tractome.errors import OptionError
from tractome.io.matrices import read_connectome, write_connectome
from tractome.options import ConnectOptions, ExportOptions
from tractome.stages.connect import connect
from tractome.stages.connect.chance import (
    FIT_PAIRS,
    MIN_EDGES,
    chance_pvalues,
    fit_strays,
    relative_strays,
    upper_tail,
)
from tractome.stages.export import kept_edges, prepare, to_graph


def drawn(rng, mean, shape):
    return nbinom.rvs(shape, shape / (shape + mean), random_state=rng).astype(float)


def brain(seed, n=24, per_pair=3.0, share=0.06):
    """Counts, mean lengths and centroids of strays between regions here and there, and which edges are true."""
    rng = np.random.default_rng(seed)
    centroids = rng.uniform(-60, 60, (n, 3))
    apart = np.linalg.norm(centroids[:, None] - centroids[None], axis=2)
    size = rng.lognormal(0, 0.5, n)
    mean = per_pair * np.sqrt(size[:, None] * size[None] * apart / 60)
    rows, columns = np.triu_indices(n, 1)
    is_true = np.zeros((n, n), bool)
    is_true[rows, columns] = rng.random(len(rows)) < share
    counts = np.zeros((n, n))
    strays, proper = drawn(rng, mean[rows, columns], 0.3), drawn(rng, 25 * mean[rows, columns], 4.0)
    counts[rows, columns] = np.where(is_true[rows, columns], proper, strays)
    length = np.triu(apart * rng.uniform(1.1, 1.5, (n, n)), 1)
    counts, length, is_true = (matrix + matrix.T for matrix in (counts, length, is_true))
    np.fill_diagonal(counts, rng.integers(0, 30, n))
    length = np.where(counts > 0, length, np.nan)
    np.fill_diagonal(length, 5.0)
    return counts, length, centroids, np.ones(n, bool), is_true


def test_each_number_is_that_of_the_slow_twin():
    counts, length, centroids, present, _ = brain(1)
    p = chance_pvalues(counts, length, centroids, present)
    slow = naive.strays_of_pairs(counts, length, centroids)
    off = ~np.eye(len(counts), dtype=bool)
    np.testing.assert_allclose(relative_strays(counts, length, centroids)[off], slow[off], rtol=1e-12)
    rows, columns = np.triu_indices(len(counts), 1)
    numbers, relative = counts[rows, columns], slow[rows, columns]
    found = fit_strays(numbers, relative)
    (scale, shape, *_), lowest = naive.fit_of_strays(numbers, relative)
    ours = naive.misfit_of_strays(numbers, relative, found.scale, found.shape, found.share, found.ratio)
    assert ours <= lowest + 1e-6
    np.testing.assert_allclose([found.scale, found.shape], [scale, shape], rtol=0.02)
    expected = naive.negative_binomial(found.scale * relative, found.shape).sf(numbers - 1)
    np.testing.assert_allclose(p[rows, columns][numbers > 0], expected[numbers > 0], rtol=1e-8)


def test_counts_drawn_from_the_null_have_even_p_values():
    rng = np.random.default_rng(2)
    relative = rng.lognormal(0, 0.7, 4000)
    numbers = drawn(rng, 2.0 * relative, 0.4)
    found = fit_strays(numbers, relative)
    assert found.scale == pytest.approx(2.0, rel=0.1) and found.shape == pytest.approx(0.4, rel=0.1)
    mean = found.scale * relative
    at_least, above = upper_tail(numbers, mean, found.shape), upper_tail(numbers + 1, mean, found.shape)
    # Counts are whole, so p is even only with the tie between "at least" and "above" drawn.
    even = above + rng.random(len(numbers)) * (at_least - above)
    assert kstest(even, "uniform").pvalue > 0.01
    for level in (0.05, 0.01):
        assert (at_least <= level).mean() <= level + 3 * np.sqrt(level / len(numbers))


def test_a_fall_with_distance_is_found_and_allowed_for():
    rng = np.random.default_rng(11)
    relative, apart = rng.lognormal(0, 0.5, 4000), rng.uniform(5, 150, 4000)
    is_true = rng.random(4000) < 0.05
    mean = 8.0 * relative * np.exp(-apart / 40)
    numbers = np.where(is_true, drawn(rng, 60 * mean, 4.0), drawn(rng, mean, 0.4))
    found = fit_strays(numbers, relative, apart)
    assert found.falloff_per_mm == pytest.approx(1 / 40, rel=0.1) and found.scale == pytest.approx(8.0, rel=0.15)
    p = upper_tail(numbers, found.scale * relative * np.exp(-found.falloff_per_mm * apart), found.shape)
    for near in (apart < 50, apart > 100):
        assert (p[near & ~is_true] <= 0.05).mean() < 0.07
    assert (p[is_true & (apart < 50)] <= 0.05).mean() > 0.9
    # Where there is none, none is found, and the two nulls agree.
    flat = drawn(rng, 3.0 * relative, 0.4)
    with_fall, without = fit_strays(flat, relative, apart), fit_strays(flat, relative)
    assert with_fall.falloff_per_mm < 1 / 400 and without.falloff_per_mm == 0
    assert with_fall.shape == pytest.approx(without.shape, rel=0.1)


@pytest.mark.parametrize("share", [0.0, 0.03, 0.1, 0.2])
def test_true_edges_neither_hide_the_null_nor_themselves(share):
    rng = np.random.default_rng(3)
    relative = rng.lognormal(0, 0.7, 4000)
    is_true = rng.random(4000) < share
    numbers = np.where(is_true, drawn(rng, 60 * relative, 4.0), drawn(rng, 2.0 * relative, 0.3))
    found = fit_strays(numbers, relative)
    assert found.scale == pytest.approx(2.0, rel=0.15) and found.shape == pytest.approx(0.3, rel=0.15)
    assert found.share == pytest.approx(share, abs=0.02)
    p = upper_tail(numbers, found.scale * relative, found.shape)
    assert (p[~is_true] <= 0.05).mean() < 0.06
    assert not share or (p[is_true] <= 0.05).mean() > 0.9


def test_more_streamlines_do_not_make_strays_significant():
    """With twenty times the streamlines strays are twenty times as many too."""
    rng = np.random.default_rng(4)
    n = 40
    rates = np.triu(rng.gamma(0.3, 1.0, (n, n)), 1)
    is_true = np.triu(rng.random((n, n)) < 0.05, 1)
    rates = np.where(is_true, rng.gamma(4.0, 5.0, (n, n)), rates)
    centroids = rng.uniform(-60, 60, (n, 3))
    length = np.full((n, n), 80.0)
    shares = []
    for times in (2, 40):
        counts = rng.poisson(times * rates).astype(float)
        counts += counts.T
        p = chance_pvalues(counts, length, centroids, np.ones(n, bool))
        upper = np.triu(np.ones((n, n), bool), 1)
        small = np.nan_to_num(p, nan=1.0) <= 0.05
        shares.append(small[upper & ~is_true].mean())
        assert small[is_true].mean() > 0.8
    assert max(shares) < 0.07 and abs(shares[0] - shares[1]) < 0.03


def test_regions_in_another_order_change_no_byte():
    counts, length, centroids, present, _ = brain(5)
    order = np.random.default_rng(5).permutation(len(counts))
    square = np.ix_(order, order)
    p = chance_pvalues(counts, length, centroids, present)
    again = chance_pvalues(counts[square], length[square], centroids[order], present[order])
    np.testing.assert_array_equal(again, p[square])
    falling = chance_pvalues(counts, length, centroids, present, falloff=True)
    again = chance_pvalues(counts[square], length[square], centroids[order], present[order], falloff=True)
    np.testing.assert_array_equal(again, falling[square])
    assert not np.array_equal(falling, p, equal_nan=True)
    np.testing.assert_array_equal(p, p.T)


def test_what_has_no_p_value():
    counts, length, centroids, present, _ = brain(6)
    whole = chance_pvalues(counts, length, centroids, present)
    off = ~np.eye(len(counts), dtype=bool)
    np.testing.assert_array_equal(np.isfinite(whole), (counts > 0) & off)
    held = whole[np.isfinite(whole)]
    assert (held > 0).all() and (held <= 1).all() and np.isnan(np.diag(whole)).all()
    # A region that is not there leaves the others as if it had no row.
    more, spread = np.pad(counts, (0, 1)), np.pad(length, (0, 1), constant_values=np.nan)
    places = np.vstack([centroids, np.full(3, np.nan)])
    p = chance_pvalues(more, spread, places, np.append(present, False))
    np.testing.assert_array_equal(p[:-1, :-1], whole)
    assert np.isnan(p[-1]).all()


def test_too_little_to_tell_has_none():
    counts, length, centroids, present, _ = brain(7)
    none = np.zeros_like(counts)
    one, few = none.copy(), none.copy()
    one[0, 1] = one[1, 0] = 50
    few[0, 1:MIN_EDGES] = few[1:MIN_EDGES, 0] = 9
    for given in (none, one, few):
        assert np.isnan(chance_pvalues(given, length, centroids, present)).all()
    assert np.isnan(chance_pvalues(counts[:9, :9], length[:9, :9], centroids[:9], present[:9])).all()
    assert chance_pvalues(none[:0, :0], none[:0, :0], centroids[:0], present[:0]).shape == (0, 0)


def test_equal_edges_do_not_stand_out_and_odd_lengths_are_borne():
    counts, _, centroids, present, _ = brain(8)
    for value in (1.0, 40.0, 100_000.0):
        p = chance_pvalues(np.full_like(counts, value), np.full_like(counts, 50.0), centroids, present)
        assert (p[np.triu_indices(len(p), 1)] > 0.05).all()
    same_place, no_length = np.zeros_like(centroids), np.zeros_like(counts)
    p = chance_pvalues(counts, no_length, same_place, present)
    np.testing.assert_array_equal(np.isfinite(p), (counts > 0) & ~np.eye(len(counts), dtype=bool))
    # One edge that holds nearly everything is as small as a number can be, not 0.
    counts[0, 1] = counts[1, 0] = 1e7
    assert 0 < chance_pvalues(counts, np.full_like(counts, 50.0), centroids, present)[0, 1] < 1e-12


def test_p_falls_as_the_count_rises():
    numbers = np.arange(200.0)
    p = upper_tail(numbers, np.full(200, 7.0), 0.4)
    assert p[0] == 1 and (np.diff(p) < 0).all()


def test_many_pairs_are_fitted_by_some_of_them():
    rng = np.random.default_rng(9)
    relative = rng.lognormal(0, 0.7, 5 * FIT_PAIRS)
    numbers = np.where(rng.random(len(relative)) < 0.05, drawn(rng, 60 * relative, 4.0), drawn(rng, relative, 0.3))
    found = fit_strays(numbers, relative)
    assert found.scale == pytest.approx(1.0, rel=0.1) and found.shape == pytest.approx(0.3, rel=0.1)


N_REGIONS = 14


@pytest.fixture(scope="module")
def subject():
    """A row of streamlines between blocks of voxels, and their parcellation."""
    rng = np.random.default_rng(10)
    grid = wirings.random_grid(rng, (N_REGIONS, 3, 3))
    labels = np.broadcast_to(np.arange(1, N_REGIONS + 1)[:, None, None], grid.shape).copy()
    names = tuple(f"region {row}" for row in range(N_REGIONS))
    none = ("",) * N_REGIONS
    regions = RegionTable(
        np.arange(1, N_REGIONS + 1),
        names,
        ("L",) * N_REGIONS,
        ("cortex",) * N_REGIONS,
        none,
        np.zeros((N_REGIONS, 3)),
        "a",
    )
    likely = rng.gamma(0.3, 1.0, (N_REGIONS, N_REGIONS)) + 40 * (rng.random((N_REGIONS, N_REGIONS)) < 0.06)
    pairs = rng.choice(likely.size, 3000, p=(likely / likely.sum()).ravel())
    voxels = np.stack(np.unravel_index(pairs, likely.shape), axis=1)
    places = np.stack([voxels, *rng.integers(0, 3, (2, *voxels.shape))], axis=2).reshape(-1, 3)
    ends = grid.to_world(places.astype(float)).reshape(-1, 2, 3)
    length = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1) * rng.uniform(1, 1.5, len(ends))
    return Parcellation.from_labels(labels, grid, regions), StreamlineTable(ends, length, {}, np.arange(len(ends)), {})


OPTIONS = ConnectOptions(assignment="end-voxel")


def test_connect_gives_each_edge_its_p_value(subject, tmp_path):
    parcellation, table = subject
    made = connect(table, parcellation, OPTIONS)
    expected = chance_pvalues(
        made.matrices["count"], made.matrices["length"], parcellation.centroids_mm, parcellation.volumes_mm3 > 0
    )
    assert np.isfinite(expected).sum() > 2 * MIN_EDGES
    np.testing.assert_array_equal(made.matrices["pvalue"], expected)
    meaning = made.measures["pvalue"]
    assert meaning == chance_of_strays() == measure_named("pvalue")
    assert meaning.about == "count" and meaning.is_mean and not meaning.is_error and "Null:" in meaning.definition
    assert "pvalue" not in made.plain_measures
    falling = connect(table, parcellation, replace(OPTIONS, stray_falloff=True))
    places, present = parcellation.centroids_mm, parcellation.volumes_mm3 > 0
    np.testing.assert_array_equal(
        falling.matrices["pvalue"],
        chance_pvalues(made.matrices["count"], made.matrices["length"], places, present, falloff=True),
    )
    assert "falls with the distance" in falling.measures["pvalue"].definition
    assert "distance" not in meaning.definition
    assert "pvalue" not in connect(table, parcellation, replace(OPTIONS, errors=False)).matrices
    write_connectome(tmp_path / "made.npz", made)
    back = read_connectome(tmp_path / "made.npz")
    np.testing.assert_array_equal(back.matrices["pvalue"], expected)
    assert back.measures["pvalue"] == meaning


def test_only_edges_of_small_p_are_exported_when_asked(subject):
    made = connect(subject[1], subject[0], OPTIONS)
    p = made.matrices["pvalue"]
    options = ExportOptions(max_p=0.2, keep_self_connections=True)
    kept, alike = kept_edges(made, options), kept_edges(made, ExportOptions(keep_self_connections=True))
    off = ~np.eye(N_REGIONS, dtype=bool)
    np.testing.assert_array_equal(kept[off], np.nan_to_num(p, nan=1.0)[off] <= 0.2)
    np.testing.assert_array_equal(np.diag(kept), np.diag(alike))
    assert 0 < kept[off].sum() < alike[off].sum()
    ready = prepare(made, options)
    assert ready.metadata["max_p"] == "0.2" and (ready.matrices["count"][~kept] == 0).all()
    assert prepare(made, ExportOptions()).metadata["max_p"] == "none"
    # Values are scaled, p-values never.
    log = prepare(made, replace(options, edge_transform="log", edge_normalisation="max"), errors=True)
    np.testing.assert_array_equal(log.matrices["pvalue"][kept & off], p[kept & off])
    rows, columns = to_graph(made, replace(options, keep_self_connections=False)).edge_index
    np.testing.assert_array_equal(np.sort(rows * N_REGIONS + columns), np.flatnonzero(kept & off))


def test_edges_of_small_p_cannot_be_had_without_p_values(subject):
    without = connect(subject[1], subject[0], replace(OPTIONS, errors=False))
    with pytest.raises(OptionError, match="without --no-errors"):
        prepare(without, ExportOptions(max_p=0.05))
    few = connect(replace_rows(subject[1], 5), subject[0], OPTIONS)
    with pytest.raises(OptionError, match="too few regions or streamlines"):
        prepare(few, ExportOptions(max_p=0.05))


def replace_rows(table, n):
    return replace(table, ends_mm=table.ends_mm[:n], length_mm=table.length_mm[:n], seed_index=table.seed_index[:n])
