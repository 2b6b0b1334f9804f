"""Rewired graphs: the slow twin, degrees, whether every graph of them is as likely, and bctpy's."""

from __future__ import annotations

from collections import Counter

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tractome.kernels.rewiring import rewire
from tractome.stages.analyze.organisation import clustering, rewired
from tractome.stages.analyze.paths import betweenness, distances


def random_weights(seed, n=14, share=0.4):
    rng = np.random.default_rng(seed)
    weights = np.triu(np.where(rng.random((n, n)) < share, rng.exponential(size=(n, n)), 0.0), k=1)
    return weights + weights.T


@pytest.mark.parametrize("share", [0.0, 0.15, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_slow_twin(seed, share):
    weights = random_weights(seed, share=share)
    ends = np.argwhere(np.triu(weights > 0))
    first, second, there = *ends.T.astype(np.int64).copy(), weights > 0
    n_done = rewire(first, second, there, np.array([seed, 7], np.uint64), 200, 3000)
    expected, n_expected = naive.rewired(ends, seed, 7, 200, 3000)
    assert n_done == n_expected
    assert [*zip(first.tolist(), second.tolist(), strict=True)] == expected
    again = np.zeros_like(there)
    again[first, second] = again[second, first] = True
    np.testing.assert_array_equal(there, again)


@given(st.integers(0, 2**31 - 1), st.floats(0.05, 0.9))
@settings(max_examples=30, deadline=None)
def test_degrees_and_weights_stay_and_edges_move(seed, share):
    weights = random_weights(seed, share=share)
    for each in rewired(weights, 2, seed):
        np.testing.assert_array_equal(each, each.T)
        assert not np.diag(each).any()
        np.testing.assert_array_equal((each > 0).sum(axis=0), (weights > 0).sum(axis=0))
        np.testing.assert_array_equal(np.sort(each[each > 0]), np.sort(weights[weights > 0]))
    if 0.3 < (weights > 0).mean() < 0.6:
        assert ((each > 0) != (weights > 0)).any()


def test_a_graph_does_not_depend_on_how_many_are_made():
    weights = random_weights(3)
    few, many = list(rewired(weights, 2, 5)), list(rewired(weights, 4, 5))
    np.testing.assert_array_equal(few, many[:2])
    assert not np.array_equal(many[0], many[1])
    assert not np.array_equal(few[0], next(rewired(weights, 1, 6)))


def test_every_graph_of_the_degrees_is_as_likely():
    """Six regions with one edge each can be paired in 15 ways."""
    weights = np.zeros((6, 6))
    for a in (0, 2, 4):
        weights[a, a + 1] = weights[a + 1, a] = 1.0
    n = 3000
    found = Counter(each.tobytes() for each in rewired(weights, n, 0))
    assert len(found) == 15
    expected = n / 15
    chi_squared = sum((number - expected) ** 2 / expected for number in found.values())
    assert chi_squared < 36.1, "p < 0.001 for 14 degrees of freedom"


def test_clustering_of_rewired_graphs__bctpy_comparison():
    import bct

    ring = np.zeros((40, 40))
    for step in (1, 2, 3):
        ring += np.roll(np.eye(40), step, axis=1) + np.roll(np.eye(40), -step, axis=1)
    ours = [clustering(each).mean() for each in rewired(ring, 40, 0)]
    theirs = [clustering(bct.randmio_und(ring, 10, seed=seed)[0]).mean() for seed in range(40)]
    error = np.hypot(np.std(ours), np.std(theirs)) / np.sqrt(40)
    assert abs(np.mean(ours) - np.mean(theirs)) < 4 * error
    assert np.mean(ours) < 0.4 * clustering(ring).mean()


@pytest.mark.parametrize("seed", range(3))
def test_betweenness_needs_only_the_edges_that_are_shortest_paths(seed):
    import networkx as nx

    weights = random_weights(seed, 25, share=0.8)
    if seed == 2:
        weights = np.ceil(weights)  # many ways of one length
    lengths = np.where(weights > 0, 1.0 / np.where(weights > 0, weights, 1.0), np.inf)
    np.fill_diagonal(lengths, 0.0)
    graph = nx.Graph()
    graph.add_weighted_edges_from([(a, b, lengths[a, b]) for a, b in np.argwhere(np.triu(weights > 0))])
    expected = nx.betweenness_centrality(graph, weight="weight")
    found = betweenness(lengths, distances(lengths))
    np.testing.assert_allclose(found, [expected[node] for node in range(25)], atol=1e-12)
