"""Does `--until-cv` stop where its target is truly met?

    python benchmarks/until_cv.py FOLDER [--runs 50] [--targets 0.2 0.1 0.05] [--stops 20 20 6] [--seed-source balanced]

FOLDER is a subject that `tractome run` made (out/sub-01), with one parcellation. Many runs with random seeds of their
own are pooled: that gives the probability p of every edge, the edges that truly hold 90 percent of the streamlines
between regions, and N*, the number of streamlines at which the weakest of them has the target for its coefficient of
variation, (1 - p) / (p target^2). The spread of the counts of it and the four edges most like it over the runs says
whether that is so. Then `tractome track --until-cv` is let run with other random seeds, and where it stops is compared
with N*.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from cells import number, table
from numpy.typing import NDArray

FIRST_SEED = 1000
"""Random seeds of the pooled runs begin here, those that are stopped at 1."""


def truth(counts: NDArray[np.int64], n_streamlines: int, target: float) -> tuple[int, float]:
    """The weakest edge that counts, of (n_edges,) pooled counts, and N*."""
    from tractome.stages.connect import CARRIED

    order = np.argsort(-counts, kind="stable")
    weakest = int(order[np.searchsorted(np.cumsum(counts[order]), CARRIED * counts.sum())])
    p = counts[weakest] / n_streamlines
    return weakest, (1 - p) / p / target**2


class Subject:
    """A subject whose streamlines are tracked anew."""

    def __init__(self, ledger: Any, source: str) -> None:
        from tractome.options import TrackOptions
        from tractome.pipeline.atlases import choose_atlas, read_parcellation
        from tractome.pipeline.track import tracking_material
        from tractome.pipeline.tracking_files import TrackingFiles

        tissue = ledger.finished("track").input_paths.get("tissue")
        self.ledger, self.files = ledger, TrackingFiles(Path(tissue) if tissue else None)
        self.options = TrackOptions(seed_source=source)
        self.field, self.material = tracking_material(ledger, self.options, self.files)
        self.parcellation = read_parcellation(ledger, choose_atlas(ledger, None, "parcellate"))

    def counts(self, random_seed: int, totals: list[int]) -> NDArray[np.int64]:
        """Count of each edge at several numbers of streamlines, (n_totals, n_edges)."""
        from tractome.options import ConnectOptions
        from tractome.stages.connect import EdgeCounts, summarise
        from tractome.stages.track import track

        edges = EdgeCounts(self.parcellation, ConnectOptions())
        options = replace(self.options, n_streamlines=totals[-1], random_seed=random_seed)
        upper, found = np.triu_indices(len(edges.counts), 1), []
        for block in track(self.field, options, **self.material, round_ends=totals):
            edges.add(summarise(block, []))
            if edges.n_streamlines in totals:
                found.append(edges.counts[upper])
        return np.array(found)

    def stop(self, random_seed: int, target: float) -> dict[str, Any]:
        """Track until it is enough, from files to files."""
        from tractome.pipeline import track_subject

        options = replace(self.options, until_cv=target, random_seed=random_seed)
        return track_subject(self.ledger, options, self.files).facts


def judge(subject: Subject, targets: list[float], stops: list[int], n_runs: int, n_pilot: int) -> list[dict[str, Any]]:
    """A line per target."""
    pilot = subject.counts(0, [n_pilot])[0]
    ends = [max(1000, round(truth(pilot, n_pilot, target)[1])) for target in targets]
    # Pooled, the runs know p well long before one of them reaches the tightest target.
    totals = sorted({min(end, 2 * n_pilot) for end in ends})
    runs = np.stack([subject.counts(FIRST_SEED + run, totals) for run in range(n_runs)])
    pooled = runs[:, -1].sum(axis=0)
    lines = []
    for target, n_stops in zip(targets, stops, strict=True):
        weakest, n_true = truth(pooled, n_runs * totals[-1], target)
        nearest = int(np.argmin(np.abs(np.log(np.array(totals) / n_true))))
        near = np.argsort(np.abs(np.log(np.maximum(pooled, 1) / pooled[weakest])))[:5]
        seen = runs[:, nearest][:, near]
        # An error that is not looked at N* itself is carried there: its square falls with the number of streamlines.
        spread = np.sqrt(np.mean((seen.std(axis=0, ddof=1) / seen.mean(axis=0)) ** 2) * totals[nearest] / n_true)
        facts = [subject.stop(1 + stop, target) for stop in range(n_stops)]
        ratios = [each["n_accepted"] / n_true for each in facts]
        line = {
            "target": target,
            "n_true": n_true,
            "spread": float(spread),
            "ratios": ratios,
            "edges": [each["n_edges_looked_at"] for each in facts],
        }
        print(json.dumps(line), flush=True)
        lines.append(line)
    return lines


def show(lines: list[dict[str, Any]]) -> str:
    """As a table of Markdown."""
    heads = ["target", "truly met at", "spread over runs there", "runs", "stopped at / truly met: median", "range"]
    rows = [
        [
            f"{line['target']:g}",
            f"{line['n_true']:,.0f}",
            number(line["spread"]),
            str(len(line["ratios"])),
            number(float(np.median(line["ratios"])), 2),
            f"{min(line['ratios']):.2f} to {max(line['ratios']):.2f}",
        ]
        for line in lines
    ]
    return table(heads, rows)


def main() -> None:
    from tractome.pipeline import LogListener, old_subject

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--pilot", type=int, default=10_000, help="streamlines of the first run, and half of the most")
    parser.add_argument("--targets", type=float, nargs="+", default=[0.2, 0.1, 0.05])
    parser.add_argument("--stops", type=int, nargs="+", default=[20, 20, 6], help="runs that are stopped, by target")
    parser.add_argument("--seed-source", default="balanced")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        folder = Path(shutil.copytree(given.folder, Path(room) / given.folder.name))
        with old_subject(folder, LogListener()) as ledger:
            subject = Subject(ledger, given.seed_source)
            print(show(judge(subject, given.targets, given.stops, given.runs, given.pilot)))


if __name__ == "__main__":
    main()
