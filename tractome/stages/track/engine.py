"""The kernel's arguments, in its own terms: voxel coordinates, steps and counts of steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen
from tractome.datatypes.fields import OrientationField, ScalarMap
from tractome.datatypes.grid import require_same_grid
from tractome.datatypes.tissue import TissueMap
from tractome.options import TrackOptions
from tractome.stages.track.limits import max_angle_deg, min_length_mm, step_size_mm

if TYPE_CHECKING:
    from tractome.kernels.tracking import Field, Rules, Sphere, Tissue

SPHERE_FREQUENCY = 12
"""1,442 directions about 5 degrees apart."""

_NO_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class Engine:
    """Arguments of the kernel, in its own terms."""

    field: Field
    sphere: Sphere
    tissue: Tissue
    rules: Rules
    directions: NDArray[np.float64]
    """(n, 3): the sphere's directions, world unit vectors."""

    @classmethod
    def build(
        cls,
        field: OrientationField,
        options: TrackOptions,
        tissue: TissueMap | None,
        fa: ScalarMap | None,
        *,
        has_depth: bool = False,
    ) -> Engine:
        """Bring the field, the tissue and the options to voxel coordinates, steps and counts of steps.

        `has_depth`: whether a seed must lie within `seed_depth_mm` of an end.
        """
        from tractome.kernels import tracking
        from tractome.kernels.directions import cones, geodesic_sphere
        from tractome.kernels.harmonics import sh_basis

        step_mm = step_size_mm(options, field.grid)
        angle_deg = max_angle_deg(options, field.grid)
        directions = geodesic_sphere(SPHERE_FREQUENCY)
        starts, members = cones(directions, angle_deg)
        fa_volume = np.zeros((0, 0, 0), np.float32)
        if tissue is None and fa is not None:
            require_same_grid(field.grid, fa.grid, "the orientation field", "the FA map")
            fa_volume = np.nan_to_num(fa.volume())  # not defined: no fibre
        row_of = np.full(field.grid.shape, -1, np.int32)
        row_of[field.mask] = np.arange(len(field.coefficients), dtype=np.int32)
        if tissue is None:
            fractions, from_field = np.zeros((0, 0, 0, 5), np.float32), np.eye(4)[:3]
        else:
            fractions, from_field = tissue.fractions, (tissue.grid.inverse @ field.grid.affine)[:3]
        coefficients = field.coefficients
        if not np.isfinite(coefficients).all():
            coefficients = np.where(np.isfinite(coefficients), coefficients, np.float32(0))
        return cls(
            # Arrays read-only and numbers of one type throughout: numba compiles an engine for each combination.
            tracking.Field(frozen(coefficients, np.float32), row_of, fa_volume),
            tracking.Sphere(
                sh_basis(directions, field.lmax).astype(np.float32),
                np.ascontiguousarray(step_mm * directions @ field.grid.inverse[:3, :3].T),
                starts,
                members,
            ),
            tracking.Tissue(frozen(fractions, np.float32), np.ascontiguousarray(from_field), options.crop_at_interface),
            tracking.Rules(
                tracking.METHODS[options.method],
                float(options.fod_cutoff),
                float(options.fa_threshold),
                float(step_mm),
                float(min_length_mm(options, field.grid, has_tissue=tissue is not None)),
                int(options.max_length_mm / step_mm) + 1,
                math.ceil(options.backtrack_mm / step_mm) if tissue is not None else 0,
                math.ceil(options.seed_depth_mm / step_mm) if has_depth else _NO_LIMIT,
            ),
            directions,
        )
