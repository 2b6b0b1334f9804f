"""From streamlines to matrices: whole tractograms against MRtrix3, stored tables of ten million, and memory by number.

The tractogram is that of our tracker on the yardstick, each streamline again and again, moved by half a millimetre; the
tables have its ends in the same way.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from inputs import uncompressed
from measure import TWO_THREADS, Side, contest
from rows_track import Field, settings_words
from settings import HERE, YARDSTICK, Settings, mrtrix
from subjects import subjects

MAPS = ("fa", "md")
TABLE_UNITS = {"fa": "unitless", "md": "mm2/s"}


def _connect(what: str, words: list[str | Path], work: float) -> Side:
    command = [sys.executable, HERE / "connect_jobs.py", *words]
    return Side("tractome", what, [command], work, dict(TWO_THREADS), compiles=True)


def _some_streamlines(settings: Settings) -> Path:
    """A tractogram with steps of 1 mm, as MRtrix3's default on this scan."""
    from measure import run_measured

    n_streamlines = min(settings.select, 100_000)
    field, place = Field(), settings.room / f"connect-source-{n_streamlines}"
    if not (place / "tracks.tck").exists():
        words = ["track", "--fod", field.fod, "--mask", field.mask, "--tissue", field.tissue, "--out", place]
        words += settings_words(n_streamlines=n_streamlines, step_size_mm=1.0, max_angle_deg=30.0)
        run_measured([sys.executable, HERE / "jobs.py", *words], settings.room / "connect-source.log", TWO_THREADS)
    return place / "tracks.tck"


def sampled_maps(subject: Path, room: Path) -> dict[str, Path]:
    """FA and MD by MRtrix3, uncompressed."""
    from measure import run_measured

    places = {name: room / f"connect-{name}.nii" for name in MAPS}
    if not all(path.exists() for path in places.values()):
        gradients: list[str | Path] = ["-fslgrad", subject / "dwi.bvec", subject / "dwi.bval"]
        masked: list[str | Path] = ["-mask", subject / "mask.nii.gz", "-force"]
        tensors = room / "connect-dt.nii"
        log = room / "connect-maps.log"
        run_measured(["dwi2tensor", subject / "dwi.nii.gz", tensors, *gradients, *masked], log)
        run_measured(["tensor2metric", tensors, "-fa", places["fa"], "-adc", places["md"], *masked], log)
    return places


def _many(source: Path, out: Path, n_streamlines: int) -> Path:
    """The streamlines of a tractogram again and again, each moved."""
    from tractome.datatypes.tractogram import Tractogram
    from tractome.io.images import read_mask
    from tractome.io.tractograms import TractogramWriter, read_tractogram

    if out.exists():
        return out
    rng = np.random.default_rng(1)
    grid, n_left = read_mask(subjects([YARDSTICK])[YARDSTICK] / "mask.nii.gz")[1], n_streamlines
    with TractogramWriter(out, grid) as writer:
        while n_left:
            for block in read_tractogram(source):
                n_now = min(n_left, block.n_streamlines)
                offsets = block.offsets[: n_now + 1]
                moved = np.repeat(rng.normal(0, 0.5, (n_now, 3)), np.diff(offsets), axis=0)
                points = (block.points[: offsets[-1]] + moved).astype(np.float32)
                writer.write(Tractogram(points, offsets, block.seed_index[:n_now], block.stop_reasons[:n_now]))
                n_left -= n_now
                if not n_left:
                    break
    return out


def _table(source: Path, out: Path, n_streamlines: int) -> Path:
    """A table of so many streamlines: ends moved, values drawn."""
    from tractome.datatypes.tractogram import StreamlineTable
    from tractome.io.images import read_mask
    from tractome.io.tractograms import StreamlineTableWriter, read_tractogram
    from tractome.stages.connect import concatenate, summarise

    if out.exists():
        return out
    rng = np.random.default_rng(1)
    whole = concatenate([summarise(block, []) for block in read_tractogram(source)])
    grid = read_mask(subjects([YARDSTICK])[YARDSTICK] / "mask.nii.gz")[1]
    with StreamlineTableWriter(out, grid, TABLE_UNITS) as writer:
        for first in range(0, n_streamlines, whole.n_streamlines):
            n = min(whole.n_streamlines, n_streamlines - first)
            ends = whole.ends_mm[:n] + rng.normal(0, 0.7, (n, 2, 3))
            means = {"fa": rng.random(n), "md": rng.random(n) * 1e-3}
            writer.write(StreamlineTable(ends, whole.length_mm[:n], means, first + np.arange(n), TABLE_UNITS))
    return out


def _label_images(settings: Settings) -> list[Path]:
    """Three parcellations: the yardstick's own, the same on 1 mm, and one of four times as many regions."""
    import nibabel

    own = uncompressed(subjects([YARDSTICK])[YARDSTICK] / "labels.nii.gz", "labels")
    image = nibabel.load(own)
    labels, affine = np.asarray(image.dataobj).astype(np.int16), image.affine.copy()
    fine = labels.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    affine[:3, :3] /= 2
    affine[:3, 3] -= affine[:3, :3].sum(axis=1) / 2
    bands = (np.arange(fine.shape[1]) // 8 % 4)[None, :, None]
    places = [own]
    for name, values in (("fine", fine), ("bands", np.where(fine > 0, 4 * (fine - 1) + bands + 1, 0))):
        places.append(settings.room / f"labels-{name}.nii")
        nibabel.save(nibabel.Nifti1Image(values.astype(np.int16), affine), places[-1])
    return places


def connect_whole(settings: Settings) -> list[dict[str, Any]]:
    """Count, FA and MD matrices from a .tck, against tcksample and tck2connectome."""
    n, room = settings.n_connect, settings.room
    tracks = _many(_some_streamlines(settings), room / f"connect-{n}.tck", n)
    subject = subjects([YARDSTICK])[YARDSTICK]
    labels = _label_images(settings)[0]
    maps = sampled_maps(subject, room)
    words: list[str | Path] = ["whole", tracks, "--labels", labels, "--out", room / "connect-ours", "--no-errors"]
    words += [word for name, path in maps.items() for word in ("--map", f"{name}={path}")]
    theirs: list[list[str | Path]] = []
    for name, path in maps.items():
        theirs.append(["tcksample", tracks, path, room / f"{name}.txt", "-stat_tck", "mean"])
    theirs.append(["tck2connectome", tracks, labels, room / "count.csv", "-symmetric"])
    for name in maps:
        scale = ["-scale_file", room / f"{name}.txt", "-stat_edge", "mean", "-symmetric"]
        theirs.append(["tck2connectome", tracks, labels, room / f"{name}.csv", *scale])
    sides = [
        _connect("connect: count, length, FA, MD, density and invnodevol, one pass", words, n),
        mrtrix("2 x tcksample, 3 x tck2connectome: count, FA, MD", theirs, n),
    ]
    lines = contest("connect-whole", sides, settings.repeats, room)
    agreement = []
    for name in ("count", *MAPS):
        ours = np.loadtxt(room / "connect-ours" / f"0_{name}.csv", delimiter=",")
        peers = np.loadtxt(room / f"{name}.csv", delimiter=",")
        run = peers > 0
        agreement.append(f"{name} {np.abs(ours[run] / peers[run] - 1).max():.1e}")
    title = "three matrices and two sampled maps from whole streamlines"
    note = f"{n:,} streamlines, radial 4 mm; largest relative difference: {', '.join(agreement)}"
    return [{"title": title, "unit": "streamlines", "lines": lines, "note": note}]


def connect_table(settings: Settings) -> list[dict[str, Any]]:
    """Every matrix of three parcellations from stored tables of rising size: time and memory."""
    labels = [word for path in _label_images(settings) for word in ("--labels", path)]
    source, records = _some_streamlines(settings), []
    for n in settings.connect_sizes:
        table = _table(source, settings.room / f"connect-{n}.trx", n)
        words: list[str | Path] = ["table", table, *labels, "--out", settings.room / "connect-tables"]
        lines = contest(f"connect-table-{n}", [_connect("radial 4 mm", words, n)], settings.repeats, settings.room)
        title = f"three parcellations from a stored table of {n:,}"
        records.append({"title": title, "unit": "streamlines", "lines": lines, "size": n})
    return records
