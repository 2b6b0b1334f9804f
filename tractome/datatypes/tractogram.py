"""Streamlines, and what is kept of them when they are not."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen, require_shape
from tractome.errors import TableError


class StopReason(IntEnum):
    """Why one end of a streamline stopped where it did."""

    NONE = 0
    LEFT_MASK = 1
    LOW_SIGNAL = 2
    """FOD amplitude below the cutoff, or FA below its threshold, in every direction that may be taken."""
    ENTERED_CORTEX = 3
    ENTERED_DEEP_GREY = 4
    ENTERED_CSF = 5
    LEFT_IMAGE = 6
    TOO_LONG = 7


class RejectReason(IntEnum):
    """Why a streamline was thrown away."""

    NONE = 0
    BAD_SEED = 1
    """The seed lies where tracking cannot start: no FOD above the cutoff, or FA too low."""
    TOO_SHORT = 2
    TOO_LONG = 3
    ENDS_IN_CSF = 4
    ENDS_IN_WHITE_MATTER = 5
    SEED_TOO_DEEP = 6
    """Balanced seeding: the seed is too far from both ends, so that a long streamline is not found more often."""
    MISSED_INCLUDE = 7
    """It does not visit every inclusion mask."""
    ENTERED_EXCLUDE = 8
    """It visits an exclusion mask."""


@dataclass(frozen=True, eq=False)
class Tractogram:
    """A block of streamlines.

    Parameters
    ----------
    points : (n_points, 3) float32
        RAS+ mm, one streamline after the other.
    offsets : (n_streamlines + 1,) int64
        Streamline i has points ``offsets[i]:offsets[i + 1]``.
    seed_index : (n_streamlines,) int64
        Which keyed random stream each came from; rising. -1 where not known (read from a file).
    stop_reasons : (n_streamlines, 2) int8
        `StopReason` of the first and the last end.
    n_seeds : int
        How many seeds were tried for this block.
    rejected : dict of RejectReason to int
        How many seeds of this block were thrown away, by reason.
    """

    points: NDArray[np.float32]
    offsets: NDArray[np.int64]
    seed_index: NDArray[np.int64]
    stop_reasons: NDArray[np.int8]
    n_seeds: int = 0
    rejected: dict[RejectReason, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        points, offsets = frozen(self.points, np.float32), frozen(self.offsets, np.int64)
        require_shape(points, (None, 3), "The table of streamline points", TableError)
        n_streamlines = len(offsets) - 1
        if n_streamlines < 0 or offsets[0] != 0 or offsets[-1] != len(points) or (np.diff(offsets) < 1).any():
            message = "The streamline offsets do not fit the points: each streamline needs at least one point."
            raise TableError(message)
        seed_index, stop_reasons = frozen(self.seed_index, np.int64), frozen(self.stop_reasons, np.int8)
        require_shape(seed_index, (n_streamlines,), "The list of seed indices", TableError)
        require_shape(stop_reasons, (n_streamlines, 2), "The table of stop reasons", TableError)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "offsets", offsets)
        object.__setattr__(self, "seed_index", seed_index)
        object.__setattr__(self, "stop_reasons", stop_reasons)

    @property
    def n_streamlines(self) -> int:
        """Number of streamlines."""
        return len(self.offsets) - 1

    def streamline(self, index: int) -> NDArray[np.float32]:
        """Points of one streamline, (n, 3) float32, RAS+ mm."""
        return self.points[self.offsets[index] : self.offsets[index + 1]]


@dataclass(frozen=True, eq=False)
class StreamlineTable:
    """Per streamline what connect needs: what is kept on disk when the tractogram is not.

    Parameters
    ----------
    ends_mm : (n_streamlines, 2, 3) float32
        First and last point, RAS+ mm.
    length_mm : (n_streamlines,) float32
        Sum of its segments' lengths.
    means : dict of str to (n_streamlines,) float32
        Segment-length-weighted mean of each map sampled trilinearly along it; NaN where it never met the map.
    weights : (n_streamlines,) float64 or None
        Streamline weights, if any.
    seed_index : (n_streamlines,) int64
    units : dict of str to str
        Unit of each map in `means`.
    mu : float or None
        With weights: what their sum over an edge is multiplied by (the proportionality coefficient of SIFT2).
    directions : (n_streamlines, 2, 3) float32 or None
        Unit vectors in which it leaves through its two ends. Known only while whole streamlines are at hand.
    crossed : dict of str to (n_streamlines, 2) float64
        Sum of a map over the voxels that it crosses, and their number. Known only while whole streamlines are at hand.
    """

    ends_mm: NDArray[np.float32]
    length_mm: NDArray[np.float32]
    means: dict[str, NDArray[np.float32]]
    seed_index: NDArray[np.int64]
    units: dict[str, str]
    weights: NDArray[np.float64] | None = None
    mu: float | None = None
    directions: NDArray[np.float32] | None = None
    crossed: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ends, length = frozen(self.ends_mm, np.float32), frozen(self.length_mm, np.float32)
        require_shape(ends, (None, 2, 3), "The table of end points", TableError)
        n_streamlines = len(ends)
        require_shape(length, (n_streamlines,), "The list of lengths", TableError)
        seed_index = frozen(self.seed_index, np.int64)
        require_shape(seed_index, (n_streamlines,), "The list of seed indices", TableError)
        means = {name: frozen(values, np.float32) for name, values in self.means.items()}
        for name, values in means.items():
            require_shape(values, (n_streamlines,), f"The list of {name} means", TableError)
        object.__setattr__(self, "ends_mm", ends)
        object.__setattr__(self, "length_mm", length)
        object.__setattr__(self, "seed_index", seed_index)
        object.__setattr__(self, "means", means)
        if self.weights is not None:
            weights = frozen(self.weights, np.float64)
            require_shape(weights, (n_streamlines,), "The list of streamline weights", TableError)
            object.__setattr__(self, "weights", weights)
        if self.directions is not None:
            directions = frozen(self.directions, np.float32)
            require_shape(directions, (n_streamlines, 2, 3), "The table of directions", TableError)
            object.__setattr__(self, "directions", directions)
        crossed = {name: frozen(values, np.float64) for name, values in self.crossed.items()}
        for name, values in crossed.items():
            require_shape(values, (n_streamlines, 2), f"The table of crossed voxels of {name}", TableError)
        object.__setattr__(self, "crossed", crossed)

    @property
    def n_streamlines(self) -> int:
        """Number of streamlines."""
        return len(self.ends_mm)
