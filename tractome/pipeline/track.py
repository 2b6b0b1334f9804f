"""The stage track, from files to files: blocks of streamlines go to their sinks and are forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.fields import OrientationField, ScalarMap
from tractome.datatypes.prepared_maps import prepare_maps
from tractome.datatypes.tissue import TissueMap
from tractome.datatypes.tractogram import RejectReason, StopReason, StreamlineTable, Tractogram
from tractome.errors import OptionError, TrackingError
from tractome.io.images import read_mask, read_orientation_field, read_scalar_map, read_tissue
from tractome.options import TrackOptions
from tractome.pipeline.adopt import map_names, orientation_file
from tractome.pipeline.fit import HIGH_FA
from tractome.pipeline.layout import TRACTOGRAM_FORMATS, SubjectFolder
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.pipeline.tracking_files import TrackingFiles
from tractome.pipeline.until import Until, Watch
from tractome.provenance import StageRecord, option_values

MAP_UNITS = {"fa": "unitless", "md": "mm2/s", "ad": "mm2/s", "rd": "mm2/s"}
N_DRAWN = 1000
"""Streamlines in the picture."""


def track_subject(
    ledger: Ledger,
    options: TrackOptions,
    files: TrackingFiles | None = None,
    *,
    whole: str | None = None,
    until: Until | None = None,
) -> StageRecord:
    """Track through the orientations that `fit_subject` wrote, and write a row per streamline, unless that is done.

    Parameters
    ----------
    ledger : Ledger
    options : TrackOptions
    files : TrackingFiles, optional
    whole : str or None
        Format in which whole streamlines are kept too.
    until : Until, optional
        With `until_cv`, whose edges are looked at; by default those of the subject's only parcellation.
    """
    subject, files = ledger.subject, files or TrackingFiles()
    require_tracking_inputs(options, files, whole)
    until = until or Until.of(ledger, options)
    inputs = {"orientations": orientation_file(ledger), "mask": subject.mask}
    inputs |= {name: subject.tensor_map(name) for name in map_names(ledger)}
    inputs |= files.roles()
    values = option_values(options) | {"whole": whole}
    if until is None:
        values = {name: value for name, value in values.items() if name not in ("until_cv", "max_streamlines")}
    else:
        values |= until.key()
        inputs |= until.inputs()
    step = Step(
        name="track",
        options=values,
        inputs=inputs,
        may_write=(
            f"tractogram/{subject.name}_streamlines.*",
            f"tractogram/{subject.name}_desc-whole_streamlines.*",
            f"tractogram/{subject.name}_convergence.tsv",
            f"figures/{subject.name}_streamlines.png",
            f"figures/{subject.name}_convergence.png",
        ),
        work=lambda made: _track(ledger, options, files, whole, until, made),
    )
    return ledger.do(step)


def require_tracking_inputs(options: TrackOptions, files: TrackingFiles, whole: str | None) -> None:
    """Raise unless the files are there and fit the options, and the format of whole streamlines is known."""
    if whole is not None and whole not in TRACTOGRAM_FORMATS:
        message = f"--tractogram {whole} is not known; choose one of: {', '.join(TRACTOGRAM_FORMATS)}."
        raise OptionError(message)
    files.require(options)


def read_maps(subject: SubjectFolder, names: Sequence[str]) -> dict[str, ScalarMap]:
    """Tensor maps of a subject, by name."""
    mask, _ = read_mask(subject.mask)
    return {name: read_scalar_map(subject.tensor_map(name), name, MAP_UNITS[name], mask) for name in names}


@dataclass
class _Tally:
    """What is counted of the blocks as they go by, and a few streamlines for the picture."""

    drawn: list[NDArray[np.float32]] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    stopped: Counter[str] = field(default_factory=Counter)
    n_seeds: int = 0
    n_points: int = 0
    n_streamlines: int = 0
    length_mm: float = 0.0

    def add(self, block: Tractogram, table: StreamlineTable) -> None:
        """Count a block, and keep its first streamlines while the picture has room."""
        for index in range(min(block.n_streamlines, N_DRAWN - len(self.drawn))):
            self.drawn.append(block.streamline(index).copy())  # a view would keep the whole block
        for reason, number in block.rejected.items():
            self.rejected[RejectReason(reason).name.lower()] += int(number)
        for value, number in zip(*np.unique(block.stop_reasons, return_counts=True), strict=True):
            self.stopped[StopReason(int(value)).name.lower()] += int(number)
        self.n_seeds += block.n_seeds
        self.n_points += len(block.points)
        self.n_streamlines += block.n_streamlines
        # One after the other, so that the size of a block does not change the last digit.
        self.length_mm = float(np.cumsum(np.concatenate([[self.length_mm], table.length_mm]))[-1])


def _track(
    ledger: Ledger, options: TrackOptions, files: TrackingFiles, whole: str | None, until: Until | None, made: Made
) -> Facts:
    from tractome.io.figures import draw_streamlines
    from tractome.io.tractograms import StreamlineTableWriter, TractogramWriter
    from tractome.stages.connect import summarise
    from tractome.stages.track import source_in_force, track

    subject, listener = ledger.subject, ledger.listener
    orientations, material = tracking_material(ledger, options, files)
    maps = read_maps(subject, map_names(ledger))
    fa, tissue = material["fa"], material["tissue"]
    prepared = prepare_maps(list(maps.values()))
    source = source_in_force(options, material["seed_points"])
    progress = listener.progress("streamlines", "streamlines")
    watch = Watch(until) if until is not None else None
    if watch is None:
        blocks = track(orientations, options, **material, progress=progress)
    else:
        blocks = track(
            orientations, options, **material, round_ends=watch.round_ends(), progress=watch.progress(progress)
        )
    tally = _Tally()
    grid = orientations.grid
    whole_sink = TractogramWriter(made(subject.tractogram(whole)), grid) if whole is not None else nullcontext()
    rows_sink = StreamlineTableWriter(made(subject.streamline_table), grid, prepared.units)
    with closing(blocks), rows_sink as rows, whole_sink as writer:
        for block in blocks:
            table = summarise(block, prepared, directions=watch is not None and watch.needs_directions)
            tally.add(block, table)
            rows.write(table)
            if writer is not None:
                writer.write(block)
            if watch is not None and watch.is_enough(table):
                break
        if tally.n_streamlines == 0:
            raise _nothing_accepted(tally)
    shadow = fa.volume() if fa is not None else orientations.mask.astype(np.float32)
    draw_streamlines(made(subject.figure("streamlines")), tally.drawn, shadow, grid)
    facts = _facts(tally, fa, tissue) | {"seed_source": "mask" if files.seed_mask is not None else source}
    return facts if watch is None else facts | watch.write(made)


def tracking_material(
    ledger: Ledger, options: TrackOptions, files: TrackingFiles
) -> tuple[OrientationField, dict[str, Any]]:
    """Read what tracking needs: the orientations, and the other arguments of `stages.track.track` by name."""
    from tractome.io.seed_points import read_seed_points
    from tractome.stages.fit.fixels import segment_fixels
    from tractome.stages.track import source_in_force

    orientations = read_orientation_field(orientation_file(ledger), ledger.subject.mask)
    seed_points = read_seed_points(files.seed_points) if files.seed_points is not None else None
    is_dynamic = source_in_force(options, seed_points) == "dynamic"
    return orientations, {
        "tissue": read_tissue(files.tissue) if files.tissue is not None else None,
        "fa": read_maps(ledger.subject, ["fa"]).get("fa") if "fa" in map_names(ledger) else None,
        "seed_mask": files.read_seed_mask(orientations.grid),
        "seed_points": seed_points,
        "fixels": segment_fixels(orientations, min_peak=max(options.fod_cutoff, 1e-3)) if is_dynamic else None,
        "gates": files.read_gates(),
    }


def _nothing_accepted(tally: _Tally) -> TrackingError:
    reasons = ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in tally.rejected.most_common())
    message = (
        f"None of {tally.n_seeds:,} seeds gave an accepted streamline ({reasons or 'no reason recorded'}). "
        "Check that mask and tissue map fit the scan (look at the pictures in figures/), "
        "or loosen --fod-cutoff, --fa-threshold, --min-length or --max-length."
    )
    return TrackingError(message)


def _facts(tally: _Tally, fa: ScalarMap | None, tissue: TissueMap | None) -> dict[str, Any]:
    mean_fa, where = _white_matter_fa(fa, tissue) if fa is not None else (float("nan"), "no FA map")
    return {
        "n_accepted": tally.n_streamlines,
        "n_seeds": tally.n_seeds,
        "rejected": dict(sorted(tally.rejected.items())),
        "stopped": dict(sorted(tally.stopped.items())),
        "n_points": tally.n_points,
        "mean_length_mm": tally.length_mm / tally.n_streamlines,
        "mean_fa_white_matter": mean_fa,
        "white_matter": where,
    }


def _white_matter_fa(fa: ScalarMap, tissue: TissueMap | None) -> tuple[float, str]:
    """Mean FA of the white matter, and what was taken for it."""
    if tissue is None:
        inside, where = fa.values > HIGH_FA, f"voxels with FA above {HIGH_FA}"
    else:
        voxels = np.rint(tissue.grid.to_voxel(fa.grid.to_world(np.argwhere(fa.mask)))).astype(np.intp)
        in_grid = ((voxels >= 0) & (voxels < tissue.grid.shape)).all(axis=1)
        white = np.zeros(len(voxels), dtype=np.float32)
        white[in_grid] = tissue.fractions[tuple(voxels[in_grid].T)][:, 2]
        inside, where = white > 0.5, "voxels more than half white matter in the tissue map"
    values = fa.values[inside]
    return (float(np.nanmean(values, dtype=np.float64)) if len(values) else float("nan")), where
