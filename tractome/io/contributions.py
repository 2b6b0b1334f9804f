"""Contributions of streamlines to fixels: kept in memory as long as there is room, then in a file of their own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tractome.errors import OutputError
from tractome.io.atomic import TEMPORARY_PREFIX

ENTRIES_PER_BLOCK = 1 << 22
"""16 MiB: what is read from the file at once, and about what a kernel is given."""


class ContributionStore:
    """Takes packed contributions in streamline order and gives them back in blocks, as often as wanted.

    Parameters
    ----------
    folder : Path
        Where the file is made when the memory is used up. It is gone when the ``with`` block ends.
    max_bytes : int
        Contributions in memory at most; 4 bytes each. Beside them 8 bytes per streamline always stay in memory.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._file: IO[bytes] | None = None
        self._path: Path | None = None
        self._blocks: list[NDArray[np.uint32]] = []
        self._waiting: list[NDArray[np.uint32]] = []
        self._counts: list[NDArray[np.int64]] = []
        self._borders: list[tuple[int, int]] = []
        self._n_waiting = self._n_kept = self._first = 0
        self.n_streamlines = 0
        self.n_entries = 0

    def __enter__(self) -> ContributionStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    @property
    def is_on_disk(self) -> bool:
        """Whether the memory did not hold them all."""
        return self._file is not None

    def add(self, entries: NDArray[np.uint32], counts: NDArray[np.int64]) -> None:
        """Append streamlines: their contributions, and how many each has."""
        self._waiting.append(entries)
        self._counts.append(np.asarray(counts, np.int64))
        self._n_waiting += len(entries)
        self.n_streamlines += len(counts)
        self.n_entries += len(entries)
        if self._n_waiting >= ENTRIES_PER_BLOCK:
            self._close_block()

    def _close_block(self) -> None:
        block = np.concatenate(self._waiting) if self._waiting else np.empty(0, np.uint32)
        self._waiting, self._n_waiting = [], 0
        self._borders.append((self._first, self.n_streamlines))
        self._first = self.n_streamlines
        if self._file is None and self._n_kept + block.nbytes > self._max_bytes:
            self._open()
            for each in self._blocks:
                self._write(each)
            self._blocks = []
        if self._file is not None:
            self._write(block)
        else:
            self._blocks.append(block)
            self._n_kept += block.nbytes

    def _open(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f"{TEMPORARY_PREFIX}{os.getpid()}-", dir=self._folder)
        except OSError as error:
            raise self._full(error) from error
        self._path, self._file = Path(name), os.fdopen(handle, "w+b", buffering=0)

    def _write(self, block: NDArray[np.uint32]) -> None:
        assert self._file is not None
        left = np.ascontiguousarray(block).view(np.uint8).data
        try:
            while len(left):
                left = left[self._file.write(left) :]
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> OutputError:
        message = (
            f"The contributions of the streamlines need more memory than allowed, and cannot be written to "
            f"{self._folder} ({error.strerror or error}). About {self.n_entries * 4 / 1e6:,.0f} MB so far: free some "
            "space there, or raise --max-memory."
        )
        return OutputError(message)

    def blocks(self) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.uint32]]]:
        """Yield in order: number of the first streamline, where each begins (n + 1,), and their entries.

        The entries are good until the next block: those of a file share one buffer.
        """
        if self._counts and (self._waiting or self._first < self.n_streamlines):
            self._close_block()
        if len(self._counts) > 1:
            self._counts = [np.concatenate(self._counts)]
        if self._file is not None:
            self._file.seek(0)
        buffer = np.empty(0, np.uint32)
        for number, (first, last) in enumerate(self._borders):
            starts = np.zeros(last - first + 1, np.int64)
            np.cumsum(self._counts[0][first:last], out=starts[1:])
            n = int(starts[-1])
            if self._file is None:
                yield first, starts, self._blocks[number]
                continue
            if len(buffer) < n:
                buffer = np.empty(n, np.uint32)
            self._read(buffer[:n].view(np.uint8).data)
            yield first, starts, buffer[:n]

    def _read(self, into: memoryview) -> None:
        assert self._file is not None
        done = 0
        while done < len(into):
            n = self._file.readinto(into[done:])  # type: ignore[attr-defined]
            if not n:
                message = f"The file of contributions in {self._folder} became shorter. Check the disk; run again."
                raise OutputError(message)
            done += n
