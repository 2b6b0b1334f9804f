"""Comparisons of trackers with MRtrix3's, all on one FOD file made by MRtrix3.

Both get the same FOD image, tissue map, seed image, cutoff, length limits, back-tracking and cropping, and both write a
.tck file. What differs, step, largest turn and how many streamlines are wanted, is in each line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peer
from inputs import uncompressed
from measure import Side, contest
from settings import YARDSTICK, Settings, mrtrix, ours
from subjects import subjects
from tracks import describe, job_facts, score_tracks, seeds_tried

CUTOFF, MIN_LENGTH_MM, MAX_LENGTH_MM = 0.06, 4.0, 250.0
FIRST_ORDER_STEP_MM, FIRST_ORDER_ANGLE_DEG = 0.5, 15.0
SECOND_ORDER_STEP_MM = 1.0
"""iFOD2's default on 2 mm: half a voxel."""


class Field:
    """The files of the yardstick that every tracker gets, uncompressed."""

    def __init__(self) -> None:
        self.subject = subjects([YARDSTICK])[YARDSTICK]
        made = peer.fod(self.subject)
        self.fod = uncompressed(made / "wmfod.nii.gz", "wmfod")
        self.white = uncompressed(made / "white.nii.gz", "white")
        self.tissue = uncompressed(self.subject / "5tt.nii.gz", "5tt")
        self.mask = uncompressed(self.subject / "mask.nii.gz", "mask")


def settings_words(**options: object) -> list[str]:
    """Options of a stage as jobs.py takes them."""
    return [word for name, value in options.items() for word in ("--set", f"{name}={value!r}")]


def _our_side(field: Field, settings: Settings, name: str, what: str, *, same: bool = True, **options: object) -> Side:
    """Our tracker; `same` gives it the peer's seed image, cutoff and limits of length, else all is our default."""
    words: list[str | Path] = ["track", "--fod", field.fod, "--mask", field.mask, "--tissue", field.tissue]
    words += ["--out", settings.room / name]
    if same:
        words += ["--seeds", field.white]
        options |= {"fod_cutoff": CUTOFF, "min_length_mm": MIN_LENGTH_MM, "max_length_mm": MAX_LENGTH_MM}
    words += settings_words(n_streamlines=settings.select, **options)
    return ours(what, words, settings.select)


def _peer_side(field: Field, settings: Settings, name: str, algorithm: str, step: float | None, angle: float) -> Side:
    """`tckgen` with anatomical constraints, back-tracking and cropping; None leaves the step to it."""
    command: list[str | Path] = ["tckgen", field.fod, settings.room / f"{name}.tck", "-algorithm", algorithm]
    command += ["-act", field.tissue, "-backtrack", "-crop_at_gmwmi", "-seed_image", field.white]
    command += ["-select", str(settings.peer_select), "-cutoff", str(CUTOFF), "-angle", f"{angle:g}"]
    command += ["-minlength", f"{MIN_LENGTH_MM:g}", "-maxlength", f"{MAX_LENGTH_MM:g}"]
    command += ["-step", f"{step:g}"] if step else []
    shown = f"{algorithm}, step {step:g} mm, angle {angle:g}" if step else f"{algorithm}, its step, angle {angle:g}"
    return mrtrix(shown, [command], settings.peer_select)


def _add_quality(line: dict[str, Any], tck: Path, field: Field, settings: Settings) -> None:
    """Acceptance, length, points, and how well the streamlines of the timed run find the truth."""
    found = describe(tck)
    n_seeds = job_facts(Path(line["log"]))["n_seeds"] if line["program"] == "tractome" else seeds_tried(tck)
    whole = score_tracks(tck, field.subject, settings.room)
    # At equal numbers: matrices of more streamlines are better whatever made them.
    equal = score_tracks(tck, field.subject, settings.room, settings.peer_select)
    line |= {
        "n_streamlines": found["n_streamlines"],
        "acceptance": found["n_streamlines"] / n_seeds if n_seeds else float("nan"),
        "mean_length_mm": found["mean_length_mm"],
        "points_per_s": found["n_points"] / line["wall_s"],
        "ap": whole.get("ap"),
        "r": whole.get("r"),
        "ap_equal": equal.get("ap"),
        "r_equal": equal.get("r"),
        "n_equal": settings.peer_select,
    }


def _tracking_record(
    name: str, title: str, sides: list[Side], places: list[Path], field: Field, settings: Settings
) -> dict[str, Any]:
    lines = contest(name, sides, settings.repeats, settings.room)
    for line, place in zip(lines, places, strict=True):
        _add_quality(line, place, field, settings)
    note = (
        f"{YARDSTICK}, FOD by MRtrix3 (CSD, lmax 8), seeds in all white matter, cutoff {CUTOFF:g}, "
        f"{MIN_LENGTH_MM:g} to {MAX_LENGTH_MM:g} mm; assignment of all by tck2connectome (4 mm)"
    )
    return {"title": title, "unit": "accepted streamlines", "lines": lines, "note": note}


def _second_order(field: Field, settings: Settings, angle: float) -> tuple[list[Side], list[Path]]:
    """Our second-order method beside iFOD2 at one step and angle."""
    step, room = SECOND_ORDER_STEP_MM, settings.room
    name, theirs = f"second-{angle:g}", f"ifod2-{angle:g}"
    side = _our_side(
        field, settings, name, f"second-order, step {step:g} mm, angle {angle:g}",
        method="second-order", step_size_mm=step, max_angle_deg=angle,
    )  # fmt: skip
    peer_side = _peer_side(field, settings, theirs, "iFOD2", step, angle)
    return [side, peer_side], [room / name / "tracks.tck", room / f"{theirs}.tck"]


def track(settings: Settings) -> list[dict[str, Any]]:
    """The default tracker and the second-order method against iFOD2; the first-order method against iFOD1."""
    field, room = Field(), settings.room
    (second, ifod2), places = _second_order(field, settings, 45.0)
    sides = [
        _our_side(field, settings, "default", "default tracker"),
        _our_side(field, settings, "all-default", "default tracker, our own seeds, cutoff and lengths", same=False),
        second,
        ifod2,
    ]
    places = [room / "default" / "tracks.tck", room / "all-default" / "tracks.tck", *places]
    records = [_tracking_record("ifod2-45", "tracking with ACT, against iFOD2", sides, places, field, settings)]
    step, angle = FIRST_ORDER_STEP_MM, FIRST_ORDER_ANGLE_DEG
    first = _our_side(
        field, settings, "first", f"first-order, step {step:g} mm, angle {angle:g}",
        method="probabilistic", step_size_mm=step, max_angle_deg=angle,
    )  # fmt: skip
    ifod1 = _peer_side(field, settings, "ifod1", "iFOD1", step, angle)
    places = [room / "first" / "tracks.tck", room / "ifod1.tck"]
    title = "tracking with ACT, first order, against iFOD1"
    records.append(_tracking_record("ifod1", title, [first, ifod1], places, field, settings))
    return records


def track_best(settings: Settings) -> list[dict[str, Any]]:
    """The default tracker and the second-order method against iFOD2 at the angle that is its best on known wiring."""
    field, room = Field(), settings.room
    pair, places = _second_order(field, settings, 22.5)
    sides = [_our_side(field, settings, "default", "default tracker"), *pair]
    places = [room / "default" / "tracks.tck", *places]
    title = "tracking with ACT, against iFOD2 at its best angle"
    return [_tracking_record("ifod2-22", title, sides, places, field, settings)]
