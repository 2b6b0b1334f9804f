"""A small head with every tissue, and the images that a scanner would make of it."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import ndimage

from tractome.datatypes.grid import Grid
from tractome.stages.tissue import DiffusionMaps, Expected

CORTEX, DEEP, WHITE, CSF = range(4)
# FreeSurfer's numbers for the tissues of the left, by tissue: two parcels, thalamus, white matter, ventricle.
LABEL_OF = {CORTEX: 1024, DEEP: 10, WHITE: 2, CSF: 4}


def grid_of(shape=(46, 50, 42), size_mm=2.0):
    affine = np.diag([size_mm] * 3 + [1.0])
    affine[:3, 3] = -0.5 * size_mm * (np.array(shape) - 1) + (3.0, -2.0, 5.0)
    return Grid(shape, affine)


@cache
def head():
    """Kind of each voxel (-1 outside), and shares (x, y, z, 5) with the partial volume of a scan; and the grid."""
    grid = grid_of()
    fine = 3
    shape = np.array(grid.shape) * fine
    x, y, z = np.moveaxis(np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1) / fine, -1, 0)
    x, y, z = x - grid.shape[0] / 2, y - grid.shape[1] / 2, z - grid.shape[2] / 2
    angle = np.arctan2(y, x)
    # A ribbon that folds around the white matter.
    rim = 1 - np.sqrt((x / 21) ** 2 + (y / 23) ** 2 + (z / 19) ** 2)
    fold = 0.05 * np.cos(9 * angle) * np.cos(z / 3)
    kind = np.full(shape, -1)
    kind[rim > 0] = CSF
    kind[rim > 0.08 + fold] = CORTEX
    kind[rim > 0.25 + fold] = WHITE
    for side in (-5, 5):
        kind[((x - side) / 3.2) ** 2 + ((y + 1) / 5) ** 2 + (z / 4) ** 2 < 1] = DEEP
        kind[((x - side / 2.5) / 1.4) ** 2 + ((y + 2) / 6) ** 2 + ((z - 6) / 3) ** 2 < 1] = CSF
    fractions = np.zeros((*grid.shape, 5), np.float32)
    for tissue in range(4):
        blocks = (kind == tissue).reshape(grid.shape[0], fine, grid.shape[1], fine, grid.shape[2], fine)
        fractions[..., tissue] = blocks.mean(axis=(1, 3, 5))
    whole = fractions.sum(axis=3, keepdims=True)
    fractions = np.where(whole > 0.5, fractions / np.maximum(whole, 1e-6), 0).astype(np.float32)
    kinds = np.where(whole[..., 0] > 0.5, fractions.argmax(axis=3), -1)
    return kinds, fractions, grid


def template(grid_or_none=None):
    """What a registered template would say: the truth, blurred; deep grey as regions say it."""
    _, fractions, grid = head()
    grey, white = (ndimage.gaussian_filter(fractions[..., each], 1.0) for each in (CORTEX, WHITE))
    deep = fractions[..., DEEP]
    grey = np.clip(grey + ndimage.gaussian_filter(deep, 1.0), 0, 1)
    return Expected(grid, grey.astype(np.float32), white.astype(np.float32), deep, None)


def t1_image(seed=0, bias=0.3, noise=25.0):
    """White matter brightest, deep grey nearly as bright, with a smooth bias and noise."""
    _, fractions, grid = head()
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in grid.shape), indexing="ij"), -1)
    field = np.exp(bias * (0.6 * places[..., 0] + 0.5 * places[..., 1] * places[..., 2] - 0.4 * places[..., 2] ** 2))
    clean = fractions @ np.array([620, 850, 900, 220, 500], np.float32)
    image = clean * field + rng.normal(0, noise, grid.shape)
    return np.where(fractions.any(axis=3), np.maximum(image, 1), 0).astype(np.float32)


def diffusion_maps(seed=0, noise=1.0):
    """FA, MD and b0 as a scan of few directions gives them."""
    _, fractions, grid = head()
    rng = np.random.default_rng(seed)
    mask = fractions.any(axis=3)
    fa = fractions @ np.array([0.14, 0.25, 0.45, 0.1, 0.3]) + noise * rng.normal(0, 0.06, grid.shape)
    md = fractions @ np.array([0.85e-3, 0.75e-3, 0.72e-3, 2.7e-3, 1e-3]) * (1 + noise * rng.normal(0, 0.08, grid.shape))
    b0 = fractions @ np.array([420.0, 320, 300, 1100, 500]) * (1 + noise * rng.normal(0, 0.08, grid.shape))
    maps = [np.where(mask, np.maximum(each, 1e-6), 0).astype(np.float32) for each in (fa, md, b0)]
    return DiffusionMaps(np.clip(maps[0], 0, 1), maps[1], maps[2], mask)


def dice(one, other):
    """Overlap of two shares: 1 where they are the same."""
    return float(2 * np.minimum(one, other).sum() / max(float(one.sum() + other.sum()), 1e-9))
