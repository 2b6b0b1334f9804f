"""Gradient tables of the synthetic scan: shells of even directions, and gradients that are not linear."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.diffusion import GradientTable
from tractome.options import PhantomOptions
from tractome.phantom.geometry import Points, brain_centre_mm, keyed_rng, unit

_JITTER_STEP = 5.0
"""s/mm2."""
_REACH_MM = 100.0
# L[i, j] = strength x (these . (xx, yy, zz, xy, xz, yz)) of the place in units of 100 mm: smooth, largest along the
# diagonal as in a real coil, and not symmetric, so that a mistaken order of its nine numbers shows.
_NONLINEARITY = np.array(
    [
        [[-0.9, 0.3, 0.4, 0.1, 0.0, 0.1], [0.1, 0.0, 0.2, 0.5, 0.0, -0.1], [0.0, 0.2, 0.0, 0.1, -0.4, 0.0]],
        [[0.0, -0.3, 0.1, 0.4, 0.1, 0.0], [0.4, 1.0, -0.5, 0.0, 0.1, 0.2], [0.1, 0.0, 0.3, 0.0, 0.1, 0.6]],
        [[0.2, 0.1, 0.0, -0.1, 0.6, 0.0], [0.0, 0.2, -0.2, 0.0, 0.1, 0.3], [-0.5, 0.4, 1.0, 0.1, 0.0, -0.1]],
    ]
)


def make_gradients(options: PhantomOptions) -> GradientTable:
    """b0 volumes spread among shells of evenly distributed directions, world axes.

    As scanners do it: a b0 of a few s/mm2 has a direction, and the b-values of a shell differ a little.
    """
    rng = keyed_rng(options.random_seed, 31)
    bvals = np.concatenate([np.full(n, b) for b, n in zip(options.shells, options.directions, strict=True)])
    bvecs = np.concatenate([even_directions(n, rng) for n in options.directions])
    order = rng.permutation(len(bvals))
    n_volumes = len(bvals) + options.n_b0
    is_b0 = np.zeros(n_volumes, dtype=bool)
    is_b0[np.arange(options.n_b0) * n_volumes // options.n_b0] = True
    all_bvals, all_bvecs = np.zeros(n_volumes), np.zeros((n_volumes, 3))
    # A stream of its own: a table without jitter is what it always was.
    rng = keyed_rng(options.random_seed, 33)
    jitter = options.b_jitter_s_per_mm2 or (0.0,) * len(options.shells)
    steps = np.repeat(np.floor(np.array(jitter) / _JITTER_STEP), options.directions).astype(np.int64)
    bvals = bvals + _JITTER_STEP * rng.integers(-steps, steps + 1)
    all_bvals[~is_b0], all_bvecs[~is_b0] = bvals[order], bvecs[order]
    if options.b0_value_s_per_mm2 > 0:
        all_bvals[is_b0] = options.b0_value_s_per_mm2
        all_bvecs[is_b0] = unit(rng.normal(size=(options.n_b0, 3)))
    return GradientTable(all_bvals, all_bvecs)


def even_directions(n_directions: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Unit vectors (n, 3) spread evenly over the half sphere: charges that repel each other and their mirror images.

    Jones et al. 1999, "Optimal strategies for measuring diffusion in anisotropic systems".
    """
    points = rng.normal(size=(n_directions, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    step = 0.5 / n_directions
    for iteration in range(300):
        force = np.zeros_like(points)
        for sign in (1.0, -1.0):
            apart = points[:, None] - sign * points[None]
            distance = np.linalg.norm(apart, axis=2)
            np.fill_diagonal(distance, np.inf)
            force += (apart / distance[..., None] ** 3).sum(axis=1)
        force -= (force * points).sum(axis=1, keepdims=True) * points
        strength = np.linalg.norm(force, axis=1, keepdims=True)
        points = points + step * (1 - iteration / 300) * np.minimum(strength, 10.0) * force / np.maximum(strength, 1e-9)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points


def gradient_nonlinearity(places_mm: Points, strength: float) -> NDArray[np.float32]:
    """Relative error of the gradients at world points: v = (I + L) g is what is applied where g was asked for.

    Parameters
    ----------
    places_mm : (n, 3) float64
        RAS+ mm.
    strength : float
        Largest coefficient of L, 100 mm from the brain's centre, unitless.

    Returns
    -------
    (n, 3, 3) float32
        L in world axes.
    """
    x, y, z = ((places_mm - brain_centre_mm()) / _REACH_MM).T
    products = np.stack([x * x, y * y, z * z, x * y, x * z, y * z], axis=1)
    result: NDArray[np.float32] = np.einsum("np,ijp->nij", products, strength * _NONLINEARITY).astype(np.float32)
    return result
