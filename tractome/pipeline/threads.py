"""How many threads are used: never more than the machine offers."""

from __future__ import annotations

from tractome.pipeline.listener import Listener


def use_threads(n_threads: int, listener: Listener) -> int:
    """Ask for a number of threads (0 for all) and say so when the machine offers fewer; return what is in force."""
    from tractome.kernels._jit import set_threads

    chosen = set_threads(n_threads)
    if n_threads > chosen:
        listener.note(f"--threads {n_threads}: only {chosen} can be used here. The result is the same.")
    return chosen
