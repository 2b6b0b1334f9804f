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

_GREY_RANGE = (0.1, 0.8)
_WHITE_BESIDE = 0.8
"""Probability of white matter where there is no region; CSF has the rest."""
_DOUBT_OF_OWN = 0.01
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
    doubt : float
        Added to each probability: how far an image may overrule them.
    """

    grid: Grid
    grey: NDArray[np.float32] | None = None
    white: NDArray[np.float32] | None = None
    deep: NDArray[np.float32] | None = None
    stem: NDArray[np.float32] | None = None
    doubt: float = 0.1

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

    def prior(self, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Probabilities (n, 3) of CSF, grey and white matter in the voxels inside; all alike without a template."""
        if self.grey is None or self.white is None:
            return np.full((int(inside.sum()), 3), 1 / 3)
        grey, white = self.grey[inside].astype(np.float64), self.white[inside].astype(np.float64)
        raw = np.stack([np.clip(1 - grey - white, 0, 1), grey, white], axis=1) + self.doubt
        return np.asarray(raw / raw.sum(axis=1, keepdims=True))


def expected_from_regions(
    parcellation: Parcellation, target: Grid, mask: NDArray[np.bool_], options: TissueOptions
) -> Expected:
    """What the subject's own labels say of its tissues: grey matter is where a region is, the rest is not.

    Parameters
    ----------
    parcellation : Parcellation
    target : Grid
    mask : (x, y, z) bool
        Brain, on `target`.
    options : TissueOptions

    Returns
    -------
    Expected
        Without grey and white matter when the regions fill too little of the brain to be all of its grey matter, or
        so much that white matter is among them.
    """
    deep, stem = regions_shares(parcellation, target, options)
    grey = label_shares(parcellation.rows >= 0, parcellation.grid, target)
    if stem is not None:
        grey = np.maximum(grey - stem, 0)
    low, high = _GREY_RANGE
    if not low <= float(grey[mask].mean()) <= high:
        return Expected(target, deep=deep, stem=stem)
    white = (1 - grey) * np.float32(_WHITE_BESIDE)
    return Expected(target, grey, white, deep, stem, doubt=_DOUBT_OF_OWN)


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
