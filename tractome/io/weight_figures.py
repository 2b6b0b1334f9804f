"""A picture of streamline weights: how well streamlines explain the fibre density, and the weights that it took."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.weights import StreamlineWeights
from tractome.io.figures import _figure, _save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_N_BINS = 120
_HIGHEST = 99.5
"""Percentile of the densities that is still in the picture."""
_WIDEST_LOG10 = 3.0


def draw_weights(path: Path, found: StreamlineWeights) -> None:
    """Draw fibre density by streamlines over that of the FODs, before and after weighing, and the weights.

    Fixels that no streamline runs along are left out: no weight can change them.

    Parameters
    ----------
    path : Path
        A .png file.
    found : StreamlineWeights
    """
    figure = _figure(16, 5.2, dark=False)
    axes = figure.subplots(1, 3)
    by_fod, before, after = found.densities.astype(np.float64).T
    tracked = before > 0
    by_fod, before, after = by_fod[tracked], before[tracked], after[tracked]
    shown = np.concatenate([by_fod, before])
    highest = float(np.percentile(shown, _HIGHEST)) if len(shown) else 1.0
    for place, values, title in ((axes[0], before, "unweighted"), (axes[1], after, "weighted")):
        _draw_densities(place, by_fod, values, highest, title)
    _draw_histogram(axes[2], found)
    _save(figure, path)


def _draw_densities(
    axes: Axes, by_fod: NDArray[np.float64], by_streamlines: NDArray[np.float64], highest: float, title: str
) -> None:
    from matplotlib.colors import LogNorm

    limits = [[0.0, highest], [0.0, highest]]
    counts = np.histogram2d(by_fod, by_streamlines, bins=_N_BINS, range=limits)[0]
    shown = np.ma.masked_equal(counts.T, 0)
    extent = (0.0, highest, 0.0, highest)
    norm = LogNorm(1, max(float(counts.max(initial=0)), 2))
    image = axes.imshow(shown, origin="lower", extent=extent, norm=norm, cmap="viridis", interpolation="nearest")
    axes.plot([0, highest], [0, highest], color="red", linewidth=1)
    axes.figure.colorbar(image, ax=axes, label="fibre populations", shrink=0.8)
    varies = len(by_fod) > 1 and np.ptp(by_fod) > 0 and np.ptp(by_streamlines) > 0
    r = f", r = {np.corrcoef(by_fod, by_streamlines)[0, 1]:.3f}" if varies else ""
    beyond = float(np.mean((by_streamlines > highest) | (by_fod > highest))) if len(by_fod) else 0.0
    axes.set_title(f"{title} streamlines{r}; {beyond:.1%} beyond the axes", fontsize=10)
    axes.set_xlabel("fibre density of the FOD, less noise (unitless)")
    axes.set_ylabel("fibre density by streamlines")


def _draw_histogram(axes: Axes, found: StreamlineWeights) -> None:
    logs = np.log10(np.maximum(found.weights.astype(np.float64), 10**-_WIDEST_LOG10))
    axes.hist(np.minimum(logs, _WIDEST_LOG10), bins=_N_BINS, range=(-_WIDEST_LOG10, _WIDEST_LOG10), color="tab:blue")
    axes.axvline(0, color="red", linewidth=1)
    axes.set_yscale("log")
    axes.set_xlabel("log10 of the weight; beyond the axis at its ends")
    axes.set_ylabel("streamlines")
    effective = found.facts["n_effective"]
    axes.set_title(f"{found.n_streamlines:,} streamlines, effective number {effective:,.0f}", fontsize=10)
