"""Are the standard errors of edges right: how far each edge spreads over many runs against what one run predicts.

Runs differ in nothing but the random seed of tracking. The spread of R runs has itself a relative error of
1 / sqrt(2 (R - 1)), 10 percent for 50; errors that are exactly right therefore deviate by 6.8 percent in the median.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rows_connect import sampled_maps
from rows_track import Field
from settings import YARDSTICK, Settings
from subjects import subjects

MEASURES = ("count", "length", "fa", "density")
CASES = {
    "balanced": MEASURES,
    "white-matter": MEASURES,
    "interface": MEASURES,
    "grid": MEASURES,
    "dynamic": MEASURES,
    "weighed": ("weight", "fa"),
}
"""Measures judged by where seeds lie; `weighed` is balanced, each run weighed anew."""
MIN_COUNT = 10.0
"""Edges of a lower mean count are not judged: their spread is that of single streamlines."""

Matrix = NDArray[np.float64]


def _weighed(orientations: Any, tissue: Any, blocks: list[Any], tables: list[Any], settings: Settings) -> list[Any]:
    """The tables with weights."""
    from tractome.options import WeighOptions
    from tractome.pipeline.listener import LogListener
    from tractome.pipeline.weigh import weigh_blocks
    from tractome.stages.weigh import processing_mask

    shares = processing_mask(tissue, orientations.mask, orientations.grid)
    found = weigh_blocks(orientations, shares, iter(blocks), WeighOptions(), settings.room, LogListener())
    ends = np.cumsum([table.n_streamlines for table in tables])
    parts = np.split(found.weights, ends[:-1])
    return [replace(table, weights=part, mu=found.mu_per_mm) for table, part in zip(tables, parts, strict=True)]


def _runs(case: str, settings: Settings) -> Iterator[dict[str, Matrix]]:
    """The matrices of one run after the other, on the yardstick."""
    from tractome.datatypes.parcellation import Parcellation
    from tractome.datatypes.prepared_maps import prepare_maps
    from tractome.io.images import read_labels, read_orientation_field, read_tissue
    from tractome.options import ConnectOptions, TrackOptions
    from tractome.pipeline.maps import parse_map, read_map
    from tractome.stages.connect import ConnectomeBuilder, summarise
    from tractome.stages.fit.fixels import segment_fixels
    from tractome.stages.parcellate import regions_from_labels
    from tractome.stages.track import track

    source = "balanced" if case == "weighed" else case
    field, subject = Field(), subjects([YARDSTICK])[YARDSTICK]
    orientations, tissue = read_orientation_field(field.fod, field.mask), read_tissue(field.tissue)
    labels, grid = read_labels(subject / "labels.nii.gz")
    parcellation = Parcellation.from_labels(labels, grid, regions_from_labels(labels, grid))
    maps = prepare_maps([read_map(parse_map(f"fa={sampled_maps(subject, settings.room)['fa']}"))])
    fixels = segment_fixels(orientations, min_peak=0.1) if source == "dynamic" else None
    for random_seed in range(settings.error_runs):
        options = TrackOptions(
            seed_source=source, n_streamlines=settings.accuracy_select, random_seed=1000 + random_seed
        )
        builder = ConnectomeBuilder(parcellation, ConnectOptions())
        blocks = list(track(orientations, options, tissue=tissue, fixels=fixels))
        tables = [summarise(block, maps) for block in blocks]
        for table in _weighed(orientations, tissue, blocks, tables, settings) if case == "weighed" else tables:
            builder.add(table)
        yield builder.build().matrices


def judge(runs: list[dict[str, Matrix]], measure: str) -> dict[str, Any]:
    """Spread over the runs against the predicted standard error, edge by edge."""
    upper = np.triu_indices(len(runs[0]["count"]), 1)
    judged = np.mean([run["count"][upper] for run in runs], axis=0) >= MIN_COUNT
    values = np.stack([run[measure][upper][judged] for run in runs])
    predicted = np.sqrt(np.mean([run[f"{measure}se"][upper][judged] ** 2 for run in runs], axis=0))
    single = runs[0][f"{measure}se"][upper][judged]
    whole = np.isfinite(values).all(axis=0) & np.isfinite(predicted)
    spread = values[:, whole].std(axis=0, ddof=1)
    ratio = spread / predicted[whole]
    return {
        "measure": measure,
        "n_edges": int(whole.sum()),
        "median_deviation": float(np.median(np.abs(ratio - 1))),
        "median_deviation_single": float(np.nanmedian(np.abs(spread / single[whole] - 1))),
        "median_ratio": float(np.median(ratio)),
        "ratio_5": float(np.percentile(ratio, 5)),
        "ratio_95": float(np.percentile(ratio, 95)),
    }


def errors(settings: Settings) -> list[dict[str, Any]]:
    """Every way of seeding, and weights."""
    records = []
    for case, measures in CASES.items():
        runs = list(_runs(case, settings))
        how = "balanced seeds, each run weighed anew" if case == "weighed" else f"{case} seeds"
        records.append(
            {
                "title": f"{len(runs)} runs of {settings.accuracy_select:,} streamlines, {how}",
                "lines": [judge(runs, measure) for measure in measures],
            }
        )
    return records
