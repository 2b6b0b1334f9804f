"""b0 and T1: the rigid step between them, and whether they show one brain."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.grid import Grid
from tractome.stages.register.greedy import run_greedy
from tractome.stages.register.quality import RigidStep, detail, mutual_information
from tractome.stages.register.sampling import IDENTITY, resample, transformed, working_grid
from tractome.stages.register.steps import LINEAR, LINEAR_SPACING_MM, MARGIN_MM

TURN_DEG = 30.0


class _Found(NamedTuple):
    """A rigid step and the T1 that it brings to the grid of the b0."""

    information: float
    detail: float
    matrix: NDArray[np.float64]
    image: NDArray[np.float32]


def b0_to_t1(
    b0: NDArray[np.float32],
    mask: NDArray[np.bool_],
    dwi_grid: Grid,
    t1: NDArray[np.float32],
    t1_grid: Grid,
    min_detail: float,
) -> RigidStep:
    """Find the rigid step from the DWI to the T1.

    Compared only within the DWI mask, with the b0 unmasked: a masked b0 pulled the mask's edge to the skull. Started
    from the headers and from matched centres; the one with more mutual information is kept. Where b0 and T1 agree less
    in detail than `min_detail`, turned starts are tried, and then the T1's mirror image, so that a T1 with left and
    right exchanged can be told from one of another person.
    """
    grid = working_grid(mask, dwi_grid, LINEAR_SPACING_MM, MARGIN_MM)
    fixed, inside = resample(b0, dwi_grid, grid), resample(mask, dwi_grid, grid) > 0.5
    whole = working_grid(np.ones((2, 2, 2), dtype=np.bool_), _outline(t1_grid), LINEAR_SPACING_MM, 0.0)
    moving = resample(t1, t1_grid, whole)
    centre = grid.to_world(np.argwhere(inside).mean(axis=0))
    head = _head_centre(moving, whole)

    def best(starts: list[NDArray[np.float64]]) -> _Found:
        matrices = _rigid(fixed, inside, grid, moving, whole, starts)
        images = [resample(moving, whole, grid, matrix) for matrix in matrices]
        scores = [mutual_information(fixed, image, inside) for image in images]
        first = int(np.argmax(scores))
        return _Found(scores[first], detail(fixed, images[first], inside), matrices[first], images[first])

    found = best([IDENTITY, _start(np.eye(3), centre, head)])
    mirrored = float("nan")
    if found.detail < min_detail:
        turned = best([_start(rotation, centre, head) for rotation in _turns()])
        found = turned if turned.detail >= min_detail else found
    if found.detail < min_detail:
        # Mirrored about the middle of the brain as it lies now, so that it starts where it was found.
        plane = np.diag([-1.0, 1.0, 1.0, 1.0])
        plane[0, 3] = 2 * centre[0]
        (way,) = _rigid(fixed, inside, grid, found.image, grid, [plane])
        mirrored = detail(fixed, resample(found.image, grid, grid, way), inside)
    coverage = float((found.image[inside] > 0).mean())
    shift = float(np.linalg.norm(transformed(found.matrix, centre) - centre))
    return RigidStep(found.matrix, found.information, found.detail, mirrored, coverage, shift)


def _start(
    rotation: NDArray[np.float64], centre: NDArray[np.float64], head: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A start (4, 4) that brings one centre to the other and turns about it."""
    matrix = IDENTITY.copy()
    matrix[:3, :3] = rotation
    matrix[:3, 3] = head - rotation @ centre
    return matrix


def _turns() -> list[NDArray[np.float64]]:
    """Rotations by `TURN_DEG` about each axis, both ways."""
    cosine, sine = np.cos(np.radians(TURN_DEG)), np.sin(np.radians(TURN_DEG))
    turns = []
    for axis in range(3):
        matrix = np.eye(3)
        first, second = (axis + 1) % 3, (axis + 2) % 3
        matrix[[first, second], [first, second]] = cosine
        matrix[first, second], matrix[second, first] = -sine, sine
        turns += [matrix, matrix.T]
    return turns


def _rigid(
    fixed: NDArray[np.float32],
    inside: NDArray[np.bool_],
    grid: Grid,
    moving: NDArray[np.float32],
    moving_grid: Grid,
    starts: list[NDArray[np.float64]],
) -> list[NDArray[np.float64]]:
    """From each start (fixed world -> moving world, may mirror) the rigid step that ends best, combined with it."""
    images = {"fixed": (fixed, grid), "inside": (inside, grid)}
    for number, start in enumerate(starts):
        images[f"moving_{number}"] = (moving, Grid(moving_grid.shape, np.linalg.inv(start) @ moving_grid.affine))
    names = [f"rigid_{number}" for number in range(len(starts))]
    found = run_greedy(
        [
            f"{LINEAR} -dof 6 -ia-identity -i fixed moving_{number} -gm inside -o {name}"
            for number, name in enumerate(names)
        ],
        images,
        names,
    )
    return [start @ found[name] for start, name in zip(starts, names, strict=True)]


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
