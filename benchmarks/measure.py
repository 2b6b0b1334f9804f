"""Run a program and say how long it took and how much memory it held at most."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """Wall and processor time in seconds; largest resident set of the process or any one of its children in MiB."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def run_measured(command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> Measured:
    """Run `command` to its end, all that it says into `log`; a failing one stops the benchmark with its last words."""
    with log.open("wb") as stream:
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        # wait4 and not wait: only it gives this child's own peak memory.
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        words = log.read_text(errors="replace")[-1500:]
        message = f"{' '.join(map(str, command))}\nended with {process.returncode}:\n{words}"
        raise SystemExit(message)
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
