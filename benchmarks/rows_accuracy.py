"""Accuracy of whole runs on known wiring: our defaults against four variants of MRtrix3's best recipe.

Both at the same number of accepted streamlines; MRtrix3's matrices come from the cache of peer.py.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import peer
from measure import TWO_THREADS, Measured, run_measured
from settings import Settings
from subjects import PROGRAM, subjects

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
DEMANDED = ("ap", "r", "u_recall")
"""What our defaults have to reach, each as high as in any of the peer's variants."""
_FILES = {"--dwi": "dwi.nii.gz", "--bval": "dwi.bval", "--bvec": "dwi.bvec", "--mask": "mask.nii.gz"}
_FILES |= {"--labels": "labels.nii.gz", "--tissue": "5tt.nii.gz", "--regions": "regions.tsv"}


def run_ours(
    name: str, subject: Path, settings: Settings, *, random_seed: int = 0, words: tuple[str, ...] = ()
) -> tuple[Path, Measured]:
    """`tractome run` with default options, but for `words`; the count matrix and what it cost."""
    place, log = settings.room / f"run-{name}", settings.room / f"run-{name}.log"
    shutil.rmtree(place, ignore_errors=True)
    log.unlink(missing_ok=True)
    command: list[str | Path] = [PROGRAM, "run", "--out", place, "--formats", "npz,tsv"]
    command += ["--streamlines", str(settings.accuracy_select), "--seed", str(random_seed), *words]
    for flag, file in _FILES.items():
        if (subject / file).exists():
            command += [flag, subject / file]
    measured = run_measured(command, log, TWO_THREADS)
    return next(place.glob("sub-*/connectivity/*_stat-count_relmat.tsv")), measured


def peer_scores(subject: Path, settings: Settings) -> dict[str, dict[str, float]]:
    """Scores of the peer's variants, by name."""
    return {
        f"{algorithm} {angle}": peer.score_folder(
            peer.connectome(subject, name, select=settings.accuracy_select) / "count.csv", subject
        )
        for name, (algorithm, angle) in peer.VARIANTS.items()
    }


def shortfalls(ours: dict[str, float], theirs: dict[str, dict[str, float]]) -> dict[str, str]:
    """Figures in which ours is below: the peer's variant of the highest AP, and any variant in what is demanded."""
    best = max(theirs.values(), key=lambda scores: scores["ap"])
    below = {
        "best": [key for key in SCORES if key != "n_false" and ours[key] < best[key]],
        "any": [key for key in DEMANDED if ours[key] < max(scores[key] for scores in theirs.values())],
    }
    return {name: ", ".join(SCORES[key] for key in keys) or "nothing" for name, keys in below.items()}


def accuracy(settings: Settings) -> list[dict[str, Any]]:
    """Every subject, scored with its truth."""
    records = []
    for name, subject in subjects(list(settings.subjects)).items():
        theirs = peer_scores(subject, settings)
        matrix, measured = run_ours(name, subject, settings)
        ours = peer.score_folder(matrix, subject)
        records.append(
            {
                "title": f"accuracy on {name}, {settings.accuracy_select:,} accepted streamlines, default options",
                "subject": name,
                "peer": theirs,
                "tractome": ours,
                "below": shortfalls(ours, theirs),
                "run_wall_s": measured.wall_s,
            }
        )
    return records
