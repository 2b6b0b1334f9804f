"""U-fibres: arcs of 4 to 8 mm radius under the border of two neighbouring cortical regions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tractome.errors import OptionError
from tractome.options import PhantomOptions
from tractome.phantom.geometry import CORTEX_MM, Anatomy, Points, gradient, keyed_rng, unit
from tractome.phantom.paths import N_POINTS, draw_n_fibres


def make_u_bundles(
    anatomy: Anatomy, surface: Points, options: PhantomOptions
) -> tuple[NDArray[np.int64], list[NDArray[np.float32]]]:
    """Pairs of neighbouring cortical regions and the fibres of each."""
    borders = _borders(anatomy, surface)
    rng = keyed_rng(options.random_seed, 14)
    known = list(borders)
    pairs = [known[index] for index in rng.permutation(len(known))]
    ends: list[tuple[int, int]] = []
    bundles: list[NDArray[np.float32]] = []
    for pair in pairs:
        if len(ends) == options.n_u_fibres:
            break
        fibres = _u_bundle(anatomy, pair, borders[pair], options)
        if len(fibres):
            ends.append(pair)
            bundles.append(fibres)
    if len(ends) < options.n_u_fibres:
        message = (
            f"n_u_fibres = {options.n_u_fibres}, but only {len(ends)} pairs of neighbouring cortical regions can be "
            "joined by U-fibres. Ask for fewer, or for more cortical regions."
        )
        raise OptionError(message)
    return np.array(ends, dtype=np.int64).reshape(-1, 2), bundles


def _borders(anatomy: Anatomy, surface: Points) -> dict[tuple[int, int], Points]:
    """Points of the surface near the border of two regions, by pair of rows."""
    from scipy.spatial import cKDTree

    half = anatomy.n_cortical // 2
    found: dict[tuple[int, int], Points] = {}
    for start, side in ((0, surface[surface[:, 0] < 0]), (half, surface[surface[:, 0] >= 0])):
        two_nearest: Any = cKDTree(anatomy.seeds_mm[start : start + half]).query(side, k=2)
        distance, nearest = two_nearest
        near = distance[:, 1] - distance[:, 0] < 2.0
        pairs = np.sort(nearest[near], axis=1) + start
        for pair in np.unique(pairs, axis=0):
            points = side[near][(pairs == pair).all(axis=1)]
            if len(points) >= 8:
                found[(int(pair[0]), int(pair[1]))] = points
    return found


def _u_bundle(anatomy: Anatomy, pair: tuple[int, int], border: Points, options: PhantomOptions) -> NDArray[np.float32]:
    """Arcs of 4 to 8 mm radius under the border of a pair; empty where too few end in their regions."""
    rng = keyed_rng(options.random_seed, 21, *pair)
    count = draw_n_fibres(options, rng, 0.7)
    radius_mm, spread_mm = float(rng.uniform(4.5, 7.5)), float(rng.uniform(4.0, 9.0))
    centre = border[rng.integers(len(border))]
    near = border[np.linalg.norm(border - centre, axis=1) < spread_mm]
    across = anatomy.seeds_mm[pair[1]] - anatomy.seeds_mm[pair[0]]
    middle = near[rng.integers(len(near), size=2 * count)] + rng.normal(0.0, 0.7, (2 * count, 3))
    radius = radius_mm * np.clip(rng.normal(1.0, 0.06, 2 * count), 4.0 / radius_mm, 8.0 / radius_mm)[:, None, None]
    normal = unit(-gradient(anatomy.hemispheres, middle))
    chord = unit(across - (normal @ across)[:, None] * normal)
    # Back to the middle of the ribbon from where the jitter brought it.
    middle += (anatomy.hemispheres(middle) + CORTEX_MM / 2)[:, None] * normal
    turn = np.linspace(np.pi, 0.0, N_POINTS)[None, :, None]
    fibres = middle[:, None] + radius * (np.cos(turn) * chord[:, None] + np.sin(turn) * normal[:, None])
    ends = fibres[:, [0, -1]].reshape(-1, 3)
    labels = anatomy.labels(ends).reshape(-1, 2)
    distance = anatomy.distances(fibres[:, 8:-8].reshape(-1, 3)).white.reshape(len(fibres), -1)
    good = (labels == np.array(pair) + 1).all(axis=1) & (distance < 0.5).all(axis=1)
    if good.sum() < 0.3 * len(good) or good.sum() < 10:
        return np.zeros((0, N_POINTS, 3), dtype=np.float32)
    kept: NDArray[np.float32] = fibres[good][:count].astype(np.float32)
    return kept
