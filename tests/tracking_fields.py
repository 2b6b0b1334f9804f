"""Small orientation fields and tissue maps whose streamlines are known beforehand.

A lobe is |cos|^8 of the angle to its axis: of order 8 exactly, nowhere negative, 1 at its peak.
"""

from __future__ import annotations

import numpy as np

from tractome.datatypes.fields import OrientationField
from tractome.datatypes.grid import Grid
from tractome.datatypes.tissue import TissueMap
from tractome.kernels.harmonics import sh_basis, spread_directions

LMAX = 8
_SAMPLES = spread_directions(200)
_FIT = np.linalg.pinv(sh_basis(_SAMPLES, LMAX))
CORTEX, DEEP, WHITE, CSF, LESION = range(5)


def grid_of(shape, voxel_mm=2.0, origin=(0, 0, 0)):
    affine = np.diag([*np.broadcast_to(voxel_mm, 3), 1.0])
    affine[:3, 3] = origin
    return Grid(shape, affine)


def lobe(axes):
    """SH coefficients (..., 45) of one lobe about each unit axis (..., 3)."""
    axes = np.asarray(axes, float)
    axes = axes / np.linalg.norm(axes, axis=-1, keepdims=True)
    return (axes @ _SAMPLES.T) ** 8 @ _FIT.T


def field_of(axes, grid, mask=None, scale=1.0):
    """A lobe about the axis of each voxel; `axes` is (3,) or (x, y, z, 3), world."""
    mask = np.ones(grid.shape, bool) if mask is None else mask
    axes = np.broadcast_to(np.asarray(axes, float), (*grid.shape, 3))
    return OrientationField((scale * lobe(axes[mask])).astype(np.float32), mask, grid)


def circles(grid, centre_mm=(0, 0, 0)):
    """Axes along circles about +z through a centre, (x, y, z, 3)."""
    away = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - np.asarray(centre_mm)
    axes = np.stack([-away[..., 1], away[..., 0], 0 * away[..., 0]], -1)
    axes[np.linalg.norm(axes, axis=-1) < 1e-6] = (1, 0, 0)
    return axes


def tissue_of(classes, grid):
    """A tissue map of whole voxels: `classes` (x, y, z) int, -1 outside the brain."""
    return TissueMap((classes[..., None] == np.arange(5)).astype(np.float32), grid)


def slab(grid, left=CORTEX, right=CORTEX, thickness=2):
    """White matter with other tissue at both ends of the first axis."""
    classes = np.full(grid.shape, WHITE)
    classes[:thickness], classes[-thickness:] = left, right
    return tissue_of(classes, grid)


def smooth_axes(rng, grid, bend=0.4):
    """Axes that turn smoothly about +x, in no symmetric way."""
    places = np.moveaxis(np.indices(grid.shape), 0, -1) / np.array(grid.shape)
    waves = np.stack([np.sin(2 * np.pi * (places @ rng.normal(size=3)) + rng.uniform(0, 6)) for _ in range(3)], -1)
    return np.array([1.0, 0.17, 0.29]) + bend * waves


def scene():
    """A bent field among tissues, and options that most seeds survive."""
    rng = np.random.default_rng(8)
    grid = grid_of((18, 12, 9), 2.0, (-20, 4, 7))
    field = field_of(smooth_axes(rng, grid, bend=0.25), grid)
    classes = np.full(grid.shape, WHITE)
    classes[:2], classes[-2:], classes[8:10, 4:6] = CORTEX, CORTEX, CSF
    return field, tissue_of(classes, grid)


def all_of(blocks):
    """Streamlines, stop reasons, seed indices, number of seeds and rejections of an iterator of blocks."""
    streamlines, stops, index, n_seeds, rejected = [], [], [], 0, {}
    for block in blocks:
        streamlines += [block.streamline(i) for i in range(block.n_streamlines)]
        stops.append(block.stop_reasons)
        index.append(block.seed_index)
        n_seeds += block.n_seeds
        for reason, number in block.rejected.items():
            rejected[reason] = rejected.get(reason, 0) + number
    return streamlines, np.concatenate(stops), np.concatenate(index), n_seeds, rejected


def largest_turn_deg(streamline, shortest_mm=1e-3):
    """Largest angle between two segments that follow each other; cropped ends shorter than a hair are left out."""
    segments = np.diff(streamline.astype(float), axis=0)
    lengths = np.linalg.norm(segments, axis=1)
    segments, lengths = segments[lengths > shortest_mm], lengths[lengths > shortest_mm]
    cosines = (segments[1:] * segments[:-1]).sum(axis=1) / (lengths[1:] * lengths[:-1])
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).max(initial=0))
