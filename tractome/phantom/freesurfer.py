"""FreeSurfer's numbers for the synthetic subject: its regions named as in aparc+aseg, and the labels around them.

Numbers are those of FreeSurfer's colour table (Fischl et al. 2002, Desikan et al. 2006) and of the atlas
`freesurfer-dk-84`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.parcellation import RegionTable
from tractome.errors import OptionError
from tractome.options import PhantomOptions
from tractome.phantom.geometry import Anatomy, Points, brain_centre_mm

ATLAS = "freesurfer-dk-84"
N_CORTICAL = 68
_PLACES = "desikan-killiany-83"
# Thalamus, caudate, putamen, pallidum, hippocampus, amygdala, accumbens, cerebellar cortex: the order of the phantom.
_DEEP_LEFT = (10, 11, 12, 13, 17, 18, 26, 8)
_DEEP_RIGHT = (49, 50, 51, 52, 53, 54, 58, 47)
_WHITE, _VENTRICLE, _CSF, _LESION, _CALLOSUM = (2, 41), (4, 43), 24, 77, 251
_CALLOSUM_HALF_WIDTH_MM = 2.5


def require_freesurfer_regions(options: PhantomOptions) -> None:
    """Raise OptionError unless there are as many regions as aparc+aseg names."""
    if options.n_cortical != N_CORTICAL or options.n_deep not in (14, 16):
        message = (
            f"label_numbers = freesurfer needs {N_CORTICAL} cortical regions and 14 or 16 deep ones (16: with "
            f"cerebellar cortices); got {options.n_cortical} and {options.n_deep}. Change these, or use "
            "label_numbers = rising."
        )
        raise OptionError(message)


def named_regions(anatomy: Anatomy) -> tuple[RegionTable, NDArray[np.int64]]:
    """Give the regions of an anatomy FreeSurfer's names.

    A cortical region gets the name whose published place is nearest, in the matching of all regions that has the least
    sum of squared distances; the right hemisphere follows the left.

    Returns
    -------
    regions : RegionTable
        All rows of `ATLAS`, in its order.
    row_of : (n_regions of the anatomy,) int64
        Row of each of the anatomy's regions.
    """
    from scipy.optimize import linear_sum_assignment

    from tractome.io.atlases import read_atlas_regions

    regions, places = read_atlas_regions(ATLAS)[1], read_atlas_regions(_PLACES)[1]
    left = np.flatnonzero((regions.labels > 1000) & (regions.labels < 2000))
    where = places.centroids_mm[[places.names.index(regions.names[row]) for row in left]]
    seeds = anatomy.seeds_mm[: N_CORTICAL // 2]
    named = linear_sum_assignment(((seeds[:, None] - where[None]) ** 2).sum(axis=2))[1]
    labels = regions.labels[left][named]
    half = (anatomy.regions.n_regions - N_CORTICAL) // 2
    numbers = np.concatenate([labels, labels + 1000, _DEEP_LEFT[:half], _DEEP_RIGHT[:half]])
    row_of_label = {int(label): row for row, label in enumerate(regions.labels)}
    return regions, np.array([row_of_label[int(label)] for label in numbers], dtype=np.int64)


def surrounding_labels(anatomy: Anatomy, points_mm: Points) -> NDArray[np.int64]:
    """Label of points (n, 3), RAS+ mm, that lie in no region: white matter, callosum, ventricles, CSF, lesion, or 0."""
    distance = anatomy.distances(points_mm)
    side = (points_mm[:, 0] >= 0).astype(np.intp)
    labels = np.where(distance.head <= 0, _CSF, 0)
    white = distance.white <= 0
    labels[white] = np.array(_WHITE)[side[white]]
    y = points_mm[:, 1] - brain_centre_mm()[1]
    callosum = white & (np.abs(points_mm[:, 0]) < _CALLOSUM_HALF_WIDTH_MM) & (anatomy.callosum(points_mm) <= 0)
    # Five pieces from back to front.
    labels[callosum] = _CALLOSUM + np.clip(np.floor((y[callosum] + 40.0) / 16.0), 0, 4).astype(np.int64)
    labels[white & (distance.lesion <= 0)] = _LESION
    ventricle = white & (distance.ventricle <= 0)
    labels[ventricle] = np.array(_VENTRICLE)[side[ventricle]]
    return labels
