"""Side by side with MRtrix3: time, memory, and accuracy on known wiring.

    python benchmarks/bench.py [--repeats 3] [--subjects phantom_2mm,two-shells,b1000-30dir] [--only speed|accuracy]

Speed: whole processes (start, read, compute, write) on one subject, ours and the peer's in turn, medians of the
repeats. One run of ours that is not counted comes first, because kernels are compiled once per machine.

Accuracy: `tractome run` with default options, 20,000 accepted streamlines, the subject's labels and tissue map, against
MRtrix3's best recipe (see peer.py; its outputs are kept by hash of inputs and commands) at the same number. For
subjects without a shell above b = 1500 the peer runs at 22.5 and at 45 degrees, and the line with the higher AP counts.
Results of both go to benchmarks/out/bench.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

import peer
from measure import Measured, run_measured
from subjects import PROGRAM, subjects

HERE = Path(__file__).parent
OUT = HERE / "out"
SCORES = {
    "ap": "AP",
    "r": "r",
    "r_log": "r of log",
    "u_recall": "U >= 1",
    "u_recall_5": "U >= 5",
    "u_recall_top_k": "U top K",
    "n_false": "false",
}
"""Figures of `truth.score`, and their headings."""


def _alternate(name: str, ours: Callable[[], Measured], theirs: Callable[[], Measured], repeats: int) -> dict:
    ours()
    both = [(ours(), theirs()) for _ in range(repeats)]
    mine, other = zip(*both, strict=True)
    wall = [median(run.wall_s for run in runs) for runs in (mine, other)]
    peak = [median(run.peak_mib for run in runs) for runs in (mine, other)]
    print(
        f"{name:<46} {wall[0]:8.2f} s {wall[1]:8.2f} s   ratio {wall[0] / wall[1]:5.2f}"
        f"   peak {peak[0]:5.0f} / {peak[1]:5.0f} MiB",
        flush=True,
    )
    return {"name": name, "wall_s": wall, "ratio": wall[0] / wall[1], "peak_mib": peak, "repeats": repeats}


def _job(name: str, paths: list[Path], *more: str) -> Callable[[], Measured]:
    command = [sys.executable, HERE / "jobs.py", name, *paths, *more]
    return lambda: run_measured(command, OUT / f"{name}.log")


def _peer_job(name: str, commands: list[list[str]]) -> Callable[[], Measured]:
    def run() -> Measured:
        runs = [
            run_measured([*command, "-force", "-nthreads", str(os.cpu_count() or 1)], OUT / f"peer-{name}.log")
            for command in commands
        ]
        return Measured(
            sum(each.wall_s for each in runs), sum(each.cpu_s for each in runs), max(each.peak_mib for each in runs)
        )

    return run


def speed(subject: Path, repeats: int, select: int) -> list[dict]:
    """Tensors, CSD and tracking on one subject."""
    print(f"\nSpeed on {subject.name}, {os.cpu_count()} cores: tractome, MRtrix3, ratio below 1 is faster than MRtrix3")
    field = peer.fod(subject)
    dwi, bvec, bval, mask, tissue = (
        str(subject / name) for name in ("dwi.nii.gz", "dwi.bvec", "dwi.bval", "mask.nii.gz", "5tt.nii.gz")
    )
    gradients = ["-fslgrad", bvec, bval, "-mask", mask]
    room = str(OUT)
    maps = ["tensor2metric", f"{room}/dt.nii.gz", "-fa", f"{room}/peer_fa.nii.gz", "-adc", f"{room}/peer_md.nii.gz"]
    lines = [
        _alternate(
            "tensors, FA and MD",
            _job("tensors", [subject, OUT]),
            _peer_job("tensors", [["dwi2tensor", dwi, f"{room}/dt.nii.gz", *gradients], [*maps, "-mask", mask]]),
            repeats,
        ),
        _alternate(
            "CSD, lmax 8 (ours with tensors and response)",
            _job("csd", [subject, OUT]),
            _peer_job(
                "csd",
                [["dwi2fod", "csd", dwi, f"{field}/response.txt", f"{room}/fod.nii.gz", "-lmax", "8", *gradients]],
            ),
            repeats,
        ),
    ]
    fod = str(field / "wmfod.nii.gz")
    for algorithm, angle in (("iFOD2", "22.5"), ("iFOD1", "22.5")):
        track = ["tckgen", fod, f"{room}/peer.tck", "-algorithm", algorithm, "-angle", angle, "-act", tissue]
        track += ["-cutoff", "0.06", "-maxlength", "250", "-seed_image", f"{field}/white.nii.gz"]
        lines.append(
            _alternate(
                f"tracking, {select:,} accepted (MRtrix3 {algorithm} {angle})",
                _job("track", [Path(fod), subject, OUT], "--select", str(select)),
                _peer_job("track", [[*track, "-select", str(select)]]),
                repeats,
            )
        )
    return lines


def run_ours(name: str, subject: Path, select: int) -> tuple[Path, Measured]:
    """`tractome run` with default options; the count matrix and what it cost."""
    place = OUT / f"run-{name}"
    shutil.rmtree(place, ignore_errors=True)
    command = [PROGRAM, "run", "--dwi", subject / "dwi.nii.gz", "--bval", subject / "dwi.bval"]
    command += [
        "--bvec",
        subject / "dwi.bvec",
        "--mask",
        subject / "mask.nii.gz",
        "--labels",
        subject / "labels.nii.gz",
    ]
    command += [
        "--tissue",
        subject / "5tt.nii.gz",
        "--streamlines",
        str(select),
        "--out",
        place,
        "--formats",
        "npz,tsv",
    ]
    if (subject / "regions.tsv").exists():
        command += ["--regions", subject / "regions.tsv"]
    measured = run_measured(command, OUT / f"run-{name}.log")
    return next(place.glob("sub-*/connectivity/*_stat-count_relmat.tsv")), measured


def _print_score(program: str, scores: dict[str, float]) -> None:
    print(f"  {program:<34}" + "".join(f" {scores.get(name, float('nan')):>9.3f}" for name in SCORES), flush=True)


def _peer_scores(subject: Path, select: int) -> dict[str, dict[str, float]]:
    """Scores of the peer's recipes for this kind of scan, by name."""
    bvals = [float(word) for word in (subject / "dwi.bval").read_text().split()]
    is_clinical = max(bvals) < 1500
    found = {}
    for variant in ("ifod2-22.5", "ifod2-45") if is_clinical else ("ifod2-22.5",):
        folder = peer.connectome(subject, variant, select=select)
        found[f"MRtrix3 {variant} lmax 8"] = peer.score_folder(folder / "count.csv", subject)
    return found


def accuracy(name: str, subject: Path, select: int) -> dict:
    """Both programs on one subject, scored with its truth."""
    print(f"\nAccuracy on {name}, {select:,} accepted streamlines, default options")
    print(f"  {'':<34}" + "".join(f" {heading:>9}" for heading in SCORES.values()))
    theirs = _peer_scores(subject, select)
    for program, scores in theirs.items():
        _print_score(program, scores)
    matrix, measured = run_ours(name, subject, select)
    ours = peer.score_folder(matrix, subject)
    _print_score("tractome", ours)
    best = max(theirs.values(), key=lambda scores: scores["ap"])
    below = [heading for key, heading in SCORES.items() if key != "n_false" and ours[key] < best[key]]
    print(f"  tractome below the best line of MRtrix3 in: {', '.join(below) or 'nothing'}", end="")
    print(f"; the whole run took {measured.wall_s:.0f} s, peak {measured.peak_mib:.0f} MiB")
    return {"subject": name, "tractome": ours, "peer": theirs, "run_wall_s": measured.wall_s}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--subjects", default="phantom_2mm,two-shells,b1000-30dir")
    parser.add_argument("--only", choices=("speed", "accuracy"))
    parser.add_argument("--select", type=int, default=20_000, help="accepted streamlines for accuracy")
    given = parser.parse_args()
    if shutil.which("tckgen") is None:
        sys.exit("MRtrix3 is not on the PATH; it is the Debian package mrtrix3: apt-get install mrtrix3")
    OUT.mkdir(parents=True, exist_ok=True)
    found = subjects(given.subjects.split(","))
    report: dict[str, list[dict]] = {"speed": [], "accuracy": []}
    if given.only != "accuracy":
        report["speed"] = speed(next(iter(found.values())), given.repeats, 2000)
    if given.only != "speed":
        report["accuracy"] = [accuracy(name, subject, given.select) for name, subject in found.items()]
    kept = OUT / "bench.json"
    if given.only and kept.exists():
        # Half a bench replaces half of the report.
        report = {**json.loads(kept.read_text()), **{name: lines for name, lines in report.items() if lines}}
    kept.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
