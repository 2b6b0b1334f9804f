"""How much fibre density noise alone gives a lobe."""

from __future__ import annotations

import numpy as np

from tractome.datatypes.fixels import FixelField

_MOST_POPULATIONS = 3
"""Fibre populations that cross in a voxel; more can hardly be told apart (Jeurissen et al. 2013)."""
_SHARE = 0.95


def noise_density(fixels: FixelField) -> float:
    """Fibre density that the fourth lobe of a voxel reaches in 1 voxel of 20; a voxel without one counts as 0.

    FODs are held above 0, so noise does not cancel in them but makes lobes of its own, everywhere and in all
    directions. A fourth lobe is taken for such a one. Where most fixels are noise, as in white matter of few fibres,
    they are most of the fibre density too, and streamlines that run along them would be weighed up to explain it.

    Returns
    -------
    float
        Unitless; 0 where so few voxels have four lobes that noise does not matter.
    """
    n_lobes = np.diff(fixels.offsets)
    if len(n_lobes) == 0:
        return 0.0
    fourth = np.zeros(len(n_lobes))
    has = n_lobes > _MOST_POPULATIONS
    fourth[has] = np.nan_to_num(fixels.afd[fixels.offsets[:-1][has] + _MOST_POPULATIONS], posinf=0.0, neginf=0.0)
    return float(np.quantile(fourth, _SHARE))
