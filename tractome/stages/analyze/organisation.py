"""Small world and rich club, both against rewired graphs of equal degrees."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tractome.datatypes.analysis import Curve
from tractome.stages.analyze.network import Matrix
from tractome.stages.analyze.paths import distances, path_length

_REWIRINGS = 10
"""Times that an edge changes partners, on average (as Maslov and Sneppen 2002)."""

_MOST_TRIES = 100
"""Per change of partners: in a graph of nearly all pairs there are few places to go."""


def clustering(weights: Matrix) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Clustering of each region, weights as shares of the largest (Onnela et al. 2005), by bctpy."""
    import bct

    return np.asarray(bct.clustering_coef_wu(weights / weights.max()), np.float64)


def rewired(weights: Matrix, n_nulls: int, random_seed: int) -> Iterator[Matrix]:
    """Graphs of the same degrees whose edges lead elsewhere; each keeps its weight."""
    from tractome.kernels.rewiring import rewire

    first, second = np.nonzero(np.triu(weights, k=1))
    values = weights[first, second]
    n_swaps = _REWIRINGS * len(values)
    for stream in range(n_nulls):
        one, other = first.astype(np.int64), second.astype(np.int64)
        key = np.array([random_seed, stream], np.uint64)
        rewire(one, other, weights > 0, key, n_swaps, _MOST_TRIES * n_swaps)
        found = np.zeros_like(weights)
        found[one, other] = found[other, one] = values
        yield found


def organisation(weights: Matrix, n_nulls: int, random_seed: int) -> tuple[dict[str, float], dict[str, Curve]]:
    """Small-worldness and the rich club.

    Small-worldness (Humphries and Gurney 2008): clustering over that of rewired graphs, divided by path length over
    theirs, path lengths by 1 / weight. Rich club, weighted (Opsahl et al. 2008): weight among the regions of degree
    above k, as a share of the strongest edges of that number; over the mean of rewired graphs, with the share of these
    that reach it.
    """
    own, nulls = _described(weights), [_described(each) for each in rewired(weights, n_nulls, random_seed)]
    if not nulls:
        return {}, {}
    clusterings, paths = (np.array([null[part] for null in nulls]) for part in (0, 1))
    of_clustering, of_path = own[0] / _mean(clusterings), own[1] / _mean(paths)
    numbers = {
        "clustering_ratio": of_clustering,
        "path_length_ratio": of_path,
        "small_worldness": of_clustering / of_path,
    }
    degrees = np.arange(1, len(own[2]) + 1, dtype=np.float64)
    by_chance = np.array([null[2][: len(degrees)] for null in nulls])
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {
            "rich_club": own[2],
            "of_rewired": by_chance.mean(axis=0),
            "ratio": own[2] / by_chance.mean(axis=0),
            "p": (1 + (by_chance >= own[2] - 1e-12).sum(axis=0)) / (n_nulls + 1),
        }
    columns["p"][~np.isfinite(own[2])] = np.nan
    return numbers, {"rich_club": Curve("degree above", degrees, columns)}


def _described(weights: Matrix) -> tuple[float, float, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    import bct

    with np.errstate(divide="ignore", invalid="ignore"):
        lengths = np.where(weights > 0, 1.0 / weights, np.inf)
        np.fill_diagonal(lengths, 0.0)
        club = np.asarray(bct.rich_club_wu(weights), np.float64)
    return float(clustering(weights).mean()), path_length(distances(lengths)), club


def _mean(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return float(values.mean()) if values.any() else float("nan")
