"""What is said about an edge, from what was added up over its streamlines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Measure
from tractome.datatypes.measures import (
    EFFECTIVE_NUMBER,
    MAP_UNITS,
    MEASURES,
    P_VALUE,
    chance_of_strays,
    effective_number,
    mean_length,
    mean_of_map,
    pooled_mean_of_map,
    standard_error_of,
    statistic_of,
)
from tractome.errors import OptionError
from tractome.options import EDGE_STATISTICS
from tractome.stages.connect import errors as standard_errors
from tractome.stages.connect.chance import chance_pvalues

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
    n_streamlines: int = 0
    """Streamlines looked at, on whatever edge."""
    errors: dict[tuple[str, str], Matrix] = field(default_factory=dict)
    """Standard error of the mean and the sum of each value, by value and statistic."""
    pooled_errors: dict[str, Matrix] = field(default_factory=dict)
    weights_error: Matrix | None = None
    effective: Matrix | None = None
    """Effective number of streamlines; None where each counts alike."""
    centroids_mm: NDArray[np.float64] | None = None
    """(n_regions, 3), of the regions; what p-values need besides."""


def _count(sums: EdgeSums) -> Matrix:
    return sums.counts


def _per_volume(counts: Matrix, volumes_mm3: NDArray[np.float64]) -> Matrix:
    both_mm3 = volumes_mm3[:, None] + volumes_mm3[None, :]
    # Without voxels no streamline ends in a region, so where both volumes are 0 the count is 0 too.
    return 2.0 * counts / np.where(both_mm3 > 0, both_mm3, 1.0)


def _inverse_node_volume(sums: EdgeSums) -> Matrix:
    return _per_volume(sums.counts, sums.volumes_mm3)


def _density(sums: EdgeSums) -> Matrix:
    length_mm = sums.statistics["length", "mean"]
    result = np.zeros_like(sums.counts)
    np.divide(_inverse_node_volume(sums), length_mm, out=result, where=length_mm > 0)
    # Only streamlines of a single point: there is a connection, but nothing to divide by.
    result[length_mm == 0] = np.nan
    return result


def _count_error(sums: EdgeSums) -> Matrix:
    return standard_errors.of_sum(sums.counts, sums.counts, sums.n_streamlines)


def _inverse_node_volume_error(sums: EdgeSums) -> Matrix:
    return _per_volume(_count_error(sums), sums.volumes_mm3)


def _density_error(sums: EdgeSums) -> Matrix:
    above = sums.counts, _count_error(sums)
    below = sums.statistics["length", "mean"], sums.errors["length", "mean"]
    error = standard_errors.of_quotient(_density(sums), above, below)
    return np.where(sums.counts > 0, error, _count_error(sums))


def _statistic(name: str, statistic: str = "mean") -> Callable[[EdgeSums], Matrix]:
    return lambda sums: sums.statistics[name, statistic]


def _statistic_error(name: str, statistic: str = "mean") -> Callable[[EdgeSums], Matrix]:
    return lambda sums: sums.errors[name, statistic]


def _pooled(name: str) -> Callable[[EdgeSums], Matrix]:
    return lambda sums: sums.pooled[name]


def _pooled_error(name: str) -> Callable[[EdgeSums], Matrix]:
    return lambda sums: sums.pooled_errors[name]


def _weight(sums: EdgeSums) -> Matrix:
    assert sums.weights is not None
    return sums.weights


def _weight_error(sums: EdgeSums) -> Matrix:
    assert sums.weights_error is not None
    return sums.weights_error


def _effective(sums: EdgeSums) -> Matrix:
    return sums.counts if sums.effective is None else sums.effective


def _p_value(falloff: bool) -> Callable[[EdgeSums], Matrix]:
    def compute(sums: EdgeSums) -> Matrix:
        assert sums.centroids_mm is not None
        length_mm, is_present = sums.statistics["length", "mean"], sums.volumes_mm3 > 0
        return chance_pvalues(sums.counts, length_mm, sums.centroids_mm, is_present, falloff=falloff)

    return compute


@dataclass(frozen=True)
class EdgeMeasure:
    """One row of `EDGE_MEASURES`: what the number means, and how it follows from the sums."""

    measure: Measure
    compute: Callable[[EdgeSums], Matrix]
    error: Callable[[EdgeSums], Matrix] | None = None
    """Its Monte-Carlo standard error; None where none is known."""
    needs_map: str | None = None
    """Map that must have been sampled along the streamlines."""
    needs_weights: bool = False


EDGE_MEASURES: dict[str, EdgeMeasure] = {
    "count": EdgeMeasure(MEASURES["count"], _count, _count_error),
    **{name: EdgeMeasure(MEASURES[name], _statistic(name), _statistic_error(name), name) for name in MAP_UNITS},
    "length": EdgeMeasure(MEASURES["length"], _statistic("length"), _statistic_error("length")),
    "invnodevol": EdgeMeasure(MEASURES["invnodevol"], _inverse_node_volume, _inverse_node_volume_error),
    "density": EdgeMeasure(MEASURES["density"], _density, _density_error),
    "weight": EdgeMeasure(MEASURES["weight"], _weight, _weight_error, needs_weights=True),
}
"""One row per measure. A map of any other name gets a row of its own when the matrices are made."""


def available_measures(
    units: dict[str, str],
    statistics: tuple[str, ...] = ("mean",),
    *,
    pooled: bool = False,
    weights: bool = False,
    weighted: bool = False,
    errors: bool = False,
    stray_falloff: bool = False,
) -> dict[str, EdgeMeasure]:
    """Rows of `EDGE_MEASURES` that streamlines allow, and one for each other map, statistic, pooled mean and error.

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
    errors : bool
        Whether what standard errors need is there; the effective number of streamlines and the p-value then are
        rows too.
    stray_falloff : bool
        Whether the null of the p-value falls with distance.

    Raises
    ------
    OptionError
        A map has the name of another measure.
    """
    rows = {name: row for name, row in EDGE_MEASURES.items() if row.needs_map is None and weights >= row.needs_weights}
    rows["length"] = EdgeMeasure(mean_length(weighted=weighted), _statistic("length"), _statistic_error("length"))
    added = [("length", "mm"), *units.items()]
    for name, unit in added:
        for statistic in EDGE_STATISTICS:
            if statistic not in statistics or (name, statistic) == ("length", "mean"):
                continue
            if statistic == "mean":
                meaning = mean_of_map(name, unit, weighted=weighted)
                row = EdgeMeasure(meaning, _statistic(name), _statistic_error(name), name)
            else:
                meaning = statistic_of(name, unit, statistic, weighted=weighted)
                error = _statistic_error(name, statistic) if statistic == "sum" else None
                row = EdgeMeasure(meaning, _statistic(name, statistic), error)
            _add(rows, row, name)
    for name, unit in units.items() if pooled else ():
        meaning = pooled_mean_of_map(name, unit, weighted=weighted)
        _add(rows, EdgeMeasure(meaning, _pooled(name), _pooled_error(name), name), name)
    known = list(EDGE_MEASURES)
    rows = dict(sorted(rows.items(), key=lambda item: known.index(item[0]) if item[0] in known else len(known)))
    for name, row in list(rows.items()) if errors else ():
        if row.error is not None:
            _add(rows, EdgeMeasure(standard_error_of(row.measure), row.error), name)
    if errors:
        _add(rows, EdgeMeasure(effective_number(weighted=weighted), _effective), EFFECTIVE_NUMBER)
        _add(rows, EdgeMeasure(chance_of_strays(falloff=stray_falloff), _p_value(stray_falloff)), P_VALUE)
    return rows


def _add(rows: dict[str, EdgeMeasure], row: EdgeMeasure, map_name: str) -> None:
    name = row.measure.name
    if name in rows:
        message = f"A map cannot be called {map_name!r}: {name!r} is the name of another measure. Give it another name."
        raise OptionError(message)
    rows[name] = row
