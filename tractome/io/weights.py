"""Streamline weights as text: what MRtrix3's ``-tck_weights_in`` and ``-tck_weights_out`` read and write."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tractome.errors import TableError
from tractome.io.atomic import replacing
from tractome.io.trx import unreadable

PathLike = str | os.PathLike[str]
_LINES_AT_ONCE = 100_000


def write_weights(path: PathLike, weights: NDArray[np.floating]) -> None:
    """Write one weight per line, in streamline order; single precision is kept exactly.

    Parameters
    ----------
    path : path
    weights : (n_streamlines,) float
        Finite, at least 0.

    Raises
    ------
    TableError
        A weight is negative or not finite.
    OutputError
        The file cannot be written.
    """
    weights = np.asarray(weights)
    _require(weights, str(path))
    with replacing(path) as temporary, open(temporary, "w", encoding="ascii", newline="\n") as file:
        for first in range(0, len(weights), _LINES_AT_ONCE):
            piece = weights[first : first + _LINES_AT_ONCE].astype(np.float64).tolist()
            file.write("".join(f"{value:.9g}\n" for value in piece))


def read_weights(path: PathLike, n_streamlines: int | None = None) -> NDArray[np.float64]:
    """Read weights: numbers with blanks, commas or new lines between, ``#`` for comments.

    Parameters
    ----------
    path : path
    n_streamlines : int, optional
        How many there must be.

    Returns
    -------
    (n_streamlines,) float64

    Raises
    ------
    TableError
        The file is missing, holds something that is no weight, or another number of them.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise unreadable(path, error) from error
    if "#" in text:
        text = "\n".join(line.partition("#")[0] for line in text.splitlines())
    words = text.replace(",", " ").split()
    try:
        weights = np.array(words, dtype=np.float64)
    except ValueError as error:
        message = f"{path} is no list of streamline weights: {error}. One number per streamline is needed."
        raise TableError(message) from error
    _require(weights, str(path))
    if n_streamlines is not None and len(weights) != n_streamlines:
        message = (
            f"{path} holds {len(weights):,} weights, and there are {n_streamlines:,} streamlines. Give the weights of "
            "this tractogram, in its order."
        )
        raise TableError(message)
    return weights


def _require(weights: NDArray[np.floating], where: str) -> None:
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        message = (
            f"Weight {int(wrong[0]) + 1:,} of {where} is {weights[wrong[0]]:g}; weights must be finite and at least 0. "
            "Weigh the streamlines again."
        )
        raise TableError(message)
