"""What our own work costs by voxels, volumes, streamlines and threads; the figures behind the plot in docs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from inputs import first_volumes, hcp_size, thinned_mask, with_mask
from measure import N_THREADS, Side, run_side
from rows_fit import scan_words
from rows_track import Field, settings_words
from settings import Settings, ours
from tracks import job_facts


def _points(
    name: str, unit: str, sides: Sequence[tuple[float, Side]], settings: Settings, repeats: int = 1
) -> dict[str, Any]:
    """Wall seconds at each size; kernels are compiled before, in a run that is not counted."""
    kernels = settings.room / f"curve-{name}-kernels"
    shutil.rmtree(kernels, ignore_errors=True)
    place, log = {"TRACTOME_CACHE_DIR": str(kernels)}, settings.room / f"curve-{name}.log"
    run_side(sides[0][1], log, place)
    points = []
    for size, side in sides:
        runs, inside = [], []
        for _ in range(repeats):
            runs.append(run_side(side, log, place))
            inside.append(job_facts(log)["seconds"])
        points.append(
            {
                "size": size,
                "wall_s": median(run.wall_s for run in runs),
                "cpu_s": median(run.cpu_s for run in runs),
                "peak_mib": max(run.peak_mib for run in runs),
                "seconds": {part: median(found[part] for found in inside) for part in inside[0]},
            }
        )
    shutil.rmtree(kernels, ignore_errors=True)
    return {"title": f"cost by {unit}", "curve": name, "unit": unit, "points": points}


def _sizes(largest: int, settings: Settings, shares: Sequence[float]) -> list[int]:
    scale = 0.05 if settings.quick else 1.0
    return [max(int(largest * share * scale), 100) for share in shares]


def voxels(settings: Settings) -> dict[str, Any]:
    """The default tensor fit of a scan of the HCP's size by voxels of the mask."""
    whole = hcp_size(24 if settings.quick else None)
    sides = []
    for n_voxels in _sizes(whole.n_voxels, settings, (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)):
        given = with_mask(whole, thinned_mask(whole.mask, n_voxels))
        words = ["tensors", *scan_words(given, settings.room / "curve-voxels")]
        words += ["--set", "tensor_method=iwls", "--set", "tensor_max_b_s_per_mm2=1e6"]
        sides.append((given.n_voxels, ours("", words, given.n_voxels)))
    return _points("voxels", "voxels (tensors, IWLS)", sides, settings)


def volumes(settings: Settings) -> dict[str, Any]:
    """The tensor fit by volumes, the whole mask."""
    whole = hcp_size(24 if settings.quick else None)
    counts = (36, 72, 144, 288)
    if settings.quick:
        whole, counts = with_mask(whole, thinned_mask(whole.mask, settings.small_voxels)), (12, 18, 24)
    sides = []
    for n_volumes in counts:
        given = first_volumes(whole, n_volumes) if n_volumes < whole.n_volumes else whole
        words = ["tensors", *scan_words(given, settings.room / "curve-volumes")]
        words += ["--set", "tensor_method=iwls", "--set", "tensor_max_b_s_per_mm2=1e6"]
        sides.append((n_volumes, ours("", words, n_volumes)))
    return _points("volumes", "volumes (tensors, IWLS)", sides, settings)


def _tracking(field: Field, settings: Settings, n_streamlines: int, n_threads: int = N_THREADS) -> Side:
    words: list[str | Path] = ["track", "--fod", field.fod, "--mask", field.mask, "--tissue", field.tissue, "--ends"]
    words += ["--out", settings.room / "curve-track"]
    words += settings_words(n_streamlines=n_streamlines, n_threads=n_threads)
    return ours("", words, n_streamlines, NUMBA_NUM_THREADS=str(n_threads))


def streamlines(settings: Settings) -> dict[str, Any]:
    """Default tracking with anatomical constraints, ends kept, by accepted streamlines."""
    field = Field()
    counts = [1_000] if settings.quick else []
    counts += [10**power for power in range(4, 8) if 10**power <= settings.largest_curve]
    sides = [(count, _tracking(field, settings, count)) for count in counts]
    return _points("streamlines", "accepted streamlines", sides, settings)


def threads(settings: Settings) -> dict[str, Any]:
    """Tracking, and a fit of FODs, on one thread and on two."""
    field, count = Field(), settings.select
    sides = [(number, _tracking(field, settings, count, number)) for number in (1, N_THREADS)]
    record = _points("threads", "threads (default tracking)", sides, settings, settings.repeats)
    one, two = (point["seconds"]["track"] for point in record["points"])
    whole_one, whole_two = (point["wall_s"] for point in record["points"])
    return record | {"n_streamlines": count, "speed_up": one / two, "speed_up_whole_process": whole_one / whole_two}


def curves(settings: Settings) -> list[dict[str, Any]]:
    """All four."""
    return [voxels(settings), volumes(settings), streamlines(settings), threads(settings)]
