"""An analysis as files: tables by region, matrices with names, and one JSON that explains all of it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.analysis import Analysis
from tractome.io.atomic import replacing, write_json


def write_analysis(stem: Path, analysis: Analysis, sources: dict[str, str]) -> tuple[Path, ...]:
    """Write an analysis beside each other.

    Parameters
    ----------
    stem : Path
        Folder and beginning of the files' names.
    analysis : Analysis
    sources : dict of str to str
        What it was made from, for the JSON.

    Returns
    -------
    tuple of Path
        ``_analysis.json`` (numbers, communities, definitions, settings), ``_regions.tsv`` (one row per region),
        ``_curve-NAME.tsv`` and ``_NAME.tsv`` for curves and matrices; absent values are n/a.
    """
    made = [stem.with_name(f"{stem.name}_analysis.json"), stem.with_name(f"{stem.name}_regions.tsv")]
    write_json(
        made[0],
        {
            "numbers": analysis.numbers,
            "communities": analysis.communities,
            "definitions": analysis.definitions,
            "settings": analysis.settings,
            "atlas": analysis.regions.atlas,
            **sources,
        },
    )
    columns = list(analysis.per_region)
    rows = zip(analysis.regions.names, *(analysis.per_region[name] for name in columns), strict=True)
    _write_table(made[1], ("name", *columns), [(name, *map(_cell, values)) for name, *values in rows])
    for name, curve in analysis.curves.items():
        made.append(stem.with_name(f"{stem.name}_curve-{name}.tsv"))
        lines = np.column_stack([curve.x, *curve.columns.values()])
        _write_table(made[-1], (curve.x_name, *curve.columns), [tuple(map(_cell, line)) for line in lines])
    for name, matrix in analysis.matrices.items():
        made.append(stem.with_name(f"{stem.name}_{name}.tsv"))
        _write_matrix(made[-1], analysis.regions.names, matrix)
    return tuple(made)


def _write_matrix(path: Path, names: tuple[str, ...], matrix: NDArray[np.float64]) -> None:
    rows = [(name, *map(_cell, values)) for name, values in zip(names, matrix, strict=True)]
    _write_table(path, ("", *names), rows)


def _write_table(path: Path, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([head, *rows])


def _cell(value: float) -> str:
    return f"{value:.10g}" if np.isfinite(value) else "n/a"
