"""What is said about an edge, from what was added up over its streamlines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Measure
from tractome.datatypes.measures import (
    MAP_UNITS,
    MEASURES,
    mean_length,
    mean_of_map,
    pooled_mean_of_map,
    statistic_of,
)
from tractome.errors import OptionError
from tractome.options import EDGE_STATISTICS

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EdgeSums:
    """What was found over the streamlines of each edge; matrices are (n_regions, n_regions), symmetric."""

    counts: Matrix
    volumes_mm3: NDArray[np.float64]
    statistics: dict[tuple[str, str], Matrix] = field(default_factory=dict)
    """By value (``"length"`` in mm, or a map) and statistic (such as ``"mean"``); NaN where absent, a sum 0."""
    pooled: dict[str, Matrix] = field(default_factory=dict)
    """By map: mean over the voxels that the streamlines cross; NaN where absent."""
    weights: Matrix | None = None
    """Sum of the streamline weights, times mu."""


def _count(sums: EdgeSums) -> Matrix:
    return sums.counts


def _inverse_node_volume(sums: EdgeSums) -> Matrix:
    both_mm3 = sums.volumes_mm3[:, None] + sums.volumes_mm3[None, :]
    # Without voxels no streamline ends in a region, so where both volumes are 0 the count is 0 too.
    return 2.0 * sums.counts / np.where(both_mm3 > 0, both_mm3, 1.0)


def _density(sums: EdgeSums) -> Matrix:
    length_mm = sums.statistics["length", "mean"]
    result = np.zeros_like(sums.counts)
    np.divide(_inverse_node_volume(sums), length_mm, out=result, where=length_mm > 0)
    # Only streamlines of a single point: there is a connection, but nothing to divide by.
    result[length_mm == 0] = np.nan
    return result


def _statistic(name: str, statistic: str = "mean") -> Callable[[EdgeSums], Matrix]:
    return lambda sums: sums.statistics[name, statistic]


def _pooled(name: str) -> Callable[[EdgeSums], Matrix]:
    return lambda sums: sums.pooled[name]


def _weight(sums: EdgeSums) -> Matrix:
    assert sums.weights is not None
    return sums.weights


@dataclass(frozen=True)
class EdgeMeasure:
    """One row of `EDGE_MEASURES`: what the number means, and how it follows from the sums."""

    measure: Measure
    compute: Callable[[EdgeSums], Matrix]
    needs_map: str | None = None
    """Map that must have been sampled along the streamlines."""
    needs_weights: bool = False


EDGE_MEASURES: dict[str, EdgeMeasure] = {
    "count": EdgeMeasure(MEASURES["count"], _count),
    **{name: EdgeMeasure(MEASURES[name], _statistic(name), name) for name in MAP_UNITS},
    "length": EdgeMeasure(MEASURES["length"], _statistic("length")),
    "invnodevol": EdgeMeasure(MEASURES["invnodevol"], _inverse_node_volume),
    "density": EdgeMeasure(MEASURES["density"], _density),
    "weight": EdgeMeasure(MEASURES["weight"], _weight, needs_weights=True),
}
"""One row per measure. A map of any other name gets a row of its own when the matrices are made."""


def available_measures(
    units: dict[str, str],
    statistics: tuple[str, ...] = ("mean",),
    *,
    pooled: bool = False,
    weights: bool = False,
    weighted: bool = False,
) -> dict[str, EdgeMeasure]:
    """Rows of `EDGE_MEASURES` that streamlines allow, and one for each other map, statistic and pooled mean.

    Parameters
    ----------
    units : dict of str to str
        Maps sampled along the streamlines, name to unit.
    statistics : tuple of str
        Of `EDGE_STATISTICS`; without ``"mean"`` the means of maps are left out (that of length stays).
    pooled : bool
        Whether the sums over crossed voxels are there.
    weights, weighted : bool
        Whether streamlines have weights, and whether means and sums are weighted by them.

    Raises
    ------
    OptionError
        A map has the name of another measure.
    """
    rows = {name: row for name, row in EDGE_MEASURES.items() if row.needs_map is None and weights >= row.needs_weights}
    rows["length"] = EdgeMeasure(mean_length(weighted=weighted), _statistic("length"))
    added = [("length", "mm"), *units.items()]
    for name, unit in added:
        for statistic in EDGE_STATISTICS:
            if statistic not in statistics or (name, statistic) == ("length", "mean"):
                continue
            if statistic == "mean":
                row = EdgeMeasure(mean_of_map(name, unit, weighted=weighted), _statistic(name), name)
            else:
                row = EdgeMeasure(statistic_of(name, unit, statistic, weighted=weighted), _statistic(name, statistic))
            _add(rows, row, name)
    for name, unit in units.items() if pooled else ():
        _add(rows, EdgeMeasure(pooled_mean_of_map(name, unit, weighted=weighted), _pooled(name), name), name)
    known = list(EDGE_MEASURES)
    return dict(sorted(rows.items(), key=lambda item: known.index(item[0]) if item[0] in known else len(known)))


def _add(rows: dict[str, EdgeMeasure], row: EdgeMeasure, map_name: str) -> None:
    name = row.measure.name
    if name in rows:
        message = f"A map cannot be called {map_name!r}: {name!r} is the name of another measure. Give it another name."
        raise OptionError(message)
    rows[name] = row
