"""Pictures to look at: colour FA, labels over the b0, streamlines, matrices, a glass-brain connectome.

All in neurological view (the subject's left is on the left), without any global state of matplotlib; equal input gives
equal bytes.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome
from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation
from tractome.datatypes.tissue import TissueMap
from tractome.io.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_SLICES = 5
MOST_EDGES = 300
"""Edges of the glass brain: more hide each other."""
MOST_TICKS = 120

# Plane: the world axis across it, the axis that runs right in the picture, and the one that runs up.
_PLANES = {"axial": (2, 0, 1), "coronal": (1, 0, 2), "sagittal": (0, 1, 2)}


def draw_colour_fa(path: Path, colour: NDArray[np.float32], grid: Grid) -> None:
    """Draw colour FA: red left-right, green front-back, blue up-down.

    Parameters
    ----------
    path : Path
        A .png file.
    colour : (x, y, z, 3) float32
        Absolute principal direction times FA, world axes, in [0, 1].
    grid : Grid
    """
    volume, sizes = to_ras(colour, grid)
    # FA of white matter is about 0.5: without this the picture is dark.
    _draw_slices(path, np.clip(volume * 1.4, 0, 1), sizes, "Colour FA: red left-right, green front-back, blue up-down")


def draw_labels(path: Path, background: NDArray[np.float32], grid: Grid, parcellation: Parcellation) -> None:
    """Draw regions over an image.

    Parameters
    ----------
    path : Path
        A .png file.
    background : (x, y, z) float32
        Such as the mean b0.
    grid : Grid
        Of the background. The labels are looked up at its voxel centres through world mm.
    parcellation : Parcellation
    """
    voxels, inside = _voxels_at(parcellation.grid, grid)
    rows = np.full(len(voxels), -1, dtype=np.int32)
    rows[inside] = parcellation.rows[tuple(voxels[inside].T)]
    top = float(np.percentile(background[background > 0], 99)) if (background > 0).any() else 1.0
    grey = np.clip(background / top, 0, 1).reshape(-1)
    colour = np.repeat(grey[:, None], 3, axis=1)
    labelled = rows >= 0
    palette = _palette(parcellation.regions.n_regions)
    colour[labelled] = 0.5 * colour[labelled] + 0.5 * palette[rows[labelled]]
    volume, sizes = to_ras(colour.reshape(*grid.shape, 3).astype(np.float32), grid)
    missing = len(parcellation.missing)
    title = f"{parcellation.regions.atlas}: {parcellation.regions.n_regions} regions, {missing} missing"
    _draw_slices(path, volume, sizes, title)


def _voxels_at(sought: Grid, grid: Grid) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The voxel of one grid at each voxel centre of another, through world mm; and whether it is within that grid."""
    centres = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    voxels = np.rint(sought.to_voxel(grid.to_world(centres))).astype(np.intp)
    inside = np.asarray(((voxels >= 0) & (voxels < sought.shape)).all(axis=1), np.bool_)
    return voxels, inside


_TISSUE_COLOURS = np.array([[0.9, 0.25, 0.2], [1.0, 0.65, 0.0], [0.95, 0.95, 0.9], [0.2, 0.45, 0.95], [0.8, 0.2, 0.8]])


def draw_tissue(path: Path, background: NDArray[np.float32], grid: Grid, tissue: TissueMap) -> None:
    """Draw a tissue map over an image: cortex red, deep grey orange, white matter white, CSF blue, lesions violet.

    Parameters
    ----------
    path : Path
        A .png file.
    background : (x, y, z) float32
        Such as the mean b0.
    grid : Grid
        Of the background. The tissues are looked up at its voxel centres through world mm.
    tissue : TissueMap
    """
    voxels, inside = _voxels_at(tissue.grid, grid)
    shares = np.zeros((len(voxels), len(_TISSUE_COLOURS)))
    shares[inside] = tissue.fractions[tuple(voxels[inside].T)]
    positive = background[background > 0]
    top = float(np.percentile(positive, 99)) if len(positive) else 1.0
    grey = np.repeat(np.clip(np.nan_to_num(background) / top, 0, 1).reshape(-1, 1), 3, axis=1)
    painted = shares.sum(axis=1, keepdims=True) * 0.6
    colour = (1 - painted) * grey + 0.6 * np.einsum("vt,tc->vc", shares, _TISSUE_COLOURS)
    volume, sizes = to_ras(np.clip(colour, 0, 1).reshape(*grid.shape, 3).astype(np.float32), grid)
    _draw_slices(path, volume, sizes, "Tissue: cortex red, deep grey orange, white matter white, CSF blue")


def draw_streamlines(
    path: Path, streamlines: Sequence[NDArray[np.float32]], fa: NDArray[np.float32], grid: Grid
) -> None:
    """Draw streamlines as seen from three sides, coloured by direction.

    Parameters
    ----------
    path : Path
        A .png file.
    streamlines : sequence of (n, 3) float32
        RAS+ mm.
    fa : (x, y, z) float32
        Its projection is drawn behind them, so that one sees whether they lie in the brain.
    grid : Grid
    """
    from matplotlib.collections import LineCollection

    figure = _figure(13.5, 5)
    volume, _ = to_ras(fa, grid)
    origin, corner = _bounds(grid)
    inside = grid.to_world(np.argwhere(fa > 0)) if (fa > 0).any() else np.array([origin, corner])
    low, high = inside.min(axis=0) - 5.0, inside.max(axis=0) + 5.0
    for index, (plane, (across, right, up)) in enumerate(_PLANES.items()):
        axes = figure.add_subplot(1, 3, index + 1)
        shadow = volume.max(axis=across)
        extent = (origin[right], corner[right], origin[up], corner[up])
        axes.imshow(shadow.T, origin="lower", extent=extent, cmap="gray", vmin=0, vmax=2, aspect="equal")
        lines = LineCollection(
            [line[:, (right, up)] for line in streamlines],
            colors=[_direction_colour(line) for line in streamlines],
            linewidths=0.5,
            alpha=0.6,
        )
        axes.add_collection(lines)
        axes.set_xlim(low[right], high[right])
        axes.set_ylim(low[up], high[up])
        _bare(axes, plane)
    figure.suptitle(f"{len(streamlines)} streamlines: red left-right, green front-back, blue up-down", color="white")
    _save(figure, path)


def draw_matrices(path: Path, connectome: Connectome) -> None:
    """Draw the count (on a logarithmic scale) and the mean FA of every edge.

    A connectome that lacks one of them has its first sum, or its first mean, in that place; or one picture only.

    Parameters
    ----------
    path : Path
        A .png file.
    connectome : Connectome
    """
    names = _drawn_measures(connectome)
    figure = _figure(8 * max(len(names), 1), 8, dark=False)
    for index, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), index + 1)
        matrix, is_mean = connectome.matrices[name].copy(), connectome.measures[name].is_mean
        np.fill_diagonal(matrix, np.nan)
        if not is_mean:
            matrix[matrix == 0] = np.nan
        image = axes.imshow(matrix, cmap="viridis", interpolation="nearest", **_matrix_scale(matrix, is_mean=is_mean))
        figure.colorbar(image, ax=axes, shrink=0.7, label=connectome.measures[name].unit)
        axes.set_title(f"{name}, without self-connections; white: no edge")
        if connectome.n_regions <= MOST_TICKS:
            ticks = range(connectome.n_regions)
            axes.set_xticks(ticks, connectome.regions.names, rotation=90, fontsize=4)
            axes.set_yticks(ticks, connectome.regions.names, fontsize=4)
    _save(figure, path)


def _drawn_measures(connectome: Connectome) -> list[str]:
    """A sum and a mean, as far as there are; what says how sure another measure is only where there is nothing else."""
    plain = connectome.plain_measures
    found = []
    for preferred, is_mean in (("count", False), ("fa", True)):
        alike = [name for name in plain if connectome.measures[name].is_mean == is_mean]
        found += [preferred] if preferred in alike else alike[:1]
    return found or list(connectome.matrices)[:1]


def _matrix_scale(matrix: NDArray[np.float64], *, is_mean: bool) -> dict[str, Any]:
    """Logarithmic for what adds up, from 0 for a mean, even to both sides of 0 where there are values below it."""
    from matplotlib.colors import LogNorm

    known = matrix[np.isfinite(matrix)]
    lowest, highest = (float(known.min()), float(known.max())) if len(known) else (1.0, 1.0)
    if lowest < 0:
        widest = max(-lowest, highest)
        return {"vmin": -widest, "vmax": widest}
    if is_mean:
        return {"vmin": 0.0, "vmax": highest or 1.0}
    return {"norm": LogNorm(lowest, max(highest, 2 * lowest))}


def draw_connectome(path: Path, connectome: Connectome) -> None:
    """Draw the strongest edges in nilearn's glass brain.

    The glass brain is in MNI space, so the atlas's own centroids are taken where it has them, else the subject's.

    Parameters
    ----------
    path : Path
        A .png file.
    connectome : Connectome
    """
    from matplotlib.figure import Figure
    from nilearn.plotting import plot_connectome

    coordinates, frame = connectome.regions.centroids_mm, "the atlas's centroids"
    if connectome.regions.from_image or not np.isfinite(coordinates).all():
        coordinates, frame = connectome.centroids_mm, "this subject's centroids, not in MNI space"
    strength = np.log1p(np.nan_to_num(connectome.matrices["count"]))
    np.fill_diagonal(strength, 0.0)
    known = np.asarray(np.isfinite(coordinates).all(axis=1))
    strength, coordinates = strength[np.ix_(known, known)], coordinates[known]
    upper = np.sort(strength[np.triu_indices(len(strength), k=1)])[::-1]
    n_drawn = min(int((upper > 0).sum()), MOST_EDGES)
    lowest = float(upper[n_drawn - 1]) if n_drawn else None
    figure = Figure(figsize=(13, 4.5))
    hemispheres = [side for side, kept in zip(connectome.regions.hemispheres, known, strict=True) if kept]
    plot_connectome(
        strength,
        coordinates,
        node_color=[{"L": "tab:orange", "R": "tab:blue"}.get(side, "tab:gray") for side in hemispheres],
        node_size=18,
        edge_threshold=lowest,
        edge_kwargs={"linewidth": 0.8},
        edge_cmap="viridis",
        edge_vmin=0.0,
        edge_vmax=float(upper[0]) if n_drawn else 1.0,
        figure=figure,
        title=f"{n_drawn} strongest edges, log count; {frame}",
        colorbar=False,
    )
    _save(figure, path)


def to_ras(volume: NDArray[Any], grid: Grid) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Turn a volume so that its axes run right, front and up as nearly as they can without interpolation.

    Returns
    -------
    volume : (x, y, z, ...)
    voxel_sizes_mm : (3,) float64
    """
    order, flips = [0, 0, 0], [False, False, False]
    for axis, code in enumerate(grid.axis_codes):
        world = next(index for index, pair in enumerate(("LR", "PA", "IS")) if code in pair)
        order[world] = axis
        flips[world] = code in "LPI"
    turned = np.transpose(volume, (*order, *range(3, volume.ndim)))
    for world, flip in enumerate(flips):
        if flip:
            turned = np.flip(turned, axis=world)
    return turned, grid.voxel_sizes_mm[order]


def _bounds(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest world coordinates of the grid, mm."""
    shape = np.array(grid.shape)
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * shape - 0.5
    world = grid.to_world(corners)
    return world.min(axis=0), world.max(axis=0)


def _figure(width: float, height: float, *, dark: bool = True) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="black" if dark else "white", layout="constrained")


def _draw_slices(path: Path, volume: NDArray[Any], sizes: NDArray[np.float64], title: str) -> None:
    """Draw a colour volume, already turned to RAS, as slices along each axis."""
    figure = _figure(3 * N_SLICES, 9)
    volume = _cropped(volume)
    for row, (plane, (across, right, up)) in enumerate(_PLANES.items()):
        places = np.linspace(0, volume.shape[across] - 1, N_SLICES + 2)[1:-1]
        for column, place in enumerate(places):
            axes = figure.add_subplot(3, N_SLICES, row * N_SLICES + column + 1)
            picture = np.take(volume, round(place), axis=across)
            # The remaining axes are in rising order, which is (right, up) in every plane.
            axes.imshow(np.swapaxes(picture, 0, 1), origin="lower", aspect=sizes[up] / sizes[right])
            _bare(axes, plane if column == 0 else "")
    figure.suptitle(title + ". The subject's left is on the left.", color="white")
    _save(figure, path)


def _cropped(volume: NDArray[Any]) -> NDArray[Any]:
    """The part of a colour volume that is not black."""
    filled = np.argwhere(volume.max(axis=-1) > 0)
    if not len(filled):
        return volume
    return volume[tuple(slice(low, high + 1) for low, high in zip(filled.min(axis=0), filled.max(axis=0), strict=True))]


def _bare(axes: Axes, title: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_frame_on(False)
    axes.set_title(title, color="white", fontsize=9)


def _direction_colour(line: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean absolute direction of a streamline, scaled so that its largest part is 1."""
    steps = np.abs(np.diff(line.astype(np.float64), axis=0)).sum(axis=0)
    largest = steps.max()
    colour: NDArray[np.float64] = steps / largest if largest > 0 else np.ones(3)
    return colour


def _palette(n_colours: int) -> NDArray[np.float64]:
    """Colours that differ between neighbours in the table, (n, 3) in [0, 1]: hues by the golden angle."""
    return np.array(
        [colorsys.hsv_to_rgb((0.618034 * row) % 1.0, 0.9 - 0.35 * (row % 2), 1.0) for row in range(n_colours)]
    )


def _save(figure: Figure, path: Path) -> None:
    # No version of matplotlib in the file, so that its bytes depend on the picture alone.
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, facecolor=figure.get_facecolor(), metadata={"Software": None})
