"""The matrices, from rows of streamlines that come one part after the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome
from tractome.datatypes.parcellation import Parcellation
from tractome.datatypes.tractogram import StreamlineTable
from tractome.errors import TableError
from tractome.options import ConnectOptions
from tractome.stages.connect.assignment import ASSIGNMENT_METHODS, CHUNK, assign_ends
from tractome.stages.connect.edges import EdgeSums, available_measures
from tractome.stages.connect.summary import kind_of_weights
from tractome.stages.connect.values import ALIKE, EdgeValues, mirrored

DISTANCE_BIN_MM = 0.5
"""Width of a bin of the histogram of distances between ends and their regions."""


class ConnectomeBuilder:
    """Takes streamline tables one after the other; gives the matrices of all of them.

    How the streamlines were cut into tables never changes a byte of the result. Nothing of a streamline is kept, but
    for medians: 8 bytes of its ends and 4 of each value.

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
        self._kind_of_weights: tuple[bool, float | None] = (False, None)
        self._values = EdgeValues(options, 0, n_regions)
        self._own = ConnectOptions(errors=options.errors)
        """For what is no more than a mean or a sum: weights, and pooled means."""
        self._weights = EdgeValues(self._own, 1, n_regions, unequal=True)
        self._pooled: dict[str, EdgeValues] = {}
        self._histogram = np.zeros(int(np.ceil(options.radius_mm / DISTANCE_BIN_MM)) + 2, np.int64)
        self._n_streamlines = 0
        self._n_unassigned = 0

    def add(self, table: StreamlineTable) -> None:
        """Add the streamlines of one table.

        Raises
        ------
        TableError
            It holds other columns than those before it, or lacks one that the options need.
        """
        from tractome.kernels.assignment import add_distances

        if self._units is None:
            self._begin(table)
        self._require_same_columns(table)
        ends, distances_mm = assign_ends(table, self._parcellation, self._assigner)
        add_distances(distances_mm.reshape(-1), DISTANCE_BIN_MM, self._histogram)
        for start in range(0, table.n_streamlines, CHUNK):
            self._add_part(table, ends, slice(start, start + CHUNK))
        self._n_streamlines += table.n_streamlines

    def _begin(self, table: StreamlineTable) -> None:
        """Take the columns of the first table for those of all."""
        self._units = {name: table.units.get(name, "not stated") for name in table.means}
        self._kind_of_weights = kind_of_weights(table)
        n_regions = self._parcellation.regions.n_regions
        is_weighted = self._options.weighted and table.weights is not None
        self._values = EdgeValues(self._options, 1 + len(self._units), n_regions, unequal=is_weighted)
        if self._options.pooled:
            self._pooled = {name: EdgeValues(self._own, 1, n_regions, unequal=True) for name in self._units}

    def _require_same_columns(self, table: StreamlineTable) -> None:
        if set(table.means) != set(self._units or {}) or kind_of_weights(table) != self._kind_of_weights:
            message = (
                f"The streamline tables do not hold the same maps: {sorted(self._units or {})} and "
                f"{sorted(table.means)}, or only some have weights. Give tables that were made with the same maps."
            )
            raise TableError(message)
        lacking = sorted(set(self._pooled) - set(table.crossed))
        if lacking:
            message = (
                f"Pooled means need the voxels that streamlines cross, and this table does not hold them for "
                f"{', '.join(lacking)}. Summarise whole streamlines with `crossed`, or leave pooled means out."
            )
            raise TableError(message)

    def _add_part(self, table: StreamlineTable, all_ends: NDArray[np.int32], part: slice) -> None:
        ends = all_ends[part]
        given = table.weights[part] if table.weights is not None else ALIKE
        weights = given if self._options.weighted else ALIKE
        columns = [table.length_mm, *(table.means[name] for name in self._units or {})]
        values = np.stack([column[part] for column in columns])
        self._n_unassigned += self._values.add(ends, values, weights, self._counts)
        if table.weights is not None:
            self._weights.add(ends, np.ones((1, len(ends)), np.float32), given)
        for name, held in self._pooled.items():
            sums, numbers = table.crossed[name][part].T
            with np.errstate(invalid="ignore"):
                means = (sums / numbers).astype(np.float32)
            held.add(ends, means[None], np.ascontiguousarray(numbers * weights if len(weights) else numbers))

    def build(self, node_features: dict[str, NDArray[np.float64]] | None = None) -> Connectome:
        """Matrices of all streamlines added so far.

        Parameters
        ----------
        node_features : dict of str to (n_regions,) float64, optional
            Such as `regional_means`.
        """
        parcellation, options = self._parcellation, self._options
        sums = self._edge_sums()
        has_weights, _ = self._kind_of_weights
        rows = available_measures(
            self._units or {},
            options.statistics,
            pooled=options.pooled,
            weights=has_weights,
            weighted=has_weights and options.weighted,
            errors=options.errors,
            stray_falloff=options.stray_falloff,
        )
        return Connectome(
            regions=parcellation.regions,
            centroids_mm=parcellation.centroids_mm,
            volumes_mm3=parcellation.volumes_mm3,
            matrices={name: row.compute(sums) for name, row in rows.items()},
            measures={name: row.measure for name, row in rows.items()},
            n_streamlines=self._n_streamlines,
            n_unassigned=self._n_unassigned,
            node_features=dict(node_features or {}),
            metadata=self._metadata(),
        )

    def _edge_sums(self) -> EdgeSums:
        """What was found over the streamlines of each edge."""
        names = ["length", *(self._units or {})]
        has_weights, mu = self._kind_of_weights
        factor = 1.0 if mu is None else mu
        sums = EdgeSums(
            mirrored(self._counts.astype(np.float64)),
            self._parcellation.volumes_mm3,
            self._values.statistics(names),
            {name: held.statistics([name])[name, "mean"] for name, held in self._pooled.items()},
            mirrored(self._weights.sums[..., 0]) * factor if has_weights else None,
            self._n_streamlines,
        )
        if not self._options.errors:
            return sums
        pooled = {name: held.errors([name], self._n_streamlines) for name, held in self._pooled.items()}
        sums = replace(
            sums,
            errors=self._values.errors(names, self._n_streamlines),
            pooled_errors={name: errors[name, "mean"] for name, errors in pooled.items()},
            centroids_mm=self._parcellation.centroids_mm,
        )
        if not has_weights:
            return sums
        error = self._weights.errors(["weight"], self._n_streamlines)["weight", "sum"]
        return replace(
            sums,
            weights_error=error * factor,
            effective=self._weights.effective_number() if self._options.weighted else None,
        )

    def _metadata(self) -> dict[str, str]:
        options = self._options
        metadata = {
            "atlas": self._parcellation.regions.atlas,
            "assignment": options.assignment,
            "missing_regions": "; ".join(self._parcellation.missing),
        }
        if options.assignment != "end-voxel":
            metadata["radius_mm"] = f"{options.radius_mm:g}"
            metadata["end_distance_bin_mm"] = f"{DISTANCE_BIN_MM:g}"
            metadata["ends_by_distance"] = " ".join(map(str, self._histogram[:-1]))
        has_weights, mu = self._kind_of_weights
        if has_weights:
            metadata["weighted"] = "yes" if options.weighted else "no"
            metadata["mu"] = "not known, taken as 1" if mu is None else repr(mu)
        return metadata


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
