"""From streamlines to a row per streamline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.fields import ScalarMap
from tractome.datatypes.prepared_maps import PreparedMaps, prepare_maps
from tractome.datatypes.tractogram import StreamlineTable, Tractogram
from tractome.errors import TableError

_DIRECTION_OVER_MM = 2.0
"""Length over which the direction of an end is taken."""


def summarise(
    block: Tractogram, maps: Sequence[ScalarMap] | PreparedMaps, *, directions: bool = False, crossed: bool = False
) -> StreamlineTable:
    """Keep of each streamline its ends, its length and the mean of each map along it.

    Parameters
    ----------
    block : Tractogram
    maps : sequence of ScalarMap, or PreparedMaps
        With many blocks, prepare the maps once.
    directions : bool
        Also the directions in which it leaves through its ends: the forward assignment needs them.
    crossed : bool
        Also the sum of each map over the voxels that it crosses: pooled means need them.

    Returns
    -------
    StreamlineTable
        A streamline of one point has length 0 and the value of the map at that point.
    """
    from tractome.kernels.crossing import sum_over_crossed
    from tractome.kernels.sampling import end_directions, streamline_lengths, streamline_means

    prepared = maps if isinstance(maps, PreparedMaps) else prepare_maps(maps)
    lengths = None
    means: dict[str, NDArray[np.float32]] = {}
    sums: dict[str, NDArray[np.float64]] = {}
    for grid, names, volumes in prepared.stacks:
        to_voxel = np.ascontiguousarray(grid.inverse[:3])
        found, lengths = streamline_means(volumes, block.points, block.offsets, to_voxel)
        means.update(zip(names, found, strict=True))
        if crossed:
            both = np.stack(sum_over_crossed(volumes, block.points, block.offsets, to_voxel), axis=-1)
            sums.update(zip(names, both, strict=True))
    return StreamlineTable(
        np.stack([block.points[block.offsets[:-1]], block.points[block.offsets[1:] - 1]], axis=1),
        streamline_lengths(block.points, block.offsets) if lengths is None else lengths,
        {name: means[name] for name in prepared.names},
        block.seed_index,
        prepared.units,
        directions=end_directions(block.points, block.offsets, _DIRECTION_OVER_MM) if directions else None,
        crossed={name: sums[name] for name in prepared.names} if crossed else {},
    )


def kind_of_weights(table: StreamlineTable) -> tuple[bool, float | None]:
    """Whether a table has weights, and their mu."""
    return table.weights is not None, table.mu


def concatenate(tables: Sequence[StreamlineTable]) -> StreamlineTable:
    """Join tables of the same maps, in the order given.

    Raises
    ------
    TableError
        No table, or tables of different maps, or only some with weights.
    """
    if not tables:
        message = "There is no streamline table to join."
        raise TableError(message)
    first = tables[0]
    for table in tables[1:]:
        if set(table.means) != set(first.means) or kind_of_weights(table) != kind_of_weights(first):
            message = (
                f"These streamline tables do not hold the same columns: {sorted(first.means)} and {sorted(table.means)}"
                ", or only some have weights, or another mu. Join tables that were made with the same maps."
            )
            raise TableError(message)
    weights = [table.weights for table in tables if table.weights is not None]
    return StreamlineTable(
        np.concatenate([table.ends_mm for table in tables]),
        np.concatenate([table.length_mm for table in tables]),
        {name: np.concatenate([table.means[name] for table in tables]) for name in first.means},
        np.concatenate([table.seed_index for table in tables]),
        dict(first.units),
        np.concatenate(weights) if weights else None,
        first.mu,
    )
