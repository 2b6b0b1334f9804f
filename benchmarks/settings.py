"""What every comparison is told: how often, how much, and where it may write."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from measure import N_THREADS, TWO_THREADS, Side
from subjects import PHANTOMS

HERE = Path(__file__).parent
YARDSTICK = "phantom_2mm"


@dataclass(frozen=True)
class Settings:
    """Sizes of the comparisons.

    Parameters
    ----------
    room : Path
        Scratch folder; everything in it may be lost.
    repeats : int
        Counted runs of each side.
    small_voxels : int
        Voxels of the mask that slow peers are timed on.
    select, peer_select : int
        Accepted streamlines of ours and of the peer.
    n_seeds : int
        Seeds where the number of seeds is fixed.
    accuracy_select : int
        Accepted streamlines of both where accuracy is compared.
    random_seeds : int
        Random seeds of both where the luck of one is judged.
    error_runs : int
        Runs whose spread is compared with the standard errors that each predicts.
    largest_curve : int
        Streamlines at the end of the cost curve.
    n_connect : int
        Whole streamlines that are connected.
    connect_sizes : tuple of int
        Rows of the stored tables that are connected.
    chance_sizes : tuple of int
        Streamlines where p-values are judged.
    subjects : tuple of str
        Whose accuracy is compared.
    quick : bool
        Tiny sizes, to see that everything runs; the figures mean nothing.
    """

    room: Path
    repeats: int = 3
    small_voxels: int = 20_000
    select: int = 100_000
    peer_select: int = 5_000
    n_seeds: int = 100_000
    accuracy_select: int = 20_000
    random_seeds: int = 5
    error_runs: int = 50
    largest_curve: int = 1_000_000
    n_connect: int = 1_000_000
    connect_sizes: tuple[int, ...] = (100_000, 1_000_000, 10_000_000)
    chance_sizes: tuple[int, ...] = (5_000, 20_000, 100_000)
    subjects: tuple[str, ...] = (YARDSTICK, *PHANTOMS)
    quick: bool = False


def quick_settings(room: Path) -> Settings:
    """Tiny sizes."""
    return Settings(
        room,
        repeats=1,
        small_voxels=500,
        select=1000,
        peer_select=100,
        n_seeds=1000,
        accuracy_select=500,
        random_seeds=2,
        error_runs=5,
        largest_curve=10_000,
        n_connect=5_000,
        connect_sizes=(1_000, 5_000),
        chance_sizes=(500, 2_000),
        quick=True,
    )


def ours(what: str, words: Sequence[str | Path], work: float, **environment: str) -> Side:
    """A job of jobs.py, with its words."""
    command = [sys.executable, HERE / "jobs.py", *words]
    return Side("tractome", what, [command], work, {**TWO_THREADS, **environment}, compiles=True)


def mrtrix(what: str, commands: Sequence[Sequence[str | Path]], work: float) -> Side:
    """Commands of MRtrix3, on two threads, with a fixed random seed."""
    threaded = [[*command, "-force", "-quiet", "-nthreads", str(N_THREADS)] for command in commands]
    return Side("MRtrix3", what, threaded, work, {"MRTRIX_RNG_SEED": "1"})


def dipy(what: str, words: Sequence[str | Path], work: float) -> Side:
    """A job of dipy_jobs.py, with its words."""
    return Side("DIPY", what, [[sys.executable, HERE / "dipy_jobs.py", *words]], work, dict(TWO_THREADS))
