"""Streamlines from an orientation field, as a source of blocks."""

from tractome.stages.track.blocks import track
from tractome.stages.track.gates import Gates
from tractome.stages.track.limits import max_angle_deg, min_length_mm, step_size_mm
from tractome.stages.track.retrace import retrace
from tractome.stages.track.seeds import Seeds, find_seeds
from tractome.stages.track.sources import source_in_force

__all__ = [
    "Gates",
    "Seeds",
    "find_seeds",
    "max_angle_deg",
    "min_length_mm",
    "retrace",
    "source_in_force",
    "step_size_mm",
    "track",
]
