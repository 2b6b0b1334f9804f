"""Places given by the user: points to start in, and masks to start, pass or stay in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen, require_shape
from tractome.datatypes.grid import Grid
from tractome.errors import SpaceError, TableError


@dataclass(frozen=True, eq=False)
class SeedPoints:
    """Points to start streamlines in.

    Parameters
    ----------
    points_mm : (n, 3) float64
        RAS+ mm.
    directions : (n, 3) float64
        World axes, of any length: the start is drawn in the cone around it. Zeros where none is given.

    Raises
    ------
    TableError
        No point, or a number that is not finite.
    """

    points_mm: NDArray[np.float64]
    directions: NDArray[np.float64]

    def __post_init__(self) -> None:
        points, directions = frozen(self.points_mm, np.float64), frozen(self.directions, np.float64)
        require_shape(points, (None, 3), "The table of seed points", TableError)
        require_shape(directions, (len(points), 3), "The table of seed directions", TableError)
        if not len(points) or not np.isfinite(points).all() or not np.isfinite(directions).all():
            message = "Seed points need at least one point, and finite numbers only: x, y, z in RAS+ mm."
            raise TableError(message)
        object.__setattr__(self, "points_mm", points)
        object.__setattr__(self, "directions", directions)


@dataclass(frozen=True, eq=False)
class Mask:
    """Voxels of any grid.

    Parameters
    ----------
    name : str
        For messages, such as the file's name.
    inside : shape of the grid, bool
    grid : Grid
    """

    name: str
    inside: NDArray[np.bool_]
    grid: Grid

    def __post_init__(self) -> None:
        inside = frozen(self.inside, np.bool_)
        require_shape(inside, self.grid.shape, f"The mask {self.name}", SpaceError)
        object.__setattr__(self, "inside", inside)

    def on(self, grid: Grid) -> NDArray[np.bool_]:
        """The mask on another grid: the nearest of its voxels at each voxel's centre, False outside it."""
        result = np.zeros(grid.shape, np.bool_)
        plane = np.moveaxis(np.indices((1, *grid.shape[1:])), 0, -1)
        for i in range(grid.shape[0]):
            voxels = np.floor(self.grid.to_voxel(grid.to_world(plane + np.array([i, 0, 0]))) + 0.5).astype(np.intp)[0]
            within = ((voxels >= 0) & (voxels < self.grid.shape)).all(axis=-1)
            result[i][within] = self.inside[tuple(voxels[within].T)]
        return result
