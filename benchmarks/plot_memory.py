"""Draw docs/img/connect_memory.png: memory and time of connect by the number of streamlines in the stored table.

python benchmarks/bench.py --only connect-table
python benchmarks/plot_memory.py
"""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent
PICTURE = HERE.parent / "docs" / "img" / "connect_memory.png"


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    records = json.loads((HERE / "out" / "bench.json").read_text())["connect-table"]["records"]
    sizes = [record["size"] for record in records]
    lines = [record["lines"][0] for record in records]
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 2.8), constrained_layout=True)
    for axis, key, label in zip(
        axes, ("peak_mib", "wall_s"), ("peak memory, MiB", "seconds, whole process"), strict=True
    ):
        axis.plot(sizes, [line[key] for line in lines], marker="o")
        axis.set_xscale("log")
        axis.set_xlabel("streamlines")
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
    figure.savefig(PICTURE, dpi=90)


if __name__ == "__main__":
    main()
