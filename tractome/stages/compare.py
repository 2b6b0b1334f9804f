"""compare: how well one connectome agrees with another, or with the truth."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome
from tractome.errors import OptionError, TableError
from tractome.options import CompareOptions

MIN_REGIONS = 3
"""With fewer regions in common there are not the three edges that a correlation needs."""


@dataclass(frozen=True)
class MeasureError:
    """How far one measure of the first connectome is from the second's, over the edges that both have.

    `mean_absolute` and `bias` (first minus second) are in the measure's unit; `mean_relative` is the mean of
    |first - second| / |second|, unitless. NaN where no edge is in both.
    """

    unit: str
    n_edges: int
    mean_absolute: float
    mean_relative: float
    bias: float
    pearson: float


@dataclass(frozen=True)
class Comparison:
    """What `compare` found, over the upper triangle without self-connections.

    `n_edges` are those of the first, `n_reference_edges` those of the second, `n_common_edges` in both.
    """

    measure: str
    n_regions: int
    left_out: tuple[str, ...]
    """Regions that only one of the two has, or that have no voxels in one of the brains."""
    n_edges: int
    n_reference_edges: int
    n_common_edges: int
    pearson: float
    spearman: float
    log_pearson: float
    """Pearson correlation of log(1 + value)."""
    average_precision: float
    """Of finding the second's edges when the first's are taken from strongest to weakest; equal values together."""
    errors: dict[str, MeasureError]
    n_listed_edges: int
    listed_recall: float
    """Share of the listed edges, such as known U-fibres, that the first has; NaN without a list."""

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and dicts, for JSON."""
        return asdict(self)


def compare(
    first: Connectome, second: Connectome, options: CompareOptions, edges: Sequence[tuple[str, str]] = ()
) -> Comparison:
    """Compare two connectomes, matched by region name.

    Parameters
    ----------
    first : Connectome
        What is judged.
    second : Connectome
        What it is judged by: another connectome, or the truth. Where one of them has numbers for names (a matrix
        without a header), the two must have the same number of regions, and rows are matched in order.
    options : CompareOptions
    edges : sequence of (region name, region name), optional
        Edges whose recall is wanted by itself.

    Raises
    ------
    OptionError
        The measure is not in both.
    TableError
        The regions do not fit together.
    """
    name = options.measure
    for connectome, which in ((first, "first"), (second, "second")):
        if name not in connectome.matrices:
            close = difflib.get_close_matches(name, list(connectome.matrices), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            message = f"The {which} connectome has no measure {name!r}; it has {', '.join(connectome.matrices)}.{hint}"
            raise OptionError(message)
    rows_first, rows_second, left_out = _matched_rows(first, second)
    upper = np.triu_indices(len(rows_first), 1)

    def pair(measure: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return (
            first.matrices[measure][np.ix_(rows_first, rows_first)][upper],
            second.matrices[measure][np.ix_(rows_second, rows_second)][upper],
        )

    a, b = (np.nan_to_num(values, nan=0.0) for values in pair(name))
    return Comparison(
        measure=name,
        n_regions=len(rows_first),
        left_out=left_out,
        n_edges=int(np.count_nonzero(a > 0)),
        n_reference_edges=int(np.count_nonzero(b > 0)),
        n_common_edges=int(np.count_nonzero((a > 0) & (b > 0))),
        pearson=pearson(a, b),
        spearman=pearson(_ranks(a), _ranks(b)),
        log_pearson=pearson(np.log1p(np.maximum(a, 0)), np.log1p(np.maximum(b, 0))),
        average_precision=average_precision(a, b > 0),
        errors={
            other: _error(*pair(other), first, other) for other in first.plain_measures if other in second.matrices
        },
        n_listed_edges=len(edges),
        listed_recall=edge_recall(first, edges, name),
    )


def average_precision(scores: NDArray[np.float64], is_edge: NDArray[np.bool_]) -> float:
    """Mean precision over the true edges as the threshold on `scores` falls.

    Edges of equal score are taken together, at the precision that holds after all of them, so the order of the rows
    does not matter: the sum over distinct scores of (recall gained) x (precision there).

    Parameters
    ----------
    scores : (n,) float64
    is_edge : (n,) bool
        The truth.

    Returns
    -------
    float
        1 when every true edge comes before every false one; NaN when there is no true edge.
    """
    n_true = int(np.count_nonzero(is_edge))
    if n_true == 0:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(is_edge[order])
    last = np.append(np.diff(scores[order]) != 0, True)
    hits, taken = hits[last], np.flatnonzero(last) + 1
    return float((np.diff(hits, prepend=0) / n_true * (hits / taken)).sum())


def edge_recall(connectome: Connectome, edges: Sequence[tuple[str, str]], measure: str = "count") -> float:
    """Share of the given edges that a connectome has, unitless.

    Parameters
    ----------
    connectome : Connectome
    edges : sequence of (region name, region name)
        Such as the known U-fibres of a phantom. NaN when there are none.
    measure : str
        An edge is there where this measure is above 0.
    """
    row = {name: index for index, name in enumerate(connectome.regions.names)}
    unknown = sorted({name for pair in edges for name in pair if name not in row})
    if unknown:
        message = f"These regions are not in the connectome: {', '.join(unknown[:5])}. Give the edges of its own atlas."
        raise TableError(message)
    if not edges:
        return float("nan")
    found = [connectome.matrices[measure][row[one], row[other]] > 0 for one, other in edges]
    return float(np.mean(found))


def pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Pearson correlation, NaN where one of the two does not vary."""
    if len(a) < 2:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a**2).sum()) * np.sqrt((b**2).sum()))
    return float((a * b).sum() / norm) if norm > 0 else float("nan")


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, equal values sharing their mean rank."""
    _, inverse, number = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(number)
    ranks: NDArray[np.float64] = (last - (number - 1) / 2.0)[inverse]
    return ranks


def _error(a: NDArray[np.float64], b: NDArray[np.float64], first: Connectome, name: str) -> MeasureError:
    measure = first.measures[name]
    in_both = np.isfinite(a) & np.isfinite(b)
    if not measure.is_mean:
        in_both &= (a != 0) & (b != 0)
    a, b = a[in_both], b[in_both]
    if len(a) == 0:
        return MeasureError(measure.unit, 0, *(float("nan"),) * 4)
    scaled = b != 0
    relative = float((np.abs(a - b)[scaled] / np.abs(b[scaled])).mean()) if scaled.any() else float("nan")
    return MeasureError(
        measure.unit, len(a), float(np.abs(a - b).mean()), relative, float((a - b).mean()), pearson(a, b)
    )


def _matched_rows(first: Connectome, second: Connectome) -> tuple[NDArray[np.intp], NDArray[np.intp], tuple[str, ...]]:
    """Rows of each for the regions that both have, in the first's order, and the names of all others."""
    a, b = first.regions, second.regions
    if a.is_numbered or b.is_numbered:
        if a.n_regions != b.n_regions:
            message = (
                f"One matrix has no region names, so both must have the same rows, but they have {a.n_regions} and "
                f"{b.n_regions}. Give a matrix with names, or one of the same atlas."
            )
            raise TableError(message)
        return np.arange(a.n_regions), np.arange(b.n_regions), ()
    row_of = {name: row for row, name in enumerate(b.names)}
    left_out = tuple(sorted(set(a.names) ^ set(b.names)))
    # A region without a voxel in one brain can have no streamlines there: that says nothing of the tracking.
    missing = {
        name
        for each in (first, second)
        for name, volume in zip(each.regions.names, each.volumes_mm3, strict=True)
        if volume == 0
    }
    common = [name for name in a.names if name in row_of and name not in missing]
    if left_out and (a.from_image or b.from_image):
        message = (
            f"These regions are in only one of the two: {', '.join(left_out[:5])}. Regions found in an image without "
            "a table are compared only with the same ones; give the region table of the atlas to both."
        )
        raise TableError(message)
    if len(common) < MIN_REGIONS:
        message = (
            f"The two connectomes have {len(common)} regions in common ({a.atlas} and {b.atlas}); at least "
            f"{MIN_REGIONS} are needed. Compare connectomes of one atlas, or of atlases that share region names."
        )
        raise TableError(message)
    rows_first = np.array([a.names.index(name) for name in common], dtype=np.intp)
    rows_second = np.array([row_of[name] for name in common], dtype=np.intp)
    return rows_first, rows_second, tuple(sorted({*left_out, *missing}))
