"""Points to start streamlines in, from a text file, a table or a NumPy array."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.seeds import SeedPoints
from tractome.errors import TableError

PathLike = str | os.PathLike[str]


def read_seed_points(path: PathLike) -> SeedPoints:
    """Read points in RAS+ mm, and perhaps a direction for each.

    Parameters
    ----------
    path : path
        ``.npy``: an array (n, 3) or (n, 6). Anything else is text: a row per point, numbers parted by spaces, tabs,
        commas or semicolons; ``#`` starts a comment, and a first row of names is passed over. Columns: x, y, z, and
        then, where given, the three components of a direction in world axes (zeros for none).

    Returns
    -------
    SeedPoints

    Raises
    ------
    TableError
        The file is missing, or holds something else.
    """
    path = Path(path)
    try:
        values = _from_npy(path) if path.suffix.lower() == ".npy" else _from_text(path)
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {getattr(error, 'strerror', None) or error}. Check the path."
        raise TableError(message) from error
    if values.ndim != 2 or values.shape[1] not in (3, 6) or not len(values):
        message = (
            f"{path} holds {' x '.join(map(str, values.shape))} numbers; seed points need rows of 3 "
            "(x, y, z in RAS+ mm) or 6 (then a direction too)."
        )
        raise TableError(message)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0]) + 1
        message = f"{path} holds a number that is not finite, in point {row}. Seed points need x, y, z in RAS+ mm."
        raise TableError(message)
    directions = values[:, 3:] if values.shape[1] == 6 else np.zeros((len(values), 3))
    return SeedPoints(values[:, :3], directions)


def _from_npy(path: Path) -> NDArray[np.float64]:
    try:
        loaded: NDArray[Any] = np.load(path, allow_pickle=False)
        return loaded.astype(np.float64)
    except ValueError as error:
        message = f"{path} is no NumPy array of numbers: {error}. Save one with numpy.save."
        raise TableError(message) from error


def _from_text(path: Path) -> NDArray[np.float64]:
    rows: list[list[float]] = []
    is_first = True
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        words = [word for word in re.split(r"[\s,;]+", line.partition("#")[0].strip()) if word]
        if not words:
            continue
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            if is_first:
                is_first = False
                continue
            message = f"{path}, line {number}: {line.strip()!r} is no row of numbers. Give x, y, z in RAS+ mm."
            raise TableError(message) from error
        is_first = False
        if rows and len(row) != len(rows[0]):
            message = f"{path}, line {number} has {len(row)} numbers; the rows before have {len(rows[0])}."
            raise TableError(message)
        rows.append(row)
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(rows[0]) if rows else 0)
