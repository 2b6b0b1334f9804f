"""The tracking engine: one streamline per seed, from an orientation field, in voxel coordinates.

One engine serves every method: a method is a rule for choosing the next direction among those of a fixed sphere that
lie inside a cone around the last one. Positions are voxel coordinates of the field's grid, directions are world
unit vectors; a step of one direction is `Sphere.steps` of it, already in voxel units.

Anatomical rules and back-tracking follow Smith et al., "Anatomically-constrained tractography", NeuroImage 2012.
"""

from tractome.kernels.tracking.engine import gather, track_block
from tractome.kernels.tracking.seeding import move_to_interface, nearest_directions, seed_uniforms
from tractome.kernels.tracking.types import METHODS, Field, Rules, Scratch, Sphere, Tissue

__all__ = [
    "METHODS",
    "Field",
    "Rules",
    "Scratch",
    "Sphere",
    "Tissue",
    "gather",
    "move_to_interface",
    "nearest_directions",
    "seed_uniforms",
    "track_block",
]
