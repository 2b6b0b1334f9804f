"""Where each seed lies: a source of seeds gives the place, and perhaps the direction, of seed number i."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.fields import OrientationField, ScalarMap
from tractome.datatypes.fixels import FixelField
from tractome.datatypes.grid import Grid
from tractome.datatypes.seeds import SeedPoints
from tractome.datatypes.tissue import TissueMap
from tractome.datatypes.tractogram import Tractogram
from tractome.errors import OptionError
from tractome.options import TrackOptions
from tractome.stages.track.dynamic import DynamicSource
from tractome.stages.track.seeds import Seeds, find_seeds

Drawn = tuple[NDArray[np.float32], NDArray[np.int32]]
"""Points (n, 3), voxel coordinates of the field, NaN where there is none; and which direction of the sphere each
starts along, (n,), -1 for any."""

_STEPS_TO_INTERFACE = 8
"""In quarters of a voxel: a seed of a voxel beside grey matter is at most two voxels from the interface."""


class SeedSource(Protocol):
    """What seeds come from. Seed number i is the same whatever the blocks."""

    n_seeds: int | None
    """How many there are; None for no end."""
    round_end: int | None
    """Seeds from this one on can be drawn only when all before were tracked and learned from; None for no such end."""

    def draw(self, first: int, n: int) -> Drawn:
        """Seeds `first` to ``first + n``, none beyond the end of the round."""

    def learn(self, block: Tractogram) -> None:
        """Take note of the streamlines of the seeds drawn last."""


@dataclass(frozen=True)
class Material:
    """What a source of seeds may be made from.

    Parameters
    ----------
    field, options, tissue, fa, seed_mask
        As `find_seeds`.
    points : SeedPoints or None
        Given points.
    fixels : FixelField or None
        Fibre populations of the field, for dynamic seeding.
    directions : (n, 3) float64
        The engine's sphere, world unit vectors.
    """

    field: OrientationField
    options: TrackOptions
    tissue: TissueMap | None
    fa: ScalarMap | None
    seed_mask: NDArray[np.bool_] | None
    points: SeedPoints | None
    fixels: FixelField | None
    directions: NDArray[np.float64]

    def seeds(self) -> Seeds:
        """The voxels to start in."""
        return find_seeds(self.field, self.options, self.tissue, self.fa, self.seed_mask)


def source_in_force(options: TrackOptions, points: SeedPoints | None) -> str:
    """The kind of seeds that is used: given points stand in place of whatever the options say."""
    return "points" if points is not None else options.seed_source


def make_source(material: Material) -> SeedSource:
    """The source of seeds that the options and what was given ask for.

    Raises
    ------
    TrackingError
        There is nothing to start in.
    OptionError
        What the source needs was not given.
    """
    name, options = source_in_force(material.options, material.points), material.options
    if name == "points":
        return PointSource(material)
    if name == "dynamic":
        if material.fixels is None:
            message = "Dynamic seeding needs the fixels of the orientation field. Give them, or another seed_source."
            raise OptionError(message)
        return DynamicSource(
            material.field, options, material.fixels, material.directions, material.tissue, material.seed_mask
        )
    seeds = material.seeds()
    if name == "grid":
        return GridSource(seeds, material.field.grid, options.seeds_per_axis)
    if name == "interface" and material.seed_mask is None and material.tissue is not None:
        return InterfaceSource(seeds, material.field.grid, options.random_seed, material.tissue)
    return VoxelSource(seeds, material.field.grid, options.random_seed)


def seeds_in_field(seeds: Seeds, grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres of the seed voxels (n, 3), and the axes of one (3, 3, columns), in voxel coordinates of `grid`."""
    centres = grid.to_voxel(seeds.grid.to_world(seeds.voxels))
    axes = grid.inverse[:3, :3] @ seeds.grid.affine[:3, :3]
    return np.ascontiguousarray(centres), np.ascontiguousarray(axes)


def inside_voxels(
    centres: NDArray[np.float64], axes: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Points at `shares` (n, 3), each -0.5 to 0.5, of the axes (3, 3, columns) away from the centres (n, 3)."""
    points = centres.astype(np.float32)
    for axis in range(3):
        points = (points + axes[:, axis] * shares[:, axis, None]).astype(np.float32)
    return points


def _anywhere(n: int) -> NDArray[np.int32]:
    return np.full(n, -1, np.int32)


class VoxelSource:
    """Places drawn evenly in the seed voxels."""

    n_seeds: int | None = None
    round_end: int | None = None

    def __init__(self, seeds: Seeds, grid: Grid, random_seed: int) -> None:
        self._centres, self._axes = seeds_in_field(seeds, grid)
        self._random_seed = np.uint64(random_seed)

    def draw(self, first: int, n: int) -> Drawn:
        """Draw places."""
        from tractome.kernels.tracking import seed_uniforms

        drawn = seed_uniforms(self._random_seed, first, n)
        rows = (drawn[:, 0] * len(self._centres)).astype(np.intp)
        return inside_voxels(self._centres[rows], self._axes, drawn[:, 1:] - 0.5), _anywhere(n)

    def learn(self, block: Tractogram) -> None:
        """Nothing: seeds do not depend on streamlines."""


class InterfaceSource(VoxelSource):
    """Places drawn in the white voxels beside grey matter, then moved onto the surface between the two.

    As MRtrix3's ``-seed_gmwmi`` a streamline starts exactly on the interface; here it is tracked both ways, and the end
    on grey matter's side stops at once.
    """

    def __init__(self, seeds: Seeds, grid: Grid, random_seed: int, tissue: TissueMap) -> None:
        super().__init__(seeds, seeds.grid, random_seed)  # places in the tissue map's own voxels
        self._tissue, self._grid = tissue, grid

    def draw(self, first: int, n: int) -> Drawn:
        """Draw places on the interface."""
        from tractome.kernels.tracking import move_to_interface

        drawn, directions = super().draw(first, n)
        points = drawn.astype(np.float64)
        found = move_to_interface(self._tissue.fractions, points, _STEPS_TO_INTERFACE)
        points[~found] = np.nan
        return self._grid.to_voxel(self._tissue.grid.to_world(points)).astype(np.float32), directions


class GridSource:
    """A regular grid of places in each seed voxel, voxel by voxel, each once."""

    round_end: int | None = None

    def __init__(self, seeds: Seeds, grid: Grid, n_per_axis: int) -> None:
        self._centres, self._axes = seeds_in_field(seeds, grid)
        self._n_per_axis = n_per_axis
        self.n_seeds: int | None = len(self._centres) * n_per_axis**3

    def draw(self, first: int, n: int) -> Drawn:
        """Places in their order."""
        index = np.arange(first, first + n)
        row, place = np.divmod(index, self._n_per_axis**3)
        corner = np.stack(np.unravel_index(place, (self._n_per_axis,) * 3), axis=1)
        shares = (corner + 0.5) / self._n_per_axis - 0.5
        return inside_voxels(self._centres[row], self._axes, shares), _anywhere(n)

    def learn(self, block: Tractogram) -> None:
        """Nothing: seeds do not depend on streamlines."""


class PointSource:
    """Given points, each so many times in turn."""

    round_end: int | None = None

    def __init__(self, material: Material) -> None:
        from tractome.kernels.tracking import nearest_directions

        if material.points is None:
            message = "Seeding from points needs points. Give a file of them (--seed-points), or another seed_source."
            raise OptionError(message)
        if material.seed_mask is not None:
            message = "Both seed points and a seed mask were given. Give one of them."
            raise OptionError(message)
        self._points = material.field.grid.to_voxel(material.points.points_mm).astype(np.float32)
        self._directions = nearest_directions(material.directions, np.array(material.points.directions))
        self._n_times = material.options.seeds_per_point
        self.n_seeds: int | None = len(self._points) * self._n_times

    def draw(self, first: int, n: int) -> Drawn:
        """Points in their order."""
        rows = np.arange(first, first + n) // self._n_times
        return self._points[rows], self._directions[rows]

    def learn(self, block: Tractogram) -> None:
        """Nothing: seeds do not depend on streamlines."""
