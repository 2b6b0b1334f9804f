"""Streamline weights against tcksift2: speed and cost on the same FODs, streamlines and processing mask; and the truth.

Whole processes in turns, as everywhere; processor seconds are in the notes, because they say most on a busy machine.
Both sets of weights are judged by judge.py, on MRtrix3's own lobes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import peer
from inputs import made_once, uncompressed
from judge import Fixels, contributions, judge, read
from measure import TWO_THREADS, Side, contest, run_measured
from settings import YARDSTICK, Settings, mrtrix
from subjects import subjects
from truth import read_matrix, score

from tractome.options import PhantomOptions

UNEQUAL = {
    f"unequal-{seed}": PhantomOptions(
        voxel_size_mm=2.5,
        t1_voxel_size_mm=2.5,
        n_bundles=40,
        n_u_fibres=12,
        median_fibres=400,
        shells=(3000.0,),
        directions=(60,),
        n_b0=4,
        random_seed=seed,
    )
    for seed in (5, 6)
}
"""Few bundles, of very unequal cross-section: false edges do not hide what weights do."""
SEED_SOURCES = ("white-matter", "balanced")
_MOST_REPEATS = 2
"""tcksift2 takes minutes, and the ratio is far from even."""


def _tractome(words: list[str | Path]) -> list[str | Path]:
    return [sys.executable, "-m", "tractome_cli.app", *words]


def _unequal(name: str) -> Path:
    from tractome.phantom import make_phantom, write_phantom

    def make(folder: Path) -> None:
        write_phantom(folder, make_phantom(UNEQUAL[name]))

    return made_once(name, repr(UNEQUAL[name]), make)


class _Work:
    """The files that both programs get: FODs by MRtrix3, streamlines by ours, the squared white matter fraction."""

    def __init__(self, subject: Path, seed_source: str, n_streamlines: int, room: Path) -> None:
        self.room = room / f"weigh-{subject.name}-{seed_source}"
        self.room.mkdir(parents=True, exist_ok=True)
        self.log = self.room / "log"
        self.fod = uncompressed(peer.fod(subject) / "wmfod.nii.gz", "wmfod")
        self.tracks, self.mask = self.room / "tracks.tck", self.room / "processing.nii"
        tissue = subject / "5tt.nii.gz"
        white = self.room / "white.nii"
        self.run(["mrconvert", tissue, white, "-coord", "3", "2", "-axes", "0,1,2", "-force", "-quiet"])
        self.run(["mrcalc", white, "2", "-pow", self.mask, "-force", "-quiet"])
        out = self.room / "tracked"
        words: list[str | Path] = ["track", "--fod", self.fod, "--mask", subject / "mask.nii.gz", "--tissue", tissue]
        words += ["--seed-source", seed_source, "--streamlines", str(n_streamlines), "--tractogram", "tck"]
        self.run(_tractome([*words, "--out", out, "--force"]))
        next(out.rglob("*desc-whole_streamlines.tck")).replace(self.tracks)

    def run(self, command: list[str | Path]) -> float:
        """One command; its processor seconds."""
        return run_measured(command, self.log, {**TWO_THREADS, "MRTRIX_RNG_SEED": "1"}).cpu_s

    @property
    def ours(self) -> Path:
        """Our weights."""
        return self.room / "ours.txt"

    @property
    def theirs(self) -> Path:
        """Weights of tcksift2."""
        return self.room / "theirs.txt"

    def our_command(self, *more: str) -> list[str | Path]:
        """`tractome weigh` on these files."""
        words: list[str | Path] = ["weigh", "--fod", self.fod, "--tractogram", self.tracks, "--threads", "2", "--force"]
        return _tractome([*words, "--processing-mask", self.mask, "--out", self.ours, *more])

    def their_command(self) -> list[str | Path]:
        """`tcksift2` on these files."""
        return ["tcksift2", self.tracks, self.fod, self.theirs, "-proc_mask", self.mask]

    def fixels(self) -> Fixels:
        """MRtrix3's lobes of the FODs."""

        def make(folder: Path) -> None:
            self.run(["fod2fixel", self.fod, folder, "-afd", "afd.mif", "-force", "-quiet"])
            for name in ("index", "directions", "afd"):
                self.run(["mrconvert", folder / f"{name}.mif", folder / f"{name}.nii", "-force", "-quiet"])

        # The folder of the FODs is named by their hash.
        return Fixels(made_once("fixels", self.fod.parent.name, make), self.mask)


def weigh(settings: Settings) -> list[dict[str, Any]]:
    """Speed and cost at 100,000 streamlines, with the cost that is tcksift2's default."""
    work = _Work(subjects([YARDSTICK])[YARDSTICK], "white-matter", settings.select, settings.room)
    same = ("--tikhonov", "0", "--total-variation", "0.1", "--noise-density", "0", "--min-coverage", "0.1")
    sides = [
        Side("tractome", "weigh", [work.our_command(*same)], settings.select, dict(TWO_THREADS), compiles=True),
        mrtrix("tcksift2", [work.their_command()], settings.select),
    ]
    lines = contest("weigh", sides, min(settings.repeats, _MOST_REPEATS), settings.room)
    fixels = work.fixels()
    made = contributions(work.tracks, fixels)
    ours, theirs = read(work.ours), read(work.theirs)
    sets = {"none": np.ones(made[3]), "tractome": ours, "tcksift2": theirs}
    costs = {name: judge(made, fixels, weights) for name, weights in sets.items()}
    for line in lines:
        line["cost"] = costs["tractome" if line["program"] == "tractome" else "tcksift2"]
    logs = np.log(np.maximum(ours, 1e-6)), np.log(np.maximum(theirs, 1e-6))
    note = (
        "cost by judge.py: "
        + ", ".join(f"{name} {found['cost']:,.0f} (misfit {found['all']:,.0f})" for name, found in costs.items())
        + f"; r of the weights {np.corrcoef(ours, theirs)[0, 1]:.3f}, of their logs {np.corrcoef(*logs)[0, 1]:.3f}"
        + f"; processor seconds {lines[0]['cpu_s']:.1f} and {lines[1]['cpu_s']:.1f}, a ratio of "
        + f"{lines[1]['cpu_s'] / lines[0]['cpu_s']:.1f}"
    )
    title = "streamline weights (SIFT2)"
    return [{"title": title, "unit": "streamlines", "lines": lines, "note": note}]


def weigh_truth(settings: Settings) -> list[dict[str, Any]]:
    """r and AP with the truth of plain counts, of tcksift2's weights and of ours, each at its defaults."""
    n = settings.select if settings.quick else settings.select // 4
    places = {name: _unequal(name) for name in UNEQUAL} | subjects([YARDSTICK])
    records = []
    for name, subject in places.items():
        truth_file = next(path for path in (subject / "truth_count.tsv", subject / "truth.csv") if path.exists())
        truth = read_matrix(truth_file)
        for source in SEED_SOURCES:
            work = _Work(subject, source, n, settings.room)
            work.run(work.our_command())
            work.run([*work.their_command(), "-nthreads", "2", "-force", "-quiet"])
            scores = {}
            for kind, weights in (("count", None), ("tcksift2", work.theirs), ("tractome", work.ours)):
                matrix = work.room / f"{kind}.csv"
                command: list[str | Path] = ["tck2connectome", work.tracks, subject / "labels.nii.gz", matrix]
                command += ["-symmetric", "-zero_diagonal", "-force", "-quiet"]
                work.run(command + (["-tck_weights_in", weights] if weights is not None else []))
                scores[kind] = {key: score(read_matrix(matrix), truth)[key] for key in ("r", "ap")}
            print(name, source, json.dumps(scores), flush=True)
            records.append({"subject": name, "seeds": source, "n_streamlines": n, "scores": scores})
    return records
