"""The packed signal of a scan: the values inside the mask, one row per voxel, in one pass over the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.io.nifti import NiftiFile, stored_pieces

Progress = Callable[[int, int], None]
Gathered = tuple[int, bool]

VOLUMES_AT_A_TIME = 16
"""Gathered before they are spread over the packed array: their values of a voxel are one line of memory."""
VALUES_PER_PIECE = 1 << 18
"""Of an uncompressed volume: read and gathered before the next is read, so that it stays near the processor."""
VOXELS_PER_PIECE = 1 << 15


def pack_volumes(
    file: NiftiFile, kept: NDArray[np.intp], mask: NDArray[np.bool_], progress: Progress | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_], int]:
    """Read some volumes inside a mask.

    Parameters
    ----------
    file : NiftiFile
    kept : (v,) intp
        Volumes to read, rising.
    mask : (x, y, z) bool
    progress : callable or None
        Called with the number of volumes read and the number there are.

    Returns
    -------
    signal : (n_voxels, v) float32
        Values that are not finite are 0.
    filled : (v,) bool
        False for volumes that are 0 in the whole mask.
    n_replaced : int
        Number of values that were not finite.
    """
    from tractome.kernels._jit import sweep
    from tractome.kernels.packing import spread

    # Rows are in C order of the mask; in the file, x runs fastest.
    places = np.ravel_multi_index(mask.nonzero(), mask.shape, order="F")
    rows = np.argsort(places, kind="stable")
    places = places[rows]
    signal = np.empty((len(places), len(kept)), dtype=np.float32)
    filled, n_replaced = np.zeros(len(kept), dtype=np.bool_), 0
    room = np.empty((min(VOLUMES_AT_A_TIME, len(kept)), len(places)), dtype=np.float32)
    gathered = _gathered_streaming if file.is_compressed else _gathered_anywhere
    column = 0
    for column, (n_bad, is_filled) in enumerate(gathered(file, kept, places, room, progress)):
        n_replaced += n_bad
        filled[column] = is_filled
        n_waiting = column % len(room) + 1
        if n_waiting == len(room) or column == len(kept) - 1:
            arguments = (room[:n_waiting], rows, column + 1 - n_waiting, signal)
            sweep(spread, 0, len(places), VOXELS_PER_PIECE, *arguments)
    return signal, filled, n_replaced


def _gathered_streaming(
    file: NiftiFile,
    kept: NDArray[np.intp],
    places: NDArray[np.intp],
    room: NDArray[np.float32],
    progress: Progress | None,
) -> Iterator[Gathered]:
    """Gather volumes of a compressed file into `room`, one after the other, while the next is decompressed."""
    wanted, column = set(kept.tolist()), 0
    for index, stored in enumerate(_one_ahead(file.stored_volumes())):
        if index in wanted:
            result = _gather(file, stored, 0, places, room[column % len(room)])
            column += 1
        if progress is not None:
            progress(index + 1, file.n_volumes)
        if index in wanted:
            yield result


def _gathered_anywhere(
    file: NiftiFile,
    kept: NDArray[np.intp],
    places: NDArray[np.intp],
    room: NDArray[np.float32],
    progress: Progress | None,
) -> Iterator[Gathered]:
    """Gather volumes of an uncompressed file into `room`, as many at a time as fit there, on all threads."""
    from tractome.kernels._jit import n_threads

    file.require_whole()
    # No piece begins before the first wanted place or ends after the last.
    cuts = np.searchsorted(places, np.arange(places[0], places[-1] + VALUES_PER_PIECE, VALUES_PER_PIECE))
    cuts[-1] = len(places)
    pieces = [(int(begin), int(end)) for begin, end in pairwise(cuts) if end > begin]
    ranges = [(int(places[begin]), int(places[end - 1]) + 1) for begin, end in pieces]

    def gather_volume(volume: int, out: NDArray[np.float32]) -> Gathered:
        n_bad, is_filled = 0, False
        for (begin, end), (first, _), stored in zip(pieces, ranges, stored_pieces(file, volume, ranges), strict=True):
            n_more, is_more = _gather(file, stored, first, places[begin:end], out[begin:end])
            n_bad, is_filled = n_bad + n_more, is_filled or is_more
        return n_bad, is_filled

    with ThreadPoolExecutor(n_threads()) as pool:
        for start in range(0, len(kept), len(room)):
            volumes = kept[start : start + len(room)].tolist()
            jobs = [pool.submit(gather_volume, volume, room[place]) for place, volume in enumerate(volumes)]
            for volume, job in zip(volumes, jobs, strict=True):
                result = job.result()
                if progress is not None:
                    progress(volume + 1, file.n_volumes)
                yield result
    if progress is not None and kept[-1] + 1 < file.n_volumes:
        progress(file.n_volumes, file.n_volumes)


def _gather(
    file: NiftiFile, stored: NDArray[Any], first: int, places: NDArray[np.intp], out: NDArray[np.float32]
) -> Gathered:
    from tractome.kernels.packing import gather

    native = stored if stored.dtype.isnative else stored.astype(stored.dtype.newbyteorder("="))
    if native.dtype.itemsize > 8 or native.dtype == np.float16:  # kinds that kernels do not know
        native = native.astype(np.float64)
    n_bad, is_filled = gather(native, first, places, file.slope, file.inter, out)
    return int(n_bad), bool(is_filled)


def _one_ahead(volumes: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Yield what an iterable yields, the next one being made on another thread meanwhile."""
    source = iter(volumes)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, source, None)
        while (volume := waiting.result()) is not None:
            waiting = pool.submit(next, source, None)
            yield volume
