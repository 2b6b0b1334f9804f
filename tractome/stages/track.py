"""Streamlines from an orientation field, as a source of blocks."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen
from tractome.datatypes.fields import OrientationField, ScalarMap
from tractome.datatypes.grid import Grid, require_same_grid
from tractome.datatypes.tissue import TissueMap
from tractome.datatypes.tractogram import RejectReason, Tractogram
from tractome.errors import OptionError, SpaceError, TrackingError
from tractome.options import TrackOptions

if TYPE_CHECKING:
    from tractome.kernels.tracking import Field, Rules, Sphere, Tissue

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

SPHERE_FREQUENCY = 12
"""1,442 directions about 5 degrees apart."""

_LARGEST_BUFFER = 256 * 2**20
"""Bytes of scratch points that one block may take."""

_NO_LIMIT = 2**31 - 1

_HOPELESS = 1000
"""Tracking gives up when so many times `max_seeds_per_streamline` seeds gave no streamline at all."""


@dataclass(frozen=True)
class Seeds:
    """Voxels to start in, on any grid.

    Parameters
    ----------
    voxels : (n, 3) int
        Voxel indices on `grid`; a seed is jittered over the whole of its voxel.
    grid : Grid
    """

    voxels: NDArray[np.intp]
    grid: Grid


def find_seeds(
    field: OrientationField,
    options: TrackOptions,
    tissue: TissueMap | None = None,
    fa: ScalarMap | None = None,
    seed_mask: NDArray[np.bool_] | None = None,
) -> Seeds:
    """Choose the voxels to start in.

    Parameters
    ----------
    field : OrientationField
    options : TrackOptions
        `seed_source`, `seed_depth_mm` and `fa_threshold` are used.
    tissue : TissueMap or None
        White matter is where it fills half of a voxel; the interface is where that touches grey matter.
    fa : ScalarMap or None
        Stands in for the tissue map: seeds where FA reaches its threshold.
    seed_mask : shape of the field's grid, bool, or None
        Seeds are taken from these voxels only, in place of `seed_source`.

    Returns
    -------
    Seeds

    Raises
    ------
    TrackingError
        No voxel to start in.
    OptionError
        Interface seeds are asked for without a tissue map.
    """
    if seed_mask is not None:
        if seed_mask.shape != field.grid.shape:
            message = f"The seed mask has shape {seed_mask.shape}; the FODs have {field.grid.shape}. Use the same grid."
            raise SpaceError(message)
        chosen, grid = seed_mask & field.mask, field.grid
    elif tissue is not None:
        chosen, grid = _tissue_seeds(tissue, options), tissue.grid
    elif options.seed_source == "interface":
        message = "Seeds at the grey-white interface need a tissue map. Give one, or choose seed_source white-matter."
        raise OptionError(message)
    else:
        chosen, grid = field.mask, field.grid
        if fa is not None:
            require_same_grid(field.grid, fa.grid, "the orientation field", "the FA map")
            chosen = chosen & (fa.volume() >= options.fa_threshold)
    voxels = np.argwhere(chosen)
    if not len(voxels):
        message = (
            "There is no voxel to start streamlines in: the seed mask, the white matter or the voxels with "
            f"FA >= {options.fa_threshold:g} are empty inside the brain mask. Check the mask, tissue map and FA."
        )
        raise TrackingError(message)
    return Seeds(voxels, grid)


def _tissue_seeds(tissue: TissueMap, options: TrackOptions) -> NDArray[np.bool_]:
    """Voxels that are mostly white matter; all of them, or those that touch grey matter or are near enough to it."""
    from scipy.ndimage import binary_dilation, distance_transform_edt

    fractions = tissue.fractions
    white = fractions[..., 2] >= 0.5
    grey = fractions[..., 0] + fractions[..., 1] > 0.5
    if options.seed_source == "interface":
        touching: NDArray[np.bool_] = white & binary_dilation(grey)
        return touching
    if options.seed_source == "white-matter" or not grey.any():
        return white
    # No point of a streamline that ends in grey matter within the seed depth can be further from grey matter than that;
    # distances are between voxel centres, so a voxel's diagonal is added.
    sizes_mm = tissue.grid.voxel_sizes_mm
    reach_mm = options.seed_depth_mm + float(np.linalg.norm(sizes_mm))
    near: NDArray[np.bool_] = white & (distance_transform_edt(~grey, sampling=sizes_mm) <= reach_mm)
    return near


def track(
    field: OrientationField,
    options: TrackOptions,
    *,
    tissue: TissueMap | None = None,
    fa: ScalarMap | None = None,
    seed_mask: NDArray[np.bool_] | None = None,
    progress: Progress | None = None,
) -> Iterator[Tractogram]:
    """Track streamlines, block by block.

    The streamline of a seed depends on (random_seed, seed index) alone: any number of threads and any block size give
    the same streamlines in the same order. With a tissue map, anatomical constraints hold (Smith et al. 2012, see
    `kernels.tracking`); without one a streamline ends where the field, FA or the mask ends.

    Parameters
    ----------
    field : OrientationField
    options : TrackOptions
    tissue : TissueMap or None
        On any grid of the same space.
    fa : ScalarMap or None
        On the field's grid; used to stop and to seed when there is no tissue map.
    seed_mask : shape of the field's grid, bool, or None
        Seeds are taken from these voxels only, in place of `seed_source`: at any depth.
    progress : callable (done, wanted), optional

    Yields
    ------
    Tractogram
        In the order of seed indices; the last block ends exactly at the number of streamlines asked for.

    Raises
    ------
    TrackingError
        No voxel to start in, or the number asked for is out of reach; what was found and why the rest was rejected
        is in the message.
    """
    from tractome.kernels._jit import set_threads
    from tractome.kernels.tracking import track_block

    seeds = find_seeds(field, options, tissue, fa, seed_mask)
    engine = _Engine.build(field, options, tissue, fa, has_seed_mask=seed_mask is not None)
    centres, axes = _seeds_in_field(seeds, field.grid)
    set_threads(options.n_threads)
    wanted = options.n_streamlines if options.n_seeds is None else None
    last_seed = options.n_seeds if wanted is None else wanted * options.max_seeds_per_streamline
    assert last_seed is not None
    # Where nothing at all is accepted, more of the same seeds will not help.
    hopeless = last_seed if wanted is None else min(last_seed, _HOPELESS * options.max_seeds_per_streamline)
    n_block = max(1, min(options.block_size, _LARGEST_BUFFER // (12 * engine.rules.max_points)))
    points = np.empty((n_block, engine.rules.max_points, 3), np.float32)
    n_points, verdicts = np.zeros(n_block, np.int32), np.zeros((n_block, 3), np.int8)
    n_accepted, first = 0, 0
    rejected: dict[RejectReason, int] = {}
    while first < (last_seed if n_accepted else hopeless) and (wanted is None or n_accepted < wanted):
        n_now = min(n_block, (last_seed if n_accepted else hopeless) - first)
        track_block(
            np.uint64(options.random_seed), first, centres, axes, engine.field, engine.sphere, engine.tissue,
            engine.rules, points[:n_now], n_points[:n_now], verdicts[:n_now],
        )  # fmt: skip
        limit = None if wanted is None else wanted - n_accepted
        block = _collect(points, n_points[:n_now], verdicts[:n_now], first, limit, field.grid)
        for reason, number in block.rejected.items():
            rejected[reason] = rejected.get(reason, 0) + number
        n_accepted += block.n_streamlines
        first += n_now
        if progress is not None:
            progress(*((n_accepted, wanted) if wanted is not None else (first, last_seed)))
        yield block
    if n_accepted == 0 or (wanted is not None and n_accepted < wanted):
        raise TrackingError(_explain_shortfall(n_accepted, wanted, first, rejected))


def _explain_shortfall(n_accepted: int, wanted: int | None, n_seeds: int, rejected: dict[RejectReason, int]) -> str:
    reasons = ", ".join(
        f"{number:,} {reason.name.lower().replace('_', ' ')}"
        for reason, number in sorted(rejected.items(), key=lambda item: -item[1])
    )
    goal = "" if wanted is None else f" of {wanted:,} wanted"
    return (
        f"{n_accepted:,} streamlines{goal} were accepted from {n_seeds:,} seeds; rejected: {reasons or 'none'}. "
        "Look at the FA and orientation maps, the tissue map and the mask; lower the cutoff, or widen the limits of "
        "length and angle."
    )


@dataclass(frozen=True)
class _Engine:
    """Arguments of the kernel, in its own terms."""

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
        has_seed_mask: bool = False,
    ) -> _Engine:
        """Bring the field, the tissue and the options to voxel coordinates, steps and counts of steps."""
        from tractome.kernels import tracking
        from tractome.kernels.directions import cones, geodesic_sphere
        from tractome.kernels.harmonics import sh_basis

        step_mm = step_size_mm(options, field.grid)
        angle_deg = max_angle_deg(options, field.grid)
        has_depth = options.seed_source == "balanced" and not has_seed_mask
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
        )


def step_size_mm(options: TrackOptions, grid: Grid) -> float:
    """Step in force: what was asked for, or a quarter of the mean voxel size."""
    if options.step_size_mm is not None:
        return options.step_size_mm
    return 0.25 * float(np.cbrt(grid.voxel_volume_mm3))


def max_angle_deg(options: TrackOptions, grid: Grid) -> float:
    """Largest turn per step in force: what was asked for, or 15 degrees in a quarter of a voxel, 45 at most."""
    if options.max_angle_deg is not None:
        return options.max_angle_deg
    quarter_voxel_mm = 0.25 * float(np.cbrt(grid.voxel_volume_mm3))
    return min(45.0, 15.0 * step_size_mm(options, grid) / quarter_voxel_mm)


def min_length_mm(options: TrackOptions, grid: Grid, *, has_tissue: bool) -> float:
    """Shortest length in force: what was asked for, or 2 voxels with a tissue map and 5 without one."""
    if options.min_length_mm is not None:
        return options.min_length_mm
    return (2.0 if has_tissue else 5.0) * float(np.cbrt(grid.voxel_volume_mm3))


def _seeds_in_field(seeds: Seeds, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres of the seed voxels (n, 3), and the axes of one (3, 3, columns), in voxel coordinates of `grid`."""
    centres = grid.to_voxel(seeds.grid.to_world(seeds.voxels))
    axes = grid.inverse[:3, :3] @ seeds.grid.affine[:3, :3]
    return np.ascontiguousarray(centres), np.ascontiguousarray(axes)


def _collect(
    points: NDArray[np.float32],
    n_points: NDArray[np.int32],
    verdicts: NDArray[np.int8],
    first: int,
    limit: int | None,
    grid: Grid,
) -> Tractogram:
    """The accepted streamlines of a block, in seed order, at most `limit`; seeds after the last one do not count."""
    from tractome.kernels.tracking import gather

    accepted = np.flatnonzero(n_points > 0)
    n_seeds = len(n_points)
    if limit is not None and len(accepted) >= limit:
        accepted = accepted[:limit]
        n_seeds = int(accepted[-1]) + 1
    offsets = np.concatenate([[0], np.cumsum(n_points[accepted], dtype=np.int64)])
    world = gather(points, accepted, offsets, np.asarray(grid.affine))
    counts = np.bincount(verdicts[:n_seeds, 0])
    rejected = {RejectReason(code): int(number) for code, number in enumerate(counts) if code and number}
    return Tractogram(world, offsets, accepted + first, verdicts[accepted, 1:], n_seeds, rejected)
