"""import: matrices that other programs made become a connectome; what does not fit is settled by option, and said."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome, Measure
from tractome.datatypes.given_matrix import GivenMatrix
from tractome.datatypes.measures import MEASURES, measure_named
from tractome.datatypes.parcellation import RegionTable
from tractome.errors import OptionError, TableError
from tractome.options import ImportOptions

_LOG = logging.getLogger(__name__)

RegionValues = tuple[tuple[str, ...], Mapping[str, NDArray[np.float64]]]

_OWN_COLUMNS = {"volume_mm3": "volumes_mm3", "volume": "volumes_mm3"}


def import_matrices(
    given: Sequence[GivenMatrix],
    regions: RegionTable | None,
    options: ImportOptions,
    values: RegionValues | None = None,
    atlas: str = "",
) -> Connectome:
    """Make a connectome of matrices from elsewhere, of one subject.

    Nothing is guessed silently: what is asymmetric, negative, NaN or infinite, of another size than the region table,
    or could be read in two ways is refused, unless an option says what to do; and what was done is in `metadata`.

    Parameters
    ----------
    given : sequence of GivenMatrix
        One per measure; all of the same nodes.
    regions : RegionTable or None
        The rows wanted. Without it the rows are those of the file, with its names or numbers.
    options : ImportOptions
    values : (names or labels, dict of column to values), optional
        Of each region: volume_mm3, x_mm, y_mm and z_mm are taken for what they say, the others are node features.
    atlas : str
        What to call the regions when there is no region table.

    Returns
    -------
    Connectome
        ``n_streamlines`` is the sum of the counts, where there are counts; otherwise 0.

    Raises
    ------
    OptionError, TableError
    """
    table = regions if regions is not None else _own_regions(given, options, atlas)
    matrices: dict[str, NDArray[np.float64]] = {}
    measures: dict[str, Measure] = {}
    done: dict[str, str] = {}
    for each in given:
        measure = _measure(each, options)
        if measure.name in matrices:
            message = (
                f"given_measure: two matrices hold {measure.name} ({each.source} is the second). Import one, or give "
                "them in files whose names say what each holds (stat-fa, stat-count)."
            )
            raise OptionError(message)
        rows, numbers = _rows(each, table, options)
        matrix, steps = _settled(each, rows, table.n_regions, measure, options)
        matrices[measure.name], measures[measure.name] = matrix, measure
        done |= {f"{measure.name}_{key}": value for key, value in {"nodes": numbers, **steps}.items()}
    count = matrices.get("count")
    blank = np.full(table.n_regions, np.nan)
    made = Connectome(
        regions=table,
        centroids_mm=np.full((table.n_regions, 3), np.nan),
        volumes_mm3=blank,
        matrices=matrices,
        measures=measures,
        n_streamlines=int(np.triu(count).sum()) if count is not None else 0,
        n_unassigned=0,
        metadata={"atlas": table.atlas, "imported_from": ", ".join(sorted({each.source for each in given})), **done},
    )
    return made if values is None else with_region_values(made, values)


def with_region_values(connectome: Connectome, values: RegionValues) -> Connectome:
    """The connectome with values of its regions, matched by name or, where those are numbers, by label.

    Raises
    ------
    TableError
        A region of the connectome is not in the table, or twice.
    """
    keys, columns = values
    regions = connectome.regions
    by_name = set(regions.names) <= set(keys)
    wanted = list(regions.names) if by_name else [str(label) for label in regions.labels.tolist()]
    place = {key: k for k, key in enumerate(keys)}
    absent = [name for name in wanted if name not in place]
    if absent or len(place) != len(keys):
        what = f"lacks {', '.join(absent[:5])}" if absent else "names a region twice"
        message = f"The table of regions' values {what}. It needs one line for each of the {len(wanted)} regions."
        raise TableError(message)
    rows = np.array([place[name] for name in wanted])
    features = {name: column[rows] for name, column in columns.items()}
    own = {_OWN_COLUMNS[name]: features.pop(name) for name in list(features) if name in _OWN_COLUMNS}
    if {"x_mm", "y_mm", "z_mm"} <= features.keys():
        own["centroids_mm"] = np.stack([features.pop(axis) for axis in ("x_mm", "y_mm", "z_mm")], axis=1)
    return dataclasses.replace(connectome, node_features={**connectome.node_features, **features}, **own)


def _own_regions(given: Sequence[GivenMatrix], options: ImportOptions, atlas: str) -> RegionTable:
    """The rows of the file itself."""
    first = given[0]
    if first.nodes is None:
        return RegionTable.numbered(len(first.values))
    if first.is_listed is None or not _all_numbers(first.nodes) or options.node_numbers == "names":
        table = RegionTable.from_names(first.nodes, atlas or "imported")
        # Which nodes a list of edges has depends on the subject.
        return dataclasses.replace(table, from_image=first.is_listed is not None)
    numbers = [int(node) for each in given for node in each.nodes or ()]
    low = 0 if min(numbers) == 0 else 1
    if options.node_numbers == "rows-from-1" and low == 0:
        message = f"node_numbers: {first.source} has a node 0, so its rows are not counted from 1."
        raise OptionError(message)
    low = 0 if options.node_numbers == "rows-from-0" else low
    _LOG.warning(
        "%s has nodes %d to %d and there is no region table: regions are called by these numbers, and the highest one "
        "is taken as the last. A region table says how many there are.", first.source, low, max(numbers),
    )  # fmt: skip
    table = RegionTable.from_names([str(number) for number in range(low, max(numbers) + 1)], atlas or "imported")
    return dataclasses.replace(table, from_image=True)


def _measure(given: GivenMatrix, options: ImportOptions) -> Measure:
    name = options.given_measure or given.measure
    if not name:
        message = (
            f"given_measure: nothing says what {given.source} holds. Name it, such as count, fa or length, or a word "
            "of your own."
        )
        raise OptionError(message)
    measure = measure_named(name, options.unit or given.unit or "not stated")
    if options.unit is not None:
        measure = dataclasses.replace(measure, unit=options.unit)
    if options.kind != "auto":
        return dataclasses.replace(measure, is_mean=options.kind == "mean")
    if given.is_mean is not None and name not in MEASURES:
        return dataclasses.replace(measure, is_mean=given.is_mean)
    return measure


def _all_numbers(nodes: Sequence[str]) -> bool:
    return all(node.isascii() and node.isdigit() for node in nodes)


def _rows(given: GivenMatrix, table: RegionTable, options: ImportOptions) -> tuple[NDArray[np.intp], str]:
    """Row of each of the file's nodes, and what the nodes were taken for."""
    n_regions = table.n_regions
    if given.nodes is None:
        if len(given.values) != n_regions:
            message = (
                f"{given.source} has {len(given.values)} rows without names; the region table {table.atlas} has "
                f"{n_regions}. Give the table that belongs to this matrix."
            )
            raise TableError(message)
        return np.arange(n_regions), "rows in order"
    how = _meaning_of_nodes(given, table, options.node_numbers)
    place: dict[str, int] = {
        "names": {name: row for row, name in enumerate(table.names)},
        "labels": {str(label): row for row, label in enumerate(table.labels.tolist())},
        "rows-from-0": {str(row): row for row in range(n_regions)},
        "rows-from-1": {str(row + 1): row for row in range(n_regions)},
    }[how]
    unknown = [node for node in given.nodes if node not in place]
    if unknown:
        message = (
            f"{given.source} has nodes that the region table {table.atlas} lacks (taken as {how}): "
            f"{', '.join(unknown[:5])}. Give the table of this atlas, or say what nodes are with --node-numbers."
        )
        raise TableError(message)
    if given.is_listed is None and len(given.nodes) != n_regions:
        message = (
            f"{given.source} has {len(given.nodes)} of the {n_regions} regions of {table.atlas}. A whole matrix must "
            "have them all; give the table that belongs to it."
        )
        raise TableError(message)
    rows = np.array([place[node] for node in given.nodes], dtype=np.intp)
    if how == "names" and given.is_listed is None and not np.array_equal(rows, np.arange(n_regions)):
        _LOG.warning(
            "%s lists the regions in another order than the region table; they were put in order.", given.source
        )
    return rows, how


def _meaning_of_nodes(given: GivenMatrix, table: RegionTable, wanted: str) -> str:
    """What the file's nodes are: what was said, or the only thing they can be."""
    nodes = given.nodes or ()
    if wanted != "auto":
        return wanted
    if set(nodes) <= set(table.names) or not _all_numbers(nodes):
        return "names"
    numbers, n_regions = [int(node) for node in nodes], table.n_regions
    low, high = min(numbers), max(numbers)
    rising = np.array_equal(table.labels, np.arange(1, n_regions + 1))
    possible = {
        "labels": not rising and set(numbers) <= set(table.labels.tolist()),
        "rows-from-0": high < n_regions,
        "rows-from-1": low >= 1 and high <= n_regions,
    }
    if low == 0:
        possible["rows-from-1"] = possible["labels"] = False
    found = [how for how, fits in possible.items() if fits]
    if len(found) != 1:
        message = (
            f"node_numbers: the nodes of {given.source} are numbers from {low} to {high}; with the {n_regions} regions "
            f"of {table.atlas} they can be {' or '.join(found) or 'nothing'}. Say what they are."
        )
        raise OptionError(message)
    _LOG.warning("%s: nodes are numbers from %d to %d, taken as %s.", given.source, low, high, found[0])
    return found[0]


def _settled(
    given: GivenMatrix, rows: NDArray[np.intp], n_regions: int, measure: Measure, options: ImportOptions
) -> tuple[NDArray[np.float64], dict[str, str]]:
    """The matrix as a connectome wants it, and what was done to it."""
    values = np.zeros((n_regions, n_regions))
    stated = np.zeros((n_regions, n_regions), dtype=np.bool_)
    values[np.ix_(rows, rows)] = given.values
    stated[np.ix_(rows, rows)] = True if given.is_listed is None else given.is_listed
    steps: dict[str, str] = {}
    if np.isinf(values).any():
        message = f"{given.source} holds infinite numbers. Write n/a where there is no value."
        raise TableError(message)
    absent = np.isnan(values)
    if absent.any() and not measure.is_mean:
        if options.missing == "refuse":
            message = (
                f"{given.source} has {int(absent.sum())} entries of {measure.name} without a number (NaN, n/a), which "
                "adds up. Say --missing zero if there is no edge, or --kind mean if these are means."
            )
            raise TableError(message)
        steps["missing"] = f"{int(absent.sum())} entries without a number taken as 0"
    values = np.where(absent, 0.0, values)
    values = _without_negative(values, given.source, options.negative, steps)
    if measure.is_mean:
        # A list of edges says by itself where there is a value; in a matrix, 0 is the mark of programs without NaN.
        absent |= ~stated if given.is_listed is not None else (values == 0) & (not absent.any())
    values, absent = _symmetric(values, absent, given, options.asymmetry, steps)
    if options.diagonal == "drop":
        np.fill_diagonal(values, 0.0)
        np.fill_diagonal(absent, True)
        steps["diagonal"] = "dropped"
    return (np.where(absent, np.nan, values) if measure.is_mean else values), steps


def _without_negative(values: NDArray[np.float64], source: str, how: str, steps: dict[str, str]) -> NDArray[np.float64]:
    n_negative = int((values < 0).sum())
    if n_negative == 0:
        return values
    if how == "refuse":
        message = (
            f"{source} has {n_negative} negative values, down to {values.min():g}. Say what to do with them: "
            "--negative keep, zero or absolute."
        )
        raise TableError(message)
    steps["negative"] = f"{n_negative} values: {how}"
    if how == "keep":
        return values
    return np.abs(values) if how == "absolute" else np.maximum(values, 0.0)


def _symmetric(
    values: NDArray[np.float64], absent: NDArray[np.bool_], given: GivenMatrix, how: str, steps: dict[str, str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Make values and marks of absence symmetric; a whole matrix of which one triangle is empty is mirrored."""
    if np.array_equal(absent, absent.T) and np.allclose(values, values.T, rtol=1e-6, atol=0):
        return 0.5 * (values + values.T), absent
    is_half = not np.tril(values, -1).any() or not np.triu(values, 1).any()
    if is_half and given.is_listed is None and how == "refuse":
        steps["asymmetry"] = "one triangle was empty and is the mirror of the other"
        return np.where(values == 0, values.T, values), absent & absent.T
    if how == "refuse":
        i, j = np.unravel_index(int(np.argmax(np.abs(values - values.T))), values.shape)
        message = (
            f"{given.source} is not symmetric (rows {i + 1} and {j + 1}: {values[i, j]:g} and {values[j, i]:g}); a "
            "connectome of tractography has no direction. Say what to take: --asymmetry mean, max, min, sum, upper or "
            "lower."
        )
        raise TableError(message)
    steps["asymmetry"] = f"{how} of the two directions"
    return _one_of_two(values, absent, how)


def _one_of_two(
    values: NDArray[np.float64], absent: NDArray[np.bool_], how: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Of the two directions of each pair the mean, max, min, sum, or one triangle; an absent one leaves the other."""
    if how in ("upper", "lower"):
        triangle = np.triu if how == "upper" else np.tril
        kept, empty = triangle(values), triangle(absent)
        return kept + kept.T - np.diag(np.diag(values)), empty | empty.T
    other = values.T
    both = {"mean": 0.5 * (values + other), "max": np.maximum(values, other), "min": np.minimum(values, other),
        "sum": np.where(np.eye(len(values), dtype=np.bool_), values, values + other)}[how]  # fmt: skip
    one_only = absent ^ absent.T
    return np.where(one_only, np.where(absent, other, values), both), absent & absent.T
