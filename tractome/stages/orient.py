"""Whether the gradient directions fit the image: the right ones make fibres run on from voxel to voxel.

A flipped or exchanged axis of the b-vectors turns every fibre, but leaves FA and the angle between two neighbours'
fibres as they are. What changes is whether the line from a voxel to its neighbour is the way its fibre runs. Along
fibres neighbours are more alike than across them, and only with the right directions does "along" mean along
(Schilling et al. 2019, doi:10.1016/j.mri.2018.10.006, call it fibre continuity; Jeurissen et al. 2014,
doi:10.1016/j.media.2014.05.012, judge by the lengths of streamlines). One tensor fit serves all candidates: permuting
the directions permutes the tensor with them.

Left and right cannot be told apart: a head mirrored together with its directions has mirrored, equally coherent fibres.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import DiffusionImage, GradientTable
from tractome.datatypes.grid import Grid
from tractome.datatypes.orientation import OrientationVerdict

MIN_FA = 0.2
SHARPNESS = 8
"""A neighbour counts by this power of the cosine between the fibre and the way to it: within about 30 degrees."""
BLOCK_MM = 16.0
"""Blocks as long as fibres stay together: scores of two blocks are all but independent."""
MIN_MARGIN = 3.0
"""Of 400 random slabs and boxes of three real scans and a phantom, none of the 136 with a larger margin was judged
wrongly, 1 of 61 with a margin of 2 to 3 (benchmarks/orientation_margins.py)."""
MIN_BLOCKS = 10
MAX_CENTRES = 60_000
MAX_B_S_PER_MM2 = 1500.0
MIN_VOLUMES = 12
_VOXELS_PER_PIECE = 2048
_NEIGHBOURS = [offset for offset in itertools.product((-1, 0, 1), repeat=3) if any(offset)]


def find_gradient_orientation(image: DiffusionImage, axes: str = "image") -> OrientationVerdict:
    """Find which flip and order of axes of the directions makes the most coherent fibres.

    Parameters
    ----------
    image : DiffusionImage
        With the directions as given, in world axes. Its gradient nonlinearity is left aside: it turns directions by a
        few degrees, not by a quarter.
    axes : str
        In which axes the file holds its directions: ``"image"`` (FSL's bvecs) or ``"world"`` (MRtrix3's tables).

    Returns
    -------
    OrientationVerdict
    """
    fa, principal = tensor_fibres(image)
    return judge_orientation(fa, principal, image.mask, image.grid, axes)


def judge_orientation(
    fa: NDArray[np.float64],
    principal: NDArray[np.float64],
    mask: NDArray[np.bool_],
    grid: Grid,
    axes: str = "image",
) -> OrientationVerdict:
    """Judge directions by fibres that are known already.

    Parameters
    ----------
    fa : (n_voxels,) float64
        Fractional anisotropy, in the order of ``mask.nonzero()``.
    principal : (n_voxels, 3) float64
        Unit principal directions as the given table makes them, world axes.
    mask : (x, y, z) bool
    grid : Grid
    axes : str
        See `find_gradient_orientation`.

    Returns
    -------
    OrientationVerdict
    """
    transforms = signed_permutations()
    gains, weights, n_voxels = _sums(fa, principal, mask, grid, _file_frame(grid, axes), transforms)
    scores = gains.sum(axis=0) / np.maximum(weights.sum(axis=0), 1e-30)
    margins = _margins(gains, weights, scores)
    best = int(np.argmax(scores))
    is_sure = len(gains) >= MIN_BLOCKS and bool((margins >= MIN_MARGIN).all())
    verdict = ("as_given" if best == 0 else "other") if is_sure else "cannot_tell"
    return OrientationVerdict(verdict, axes, transforms, scores, margins, n_voxels, len(gains))


def signed_permutations() -> NDArray[np.int8]:
    """The 24 signed permutation matrices that differ by more than a common sign, the identity first, (24, 3, 3)."""
    found = []
    for order in itertools.permutations(range(3)):
        # Of a matrix and its opposite, the one with at most one negative sign.
        for negated in (None, 0, 1, 2):
            matrix = np.eye(3, dtype=np.int8)[list(order)]
            if negated is not None:
                matrix[negated] *= -1
            found.append(matrix)
    return np.array(found)


def _file_frame(grid: Grid, axes: str) -> NDArray[np.float64]:
    """Axes in which the file holds its directions, as columns in world axes, (3, 3)."""
    if axes == "world":
        return np.eye(3)
    # FSL's frame is the image axes, with x negated when the affine's determinant is positive.
    frame: NDArray[np.float64] = grid.rotation @ np.diag([-1.0 if grid.determinant > 0 else 1.0, 1.0, 1.0])
    return frame


def _volumes(gradients: GradientTable) -> NDArray[np.int64]:
    """b0 and the lowest shells: where a tensor describes the signal, and not more than it takes."""
    chosen = [int(volume) for volume in np.flatnonzero(gradients.is_b0)]
    n_weighted = 0
    for shell in gradients.shells:
        if n_weighted >= MIN_VOLUMES and (shell.b_s_per_mm2 > MAX_B_S_PER_MM2 or n_weighted >= 3 * MIN_VOLUMES):
            break
        chosen += shell.volumes
        n_weighted += shell.n_volumes
    return np.array(sorted(chosen), dtype=np.int64)


def tensor_fibres(image: DiffusionImage) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fibres as a quick tensor fit of the lowest shells shows them.

    Parameters
    ----------
    image : DiffusionImage

    Returns
    -------
    fa : (n_voxels,) float64
        0 where there is no tensor.
    principal : (n_voxels, 3) float64
        Unit directions, world axes; zeros where there is no tensor.
    """
    from tractome.kernels import tensor
    from tractome.kernels._jit import sweep

    n, volumes = image.n_voxels, _volumes(image.gradients)
    moments = tensor.tensor_moments(image.gradients.bvals[volumes], image.gradients.bvecs[volumes])
    start = tensor.tensor_start(moments, len(volumes))
    tensors, s0 = np.empty((n, 6), np.float32), np.empty(n, np.float32)
    counts = (np.empty(n, np.int8), np.empty(n, np.int32))
    linear = np.empty((0, 3, 3), np.float32)
    written = (linear, tensors, s0, *counts)
    sweep(tensor.fit_tensors, 0, n, _VOXELS_PER_PIECE, image.signal, volumes, moments, start, 1, *written)
    values, principal = np.empty((n, 3)), np.empty((n, 3))
    tensor.decompose(tensors, values, principal)
    values = np.clip(np.nan_to_num(values), 0.0, None)
    spread = ((values - values.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    return np.sqrt(1.5 * spread / np.maximum((values**2).sum(axis=1), 1e-30)), principal


def _sums(
    fa: NDArray[np.float64],
    principal: NDArray[np.float64],
    mask: NDArray[np.bool_],
    grid: Grid,
    frame: NDArray[np.float64],
    transforms: NDArray[np.int8],
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Weighted likeness of neighbours and the weights, per block and transform, and the voxels they come from.

    Likeness is counted from its mean over all pairs of the same offset, so that a neighbour across a thick slice, less
    alike because it is further away, speaks neither for nor against the directions that point to it.
    """
    chosen = np.flatnonzero(fa > MIN_FA)
    voxels = np.argwhere(mask)[chosen]
    places = np.full(tuple(n + 2 for n in mask.shape), -1, dtype=np.int64)
    places[tuple((voxels + 1).T)] = np.arange(len(chosen))
    centres = np.arange(0, len(chosen), max(1, -(-len(chosen) // MAX_CENTRES)))
    # Sorted by block, the sums of a block are those of a run of rows.
    size = np.maximum(np.rint(BLOCK_MM / grid.voxel_sizes_mm), 1).astype(np.int64)
    blocks = np.ravel_multi_index(tuple((voxels[centres] // size).T), tuple(-(-np.array(mask.shape) // size)))
    order = np.argsort(blocks, kind="stable")
    names, block_of = np.unique(blocks[order], return_inverse=True)
    centres = centres[order]
    gains, weights = np.zeros((2, len(names), len(transforms)))
    directions, anisotropy = np.einsum("ni,ij->nj", principal[chosen], frame), fa[chosen]
    for offset in _NEIGHBOURS:
        neighbour = places[tuple((voxels[centres] + 1 + offset).T)]
        paired = neighbour >= 0
        if not paired.any():
            continue
        here, there = centres[paired], neighbour[paired]
        weight = anisotropy[here] * anisotropy[there]
        likeness = (directions[here] * directions[there]).sum(axis=1) ** 2
        likeness -= np.average(likeness, weights=weight)
        way = frame.T @ (grid.affine[:3, :3] @ np.array(offset))
        # The way seen from each candidate, instead of each candidate's directions: 24 vectors in place of millions.
        ways = np.einsum("cij,i->cj", transforms, way / np.linalg.norm(way))
        along = np.abs(np.einsum("nj,cj->nc", directions[here], ways))
        share = along**SHARPNESS * weight[:, None]
        firsts = np.flatnonzero(np.diff(block_of[paired], prepend=-1))
        rows = block_of[paired][firsts]
        weights[rows] += np.add.reduceat(share, firsts)
        gains[rows] += np.add.reduceat(share * likeness[:, None], firsts)
    filled = weights.sum(axis=1) > 0
    return gains[filled], weights[filled], len(centres)


def _margins(
    gains: NDArray[np.float64], weights: NDArray[np.float64], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far each score lies below the best, in standard errors of that difference (jackknife over blocks)."""
    n_blocks, best = len(gains), int(np.argmax(scores))
    if n_blocks < 2:
        return np.full(len(scores), np.nan)
    without = (gains.sum(axis=0) - gains) / np.maximum(weights.sum(axis=0) - weights, 1e-30)
    differences = without[:, best, None] - without
    spread = ((differences - differences.mean(axis=0)) ** 2).sum(axis=0)
    errors = np.sqrt((n_blocks - 1) / n_blocks * spread)
    margins: NDArray[np.float64] = (scores[best] - scores) / np.maximum(errors, 1e-30)
    margins[best] = np.inf
    return margins
