"""Draw docs/img/connect_memory.png: the memory of connect by the number of streamlines in the stored table.

python benchmarks/bench.py --only connect-table
python benchmarks/plot_memory.py
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
PICTURE = HERE.parent / "docs" / "img" / "connect_memory.png"


def draw_memory(sizes: Sequence[int], peaks_mib: Sequence[float], path: Path) -> None:
    """Peak memory of the whole process beside the size of the table that it reads."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(4.5, 3.0), constrained_layout=True)
    # 24 bytes of ends, 8 of the seed, 8 of the offsets, 4 of the length and 4 of each of two maps.
    axis.plot(sizes, [size * 52 / 2**20 for size in sizes], color="0.7", linestyle="--", label="the table on the disk")
    axis.plot(sizes, peaks_mib, marker="o", label="peak memory, three parcellations")
    axis.set_xscale("log")
    axis.set_xlabel("streamlines")
    axis.set_ylabel("MiB")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def main() -> None:
    records = json.loads((HERE / "out" / "bench.json").read_text())["connect-table"]["records"]
    draw_memory([record["size"] for record in records], [record["lines"][0]["peak_mib"] for record in records], PICTURE)


if __name__ == "__main__":
    main()
