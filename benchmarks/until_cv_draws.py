"""Does the rule of `--until-cv` stop where its target is truly met? Draws from known probabilities of edges.

    python benchmarks/until_cv_draws.py [CONNECTOME.npz ...] [--repeats 30] [--targets 0.3 0.2 0.1]

The counts of each connectome, divided by its streamlines, are taken for the true probabilities of its edges. Networks
with log-normal ones are judged besides, another network in each repeat. No tracking is done, so that many runs cost
little; `until_cv.py` judges tracking itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from cells import number, table
from numpy.typing import NDArray

MADE_UP = [(n_regions, spread) for n_regions in (10, 20, 83) for spread in (1.0, 1.5, 2.0, 2.5)]
"""Regions, and standard deviation of the logarithm of the probabilities of edges."""
ASSIGNED = 0.8
"""Share of the streamlines that join two regions in made-up networks."""
FEWEST = 1200
"""Targets that are met before this many streamlines are left out: the first look comes at 1,000."""


Network = Callable[[np.random.Generator], NDArray[np.float64]]
"""Probability of each edge, (n_regions, n_regions) in the upper triangle."""


def networks(paths: list[Path]) -> dict[str, Network]:
    """By name: what a connectome holds, or one that is made up anew each time."""
    from tractome.io.matrices import read_connectome

    found: dict[str, Network] = {}
    for path in paths:
        connectome = read_connectome(path)
        p = np.triu(connectome.matrices["count"] / connectome.n_streamlines, 1)
        found[f"{path.parents[2].name}: {len(p)} regions"] = lambda _, p=p: p
    for n_regions, spread in MADE_UP:
        found[f"log-normal {spread:g}, {n_regions} regions"] = lambda rng, n=n_regions, s=spread: made_up(n, s, rng)
    return found


def made_up(n_regions: int, spread: float, rng: np.random.Generator) -> NDArray[np.float64]:
    p = np.triu(rng.lognormal(0, spread, (n_regions, n_regions)), 1)
    return ASSIGNED * p / p.sum()


def truly_met(p: NDArray[np.float64], target: float) -> float:
    """Number of streamlines at which the weakest of the edges that carry weight has the target."""
    from tractome.stages.connect import CARRIED

    ranked = np.sort(p[p > 0])[::-1]
    weakest = ranked[np.searchsorted(np.cumsum(ranked), CARRIED * ranked.sum())]
    return float((1 - weakest) / weakest / target**2)


def stops(p: NDArray[np.float64], targets: list[float], rng: np.random.Generator) -> dict[float, int]:
    """Where one run stops, by target."""
    from tractome.stages.connect import look_at, round_ends

    places = np.nonzero(p)
    shares = np.append(p[places], 1 - p.sum())
    drawn, before, found = np.zeros(len(shares), np.int64), 0, {}
    for n_streamlines in round_ends(10**9):
        drawn += rng.multinomial(n_streamlines - before, shares)
        before = n_streamlines
        counts = np.zeros(p.shape, np.int64)
        counts[places] = drawn[:-1]
        for target in targets:
            if target not in found and look_at(counts, n_streamlines, target).is_enough(target):
                found[target] = n_streamlines
        if len(found) == len(targets):
            break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("connectomes", type=Path, nargs="*")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--targets", type=float, nargs="+", default=[0.3, 0.2, 0.1])
    given = parser.parse_args()
    rows, everything = [], []
    for name, network in networks(given.connectomes).items():
        ratios: dict[float, list[float]] = {target: [] for target in given.targets}
        for seed in range(given.repeats):
            rng = np.random.default_rng(seed)
            p = network(rng)
            for target, stopped in stops(p, given.targets, rng).items():
                n_true = truly_met(p, target)
                if n_true >= FEWEST:
                    ratios[target].append(stopped / n_true)
        for target, found in ratios.items():
            if found:
                rows.append([name, f"{target:g}", str(len(found)), *_summary(found)])
                everything += found
    print(table(["network", "target", "runs", "stopped at / truly met: median", "5 to 95 %", "within 20 %"], rows))
    print("all", len(everything), *_summary(everything))


def _summary(ratios: list[float]) -> list[str]:
    low, median, high = np.percentile(ratios, [5, 50, 95])
    within = np.mean(np.abs(np.array(ratios) - 1) <= 0.2)
    return [number(float(median), 2), f"{low:.2f} to {high:.2f}", f"{within:.0%}"]


if __name__ == "__main__":
    main()
