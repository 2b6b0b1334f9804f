"""What is added up over the streamlines of each edge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tractome.options import ConnectOptions
from tractome.stages.connect import errors
from tractome.stages.connect.edges import Matrix

ALIKE = np.empty(0)
"""In place of weights where each streamline counts alike."""


class EdgeValues:
    """Sums, extremes and what medians need of several values over the streamlines of each edge."""

    def __init__(self, options: ConnectOptions, n_values: int, n_regions: int, *, unequal: bool = False) -> None:
        shape = (n_regions, n_regions, n_values)
        self._wanted = options.statistics
        self.sums, self._totals = np.zeros(shape), np.zeros(shape)
        has_extremes = "min" in options.statistics or "max" in options.statistics
        self._extremes = (
            (np.full(shape, np.inf, np.float32), np.full(shape, -np.inf, np.float32)) if has_extremes else None
        )
        # Means alone need less where all streamlines count alike; nothing is kept where no error is wanted.
        self._squares = np.zeros((*shape, (4 if unequal else 1) if options.errors else 0))
        self._kept: list[tuple[NDArray[np.int32], NDArray[np.float32]]] = []
        self._counts = np.zeros((n_regions, n_regions), np.int64)

    def add(
        self,
        ends: NDArray[np.int32],
        values: NDArray[np.float32],
        weights: NDArray[np.float64],
        counts: NDArray[np.int64] | None = None,
    ) -> int:
        """Add values (n_values, n_streamlines); the number of streamlines without a region at both ends."""
        from tractome.kernels.edges import add_to_edges, widen_edges

        counts = self._counts if counts is None else counts
        n_unassigned: int = add_to_edges(ends, values, weights, counts, self.sums, self._totals, self._squares)
        if self._extremes is not None:
            widen_edges(ends, values, *self._extremes)
        if "median" in self._wanted:
            self._kept.append((ends, values))
        return n_unassigned

    def statistics(self, names: Sequence[str]) -> dict[tuple[str, str], Matrix]:
        """The matrix of each value and statistic, symmetric; of every value the mean."""
        found: dict[tuple[str, str], Matrix] = {}
        for index, name in enumerate(names):
            if index >= self.sums.shape[2]:  # nothing was ever added
                empty = np.full(self.sums.shape[:2], np.nan)
                found |= {(name, each): empty for each in ("mean", *self._wanted)}
                if (name, "sum") in found:
                    found[name, "sum"] = np.zeros_like(empty)
                continue
            with np.errstate(invalid="ignore"):
                found[name, "mean"] = mirrored(self.sums[..., index] / self._totals[..., index])
            found[name, "sum"] = mirrored(self.sums[..., index])
            if self._extremes is not None:
                for statistic, extreme in zip(("min", "max"), self._extremes, strict=True):
                    values = extreme[..., index].astype(np.float64)
                    found[name, statistic] = mirrored(np.where(np.isfinite(values), values, np.nan))
            if "median" in self._wanted:
                found[name, "median"] = self._median(index)
        return found

    def errors(self, names: Sequence[str], n_streamlines: int) -> dict[tuple[str, str], Matrix]:
        """Standard errors of the mean and the sum of each value, symmetric, by name and statistic."""
        found: dict[tuple[str, str], Matrix] = {}
        for index, name in enumerate(names):
            if index >= self.sums.shape[2]:  # nothing was ever added
                empty = np.full(self.sums.shape[:2], np.nan)
                found |= {(name, "mean"): empty, (name, "sum"): empty}
                continue
            sums, totals, kept = self.sums[..., index], self._totals[..., index], self._squares[..., index, :]
            squares, *more = np.moveaxis(kept, -1, 0)
            mixed, weights_squared, number = more or (sums, totals, totals)
            found[name, "mean"] = mirrored(errors.of_mean(sums, totals, (squares, mixed, weights_squared, number)))
            found[name, "sum"] = mirrored(errors.of_sum(sums, squares, n_streamlines))
        return found

    def effective_number(self) -> Matrix:
        """(sum of weights) squared over the sum of squared weights, of streamlines that do not count alike.

        Kish 1965, Survey Sampling; symmetric, 0 where there are none.
        """
        total, squares = self._totals[..., 0], self._squares[..., 0, 2]
        return mirrored(np.divide(total * total, squares, out=np.zeros_like(total), where=squares > 0))

    def _median(self, index: int) -> Matrix:
        from tractome.kernels.edges import edge_medians

        n_regions = self.sums.shape[0]
        if not self._kept:
            return np.full((n_regions, n_regions), np.nan)
        ends = np.concatenate([ends for ends, _ in self._kept])
        return mirrored(edge_medians(ends, np.concatenate([values[index] for _, values in self._kept]), n_regions))


def mirrored(upper: Matrix) -> Matrix:
    """The symmetric matrix whose upper triangle this is."""
    rows, columns = np.tril_indices(len(upper), -1)
    full = upper.copy()
    full[rows, columns] = upper[columns, rows]
    return full
