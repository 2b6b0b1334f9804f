"""A template brain: what a subject is registered to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen, require_shape
from tractome.datatypes.grid import Grid
from tractome.errors import ImageError


@dataclass(frozen=True, eq=False)
class Template:
    """Images of an average brain in a standard space, without the skull.

    Parameters
    ----------
    t1 : (x, y, z) float32
        T1 contrast, arbitrary unit, 0 outside the brain.
    grey, white : (x, y, z) float32
        Probability of each tissue, in [0, 1].
    grid : Grid
    space : str
        Exact name of the space, such as ``"MNI152NLin2009aSym"``.
    """

    t1: NDArray[np.float32]
    grey: NDArray[np.float32]
    white: NDArray[np.float32]
    grid: Grid
    space: str

    def __post_init__(self) -> None:
        for name in ("t1", "grey", "white"):
            volume = frozen(getattr(self, name), np.float32)
            require_shape(volume, self.grid.shape, f"The {name} template", ImageError)
            object.__setattr__(self, name, volume)
