"""Break registration on purpose: what its quality figures say of inputs that are fine, spoiled, or not one head.

    python benchmarks/break_registration.py DATA_FOLDER [--t1 PATH ...] [--only WORD ...] [--whole]

Prints a table with one row per case: what should happen, what happens, the figures, and by how much the labels of the
accepted ones are off, compared with those of the unspoiled scan (median over regions of the distance of centroids along
the axes of the DWI, mm). `--t1` adds T1 images of other people. The last limits of a registration are not applied while
it is measured, but worked out afterwards, so that a bad one shows its figures; where b0 and T1 are refused already,
nothing follows unless `--whole` is given.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation
from tractome.errors import TractomeError
from tractome.io.atlases import read_atlas, read_template
from tractome.io.images import read_volume
from tractome.io.subjects import read_diffusion
from tractome.options import FitOptions, ParcellateOptions, ReadOptions
from tractome.stages.fit import fit_tensors, tensor_maps
from tractome.stages.mask import make_brain_mask
from tractome.stages.register import Registration, quality, register_fa, register_t1, warp_labels
from tractome.stages.register.quality import RegistrationQuality
from tractome.stages.register.sampling import resample

OPTIONS = ParcellateOptions()
FIGURES = ("correlation", "white_matter_dice", "jacobian_low", "jacobian_high", "folded_fraction", "scale")
ATLAS = "desikan-killiany-83"
COLUMNS = (
    *("case", "wanted", "happens", "correlation", "overlap", "Jacobian 1 %", "99 %", "folds", "scale"),
    *("information", "detail", "of the mirror image", "coverage", "labels off, mm", "processor time"),
)


@dataclass(frozen=True, eq=False)
class Head:
    """One case: the images of a scan, and with or without a T1."""

    b0: NDArray[np.float32]
    fa: NDArray[np.float32]
    mask: NDArray[np.bool_]
    grid: Grid
    t1: NDArray[np.float32] | None = None
    t1_grid: Grid | None = None


def read_head(folder: Path) -> Head:
    files = (folder / f"dwi.{suffix}" for suffix in ("nii.gz", "bval", "bvec"))
    image = read_diffusion(*files, make_brain_mask, ReadOptions()).image
    volumes = []
    for values in (image.mean_b0, tensor_maps(fit_tensors(image, FitOptions()))["fa"].values):
        volume = np.zeros(image.grid.shape, dtype=np.float32)
        volume[image.mask] = np.nan_to_num(values)
        volumes.append(volume)
    # The b0 with its head around the brain, as the scanner gave it.
    import nibabel

    first = int(np.flatnonzero(image.gradients.is_b0)[0])
    volumes[0] = np.asarray(nibabel.load(folder / "dwi.nii.gz").dataobj[..., first], dtype=np.float32)
    return Head(volumes[0], volumes[1], image.mask, image.grid)


def centre(grid: Grid) -> NDArray[np.float64]:
    return grid.to_world((np.array(grid.shape) - 1) / 2)


def turned(grid: Grid, matrix: NDArray[np.float64], middle: NDArray[np.float64] | None = None) -> Grid:
    """The grid with its header turned (or mirrored) about a point of the world, its own centre unless given."""
    middle = centre(grid) if middle is None else middle
    affine = np.eye(4)
    affine[:3, :3] = matrix @ grid.affine[:3, :3]
    affine[:3, 3] = middle + matrix @ (grid.affine[:3, 3] - middle)
    return Grid(grid.shape, affine)


def about(axis: int, degrees: float) -> NDArray[np.float64]:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix[[first, first, second, second], [first, second, first, second]] = cosine, -sine, sine, cosine
    return matrix


def moved(grid: Grid, shift: tuple[float, float, float]) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] += shift
    return Grid(grid.shape, affine)


def ball(grid: Grid, middle: NDArray[np.float64], radius_mm: float) -> NDArray[np.bool_]:
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return np.asarray(np.linalg.norm(world - middle, axis=-1) < radius_mm)


def noisy(volume: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """With noise of this share of the median of what is bright."""
    level = share * float(np.median(volume[volume > np.percentile(volume, 75)]))
    return np.abs(volume + np.random.default_rng(0).normal(scale=level, size=volume.shape)).astype(np.float32)


def coarser(volume: NDArray[np.float32], grid: Grid, sizes_mm: tuple[float, float, float]) -> tuple[NDArray, Grid]:
    ratio = np.array(sizes_mm) / grid.voxel_sizes_mm
    affine = grid.affine.copy()
    affine[:3, :3] *= ratio
    affine[:3, 3] = grid.to_world((ratio - 1) / 2)
    target = Grid(tuple(int(n) for n in np.ceil(np.array(grid.shape) / ratio)), affine)
    return resample(volume, grid, target), target


def cut(head: Head, share: float) -> Head:
    """The scan without the lowest slices of the brain, on a smaller grid."""
    heights = np.argwhere(head.mask)[:, 2]
    first = int(np.quantile(heights, share))
    affine = head.grid.affine.copy()
    affine[:3, 3] = head.grid.to_world([0, 0, first])
    b0, fa, mask = (volume[:, :, first:] for volume in (head.b0, head.fa, head.mask))
    return replace(head, b0=b0, fa=fa, mask=mask, grid=Grid(mask.shape, affine))


def distorted(head: Head, largest_mm: float) -> Head:
    """b0 moved along y as echo-planar images are, smoothly at random."""
    field = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=head.b0.shape), 8)
    field *= largest_mm / head.grid.voxel_sizes_mm[1] / np.abs(field[head.mask]).max()
    places = np.indices(head.b0.shape).astype(np.float64)
    places[1] += field
    b0, mask = (ndimage.map_coordinates(v.astype(np.float32), places, order=1) for v in (head.b0, head.mask))
    return replace(head, b0=b0, mask=mask > 0.5)


def t1_cases(head: Head, others: dict[str, Head]) -> Iterator[tuple[str, str, Head]]:
    """Name, what should happen, images."""
    t1, grid = head.t1, head.t1_grid
    middle = head.grid.to_world(np.argwhere(head.mask).mean(axis=0))
    up = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    yield "as it is", "accept", head
    yield "T1 header 78 mm off", "accept", replace(head, t1_grid=moved(grid, (50.0, -40.0, 45.0)))
    for axis, degrees in ((0, 15), (0, 30), (2, 30)):
        tilted = replace(head, t1_grid=turned(grid, about(axis, degrees), middle))
        yield f"T1 turned by {degrees} degrees about {'xyz'[axis]}", "accept", tilted
    for axis, name in enumerate("xyz"):
        yield f"T1 turned by 90 degrees about {name}", "refuse", replace(head, t1_grid=turned(grid, about(axis, 90)))
    yield "T1 upside down (180 degrees about x)", "refuse", replace(head, t1_grid=turned(grid, about(0, 180)))
    yield "T1, y and z of the header exchanged", "refuse", replace(head, t1_grid=turned(grid, np.eye(3)[[0, 2, 1]]))
    yield "T1 mirrored left-right", "refuse", replace(head, t1_grid=turned(grid, np.diag([-1.0, 1, 1])))
    yield "T1 without its lower half", "either", replace(head, t1=np.where(up[..., 2] < middle[2], 0, t1))
    yield "T1 without its front third", "either", replace(head, t1=np.where(up[..., 1] > middle[1] + 25, 0, t1))
    yield "DWI without its lower 30 percent", "accept", cut(head, 0.3)
    spot = middle + np.array([30.0, 10.0, 20.0])
    lesion = replace(head, t1=np.where(ball(grid, spot, 20), 0.3 * t1, t1))
    b0 = np.where(ball(head.grid, spot, 20), 2.5 * head.b0, head.b0).astype(np.float32)
    yield "lesion of 40 mm, in T1 and b0", "accept", replace(lesion, b0=b0)
    yield "noise of 20 percent in T1 and b0", "accept", replace(head, t1=noisy(t1, 0.2), b0=noisy(head.b0, 0.2))
    low, low_grid = coarser(head.b0, head.grid, (4.0, 4.0, 4.0))
    mask = resample(head.mask, head.grid, low_grid) > 0.5
    yield "DWI of 4 mm", "accept", replace(head, b0=low, fa=low, mask=mask, grid=low_grid)
    yield "b0 distorted by up to 8 mm", "accept", distorted(head, 8.0)
    yield "T1 is noise", "refuse", replace(head, t1=noisy(np.zeros_like(t1) + 1, 1.0))
    for name, other in others.items():
        if other.t1 is None:
            yield f"DWI of {name} with this T1", "refuse", replace(other, t1=t1, t1_grid=grid)
        else:
            yield f"T1 of {name}", "refuse", replace(head, t1=other.t1, t1_grid=other.t1_grid)


def fa_cases(heads: dict[str, Head]) -> Iterator[tuple[str, str, Head]]:
    """The way through FA."""
    for name, head in heads.items():
        yield f"FA of {name}, as it is", "accept", head
    head = next(iter(heads.values()))
    middle = head.grid.to_world(np.argwhere(head.mask).mean(axis=0))
    yield "FA turned by 30 degrees about x", "accept", replace(head, grid=turned(head.grid, about(0, 30), middle))
    for axis, name in enumerate("xyz"):
        yield f"FA turned by 90 degrees about {name}", "refuse", replace(head, grid=turned(head.grid, about(axis, 90)))
    yield "FA upside down (180 degrees about x)", "refuse", replace(head, grid=turned(head.grid, about(0, 180)))
    yield "FA mirrored left-right", "not seen", replace(head, grid=turned(head.grid, np.diag([-1.0, 1, 1])))
    yield "FA without its lower 30 percent", "either", cut(head, 0.3)
    spot = head.grid.to_world(np.argwhere(head.mask).mean(axis=0)) + np.array([30.0, 10.0, 20.0])
    yield "lesion of 40 mm, FA 0", "accept", replace(head, fa=np.where(ball(head.grid, spot, 20), 0, head.fa))
    yield "FA with noise of 40 percent", "accept", replace(head, fa=noisy(head.fa, 0.4) * head.mask)
    yield "b0 given as FA", "refuse", replace(head, fa=head.b0 * head.mask)
    random = np.random.default_rng(0).random(head.fa.shape).astype(np.float32)
    yield "FA is noise", "refuse", replace(head, fa=random * head.mask)


@dataclass
class Seen:
    """What the limits were asked, and what they would have said."""

    quality: RegistrationQuality | None = None
    head: tuple[float, ...] = (float("nan"),) * 4
    refused: str = ""


class Stopped(Exception):
    """b0 and T1 were refused: what follows is not wanted."""


def watch(seen: Seen, module: object, whole: bool) -> None:
    """Let a registration go on where a limit would end it, and note which limit it was."""

    def head_limit(rigid: quality.RigidStep, min_detail: float) -> None:
        seen.head = (rigid.information, rigid.detail, rigid.mirrored_detail, rigid.coverage)
        try:
            quality.require_one_head(rigid, min_detail)
        except TractomeError as error:
            seen.refused = short(str(error))
            if not whole:
                raise Stopped from error

    def limit(found: RegistrationQuality, *rest: object) -> None:
        seen.quality = found
        try:
            quality.require_quality(found, *rest)
        except TractomeError as error:
            seen.refused = "; ".join(filter(None, (seen.refused, short(str(error)))))

    module.require_one_head, module.require_quality = head_limit, limit


def short(message: str) -> str:
    reasons = {"exchanged": "mirrored", "mutual": "information", "in the folds": "detail", "T1 shows": "coverage"}
    found = [name for word, name in reasons.items() if word in message]
    numbers = ("correlation", "overlap", "scaled", "volumes", "warp folds")
    return ", ".join(found[:1] or [word for word in numbers if word in message])


def registered(head: Head, template: object) -> Registration:
    if head.t1 is None:
        return register_fa(head.fa, head.grid, head.mask, template, OPTIONS)
    t1 = np.asarray(head.t1, dtype=np.float32)
    return register_t1(t1, head.t1_grid, head.b0, head.grid, head.mask, template, OPTIONS)


def parcellation(found: Registration) -> Parcellation:
    atlas = read_atlas(ATLAS)
    labels, grid = warp_labels(found, atlas.labels, atlas.grid)
    return Parcellation.from_labels(labels, grid, atlas.regions)


def row(name: str, wanted: str, head: Head, template: object, truth: NDArray | None, whole: bool) -> tuple:
    """A line of the table, and where the regions came to lie."""
    import tractome.stages.register as module

    seen, found = Seen(), None
    watch(seen, module, whole)
    start = os.times()
    with contextlib.suppress(Stopped):
        found = places(registered(head, template), head)
    spent = sum(os.times()[:4]) - sum(start[:4])
    agrees = {"accept": not seen.refused, "refuse": bool(seen.refused)}.get(wanted, True)
    happens = f"refused: {seen.refused}" if seen.refused else "accepted"
    figures = [f"{getattr(seen.quality, figure):.2f}" if seen.quality else "" for figure in FIGURES]
    figures += ["" if np.isnan(value) else f"{value:.2f}" for value in seen.head]
    far = truth is not None and found is not None and np.nanmedian(np.linalg.norm(found - truth, axis=1))
    off = "" if far is False else f"{far:.1f}"
    cells = (name, wanted + ("" if agrees else " (**wrong**)"), happens, *figures, off, f"{spent:.0f} s")
    return "| " + " | ".join(cells) + " |", found


def places(found: Registration, head: Head) -> NDArray[np.float64]:
    """Centroids of the regions in mm along the axes of the DWI's own voxels, from the top; no header can move them."""
    return (head.grid.to_voxel(parcellation(found).centroids_mm) - head.grid.shape) * head.grid.voxel_sizes_mm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--t1", type=Path, nargs="*", default=[])
    parser.add_argument("--only", nargs="*", default=[""], help="only cases with one of these words, and the first")
    parser.add_argument("--whole", action="store_true")
    given = parser.parse_args()
    template = read_template()
    scans = {name: read_head(given.data / name) for name in ("philips_dwi_t1", "siemens_42vol", "siemens_3mm")}
    philips = replace(
        scans["philips_dwi_t1"],
        **dict(zip(("t1", "t1_grid"), read_volume(given.data / "philips_dwi_t1" / "T1w.nii.gz"), strict=True)),
    )
    others = {name: scan for name, scan in scans.items() if name != "philips_dwi_t1"}
    for path in given.t1:
        t1, grid = read_volume(path)
        others[path.name.partition(".")[0]] = Head(philips.b0, philips.fa, philips.mask, philips.grid, t1, grid)
    for cases in (t1_cases(philips, others), fa_cases(scans)):
        print("\n| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS), flush=True)
        truth = None
        for name, wanted, case in cases:
            if truth is not None and not any(word in name for word in given.only):
                continue
            is_other = any(word in name for word in ("siemens", "4 mm", "DWI of"))
            line, found = row(name, wanted, case, template, None if is_other else truth, given.whole)
            truth = found if truth is None else truth
            print(line, flush=True)


if __name__ == "__main__":
    main()
