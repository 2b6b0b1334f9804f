"""weigh: one weight per streamline, so that they add up to the fibre density (SIFT2, Smith et al. 2015)."""

from tractome.stages.weigh.fit import Contributions, weigh
from tractome.stages.weigh.mask import processing_mask
from tractome.stages.weigh.model import FixelModel, make_model
from tractome.stages.weigh.noise import noise_density

__all__ = ["Contributions", "FixelModel", "make_model", "noise_density", "processing_mask", "weigh"]
