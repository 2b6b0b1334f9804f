"""The parameters of the stage analyze."""

from __future__ import annotations

from dataclasses import dataclass

from tractome.option_fields import Checked as _Checked
from tractome.option_fields import option as _option

LENGTH_RULES = ("inverse", "log", "mm")


@dataclass(frozen=True, kw_only=True)
class AnalyzeOptions(_Checked):
    """What the graph says: which weights, which lengths, how many repeats."""

    edge_measure: str | None = _option(
        None, "Measure that weighs the edges; by default weight, count, or the first there is. Not negative."
    )
    edge_density: float | None = _option(
        None, "Keep the strongest edges only, as a share of all pairs of regions.", low=0, high=1
    )
    lengths: str = _option(
        "inverse",
        "How weights become lengths of paths: 1 / weight (inverse), -log of the share of the largest weight (log), or "
        "the mean length of the streamlines whatever the weight (mm).",
        choices=LENGTH_RULES,
    )
    resolution: float = _option(
        1.0, "Of the modularity that communities maximise: higher gives more of them.", low=0.01
    )
    n_partitions: int = _option(100, "Partitions that the consensus of communities is made of.", low=2)
    n_nulls: int = _option(
        50,
        "Rewired graphs of equal degrees that small-worldness and rich club are compared with; 0 leaves them out.",
        low=0,
    )
    long_mm: float | None = _option(
        None,
        "Edges at least this long are long-range; by default the longest quarter of the edges. The length is that of "
        "the streamlines, or where there is none the distance of the centroids.",
        unit="mm",
        low=0,
    )
    spread_from: tuple[str, ...] = _option(
        (), "Regions, by name, that flow spreads from; by default the region of the highest strength."
    )
    spread_time: float = _option(10.0, "How long diffusion is followed, in units of 1 / its rate.", low=0.01)
    random_seed: int = _option(0, "Seed of partitions, rewired graphs and removals.", low=0, high=2**31 - 1)
