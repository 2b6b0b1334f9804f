"""What a tissue map changes on real scans, by what it was made from: the table of docs/tissue.md.

    python benchmarks/tissue_sources.py DATA_FOLDER OUT_FOLDER [--only WORD] [--streamlines N]

Runs each scan without a map and with every kind that it can have, and prints a row for each: streamlines without a
region, share of their points in white or deep grey matter (by the best map of the subject that there is), correlation
of the strengths of left and right regions, mean length, streamlines per seed, and the processor time of making the map.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from tractome.datatypes.tissue import TissueMap
from tractome.io.images import read_tissue
from tractome.io.tractograms import read_tractogram
from tractome.options import TissueOptions, TrackOptions
from tractome.pipeline import (
    LabelSource,
    Ledger,
    LogListener,
    RunOptions,
    SubjectFiles,
    find_scan,
    new_subject,
    run_subject,
)


@dataclass(frozen=True)
class Case:
    """One scan, and the ways to its tissue."""

    scan: str
    t1: str | None
    sources: tuple[str, ...]

    def name(self) -> str:
        """As the table calls it."""
        return f"{self.scan}, atlas through {'T1' if self.t1 else 'FA'}"


CASES = (
    Case("philips_dwi_t1", "T1w.nii.gz", ("t1", "dwi", "none")),
    Case("philips_dwi_t1", None, ("dwi", "none")),
    Case("siemens_42vol", None, ("dwi", "none")),
    Case("siemens_3mm", None, ("dwi", "none")),
)


class Stopwatch(LogListener):
    """Processor seconds of each step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = 0.0

    def begins(self, stage: str) -> None:
        """Start counting."""
        self._start = time.process_time()

    def ends(self, stage: str, seconds: float) -> None:
        """Stop counting."""
        self.seconds[stage.partition("/")[0]] = time.process_time() - self._start


def white_share(ledger: Ledger, tissue: TissueMap) -> float:
    """Share of the streamlines' points that are white or deep grey matter by more than half."""
    inside = tissue.fractions[..., 1] + tissue.fractions[..., 2]
    n_inside, n_points = 0, 0
    for block in read_tractogram(ledger.subject.tractogram("trx")):
        values = ndimage.map_coordinates(inside, tissue.grid.to_voxel(block.points).T, order=1)
        n_inside, n_points = n_inside + int((values > 0.5).sum()), n_points + len(values)
    return n_inside / max(n_points, 1)


def measure(case: Case, data: Path, out: Path, n_streamlines: int) -> None:
    """Run a case with each of its sources, the best first, and print the rows."""
    folder, best = data / case.scan, None
    t1 = folder / case.t1 if case.t1 is not None else None
    files = SubjectFiles(find_scan(folder / "dwi.nii.gz"), LabelSource(t1=t1))
    for source in case.sources:
        options = RunOptions(
            tissue=TissueOptions(tissue_source=source), track=TrackOptions(n_streamlines=n_streamlines), whole="trx"
        )
        watch = Stopwatch()
        with new_subject(out / case.name().replace(", ", "_").replace(" ", "_"), files.scan.dwi, None, watch) as ledger:
            done = run_subject(ledger, files, options)
            best = best if best is not None else read_tissue(ledger.subject.tissue)
            share = white_share(ledger, best)
        track, connect = done["track"].facts, done["connect"].facts
        cells = (
            case.name(),
            source,
            f"{connect['unassigned_share']:.1%}",
            f"{share:.2f}",
            f"{connect['homologous_strength_correlation']:.3f}",
            f"{track['mean_length_mm']:.0f} mm",
            f"{track['n_accepted'] / track['n_seeds']:.2f}",
            f"{watch.seconds.get('tissue', np.nan):.1f} s",
        )
        print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="", help="cases whose name holds this word")
    parser.add_argument("--streamlines", type=int, default=20_000)
    given = parser.parse_args()
    print("| scan | tissue map | unassigned | white-matter share | r | mean length | yield | processor time |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for case in CASES:
        if given.only in case.name():
            measure(case, given.data, given.out, given.streamlines)


if __name__ == "__main__":
    main()
