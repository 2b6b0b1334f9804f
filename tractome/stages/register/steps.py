"""The three steps of a registration, each a call of greedy: rigid, affine, deformable. Worlds are RAS+ mm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.template import Template
from tractome.stages.register.greedy import run_greedy
from tractome.stages.register.quality import mutual_information
from tractome.stages.register.sampling import IDENTITY, resample, working_grid

LINEAR_SPACING_MM = 2.0
DEFORM_SPACING_MM = 1.5
MARGIN_MM = 10.0
_LINEAR = "-V 0 -threads 1 -seed 1 -a -m NMI -n 100x50"
"""One thread: with more, greedy's affine result changes from run to run. The seed fixes its sampling jitter."""
_DEFORM = "-V 0 -seed 1 -m NCC 2x2x2 -s 2vox 0.7vox -n 100x60x20"


def dilated(mask: NDArray[np.bool_], n_voxels: int) -> NDArray[np.bool_]:
    """The mask, larger by a number of voxels on each side."""
    from scipy import ndimage

    return np.asarray(ndimage.binary_dilation(mask, iterations=n_voxels))


def b0_to_t1(
    b0: NDArray[np.float32], mask: NDArray[np.bool_], dwi_grid: Grid, t1: NDArray[np.float32], t1_grid: Grid
) -> tuple[NDArray[np.float64], float]:
    """Rigid, DWI world -> T1 world, and the mutual information in the mask.

    Compared only within the DWI mask, with the b0 unmasked: a masked b0 pulled the mask's edge to the skull. Started
    from the headers and from matched centres; the one with more mutual information is kept.
    """
    grid = working_grid(mask, dwi_grid, LINEAR_SPACING_MM, MARGIN_MM)
    fixed, inside = resample(b0, dwi_grid, grid), resample(mask, dwi_grid, grid) > 0.5
    whole = working_grid(np.ones((2, 2, 2), dtype=np.bool_), _outline(t1_grid), LINEAR_SPACING_MM, 0.0)
    moving = resample(t1, t1_grid, whole)
    starts = [IDENTITY, IDENTITY.copy()]
    starts[1][:3, 3] = _head_centre(moving, whole) - grid.to_world(np.argwhere(inside).mean(axis=0))
    images = {"b0": (fixed, grid), "inside": (inside, grid)}
    for number, start in enumerate(starts):
        shifted = Grid(whole.shape, np.linalg.inv(start) @ whole.affine)
        images[f"t1_{number}"] = (moving, shifted)
    found = run_greedy(
        [f"{_LINEAR} -dof 6 -ia-identity -i b0 t1_{k} -gm inside -o rigid_{k}" for k in range(len(starts))],
        images,
        [f"rigid_{k}" for k in range(len(starts))],
    )
    matrices = [start @ found[f"rigid_{k}"] for k, start in enumerate(starts)]
    scored = [(mutual_information(fixed, resample(moving, whole, grid, matrix), inside), matrix) for matrix in matrices]
    information, matrix = max(scored, key=lambda pair: pair[0])
    return matrix, information


def _head_centre(t1: NDArray[np.float32], grid: Grid) -> NDArray[np.float64]:
    """Rough centre of the brain in a T1 of the head, world mm: the neck is left out."""
    world = grid.to_world(np.argwhere(t1 > 0.5 * t1[t1 > t1.mean()].mean()))
    top = np.percentile(world[:, 2], 99.9)
    return np.asarray(world[world[:, 2] > top - 150.0].mean(axis=0))


def _outline(grid: Grid) -> Grid:
    """A grid of 2 x 2 x 2 voxels whose centres are the corners of another."""
    affine = grid.affine.copy()
    affine[:3, :3] *= np.maximum(np.array(grid.shape) - 1, 1)
    return Grid((2, 2, 2), affine)


def affine(
    image: NDArray[np.float32],
    mask: NDArray[np.bool_],
    grid: Grid,
    template: Template,
    contrast: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Affine, subject world -> template world, and the brain mask refined by the template's.

    In two rounds: the first within the mask that was given, the second within what the template, as it lies then,
    leaves of it.
    """
    average = working_grid(template.t1 > 0, template.grid, LINEAR_SPACING_MM, MARGIN_MM)
    moving = resample(contrast, template.grid, average)
    first = run_greedy(
        [f"{_LINEAR} -dof 12 -ia-image-centers -i fixed moving -o affine"],
        {"fixed": (image * mask, grid), "moving": (moving, average)},
        ["affine"],
    )["affine"]
    brain = _refined(mask, grid, template, first)
    nearby = resample(contrast, template.grid, grid, first)
    second = run_greedy(
        [f"{_LINEAR} -dof 12 -ia-identity -i fixed moving -o affine"],
        {"fixed": (image * brain, grid), "moving": (nearby, grid)},
        ["affine"],
    )["affine"]
    matrix = first @ second
    return matrix, _refined(mask, grid, template, matrix)


def _refined(mask: NDArray[np.bool_], grid: Grid, template: Template, matrix: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where both the given mask, dilated, and the template's brain, dilated by less, are."""
    average = resample(template.t1 > 0, template.grid, grid, matrix) > 0.5
    both = dilated(average, 1) & dilated(mask, 2)
    return both if both.any() else mask


def deform(
    image: NDArray[np.float32],
    brain: NDArray[np.bool_],
    grid: Grid,
    template: Template,
    contrast: NDArray[np.float32],
    matrix: NDArray[np.float64],
    n_threads: int,
) -> NDArray[np.float32]:
    """Warp on `grid`, (x, y, z, 3) float32 mm, to apply before `matrix`."""
    nearby = resample(contrast, template.grid, grid, matrix)
    threads = f"-threads {n_threads} " if n_threads > 0 else ""
    found = run_greedy(
        [f"{threads}{_DEFORM} -i fixed moving -gm brain -o warp"],
        {"fixed": (image * brain, grid), "moving": (nearby, grid), "brain": (brain, grid)},
        ["warp"],
    )
    return found["warp"]
