"""The TRX container: streamlines and what belongs to each, in an uncompressed zip file.

See the TRX specification, version 1 (tee-ar-ex.github.io). Written as a stream, so that memory does not grow with the
points, and with fixed times, so that equal streamlines give equal bytes; read without writing to the file, which
trx-python's memory maps need to be allowed.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.errors import TableError

EXTRA_KEY = "TRACTOME"
"""Key of the header under which tractome keeps its own facts; other readers pass over it."""

_POINTS_AT_ONCE = 1 << 16


class TrxSink:
    """Writes blocks of streamlines into an open file; call `finish` after the last, `close` in any case.

    Parameters
    ----------
    file : binary file
    grid : Grid
        Space that the header names.
    extra : dict
        Kept in the header under `EXTRA_KEY`.
    """

    def __init__(self, file: IO[bytes], grid: Grid, extra: Mapping[str, Any] | None = None) -> None:
        self._grid, self._extra = grid, dict(extra or {})
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
        self._points: IO[bytes] | None = self._zip.open(_entry("positions.3.float32"), "w", force_zip64=True)
        self._lengths: list[NDArray[np.uint32]] = []
        self._columns: dict[str, list[NDArray[Any]]] = {}
        self._n_points = 0

    def write(
        self, points: NDArray[np.float32], lengths: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]
    ) -> None:
        """Append streamlines: points (p, 3) in RAS+ mm, points of each (n,), and per-streamline columns (n, ...)."""
        assert self._points is not None
        self._points.write(np.ascontiguousarray(points, dtype="<f4").data)
        self._n_points += len(points)
        self._lengths.append(np.array(lengths, dtype=np.uint32))
        for name, values in columns.items():
            self._columns.setdefault(name, []).append(np.array(values))

    def finish(self) -> None:
        """Write what is known only at the end: offsets, columns and header."""
        assert self._points is not None
        self._points.close()
        self._points = None
        self._add("offsets.uint64", self._offsets())
        for name, blocks in sorted(self._columns.items()):
            dtype = blocks[0].dtype
            width = "" if blocks[0].ndim == 1 else f".{blocks[0].shape[1]}"
            stored = [values.astype(dtype.newbyteorder("<"), copy=False) for values in blocks]
            self._add(f"dps/{name}{width}.{dtype.name}", stored)
        header: dict[str, Any] = {
            "DIMENSIONS": list(self._grid.shape),
            "NB_STREAMLINES": sum(len(lengths) for lengths in self._lengths),
            "NB_VERTICES": self._n_points,
            "VOXEL_TO_RASMM": self._grid.affine.tolist(),
        }
        if self._extra:
            header[EXTRA_KEY] = self._extra
        self._zip.writestr(_entry("header.json"), json.dumps(header, sort_keys=True, indent=1))

    def close(self) -> None:
        """Close the archive: after `finish` a whole one, else one that is about to be removed."""
        if self._points is not None:
            with suppress(Exception):
                self._points.close()
            with suppress(Exception):
                self._zip.close()
        else:
            self._zip.close()

    def _offsets(self) -> list[NDArray[Any]]:
        """Where each streamline begins, and where the last ends, in pieces."""
        pieces, end = [np.zeros(1, "<u8")], 0
        for lengths in self._lengths:
            offsets = end + np.cumsum(lengths, dtype=np.int64)
            end = int(offsets[-1]) if len(offsets) else end
            pieces.append(offsets.astype("<u8"))
        return pieces

    def _add(self, name: str, pieces: list[NDArray[Any]]) -> None:
        """Write the pieces of one array, one after the other: joined, they would be in memory twice."""
        entry = _entry(name)
        entry.file_size = sum(values.nbytes for values in pieces)  # tells zipfile whether 64-bit sizes are needed
        with self._zip.open(entry, "w") as target:
            for values in pieces:
                target.write(np.ascontiguousarray(values).data)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    entry.create_system = 3
    return entry


class TrxFile:
    """An open TRX file: the header in memory, offsets and columns when they are asked for, points on the disk."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path, self._archive = path, archive
        self._names = {name.split(".")[0]: name for name in archive.namelist() if not name.endswith("/")}
        header = json.loads(archive.read("header.json"))
        self.n_streamlines, self.n_points = int(header["NB_STREAMLINES"]), int(header["NB_VERTICES"])
        self.grid = Grid(tuple(header["DIMENSIONS"]), np.reshape(header["VOXEL_TO_RASMM"], (4, 4)))
        self.extra: dict[str, Any] = header.get(EXTRA_KEY, {})

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Number of points of each streamline, (n_streamlines,)."""
        if self.n_streamlines == 0:
            return np.zeros(0, np.int64)
        offsets = self._array("offsets").reshape(-1).astype(np.int64)
        if len(offsets) == self.n_streamlines:  # files older than the specification lack the last one
            offsets = np.append(offsets, self.n_points)
        lengths = np.diff(offsets)
        if len(lengths) != self.n_streamlines or offsets[0] != 0 or offsets[-1] != self.n_points or lengths.min() < 0:
            raise _damaged(self.path, "its offsets do not fit its number of streamlines and points")
        return lengths

    def _array(self, base: str) -> NDArray[Any]:
        name = self._names[base]
        stored, width = _kind(name)
        values = np.frombuffer(self._archive.read(name), dtype=stored)
        return values.reshape(-1, width) if width else values

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the per-streamline values."""
        return tuple(base[4:] for base in sorted(self._names) if base.startswith("dps/"))

    def pieces(self, base: str, counts: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Yield the rows of an array (``"positions"``, ``"offsets"``, ``"dps/NAME"``), so many at a time.

        Raises
        ------
        TableError
            It has fewer rows, or more.
        """
        name = self._names[base]
        stored, width = _kind(name)
        row_bytes = stored.itemsize * (width or 1)
        with self._archive.open(name) as source:
            for count in counts:
                raw = source.read(count * row_bytes)
                if len(raw) < count * row_bytes:
                    raise _damaged(self.path, f"{base} has fewer rows than its header says")
                values = np.frombuffer(raw, dtype=stored)
                yield values.reshape(-1, width) if width else values
            if source.read(1):  # also makes zipfile compare its checksum
                raise _damaged(self.path, f"{base} has more rows than its header says")

    def columns(self) -> dict[str, NDArray[Any]]:
        """Per-streamline values by name, (n,) or (n, width)."""
        found = {base[4:]: self._array(base) for base in sorted(self._names) if base.startswith("dps/")}
        for name, values in found.items():
            if len(values) != self.n_streamlines:
                raise _damaged(self.path, f"{name} has {len(values)} values for {self.n_streamlines} streamlines")
        return found

    def points(self, counts: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        """Yield pieces of the points, (counts[i], 3) float32, RAS+ mm, one after the other."""
        if not len(counts):
            return
        name = self._names["positions"]
        stored = np.dtype(name.split(".")[-1]).newbyteorder("<")
        with self._archive.open(name) as source:
            for count in counts:
                piece = np.empty((int(count), 3), dtype=np.float32)
                for start in range(0, len(piece), _POINTS_AT_ONCE):
                    part = piece[start : start + _POINTS_AT_ONCE]
                    raw = source.read(part.size * stored.itemsize)
                    if len(raw) < part.size * stored.itemsize:
                        raise _damaged(self.path, "it has fewer points than its header says")
                    part[:] = np.frombuffer(raw, dtype=stored).reshape(-1, 3)
                yield piece
            if source.read(1):  # also makes zipfile compare its checksum
                raise _damaged(self.path, "it has more points than its header says")


def _kind(name: str) -> tuple[np.dtype[Any], int]:
    """Type of the numbers of an array of the file, and how many there are in a row; 0 for a row that is a number."""
    _, *width, dtype = Path(name).name.split(".")
    return np.dtype("bool" if dtype == "bit" else dtype).newbyteorder("<"), int(width[0]) if width else 0


@contextmanager
def open_trx(path: Path) -> Iterator[TrxFile]:
    """Open a TRX file for reading.

    Raises
    ------
    TableError
        The file is missing, damaged or no TRX file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield TrxFile(path, archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, str(error) or type(error).__name__) from error
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> TableError:
    """Error for a file that the system does not let us read."""
    message = f"{path} cannot be read: {error.strerror or error}. Check the path and its permissions."
    return TableError(message)


def _damaged(path: Path, why: str) -> TableError:
    message = f"{path} is no whole TRX file: {why}. Copy it again, or write it again with the program that made it."
    return TableError(message)


def require_column(names: Collection[str], name: str, path: Path) -> None:
    """Raise TableError unless a file has this value per streamline."""
    if name not in names:
        message = (
            f"{path} has no {name} per streamline (it has: {', '.join(sorted(names)) or 'nothing'}). A table of "
            "streamlines that tractome wrote is needed."
        )
        raise TableError(message)
