"""Outlines of regions over an image, sharp enough to judge a registration by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation
from tractome.io.figures import _PLANES, N_SLICES, _bare, _figure, _palette, _save

SPACING_MM = 1.0
MARGIN_MM = 8.25
"""Not whole, so that pixels do not lie half-way between two voxels, where the nearest is a matter of rounding."""


def draw_outlines(path: Path, background: NDArray[np.float32], grid: Grid, parcellation: Parcellation, of: str) -> None:
    """Draw the outlines of regions over an image, in slices across the world's axes through the labelled part.

    The slices depend on the regions alone, so that pictures over two images of one subject can be compared.

    Parameters
    ----------
    path : Path
        A .png file.
    background : (x, y, z) float32
        Such as FA or the T1.
    grid : Grid
        Of the background, in the world of the regions. Interpolated linearly at 1 mm; regions by their nearest voxel.
    parcellation : Parcellation
    of : str
        What the background is, for the title.
    """
    labelled = np.argwhere(parcellation.rows >= 0)
    world = parcellation.grid.to_world(labelled) if len(labelled) else grid.to_world(np.argwhere(background > -np.inf))
    low, high = world.min(axis=0) - MARGIN_MM, world.max(axis=0) + MARGIN_MM
    background = np.nan_to_num(np.asarray(background, dtype=np.float32))
    bright = background[background > 0]
    top = float(np.percentile(bright, 99)) if len(bright) else 1.0
    palette = _palette(parcellation.regions.n_regions)
    figure = _figure(4 * N_SLICES, 4 * len(_PLANES))
    for row, (plane, (across, right, up)) in enumerate(_PLANES.items()):
        inner = world[:, across].min(), world[:, across].max()
        for column, place in enumerate(np.linspace(*inner, N_SLICES + 2)[1:-1]):
            points = _plane(low, high, across, place, right, up)
            grey = np.clip(_sampled(background, grid, points, 1) / top, 0, 1)
            rows = _sampled(parcellation.rows + 1, parcellation.grid, points, 0).astype(np.int64) - 1
            picture = np.repeat(grey[..., None], 3, axis=-1)
            edge = _edges(rows)
            picture[edge] = palette[rows[edge]]
            axes = figure.add_subplot(len(_PLANES), N_SLICES, row * N_SLICES + column + 1)
            axes.imshow(np.swapaxes(picture, 0, 1), origin="lower", interpolation="nearest")
            _bare(axes, f"{plane}, {'xyz'[across]} = {place:.0f} mm")
    title = f"{parcellation.regions.atlas} over {of}. The subject's left is on the left."
    figure.suptitle(title, color="white")
    _save(figure, path)


def _plane(
    low: NDArray[np.float64], high: NDArray[np.float64], across: int, place: float, right: int, up: int
) -> NDArray[np.float64]:
    """World positions (n, m, 3) of a slice's pixels, 1 mm apart."""
    first, second = (np.arange(low[axis], high[axis], SPACING_MM) for axis in (right, up))
    points = np.empty((len(first), len(second), 3))
    points[..., across] = place
    points[..., right], points[..., up] = first[:, None], second[None, :]
    return points


def _sampled(volume: NDArray[Any], grid: Grid, points: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Volume at world positions; 0 outside."""
    from scipy import ndimage

    voxels = np.moveaxis(grid.to_voxel(points), -1, 0)
    values: NDArray[Any] = ndimage.map_coordinates(volume, voxels, order=1 if order else 0, mode="constant")
    return values.astype(np.float64)


def _edges(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pixels of a region of which a neighbour to the right, above, left or below belongs to another or to none."""
    edge = np.zeros(rows.shape, dtype=np.bool_)
    for axis in range(2):
        differs = np.diff(rows, axis=axis) != 0
        ahead: list[slice] = [slice(None), slice(None)]
        behind: list[slice] = [slice(None), slice(None)]
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        edge[tuple(ahead)] |= differs
        edge[tuple(behind)] |= differs
    return edge & (rows >= 0)
