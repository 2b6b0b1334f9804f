"""Side by side with MRtrix3 and DIPY: speed, memory, and accuracy on known wiring.

    python benchmarks/bench.py                       # everything
    python benchmarks/bench.py --only tensor,csd     # see --help for the names
    python benchmarks/bench.py --prepare             # only make the inputs and MRtrix3's cached outputs
    python benchmarks/bench.py --quick               # tiny sizes: does it run?

Speed: whole processes (interpreter start, read, compute, write) in turns, two threads each, medians of the repeats; a
run of ours that is not counted comes first, with an empty kernel cache, so that compile time is known. A ratio is our
rate divided by the peer's. Accuracy: our defaults against four variants of MRtrix3's best recipe.

Each comparison replaces its own part of benchmarks/out/bench.json; ``python benchmarks/table.py`` makes the tables of
docs/benchmarks.md of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import machine
import peer
from inputs import hcp_size, scan
from rows_accuracy import accuracy, peer_scores
from rows_chance import chance
from rows_connect import connect_table, connect_whole
from rows_curves import curves
from rows_dipy import against_dipy
from rows_errors import errors
from rows_fit import csd, msmt, tensor
from rows_seeds import accuracy_of_seeds
from rows_track import track, track_best
from rows_weigh import weigh, weigh_truth
from settings import HERE, YARDSTICK, Settings, quick_settings
from subjects import subjects
from table import render

OUT = HERE / "out"
COMPARISONS: dict[str, Callable[[Settings], list[dict[str, Any]]]] = {
    "tensor": tensor,
    "csd": csd,
    "msmt": msmt,
    "track": track,
    "track-best": track_best,
    "weigh": weigh,
    "weigh-truth": weigh_truth,
    "dipy": against_dipy,
    "connect-whole": connect_whole,
    "connect-table": connect_table,
    "curves": curves,
    "accuracy": accuracy,
    "accuracy-seeds": accuracy_of_seeds,
    "errors": errors,
    "chance": chance,
}
"""One for each --only; each gives the records of its tables."""


def prepare(settings: Settings) -> None:
    """Make every input and every cached output of MRtrix3."""
    print("the scan of the HCP's size", flush=True)
    hcp_size(24 if settings.quick else None)
    yardstick = subjects([YARDSTICK])[YARDSTICK]
    scan(yardstick, settings.small_voxels)
    print("responses of three tissues", flush=True)
    peer.tissue_responses(yardstick)
    for name, subject in subjects(list(settings.subjects)).items():
        print(f"MRtrix3 on {name}", flush=True)
        peer_scores(subject, settings)


def _keep(report_path: Path, name: str, records: list[dict[str, Any]], settings: Settings) -> None:
    report = json.loads(report_path.read_text()) if report_path.exists() else {}
    report[name] = {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": machine.describe(),
        "repeats": settings.repeats,
        "quick": settings.quick,
        "records": records,
    }
    report_path.write_text(json.dumps(report, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(COMPARISONS), help=f"comma between, of: {', '.join(COMPARISONS)}")
    parser.add_argument("--repeats", type=int, help="counted runs of each side; 3 by default")
    parser.add_argument("--largest-curve", type=int, default=1_000_000, help="streamlines at the end of the curve")
    parser.add_argument("--subjects", default=",".join(Settings.subjects), help="whose accuracy is compared")
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    given.names = given.only.split(",")
    unknown = [name for name in given.names if name not in COMPARISONS]
    if unknown:
        parser.error(f"--only {unknown[0]} is not known; of: {', '.join(COMPARISONS)}")
    return given


def main() -> int:
    given = _arguments()
    if shutil.which("tckgen") is None:
        sys.exit("MRtrix3 is not on the PATH; it is the Debian package mrtrix3: apt-get install mrtrix3")
    if YARDSTICK not in subjects([YARDSTICK]):
        sys.exit(f"The shared data are not here ({YARDSTICK}). Say where with TRACTOME_SHARED_DATA.")
    room = OUT / "room"
    room.mkdir(parents=True, exist_ok=True)
    settings, report_path = Settings(room), OUT / "bench.json"
    if given.quick:
        settings, report_path = quick_settings(room), OUT / "quick.json"
    else:
        settings = replace(settings, largest_curve=given.largest_curve)
    settings = replace(settings, subjects=tuple(given.subjects.split(",")), repeats=given.repeats or settings.repeats)
    if given.prepare:
        prepare(settings)
        return 0
    failed = []
    for name in given.names:
        started = time.perf_counter()
        try:
            records = COMPARISONS[name](settings)
        except SystemExit as error:
            # A program that failed takes its own comparison with it, not the others'.
            print(f"\n{name} failed: {error}", file=sys.stderr, flush=True)
            failed.append(name)
            continue
        _keep(report_path, name, records, settings)
        print(f"\n# {name}, {time.perf_counter() - started:.0f} s\n\n{render(name, records)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
