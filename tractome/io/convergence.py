"""How sure the edges became while streamlines were tracked: a table and a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tractome.datatypes.convergence import Look
from tractome.io.atomic import replacing

COLUMNS = ("round", "n_streamlines", "n_edges", "largest_cv", "median_cv", "share_within")


def write_convergence(path: str | os.PathLike[str], looks: Sequence[Look]) -> None:
    """Write a row per look, tab-separated; ``n/a`` where no edge carried weight yet."""
    lines = ["\t".join(COLUMNS)]
    for number, look in enumerate(looks, start=1):
        errors = [f"{value:.6g}" if look.n_edges else "n/a" for value in (look.largest_cv, look.median_cv)]
        cells = (number, look.n_streamlines, look.n_edges, *errors, f"{look.share_within:.6g}")
        lines.append("\t".join(map(str, cells)))
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw_convergence(path: Path, looks: Sequence[Look], target_cv: float, atlas: str) -> None:
    """Draw the errors of the edges that carry weight over the number of streamlines, the target, and where it stopped.

    Parameters
    ----------
    path : Path
        A .png file.
    looks : sequence of Look
        In order, at least one.
    target_cv : float
    atlas : str
        Whose edges they are.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(8, 5), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    n = np.array([look.n_streamlines for look in looks], dtype=np.float64)
    axes.plot(n, [look.largest_cv for look in looks], "o-", ms=3, color="tab:red", label="largest")
    axes.plot(n, [look.median_cv for look in looks], "o-", ms=3, color="tab:blue", label="median")
    axes.axhline(target_cv, color="black", lw=1, ls="--", label=f"target {target_cv:g}")
    last = looks[-1]
    what = "met" if last.is_enough(target_cv) else "not met"
    axes.axvline(last.n_streamlines, color="tab:gray", lw=1, label=f"stopped at {last.n_streamlines:,}: {what}")
    axes.set_xlim(n[0] / 1.15, n[-1] * 1.15)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, form in ((axes.xaxis, "{:,.0f}"), (axes.yaxis, "{:g}")):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _, form=form: form.format(value)))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(which="both", lw=0.3, alpha=0.6)
    axes.set_xlabel("streamlines accepted")
    axes.set_ylabel("coefficient of variation of an edge's count")
    axes.set_title(
        f"Monte-Carlo error of tracking: the {last.n_edges:,} edges of {atlas}\n"
        "that hold 90 percent of the streamlines between different regions"
    )
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})
