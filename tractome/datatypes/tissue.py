"""Five tissue types per voxel, for anatomical constraints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen, require_shape
from tractome.datatypes.grid import Grid
from tractome.errors import ImageError

TISSUES = ("cortical_grey", "subcortical_grey", "white", "csf", "pathological")
"""Order of the five volumes: the five-tissue-type (5TT) convention of Smith et al. 2012."""


@dataclass(frozen=True, eq=False)
class TissueMap:
    """Partial volume fraction of each tissue, on a grid of its own.

    Parameters
    ----------
    fractions : (x, y, z, 5) float32
        In the order of `TISSUES`, each in [0, 1], summing to 1 inside the brain and 0 outside it.
    grid : Grid

    Raises
    ------
    ImageError
        Not five volumes, values outside [0, 1], or no white matter at all.
    """

    fractions: NDArray[np.float32]
    grid: Grid

    def __post_init__(self) -> None:
        fractions = frozen(self.fractions, np.float32)
        require_shape(fractions, (*self.grid.shape, 5), "The tissue map", ImageError)
        if not np.isfinite(fractions).all() or fractions.min() < -1e-3 or fractions.max() > 1 + 1e-3:
            message = "The tissue map must hold fractions between 0 and 1. Is it a five-tissue-type image?"
            raise ImageError(message)
        if fractions.sum(axis=3).max() > 1.01:
            message = "The tissue fractions of a voxel sum to more than 1. Is it a five-tissue-type image?"
            raise ImageError(message)
        if not (fractions[..., 2] > 0.5).any():
            message = (
                "The tissue map has no white matter (third volume). Its order must be: " + ", ".join(TISSUES) + "."
            )
            raise ImageError(message)
        object.__setattr__(self, "fractions", fractions)
