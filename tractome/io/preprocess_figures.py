"""Pictures of what preprocessing did, in the style of `tractome.io.figures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.io.figures import _bare, _figure, _save, to_ras

N_COLUMNS = 5


def draw_steps(
    path: Path,
    rows: Sequence[tuple[str, NDArray[np.float32]]],
    grid: Grid,
    title: str,
    scales: Sequence[int],
    outline: NDArray[np.float32] | None = None,
) -> None:
    """Draw volumes below each other, the same axial slices of each and one sagittal one.

    Parameters
    ----------
    path : Path
        A .png file.
    rows : sequence of (str, (x, y, z) float32)
        Name and volume.
    grid : Grid
    title : str
    scales : sequence of int
        Rows of one number share their grey scale with the first of them.
    outline : (x, y, z) float32 or None
        An image whose edges are drawn over every row, such as a T1 on the same grid.
    """
    figure = _figure(3 * N_COLUMNS, 3.1 * len(rows))
    tops: dict[int, float] = {}
    edges = None if outline is None else to_ras(outline, grid)[0]
    for row, ((name, volume), scale) in enumerate(zip(rows, scales, strict=True)):
        turned, sizes = to_ras(volume, grid)
        positive = turned[turned > 0]
        tops.setdefault(scale, float(np.percentile(positive, 99.5)) if len(positive) else 1.0)
        places = np.linspace(0.25, 0.75, N_COLUMNS - 1)
        cuts = [(2, 0, 1, place) for place in places] + [(0, 1, 2, 0.45)]
        for column, (across, right, up, place) in enumerate(cuts):
            number = round(place * (turned.shape[across] - 1))
            axes = figure.add_subplot(len(rows), N_COLUMNS, row * N_COLUMNS + column + 1)
            picture = np.take(turned, number, axis=across).T
            aspect = sizes[up] / sizes[right]
            axes.imshow(picture, origin="lower", cmap="gray", vmin=0, vmax=tops[scale], aspect=aspect)
            if edges is not None:
                _contours(axes, np.take(edges, number, axis=across).T)
            _bare(axes, name if column == 0 else "")
    figure.suptitle(title + ". The subject's left is on the left.", color="white")
    _save(figure, path)


def _contours(axes: Any, picture: NDArray[np.float32]) -> None:
    inside = picture[picture > 0]
    if len(inside) > 10:
        axes.contour(picture, levels=np.percentile(inside, (35, 65)), colors=("cyan", "yellow"), linewidths=0.5)


def draw_motion(
    path: Path,
    columns: Mapping[str, NDArray[np.float64]],
    deviation: NDArray[np.float64],
    is_outlier: NDArray[np.bool_],
) -> None:
    """Draw motion and eddy currents over the volumes, and how far each slice is from its prediction.

    Parameters
    ----------
    path : Path
        A .png file.
    columns : mapping of str to (v,) float64
        As the motion table has them.
    deviation : (v, n_slices) float64
        Standard deviations; NaN where not judged.
    is_outlier : (v, n_slices) bool
    """
    figure = _figure(11, 9, dark=False)
    groups = (("shift, mm", "trans_"), ("turn, degrees", "rot_"), ("eddy currents, mm at 100 mm", "eddy_"))
    panels = figure.subplots(4, 1, sharex=True)
    for axes, (label, prefix) in zip(panels, groups, strict=False):
        for name, values in columns.items():
            if name.startswith(prefix):
                axes.plot(values, label=name.removeprefix(prefix), linewidth=1)
        axes.set_ylabel(label)
        if axes.lines:
            axes.legend(loc="upper right", ncols=3, fontsize=7)
    axes = panels[3]
    picture = np.ma.masked_invalid(deviation.T)
    shown = axes.imshow(picture, origin="lower", aspect="auto", cmap="RdBu", vmin=-6, vmax=6, interpolation="nearest")
    volumes, slices = np.nonzero(is_outlier)
    axes.plot(volumes, slices, "kx", markersize=4)
    axes.set_ylabel("slice")
    axes.set_xlabel("volume")
    figure.colorbar(shown, ax=axes, label="standard deviations")
    _save(figure, path)
