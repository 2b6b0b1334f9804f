"""Long-range connections: how many, how strong, how myelinated, and what the graph is without them."""

from __future__ import annotations

import numpy as np

from tractome.datatypes.analysis import Curve
from tractome.stages.analyze.network import Matrix, Network
from tractome.stages.analyze.paths import distances, nodal_efficiency

_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_N_RANDOM = 20
_LONGEST_SHARE = 0.25


def long_range(
    network: Network, fa: Matrix | None, long_mm: float | None, random_seed: int
) -> tuple[dict[str, float], dict[str, Curve]]:
    """Share and FA of the long edges, and efficiency as they are taken away.

    Beside the long edges, as many edges are removed at random (mean of 20 draws) and as many of the shortest: a graph
    leans on its long edges where it loses more by them. Lengths of removed edges do not change those of the others.

    Parameters
    ----------
    network : Network
    fa : (n, n) float64 or None
    long_mm : float or None
        None for the longest quarter.
    random_seed : int
    """
    first, second = network.edges
    millimetres, weights = network.millimetres[first, second], network.weights[first, second]
    known = np.isfinite(millimetres)
    if not known.any():
        return {}, {}
    limit = float(np.quantile(millimetres[known], 1 - _LONGEST_SHARE)) if long_mm is None else long_mm
    is_long = known & (millimetres >= limit)
    numbers = {
        "long_range_mm": limit,
        "long_range_edge_share": float(is_long.mean()),
        "long_range_weight_share": float(weights[is_long].sum() / weights.sum()),
        "edge_length_mean_mm": float(np.average(millimetres[known], weights=weights[known])),
    }
    if fa is not None:
        values = fa[first, second]
        for name, chosen in (("long_range_fa", is_long), ("short_range_fa", known & ~is_long)):
            chosen = chosen & np.isfinite(values)
            numbers[name] = float(np.average(values[chosen], weights=weights[chosen])) if chosen.any() else np.nan
    order = np.flatnonzero(is_long)[np.argsort(-millimetres[is_long], kind="stable")]
    shortest = np.flatnonzero(known)[np.argsort(millimetres[known], kind="stable")]
    random = np.random.default_rng(random_seed + 2)
    columns: dict[str, list[float]] = {"longest_first": [], "at_random": [], "shortest_first": []}
    for share in _SHARES:
        n_removed = round(share * len(order))
        columns["longest_first"].append(_efficiency_without(network, order[:n_removed]))
        columns["shortest_first"].append(_efficiency_without(network, shortest[:n_removed]))
        draws = [random.choice(len(first), n_removed, replace=False) for _ in range(_N_RANDOM)]
        columns["at_random"].append(float(np.mean([_efficiency_without(network, draw) for draw in draws])))
    whole = columns["longest_first"][0]
    curve = Curve(
        "share of the long edges removed",
        np.array(_SHARES),
        {name: np.array(values) / whole if whole else np.array(values) for name, values in columns.items()},
    )
    numbers["efficiency_without_long"] = float(curve.columns["longest_first"][-1])
    numbers["efficiency_without_random"] = float(curve.columns["at_random"][-1])
    return numbers, {"robustness": curve}


def _efficiency_without(network: Network, removed: np.ndarray[tuple[int], np.dtype[np.intp]]) -> float:
    first, second = network.edges
    lengths = network.lengths.copy()
    lengths[first[removed], second[removed]] = np.inf
    lengths[second[removed], first[removed]] = np.inf
    return float(nodal_efficiency(distances(lengths)).mean())
