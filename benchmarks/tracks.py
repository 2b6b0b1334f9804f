"""What a .tck file holds, ours and the peers' measured by one function, and how well its connectome finds the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from measure import run_measured
from peer import score_folder


def describe(tck: Path) -> dict[str, float]:
    """Streamlines, points, and mean length in mm."""
    from tractome.io.tractograms import read_tractogram

    n_streamlines, n_points, length = 0, 0, 0.0
    for block in read_tractogram(tck):
        steps = np.linalg.norm(np.diff(block.points, axis=0), axis=1)
        steps[block.offsets[1:-1] - 1] = 0.0  # from one streamline to the next
        n_streamlines += block.n_streamlines
        n_points += len(block.points)
        length += float(steps.sum(dtype=np.float64))
    return {"n_streamlines": n_streamlines, "n_points": n_points, "mean_length_mm": length / max(n_streamlines, 1)}


def seeds_tried(tck: Path) -> int:
    """How many streamlines MRtrix3 began for a .tck file, as its header says."""
    with tck.open("rb") as file:
        for line in file:
            name, _, value = line.decode("ascii", "replace").partition(":")
            if name == "total_count":
                return int(value)
            if line.strip() == b"END":
                break
    return 0


def job_facts(log: Path) -> dict[str, Any]:
    """The facts that a job printed as its last line."""
    facts: dict[str, Any] = json.loads(log.read_text().splitlines()[-1])
    return facts


def score_tracks(tck: Path, subject: Path, room: Path, first: int | None = None) -> dict[str, float]:
    """AP and r of the streamlines of a file, or of its first ones, by ``tck2connectome`` whoever made them."""
    log = room / "score.log"
    log.unlink(missing_ok=True)
    if first is not None:
        shorter = room / "first.tck"
        run_measured(["tckedit", tck, shorter, "-number", str(first), "-force", "-quiet"], log)
        tck = shorter
    matrix = room / "score.csv"
    command = ["tck2connectome", tck, subject / "labels.nii.gz", matrix, "-symmetric", "-zero_diagonal", "-force"]
    run_measured([*command, "-quiet"], log)
    return score_folder(matrix, subject)
