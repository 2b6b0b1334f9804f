"""analyze: what the graph says, by kept libraries (networkx, bctpy, scipy).

Degree and strength, paths, clustering, communities with their consensus, small world and rich club against rewired
graphs, long-range connections, and flow. Rubinov and Sporns 2010 is the survey behind most of it.
"""

from __future__ import annotations

import difflib
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.analysis import Analysis
from tractome.datatypes.connectome import Connectome
from tractome.errors import OptionError
from tractome.options import AnalyzeOptions
from tractome.stages.analyze import flow
from tractome.stages.analyze.communities import Communities, find_communities
from tractome.stages.analyze.definitions import DEFINITIONS
from tractome.stages.analyze.distance import long_range
from tractome.stages.analyze.network import Matrix, Network, Vector, build_network
from tractome.stages.analyze.organisation import clustering, organisation
from tractome.stages.analyze.paths import betweenness, distances, nodal_efficiency, path_length

__all__ = ["analyze"]


def analyze(connectome: Connectome, options: AnalyzeOptions) -> Analysis:
    """Analyse one connectome as a weighted graph.

    Regions that the subject lacks take no part and have NaN; self-connections do not count.

    Parameters
    ----------
    connectome : Connectome
    options : AnalyzeOptions

    Returns
    -------
    Analysis
        Equal input and options give equal numbers.

    Raises
    ------
    OptionError
        A measure or a region that the connectome lacks.
    TableError
        Negative weights, too few regions, or no edge.
    """
    network = build_network(connectome, options)
    sources = _sources(connectome, network, options.spread_from)
    apart = distances(network.lengths)
    communities = find_communities(network.weights, options.resolution, options.n_partitions, options.random_seed)
    numbers, curves = organisation(network.weights, options.n_nulls, options.random_seed)
    fa = connectome.matrices["fa"][np.ix_(network.rows, network.rows)] if "fa" in connectome.matrices else None
    of_long, robustness = long_range(network, fa, options.long_mm, options.random_seed)
    times, amounts = flow.diffusion(network.weights, sources, options.spread_time)
    names = tuple(connectome.regions.names[row] for row in network.rows)
    per_region = _per_region(network, apart, communities)
    per_region |= {
        "path_from_source": apart[sources].min(axis=0),
        "walk_steps_from_source": flow.walk_steps(network.weights, int(sources[0])),
        "half_peak_time": _half_peak(times, amounts),
    }
    pairs = {
        "shortest_path": apart,
        "communicability": flow.communicability(network.weights),
        "agreement": communities.agreement,
    }
    found_curves = curves | robustness | {"spread": flow.spread_curve(times, amounts, names)}
    whole = (
        _numbers(network, apart, communities, per_region)
        | numbers
        | of_long
        | {"half_time": _half_time(times, amounts)}
    )
    told = {*whole, *per_region, *pairs, *found_curves}
    return Analysis(
        connectome.regions,
        whole,
        {name: _in_rows(values, network, connectome.n_regions) for name, values in per_region.items()},
        found_curves,
        {name: _in_matrix(values, network, connectome.n_regions) for name, values in pairs.items()},
        {name: text for name, text in DEFINITIONS.items() if name in told},
        _settings(network, options, [names[row] for row in sources]),
    )


def _sources(connectome: Connectome, network: Network, asked: tuple[str, ...]) -> NDArray[np.intp]:
    """Rows of the network that flow starts from."""
    names = [connectome.regions.names[row] for row in network.rows]
    for name in asked:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            absent = " It is in the atlas, but missing in this subject." if name in connectome.regions.names else ""
            message = f"There is no region {name!r} for flow to spread from.{absent}{hint}"
            raise OptionError(message)
    if asked:
        return np.array([names.index(name) for name in asked], dtype=np.intp)
    return np.array([int(network.weights.sum(axis=1).argmax())], dtype=np.intp)


def _per_region(network: Network, apart: Matrix, communities: Communities) -> dict[str, Vector]:
    import bct

    weights = network.weights
    return {
        "degree": np.count_nonzero(weights, axis=1).astype(np.float64),
        "strength": weights.sum(axis=1),
        "clustering": clustering(weights),
        "efficiency": nodal_efficiency(apart),
        "betweenness": betweenness(network.lengths, apart),
        "eigenvector": np.asarray(bct.eigenvector_centrality_und(weights), np.float64),
        "community": communities.label.astype(np.float64),
        "participation": communities.participation,
        "within_z": communities.within_z,
    }


def _numbers(
    network: Network, apart: Matrix, communities: Communities, per_region: dict[str, Vector]
) -> dict[str, float]:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    weights, n = network.weights, network.n
    n_edges = len(network.edges[0])
    pairs = communities.agreement[np.triu_indices(n, k=1)]
    return {
        "n_regions": float(n),
        "n_edges": float(n_edges),
        "density": 2 * n_edges / (n * (n - 1)),
        "n_components": float(connected_components(csr_array(weights), directed=False)[0]),
        "mean_degree": 2 * n_edges / n,
        "mean_strength": float(weights.sum() / n),
        "global_efficiency": float(per_region["efficiency"].mean()),
        "path_length": path_length(apart),
        "mean_clustering": float(per_region["clustering"].mean()),
        "transitivity": _transitivity(weights),
        "assortativity": _assortativity(weights),
        "modularity": communities.modularity,
        "n_communities": float(communities.label.max()),
        "partition_agreement": float(np.maximum(pairs, 1 - pairs).mean()),
    }


def _transitivity(weights: Matrix) -> float:
    """Closed triples over all, weights as shares of the largest, by bctpy; NaN where there is no triple."""
    import bct

    with np.errstate(invalid="ignore"):
        return float(bct.transitivity_wu(weights / weights.max()))


def _assortativity(weights: Matrix) -> float:
    """Newman 2002, with strengths in place of degrees; NaN where all are equal."""
    first, second = np.nonzero(weights)
    strength = weights.sum(axis=1)
    ends = strength[first], strength[second]
    if np.ptp(ends[0]) == 0:
        return float("nan")
    return float(np.corrcoef(*ends)[0, 1])


def _half_peak(times: Vector, amounts: Matrix) -> Vector:
    reached = amounts >= 0.5 * amounts.max(axis=0)
    first = reached.argmax(axis=0)
    return np.where(amounts.max(axis=0) > 0, times[first], np.nan)


def _half_time(times: Vector, amounts: Matrix) -> float:
    """When the distance from the last state followed is half of what it was."""
    away = 0.5 * np.abs(amounts - amounts[-1]).sum(axis=1)
    return float(times[int((away <= 0.5 * away[0]).argmax())])


def _in_rows(values: Vector, network: Network, n_regions: int) -> Vector:
    found = np.full(n_regions, np.nan)
    found[network.rows] = values
    return found


def _in_matrix(values: Matrix, network: Network, n_regions: int) -> Matrix:
    found = np.full((n_regions, n_regions), np.nan)
    found[np.ix_(network.rows, network.rows)] = values
    return found


def _settings(network: Network, options: AnalyzeOptions, sources: list[str]) -> dict[str, str]:
    stated = {field.name: str(getattr(options, field.name)) for field in fields(options)}
    rules = {
        "inverse": "1 / weight",
        "log": "-log(weight / largest weight)",
        "mm": f"{network.millimetres_from}, mm, whatever the weight",
    }
    chosen = {
        "measure": network.measure,
        "lengths": rules[options.lengths],
        "edge_lengths_mm": network.millimetres_from,
        "spread_from": "; ".join(sources),
    }
    return stated | chosen
