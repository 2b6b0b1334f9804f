"""The cost curves as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def draw_curves(records: list[dict[str, Any]], path: Path) -> None:
    """Wall seconds by streamlines, threads, voxels and volumes, each beside the line of exact proportion."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    order = ["streamlines", "threads", "voxels", "volumes"]
    found = sorted(records, key=lambda record: order.index(record["curve"]))
    figure, axes = plt.subplots(1, len(found), figsize=(3.4 * len(found), 3.0), constrained_layout=True, squeeze=False)
    for axis, record in zip(axes[0], found, strict=True):
        sizes = [point["size"] for point in record["points"]]
        walls = [point["wall_s"] for point in record["points"]]
        power = -1 if record["curve"] == "threads" else 1
        anchor = 0 if power < 0 else -1
        ideal = [walls[anchor] * (size / sizes[anchor]) ** power for size in sizes]
        axis.plot(sizes, ideal, color="0.7", linestyle="--", label="in proportion")
        axis.plot(sizes, walls, color="C0", marker="o", label="whole process")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel(record["unit"])
        axis.set_title(record["title"].removeprefix("cost "), fontsize=9)
        if power < 0:
            axis.set_xticks(sizes, [str(size) for size in sizes])
            axis.minorticks_off()
    axes[0][0].set_ylabel("seconds")
    axes[0][0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)
