"""What is known of a brain's tissues before its images are looked at: a template and regions brought to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import require_shape
from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation
from tractome.errors import ImageError
from tractome.options import TissueOptions
from tractome.stages.tissue.shares import label_shares

_LIMBIC = ("hippocampus", "amygdala")


@dataclass(frozen=True, eq=False)
class Expected:
    """Beforehand, per voxel of `grid`.

    Parameters
    ----------
    grid : Grid
    grey, white : (x, y, z) float32 or None
        Probability of each tissue, from a template; None without one.
    deep, stem : (x, y, z) float32 or None
        Share of each voxel that is deep grey matter, and brainstem, from regions; None without any.
    """

    grid: Grid
    grey: NDArray[np.float32] | None = None
    white: NDArray[np.float32] | None = None
    deep: NDArray[np.float32] | None = None
    stem: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if (self.grey is None) != (self.white is None):
            message = "A template gives both grey and white matter, or neither."
            raise ImageError(message)
        for name in ("grey", "white", "deep", "stem"):
            value = getattr(self, name)
            if value is not None:
                require_shape(value, self.grid.shape, f"The expected share of {name}", ImageError)

    @property
    def has_template(self) -> bool:
        """Whether there is a template's word on grey and white matter."""
        return self.grey is not None

    def prior(self, inside: NDArray[np.bool_], doubt: float) -> NDArray[np.float64]:
        """Probabilities (n, 3) of CSF, grey and white matter in the voxels inside; all alike without a template.

        `doubt` is added to each, so that the image can overrule the template anywhere.
        """
        if self.grey is None or self.white is None:
            return np.full((int(inside.sum()), 3), 1 / 3)
        grey, white = self.grey[inside].astype(np.float64), self.white[inside].astype(np.float64)
        raw = np.stack([np.clip(1 - grey - white, 0, 1), grey, white], axis=1) + doubt
        return np.asarray(raw / raw.sum(axis=1, keepdims=True))


def regions_shares(
    parcellation: Parcellation, target: Grid, options: TissueOptions
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Share of each voxel of `target` that regions of deep grey matter, and the brainstem, fill.

    Which regions those are is in the structure column of their table; hippocampus and amygdala count as cortex unless
    the options say otherwise.

    Returns
    -------
    deep, stem : (x, y, z) float32 or None
        None where the table names no such region.
    """
    regions = parcellation.regions
    rows: dict[str, list[int]] = {"subcortex": [], "brainstem": []}
    for row, (name, structure) in enumerate(zip(regions.names, regions.structures, strict=True)):
        is_limbic = name.lower().startswith(_LIMBIC)
        if structure in rows and not (is_limbic and options.hippocampus == "cortical"):
            rows[structure].append(row)
    deep, stem = (
        label_shares(np.isin(parcellation.rows, chosen), parcellation.grid, target) if chosen else None
        for chosen in rows.values()
    )
    return deep, stem
