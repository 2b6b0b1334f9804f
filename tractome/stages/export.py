"""export: from matrices to what other tools are given: chosen edges, scaled as asked, and the graph of them."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome, Measure
from tractome.datatypes.graph import BrainGraph, GraphSet
from tractome.datatypes.measures import P_VALUE
from tractome.errors import OptionError
from tractome.options import GraphOptions

DEFAULT_NODE_FEATURES = ("centroid", "volume", "fa", "md", "strength")
DEFAULT_EDGE_FEATURES = ("count", "fa", "md", "length")

_SIDES = {"L": -1.0, "R": 1.0, "B": 0.0}


@dataclasses.dataclass(frozen=True)
class NodeFeature:
    """One row of `NODE_FEATURES`: names of its columns, and their values (n_regions, n_columns)."""

    columns: Callable[[Connectome], tuple[str, ...]]
    values: Callable[[Connectome, str], NDArray[np.float64]]
    """Of a prepared connectome and the name of its edge measure."""


def _one(name: str) -> Callable[[Connectome], tuple[str, ...]]:
    return lambda _: (name,)


NODE_FEATURES: dict[str, NodeFeature] = {
    "centroid": NodeFeature(lambda _: ("x_mm", "y_mm", "z_mm"), lambda c, _: c.centroids_mm),
    "volume": NodeFeature(_one("volume_mm3"), lambda c, _: c.volumes_mm3),
    "strength": NodeFeature(_one("strength"), lambda c, name: c.strength(name)),
    "degree": NodeFeature(_one("degree"), lambda c, name: _degree(c.matrices[name])),
    "hemisphere": NodeFeature(
        _one("hemisphere"), lambda c, _: np.array([_SIDES[side] for side in c.regions.hemispheres])
    ),
    "profile": NodeFeature(
        lambda c: tuple(f"profile:{name}" for name in c.regions.names), lambda c, name: np.nan_to_num(c.matrices[name])
    ),
}
"""What a node can have besides the connectome's own node features, such as mean FA; hemisphere is -1 left, 1 right."""


def edge_measure(connectome: Connectome, options: GraphOptions) -> str:
    """The measure that says which edges exist: the one named, else the count, else the first there is."""
    if options.edge_measure is not None:
        return _chosen((options.edge_measure,), (), list(connectome.matrices), "edge_measure")[0]
    return "count" if "count" in connectome.matrices else next(iter(connectome.matrices))


def prepare(connectome: Connectome, options: GraphOptions, *, errors: bool = False) -> Connectome:
    """Choose and scale the edges: what every format but ``npz`` is written from.

    In this order: edges below `min_count`, below `edge_threshold`, with a p-value above `max_p` or not among the
    strongest `edge_density` of what is left are left out of all matrices (0; a mean is NaN there), as are
    self-connections unless kept; then values are normalised, then transformed. Both of these change the edge measure
    and every measure that adds up, and not means such as FA, which stay in their own unit. A standard error goes with
    its measure, to first order; of a binary edge there is none.

    Parameters
    ----------
    connectome : Connectome
    options : GraphOptions
    errors : bool
        Whether standard errors and all else that says how sure an edge is stay too; without, those only that the
        options name.

    Returns
    -------
    Connectome
        Its measures' definitions and units say what was done to each; `metadata` has every choice and the density
        that came of it.

    Raises
    ------
    OptionError
        The edge measure is not there, or has negative values and the logarithm is wanted; or p-values are wanted and
        there are none.
    """
    name = edge_measure(connectome, options)
    kept = kept_edges(connectome, options)
    named = (*connectome.plain_measures, name, *(options.edge_features or ()))
    matrices, measures = {}, {}
    for each, matrix in connectome.matrices.items():
        if not errors and each not in named:
            continue
        measure = connectome.measures[each]
        chosen = np.where(kept, matrix, np.nan if measure.is_mean else 0.0)
        owner = connectome.measures.get(measure.about)  # None too for an error that was read without its measure
        if owner is not None and measure.is_error and _is_scaled(owner, name):
            if options.edge_transform == "binary":
                continue
            of = np.where(kept, connectome.matrices[measure.about], 0.0)
            chosen, measure = _scaled_error(chosen, of, measure, options)
        elif (not measure.about or each == name) and _is_scaled(measure, name):
            chosen, measure = _scaled(chosen, measure, kept, options)
        matrices[each], measures[each] = chosen, measure
    n_pairs = connectome.n_regions * (connectome.n_regions - 1) // 2
    n_kept = int(np.count_nonzero(np.triu(kept, 1)))
    metadata = {
        **connectome.metadata,
        "edges_from": name,
        "min_count": f"{options.min_count:g}",
        "edge_threshold": _stated(options.edge_threshold),
        "max_p": _stated(options.max_p),
        "edge_density": _stated(options.edge_density),
        "edge_normalisation": options.edge_normalisation,
        "edge_transform": options.edge_transform,
        "self_connections": "kept" if options.keep_self_connections else "dropped",
        "density": f"{n_kept / n_pairs if n_pairs else 0.0:.6g}",
    }
    return dataclasses.replace(connectome, matrices=matrices, measures=measures, metadata=metadata)


def _stated(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def kept_edges(connectome: Connectome, options: GraphOptions) -> NDArray[np.bool_]:
    """Which entries are edges, (N, N) bool, symmetric: not absent, not 0, and strong enough for the options."""
    matrix = connectome.matrices[edge_measure(connectome, options)]
    kept: NDArray[np.bool_] = np.isfinite(matrix) & (matrix != 0)
    if "count" in connectome.matrices:
        kept &= connectome.matrices["count"] >= options.min_count
    if options.edge_threshold is not None:
        kept &= np.abs(matrix) >= options.edge_threshold
    if options.max_p is not None:
        kept &= (_p_values(connectome) <= options.max_p) | np.eye(connectome.n_regions, dtype=bool)
    if options.edge_density is not None:
        kept &= np.abs(matrix) >= _cut(np.abs(matrix), kept, options.edge_density)
    if not options.keep_self_connections:
        np.fill_diagonal(kept, False)
    return kept


def _p_values(connectome: Connectome) -> NDArray[np.float64]:
    if P_VALUE not in connectome.matrices:
        message = (
            f"max_p needs the measure {P_VALUE!r}, and there are {', '.join(connectome.matrices)}. Make the matrices "
            "again with tractome connect, without --no-errors, or choose edges by another option."
        )
        raise OptionError(message)
    p = connectome.matrices[P_VALUE]
    if not np.isfinite(p).any():
        message = (
            "max_p: no edge of this connectome has a p-value; there are too few regions or streamlines for one. Leave "
            "max_p out, or track more streamlines."
        )
        raise OptionError(message)
    return p


def _cut(strength: NDArray[np.float64], kept: NDArray[np.bool_], density: float) -> float:
    """Lowest strength that stays, so that of all pairs at most a share of `density` does."""
    n_regions = len(strength)
    # Rounded down, but 0.1 x 4950 pairs is 495 and not 494 of them.
    wanted = int(np.floor(density * (n_regions * (n_regions - 1) // 2) + 1e-9))
    values = np.sort(strength[np.triu(kept, 1)])[::-1]
    if len(values) <= wanted:
        return 0.0
    larger = values[:wanted][values[:wanted] > values[wanted]]
    return float(larger[-1]) if len(larger) else float("inf")


def _scaled(
    matrix: NDArray[np.float64], measure: Measure, kept: NDArray[np.bool_], options: GraphOptions
) -> tuple[NDArray[np.float64], Measure]:
    """Normalise, then transform one matrix; its measure says so."""
    unit, done = measure.unit, ""
    values = np.nan_to_num(matrix)
    if options.edge_normalisation in ("sum", "strength") or options.edge_transform == "log":
        _require_positive(values, measure.name)
    if options.edge_normalisation != "none":
        values = _normalised(values, options.edge_normalisation)
        divisor = {"max": "the largest", "sum": "the sum of all edges", "strength": "sqrt(strength x strength)"}
        unit, done = "unitless", f" Here divided by {divisor[options.edge_normalisation]}."
    if options.edge_transform == "log":
        values, done = np.log1p(values), f"{done} Here log(1 + value)."
        unit = f"log(1 + {unit})"
    elif options.edge_transform == "binary":
        values, unit, done = (values != 0).astype(np.float64), "unitless", " Here 1 where there is an edge."
    result: NDArray[np.float64] = np.where(kept, values, np.nan) if measure.is_mean else values
    return result, dataclasses.replace(measure, unit=unit, definition=measure.definition + done)


def _is_scaled(measure: Measure, edge_measure: str) -> bool:
    """Whether normalisation and transform change a measure."""
    return measure.name == edge_measure or not measure.is_mean


def _scaled_error(
    error: NDArray[np.float64], of: NDArray[np.float64], measure: Measure, options: GraphOptions
) -> tuple[NDArray[np.float64], Measure]:
    """A standard error after what `_scaled` does to its measure `of`, the divisor taken as known."""
    values = np.nan_to_num(of)
    normalised = values if options.edge_normalisation == "none" else _normalised(values, options.edge_normalisation)
    slope = np.divide(normalised, values, out=np.ones_like(values), where=values != 0)
    unit, done = (measure.unit, "") if options.edge_normalisation == "none" else ("unitless", " Here divided alike.")
    if options.edge_transform == "log":
        slope = slope / (1.0 + normalised)
        unit, done = f"log(1 + {unit})", f"{done} Here of log(1 + value), to first order."
    return error * slope, dataclasses.replace(measure, unit=unit, definition=measure.definition + done)


def _require_positive(values: NDArray[np.float64], name: str) -> None:
    if (values < 0).any():
        message = (
            f"{name} has negative values (down to {values.min():g}), of which no logarithm, sum or strength is taken. "
            "Choose another normalisation and transform, or take absolute values when the matrix is imported."
        )
        raise OptionError(message)


def _normalised(values: NDArray[np.float64], how: str) -> NDArray[np.float64]:
    if how == "strength":
        strength = values.sum(axis=1)
        root = np.sqrt(strength[:, None] * strength[None, :])
        scaled: NDArray[np.float64] = np.divide(values, root, out=np.zeros_like(values), where=root > 0)
        return scaled
    divisor = np.abs(values).max() if how == "max" else np.triu(values).sum()
    return values / divisor if divisor != 0 else values


def _degree(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    present = np.nan_to_num(matrix) != 0
    np.fill_diagonal(present, False)
    degree: NDArray[np.float64] = present.sum(axis=1).astype(np.float64)
    return degree


def to_graph(connectome: Connectome, options: GraphOptions) -> BrainGraph:
    """Make a graph: a node per region, an edge where streamlines run.

    Parameters
    ----------
    connectome : Connectome
        As it is, not prepared: `prepare` is the first thing done here.
    options : GraphOptions

    Returns
    -------
    BrainGraph
        Node i is row i, also for a region that the subject lacks: its features and position are then 0, its volume
        too, and ``metadata["missing_regions"]`` names it. An edge with a feature that is absent (all of its
        streamlines missed the map) is left out and counted in ``metadata["edges_without_value"]``.

    Raises
    ------
    OptionError
        A feature is not known.
    """
    name = edge_measure(connectome, options)
    prepared = prepare(connectome, options)
    edge_names = _chosen(options.edge_features, DEFAULT_EDGE_FEATURES, list(connectome.matrices), "edge_features")
    columns, x = node_features(prepared, name, options)
    rows, targets = np.nonzero(kept_edges(connectome, options))
    attributes = np.stack([prepared.matrices[each][rows, targets] for each in edge_names], axis=1)
    complete = np.isfinite(attributes).all(axis=1)
    missing = [n for n, v in zip(connectome.regions.names, connectome.volumes_mm3, strict=True) if v == 0]
    metadata = {
        **prepared.metadata,
        "edges_without_value": str(int(np.count_nonzero(~complete & (rows <= targets)))),
        "missing_regions": "; ".join(missing),
        "node_frame": "RAS+ mm",
    }
    return BrainGraph(
        x=np.nan_to_num(x, nan=0.0).astype(np.float32),
        edge_index=np.stack([rows[complete], targets[complete]]),
        edge_attr=attributes[complete].astype(np.float32),
        pos=np.nan_to_num(connectome.centroids_mm, nan=0.0).astype(np.float32),
        node_names=connectome.regions.names,
        node_features=columns,
        edge_features=edge_names,
        metadata=metadata,
    )


def node_features(
    prepared: Connectome, measure: str, options: GraphOptions
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Names and values (n_regions, n_columns) of the chosen node features, absent ones NaN."""
    own = {
        name: NodeFeature(_one(name), lambda c, _, name=name: c.node_features[name])  # type: ignore[misc]
        for name in prepared.node_features
    }
    known = {**own, **NODE_FEATURES}
    default = tuple(name for name in DEFAULT_NODE_FEATURES if _is_known(name, prepared))
    names = _chosen(options.node_features, default, list(known), "node_features")
    columns = tuple(column for name in names for column in known[name].columns(prepared))
    values = [known[name].values(prepared, measure).reshape(prepared.n_regions, -1) for name in names]
    return columns, np.concatenate(values, axis=1) if values else np.zeros((prepared.n_regions, 0))


def _is_known(name: str, connectome: Connectome) -> bool:
    """Whether a feature says anything: a matrix made elsewhere has no centroids and volumes."""
    if name == "centroid":
        return bool(np.isfinite(connectome.centroids_mm).any())
    if name == "volume":
        return bool(np.isfinite(connectome.volumes_mm3).any())
    return True


def _chosen(
    wanted: tuple[str, ...] | None, default: tuple[str, ...], available: list[str], option: str
) -> tuple[str, ...]:
    if wanted is None:
        found = tuple(name for name in default if name in available)
        return found or tuple(available[:1])
    for name in wanted:
        if name not in available:
            close = difflib.get_close_matches(name, available, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            message = f"{option}: {name!r} is not there; choose among: {', '.join(available)}.{hint}"
            raise OptionError(message)
    if option == "edge_features" and not wanted:
        message = "edge_features is empty; a graph needs at least one, such as count."
        raise OptionError(message)
    return tuple(wanted)


def to_graphs(
    connectomes: Sequence[Connectome], subjects: Sequence[str], labels: Sequence[str] | None, options: GraphOptions
) -> GraphSet:
    """Make the graphs of many subjects to learn from together.

    Parameters
    ----------
    connectomes, subjects : one per subject
    labels : sequence of str or None
        What is to be learned, one per subject. Where all are numbers (such as ages) they stay numbers; anything else
        becomes classes, numbered from 0 in alphabetical order.
    options : GraphOptions
        With `edge_density` or a threshold every subject's graph has edges of its own.

    Raises
    ------
    TableError
        The connectomes have not the same regions in the same order.
    OptionError
        A feature is not known in one of them.
    """
    graphs = tuple(to_graph(each, options) for each in connectomes)
    if labels is None:
        return GraphSet(graphs, tuple(subjects))
    if all(_is_decimal(label) for label in labels):
        return GraphSet(graphs, tuple(subjects), np.array([float(label) for label in labels]))
    classes = tuple(sorted(set(labels)))
    y = np.array([classes.index(label) for label in labels])
    return GraphSet(graphs, tuple(subjects), y, classes)


def _is_decimal(label: str) -> bool:
    try:
        return bool(np.isfinite(float(label)))
    except ValueError:
        return False
