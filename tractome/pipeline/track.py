"""The stage track, from files to files: blocks of streamlines go to their sinks and are forgotten."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.fields import ScalarMap
from tractome.datatypes.grid import require_same_grid
from tractome.datatypes.prepared_maps import prepare_maps
from tractome.datatypes.tissue import TissueMap
from tractome.datatypes.tractogram import RejectReason, StopReason, StreamlineTable, Tractogram
from tractome.errors import ImageError, OptionError, TrackingError
from tractome.io.images import read_mask, read_orientation_field, read_scalar_map, read_tissue
from tractome.options import TrackOptions
from tractome.pipeline.fit import HIGH_FA
from tractome.pipeline.layout import TENSOR_MAPS, TRACTOGRAM_FORMATS, SubjectFolder
from tractome.pipeline.ledger import Facts, Ledger, Made, Step
from tractome.provenance import StageRecord, option_values

MAP_UNITS = {"fa": "unitless", "md": "mm2/s", "ad": "mm2/s", "rd": "mm2/s"}
N_DRAWN = 1000
"""Streamlines in the picture."""


def track_subject(
    ledger: Ledger,
    options: TrackOptions,
    *,
    tissue: Path | None = None,
    seed_mask: Path | None = None,
    whole: str | None = None,
) -> StageRecord:
    """Track through the orientations that `fit_subject` wrote, and write a row per streamline, unless that is done.

    Parameters
    ----------
    ledger : Ledger
    options : TrackOptions
    tissue : Path or None
        Five-tissue-type image, for anatomical constraints.
    seed_mask : Path or None
        Where streamlines may start, on the grid of the scan.
    whole : str or None
        Format in which whole streamlines are kept too.
    """
    subject = ledger.subject
    require_tracking_inputs(tissue, seed_mask, whole)
    model = str(ledger.finished("fit").facts["model"])
    inputs = {"orientations": subject.orientations(model), "mask": subject.mask}
    inputs |= {name: subject.tensor_map(name) for name in TENSOR_MAPS}
    for role, path in (("tissue", tissue), ("seed_mask", seed_mask)):
        if path is not None:
            inputs[role] = path
    step = Step(
        name="track",
        options=option_values(options) | {"whole": whole},
        inputs=inputs,
        may_write=(
            f"tractogram/{subject.name}_streamlines.*",
            f"tractogram/{subject.name}_desc-whole_streamlines.*",
            f"figures/{subject.name}_streamlines.png",
        ),
        work=lambda made: _track(ledger, model, options, tissue, seed_mask, whole, made),
    )
    return ledger.do(step)


def require_tracking_inputs(tissue: Path | None, seed_mask: Path | None, whole: str | None) -> None:
    """Raise unless the files are there and the format of whole streamlines is known."""
    if whole is not None and whole not in TRACTOGRAM_FORMATS:
        message = f"--tractogram {whole} is not known; choose one of: {', '.join(TRACTOGRAM_FORMATS)}."
        raise OptionError(message)
    for path, flag in ((tissue, "--tissue"), (seed_mask, "--seed-mask")):
        if path is not None and not path.is_file():
            message = f"There is no {path}. Check the path given with {flag}."
            raise ImageError(message)


def read_maps(subject: SubjectFolder) -> dict[str, ScalarMap]:
    """The tensor maps of a subject, by name."""
    mask, _ = read_mask(subject.mask)
    return {name: read_scalar_map(subject.tensor_map(name), name, MAP_UNITS[name], mask) for name in TENSOR_MAPS}


@dataclass
class _Tally:
    """What is counted and kept of the blocks as they go by."""

    tables: list[StreamlineTable] = field(default_factory=list)
    drawn: list[NDArray[np.float32]] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    stopped: Counter[str] = field(default_factory=Counter)
    n_seeds: int = 0
    n_points: int = 0

    def add(self, block: Tractogram, table: StreamlineTable) -> None:
        """Count a block, keep its table, and its first streamlines while the picture has room."""
        self.tables.append(table)
        for index in range(min(block.n_streamlines, N_DRAWN - len(self.drawn))):
            self.drawn.append(block.streamline(index))
        for reason, number in block.rejected.items():
            self.rejected[RejectReason(reason).name.lower()] += int(number)
        for value, number in zip(*np.unique(block.stop_reasons, return_counts=True), strict=True):
            self.stopped[StopReason(int(value)).name.lower()] += int(number)
        self.n_seeds += block.n_seeds
        self.n_points += len(block.points)


def _track(
    ledger: Ledger,
    model: str,
    options: TrackOptions,
    tissue_path: Path | None,
    seed_mask_path: Path | None,
    whole: str | None,
    made: Made,
) -> Facts:
    from tractome.io.figures import draw_streamlines
    from tractome.io.tractograms import TractogramWriter, write_streamline_table
    from tractome.stages.connect import concatenate, summarise
    from tractome.stages.track import track

    subject, listener = ledger.subject, ledger.listener
    orientations = read_orientation_field(subject.orientations(model), subject.mask)
    maps = read_maps(subject)
    prepared = prepare_maps(list(maps.values()))
    tissue = read_tissue(tissue_path) if tissue_path is not None else None
    seed_mask = None
    if seed_mask_path is not None:
        seed_mask, seed_grid = read_mask(seed_mask_path)
        require_same_grid(orientations.grid, seed_grid, "the scan", str(seed_mask_path))
    blocks = track(
        orientations,
        options,
        tissue=tissue,
        fa=maps["fa"],
        seed_mask=seed_mask,
        progress=listener.progress("streamlines", "streamlines"),
    )
    tally = _Tally()
    sink = TractogramWriter(made(subject.tractogram(whole)), orientations.grid) if whole is not None else nullcontext()
    with sink as writer:
        for block in blocks:
            tally.add(block, summarise(block, prepared))
            if writer is not None:
                writer.write(block)
        table = concatenate(tally.tables) if tally.tables else None
        if table is None or table.n_streamlines == 0:
            raise _nothing_accepted(tally)
    write_streamline_table(made(subject.streamline_table), table, orientations.grid)
    draw_streamlines(made(subject.figure("streamlines")), tally.drawn, maps["fa"].volume(), orientations.grid)
    return _facts(tally, table, maps["fa"], tissue)


def _nothing_accepted(tally: _Tally) -> TrackingError:
    reasons = ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in tally.rejected.most_common())
    message = (
        f"None of {tally.n_seeds:,} seeds gave an accepted streamline ({reasons or 'no reason recorded'}). "
        "Check that mask and tissue map fit the scan (look at the pictures in figures/), "
        "or loosen --fod-cutoff, --fa-threshold, --min-length or --max-length."
    )
    return TrackingError(message)


def _facts(tally: _Tally, table: StreamlineTable, fa: ScalarMap, tissue: TissueMap | None) -> dict[str, Any]:
    mean_fa, where = _white_matter_fa(fa, tissue)
    return {
        "n_accepted": table.n_streamlines,
        "n_seeds": tally.n_seeds,
        "rejected": dict(sorted(tally.rejected.items())),
        "stopped": dict(sorted(tally.stopped.items())),
        "n_points": tally.n_points,
        "mean_length_mm": float(table.length_mm.mean(dtype=np.float64)),
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
