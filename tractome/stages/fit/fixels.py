"""Fixels: each voxel's FOD cut into its lobes."""

from __future__ import annotations

from collections.abc import Callable

from tractome.datatypes.fields import OrientationField
from tractome.datatypes.fixels import FixelField

MIN_PEAK = 0.1
"""Lobes with a lower peak are taken for noise: MRtrix3's default in ``fod2fixel``, and the cutoff of tracking."""


def segment_fixels(
    field: OrientationField,
    *,
    min_peak: float = MIN_PEAK,
    min_afd: float = 0.0,
    with_lookup: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> FixelField:
    """Cut each voxel's FOD into lobes: direction, peak amplitude and apparent fibre density of each.

    Parameters
    ----------
    field : OrientationField
    min_peak : float
        Lobes with a lower peak amplitude are left out; above 0.
    min_afd : float
        So are lobes with a smaller integral.
    with_lookup : bool
        Also make the table that says which fixel each direction of the dense sphere belongs to, 721 bytes per voxel.
    progress : callable, optional
        Gets voxels done and voxels in all.

    Returns
    -------
    FixelField
    """
    from tractome.kernels.fixels import find_lobes

    lobes = find_lobes(field.coefficients, field.lmax, min_peak, min_afd, with_tables=with_lookup, progress=progress)
    return FixelField(
        lobes.offsets, lobes.directions, lobes.peaks, lobes.integrals, field.mask, field.grid, lobes.tables
    )
