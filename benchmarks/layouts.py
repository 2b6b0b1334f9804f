"""One head in every layout and storage: `tractome run FOLDER` must give the same matrices.

    python benchmarks/layouts.py [--streamlines 200000] [--voxel-size 2] [--only NAME ...]

Prints, for each variant against the plain one stored as RAS: Pearson correlation of the counts over all edges; the
largest difference of the FA maps over voxels that both have (those stored straight have the same voxels; oblique ones
are compared at the same places, interpolated); how far the mean FA of all streamlines is apart, and that of well-filled
edges, which differs by the chance of tracking. Raw BIDS is not preprocessed here, and is given the tissues that the
others have; its labels come through the T1. Results that are there are compared as they are; --again makes them anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measure import run_measured
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from subjects import PROGRAM

from tractome.io.images import read_volume
from tractome.io.matrices import read_connectome

OUT = Path(__file__).parent / "out" / "layouts"
LIMIT_R = 0.98
LIMIT_FA = 1e-3
WELL_FILLED = 1e-3
"""Share of all streamlines that an edge holds whose mean FA is compared."""


@dataclass(frozen=True)
class Variant:
    """A layout, and the order in which voxels are stored."""

    layout: str
    storage: str

    @property
    def name(self) -> str:
        return f"{self.layout}-{self.storage}"


VARIANTS = (
    Variant("plain", "RAS"),
    Variant("plain", "LAS"),
    Variant("plain", "LPS"),
    Variant("plain", "oblique"),
    Variant("hcp", "LAS"),
    Variant("qsiprep", "LPS"),
    Variant("bids", "LAS"),
)


def run(variant: Variant, voxel_size: float, n_streamlines: int, again: bool) -> Path:
    """Folder of the results of a variant; phantom and results are made where they are not there."""
    folder = OUT / f"subject-{variant.name}-{voxel_size:g}"
    common = ["--seed", "3", "--label-numbers", "freesurfer", "--value-type", "int16"]
    if not (folder / "phantom.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        kind = ["--layout", variant.layout, "--storage", variant.storage, "--voxel-size", f"{voxel_size:g}"]
        run_measured([PROGRAM, "phantom", folder, *kind, *common], OUT / f"{variant.name}.log")
    out = OUT / f"results-{variant.name}-{voxel_size:g}"
    if again:
        shutil.rmtree(out, ignore_errors=True)
    if found := list(out.glob("sub-*/**/*_connectome.npz")):
        return found[0].parents[1]
    words: list[str | Path] = ["--out", out, "--streamlines", str(n_streamlines), "--formats", "npz"]
    if variant.layout == "bids":
        truth = folder / "derivatives" / "truth" / "sub-01" / "anat"
        words += ["--session", "1", "--preprocess", "no", "--tissue", truth / "sub-01_label-5tt_probseg.nii.gz"]
    run_measured([PROGRAM, "run", folder, *words], OUT / f"{variant.name}.log")
    return next(out.glob("sub-*/**/provenance.json")).parent


def compare(first: Path, second: Path) -> dict[str, Any]:
    """Two results of one head; edges are matched by the names of regions."""
    a, b = (read_connectome(next((root / "connectivity").glob("*_connectome.npz"))) for root in (first, second))
    rows = [b.regions.names.index(name) for name in a.regions.names]
    upper = np.triu_indices(len(rows), 1)
    counts = [a.matrices["count"][upper], b.matrices["count"][np.ix_(rows, rows)][upper]]
    fas = [a.matrices["fa"][upper], b.matrices["fa"][np.ix_(rows, rows)][upper]]
    filled = np.minimum(*counts) >= WELL_FILLED * counts[0].sum()
    apart = np.abs(fas[0] - fas[1])[filled]
    means = [np.nansum(fa * count) / count[np.isfinite(fa)].sum() for fa, count in zip(fas, counts, strict=True)]
    maps = _fa_apart(first, second)
    return {
        "r_count": float(np.corrcoef(*counts)[0, 1]),
        "fa_map_largest": float(maps.max()),
        "fa_map_median": float(np.median(maps)),
        "fa_mean_apart": float(abs(means[0] - means[1])),
        "fa_edges_median": float(np.median(apart)),
        "fa_edges_largest": float(apart.max()),
        "n_edges": int(filled.sum()),
    }


def _fa_apart(first: Path, second: Path) -> NDArray[np.float64]:
    paths = (next(root.glob("dwi/*param-fa_dwimap.nii.gz")) for root in (first, second))
    (fa, grid), (other, other_grid) = (read_volume(path) for path in paths)
    inside = np.argwhere(fa > 0)
    places = other_grid.to_voxel(grid.to_world(inside))
    values = map_coordinates(other, places.T, order=1)
    both = values > 0
    return np.abs(fa[tuple(inside[both].T)] - values[both])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streamlines", type=int, default=200_000)
    parser.add_argument("--voxel-size", type=float, default=2.0)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--again", action="store_true")
    given = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    chosen = [each for each in VARIANTS if not given.only or each.name in given.only or each is VARIANTS[0]]
    results = {each.name: run(each, given.voxel_size, given.streamlines, given.again) for each in chosen}
    first, found = results[VARIANTS[0].name], {}
    heads = ("FA map: median, largest", "mean FA", "FA of edges: median, largest")
    print(f"{'variant':18s} {'r(count)':>9s} {heads[0]:>24s} {heads[1]:>8s} {heads[2]:>30s}")
    for name, root in results.items():
        found[name] = line = compare(first, root)
        maps = f"{line['fa_map_median']:.1e}, {line['fa_map_largest']:.1e}"
        edges = f"{line['fa_edges_median']:.1e}, {line['fa_edges_largest']:.1e} (n = {line['n_edges']})"
        print(f"{name:18s} {line['r_count']:9.4f} {maps:>24s} {line['fa_mean_apart']:8.1e} {edges:>30s}")
    (OUT / "layouts.json").write_text(json.dumps(found, indent=2) + "\n")
    low = [name for name, line in found.items() if line["r_count"] < LIMIT_R]
    straight = [name for name in found if not name.endswith("oblique")]
    off = [name for name in straight if found[name]["fa_map_largest"] > LIMIT_FA]
    off += [name for name, line in found.items() if line["fa_mean_apart"] > LIMIT_FA]
    if low or off:
        raise SystemExit(f"below r = {LIMIT_R}: {low}; FA apart by more than {LIMIT_FA}: {off}")


if __name__ == "__main__":
    main()
