"""A matrix that another program made, as its file has it: nothing decided yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen, require_shape
from tractome.errors import TableError


@dataclass(frozen=True, eq=False)
class GivenMatrix:
    """One matrix from a file, before anything is decided about it.

    Parameters
    ----------
    values : (n, n) float64
        As in the file: perhaps not symmetric, with negative values, with NaN.
    source : str
        Name of the file, for messages.
    nodes : tuple of str or None
        What the file calls its rows, names or numbers; None where rows are only in order.
    measure, unit : str
        What the file says it holds; empty where it does not say.
    is_mean : bool or None
        Whether the file says that entries are means.
    is_listed : (n, n) bool or None
        Of a list of edges, the pairs that it lists; None for a whole matrix.
    """

    values: NDArray[np.float64]
    source: str
    nodes: tuple[str, ...] | None = None
    measure: str = ""
    unit: str = ""
    is_mean: bool | None = None
    is_listed: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        values = frozen(self.values, np.float64)
        n_rows = len(values)
        require_shape(values, (n_rows, n_rows), f"The matrix of {self.source}", TableError)
        if n_rows == 0:
            message = f"{self.source} holds no node. A matrix with one row per region, or a list of edges, is needed."
            raise TableError(message)
        if self.nodes is not None and (len(self.nodes) != n_rows or len(set(self.nodes)) != n_rows):
            repeated = sorted({name for name in self.nodes if self.nodes.count(name) > 1})
            message = (
                f"{self.source} has {n_rows} rows and {len(self.nodes)} names for them"
                f"{', repeated: ' + ', '.join(repeated[:5]) if repeated else ''}. Every row needs a name of its own."
            )
            raise TableError(message)
        object.__setattr__(self, "values", values)
        if self.is_listed is not None:
            object.__setattr__(self, "is_listed", frozen(self.is_listed, np.bool_))
