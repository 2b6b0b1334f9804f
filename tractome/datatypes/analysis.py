"""What was found out about a graph: numbers of the whole, of each region, and curves."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen, require_shape
from tractome.datatypes.parcellation import RegionTable
from tractome.errors import TableError


@dataclass(frozen=True, eq=False)
class Curve:
    """Values over one variable.

    Parameters
    ----------
    x_name : str
        The variable and its unit.
    x : (n,) float64
    columns : dict of str to (n,) float64
        By name.
    """

    x_name: str
    x: NDArray[np.float64]
    columns: dict[str, NDArray[np.float64]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", frozen(self.x, np.float64))
        columns = {name: frozen(values, np.float64) for name, values in self.columns.items()}
        for name, values in columns.items():
            require_shape(values, self.x.shape, f"The curve {name}", TableError)
        object.__setattr__(self, "columns", columns)


@dataclass(frozen=True, eq=False)
class Analysis:
    """What `analyze` found.

    Parameters
    ----------
    regions : RegionTable
        Rows of everything that is per region.
    numbers : dict of str to float
        Of the whole graph; NaN where something is not defined.
    per_region : dict of str to (N,) float64
        NaN for a region that the subject lacks.
    curves : dict of str to Curve
        Rich club, removal of long edges, spread.
    matrices : dict of str to (N, N) float64
        Communicability, shortest paths, agreement of partitions.
    definitions : dict of str to str
        One sentence for each name of the others.
    settings : dict of str to str
        Options in force, and what was chosen where they left a choice.
    """

    regions: RegionTable
    numbers: dict[str, float]
    per_region: dict[str, NDArray[np.float64]]
    curves: dict[str, Curve]
    matrices: dict[str, NDArray[np.float64]]
    definitions: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_regions = self.regions.n_regions
        per_region = {name: frozen(values, np.float64) for name, values in self.per_region.items()}
        for name, values in per_region.items():
            require_shape(values, (n_regions,), f"The column {name}", TableError)
        matrices = {name: frozen(values, np.float64) for name, values in self.matrices.items()}
        for name, values in matrices.items():
            require_shape(values, (n_regions, n_regions), f"The matrix {name}", TableError)
        object.__setattr__(self, "per_region", per_region)
        object.__setattr__(self, "matrices", matrices)

    @property
    def communities(self) -> list[list[str]]:
        """Names of the regions of each community, the largest first."""
        labels = self.per_region["community"]
        found = np.unique(labels[np.isfinite(labels)])
        return [[self.regions.names[row] for row in np.flatnonzero(labels == label)] for label in found]
