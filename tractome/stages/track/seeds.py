"""Which voxels streamlines start in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.fields import OrientationField, ScalarMap
from tractome.datatypes.grid import Grid, require_same_grid
from tractome.datatypes.tissue import TissueMap
from tractome.errors import OptionError, SpaceError, TrackingError
from tractome.options import TrackOptions


@dataclass(frozen=True)
class Seeds:
    """Voxels to start in, on any grid.

    Parameters
    ----------
    voxels : (n, 3) int
        Voxel indices on `grid`, in C order.
    grid : Grid
    """

    voxels: NDArray[np.intp]
    grid: Grid


def find_seeds(
    field: OrientationField,
    options: TrackOptions,
    tissue: TissueMap | None = None,
    fa: ScalarMap | None = None,
    seed_mask: NDArray[np.bool_] | None = None,
) -> Seeds:
    """Choose the voxels to start in.

    Parameters
    ----------
    field : OrientationField
    options : TrackOptions
        `seed_source`, `seed_depth_mm` and `fa_threshold` are used.
    tissue : TissueMap or None
        White matter is where it fills half of a voxel; the interface is where that touches grey matter.
    fa : ScalarMap or None
        Stands in for the tissue map: seeds where FA reaches its threshold.
    seed_mask : shape of the field's grid, bool, or None
        Seeds are taken from these voxels only, in place of those that `seed_source` says.

    Returns
    -------
    Seeds

    Raises
    ------
    TrackingError
        No voxel to start in.
    OptionError
        Interface seeds are asked for without a tissue map.
    """
    if seed_mask is not None:
        if seed_mask.shape != field.grid.shape:
            message = f"The seed mask has shape {seed_mask.shape}; the FODs have {field.grid.shape}. Use the same grid."
            raise SpaceError(message)
        chosen, grid = seed_mask & field.mask, field.grid
    elif tissue is not None:
        chosen, grid = _tissue_seeds(tissue, options), tissue.grid
    elif options.seed_source == "interface":
        message = "Seeds at the grey-white interface need a tissue map. Give one, or choose seed_source white-matter."
        raise OptionError(message)
    else:
        chosen, grid = field.mask, field.grid
        if fa is not None:
            require_same_grid(field.grid, fa.grid, "the orientation field", "the FA map")
            chosen = chosen & (fa.volume() >= options.fa_threshold)
    voxels = np.argwhere(chosen)
    if not len(voxels):
        raise TrackingError(no_seeds(options))
    return Seeds(voxels, grid)


def no_seeds(options: TrackOptions) -> str:
    """What to say where there is nothing to start in."""
    return (
        "There is no voxel to start streamlines in: the seed mask, the white matter or the voxels with "
        f"FA >= {options.fa_threshold:g} are empty inside the brain mask. Check the mask, tissue map and FA."
    )


def _tissue_seeds(tissue: TissueMap, options: TrackOptions) -> NDArray[np.bool_]:
    """Voxels that are mostly white matter; all of them, or those that touch grey matter or are near enough to it."""
    from scipy.ndimage import binary_dilation, distance_transform_edt

    fractions = tissue.fractions
    white = fractions[..., 2] >= 0.5
    grey = fractions[..., 0] + fractions[..., 1] > 0.5
    if options.seed_source == "interface":
        touching: NDArray[np.bool_] = white & binary_dilation(grey)
        return touching
    if options.seed_source != "balanced" or not grey.any():
        return white
    # No point of a streamline that ends in grey matter within the seed depth can be further from grey matter than that;
    # distances are between voxel centres, so a voxel's diagonal is added.
    sizes_mm = tissue.grid.voxel_sizes_mm
    reach_mm = options.seed_depth_mm + float(np.linalg.norm(sizes_mm))
    near: NDArray[np.bool_] = white & (distance_transform_edt(~grey, sampling=sizes_mm) <= reach_mm)
    return near
