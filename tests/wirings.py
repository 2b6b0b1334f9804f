"""Small random subjects for the tests of connect, export and compare: labels, maps, streamlines."""

from __future__ import annotations

import numpy as np

from tractome.datatypes.connectome import Connectome
from tractome.datatypes.fields import ScalarMap
from tractome.datatypes.grid import Grid
from tractome.datatypes.parcellation import Parcellation, RegionTable
from tractome.datatypes.tractogram import Tractogram
from tractome.options import ConnectOptions

NAMES = ("L Übergang", "ctx-lh-a&b", "ctx-rh-<c>", "deep_1", "Stem, lower", "missing")


def rotation(rng):
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


def random_grid(rng, shape=(9, 8, 7), sheared=False):
    """Anisotropic, oblique, perhaps flipped, perhaps sheared."""
    linear = rotation(rng) @ np.diag(rng.uniform(0.8, 3.0, 3))
    if sheared:
        linear = linear @ (np.eye(3) + np.triu(rng.uniform(-0.3, 0.3, (3, 3)), 1))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = linear, rng.uniform(-30, 30, 3)
    return Grid(shape, affine)


def region_table(n_regions=6):
    return RegionTable(
        np.arange(10, 10 + n_regions),
        NAMES[:n_regions],
        tuple("LRB"[i % 3] for i in range(n_regions)),
        ("cortex",) * n_regions,
        ("",) * n_regions,
        np.arange(3.0 * n_regions).reshape(-1, 3),
        "test-atlas",
    )


def parcellation(rng, grid=None, share=0.3):
    """Random voxels of every region but the last, which this subject lacks."""
    grid = grid or random_grid(rng)
    table = region_table()
    labels = rng.integers(10, 10 + table.n_regions - 1, grid.shape)
    labels[rng.random(grid.shape) > share] = 0
    labels.flat[: table.n_regions - 1] = np.arange(10, 10 + table.n_regions - 1)
    return Parcellation.from_labels(labels, grid, table)


def scalar_map(rng, grid, name="fa", unit="unitless", share=0.9):
    mask = rng.random(grid.shape) < share
    mask.flat[0] = True
    return ScalarMap(name, unit, rng.random(int(mask.sum())).astype(np.float32), mask, grid)


def tractogram(rng, grid, n_streamlines=60, margin=1.5):
    """Random walks that begin in or near the volume; some have a single point, some leave the volume."""
    sizes = rng.integers(1, 12, n_streamlines)
    starts = rng.uniform(-margin, np.array(grid.shape) - 1 + margin, (n_streamlines, 3))
    points = [
        grid.to_world(s + np.cumsum(rng.normal(0, 0.7, (n, 3)), axis=0)) for s, n in zip(starts, sizes, strict=True)
    ]
    return block(points)


def block(streamlines):
    offsets = np.concatenate([[0], np.cumsum([len(points) for points in streamlines])])
    n = len(streamlines)
    points = np.concatenate(streamlines).astype(np.float32) if n else np.zeros((0, 3), np.float32)
    return Tractogram(points, offsets, np.arange(n), np.zeros((n, 2), np.int8))


def subject(seed, n_streamlines=60, map_names=("fa", "md")):
    """Parcellation, maps on another grid over the same space, and a block of streamlines."""
    rng = np.random.default_rng(seed)
    regions = parcellation(rng)
    maps = [scalar_map(rng, regions.grid, name, "mm2/s" if name == "md" else "unitless") for name in map_names]
    return regions, maps, tractogram(rng, regions.grid, n_streamlines)


def connectome(seed=0, n_streamlines=400, radius_mm=2.0) -> Connectome:
    from tractome.stages.connect import connect, regional_means, summarise

    regions, maps, streamlines = subject(seed, n_streamlines)
    options = ConnectOptions(radius_mm=radius_mm)
    return connect(summarise(streamlines, maps), regions, options, regional_means(regions, maps))
