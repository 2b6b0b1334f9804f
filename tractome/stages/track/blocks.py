"""Blocks of streamlines, in seed order, as they are tracked."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.fields import OrientationField, ScalarMap
from tractome.datatypes.fixels import FixelField
from tractome.datatypes.grid import Grid
from tractome.datatypes.seeds import SeedPoints
from tractome.datatypes.tissue import TissueMap
from tractome.datatypes.tractogram import RejectReason, Tractogram
from tractome.errors import TrackingError
from tractome.options import TrackOptions
from tractome.stages.track.engine import Engine
from tractome.stages.track.gates import Gates
from tractome.stages.track.limits import Goal
from tractome.stages.track.rounds import Rounds, count_rejected
from tractome.stages.track.sources import Material, SeedSource, make_source, source_in_force

Progress = Callable[[int, int], None]

_LARGEST_BUFFER = 256 * 2**20
"""Bytes of scratch points that one block may take."""


def track(
    field: OrientationField,
    options: TrackOptions,
    *,
    tissue: TissueMap | None = None,
    fa: ScalarMap | None = None,
    seed_mask: NDArray[np.bool_] | None = None,
    seed_points: SeedPoints | None = None,
    fixels: FixelField | None = None,
    gates: Gates | None = None,
    round_ends: Iterable[int] = (),
    progress: Progress | None = None,
) -> Generator[Tractogram, None, None]:
    """Track streamlines, block by block.

    The streamline of a seed depends on (random_seed, seed index) alone: any number of threads and any block size give
    the same streamlines in the same order. (With dynamic seeding it also depends on the streamlines of earlier rounds
    of seeds; rounds are the same whatever the blocks.) With a tissue map, anatomical constraints hold (Smith et al.
    2012, see `kernels.tracking`); without one a streamline ends where the field, FA or the mask ends.

    Parameters
    ----------
    field : OrientationField
    options : TrackOptions
    tissue : TissueMap or None
        On any grid of the same space.
    fa : ScalarMap or None
        On the field's grid; used to stop and to seed when there is no tissue map.
    seed_mask : shape of the field's grid, bool, or None
        Seeds are taken from these voxels only, in place of those that `seed_source` says: at any depth.
    seed_points : SeedPoints or None
        Seeds are these points, in place of `seed_source`.
    fixels : FixelField or None
        Fibre populations of the field; dynamic seeding needs them.
    gates : Gates or None
        Masks to pass, to avoid, or to stay in.
    round_ends : iterable of int
        Numbers of accepted streamlines, rising, at which a block ends: whoever stops taking blocks there has, to the
        last byte and rejected seed, what `n_streamlines` of that number gives.
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
    bench = Workbench.build(field, options, tissue, fa, seed_mask, seed_points, fixels, gates or Gates())
    goal, rounds = Goal.of(options, bench.source.n_seeds), Rounds(round_ends)
    n_accepted, first = 0, 0
    rejected: dict[RejectReason, int] = {}
    while n_now := goal.n_left(n_accepted, first):
        n_now = min(n_now, bench.room(first))
        block = bench.track(first, n_now, limit=None if goal.n_wanted is None else goal.n_wanted - n_accepted)
        for part in rounds.split(block, first, bench.verdicts[:, 0]):
            for reason, number in part.rejected.items():
                rejected[reason] = rejected.get(reason, 0) + number
            n_accepted += part.n_streamlines
            if progress is not None:
                n_tried = first + n_now
                progress(*((n_accepted, goal.n_wanted) if goal.n_wanted is not None else (n_tried, goal.n_seeds)))
            yield part
        first += n_now
    if n_accepted == 0 or (goal.n_wanted is not None and n_accepted < goal.n_wanted):
        raise TrackingError(_explain_shortfall(n_accepted, goal.n_wanted, first, rejected))


@dataclass(frozen=True)
class Workbench:
    """What tracks one block after the other: the engine, the seeds, and room for the points."""

    options: TrackOptions
    grid: Grid
    engine: Engine
    source: SeedSource
    gates: Gates
    points: NDArray[np.float32]
    n_points: NDArray[np.int32]
    verdicts: NDArray[np.int8]

    @classmethod
    def build(
        cls,
        field: OrientationField,
        options: TrackOptions,
        tissue: TissueMap | None,
        fa: ScalarMap | None,
        seed_mask: NDArray[np.bool_] | None,
        seed_points: SeedPoints | None,
        fixels: FixelField | None,
        gates: Gates,
    ) -> Workbench:
        """Set up; the arguments are those of `track`."""
        from tractome.kernels._jit import set_threads

        field, tissue = gates.keep_inside(field, tissue)
        has_depth = source_in_force(options, seed_points) == "balanced" and seed_mask is None
        engine = Engine.build(field, options, tissue, fa, has_depth=has_depth)
        directions = engine.sphere.directions
        source = make_source(Material(field, options, tissue, fa, seed_mask, seed_points, fixels, directions))
        set_threads(options.n_threads)
        n_block = max(1, min(options.block_size, _LARGEST_BUFFER // (12 * engine.rules.max_points)))
        points = np.empty((n_block, engine.rules.max_points, 3), np.float32)
        return cls(
            options, field.grid, engine, source, gates,
            points, np.zeros(n_block, np.int32), np.zeros((n_block, 3), np.int8),
        )  # fmt: skip

    def room(self, first: int) -> int:
        """Seeds from `first` on that one block may have."""
        n_block, end = len(self.points), self.source.round_end
        return n_block if end is None else min(n_block, end - first)

    def track(
        self, first: int, n_now: int, *, limit: int | None = None, only: NDArray[np.int64] | None = None
    ) -> Tractogram:
        """Track seeds `first` to ``first + n_now``: at most `limit` streamlines; of `only` some, counted from first."""
        from tractome.kernels.tracking import track_block

        engine = self.engine
        points, n_points, verdicts = self.points[:n_now], self.n_points[:n_now], self.verdicts[:n_now]
        starts, directions = self.source.draw(first, n_now)
        if only is not None:
            is_wanted = np.zeros(n_now, np.bool_)
            is_wanted[only] = True
            starts = np.where(is_wanted[:, None], starts, np.float32(np.nan))  # a seed that is nowhere costs nothing
        track_block(
            self.options.random_seed, first, starts, directions, engine.method, engine.field, engine.sphere,
            engine.tissue, engine.rules, points, n_points, verdicts,
        )  # fmt: skip
        _reject_short(points, n_points, verdicts, engine.rules.min_length_mm, self.grid)
        self.gates.apply(points, n_points, verdicts, self.grid)
        block = _collect(self.points, n_points, verdicts, first, limit, self.grid)
        self.source.learn(block)
        return block


def _reject_short(
    points: NDArray[np.float32], n_points: NDArray[np.int32], verdicts: NDArray[np.int8], min_mm: float, grid: Grid
) -> None:
    """Reject what is too short once its ends are cropped: while tracking, length is counted in whole steps."""
    from tractome.kernels.mapping import shorter_than

    short = (n_points > 0) & shorter_than(points, n_points, np.ascontiguousarray(grid.affine[:3]), min_mm)
    n_points[short] = 0
    verdicts[short, 0] = RejectReason.TOO_SHORT


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
    rejected = count_rejected(verdicts[:n_seeds, 0])
    return Tractogram(world, offsets, accepted + first, verdicts[accepted, 1:], n_seeds, rejected)
