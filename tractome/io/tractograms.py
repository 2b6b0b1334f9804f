"""Streamlines to files and back, in blocks; and the table that is kept when the streamlines are not."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.tractogram import StreamlineTable, Tractogram
from tractome.errors import TableError
from tractome.io.atomic import replacing
from tractome.io.tck import TckSink, read_tck
from tractome.io.trk import TrkSink, read_trk
from tractome.io.trx import TrxFile, TrxSink, open_trx, require_column

logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]
Pieces = Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]

_TABLE_KIND = "streamline-table"


class Sink(Protocol):
    """What one file format has to offer for writing."""

    def write(
        self, points: NDArray[np.float32], lengths: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]
    ) -> None:
        """Append streamlines."""

    def finish(self) -> None:
        """Write what is known only at the end."""

    def close(self) -> None:
        """Let go of everything but the file."""


TRACTOGRAM_WRITERS: dict[str, Callable[[IO[bytes], Grid], Sink]] = {".trx": TrxSink, ".tck": TckSink, ".trk": TrkSink}
"""File formats of whole streamlines, by suffix."""


def _suffix(path: PathLike) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in TRACTOGRAM_WRITERS:
        known = ", ".join(TRACTOGRAM_WRITERS)
        message = f"{path} has the suffix {suffix or '(none)'}; streamlines are kept in one of: {known}."
        raise TableError(message)
    return suffix


@contextmanager
def _open_sink(path: PathLike, make: Callable[[IO[bytes]], Sink]) -> Iterator[Sink]:
    with replacing(path) as temporary, open(temporary, "wb") as file:
        sink = make(file)
        try:
            yield sink
            sink.finish()
        finally:
            sink.close()


class TractogramWriter:
    """Writes blocks of streamlines as they come; the file appears, whole, when the block ends.

    Equal streamlines give equal bytes, however they were cut into blocks. TRX also keeps seed indices and stop
    reasons.

    Parameters
    ----------
    path : path ending in .trx, .tck or .trk
    grid : Grid
        Of the diffusion image: TRX and .trk name a space in their header.

    Raises
    ------
    TableError
        The suffix is not known, or a block holds points that are not finite.
    OutputError
        The file cannot be written.
    """

    def __init__(self, path: PathLike, grid: Grid) -> None:
        make = TRACTOGRAM_WRITERS[_suffix(path)]
        self.path = Path(path)
        self._context = _open_sink(path, lambda file: make(file, grid))
        self._sink: Sink | None = None

    def __enter__(self) -> TractogramWriter:
        self._sink = self._context.__enter__()
        # Kinds and widths of the columns are set by the first block: an empty one does it for empty tractograms.
        self.write(_EMPTY)
        return self

    def write(self, block: Tractogram) -> None:
        """Append the streamlines of a block."""
        if self._sink is None:
            message = "A TractogramWriter writes only inside its with block."
            raise ValueError(message)
        if not np.isfinite(block.points).all():
            message = f"A streamline for {self.path} has points that are not finite; they cannot be written."
            raise TableError(message)
        columns: dict[str, NDArray[Any]] = {"seed_index": block.seed_index, "stop_reasons": block.stop_reasons}
        self._sink.write(block.points, np.diff(block.offsets), columns)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sink = None
        self._context.__exit__(kind, error, trace)


_EMPTY = Tractogram(
    np.zeros((0, 3), np.float32), np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros((0, 2), np.int8)
)


def read_tractogram(path: PathLike, block_size: int | None = 5000) -> Iterator[Tractogram]:
    """Read streamlines in blocks; memory does not grow with their number (but for eight bytes each in TRX).

    Streamlines without a point are left out, with a warning in the log. .tck and .trk files know no seed indices: -1.

    Parameters
    ----------
    path : path ending in .trx, .tck or .trk
    block_size : int or None
        Streamlines per block; None for as many as the file's reader gives at a time, which is faster.

    Yields
    ------
    Tractogram
        None for an empty file.

    Raises
    ------
    TableError
        The suffix is not known, or the file is missing or damaged.
    """
    suffix = _suffix(path)
    path = Path(path)
    n_empty = 0
    blocks = _trx_blocks(path, block_size or 5000) if suffix == ".trx" else _plain_blocks(path, suffix, block_size)
    for points, lengths, seed_index, stop_reasons in blocks:
        kept = lengths > 0
        n_empty += int(np.count_nonzero(~kept))
        if kept.any():
            offsets = np.concatenate([[0], np.cumsum(lengths[kept])])
            yield Tractogram(points, offsets, seed_index[kept], stop_reasons[kept])
    if n_empty:
        logger.warning("%s: %d streamlines have no point and are left out.", path, n_empty)


Columns = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]]


def _trx_blocks(path: Path, block_size: int) -> Iterator[Columns]:
    with open_trx(path) as file:
        columns = file.columns()
        n = file.n_streamlines
        seed_index = columns.get("seed_index", np.full(n, -1)).reshape(n).astype(np.int64)
        stop_reasons = columns.get("stop_reasons", np.zeros((n, 2))).reshape(n, 2).astype(np.int8)
        starts = np.arange(0, n, block_size)
        counts = np.add.reduceat(file.lengths, starts) if n else np.zeros(0, np.int64)
        for start, points in zip(starts, file.points(counts), strict=True):
            if not np.isfinite(points).all():
                message = f"{path} has points that are not finite. Write it again with the program that made it."
                raise TableError(message)
            block = slice(start, start + block_size)
            yield points, file.lengths[block], seed_index[block], stop_reasons[block]


def _plain_blocks(path: Path, suffix: str, block_size: int | None) -> Iterator[Columns]:
    pieces = read_tck(path) if suffix == ".tck" else read_trk(path)
    for points, lengths in pieces if block_size is None else _regroup(pieces, block_size):
        yield points, lengths, np.full(len(lengths), -1), np.zeros((len(lengths), 2), np.int8)


def _regroup(pieces: Pieces, block_size: int) -> Pieces:
    """Cut pieces of any size into blocks of `block_size` streamlines, the last one smaller."""
    points, lengths = np.empty((0, 3), np.float32), np.empty(0, np.int64)
    for more_points, more_lengths in pieces:
        points, lengths = np.concatenate([points, more_points]), np.concatenate([lengths, more_lengths])
        ends = np.concatenate([[0], np.cumsum(lengths)])
        n_blocks = len(lengths) // block_size
        for block in range(n_blocks):
            first, last = block * block_size, (block + 1) * block_size
            yield points[ends[first] : ends[last]], lengths[first:last]
        points, lengths = points[ends[n_blocks * block_size] :], lengths[n_blocks * block_size :]
    if len(lengths):
        yield points, lengths


class StreamlineTableWriter:
    """Writes tables as TRX, one after the other; the file appears, whole, when the block ends.

    Each streamline is its two ends, its values are per-streamline data. Equal streamlines give equal bytes, however
    they were cut into tables. Of a table only the columns stay in memory, 12 bytes per streamline and 4 per map.

    Parameters
    ----------
    path : path ending in .trx
    grid : Grid
        Of the diffusion image; TRX names a space in its header.
    units : dict of str to str
        Unit of each map in the tables, in the order of their columns.
    mu : float, optional
        Of the weights of the tables, if they have any.

    Raises
    ------
    TableError
        An end is not finite, the name of a map cannot be part of a file name, or a table holds other maps.
    OutputError
        The file cannot be written.
    """

    def __init__(self, path: PathLike, grid: Grid, units: Mapping[str, str], mu: float | None = None) -> None:
        wrong = [name for name in units if not re.fullmatch(r"[A-Za-z0-9_-]+", name)]
        if wrong:
            message = f"A map is named {wrong[0]!r}. Only letters, digits, _ and - can be kept in {path}; rename it."
            raise TableError(message)
        self.path, self._names = Path(path), list(units)
        extra = {"kind": _TABLE_KIND, "maps": self._names, "units": dict(units)} | ({} if mu is None else {"mu": mu})
        self._context = _open_sink(path, lambda file: TrxSink(file, grid, extra))
        self._sink: Sink | None = None
        self._has_weights: bool | None = None

    def __enter__(self) -> StreamlineTableWriter:
        self._sink = self._context.__enter__()
        return self

    def write(self, table: StreamlineTable) -> None:
        """Append the rows of a table."""
        if self._sink is None:
            message = "A StreamlineTableWriter writes only inside its with block."
            raise ValueError(message)
        if not np.isfinite(table.ends_mm).all():
            message = f"A streamline for {self.path} has an end that is not finite; it cannot be written."
            raise TableError(message)
        has_weights = table.weights is not None
        if list(table.means) != self._names or self._has_weights not in (None, has_weights):
            message = (
                f"A table for {self.path} holds {list(table.means)} and others before it {self._names}, or only some "
                "have weights. Join tables that were made with the same maps."
            )
            raise TableError(message)
        self._has_weights = has_weights
        columns: dict[str, NDArray[Any]] = {"length_mm": table.length_mm, "seed_index": table.seed_index}
        columns.update({f"mean_{name}": values for name, values in table.means.items()})
        if table.weights is not None:
            columns["weight"] = table.weights
        lengths = np.full(table.n_streamlines, 2, dtype=np.int64)
        self._sink.write(table.ends_mm.reshape(-1, 3), lengths, columns)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sink = None
        self._context.__exit__(kind, error, trace)


def write_streamline_table(path: PathLike, table: StreamlineTable, grid: Grid) -> None:
    """Write one table: see `StreamlineTableWriter`.

    Parameters
    ----------
    path : path ending in .trx
    table : StreamlineTable
    grid : Grid
        Of the diffusion image; TRX names a space in its header.
    """
    units = {name: table.units.get(name, "not stated") for name in table.means}
    with StreamlineTableWriter(path, grid, units, table.mu) as writer:
        writer.write(table)


TABLE_ROWS = 200_000
"""Rows of a streamline table that are read at a time: about 10 MB."""


def read_streamline_table(path: PathLike) -> StreamlineTable:
    """Read all of a table that `write_streamline_table` wrote: see `read_streamline_tables`."""
    with open_trx(Path(path)) as file:
        (table,) = _table_parts(file, [file.n_streamlines])
        return table


def read_streamline_tables(path: PathLike, n_rows: int = TABLE_ROWS) -> Iterator[StreamlineTable]:
    """Read a table that `write_streamline_table` wrote, so many rows at a time: memory does not grow with their number.

    Yields
    ------
    StreamlineTable
        At least one, which has no rows where the file has none.

    Raises
    ------
    TableError
        The file is missing, damaged, or holds no such table.
    """
    with open_trx(Path(path)) as file:
        n_whole, n_rest = divmod(file.n_streamlines, n_rows)
        counts = [n_rows] * n_whole + ([n_rest] if n_rest or not n_whole else [])
        yield from _table_parts(file, counts)


def _table_parts(file: TrxFile, counts: list[int]) -> Iterator[StreamlineTable]:
    if file.extra.get("kind") != _TABLE_KIND or file.n_points != 2 * file.n_streamlines:
        message = (
            f"{file.path} holds whole streamlines or comes from another program; a table of streamline ends that "
            "tractome wrote is needed. Run `tractome connect` on the tractogram instead."
        )
        raise TableError(message)
    maps = [str(name) for name in file.extra.get("maps", [])]
    units = {str(name): str(unit) for name, unit in file.extra.get("units", {}).items()}
    wanted = ["length_mm", "seed_index", *(f"mean_{name}" for name in maps)]
    for name in wanted:
        require_column(file.column_names, name, file.path)
    has_weights = "weight" in file.column_names
    columns = [file.pieces(f"dps/{name}", counts) for name in [*wanted, *(["weight"] if has_weights else [])]]
    ends = file.pieces("positions", [2 * count for count in counts])
    mu = file.extra.get("mu")
    for points, length_mm, seed_index, *values in zip(ends, *columns, strict=True):
        yield StreamlineTable(
            ends_mm=points.reshape(-1, 2, 3),
            length_mm=length_mm,
            means=dict(zip(maps, values, strict=False)),
            seed_index=seed_index,
            units=units,
            weights=values[-1] if has_weights else None,
            mu=None if mu is None else float(mu),
        )
