"""MRtrix3's .tck files: points in RAS+ mm, NaN after each streamline, infinity at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.errors import TableError
from tractome.io.trx import unreadable

_MAGIC = "mrtrix tracks"
_DATATYPES = {"Float32LE": "<f4", "Float32BE": ">f4", "Float64LE": "<f8", "Float64BE": ">f8"}
_COUNT_DIGITS = 10
_ROWS_AT_ONCE = 1 << 18
"""About 3 MB."""


def _header(n_streamlines: int) -> bytes:
    """Header of fixed length, whatever the count: it is written again when the count is known."""
    lines = f"{_MAGIC}\ndatatype: Float32LE\ncount: {n_streamlines:0{_COUNT_DIGITS}d}\nfile: . "
    offset = len(lines) + len("00\nEND\n")
    return f"{lines}{offset}\nEND\n".encode("ascii")


class TckSink:
    """Writes blocks of streamlines into an open file; call `finish` after the last.

    The format has no place for the grid or for per-streamline columns.
    """

    def __init__(self, file: IO[bytes], grid: Grid) -> None:
        self._file, self._n_streamlines = file, 0
        file.write(_header(0))

    def write(
        self, points: NDArray[np.float32], lengths: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]
    ) -> None:
        """Append streamlines: points (p, 3) in RAS+ mm and points of each (n,)."""
        rows = np.full((len(points) + len(lengths), 3), np.nan, dtype="<f4")
        is_point = np.ones(len(rows), dtype=np.bool_)
        is_point[np.cumsum(lengths) + np.arange(len(lengths))] = False
        rows[is_point] = points
        self._file.write(rows.tobytes())
        self._n_streamlines += len(lengths)

    def finish(self) -> None:
        """Write the end mark, and the count into the header."""
        self._file.write(np.full(3, np.inf, dtype="<f4").tobytes())
        self._file.seek(0)
        self._file.write(_header(self._n_streamlines))

    def close(self) -> None:
        """Nothing is held beside the file."""


def read_tck(path: Path) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Yield pieces of a file: points (p, 3) float32, RAS+ mm, and the number of points of each streamline (n,).

    Raises
    ------
    TableError
        The file is missing, no .tck file, ends early, or holds points that are not finite.
    """
    try:
        with open(path, "rb") as file:
            dtype, offset = _read_header(path, file)
            file.seek(offset)
            yield from _read_rows(path, file, dtype)
    except OSError as error:
        raise unreadable(path, error) from error


def _read_header(path: Path, file: IO[bytes]) -> tuple[np.dtype[Any], int]:
    """Type of the numbers, and the byte at which they start."""
    if file.readline(64).strip() != _MAGIC.encode():
        raise _damaged(path, f"it does not start with '{_MAGIC}'")
    facts: dict[str, str] = {}
    for _ in range(100_000):
        line = file.readline(1 << 20).decode("utf-8", "replace").strip()
        if line == "END":
            break
        key, _, value = line.partition(":")
        facts[key.strip()] = value.strip()
    where = facts.get("file", "").split()
    if facts.get("datatype") not in _DATATYPES or len(where) != 2 or where[0] != "." or not where[1].isdigit():
        raise _damaged(path, "its header lacks a datatype or the place of the points")
    return np.dtype(_DATATYPES[facts["datatype"]]), int(where[1])


def _read_rows(
    path: Path, file: IO[bytes], dtype: np.dtype[Any]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    from tractome.kernels.splitting import END, NOT_FINITE, UNENDED, split_rows

    is_ours = dtype == np.dtype("<f4")
    rows = np.empty((_ROWS_AT_ONCE, 3), dtype=dtype)
    n_left = 0
    while True:
        if n_left == len(rows):  # one streamline fills it
            rows = np.concatenate([rows, np.empty_like(rows)])
        n_read = _fill(file, rows[n_left:])
        if n_read == 0:
            raise _damaged(path, "it ends before the end mark")
        now = rows[: n_left + n_read]
        points, lengths = np.empty((len(now), 3), np.float32), np.empty(len(now), np.int64)
        given = now if is_ours else now.astype(np.float32)
        n_points, n_streamlines, n_used, state = split_rows(given, points, lengths)
        if state == NOT_FINITE:
            raise _damaged(path, "a point is not finite")
        yield points[:n_points], lengths[:n_streamlines].copy()
        if state == UNENDED:
            raise _damaged(path, "its last streamline has no end")
        if state == END:
            return
        n_left = len(now) - n_used
        rows[:n_left] = now[n_used:].copy()


def _fill(file: IO[bytes], rows: NDArray[Any]) -> int:
    """Read whole rows into an array; how many there were."""
    row_bytes = 3 * rows.dtype.itemsize
    room = rows.view(np.uint8).reshape(-1).data
    n_bytes = 0
    while n_bytes < len(room):
        n_more = file.readinto(room[n_bytes:])  # type: ignore[attr-defined]
        if not n_more:
            break
        n_bytes += n_more
    return n_bytes // row_bytes


def _damaged(path: Path, why: str) -> TableError:
    message = f"{path} is no whole .tck file: {why}. Copy it again, or write it again with the program that made it."
    return TableError(message)
