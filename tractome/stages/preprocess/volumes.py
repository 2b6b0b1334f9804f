"""Work on many volumes or slices at once, in threads, with results in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from tractome.kernels._jit import n_threads

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep matrix products and decompositions to one thread each: more may change the last digits of a result."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def in_threads(
    task: Callable[[Item], Result], items: Iterable[Item], progress: Progress | None = None
) -> Iterator[Result]:
    """Yield ``task(item)`` of each item, in the order of the items, computed on as many threads as are set.

    Parameters
    ----------
    task : callable
        Must not touch what another item's does.
    items : iterable
    progress : callable or None
        Called with the number of items done and the number there are.
    """
    waiting = list(items)
    n_workers = max(1, min(n_threads(), len(waiting)))
    with one_blas_thread(), ThreadPoolExecutor(n_workers) as pool:
        for done, result in enumerate(pool.map(task, waiting), start=1):
            yield result
            if progress is not None:
                progress(done, len(waiting))
