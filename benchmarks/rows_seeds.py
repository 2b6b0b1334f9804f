"""How much of a difference in accuracy is the luck of one random seed: both programs, several seeds each."""

from __future__ import annotations

from statistics import mean, stdev
from typing import Any

import peer
from rows_accuracy import DEMANDED, run_ours
from settings import Settings
from subjects import subjects

SUBJECTS = ("hcp-like",)
"""Where one seed of each did not decide."""


def accuracy_of_seeds(settings: Settings) -> list[dict[str, Any]]:
    """Mean and standard deviation over random seeds, ours with default options, MRtrix3's with its best recipe."""
    records = []
    for name, subject in subjects([name for name in SUBJECTS if name in settings.subjects]).items():
        theirs, ours = [], []
        for seed in range(settings.random_seeds):
            matrix = peer.connectome(subject, select=settings.accuracy_select, seed=seed + 1) / "count.csv"
            theirs.append(peer.score_folder(matrix, subject))
            matrix, _ = run_ours(name, subject, settings, random_seed=seed)
            ours.append(peer.score_folder(matrix, subject))
        algorithm, angle = peer.VARIANTS[peer.BEST]
        records.append(
            {
                "title": f"accuracy on {name} over {settings.random_seeds} random seeds",
                "subject": name,
                "n_seeds": settings.random_seeds,
                "lines": [
                    {"program": f"MRtrix3 {algorithm} {angle}", **_spread(theirs)},
                    {"program": "tractome", **_spread(ours)},
                ],
            }
        )
    return records


def _spread(scores: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    found = {}
    for key in DEMANDED:
        values = [each[key] for each in scores]
        found[key] = {"mean": mean(values), "sd": stdev(values) if len(values) > 1 else 0.0, "values": values}
    return found
