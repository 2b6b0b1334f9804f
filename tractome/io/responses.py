"""Response functions as the text that MRtrix3 writes and reads: a row per shell, a zonal coefficient per column."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.response import ResponseTable
from tractome.errors import GradientError
from tractome.io.atomic import replacing

PathLike = str | os.PathLike[str]


def read_response(path: PathLike) -> ResponseTable:
    """Read a response file of MRtrix3 or of tractome.

    Parameters
    ----------
    path : path
        Text: a row per shell from b0 up, the SH coefficients l = 0, 2, ... with m = 0 in its columns; lines that begin
        with ``#`` are comments, of which ``# Shells: 0,1000,2000`` names the b-values.

    Raises
    ------
    GradientError
        The file is missing or is no such table.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        message = f"The response {path} cannot be read: {why}. Give a text file such as dwi2response writes."
        raise GradientError(message) from error
    bvals, rows = None, []
    for number, line in enumerate(lines, start=1):
        words, _, comment = line.partition("#")
        shells = re.match(r"\s*shells:\s*(.+)", comment, re.IGNORECASE)
        try:
            if shells:
                bvals = np.array([float(word) for word in re.split(r"[,\s]+", shells[1].strip())])
            if words.strip():
                rows.append([float(word) for word in re.split(r"[,\s]+", words.strip())])
        except ValueError as error:
            message = (
                f"{path}, line {number}: {line.strip()!r} does not hold numbers alone. A response has a row per shell "
                "and a coefficient per column; give a file such as dwi2response writes."
            )
            raise GradientError(message) from error
    widths = {len(row) for row in rows}
    if len(widths) != 1:
        found = "no row" if not rows else f"rows of {', '.join(map(str, sorted(widths)))} numbers"
        message = f"{path} has {found}. A response has a row per shell, all of one length; check the file."
        raise GradientError(message)
    return ResponseTable(np.array(rows), bvals, path.name)


def write_response(path: PathLike, zonal: NDArray[np.floating], bvals: NDArray[np.floating]) -> None:
    """Write the response of one tissue so that MRtrix3 reads it.

    Parameters
    ----------
    path : path
    zonal : (n_shells, n_orders) float
        As in `Response.zonal`.
    bvals : (n_shells,) float
        s/mm2.
    """
    lines = ["# Shells: " + ",".join(f"{b:.10g}" for b in bvals)]
    lines += [" ".join(f"{value:.15g}" for value in row) for row in np.asarray(zonal, dtype=np.float64)]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
