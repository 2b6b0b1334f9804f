"""Streamlines from an orientation field, as a source of blocks."""

from tractome.stages.track.blocks import track
from tractome.stages.track.limits import max_angle_deg, min_length_mm, step_size_mm
from tractome.stages.track.seeds import Seeds, find_seeds

__all__ = ["Seeds", "find_seeds", "max_angle_deg", "min_length_mm", "step_size_mm", "track"]
