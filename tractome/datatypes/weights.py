"""One weight per streamline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen, require_shape
from tractome.errors import TableError


@dataclass(frozen=True, eq=False)
class StreamlineWeights:
    """Weights of the streamlines of a tractogram, in its order.

    Parameters
    ----------
    weights : (n_streamlines,) float32
        Finite, at least 0; 1 for a streamline that no fibre population speaks of.
    mu_per_mm : float
        Proportionality coefficient: fibre density (unitless) per mm of weighted streamline.
    costs : tuple of float
        Cost at the start and after each iteration.
    facts : dict
        What else is worth telling, in plain values.
    densities : (n_fixels, 3) float32
        Fibre density of each fixel by the FOD, by the unweighted and by the weighted streamlines; may be empty.
    """

    weights: NDArray[np.float32]
    mu_per_mm: float
    costs: tuple[float, ...]
    facts: dict[str, Any]
    densities: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 3), np.float32))

    def __post_init__(self) -> None:
        weights = frozen(self.weights, np.float32)
        require_shape(weights, (None,), "The list of streamline weights", TableError)
        if not np.isfinite(weights).all() or (len(weights) and weights.min() < 0):
            message = "Streamline weights must be finite and at least 0. Weigh the streamlines again."
            raise TableError(message)
        densities = frozen(self.densities, np.float32)
        require_shape(densities, (None, 3), "The fibre densities (densities)", TableError)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "densities", densities)

    @property
    def n_streamlines(self) -> int:
        """Number of streamlines."""
        return len(self.weights)

    @property
    def cross_sections(self) -> NDArray[np.float64]:
        """Weight of each streamline times mu, (n,) float64, 1/mm: what the sum over an edge is made of."""
        values: NDArray[np.float64] = self.mu_per_mm * self.weights.astype(np.float64)
        return values
