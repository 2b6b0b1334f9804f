"""When there are streamlines enough: the errors of the edges that carry weight, looked at in fixed rounds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.convergence import Look
from tractome.datatypes.parcellation import Parcellation
from tractome.datatypes.tractogram import StreamlineTable
from tractome.options import ConnectOptions
from tractome.stages.connect.assignment import ASSIGNMENT_METHODS, assign_ends
from tractome.stages.connect.errors import of_sum

CARRIED = 0.9
"""Share of the streamlines between different regions that the edges looked at hold together."""

FIRST_LOOK = 1000
"""Streamlines at the first look; each next look comes a twentieth further, so that no target is overshot by more."""


def round_ends(n_most: int) -> Iterator[int]:
    """Yield the numbers of streamlines at which to look: fixed beforehand, rising, the last one `n_most`."""
    n_streamlines = FIRST_LOOK
    while n_streamlines < n_most:
        yield n_streamlines
        n_streamlines = -(-n_streamlines * 21 // 20)
    yield n_most


def look_at(counts: NDArray[np.int64], n_streamlines: int, target_cv: float) -> Look:
    """Look at the edges that carry weight: the strongest that together hold `CARRIED` of all between regions.

    The streamlines of a run are independent draws, of which an edge gets each with one probability p. The count n of
    the edge among N streamlines then has the standard error sqrt(n (1 - n/N) N / (N - 1)).

    Parameters
    ----------
    counts : (n_regions, n_regions) int64
        Streamlines of each edge in the upper triangle; the diagonal is left out.
    n_streamlines : int
        N: accepted ones, with or without regions at their ends.
    target_cv : float
    """
    upper = counts[np.triu_indices(len(counts), 1)]
    ranked = np.sort(upper[upper > 0])[::-1]
    if not len(ranked):
        return Look(n_streamlines, 0, float("nan"), float("nan"), 0.0)
    held = np.cumsum(ranked)
    n_edges = int(np.searchsorted(held, CARRIED * held[-1])) + 1
    carrying = ranked[:n_edges].astype(np.float64)
    cv = of_sum(carrying, carrying, n_streamlines) / carrying
    within = float(carrying[cv <= target_cv].sum() / carrying.sum())
    return Look(n_streamlines, n_edges, float(cv.max()), float(np.median(cv)), within)


class EdgeCounts:
    """Counts the streamlines of each edge as they come, and looks at them.

    Parameters
    ----------
    parcellation : Parcellation
    options : ConnectOptions
        How ends are given to regions.
    """

    def __init__(self, parcellation: Parcellation, options: ConnectOptions) -> None:
        self._parcellation = parcellation
        self._assigner = ASSIGNMENT_METHODS[options.assignment](parcellation, options)
        self.needs_directions = options.assignment == "forward"
        """Whether tables must hold the directions in which streamlines end."""
        n_regions = parcellation.regions.n_regions
        self.counts: NDArray[np.int64] = np.zeros((n_regions, n_regions), np.int64)
        """(n_regions, n_regions), upper triangle."""
        self.n_streamlines = 0

    def add(self, table: StreamlineTable) -> None:
        """Count the streamlines of one table."""
        rows, _ = assign_ends(table, self._parcellation, self._assigner)
        ends = np.sort(rows[(rows >= 0).all(axis=1)], axis=1)
        np.add.at(self.counts, (ends[:, 0], ends[:, 1]), 1)
        self.n_streamlines += table.n_streamlines

    def look(self, target_cv: float) -> Look:
        """Look at the edges that carry weight so far."""
        return look_at(self.counts, self.n_streamlines, target_cv)
