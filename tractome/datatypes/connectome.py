"""One subject's matrices, with the meaning of every number."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen, require_shape
from tractome.datatypes.parcellation import RegionTable
from tractome.errors import TableError


@dataclass(frozen=True)
class Measure:
    """What one matrix holds.

    Parameters
    ----------
    name : str
        Short name, such as ``"count"`` or ``"fa"``: the key in `Connectome.matrices` and part of file names.
    unit : str
        Such as ``"streamlines"``, ``"mm2/s"``, ``"unitless"``.
    definition : str
        One sentence: what an entry is, and from what it was computed.
    is_mean : bool
        True when an edge without streamlines has no value (NaN), False when it is 0.
    about : str
        Name of the measure that this one says how sure it is, such as ``"count"`` for ``"countse"``; empty for a
        measure in its own right.
    """

    name: str
    unit: str
    definition: str
    is_mean: bool
    about: str = ""

    @property
    def is_error(self) -> bool:
        """Whether it is the standard error of the measure it is about, in the same unit."""
        return self.about != "" and self.name == error_name(self.about)


def error_name(name: str) -> str:
    """Name of the standard error of a measure."""
    return f"{name}se"


@dataclass(frozen=True, eq=False)
class Connectome:
    """Named, weighted, symmetric region-by-region matrices.

    Parameters
    ----------
    regions : RegionTable
    centroids_mm, volumes_mm3 : (N, 3) and (N,) float64
        This subject's; NaN and 0 where the region is missing.
    matrices : dict of str to (N, N) float64
        One per measure; symmetric; self-connections kept on the diagonal; a mean is NaN where no streamline runs.
        Among them, by `Measure.about`, standard errors and effective numbers of streamlines.
    measures : dict of str to Measure
        Meaning of each matrix; same keys.
    n_streamlines : int
        Streamlines looked at.
    n_unassigned : int
        Those without a region at one or both ends.
    node_features : dict of str to (N,) float64
        Per region, such as the mean FA in it; NaN where missing.
    metadata : dict of str to str
        Assignment rule, radius, atlas, and what else explains the numbers.
    """

    regions: RegionTable
    centroids_mm: NDArray[np.float64]
    volumes_mm3: NDArray[np.float64]
    matrices: dict[str, NDArray[np.float64]]
    measures: dict[str, Measure]
    n_streamlines: int
    n_unassigned: int
    node_features: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_regions = self.regions.n_regions
        if set(self.matrices) != set(self.measures):
            message = "Every matrix of a connectome needs its measure, and every measure its matrix."
            raise TableError(message)
        matrices = {name: frozen(matrix, np.float64) for name, matrix in self.matrices.items()}
        for name, matrix in matrices.items():
            require_shape(matrix, (n_regions, n_regions), f"The {name} matrix", TableError)
            if not np.array_equal(matrix, matrix.T, equal_nan=True):
                message = f"The {name} matrix is not symmetric; tractography has no direction."
                raise TableError(message)
        features = {name: frozen(values, np.float64) for name, values in self.node_features.items()}
        for name, values in features.items():
            require_shape(values, (n_regions,), f"The node feature {name}", TableError)
        centroids, volumes = frozen(self.centroids_mm, np.float64), frozen(self.volumes_mm3, np.float64)
        require_shape(centroids, (n_regions, 3), "The table of centroids", TableError)
        require_shape(volumes, (n_regions,), "The list of volumes", TableError)
        object.__setattr__(self, "matrices", matrices)
        object.__setattr__(self, "node_features", features)
        object.__setattr__(self, "centroids_mm", centroids)
        object.__setattr__(self, "volumes_mm3", volumes)

    @property
    def plain_measures(self) -> tuple[str, ...]:
        """Names of the measures in their own right: all but those that say how sure another one is."""
        return tuple(name for name, measure in self.measures.items() if not measure.about)

    @property
    def n_regions(self) -> int:
        """Number of regions, N."""
        return self.regions.n_regions

    def strength(self, measure: str = "count") -> NDArray[np.float64]:
        """Sum over each row without self-connections, (N,) float64, absent edges as 0."""
        matrix = np.nan_to_num(self.matrices[measure].copy())
        np.fill_diagonal(matrix, 0.0)
        total: NDArray[np.float64] = matrix.sum(axis=1)
        return total
