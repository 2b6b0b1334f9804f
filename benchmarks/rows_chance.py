"""Do p-values of edges tell false edges from true ones, and are they even where there is no connection?

On phantoms of known wiring, at several numbers of streamlines: the first so many of one run. The null was chosen on the
wirings of the comparison of accuracy; those of `UNSEEN` were looked at when two forms of it were left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rows_accuracy import run_ours
from settings import Settings
from subjects import UNSEEN, subjects
from truth import average_precision, read_matrix

LEVELS = (0.05, 0.01, 0.001)
RATES = tuple(np.geomspace(1e-3, 1.0, 61).tolist())
"""Shares of false edges at which the picture has a point."""
RANKED = ("count", "invnodevol", "pvalue")
FALLING = "falling"
"""The null whose strays fall with distance."""
WHITE = "white-matter seeds"
WHITE_ON = "two-shells"
"""The phantom that is tracked with seeds in all white matter too, where long bundles are found more often."""

Values = NDArray[np.float64]


def chance(settings: Settings) -> list[dict[str, Any]]:
    """Every subject, its table of streamlines cut at each number."""
    records = []
    for name, subject, seeds in _cases(settings):
        words = ("--seed-source", "white-matter") if seeds else ()
        wanted = replace(settings, accuracy_select=max(settings.chance_sizes))
        matrix, _ = run_ours(name, subject, wanted, words=words)
        table = next((matrix.parents[1] / "tractogram").glob("*_streamlines.trx"))
        records.append(judge(f"{name}, {seeds}" if seeds else name, subject, table, settings.chance_sizes))
    return records


def _cases(settings: Settings) -> Iterator[tuple[str, Path, str]]:
    for name, subject in subjects([*settings.subjects, *(() if settings.quick else UNSEEN)]).items():
        yield name, subject, ""
        if name == WHITE_ON:
            yield name, subject, WHITE


def judge(title: str, subject: Path, table_path: Path, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Scores of the matrices of the first streamlines of a table."""
    from tractome.datatypes.parcellation import Parcellation
    from tractome.io.images import read_labels
    from tractome.io.tractograms import read_streamline_tables
    from tractome.options import ConnectOptions
    from tractome.stages.connect import ConnectomeBuilder, chance_pvalues
    from tractome.stages.parcellate import regions_from_labels

    labels, grid = read_labels(subject / "labels.nii.gz")
    parcellation = Parcellation.from_labels(labels, grid, regions_from_labels(labels, grid))
    named = subject / "truth_count.tsv"
    truth = read_matrix(named if named.exists() else subject / "truth.csv")
    lines = []
    for size in sizes:
        builder, n_left = ConnectomeBuilder(parcellation, ConnectOptions()), size
        for table in read_streamline_tables(table_path):
            builder.add(first_rows(table, n_left))
            n_left -= min(n_left, table.n_streamlines)
            if not n_left:
                break
        made = builder.build()
        matrices = dict(made.matrices)
        count, length_mm = matrices["count"], matrices["length"]
        present = made.volumes_mm3 > 0
        matrices[FALLING] = chance_pvalues(count, length_mm, made.centroids_mm, present, falloff=True)
        lines.append({"n_streamlines": size, **scores(matrices, truth), FALLING: falling(matrices, truth)})
    is_true = truth[np.triu_indices(len(truth), 1)] > 0
    return {"subject": title, "n_pairs": len(is_true), "n_true": int(is_true.sum()), "lines": lines}


def falling(matrices: dict[str, Values], truth: Values) -> dict[str, Any]:
    """The scores of p-values whose null falls with distance."""
    found = scores({**matrices, "pvalue": matrices[FALLING]}, truth)
    return {**found["pvalue"], "false": found["false"], "true": found["true"]}


def first_rows(table: Any, n: int) -> Any:
    """The first streamlines of a table."""
    return replace(
        table,
        ends_mm=table.ends_mm[:n],
        length_mm=table.length_mm[:n],
        means={name: values[:n] for name, values in table.means.items()},
        seed_index=table.seed_index[:n],
    )


def scores(matrices: dict[str, Values], truth: Values) -> dict[str, Any]:
    """Area under the ROC, average precision and the ROC of each ranking; what p-values promise and keep."""
    from scipy.stats import false_discovery_control

    upper = np.triu_indices(len(truth), 1)
    is_true = truth[upper] > 0
    p = np.nan_to_num(matrices["pvalue"][upper], nan=1.0)
    # An edge of p = 1 still has a streamline.
    ranks = {name: np.nan_to_num(matrices[name][upper]) for name in RANKED if name != "pvalue"}
    ranks["pvalue"] = np.where(matrices["count"][upper] > 0, 2.0 - p, 0.0)
    found: dict[str, Any] = {
        name: {
            "auc": roc_area(values, is_true),
            "ap": average_precision(values, is_true),
            "roc": roc(values, is_true, np.array(RATES)).tolist(),
        }
        for name, values in ranks.items()
    }
    found["false"] = {str(level): float((p[~is_true] <= level).mean()) for level in LEVELS}
    found["true"] = {str(level): float((p[is_true] <= level).mean()) for level in LEVELS}
    found["kept_promise"] = [float((p[~is_true] <= rate).mean()) for rate in RATES]
    kept = false_discovery_control(p) <= LEVELS[0]
    found["corrected"] = {"n": int(kept.sum()), "true": float(is_true[kept].mean()) if kept.any() else None}
    return found


def roc_area(values: Values, is_true: NDArray[np.bool_]) -> float:
    """Chance that a true edge ranks above a false one, ties counted half (Mann-Whitney)."""
    from scipy.stats import rankdata

    n_true, n_false = int(is_true.sum()), int((~is_true).sum())
    return float((rankdata(values)[is_true].sum() - n_true * (n_true + 1) / 2) / (n_true * n_false))


def roc(values: Values, is_true: NDArray[np.bool_], rates: Values) -> Values:
    """Share of true edges found where these shares of the false ones are; ties are crossed on a straight line."""
    cuts = np.unique(values)[::-1]
    false, true = np.sort(values[~is_true]), np.sort(values[is_true])
    of_false = np.append(0.0, 1 - np.searchsorted(false, cuts) / len(false))
    of_true = np.append(0.0, 1 - np.searchsorted(true, cuts) / len(true))
    # Of one share of false edges the best share of true ones.
    last = np.append(np.diff(of_false) > 0, True)
    found: Values = np.interp(rates, of_false[last], of_true[last])
    return found
