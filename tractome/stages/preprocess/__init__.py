"""From a scan as it was measured to one that can be fitted: noise, ringing, motion, distortion, brightness.

One file per step; `volumes` and `motion` hold what steps share, `resample` does all displacements at once, `measures`
says what each step did. The order is that of the physics, backwards: noise is added last, so it goes first, on
voxels that nothing has interpolated yet.
"""

from tractome.stages.preprocess.align import Alignment, align
from tractome.stages.preprocess.bias import bias_field
from tractome.stages.preprocess.denoise import Denoised, denoise
from tractome.stages.preprocess.distortion import Distortion, corrected, from_pair, from_t1
from tractome.stages.preprocess.measures import (
    alignment_facts,
    bias_facts,
    denoising_facts,
    disagreement,
    distortion_facts,
    unringing_facts,
)
from tractome.stages.preprocess.motion import EDDY_TERMS, Frame, Motion
from tractome.stages.preprocess.pair import distortion_from_pair
from tractome.stages.preprocess.resample import resample_scan
from tractome.stages.preprocess.unring import LEAST_RIM_POWER, rim_power, unring

__all__ = [
    "EDDY_TERMS",
    "LEAST_RIM_POWER",
    "Alignment",
    "Denoised",
    "Distortion",
    "Frame",
    "Motion",
    "align",
    "alignment_facts",
    "bias_facts",
    "bias_field",
    "corrected",
    "denoise",
    "denoising_facts",
    "disagreement",
    "distortion_facts",
    "distortion_from_pair",
    "from_pair",
    "from_t1",
    "resample_scan",
    "rim_power",
    "unring",
    "unringing_facts",
]
