"""The next part of a file is read while the one before is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def read_ahead(parts: Iterator[T]) -> Iterator[T]:
    """Yield what an iterator yields, fetching the next in a thread of its own.

    Only for what reads files: one thread alone may enter parallel kernels.
    """
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, parts, None)
        while (part := pending.result()) is not None:
            pending = pool.submit(next, parts, None)
            yield part
