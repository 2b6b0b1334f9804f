"""How well a connectivity matrix finds a known wiring: one function, and a command to print it.

    python benchmarks/truth.py MATRIX TRUTH [--u-fibres u_fibre_edges.tsv] [--labels labels.nii.gz]

MATRIX and TRUTH are headerless .csv files or .tsv files with region names in the first row and column.

Figures, all on the upper triangle without the diagonal:

ap
    Average precision of finding the true edges when edges are ranked by their value (edges of equal value enter the
    ranking together, so an all-zero matrix scores the share of true edges, not more).
r, r_log
    Pearson correlation with the true counts, and of log(1 + value) with log(1 + true count).
u_recall, u_recall_5
    Share of the true U-fibre edges with at least `min_count` (1) streamlines, and with at least 5 times that. Compare
    at equal numbers of streamlines only; a single streamline is as easily a stray one.
u_recall_top_k
    Share of the true U-fibre edges among the K highest edges, K being the number of true edges. A program that
    scatters streamlines everywhere gets a good u_recall, but not a good u_recall_top_k.
n_false
    Edges with at least `min_count` streamlines that are not true.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Edge = tuple[int, int]


def average_precision(values: NDArray[np.float64], is_true: NDArray[np.bool_]) -> float:
    """Area under the precision-recall steps; values that are equal are one step."""
    order = np.argsort(-values, kind="stable")
    ranked, hits = values[order], np.cumsum(is_true[order])
    last_of_step = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    found = hits[last_of_step]
    precision = found / (last_of_step + 1)
    gained = np.diff(found, prepend=0)
    return float((precision * gained).sum() / is_true.sum())


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")


def score(
    matrix: NDArray[np.float64],
    truth: NDArray[np.float64],
    u_fibre_edges: Iterable[Edge] | None = None,
    *,
    min_count: float = 1.0,
) -> dict[str, float]:
    """Compare `matrix` (N, N) with the true counts `truth` (N, N); see the module's text for each figure."""
    if matrix.shape != truth.shape:
        message = f"The matrix is {matrix.shape} and the truth {truth.shape}; they need the same rows."
        raise ValueError(message)
    upper = np.triu_indices(len(truth), 1)
    values, counts = np.nan_to_num(matrix[upper]), truth[upper]
    is_true = counts > 0
    scores = {
        "ap": average_precision(values, is_true),
        "r": _pearson(values, counts),
        "r_log": _pearson(np.log1p(values), np.log1p(counts)),
        "n_true": float(is_true.sum()),
        "n_found": float((values[is_true] >= min_count).sum()),
        "n_false": float((values[~is_true] >= min_count).sum()),
        "total": float(values.sum()),
    }
    edges = [edge for edge in u_fibre_edges or () if truth[edge] > 0]
    if edges:
        rows, columns = np.array(edges).T
        found = matrix[rows, columns]
        threshold = np.sort(values)[-int(is_true.sum())]
        in_top = (found >= threshold) & (found > 0)
        scores["n_u"] = float(len(edges))
        scores["u_recall"] = float((found >= min_count).mean())
        scores["u_recall_5"] = float((found >= 5 * min_count).mean())
        scores["u_recall_top_k"] = float(in_top.mean())
    return scores


def read_matrix(path: Path) -> NDArray[np.float64]:
    """Read a headerless .csv, or a .tsv with names in its first row and column."""
    lines = path.read_text().splitlines()
    if path.suffix == ".tsv":
        cells = [line.split("\t")[1:] for line in lines[1:] if line.strip()]
        return np.array([[float(cell) if cell not in ("", "n/a") else np.nan for cell in row] for row in cells])
    separator = "," if "," in lines[0] else None
    return np.array([[float(cell) for cell in line.split(separator)] for line in lines if line.strip()])


def read_edges(path: Path, names: list[str]) -> list[Edge]:
    """Read U-fibre edges: two region names or two row numbers from 0 per line, tab between; a header is skipped."""
    row_of = {name: row for row, name in enumerate(names)}
    edges = []
    for line in path.read_text().splitlines():
        cells = line.split("\t")[:2]
        rows = [row_of.get(cell, int(cell) if cell.isdigit() else -1) for cell in cells]
        if len(rows) == 2 and min(rows) >= 0:
            edges.append((min(rows), max(rows)))
    return edges


def touching_edges(labels_path: Path, truth: NDArray[np.float64], within_vox: int = 2) -> list[Edge]:
    """True edges between regions that lie within a few voxels of each other: stands in for a list of U-fibres.

    Rows of `truth` are taken to be the labels in rising order. Long bundles between neighbours count too, so this is
    an approximation for subjects that come without a list.
    """
    import nibabel
    from scipy import ndimage

    labels = np.asarray(nibabel.load(labels_path).dataobj).astype(int)
    values = np.unique(labels[labels > 0])
    grown = [np.unique(labels[ndimage.binary_dilation(labels == value, iterations=within_vox)]) for value in values]
    row_of = {int(value): row for row, value in enumerate(values)}
    pairs = {
        (row, row_of[int(other)])
        for row, others in enumerate(grown)
        for other in others
        if other > 0 and row_of[int(other)] > row
    }
    return sorted(pair for pair in pairs if truth[pair] > 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("matrix", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--u-fibres", type=Path)
    parser.add_argument("--labels", type=Path, help="without a list: true edges between touching regions")
    arguments = parser.parse_args()
    truth = read_matrix(arguments.truth)
    edges = None
    if arguments.u_fibres:
        is_named = arguments.truth.suffix == ".tsv"
        names = arguments.truth.read_text().splitlines()[0].split("\t")[1:] if is_named else []
        edges = read_edges(arguments.u_fibres, names)
    elif arguments.labels:
        edges = touching_edges(arguments.labels, truth)
    print(json.dumps(score(read_matrix(arguments.matrix), truth, edges), indent=1))


if __name__ == "__main__":
    main()
