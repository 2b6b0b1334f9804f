"""What a graph says: graphs whose answers are known, slow twins, and laws."""

import csv
import dataclasses
import json

import networkx as nx
import numpy as np
import pytest
from scipy.linalg import expm

from tests import naive_analyze as naive
from tractome.datatypes.connectome import Connectome
from tractome.datatypes.measures import measure_named
from tractome.datatypes.parcellation import RegionTable
from tractome.errors import OptionError, TableError
from tractome.options import AnalyzeOptions
from tractome.stages.analyze import analyze, flow
from tractome.stages.analyze.communities import find_communities, modularity
from tractome.stages.analyze.paths import betweenness, distances

QUICK = AnalyzeOptions(n_partitions=10, n_nulls=4)


def random_weights(n=12, density=0.5, seed=3):
    """A connected graph of random weights."""
    generator = np.random.default_rng(seed)
    weights = np.triu(generator.uniform(0.2, 3.0, (n, n)) * (generator.random((n, n)) < density), k=1)
    weights[np.arange(n - 1), np.arange(1, n)] = 1.0
    return weights + weights.T


def cliques(n_cliques=3, size=6, between=0.05):
    """Communities that are known: full inside, one weak edge from each to the next."""
    weights = np.kron(np.eye(n_cliques), np.ones((size, size)))
    for k in range(n_cliques):
        one, other = k * size, ((k + 1) % n_cliques) * size + 1
        weights[one, other] = weights[other, one] = between
    np.fill_diagonal(weights, 0.0)
    return weights


def connectome(weights, missing=(), **matrices):
    """A connectome of counts, and of any other measure, with centroids on a line."""
    n = len(weights)
    names = tuple(f"region-{row}" for row in range(n))
    regions = RegionTable(
        np.arange(1, n + 1), names, ("L",) * n, ("cortex",) * n, ("",) * n, np.full((n, 3), np.nan), "test"
    )
    volumes = np.ones(n)
    volumes[list(missing)] = 0.0
    centroids = np.column_stack([10.0 * np.arange(n), np.zeros(n), np.zeros(n)])
    centroids[list(missing)] = np.nan
    every = {"count": weights, **matrices}
    return Connectome(regions, centroids, volumes, every, {name: measure_named(name) for name in every}, 100, 0)


def test_distances_and_betweenness_have_slow_twins():
    weights = random_weights()
    with np.errstate(divide="ignore"):
        lengths = np.where(weights > 0, 1 / weights, np.inf)
    np.fill_diagonal(lengths, 0.0)
    assert np.allclose(distances(lengths), naive.shortest(lengths))
    line = np.full((4, 4), np.inf)
    line[[0, 1, 2], [1, 2, 3]] = line[[1, 2, 3], [0, 1, 2]] = 1.0
    np.fill_diagonal(line, 0.0)
    # On a line of four the inner two are each passed by two of the three pairs that they are not part of.
    assert np.allclose(betweenness(line, distances(line)), [0, 2 / 3, 2 / 3, 0])


def test_walks_have_a_slow_twin_and_a_known_answer():
    weights = random_weights()
    assert np.allclose(flow.walk_steps(weights, 4), naive.hitting_times(weights, 4))
    ring = np.roll(np.eye(8), 1, axis=0) + np.roll(np.eye(8), -1, axis=0)
    far = np.minimum(np.arange(8), 8 - np.arange(8))
    assert np.allclose(flow.walk_steps(ring, 0), far * (8 - far))
    apart = np.kron(np.eye(2), np.ones((3, 3)) - np.eye(3))
    assert np.isinf(flow.walk_steps(apart, 0)[3:]).all()


def test_diffusion_has_a_slow_twin_and_keeps_the_amount():
    weights = random_weights()
    times, amounts = flow.diffusion(weights, np.array([2, 5]), 4.0)
    assert np.allclose(amounts, naive.diffused(weights, [2, 5], times), atol=1e-6)
    assert np.allclose(amounts.sum(axis=1), 1.0)
    _, long_after = flow.diffusion(weights, np.array([0]), 1e4)
    assert np.allclose(long_after[-1], weights.sum(axis=1) / weights.sum())


def test_what_has_no_edge_keeps_what_it_has():
    weights = np.zeros((5, 5))
    weights[:4, :4] = np.ones((4, 4)) - np.eye(4)
    _, amounts = flow.diffusion(weights, np.array([0, 4]), 50.0)
    assert np.allclose(amounts[-1], [0.125] * 4 + [0.5])
    assert flow.communicability(weights)[4].tolist() == [0, 0, 0, 0, 1]


def test_communicability_is_the_exponential():
    weights = random_weights()
    root = np.sqrt(weights.sum(axis=1))
    assert np.allclose(flow.communicability(weights), expm(weights / np.outer(root, root)))


def test_known_communities_are_found():
    weights = cliques()
    found = find_communities(weights, 1.0, 10, 0)
    assert [len(set(found.label[6 * k : 6 * k + 6])) for k in range(3)] == [1, 1, 1]
    assert len(set(found.label)) == 3
    assert np.allclose(found.agreement, np.kron(np.eye(3), np.ones((6, 6))))
    assert np.allclose(found.participation, naive.participation(weights, found.label))
    graph = nx.from_numpy_array(weights)
    sets = [set(np.flatnonzero(found.label == label).tolist()) for label in (1, 2, 3)]
    assert modularity(weights, found.label, 1.0) == pytest.approx(nx.community.modularity(graph, sets))


def test_a_ring_of_neighbours_is_a_small_world_and_a_random_graph_is_not():
    ring = nx.to_numpy_array(nx.connected_watts_strogatz_graph(40, 6, 0.1, seed=1))
    chance = nx.to_numpy_array(nx.gnm_random_graph(40, 120, seed=1))
    options = dataclasses.replace(QUICK, n_nulls=10)
    assert analyze(connectome(ring), options).numbers["small_worldness"] > 1.5
    assert analyze(connectome(chance), options).numbers["small_worldness"] == pytest.approx(1.0, abs=0.25)


def test_hubs_that_keep_together_are_a_rich_club():
    weights = np.zeros((24, 24))
    weights[:4, :4] = 5.0
    for leaf in range(4, 24):
        weights[leaf % 4, leaf] = weights[leaf, leaf % 4] = 1.0
        weights[leaf, 4 + (leaf - 3) % 20] = weights[4 + (leaf - 3) % 20, leaf] = 1.0
    np.fill_diagonal(weights, 0.0)
    curve = analyze(connectome(weights), dataclasses.replace(QUICK, n_nulls=10)).curves["rich_club"]
    among_hubs = curve.x == 5
    assert curve.columns["rich_club"][among_hubs] == pytest.approx(1.0)
    assert (curve.columns["ratio"][among_hubs] > 1.2).all()
    assert (curve.columns["p"][among_hubs] < 0.2).all()


def test_long_edges_are_told_from_short_ones():
    weights = random_weights()
    length = np.abs(np.subtract.outer(np.arange(12), np.arange(12))) * 10.0
    length[weights == 0] = np.nan
    fa = np.where(length >= 60, 0.6, 0.4)
    fa[weights == 0] = np.nan
    found = analyze(connectome(weights, length=length, fa=fa), dataclasses.replace(QUICK, long_mm=60.0))
    numbers, is_long = found.numbers, np.nan_to_num(length) >= 60
    assert numbers["long_range_fa"] == pytest.approx(0.6)
    assert numbers["short_range_fa"] == pytest.approx(0.4)
    assert numbers["long_range_edge_share"] == pytest.approx(is_long.sum() / (weights > 0).sum())
    assert numbers["long_range_weight_share"] == pytest.approx(weights[is_long].sum() / weights.sum())
    without = np.where(is_long, 0.0, weights)
    share = (
        analyze(connectome(without), QUICK).numbers["global_efficiency"]
        / analyze(connectome(weights), QUICK).numbers["global_efficiency"]
    )
    assert found.curves["robustness"].columns["longest_first"][-1] == pytest.approx(share)


@pytest.mark.parametrize("lengths", ["inverse", "log", "mm"])
def test_lengths_follow_their_rule(lengths):
    weights = random_weights()
    found = analyze(connectome(weights), dataclasses.replace(QUICK, lengths=lengths))
    rules = {
        "inverse": lambda w, d: 1 / w,
        "log": lambda w, d: -np.log(w / weights.max()),
        "mm": lambda w, d: d,
    }
    apart = np.abs(np.subtract.outer(np.arange(12), np.arange(12))) * 10.0
    with np.errstate(divide="ignore"):
        expected = np.where(weights > 0, rules[lengths](weights, apart), np.inf)
    np.fill_diagonal(expected, 0.0)
    assert np.allclose(found.matrices["shortest_path"], naive.shortest(expected), atol=1e-7)


def test_the_order_of_regions_does_not_matter():
    weights = cliques(between=0.3)
    order = np.random.default_rng(0).permutation(len(weights))
    one, other = (analyze(connectome(each), QUICK) for each in (weights, weights[np.ix_(order, order)]))
    for name in ("degree", "strength", "clustering", "efficiency", "betweenness", "eigenvector", "participation"):
        assert np.allclose(one.per_region[name][order], other.per_region[name], atol=1e-9), name
    for name in ("global_efficiency", "modularity", "transitivity", "assortativity", "n_communities"):
        assert one.numbers[name] == pytest.approx(other.numbers[name], nan_ok=True), name


def test_equal_input_gives_equal_numbers():
    one, other = (analyze(connectome(random_weights()), QUICK) for _ in range(2))
    assert one.numbers == other.numbers
    assert all(np.array_equal(one.matrices[name], other.matrices[name]) for name in one.matrices)


def test_missing_regions_take_no_part():
    weights = random_weights()
    weights[[3, 7]] = 0.0
    weights[:, [3, 7]] = 0.0
    found = analyze(connectome(weights, missing=(3, 7)), QUICK)
    assert found.numbers["n_regions"] == 10
    assert np.isnan(found.per_region["strength"][[3, 7]]).all()
    assert np.isfinite(found.per_region["strength"]).sum() == 10
    assert sum(map(len, found.communities)) == 10


@pytest.mark.parametrize(
    ("weights", "options", "error", "says"),
    [
        (-random_weights(), QUICK, TableError, "negative"),
        (np.zeros((5, 5)), QUICK, TableError, "0 edges"),
        (random_weights(), dataclasses.replace(QUICK, edge_measure="cuont"), OptionError, "Did you mean 'count'"),
        (random_weights(), dataclasses.replace(QUICK, spread_from=("region-99",)), OptionError, "no region"),
    ],
)
def test_what_cannot_be_analysed_says_why(weights, options, error, says):
    with pytest.raises(error, match=says):
        analyze(connectome(weights), options)


def test_the_strongest_edges_can_be_kept():
    weights = random_weights()
    found = analyze(connectome(weights), dataclasses.replace(QUICK, edge_density=0.3))
    assert found.numbers["density"] <= 0.3
    assert found.numbers["mean_strength"] > 0.3 * weights.sum() / 12


def test_the_command_writes_tables_pictures_and_definitions(copy):
    from typer.testing import CliRunner

    from tractome_cli.app import app

    done = CliRunner().invoke(app, ["analyze", str(copy), "--nulls", "2", "--partitions", "4"])
    assert done.exit_code == 0, done.output
    folder = copy / "sub-01" / "analysis"
    told = json.loads((folder / "sub-01_seg-labels_analysis.json").read_text())
    assert set(told["numbers"]) <= set(told["definitions"])
    assert told["settings"]["measure"] == "count"
    with (folder / "sub-01_seg-labels_regions.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert sum(map(len, told["communities"])) == sum(row["strength"] != "n/a" for row in rows)
    for name in ("communities", "curves", "spread"):
        assert (folder / f"sub-01_seg-labels_{name}.png").stat().st_size > 5000
    apart = CliRunner().invoke(app, ["analyze", str(folder / "sub-01_seg-labels_agreement.tsv")])
    assert apart.exit_code == 2
    told = CliRunner().invoke(app, ["analyze", str(copy), "--atlas", "labels", "--nulls", "0", "--partitions", "4"])
    assert told.exit_code == 0
    other = CliRunner().invoke(app, ["analyze", str(copy), "--atlas", "other"])
    assert other.exit_code == 2 and "it has: sub-01_seg-labels_connectome.npz" in other.output.replace("\n", "")
