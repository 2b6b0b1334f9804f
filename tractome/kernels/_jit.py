"""The numba flags, and where compiled kernels are kept, in one place.

numba's own cache does not notice a change in a function that is called from another file, and would go on running
the old machine code. So the cache folder is named by a hash of every kernel source file, the numba and numpy versions
and the processor: any change there starts an empty cache.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy
from numba.extending import overload

F = TypeVar("F", bound=Callable[..., Any])


def _source_hash() -> str:
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    digest.update(f"{numba.__version__} {numpy.__version__} {platform.machine()}".encode())
    return digest.hexdigest()[:16]


def _cache_folder() -> str:
    base = os.environ.get("TRACTOME_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    candidates = [Path(base) / "tractome"] if base else []
    candidates.append(Path.home() / ".cache" / "tractome")
    candidates.append(Path(tempfile.gettempdir()) / f"tractome-{os.getuid() if hasattr(os, 'getuid') else 'user'}")
    for candidate in candidates:
        folder = candidate / "kernels" / _source_hash()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return str(folder)
    return ""


if "NUMBA_CACHE_DIR" not in os.environ and (_folder := _cache_folder()):
    numba.config.CACHE_DIR = _folder

# Threads that wait for the next parallel kernel sleep. By default they spin, which takes the time of whoever works
# between two kernels: reading ahead, sums in streamline order, other programs (measured in connect: a third of it).
for _name, _value in (("OMP_WAIT_POLICY", "passive"), ("GOMP_SPINCOUNT", "0"), ("KMP_BLOCKTIME", "0")):
    os.environ.setdefault(_name, _value)

# Full `fastmath` stays off: a NaN test must stay one. Sums may be reordered into vector lanes: that order is fixed when
# the kernel is compiled, so the same machine gives the same bytes for any threads or blocks. Products are not fused
# ("contract"): measured, the process that compiles then runs other machine code than those that load it from the cache.
_FLAGS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"reassoc"}}


def kernel(function: F) -> F:
    """Compile a serial kernel (lazily, cached)."""
    compiled: F = numba.njit(**_FLAGS)(function)
    return compiled


_BARE_FLAGS = {**_FLAGS, "_nrt": False}


def bare_kernel(function: F) -> F:
    """Compile a serial kernel that allocates nothing.

    It goes without numba's reference counts: where arrays are handed down from function to function they took more
    time than the arithmetic (measured in tracking: two thirds), and threads that count one array wait for each other.
    """
    compiled: F = numba.njit(**_BARE_FLAGS)(function)
    return compiled


def inner_kernel(function: F) -> F:
    """Compile a bare kernel that only kernels call: it has no way in from Python, which takes time to compile."""
    compiled: F = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_BARE_FLAGS)(function)
    return compiled


def kernel_by_type(stub: Callable[..., Any], *types: type) -> Callable[[F], F]:
    """Make a function what bare kernels run when they call `stub` with one of these named tuples first.

    Which it is follows from the type of the first argument when the caller is compiled: a caller is compiled only for
    the types that it meets.
    """

    def register(function: F) -> F:
        def choose(first: Any, *_: Any) -> F | None:
            return function if getattr(first, "instance_class", None) in types else None

        # numba compares the names of this function's arguments with those of the other.
        choose.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        options = {flag: value for flag, value in _BARE_FLAGS.items() if flag != "cache"}
        overload(stub, jit_options=options)(choose)
        return function

    return register


def parallel_kernel(function: F) -> F:
    """Compile a kernel whose ``prange`` loops run on all numba threads."""
    compiled: F = numba.njit(parallel=True, **_FLAGS)(function)
    return compiled


prange = numba.prange


def set_threads(n_threads: int) -> int:
    """Ask for a number of threads for parallel kernels.

    Parameters
    ----------
    n_threads : int
        Wanted number of threads; 0 or less means all there are.

    Returns
    -------
    int
        The number in force: never above what the machine offers.
    """
    available: int = numba.config.NUMBA_NUM_THREADS
    chosen = available if n_threads <= 0 else min(n_threads, available)
    numba.set_num_threads(chosen)
    return chosen


def n_threads() -> int:
    """Number of threads in force, see `set_threads`."""
    return int(numba.get_num_threads())


_SMALLEST_SHARE = 8
"""The last pieces of a sweep are this much smaller than the first."""


def sweep(task: Callable[..., None], begin: int, end: int, n_per_piece: int, *arguments: Any) -> None:
    """Run a serial kernel ``task(begin, end, *arguments)`` over a range in pieces, on as many threads as are set.

    For kernels that are long to compile: as the body of a ``prange`` they would be compiled twice. Which thread does
    which piece is left to chance; a piece must write only what is its own. Pieces have at most `n_per_piece` items and
    get smaller towards the end, so that no thread waits long for the last of another.
    """
    n_workers = n_threads()
    if n_workers < 2 or end - begin <= n_per_piece // _SMALLEST_SHARE:
        for first in range(begin, end, n_per_piece):
            task(first, min(first + n_per_piece, end), *arguments)
        return
    pieces, first = [], begin
    while first < end:
        n_fair = (end - first) // (2 * n_workers)
        last = min(first + max(min(n_per_piece, n_fair), n_per_piece // _SMALLEST_SHARE, 1), end)
        pieces.append((first, last))
        first = last
    with ThreadPoolExecutor(min(n_workers, len(pieces))) as pool:
        for done in [pool.submit(task, *piece, *arguments) for piece in pieces]:
            done.result()
