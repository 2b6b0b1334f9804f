"""Equal pieces of work on several threads, by a serial kernel that lets go of Python's lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba


def run_pieces(
    work: Callable[[int, int], object], n: int, size: int, progress: Callable[[int, int], None] | None
) -> None:
    """Call ``work(first, last)`` for each piece of ``range(n)``, on as many threads as `set_threads` allows.

    A kernel compiled with ``prange`` is compiled twice, which doubles the wait of a first use; this needs it once. The
    pieces must not depend on each other. An interrupt waits for the pieces that run, and drops the others.

    Parameters
    ----------
    work : callable
        Runs a serial kernel.
    n, size : int
        How many items there are, and in one piece.
    progress : callable, optional
        Gets items done and items in all.
    """
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        pieces = [(first, min(first + size, n)) for first in range(0, n, size)]
        running = [pool.submit(work, *piece) for piece in pieces]
        try:
            for (_, last), piece in zip(pieces, running, strict=True):
                piece.result()
                if progress is not None:
                    progress(last, n)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
