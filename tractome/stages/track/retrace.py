"""The accepted streamlines of an earlier tracking, again, from the numbers of their seeds alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.fields import OrientationField, ScalarMap
from tractome.datatypes.fixels import FixelField
from tractome.datatypes.seeds import SeedPoints
from tractome.datatypes.tissue import TissueMap
from tractome.datatypes.tractogram import Tractogram
from tractome.errors import TrackingError
from tractome.options import TrackOptions
from tractome.stages.track.blocks import Progress, Workbench
from tractome.stages.track.gates import Gates


def retrace(
    field: OrientationField,
    options: TrackOptions,
    accepted: NDArray[np.int64],
    *,
    tissue: TissueMap | None = None,
    fa: ScalarMap | None = None,
    seed_mask: NDArray[np.bool_] | None = None,
    seed_points: SeedPoints | None = None,
    fixels: FixelField | None = None,
    gates: Gates | None = None,
    progress: Progress | None = None,
) -> Iterator[Tractogram]:
    """Track the streamlines of given seeds again: the same points, to the last bit, without what was rejected.

    A streamline is a function of its seed's number alone; with dynamic seeding also of the accepted streamlines of
    earlier rounds, which are all here too.

    Parameters
    ----------
    accepted : (n_streamlines,) int64
        `Tractogram.seed_index` of what was accepted, rising.
    field, options, tissue, fa, seed_mask, seed_points, fixels, gates, progress
        As they were given to `track`.

    Yields
    ------
    Tractogram
        In the order of `accepted`.

    Raises
    ------
    TrackingError
        A seed gives no accepted streamline now: field, files or options are not those of then.
    """
    bench = Workbench.build(field, options, tissue, fa, seed_mask, seed_points, fixels, gates or Gates())
    first, n_done = 0, 0
    while n_done < len(accepted):
        n_now = bench.room(first)
        if bench.source.n_seeds is not None:
            n_now = min(n_now, bench.source.n_seeds - first)
        n_end = int(np.searchsorted(accepted, first + n_now)) if n_now > 0 else n_done
        wanted = accepted[n_done:n_end] - first
        block = bench.track(first, n_now, only=wanted) if n_now > 0 else None
        if block is None or not np.array_equal(block.seed_index, accepted[n_done:n_end]):
            message = (
                f"Of {len(wanted):,} streamlines only {block.n_streamlines if block is not None else 0:,} came out of "
                "their seeds again, so these are not the orientations, files or options that they were tracked with. "
                "Track again."
            )
            raise TrackingError(message)
        first, n_done = first + n_now, n_end
        if progress is not None:
            progress(n_done, len(accepted))
        yield block
