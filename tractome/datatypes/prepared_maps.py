"""Scalar maps laid out for sampling along streamlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.fields import ScalarMap
from tractome.datatypes.grid import Grid
from tractome.errors import TableError


@dataclass(frozen=True, eq=False)
class PreparedMaps:
    """Scalar maps laid out for sampling: maps of one grid side by side, NaN where not defined.

    Make it once with `prepare_maps` and give it to `summarise` for every block.
    """

    names: tuple[str, ...]
    units: dict[str, str]
    stacks: tuple[tuple[Grid, tuple[str, ...], NDArray[np.float32]], ...]


def prepare_maps(maps: Sequence[ScalarMap]) -> PreparedMaps:
    """Lay maps out for sampling.

    Parameters
    ----------
    maps : sequence of ScalarMap
        On any grids; names must be distinct.
    """
    names = tuple(map_.name for map_ in maps)
    if len(set(names)) != len(names):
        message = f"Each map needs a name of its own; got {', '.join(names)}."
        raise TableError(message)
    groups: list[tuple[Grid, list[ScalarMap]]] = []
    for map_ in maps:
        for grid, members in groups:
            if grid.shape == map_.grid.shape and np.array_equal(grid.affine, map_.grid.affine):
                members.append(map_)
                break
        else:
            groups.append((map_.grid, [map_]))
    stacks = []
    for grid, members in groups:
        volumes = np.empty((*grid.shape, len(members)), np.float32)
        for index, map_ in enumerate(members):
            volumes[..., index] = map_.volume(fill=np.nan)
        volumes[~np.isfinite(volumes)] = np.nan
        stacks.append((grid, tuple(map_.name for map_ in members), volumes))
    return PreparedMaps(names, {map_.name: map_.unit for map_ in maps}, tuple(stacks))
