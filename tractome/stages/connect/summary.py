"""connect: from streamlines and regions to matrices.

Two steps, so that any atlas can be applied later without tracking again: `summarise` turns each block of streamlines
into a row per streamline (ends, length, means of the maps), and `connect` turns such rows into matrices. Neither keeps
what it has seen, so memory does not grow with the number of streamlines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome, Measure
from tractome.datatypes.fields import ScalarMap
from tractome.datatypes.measures import MAP_UNITS, MEASURES, mean_of_map
from tractome.datatypes.parcellation import Parcellation
from tractome.datatypes.prepared_maps import PreparedMaps, prepare_maps
from tractome.datatypes.tractogram import StreamlineTable, Tractogram
from tractome.errors import OptionError, TableError
from tractome.options import ConnectOptions

_CHUNK = 200_000
"""Streamlines, or points, per kernel call: a call then lasts well under half a second."""


# --- from streamlines to a row per streamline -------------------------------------------------------------------------


def summarise(block: Tractogram, maps: Sequence[ScalarMap] | PreparedMaps) -> StreamlineTable:
    """Keep of each streamline its ends, its length and the mean of each map along it.

    Parameters
    ----------
    block : Tractogram
    maps : sequence of ScalarMap, or PreparedMaps
        With many blocks, prepare the maps once.

    Returns
    -------
    StreamlineTable
        A streamline of one point has length 0 and the value of the map at that point.
    """
    from tractome.kernels.sampling import streamline_lengths, streamline_means

    prepared = maps if isinstance(maps, PreparedMaps) else prepare_maps(maps)
    lengths, shares = streamline_lengths(block.points, block.offsets)
    means: dict[str, NDArray[np.float32]] = {}
    for grid, names, volumes in prepared.stacks:
        found = streamline_means(volumes, grid.to_voxel(block.points), block.offsets, shares)
        means.update(zip(names, found, strict=True))
    ends = np.stack([block.points[block.offsets[:-1]], block.points[block.offsets[1:] - 1]], axis=1)
    return StreamlineTable(
        ends,
        lengths.astype(np.float32),
        {name: means[name] for name in prepared.names},
        block.seed_index,
        prepared.units,
    )


def concatenate(tables: Sequence[StreamlineTable]) -> StreamlineTable:
    """Join tables of the same maps, in the order given.

    Raises
    ------
    TableError
        No table, or tables of different maps, or only some with weights.
    """
    if not tables:
        message = "There is no streamline table to join."
        raise TableError(message)
    first = tables[0]
    for table in tables[1:]:
        if set(table.means) != set(first.means) or (table.weights is None) != (first.weights is None):
            message = (
                f"These streamline tables do not hold the same columns: {sorted(first.means)} and {sorted(table.means)}"
                ", or only some have weights. Join tables that were made with the same maps."
            )
            raise TableError(message)
    weights = [table.weights for table in tables if table.weights is not None]
    return StreamlineTable(
        np.concatenate([table.ends_mm for table in tables]),
        np.concatenate([table.length_mm for table in tables]),
        {name: np.concatenate([table.means[name] for table in tables]) for name in first.means},
        np.concatenate([table.seed_index for table in tables]),
        dict(first.units),
        np.concatenate(weights) if weights else None,
    )


def regional_means(parcellation: Parcellation, maps: Sequence[ScalarMap]) -> dict[str, NDArray[np.float64]]:
    """Mean of each map in each region.

    Each voxel of the label image counts once, with the map sampled trilinearly at its centre, so that maps and labels
    may lie on different grids.

    Returns
    -------
    dict of str to (n_regions,) float64
        By map name; NaN where a region is missing or the map is nowhere defined in it.
    """
    from tractome.kernels.sampling import sample_points

    voxels = np.argwhere(parcellation.rows >= 0)
    rows = parcellation.rows[parcellation.rows >= 0]
    n_regions = parcellation.regions.n_regions
    means: dict[str, NDArray[np.float64]] = {}
    for grid, names, volumes in prepare_maps(maps).stacks:
        values = np.empty((len(voxels), len(names)))
        for start in range(0, len(voxels), _CHUNK):
            centres_mm = parcellation.grid.to_world(voxels[start : start + _CHUNK])
            values[start : start + _CHUNK] = sample_points(volumes, grid.to_voxel(centres_mm))
        for index, name in enumerate(names):
            defined = np.isfinite(values[:, index])
            number = np.bincount(rows[defined], minlength=n_regions)
            total = np.bincount(rows[defined], values[defined, index], n_regions)
            means[name] = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return {map_.name: means[map_.name] for map_ in maps}


# --- how an end is given to a region ----------------------------------------------------------------------------------

Assigner = Callable[[NDArray[np.float64]], NDArray[np.int32]]
"""From points, (n, 3) float64 in voxel coordinates of the label grid, to rows, (n,) int32, -1 for none."""


def _radial(parcellation: Parcellation, options: ConnectOptions) -> Assigner:
    """Nearest labelled voxel centre within `radius_mm`, as MRtrix3's ``-assignment_radial_search``."""
    from tractome.kernels.assignment import assign_radial, search_offsets

    linear = np.ascontiguousarray(parcellation.grid.affine[:3, :3])
    offsets, lengths_mm = search_offsets(linear, options.radius_mm)
    metric = np.ascontiguousarray(linear.T @ linear)
    return lambda points_vox: assign_radial(
        parcellation.rows, points_vox, metric, offsets, lengths_mm, float(options.radius_mm)
    )


def _end_voxel(parcellation: Parcellation, options: ConnectOptions) -> Assigner:
    """Region of the voxel that holds the end, as MRtrix3's ``-assignment_end_voxels``."""
    from tractome.kernels.assignment import assign_end_voxel

    return lambda points_vox: assign_end_voxel(parcellation.rows, points_vox)


ASSIGNMENT_METHODS: dict[str, Callable[[Parcellation, ConnectOptions], Assigner]] = {
    "radial": _radial,
    "end-voxel": _end_voxel,
}
"""One row per way of giving an end to a region."""


def assign(table: StreamlineTable, parcellation: Parcellation, options: ConnectOptions) -> NDArray[np.int32]:
    """Region of each end.

    Returns
    -------
    (n_streamlines, 2) int32
        Row of the region at the first and the last point; -1 where there is none.
    """
    return _assign(table, parcellation, ASSIGNMENT_METHODS[options.assignment](parcellation, options))


def _assign(table: StreamlineTable, parcellation: Parcellation, assigner: Assigner) -> NDArray[np.int32]:
    rows = np.empty((table.n_streamlines, 2), np.int32)
    for start in range(0, table.n_streamlines, _CHUNK):
        with np.errstate(invalid="ignore"):  # an end at infinity stays without a region
            ends = parcellation.grid.to_voxel(table.ends_mm[start : start + _CHUNK].reshape(-1, 3))
        rows[start : start + _CHUNK] = assigner(ends).reshape(-1, 2)
    return rows


# --- what is said about an edge ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class EdgeSums:
    """What was added up over the streamlines of each edge; matrices are (n_regions, n_regions), symmetric."""

    counts: NDArray[np.float64]
    means: dict[str, NDArray[np.float64]]
    """Mean over streamlines of ``"length"`` (mm) and of each map; NaN where absent."""
    volumes_mm3: NDArray[np.float64]


def _count(sums: EdgeSums) -> NDArray[np.float64]:
    return sums.counts


def _inverse_node_volume(sums: EdgeSums) -> NDArray[np.float64]:
    both_mm3 = sums.volumes_mm3[:, None] + sums.volumes_mm3[None, :]
    # Without voxels no streamline ends in a region, so where both volumes are 0 the count is 0 too.
    return 2.0 * sums.counts / np.where(both_mm3 > 0, both_mm3, 1.0)


def _density(sums: EdgeSums) -> NDArray[np.float64]:
    length_mm = sums.means["length"]
    result = np.zeros_like(sums.counts)
    np.divide(_inverse_node_volume(sums), length_mm, out=result, where=length_mm > 0)
    # Only streamlines of a single point: there is a connection, but nothing to divide by.
    result[length_mm == 0] = np.nan
    return result


def _mean_of(name: str) -> Callable[[EdgeSums], NDArray[np.float64]]:
    return lambda sums: sums.means[name]


@dataclass(frozen=True)
class EdgeMeasure:
    """One row of `EDGE_MEASURES`: what the number means, and how it follows from the sums."""

    measure: Measure
    compute: Callable[[EdgeSums], NDArray[np.float64]]
    needs_map: str | None = None
    """Map that must have been sampled along the streamlines."""


EDGE_MEASURES: dict[str, EdgeMeasure] = {
    "count": EdgeMeasure(MEASURES["count"], _count),
    **{name: EdgeMeasure(MEASURES[name], _mean_of(name), name) for name in MAP_UNITS},
    "length": EdgeMeasure(MEASURES["length"], _mean_of("length")),
    "invnodevol": EdgeMeasure(MEASURES["invnodevol"], _inverse_node_volume),
    "density": EdgeMeasure(MEASURES["density"], _density),
}
"""One row per measure. A map of any other name gets a row of its own when the matrices are made."""


def available_measures(units: dict[str, str]) -> dict[str, EdgeMeasure]:
    """Rows of `EDGE_MEASURES` that streamlines with these maps (name to unit) allow, and one for each other map."""
    rows = {name: row for name, row in EDGE_MEASURES.items() if row.needs_map is None or row.needs_map in units}
    for name, unit in units.items():
        if name in rows and rows[name].needs_map is None:
            message = f"A map cannot be called {name!r}: that is the name of another measure. Give it another name."
            raise OptionError(message)
        rows.setdefault(name, EdgeMeasure(mean_of_map(name, unit), _mean_of(name), name))
    return rows


# --- the matrices -----------------------------------------------------------------------------------------------------


class ConnectomeBuilder:
    """Takes streamline tables one after the other; gives the matrices of all of them.

    How the streamlines were cut into tables never changes a byte of the result.

    Parameters
    ----------
    parcellation : Parcellation
    options : ConnectOptions
    """

    def __init__(self, parcellation: Parcellation, options: ConnectOptions) -> None:
        self._parcellation = parcellation
        self._options = options
        self._assigner = ASSIGNMENT_METHODS[options.assignment](parcellation, options)
        n_regions = parcellation.regions.n_regions
        self._counts = np.zeros((n_regions, n_regions), np.int64)
        self._units: dict[str, str] | None = None
        self._sums = np.zeros((0, n_regions, n_regions))
        self._numbers = np.zeros((0, n_regions, n_regions), np.int64)
        self._n_streamlines = 0
        self._n_unassigned = 0

    def add(self, table: StreamlineTable) -> None:
        """Add the streamlines of one table."""
        from tractome.kernels.assignment import add_to_edges

        if self._units is None:
            self._units = {name: table.units.get(name, "not stated") for name in table.means}
            n_regions = self._parcellation.regions.n_regions
            self._sums = np.zeros((1 + len(self._units), n_regions, n_regions))
            self._numbers = np.zeros(self._sums.shape, np.int64)
        elif set(table.means) != set(self._units):
            message = (
                f"The streamline tables do not hold the same maps: {sorted(self._units)} and {sorted(table.means)}. "
                "Give tables that were made with the same maps."
            )
            raise TableError(message)
        ends = _assign(table, self._parcellation, self._assigner)
        values = [table.length_mm, *(table.means[name] for name in self._units)]
        for start in range(0, table.n_streamlines, _CHUNK):
            part = slice(start, start + _CHUNK)
            block = np.stack([column[part] for column in values])
            self._n_unassigned += add_to_edges(ends[part], block, self._counts, self._sums, self._numbers)
        self._n_streamlines += table.n_streamlines

    def build(self, node_features: dict[str, NDArray[np.float64]] | None = None) -> Connectome:
        """Matrices of all streamlines added so far.

        Parameters
        ----------
        node_features : dict of str to (n_regions,) float64, optional
            Such as `regional_means`.
        """
        parcellation, options = self._parcellation, self._options
        units = self._units or {}
        with np.errstate(invalid="ignore"):
            means = [_mirrored(total / number) for total, number in zip(self._sums, self._numbers, strict=True)]
        if not means:
            means = [np.full(self._counts.shape, np.nan)]
        sums = EdgeSums(
            _mirrored(self._counts.astype(np.float64)),
            dict(zip(["length", *units], means, strict=True)),
            parcellation.volumes_mm3,
        )
        rows = available_measures(units)
        metadata = {
            "atlas": parcellation.regions.atlas,
            "assignment": options.assignment,
            "missing_regions": "; ".join(parcellation.missing),
        }
        if options.assignment == "radial":
            metadata["radius_mm"] = f"{options.radius_mm:g}"
        return Connectome(
            regions=parcellation.regions,
            centroids_mm=parcellation.centroids_mm,
            volumes_mm3=parcellation.volumes_mm3,
            matrices={name: row.compute(sums) for name, row in rows.items()},
            measures={name: row.measure for name, row in rows.items()},
            n_streamlines=self._n_streamlines,
            n_unassigned=self._n_unassigned,
            node_features=dict(node_features or {}),
            metadata=metadata,
        )


def connect(
    table: StreamlineTable | Iterable[StreamlineTable],
    parcellation: Parcellation,
    options: ConnectOptions,
    node_features: dict[str, NDArray[np.float64]] | None = None,
) -> Connectome:
    """Matrices between the regions of a parcellation.

    Parameters
    ----------
    table : StreamlineTable, or an iterable of them
        In streamline order. With an iterable only one table is in memory at a time.
    parcellation : Parcellation
    options : ConnectOptions
    node_features : dict of str to (n_regions,) float64, optional
        Such as `regional_means`.

    Returns
    -------
    Connectome
        Every measure of `EDGE_MEASURES` that the sampled maps allow. Each streamline with a region at both ends counts
        once, on the diagonal when both are the same; a region that the subject lacks keeps its row.
    """
    builder = ConnectomeBuilder(parcellation, options)
    for part in [table] if isinstance(table, StreamlineTable) else table:
        builder.add(part)
    return builder.build(node_features)


def _mirrored(upper: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric matrix whose upper triangle this is."""
    rows, columns = np.tril_indices(len(upper), -1)
    full = upper.copy()
    full[rows, columns] = upper[columns, rows]
    return full
