"""How far the gradient orientation test can be trusted: its margin on whole scans, and how often it errs on pieces.

    python benchmarks/orientation_margins.py DATA_FOLDER

Whole scans: verdict, margin and processor time. Pieces: random boxes (20 to 80 mm) and slabs (2 slices to 30 mm) of the
same scans, many too small to tell; for each range of margins, how many there were and in how many of them another
transform than the right one came out best. What holds for the directions as given holds for every flip and order of
axes of them, which only renames the candidates.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import DiffusionImage
from tractome.datatypes.orientation import transform_words
from tractome.io.subjects import read_diffusion
from tractome.options import ReadOptions
from tractome.stages.mask import make_brain_mask
from tractome.stages.orient import MIN_FA, find_gradient_orientation, judge_orientation, tensor_fibres

SCANS = ("philips_dwi_t1", "siemens_42vol", "siemens_3mm", "phantom_2mm", "multishell_slices")
N_PIECES = 100
EDGES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, np.inf)


def read_scan(folder: Path) -> DiffusionImage:
    mask = folder / "mask.nii.gz"
    files = (folder / f"dwi.{suffix}" for suffix in ("nii.gz", "bval", "bvec"))
    return read_diffusion(*files, mask if mask.is_file() else make_brain_mask, ReadOptions()).image


def piece(voxels: NDArray[np.intp], spacing_mm: float, random: np.random.Generator) -> NDArray[np.bool_]:
    """A random box or slab of the voxels."""
    if random.integers(2):
        side = random.uniform(20, 80) / spacing_mm
        centre = voxels[random.integers(len(voxels))]
        return np.asarray((np.abs(voxels - centre) < side / 2).all(axis=1))
    along = voxels[:, random.integers(3)]
    thickness = int(random.integers(2, max(3, int(30 / spacing_mm))))
    first = random.integers(along.min(), along.max() - thickness + 1)
    return np.asarray((along >= first) & (along < first + thickness))


def margins_of_pieces(image: DiffusionImage, random: np.random.Generator) -> list[tuple[float, bool]]:
    """Margin, and whether the best transform was the right one."""
    fa, principal = tensor_fibres(image)
    voxels = np.argwhere(image.mask)
    found = []
    while len(found) < N_PIECES:
        kept = piece(voxels, float(image.grid.voxel_sizes_mm.mean()), random)
        if (fa[kept] > MIN_FA).sum() < 100:
            continue
        mask = np.zeros_like(image.mask)
        mask[tuple(voxels[kept].T)] = True
        verdict = judge_orientation(fa[kept], principal[kept], mask, image.grid)
        if np.isfinite(verdict.margin):
            found.append((verdict.margin, verdict.best == 0))
    return found


def main(data: Path) -> None:
    random, pieces = np.random.default_rng(0), []
    print("| scan | verdict | margin | next | voxels | blocks | processor time |\n|---|---|---|---|---|---|---|")
    for name in SCANS:
        image = read_scan(data / name)
        find_gradient_orientation(image)  # compiles
        start = time.process_time()
        verdict = find_gradient_orientation(image)
        seconds = time.process_time() - start
        following = transform_words(verdict.transforms[verdict.runner_up])
        cells = (name, verdict.verdict, f"{verdict.margin:.1f}", following, f"{verdict.n_voxels:,}", verdict.n_blocks)
        print("|", " | ".join(map(str, cells)), f"| {seconds:.1f} s |", flush=True)
        if name != "multishell_slices":
            pieces += margins_of_pieces(image, random)
    margins, right = np.array([margin for margin, _ in pieces]), np.array([ok for _, ok in pieces])
    print("\n| margin | pieces | wrong |\n|---|---|---|")
    for low, high in itertools.pairwise(EDGES):
        chosen = (margins >= low) & (margins < high)
        print(f"| {low:g} to {high:g} | {chosen.sum()} | {(~right[chosen]).sum()} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
