"""What can be known of a subject's files before anything is computed: each family of findings in a file of its own."""

from tractome.stages.check.catalogue import CATALOGUE, Kind
from tractome.stages.check.foreground import foreground
from tractome.stages.check.gradients import check_gradients
from tractome.stages.check.headers import check_header
from tractome.stages.check.inspection import Inspection
from tractome.stages.check.labels import check_label_place, check_label_values, check_pieces
from tractome.stages.check.limits import LIMITS, Limit
from tractome.stages.check.masks import check_mask_place, check_mask_shape
from tractome.stages.check.overlap import thinned
from tractome.stages.check.regions import check_regions
from tractome.stages.check.sampled import SampledScan
from tractome.stages.check.signal import check_filled, check_signal
from tractome.stages.check.t1 import check_t1
from tractome.stages.check.tissues import check_tissue_place, check_tissue_values

__all__ = [
    "CATALOGUE",
    "LIMITS",
    "Inspection",
    "Kind",
    "Limit",
    "SampledScan",
    "check_filled",
    "check_gradients",
    "check_header",
    "check_label_place",
    "check_label_values",
    "check_mask_place",
    "check_mask_shape",
    "check_pieces",
    "check_regions",
    "check_signal",
    "check_t1",
    "check_tissue_place",
    "check_tissue_values",
    "foreground",
    "thinned",
]
