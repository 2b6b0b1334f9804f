"""Comparisons of fits with MRtrix3: tensors, CSD, and multi-tissue CSD of two and of three tissues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peer
from agreement import fod_agreement, scalar_difference
from inputs import Scan, hcp_size, scan, thinned_mask, with_mask
from measure import contest
from settings import YARDSTICK, Settings, mrtrix, ours
from subjects import subjects

ALL_VOLUMES = ("--set", "tensor_method=iwls", "--set", "tensor_max_b_s_per_mm2=1e6")


def scan_words(given: Scan, out: Path) -> list[str | Path]:
    """A scan as jobs.py and dipy_jobs.py take it."""
    return [
        "--dwi", given.dwi, "--bval", given.bval, "--bvec", given.bvec, "--mask", given.mask, "--out", out,
    ]  # fmt: skip


def _record(title: str, lines: list[dict[str, Any]], note: str = "") -> dict[str, Any]:
    return {"title": title, "unit": "voxels", "lines": lines, "note": note}


def tensor(settings: Settings) -> list[dict[str, Any]]:
    """Tensors, FA and MD of a scan of the HCP's size: both programs on the whole mask."""
    given = hcp_size(24 if settings.quick else None)
    room = settings.room
    if settings.quick:
        given = with_mask(given, thinned_mask(given.mask, settings.small_voxels))
    tensors, maps = room / "dt.nii", [room / "peer_fa.nii", room / "peer_md.nii"]
    masked = ["-mask", str(given.mask)]
    theirs = [
        ["dwi2tensor", given.dwi, tensors, *given.gradients(), *masked],
        ["tensor2metric", tensors, "-fa", maps[0], "-adc", maps[1], *masked],
    ]
    words = ["tensors", *scan_words(given, room / "tensor")]
    default_words = ["tensors", *scan_words(given, room / "tensor-default")]
    lines = contest(
        "tensor",
        [
            ours("IWLS, 2 reweightings, all volumes", [*words, *ALL_VOLUMES], given.n_voxels),
            ours("default fit (WLS, shells up to b = 1500)", default_words, given.n_voxels),
            mrtrix("dwi2tensor (WLS, 2 reweightings, all volumes) + tensor2metric", theirs, given.n_voxels),
        ],
        settings.repeats,
        room,
    )
    difference = scalar_difference(room / "tensor" / "fa.nii", maps[0], given.mask)
    note = (
        f"145x174x145x{given.n_volumes}, {given.n_voxels:,} voxels in the mask, float32, uncompressed; FA of the same "
        f"fit differs by {difference['median']:.1e} in the median voxel, {difference['p99']:.1e} at the 99th percentile"
    )
    return [_record("tensors + FA + MD", lines, note)]


def _fod_contest(name: str, title: str, model: str, responses: dict[str, Path], settings: Settings) -> dict[str, Any]:
    """FODs of lmax 8 (isotropic tissues 0), responses given to both."""
    subject = subjects([YARDSTICK])[YARDSTICK]
    small = scan(subject, settings.small_voxels)
    whole = small if settings.quick else scan(subject)
    # Single-shell CSD of MRtrix3 is quick enough for the whole mask.
    theirs = whole if model == "csd" else small
    outputs = [word for tissue, path in responses.items() for word in (path, settings.room / f"peer_{tissue}.nii")]
    orders = ",".join("8" if tissue == "wm" else "0" for tissue in responses)
    algorithm = "csd" if model == "csd" else "msmt_csd"
    command = ["dwi2fod", algorithm, theirs.dwi, *outputs, "-lmax", orders, *theirs.gradients(), "-mask", theirs.mask]
    given = [word for path in responses.values() for word in ("--response", path)]
    words = ["fods", *scan_words(whole, settings.room / name), "--model", model, "--lmax", "8", *given]
    lines = contest(
        name,
        [
            ours(f"{model}, {whole.n_voxels:,} voxels", words, whole.n_voxels),
            mrtrix(f"dwi2fod {algorithm}, {theirs.n_voxels:,} voxels", [command], theirs.n_voxels),
        ],
        settings.repeats,
        settings.room,
    )
    white = peer.fod(subject) / "white.nii.gz"
    same = fod_agreement(settings.room / name / "wmfod.nii", settings.room / "peer_wm.nii", theirs.mask, white)
    agree = f"median angular correlation of both FODs in white matter {same:.4f}"
    return _record(title, lines, f"{title}: {YARDSTICK}, {whole.n_volumes} volumes; {agree}")


def csd(settings: Settings) -> list[dict[str, Any]]:
    """Single-shell CSD, the response given."""
    field = peer.fod(subjects([YARDSTICK])[YARDSTICK])
    return [_fod_contest("csd", "CSD, lmax 8", "csd", {"wm": field / "response.txt"}, settings)]


def msmt(settings: Settings) -> list[dict[str, Any]]:
    """Multi-tissue CSD, the responses given."""
    responses = peer.tissue_responses(subjects([YARDSTICK])[YARDSTICK])
    two = {name: responses[name] for name in ("wm", "csf")}
    return [
        _fod_contest("msmt-2", "MSMT-CSD, lmax 8, WM + CSF", "msmt", two, settings),
        _fod_contest("msmt-3", "MSMT-CSD, lmax 8, WM + GM + CSF", "msmt", responses, settings),
    ]
