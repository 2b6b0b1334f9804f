"""The kernel's arguments, in its own terms: voxel coordinates, steps and counts of steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tractome.datatypes._checks import frozen
from tractome.datatypes.fields import OrientationField, ScalarMap
from tractome.datatypes.grid import require_same_grid
from tractome.datatypes.tissue import TissueMap
from tractome.options import TrackOptions
from tractome.stages.track.limits import max_angle_deg, min_length_mm, step_size_mm
from tractome.stages.track.methods import METHODS

if TYPE_CHECKING:
    from tractome.kernels.tracking import Field, FirstOrder, Rules, SecondOrder, Sphere, Tissue, Transport

SPHERE_FREQUENCY = 12
"""1,442 directions about 5 degrees apart."""

_NO_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class Engine:
    """Arguments of the kernel, in its own terms."""

    method: FirstOrder | SecondOrder | Transport
    field: Field
    sphere: Sphere
    tissue: Tissue
    rules: Rules

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
        directions = geodesic_sphere(SPHERE_FREQUENCY)
        n_coeffs = field.coefficients.shape[1]
        basis = np.zeros((len(directions), tracking.n_columns(n_coeffs)), np.float32)
        basis[:, :n_coeffs] = sh_basis(directions, field.lmax)
        stopping_fa = None
        if tissue is None and fa is not None:
            require_same_grid(field.grid, fa.grid, "the orientation field", "the FA map")
            stopping_fa = fa.volume()[field.mask]
        packed = tracking.pack_field(field.coefficients, field.mask, stopping_fa, basis)
        sphere = tracking.Sphere(
            basis,
            directions,
            np.ascontiguousarray(step_mm * directions @ field.grid.inverse[:3, :3].T),
            np.arange(len(directions) // 2, dtype=np.int32),
            *cones(directions, max_angle_deg(options, field.grid)),
        )
        has_second_chance = tissue is not None and options.method != "deterministic"
        return cls(
            METHODS[options.method](options, field.grid, sphere, packed),
            packed,
            sphere,
            _tissue_in_field(tissue, field, crop=options.crop_at_interface),
            # Numbers of one type throughout: numba compiles an engine for each combination.
            tracking.Rules(
                float(options.fod_cutoff),
                float(options.fa_threshold),
                float(step_mm),
                float(min_length_mm(options, field.grid, has_tissue=tissue is not None)),
                int(options.max_length_mm / step_mm) + 1,
                math.ceil(options.backtrack_mm / step_mm) if has_second_chance else 0,
                math.ceil(options.seed_depth_mm / step_mm) if has_depth else _NO_LIMIT,
            ),
        )


def _tissue_in_field(tissue: TissueMap | None, field: OrientationField, *, crop: bool) -> Tissue:
    from tractome.kernels import tracking

    if tissue is None:
        empty = np.zeros((0, 0, 0), np.uint8)
        # Read-only, as the fractions of a map are: numba would compile another engine.
        return tracking.Tissue(frozen(np.zeros((0, 0, 0, 5)), np.float32), empty, np.eye(4)[:3].copy(), crop)
    return tracking.Tissue(
        frozen(tissue.fractions, np.float32),
        tracking.plain_cells(tissue.fractions),
        np.ascontiguousarray((tissue.grid.inverse @ field.grid.affine)[:3]),
        crop,
    )
