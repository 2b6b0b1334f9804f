"""The tracking engine: one streamline per seed, from an orientation field, in voxel coordinates.

One engine serves every method: a method is a rule for the next step, one type in `methods`. Positions are voxel
coordinates of the field's grid, directions are world unit vectors, those of a fixed sphere for most methods; a step of
one direction is `Sphere.steps` of it, already in voxel units.

Anatomical rules and back-tracking follow Smith et al., "Anatomically-constrained tractography", NeuroImage 2012.
"""

from tractome.kernels.tracking.engine import gather, track_block
from tractome.kernels.tracking.field import n_columns, pack_field, plain_cells
from tractome.kernels.tracking.methods import FirstOrder, SecondOrder, Transport
from tractome.kernels.tracking.seeding import move_to_interface, nearest_directions, seed_uniforms
from tractome.kernels.tracking.types import Field, Rules, Scratch, Sphere, Tissue

__all__ = [
    "Field",
    "FirstOrder",
    "Rules",
    "Scratch",
    "SecondOrder",
    "Sphere",
    "Tissue",
    "Transport",
    "gather",
    "move_to_interface",
    "n_columns",
    "nearest_directions",
    "pack_field",
    "plain_cells",
    "seed_uniforms",
    "track_block",
]
