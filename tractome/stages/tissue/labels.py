"""Five tissues from FreeSurfer's labels: aparc+aseg, aparc.a2009s+aseg, wmparc.

Numbers are those of FreeSurfer's colour table (Fischl et al. 2002, doi:10.1016/S0896-6273(02)00569-X; Desikan et al.
2006; Destrieux et al. 2010). Which structure counts as which tissue follows MRtrix3's ``5ttgen freesurfer`` (Smith et
al. 2012, doi:10.1016/j.neuroimage.2012.06.005): hippocampus and amygdala count as cortex unless asked otherwise, the
cerebellar cortex as cortex, brainstem, ventral diencephalon and corpus callosum as white matter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.tissue import TissueMap
from tractome.errors import ImageError
from tractome.options import TissueOptions
from tractome.stages.tissue.shares import box_shares, cropped

CORTEX, DEEP, WHITE, CSF, PATHOLOGICAL = range(5)
_N_TISSUES = 5

# Left and right where a structure has both.
_DEEP_GREY = (9, 10, 11, 12, 13, 26, 27, 48, 49, 50, 51, 52, 58, 59)
"""Thalamus (two numbers), caudate, putamen, pallidum, accumbens, substantia nigra."""
_HIPPOCAMPUS_AMYGDALA = (17, 18, 53, 54)
_CORTEX = (3, 8, 19, 20, 42, 47, 55, 56)
"""Cortex without a name (also that of aseg), cerebellar cortex, insula, operculum."""
_WHITE = (2, 7, 16, 28, 41, 46, 60, 85, 86, 192, *range(170, 176), *range(250, 256), 5001, 5002)
"""Cerebral and cerebellar white matter, brainstem and its parts, ventral diencephalon, optic chiasm, callosum and
fornix, and what wmparc leaves without a name."""
_CSF = (4, 5, 14, 15, 24, 30, 31, 43, 44, 62, 63, 72, 213, 221)
"""Ventricles, CSF, choroid plexus, vessels."""
_HYPOINTENSE = (77, 78, 79)
_LESIONS = (25, 57, 80, 81, 82, 99)
_CORTEX_RANGES = ((1000, 1999), (2000, 2999), (11100, 11999), (12100, 12999))
_WHITE_RANGES = ((3000, 3999), (4000, 4999), (13100, 13999), (14100, 14999))
"""Parcels of aparc and of a2009s, left and right: cortex, and the white matter below them."""

_LEAST_KNOWN, _LEAST_KNOWN_VOXELS = 0.8, 0.95
"""Share of the labels, and of the labelled voxels, that must be FreeSurfer's."""
_TABLE_SIZE = 2**15


def freesurfer_tissues(options: TissueOptions | None = None) -> dict[int, int]:
    """The tissue (index into `datatypes.tissue.TISSUES`) of every label that has one; all others are outside the brain.

    Parameters
    ----------
    options : TissueOptions, optional
        `hippocampus` and `hypointensities` decide about those.
    """
    options = options or TissueOptions()
    limbic = DEEP if options.hippocampus == "subcortical" else CORTEX
    hypointense = PATHOLOGICAL if options.hypointensities == "pathological" else WHITE
    groups = (
        (_DEEP_GREY, DEEP),
        (_HIPPOCAMPUS_AMYGDALA, limbic),
        (_CORTEX, CORTEX),
        (_WHITE, WHITE),
        (_CSF, CSF),
        (_HYPOINTENSE, hypointense),
        (_LESIONS, PATHOLOGICAL),
        *((range(low, high + 1), CORTEX) for low, high in _CORTEX_RANGES),
        *((range(low, high + 1), WHITE) for low, high in _WHITE_RANGES),
    )
    return {label: tissue for labels, tissue in groups for label in labels}


def is_freesurfer(labels: NDArray[np.integer]) -> bool:
    """Whether a label image is numbered as FreeSurfer's segmentations, with cortex and with white matter.

    Parcels alone (numbers above 1000 without white matter below them) are not enough to make a tissue map of.
    """
    inside = labels[labels != 0]
    if not len(inside) or inside.min() < 0 or inside.max() >= _TABLE_SIZE:
        return False
    number = np.bincount(inside)
    found = np.flatnonzero(number)
    has_cortex = bool(np.isin((3, 42), found).any()) or any(
        number[low : high + 1].any() for low, high in _CORTEX_RANGES
    )
    if not has_cortex or not np.isin((2, 41), found).any():
        return False
    # Labels from 1 on without gaps have a 2 and a 3 too: of those, others would be in no table of FreeSurfer's.
    known = np.isin(found, list(freesurfer_tissues()))
    return (
        float(known.mean()) >= _LEAST_KNOWN and float(number[found[known]].sum() / len(inside)) >= _LEAST_KNOWN_VOXELS
    )


def tissue_from_freesurfer(
    labels: NDArray[np.integer], grid: Grid, options: TissueOptions | None = None
) -> tuple[TissueMap, tuple[int, ...]]:
    """Make a tissue map from FreeSurfer's labels.

    Parameters
    ----------
    labels : (x, y, z) int
        aparc+aseg, aparc.a2009s+aseg or wmparc.
    grid : Grid
        Of the labels, in the world of the scan. The map comes on it, cropped to the brain; or with
        `tissue_voxel_size_mm` on one along its axes, on which each voxel has the share of the label voxels in it.
    options : TissueOptions, optional

    Returns
    -------
    tissue : TissueMap
    unknown : tuple of int
        Labels of no known tissue: they count as outside the brain.

    Raises
    ------
    ImageError
        There is no cortex or no white matter among the labels.
    """
    options = options or TissueOptions()
    tissue_of = freesurfer_tissues(options)
    found, kinds = _kinds(labels, tissue_of)
    unknown = tuple(int(label) for label in found if label != 0 and int(label) not in tissue_of)
    for tissue, name, instead in ((CORTEX, "cortex", "1001 to 2035"), (WHITE, "white matter", "2 and 41")):
        if not (kinds == tissue).any():
            message = (
                f"The labels hold no {name} in FreeSurfer's numbers (such as {instead}); found {_some(found)}. "
                "Give aparc+aseg, aparc.a2009s+aseg or wmparc, or take another --tissue-source."
            )
            raise ImageError(message)
    kinds, grid = cropped(kinds, grid)
    if options.tissue_voxel_size_mm is not None:
        return box_shares(kinds, grid, options.tissue_voxel_size_mm), unknown
    fractions = np.zeros((*grid.shape, _N_TISSUES), dtype=np.float32)
    for tissue in range(_N_TISSUES):
        fractions[..., tissue] = kinds == tissue
    return TissueMap(fractions, grid), unknown


def _kinds(labels: NDArray[np.integer], tissue_of: dict[int, int]) -> tuple[NDArray[np.integer], NDArray[np.int8]]:
    """Distinct labels, and the tissue of each voxel, -1 where there is none."""
    if labels.size and labels.min() >= 0 and labels.max() < _TABLE_SIZE:
        # FreeSurfer's numbers: by a table, in a tenth of the time and memory of sorting.
        table = np.array([tissue_of.get(label, -1) for label in range(int(labels.max()) + 1)], dtype=np.int8)
        return np.flatnonzero(np.bincount(labels.reshape(-1))), table[labels]
    found, index = np.unique(labels, return_inverse=True)
    numbers = np.array([tissue_of.get(int(label), -1) for label in found], dtype=np.int8)
    return found, numbers[index].reshape(labels.shape)


def _some(found: NDArray[np.integer]) -> str:
    shown = ", ".join(str(int(label)) for label in found[found != 0][:8])
    return f"{shown or 'nothing but 0'}{', ...' if len(found) > 9 else ''}"
