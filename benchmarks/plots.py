"""The cost curves as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ORDER = ("streamlines", "threads", "voxels", "volumes")


def _short(size: float) -> str:
    """1234567 as 1.2M."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{float(f'{size / unit:.2g}'):g}{name}"
    return f"{size:g}"


def draw_curves(records: list[dict[str, Any]], path: Path) -> None:
    """Seconds by streamlines, threads, voxels and volumes, beside the line of exact proportion.

    Exact proportion goes through the largest size; for threads through one thread. The work alone is the tracking or
    the fit, without start, reading and writing.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogFormatter

    found = sorted(records, key=lambda record: ORDER.index(record["curve"]))
    figure, axes = plt.subplots(1, len(found), figsize=(3.2 * len(found), 3.0), constrained_layout=True, squeeze=False)
    for axis, record in zip(axes[0], found, strict=True):
        points = record["points"]
        sizes = [point["size"] for point in points]
        part = "track" if "track" in points[0]["seconds"] else "fit"
        work = [point["seconds"][part] for point in points]
        power, anchor = (-1, 0) if record["curve"] == "threads" else (1, -1)
        ideal = [work[anchor] * (size / sizes[anchor]) ** power for size in sizes]
        axis.plot(sizes, ideal, color="0.7", linestyle="--", label="in proportion")
        axis.plot(sizes, work, color="C1", marker="s", markersize=4, label="work alone")
        axis.plot(sizes, [point["wall_s"] for point in points], color="C0", marker="o", label="whole process")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(sizes, [_short(size) for size in sizes])
        axis.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
        axis.tick_params(axis="x", labelrotation=30)
        axis.yaxis.set_major_formatter(LogFormatter())
        axis.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
        axis.set_xlabel(record["unit"])
    axes[0][0].set_ylabel("seconds")
    axes[0][0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def draw_chance(records: list[dict[str, Any]], path: Path) -> None:
    """How p-values rank edges, and whether they are even where there is no connection, a curve per phantom.

    At the middle number of streamlines, and evenness at the largest too.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from rows_chance import RATES

    figure, axes = plt.subplots(1, 3, figsize=(12, 4.0), constrained_layout=True)
    ranked, even, many = axes
    for index, record in enumerate(records):
        lines, colour = record["lines"], f"C{index}"
        middle, last = lines[len(lines) // 2], lines[-1]
        ranked.plot(RATES, middle["pvalue"]["roc"], color=colour, label=record["subject"])
        ranked.plot(RATES, middle["count"]["roc"], color=colour, linestyle=":", linewidth=1)
        even.plot(RATES, middle["kept_promise"], color=colour)
        many.plot(RATES, last["kept_promise"], color=colour)
    ranked.set(xscale="log", xlabel="share of unconnected pairs", ylabel="share of true edges", ylim=(0, 1))
    ranked.set_title(f"ROC, {middle['n_streamlines']:,} streamlines (dotted: count)", fontsize=10)
    even.legend(*ranked.get_legend_handles_labels(), fontsize=7, loc="lower right")
    for axis, line in ((even, middle), (many, last)):
        axis.plot(RATES, RATES, color="0.6", linestyle="--")
        axis.grid(alpha=0.3)
        axis.set(xscale="log", yscale="log", xlim=(1e-3, 1), ylim=(1e-4, 1), xlabel="p")
        axis.set_title(f"unconnected pairs, {line['n_streamlines']:,} streamlines", fontsize=10)
    even.set_ylabel("share with so small a p or smaller")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)
