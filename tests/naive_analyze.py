"""Slow twins of what `analyze` works out itself."""

from __future__ import annotations

import numpy as np
from naive_tracking import random_bits


def hitting_times(weights, source):
    """Mean steps of a random walk from a region to each other: one system of equations per target."""
    n = len(weights)
    walk = weights / weights.sum(axis=1, keepdims=True)
    found = np.zeros(n)
    for target in range(n):
        if target == source:
            continue
        others = [node for node in range(n) if node != target]
        times = np.linalg.solve(np.eye(n - 1) - walk[np.ix_(others, others)], np.ones(n - 1))
        found[target] = times[others.index(source)]
    return found


def diffused(weights, sources, times, n_steps=20_000):
    """Amounts by small steps of dx/dt = -(1 - W / (root of both strengths)) x, amounts being root(strength) x."""
    strength = weights.sum(axis=1)
    root = np.sqrt(strength)
    laplacian = np.eye(len(weights)) - weights / np.outer(root, root)
    state = np.zeros(len(weights))
    state[sources] = 1 / len(sources)
    state = state / root
    step, now, rows = times[-1] / n_steps, 0, []
    for at in times:
        while now * step < at - step / 2:
            middle = state - 0.5 * step * laplacian @ state
            state = state - step * laplacian @ middle
            now += 1
        rows.append(state * root)
    return np.array(rows)


def participation(weights, label):
    """Guimera and Amaral 2005, term by term."""
    strength = weights.sum(axis=1)
    found = np.ones(len(weights))
    for node in range(len(weights)):
        for community in set(label):
            found[node] -= (weights[node, label == community].sum() / strength[node]) ** 2
    return found


def shortest(lengths):
    """Floyd and Warshall."""
    apart = lengths.copy()
    for via in range(len(apart)):
        apart = np.minimum(apart, apart[:, via : via + 1] + apart[via : via + 1])
    return apart


def rewired(edges, seed, stream, n_swaps, most_tries):
    """Edges after pairs of them changed partners, one set of pairs and one draw after the other."""
    edges = [tuple(map(int, edge)) for edge in edges]
    there = {frozenset(edge) for edge in edges}
    n_done = 0
    for draw in range(most_tries if len(edges) > 1 else 0):
        if n_done == n_swaps:
            break
        bits = random_bits(seed, stream, draw)
        one, other = (bits >> 33) % len(edges), ((bits >> 1) % 2**31) % len(edges)
        (a, b), (c, d) = edges[one], edges[other][:: -1 if bits % 2 else 1]
        if len({a, b, c, d}) < 4 or there & {frozenset((a, d)), frozenset((c, b))}:
            continue
        there -= {frozenset((a, b)), frozenset((c, d))}
        there |= {frozenset((a, d)), frozenset((c, b))}
        edges[one], edges[other] = (a, d), (c, b)
        n_done += 1
    return edges, n_done
