"""tissue: where grey matter, white matter and CSF are, from whatever a subject brings."""

from tractome.stages.tissue.dwi import DiffusionMaps, tissue_from_dwi
from tractome.stages.tissue.expected import Expected, expected_from_regions, regions_shares
from tractome.stages.tissue.labels import freesurfer_tissues, is_freesurfer, tissue_from_freesurfer
from tractome.stages.tissue.shares import box_around, overlap
from tractome.stages.tissue.t1 import tissue_from_t1

__all__ = [
    "DiffusionMaps",
    "Expected",
    "box_around",
    "expected_from_regions",
    "freesurfer_tissues",
    "is_freesurfer",
    "overlap",
    "regions_shares",
    "tissue_from_dwi",
    "tissue_from_freesurfer",
    "tissue_from_t1",
]
