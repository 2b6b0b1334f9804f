"""Pictures of an analysis: communities, rich club and robustness, and spread over time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.analysis import Analysis, Curve
from tractome.io.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_N_LABELS = 90
_N_SNAPSHOTS = 4


def draw_communities(path: Path, analysis: Analysis, weights: NDArray[np.float64], measure: str) -> None:
    """Draw the weights with the regions in the order of their communities.

    Parameters
    ----------
    path : Path
        A .png file.
    analysis : Analysis
    weights : (N, N) float64
    measure : str
    """
    from matplotlib.figure import Figure

    label = analysis.per_region["community"]
    order = np.argsort(np.where(np.isfinite(label), label, np.inf), kind="stable")
    order = order[np.isfinite(label[order])]
    shown = np.log1p(np.nan_to_num(weights[np.ix_(order, order)]))
    np.fill_diagonal(shown, 0.0)
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shown, cmap="viridis", interpolation="nearest")
    for edge in np.flatnonzero(np.diff(label[order])) + 0.5:
        axes.axhline(edge, color="white", linewidth=1.0)
        axes.axvline(edge, color="white", linewidth=1.0)
    axes.set_title(f"{len(analysis.communities)} communities, modularity {analysis.numbers['modularity']:.2f}")
    if len(order) <= _N_LABELS:
        axes.set_yticks(range(len(order)), [analysis.regions.names[row] for row in order], fontsize=5)
    else:
        axes.set_yticks([])
    axes.set_xticks([])
    figure.colorbar(image, ax=axes, label=f"log(1 + {measure})", shrink=0.7)
    _save(figure, path)


def draw_curves(path: Path, analysis: Analysis) -> None:
    """Draw the rich club and what the removal of long edges does: one panel for each that there is, one at least."""
    from matplotlib.figure import Figure

    panels = {name: draw for name, draw in CURVES.items() if name in analysis.curves}
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    for axes, (name, draw) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        draw(axes, analysis.curves[name])
    _save(figure, path)


def _draw_rich_club(axes: Axes, club: Curve) -> None:
    axes.set(title="Rich club", xlabel="degree above", ylabel="over rewired graphs")
    axes.plot(club.x, club.columns["ratio"], color="tab:blue")
    significant = club.columns["p"] < 0.05
    axes.plot(club.x[significant], club.columns["ratio"][significant], ".", color="tab:red", label="p < 0.05")
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.legend()


def _draw_robustness(axes: Axes, robustness: Curve) -> None:
    axes.set(title="Without long-range edges", xlabel="share of them removed", ylabel="global efficiency, share")
    for name, values in robustness.columns.items():
        axes.plot(robustness.x, values, marker="o", label=name.replace("_", " "))
    axes.legend()


CURVES: dict[str, Callable[[Axes, Curve], None]] = {"rich_club": _draw_rich_club, "robustness": _draw_robustness}
"""Curves that `draw_curves` knows, and how."""


def draw_spread(path: Path, analysis: Analysis, centroids_mm: NDArray[np.float64]) -> None:
    """Draw how diffusion fills the regions: all of them over time, and from above at four times.

    Parameters
    ----------
    path : Path
        A .png file.
    analysis : Analysis
    centroids_mm : (N, 3) float64
        RAS+; where they are not known there are no views from above.
    """
    from matplotlib.figure import Figure

    curve = analysis.curves["spread"]
    amounts = np.column_stack(list(curve.columns.values()))
    rows = [analysis.regions.names.index(name) for name in curve.columns]
    places = centroids_mm[rows]
    order = np.argsort(analysis.per_region["half_peak_time"][rows], kind="stable")
    has_views = bool(np.isfinite(places).all())
    figure = Figure(figsize=(11, 8 if has_views else 5.5), layout="constrained")
    grid = figure.add_gridspec(1 + has_views, _N_SNAPSHOTS, height_ratios=(2, 1) if has_views else (1,))
    axes = figure.add_subplot(grid[0, :])
    shown = amounts[:, order] / np.maximum(amounts.max(axis=0)[order], 1e-12)
    extent = (curve.x[0], curve.x[-1], len(order), 0)
    image = axes.imshow(shown.T, aspect="auto", cmap="magma", interpolation="nearest", extent=extent)
    axes.set(title=f"Diffusion from {analysis.settings['spread_from']}", xlabel=curve.x_name)
    axes.set_ylabel("regions, the first that it fills on top")
    if len(order) <= _N_LABELS:
        axes.set_yticks(np.arange(len(order)) + 0.5, [analysis.regions.names[rows[each]] for each in order], fontsize=4)
    else:
        axes.set_yticks([])
    figure.colorbar(image, ax=axes, label="share of its largest amount")
    if has_views:
        for number, at in enumerate(np.linspace(0, len(curve.x) - 1, _N_SNAPSHOTS).round().astype(int)):
            view = figure.add_subplot(grid[1, number])
            size = 2000 * amounts[at] / max(amounts[at].max(), 1e-12) * 0.08
            view.scatter(places[:, 0], places[:, 1], s=2 + size, c=amounts[at], cmap="magma_r")
            view.set(title=f"t = {curve.x[at]:.1f}", aspect="equal", xticks=[], yticks=[])
    _save(figure, path)


def _save(figure: object, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})  # type: ignore[attr-defined]
