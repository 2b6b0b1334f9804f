"""weigh: one weight per streamline, so that they add up to the fibre density (SIFT2, Smith et al. 2015)."""

from tractome.stages.weigh.fit import Contributions, weigh
from tractome.stages.weigh.mask import processing_mask
from tractome.stages.weigh.model import FixelModel, make_model

__all__ = ["Contributions", "FixelModel", "make_model", "processing_mask", "weigh"]
