"""What the program does before anything else."""

from __future__ import annotations

import atexit
import gc

_THRESHOLDS = (50_000, 20, 50)
"""New objects before the youngest are searched for garbage, and how often those before the next older ones are."""


def spare_collector() -> None:
    """Keep Python's search for cyclic garbage from going through what lives as long as the program.

    numba, scipy and nibabel make half a million objects when they are imported. With Python's defaults they are gone
    through again and again meanwhile, and once more when the program ends: measured, 0.4 s of the 1.0 s of processor
    time that a short command takes. Garbage of a running command is still found, and what is left at the end goes with
    the process.
    """
    gc.set_threshold(*_THRESHOLDS)
    atexit.register(gc.freeze)
