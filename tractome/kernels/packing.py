"""From volumes as they are stored to one row per voxel.

A file holds volume after volume; a fit needs a voxel's values side by side. Volumes are gathered a few at a time, and a
few columns of the packed array are filled at once: a value at a time would touch every line of memory for each volume.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import kernel

Array = NDArray[Any]


@kernel
def gather(stored: Array, first: int, places: Array, slope: float, inter: float, out: Array) -> tuple[int, bool]:
    """Take the wanted values of a piece of a volume, scaled, as float32.

    Parameters
    ----------
    stored : (m,) any real type
        Values of the volume from place `first` on.
    first : int
    places : (k,) int64
        Places in the volume of the wanted values, rising.
    slope, inter : float
        Value = stored x slope + inter, in double precision.
    out : (k,) float32
        Written; 0 where the value is not finite.

    Returns
    -------
    int
        Number of values that are not finite.
    bool
        Whether any value is not 0.
    """
    n_replaced, is_filled = 0, False
    for k in range(len(places)):
        value = np.float32(np.float64(stored[places[k] - first]) * slope + inter)
        if not np.isfinite(value):
            value = np.float32(0.0)
            n_replaced += 1
        is_filled |= value != 0.0
        out[k] = value
    return n_replaced, is_filled


@kernel
def spread(begin: int, end: int, volumes: Array, rows: Array, column: int, signal: Array) -> None:
    """Put gathered volumes side by side into the packed array.

    Parameters
    ----------
    begin, end : int
        Range of the gathered values.
    volumes : (c, n_voxels) float32
    rows : (n_voxels,) int64
        Row in the packed array of each gathered value.
    column : int
        Column of the first volume.
    signal : (n_voxels, v) float32
        Written: its columns from `column` to before `column` + c.
    """
    for k in range(begin, end):
        row = rows[k]
        for c in range(volumes.shape[0]):
            signal[row, column + c] = volumes[c, k]
