"""Finding the weights: the cost of SIFT2, lowered over all coefficients at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.weights import StreamlineWeights
from tractome.errors import TrackingError
from tractome.options import WeighOptions
from tractome.stages.weigh.descent import Vector, minimise
from tractome.stages.weigh.model import FixelModel


class Contributions(Protocol):
    """Packed contributions of all streamlines, wherever they lie."""

    @property
    def n_streamlines(self) -> int:
        """How many streamlines there are."""

    @property
    def n_entries(self) -> int:
        """How many contributions they make."""

    def blocks(self) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.uint32]]]:
        """Yield in order: number of the first streamline, where each begins (n + 1,), and their entries."""


class _Problem:
    """The cost as a function of the coefficients; see `kernels.weighting` for its terms."""

    def __init__(self, model: FixelModel, contributions: Contributions, options: WeighOptions) -> None:
        from tractome.kernels.weighting import n_parts

        self._model, self._contributions = model, contributions
        n, n_fixels = contributions.n_streamlines, len(model.density)
        self._parts = np.zeros((n_parts(contributions.n_entries, n_fixels), n_fixels, 3))
        self._sums, self._fields = np.zeros((n_fixels, 3)), np.zeros((n_fixels, 3))
        counted_mm = self._per_streamline(model.share)
        self.per_length = np.divide(1.0, counted_mm, out=np.zeros(n), where=counted_mm > 0)
        # With all coefficients 1 the second column is the length in the fixel, the third that per length counted.
        self._add(np.ones(n))
        self.lengths_mm, self._totals = self._sums[:, 1].copy(), self._sums[:, 2].copy()
        counted = float((model.share * self.lengths_mm).sum())
        if not counted > 0:
            message = (
                "No streamline runs through a fibre population that counts. Check that the tractogram and the FODs "
                "belong to the same scan, and that the processing mask covers the white matter."
            )
            raise TrackingError(message)
        self.mu = float((model.share * model.density).sum()) / counted
        covered = self.mu * self.lengths_mm
        self.is_tracked = self.lengths_mm > 0
        self.is_fitted = self.is_tracked & (covered >= options.min_coverage * model.density)
        # Regularisation is in proportion to the data's own size, per streamline.
        scale = float((model.share * model.density**2).sum()) / n
        self._tikhonov, self._variation = options.tikhonov * scale, options.total_variation * scale
        self._is_weighed = self.per_length > 0

    def _per_streamline(self, values: NDArray[np.float64]) -> Vector:
        """Sum of length x value along each streamline."""
        from tractome.kernels.weighting import sum_lengths

        out = np.empty(self._contributions.n_streamlines)
        model = self._model
        for first, starts, entries in self._contributions.blocks():
            part = out[first : first + len(starts) - 1]
            sum_lengths(entries, starts, model.shift, model.quantum_mm, values, part)
        return out

    def _add(self, coefficients: Vector) -> None:
        """Sums over all streamlines, into `_sums`."""
        from tractome.kernels.weighting import add_densities, join_parts

        model = self._model
        for first, starts, entries in self._contributions.blocks():
            add_densities(
                entries, starts, first, model.shift, model.quantum_mm, coefficients, self.per_length, self._parts
            )
        join_parts(self._parts, self._sums)

    def cost(self, coefficients: Vector, gradient: Vector) -> float:
        """The cost of the fitted fixels and of the regularisation; fills the gradient."""
        from tractome.kernels.weighting import dot, fixel_fields, slopes

        model = self._model
        self._add(coefficients)
        misfit, explained = fixel_fields(
            self._sums, self._totals, self.lengths_mm, model.density, model.share, self.is_fitted, self.mu, self._fields
        )
        for first, starts, entries in self._contributions.blocks():
            slopes(
                entries, starts, first, model.shift, model.quantum_mm, coefficients, self.per_length, self._fields,
                2.0 * self.mu, self._tikhonov, self._variation, gradient,
            )  # fmt: skip
        squares = float(dot(coefficients, coefficients))
        return float(misfit) + self._tikhonov * squares + self._variation * (squares - float(explained))

    def curvature(self) -> float:
        """Median second derivative of a coefficient at 0, as if all streamlines of a fixel moved together.

        One scale for all: with one for each coefficient three times as many iterations were needed.
        """
        model = self._model
        values = np.where(self.is_fitted, model.share * self.lengths_mm, 0.0)
        together = 2.0 * self.mu**2 * self._per_streamline(values) + 2.0 * (self._tikhonov + self._variation)
        return float(np.median(together[self._is_weighed])) or 1.0

    def misfit(self, coefficients: Vector) -> float:
        """The first sum of the cost over all fixels of the model, fitted or not."""
        self._add(coefficients)
        difference = self.mu * self._sums[:, 0] - self._model.density
        return float((self._model.share * difference**2).sum())

    @property
    def weighted_mm(self) -> Vector:
        """Weighted length in each fixel, at the coefficients that were last asked for."""
        return self._sums[:, 0]

    @property
    def n_outside(self) -> int:
        """Streamlines that no fibre population speaks of."""
        return int(np.count_nonzero(~self._is_weighed))


def weigh(
    model: FixelModel,
    contributions: Contributions,
    options: WeighOptions,
    progress: Callable[[int, int], None] | None = None,
) -> StreamlineWeights:
    """Find the weight of each streamline.

    Parameters
    ----------
    model : FixelModel
    contributions : Contributions
        Of every streamline, packed by `FixelModel.pack`.
    options : WeighOptions
    progress : callable, optional
        Gets iterations done and the largest number of them.

    Returns
    -------
    StreamlineWeights

    Raises
    ------
    TrackingError
        There is no streamline, or none runs through a fixel of the model.
    """
    if contributions.n_streamlines == 0:
        message = "There is no streamline to weigh. Give a tractogram that holds some."
        raise TrackingError(message)
    problem = _Problem(model, contributions, options)
    start = np.zeros(contributions.n_streamlines)
    coefficients, costs = minimise(
        problem.cost,
        start,
        problem.curvature(),
        max_iterations=options.max_iterations,
        tolerance=options.tolerance,
        progress=progress,
    )
    weights = np.exp(coefficients).astype(np.float32)
    before, after = problem.misfit(start), problem.misfit(coefficients)
    by_streamlines = problem.mu * np.column_stack([problem.lengths_mm, problem.weighted_mm])
    densities = np.column_stack([model.density, by_streamlines])
    facts: dict[str, Any] = {
        "n_streamlines": contributions.n_streamlines,
        "n_outside": problem.n_outside,
        "n_fixels": len(model.density),
        "n_fixels_untracked": int(np.count_nonzero(~problem.is_tracked)),
        "n_fixels_excluded": int(np.count_nonzero(problem.is_tracked & ~problem.is_fitted)),
        "n_iterations": len(costs) - 1,
        "cost_before": costs[0],
        "cost_after": costs[-1],
        "misfit_before": before,
        "misfit_after": after,
        "mean_weight": float(np.mean(weights, dtype=np.float64)),
        "n_effective": _effective_number(weights),
    }
    return StreamlineWeights(weights, problem.mu, tuple(costs), facts, densities.astype(np.float32))


def _effective_number(weights: NDArray[np.float32]) -> float:
    """(sum of w)^2 / sum of w^2: so many streamlines of equal weight tell as much (Kish 1965)."""
    values = weights.astype(np.float64)
    return float(values.sum() ** 2 / max((values**2).sum(), 1e-300))
