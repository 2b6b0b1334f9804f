"""Comparisons with DIPY: tensors, CSD, and probabilistic tracking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import peer
from inputs import Scan, made_once, scan
from measure import contest
from rows_fit import scan_words
from rows_track import CUTOFF, Field, settings_words
from settings import YARDSTICK, Settings, dipy, ours
from subjects import subjects
from tracks import describe, job_facts, score_tracks

STEP_MM, ANGLE_DEG, FA_THRESHOLD = 0.5, 15.0, 0.15
MIN_LENGTH_MM, MAX_LENGTH_MM = 10, 250


def fits(settings: Settings) -> list[dict[str, Any]]:
    """Tensors and CSD of the yardstick."""
    subject = subjects([YARDSTICK])[YARDSTICK]
    small = scan(subject, settings.small_voxels)
    whole = small if settings.quick else scan(subject)
    room, note = settings.room, f"{YARDSTICK}, {whole.n_volumes} volumes"
    tensor_words = ["tensors", *scan_words(whole, room / "dipy-tensor-ours"), "--set", "tensor_max_b_s_per_mm2=1e6"]
    lines = contest(
        "dipy-tensor",
        [
            ours("WLS, all volumes", tensor_words, whole.n_voxels),
            dipy("TensorModel (WLS), fa, md", ["tensors", *scan_words(whole, room / "dipy-tensor")], whole.n_voxels),
        ],
        settings.repeats,
        room,
    )
    records = [{"title": "tensors + FA + MD, against DIPY", "unit": "voxels", "lines": lines, "note": note}]
    response = peer.fod(subject) / "response.txt"
    csd_words = ["fods", *scan_words(whole, room / "dipy-csd-ours"), "--model", "csd", "--response", response]
    words = ["csd", *scan_words(small, room / "dipy-csd"), "--response", response]
    lines = contest(
        "dipy-csd",
        [
            ours(f"csd, {whole.n_voxels:,} voxels", csd_words, whole.n_voxels),
            dipy(
                f"ConstrainedSphericalDeconvModel, {small.n_voxels:,} voxels, 2 joblib workers", words, small.n_voxels
            ),
        ],
        settings.repeats,
        room,
    )
    records.append({"title": "CSD, lmax 8, against DIPY", "unit": "voxels", "lines": lines, "note": note})
    return records


def _seed_points(field: Field, n_seeds: int) -> Path:
    """World points spread at random over white matter, (n, 3) float64, in a .npy file."""
    import nibabel

    def make(folder: Path) -> None:
        image = nibabel.load(field.white)
        rng = np.random.default_rng(0)
        voxels = np.argwhere(np.asarray(image.dataobj) > 0.5)
        places = voxels[rng.integers(len(voxels), size=n_seeds)] + rng.uniform(-0.5, 0.5, (n_seeds, 3))
        np.save(folder / "seeds.npy", places @ image.affine[:3, :3].T + image.affine[:3, 3])

    return made_once("seeds", f"{field.white} {n_seeds}", make) / "seeds.npy"


def _fa(whole: Scan, settings: Settings) -> Path:
    """FA by us, for both programs to stop at."""
    from measure import run_side

    place = settings.room / "fa-for-tracking"
    run_side(ours("", ["tensors", *scan_words(whole, place)], 1), settings.room / "fa-for-tracking.log")
    return place / "fa.nii"


def tracking(settings: Settings) -> list[dict[str, Any]]:
    """The same seed points, stopped by the same FA, at the same step and angle; no tissue map."""
    field, room = Field(), settings.room
    fa, seeds = _fa(scan(field.subject), settings), _seed_points(field, settings.n_seeds)
    places = [room / "dipy-ours", room / "dipy-track"]
    words: list[str | Path] = ["track", "--fod", field.fod, "--mask", field.mask, "--fa", fa, "--points", seeds]
    words += ["--out", places[0]]
    words += settings_words(
        n_seeds=settings.n_seeds, n_streamlines=None, seeds_per_point=1, step_size_mm=STEP_MM, max_angle_deg=ANGLE_DEG,
        fod_cutoff=CUTOFF, fa_threshold=FA_THRESHOLD, min_length_mm=MIN_LENGTH_MM, max_length_mm=MAX_LENGTH_MM,
    )  # fmt: skip
    theirs: list[str | Path] = ["track", "--fod", field.fod, "--fa", fa, "--points", seeds, "--out", places[1]]
    for name, value in (
        ("step", STEP_MM),
        ("angle", ANGLE_DEG),
        ("cutoff", CUTOFF),
        ("fa-threshold", FA_THRESHOLD),
        ("minlength", MIN_LENGTH_MM),
        ("maxlength", MAX_LENGTH_MM),
    ):
        theirs += [f"--{name}", str(value)]
    lines = contest(
        "dipy-track",
        [
            ours("probabilistic (first order)", words, settings.n_seeds),
            dipy("probabilistic_tracking, 724 directions, nbr_threads=2", theirs, settings.n_seeds),
        ],
        settings.repeats,
        room,
    )
    for line, place in zip(lines, places, strict=True):
        tck = place / "tracks.tck"
        found, facts, scores = describe(tck), job_facts(Path(line["log"])), score_tracks(tck, field.subject, room)
        line |= {
            "n_streamlines": found["n_streamlines"],
            "acceptance": found["n_streamlines"] / facts["n_seeds"],
            "mean_length_mm": found["mean_length_mm"],
            "points_per_s": found["n_points"] / line["wall_s"],
            "inside_s": facts["seconds"]["track"],
            "ap": scores.get("ap"),
            "r": scores.get("r"),
        }
    for line in lines:
        line["points_ratio"] = line["points_per_s"] / lines[-1]["points_per_s"]
    alone = [f"{line['program']} {settings.n_seeds / line['inside_s']:,.0f}" for line in lines]
    note = (
        f"{YARDSTICK}, no tissue map, {settings.n_seeds:,} seeds, step {STEP_MM:g} mm, angle {ANGLE_DEG:g}, "
        f"stopped where FA < {FA_THRESHOLD:g}; assignment by tck2connectome (4 mm); points/s of whole processes: "
        f"{lines[0]['points_ratio']:.1f} times DIPY's; seeds/s of tracking alone, without start, reading and the "
        f"field of amplitudes: {', '.join(alone)}"
    )
    return [{"title": "tracking without ACT, against DIPY", "unit": "seeds", "lines": lines, "note": note}]


def against_dipy(settings: Settings) -> list[dict[str, Any]]:
    """Fits, then tracking."""
    return [*fits(settings), *tracking(settings)]
