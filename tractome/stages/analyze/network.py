"""The graph that is analysed: weights, lengths, and which regions take part."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome
from tractome.errors import OptionError, TableError
from tractome.options import AnalyzeOptions

MIN_REGIONS = 3
_PREFERRED = ("weight", "count")

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Network:
    """Weights and lengths of the edges among the regions that a subject has.

    Parameters
    ----------
    rows : (n,) int
        Rows of the connectome that take part: the regions that are there.
    weights : (n, n) float64
        Symmetric, without diagonal; 0 where no edge is.
    lengths : (n, n) float64
        Of paths, by the rule of the options; infinite where no edge is, 0 on the diagonal.
    millimetres : (n, n) float64
        Mean length of the streamlines, or distance of the centroids; NaN where neither is known.
    measure : str
    millimetres_from : str
        What `millimetres` are.
    """

    rows: NDArray[np.intp]
    weights: Matrix
    lengths: Matrix
    millimetres: Matrix
    measure: str
    millimetres_from: str

    @property
    def n(self) -> int:
        """Regions that take part."""
        return len(self.rows)

    @property
    def edges(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Upper triangle: the two ends of every edge."""
        first, second = np.nonzero(np.triu(self.weights, k=1))
        return first, second


def build_network(connectome: Connectome, options: AnalyzeOptions) -> Network:
    """Take the weights of a measure, leave out self-connections, absent regions and weak edges, and give lengths.

    Raises
    ------
    OptionError
        The connectome lacks the measure, or lengths in mm.
    TableError
        Negative weights, fewer than three regions, or no edge.
    """
    measure = _chosen_measure(connectome, options.edge_measure)
    present = connectome.volumes_mm3 > 0
    if not present.any():  # a matrix made elsewhere may not know volumes
        present = np.ones(connectome.n_regions, np.bool_)
    rows = np.flatnonzero(present)
    weights = np.nan_to_num(connectome.matrices[measure][np.ix_(rows, rows)], nan=0.0)
    np.fill_diagonal(weights, 0.0)
    if (weights < 0).any():
        message = (
            f"{measure} has {int((weights < 0).sum())} negative entries; strengths, paths and communities here need "
            "weights that are not negative. Choose another --edge-measure."
        )
        raise TableError(message)
    weights = _strongest(weights, options.edge_density)
    if len(rows) < MIN_REGIONS or not weights.any():
        message = (
            f"There are {len(rows)} regions and {np.count_nonzero(weights) // 2} edges of {measure}; at least "
            f"{MIN_REGIONS} regions and an edge are needed."
        )
        raise TableError(message)
    millimetres, origin = _millimetres(connectome, rows)
    return Network(rows, weights, _lengths(weights, millimetres, origin, options.lengths), millimetres, measure, origin)


def _chosen_measure(connectome: Connectome, asked: str | None) -> str:
    names = list(connectome.matrices)
    if asked is None:
        plain = connectome.plain_measures or names
        return next((name for name in _PREFERRED if name in plain), plain[0])
    if asked not in names:
        close = difflib.get_close_matches(asked, names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        message = f"The connectome has no measure {asked!r}.{hint} It has: {', '.join(names)}."
        raise OptionError(message)
    return asked


def _strongest(weights: Matrix, density: float | None) -> Matrix:
    """Keep at most a share of all pairs; edges of equal weight stay or go together."""
    if density is None:
        return weights
    upper = weights[np.triu_indices(len(weights), k=1)]
    n_kept = int(density * len(upper))
    if np.count_nonzero(upper) <= n_kept:
        return weights
    threshold = np.sort(upper)[::-1][n_kept]
    return np.where(weights > threshold, weights, 0.0)


def _millimetres(connectome: Connectome, rows: NDArray[np.intp]) -> tuple[Matrix, str]:
    if "length" in connectome.matrices:
        return connectome.matrices["length"][np.ix_(rows, rows)].copy(), "mean length of the streamlines"
    centroids = connectome.centroids_mm[rows]
    apart = np.linalg.norm(centroids[:, None] - centroids[None], axis=2)
    known = bool(np.isfinite(apart).any())
    return apart, "distance of the centroids" if known else "not known"


def _lengths(weights: Matrix, millimetres: Matrix, origin: str, rule: str) -> Matrix:
    is_edge = weights > 0
    lengths = np.full(weights.shape, np.inf)
    if rule == "inverse":
        lengths[is_edge] = 1.0 / weights[is_edge]
    elif rule == "log":
        # The largest weight would have length 0, which is no edge to a shortest-path search.
        lengths[is_edge] = -np.log(weights[is_edge] / weights.max()) + 1e-9
    else:
        if origin == "not known":
            message = "--lengths mm needs lengths of the streamlines or centroids; this connectome has neither."
            raise OptionError(message)
        lengths[is_edge] = millimetres[is_edge]
        lengths[~np.isfinite(lengths)] = np.inf
    np.fill_diagonal(lengths, 0.0)
    return lengths
