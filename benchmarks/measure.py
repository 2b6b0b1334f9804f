"""Programs as processes: how long they take and how much memory they hold, side by side and in turns."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

LAUNCHER = Path(__file__).with_name("launch.py")
N_THREADS = 2
TWO_THREADS = {
    name: str(N_THREADS) for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
}
TWO_THREADS["PYTHONDONTWRITEBYTECODE"] = ""  # an installed package has its bytecode
"""For programs of Python; MRtrix3 gets -nthreads."""


@dataclass(frozen=True)
class Measured:
    """Wall and processor time in seconds; largest resident set of the process or any one of its children in MiB."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def run_measured(command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> Measured:
    """Run `command` to its end, all that it says into `log`; a failing one stops the benchmark with its last words."""
    report = log.with_name(f"{log.name}.cost")
    words = [str(part) for part in command]
    with log.open("ab") as stream:
        code = subprocess.run(
            [sys.executable, "-I", LAUNCHER, report, *words],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            check=False,
        ).returncode
    if code != 0:
        message = f"{' '.join(words)}\nended with {code}:\n{log.read_text(errors='replace')[-1500:]}"
        raise SystemExit(message)
    wall, cpu, peak = json.loads(report.read_text())
    report.unlink()
    return Measured(wall, cpu, peak)


@dataclass(frozen=True)
class Side:
    """One program doing one job, as whole processes one after the other.

    Parameters
    ----------
    program : str
        Its name in the table: ``"tractome"``, ``"MRtrix3"``, ``"DIPY"``.
    what : str
        Method and options in a few words.
    commands : sequence of commands
    work : float
        How much it does, in the unit of the contest: voxels, accepted streamlines, seeds.
    environment : mapping
    compiles : bool
        Whether it compiles kernels the first time: then its first run has an empty kernel cache.
    """

    program: str
    what: str
    commands: Sequence[Sequence[str | Path]]
    work: float
    environment: Mapping[str, str] = field(default_factory=dict)
    compiles: bool = False


def run_side(side: Side, log: Path, environment: Mapping[str, str] | None = None) -> Measured:
    """All commands of one side: times added, memory of the largest; `log` is written anew."""
    log.unlink(missing_ok=True)
    runs = [run_measured(command, log, {**side.environment, **(environment or {})}) for command in side.commands]
    return Measured(sum(run.wall_s for run in runs), sum(run.cpu_s for run in runs), max(run.peak_mib for run in runs))


def contest(name: str, sides: Sequence[Side], repeats: int, room: Path) -> list[dict[str, Any]]:
    """Run all sides in turns and give one line per side; the last side is the one that ratios compare with.

    A side that compiles has a run that is not counted first, with an empty kernel cache, which its counted runs then
    find filled; that run also brings the input files into the page cache for all. ``ratio`` is the rate of a side by
    that of the last.
    """
    kernels = room / f"{name}-kernels"
    shutil.rmtree(kernels, ignore_errors=True)
    places = [({"TRACTOME_CACHE_DIR": str(kernels / str(index))}) for index in range(len(sides))]
    logs = [room / f"{name}-{index}-{side.program}.log" for index, side in enumerate(sides)]
    first = [
        run_side(side, log, place) if side.compiles else None
        for side, log, place in zip(sides, logs, places, strict=True)
    ]
    runs: list[list[Measured]] = [[] for _ in sides]
    for _ in range(repeats):
        for mine, side, log, place in zip(runs, sides, logs, places, strict=True):
            mine.append(run_side(side, log, place))
    shutil.rmtree(kernels, ignore_errors=True)
    lines = [_line(side, mine, cold) for side, mine, cold in zip(sides, runs, first, strict=True)]
    for line, log in zip(lines, logs, strict=True):
        line["ratio"] = line["rate"] / lines[-1]["rate"]
        line["log"] = str(log)
    return lines


def _line(side: Side, runs: Sequence[Measured], first: Measured | None) -> dict[str, Any]:
    wall = median(run.wall_s for run in runs)
    line = {
        "program": side.program,
        "what": side.what,
        "work": side.work,
        "wall_s": wall,
        "walls_s": [run.wall_s for run in runs],
        "cpu_s": median(run.cpu_s for run in runs),
        "peak_mib": median(run.peak_mib for run in runs),
        "rate": side.work / wall,
    }
    if first is not None:
        line["first_wall_s"] = first.wall_s
        line["compile_s"] = max(0.0, first.wall_s - wall)
    return line
