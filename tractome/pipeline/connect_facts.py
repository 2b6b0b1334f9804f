"""Numbers of a connectome worth showing."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.connectome import Connectome
from tractome.datatypes.parcellation import Parcellation, RegionTable


def connectome_facts(connectome: Connectome, parcellation: Parcellation) -> dict[str, Any]:
    """Numbers of a connectome worth showing."""
    from tractome.stages.connect import look_at

    count = connectome.matrices["count"]
    sure = look_at(count.astype(np.int64), connectome.n_streamlines, np.inf)
    n_regions = connectome.n_regions
    n_edges = int(np.count_nonzero(np.triu(count, k=1)))
    n_pairs = n_regions * (n_regions - 1) // 2
    correlation, n_homologous = homologous_correlation(connectome)
    return {
        "n_regions": n_regions,
        "missing": list(parcellation.missing),
        "n_edges": n_edges,
        "density": n_edges / n_pairs if n_pairs else float("nan"),
        "n_streamlines": connectome.n_streamlines,
        "n_unassigned": connectome.n_unassigned,
        "unassigned_share": connectome.n_unassigned / max(connectome.n_streamlines, 1),
        "n_self": int(np.trace(count)),
        "n_edges_carrying": sure.n_edges,
        "cv_carrying_median": sure.median_cv,
        "cv_carrying_largest": sure.largest_cv,
        "median_end_mm": median_end_mm(connectome),
        "homologous_strength_correlation": correlation,
        "n_homologous_pairs": n_homologous,
    }


def median_end_mm(connectome: Connectome) -> float | None:
    """Distance that half of the assigned ends are within from their region, to the bin; None where not measured."""
    metadata = connectome.metadata
    if "ends_by_distance" not in metadata:
        return None
    counts = np.cumsum([int(number) for number in metadata["ends_by_distance"].split()])
    if not len(counts) or counts[-1] == 0:
        return None
    return float(metadata["end_distance_bin_mm"]) * (int(np.searchsorted(counts, counts[-1] / 2)) + 1)


def homologous_correlation(connectome: Connectome) -> tuple[float, int]:
    """Pearson correlation of the strengths of left and right regions of one name, and the number of such pairs."""
    pairs = homologous_pairs(connectome.regions)
    present = [(left, right) for left, right in pairs if min(connectome.volumes_mm3[[left, right]]) > 0]
    if len(present) < 3:
        return float("nan"), len(present)
    strength: NDArray[np.float64] = connectome.strength()
    left, right = strength[np.array(present).T]
    if left.std() == 0 or right.std() == 0:
        return float("nan"), len(present)
    return float(np.corrcoef(left, right)[0, 1]), len(present)


_SIDE = re.compile(r"(?<![A-Za-z])(lh|rh|left|right|l|r)(?![A-Za-z])", re.IGNORECASE)


def homologous_pairs(regions: RegionTable) -> list[tuple[int, int]]:
    """Rows of left and right regions whose names differ only in the word for the side."""
    right = {
        _SIDE.sub("*", name): row
        for row, name in enumerate(regions.names)
        if regions.hemispheres[row] == "R" and _SIDE.search(name)
    }
    return [
        (row, right[_SIDE.sub("*", name)])
        for row, name in enumerate(regions.names)
        if regions.hemispheres[row] == "L" and _SIDE.sub("*", name) in right
    ]
