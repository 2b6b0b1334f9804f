"""The steps from a subject to the template, each a call of greedy: affine, deformable. Worlds are RAS+ mm."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.datatypes.template import Template
from tractome.stages.register.greedy import run_greedy
from tractome.stages.register.sampling import IDENTITY, resample, working_grid

LINEAR_SPACING_MM = 2.0
DEFORM_SPACING_MM = 1.5
MARGIN_MM = 10.0
LINEAR = "-V 0 -threads 1 -seed 1 -a -m NMI -n 100x50"
"""One thread: with more, greedy's affine result changes from run to run. The seed fixes its sampling jitter."""
_DEFORM = "-V 0 -seed 1 -m NCC 2x2x2 -s 2vox 0.7vox -n 100x60x20"


def dilated(mask: NDArray[np.bool_], n_voxels: int) -> NDArray[np.bool_]:
    """The mask, larger by a number of voxels on each side."""
    from scipy import ndimage

    return np.asarray(ndimage.binary_dilation(mask, iterations=n_voxels))


def affine(
    image: NDArray[np.float32],
    mask: NDArray[np.bool_],
    grid: Grid,
    template: Template,
    contrast: NDArray[np.float32],
    unseen: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Affine, subject world -> template world, and the brain mask refined by the template's.

    In two rounds: the first within the mask that was given, the second within what the template, as it lies then,
    leaves of it. With a mask that ends within the brain, because the scan did, the places that it could not see are
    `unseen`: the first round then compares only within the mask, so that nothing is taken for the brain's end, and the
    second one within the template's brain alone in unseen places.
    """
    average = working_grid(template.t1 > 0, template.grid, LINEAR_SPACING_MM, MARGIN_MM)
    moving = resample(contrast, template.grid, average)
    images: dict[str, tuple[NDArray[Any], Grid]]
    if unseen is None:
        start, within = IDENTITY, "-ia-image-centers"
        images = {"fixed": (image * mask, grid), "moving": (moving, average)}
    else:
        start, within = _uncut_start(mask, unseen, grid, template), "-ia-identity -gm inside"
        shifted = Grid(average.shape, np.linalg.inv(start) @ average.affine)
        images = {"fixed": (image, grid), "moving": (moving, shifted), "inside": (mask, grid)}
    command = f"{LINEAR} -dof 12 {within} -i fixed moving -o affine"
    first = start @ run_greedy([command], images, ["affine"])["affine"]
    brain = _refined(mask, grid, template, first, unseen)
    nearby = resample(contrast, template.grid, grid, first)
    second = run_greedy(
        [f"{LINEAR} -dof 12 -ia-identity -i fixed moving -o affine"],
        {"fixed": (image * brain, grid), "moving": (nearby, grid)},
        ["affine"],
    )["affine"]
    matrix = first @ second
    return matrix, _refined(mask, grid, template, matrix, unseen)


def _uncut_start(
    mask: NDArray[np.bool_], unseen: NDArray[np.bool_], grid: Grid, template: Template
) -> NDArray[np.float64]:
    """Start (4, 4) that lays onto the template's brain, along each axis, the end of the mask that was not cut off.

    Where neither end or both were cut off, the centre.
    """
    own, theirs = grid.to_world(np.argwhere(mask)), template.grid.to_world(np.argwhere(template.t1 > 0))
    start = IDENTITY.copy()
    for axis in range(3):
        is_cut = [
            (np.roll(mask, step, axis) & unseen & ~mask).sum() > _CUT_SHARE * mask.sum() for step in (-_REACH, _REACH)
        ]
        percent = 50.0 if is_cut[0] == is_cut[1] else (99.0 if is_cut[0] else 1.0)
        start[axis, 3] = np.percentile(theirs[:, axis], percent) - np.percentile(own[:, axis], percent)
    return start


_REACH = 3
_CUT_SHARE = 0.015
"""A mask reaches into what was not seen by this share of its volume, within as many voxels, where it was cut off."""


def _refined(
    mask: NDArray[np.bool_],
    grid: Grid,
    template: Template,
    matrix: NDArray[np.float64],
    unseen: NDArray[np.bool_] | None,
) -> NDArray[np.bool_]:
    """Where both the given mask, dilated, and the template's brain, dilated by less, are."""
    average = resample(template.t1 > 0, template.grid, grid, matrix) > 0.5
    may_be = dilated(mask, 2)
    if unseen is not None:
        may_be |= unseen
    both = dilated(average, 1) & may_be
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
