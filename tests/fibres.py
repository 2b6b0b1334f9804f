"""Simulated voxels of known fibres, as packed scans."""

from __future__ import annotations

import numpy as np
from scans import sphere

from tractome.datatypes.diffusion import DiffusionImage, GradientTable
from tractome.datatypes.grid import Grid

ALONG, ACROSS = 1.7e-3, 0.25e-3


def table(directions=(32,), bvals=(2000.0,), n_b0=2):
    """Gradient table of shells on spread-out half spheres, each shell turned a little."""
    vectors, values = [np.zeros((n_b0, 3))], [np.zeros(n_b0)]
    for shell, (n, b) in enumerate(zip(directions, bvals, strict=True)):
        points = sphere(2 * n)[:n]
        c, s = np.cos(0.5 * shell), np.sin(0.5 * shell)
        vectors.append(points @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]))
        values.append(np.full(n, b))
    return GradientTable(np.concatenate(values), np.concatenate(vectors))


def fibre_signal(gradients, axes, shares=None, s0=1000.0):
    """Noise-free signal of crossing fibres, (v,): a sum of axially symmetric tensors."""
    axes = np.atleast_2d(axes) / np.linalg.norm(np.atleast_2d(axes), axis=1)[:, None]
    shares = np.full(len(axes), 1 / len(axes)) if shares is None else shares
    cosine = gradients.bvecs @ axes.T
    return s0 * (np.exp(-gradients.bvals[:, None] * (ACROSS + (ALONG - ACROSS) * cosine**2)) @ shares)


def isotropic_signal(gradients, diffusivity, s0=1000.0):
    return s0 * np.exp(-gradients.bvals * diffusivity)


def rician(signal, snr, seed=0, s0=1000.0):
    noise = np.random.default_rng(seed).normal(scale=s0 / snr, size=(2, *np.shape(signal)))
    return np.hypot(signal + noise[0], noise[1]).astype(np.float32)


def image(signal, gradients, affine=None):
    """A scan of the packed voxels (n, v), as a row of voxels."""
    shape = (len(signal), 1, 1)
    grid = Grid(shape, np.diag([2.0, 2, 2, 1]) if affine is None else affine)
    return DiffusionImage(np.asarray(signal, np.float32), gradients, np.ones(shape, dtype=bool), grid)


def block(signal, gradients, shape):
    """A scan of voxels (n, v) filling a box."""
    return DiffusionImage(
        np.asarray(signal, np.float32), gradients, np.ones(shape, dtype=bool), Grid(shape, np.diag([2.0, 2, 2, 1]))
    )


def random_axes(n, seed=0):
    axes = np.random.default_rng(seed).normal(size=(n, 3))
    return axes / np.linalg.norm(axes, axis=1)[:, None]


def angle_deg(a, b):
    """Angle between axes, either end."""
    cosine = np.abs((a * b).sum(-1)) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    return np.degrees(np.arccos(np.clip(cosine, 0, 1)))
