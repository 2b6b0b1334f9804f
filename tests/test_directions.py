"""The sphere's directions and their cones."""

from __future__ import annotations

import naive
import numpy as np
import pytest

from tractome.kernels.directions import cones, geodesic_sphere

FREQUENCIES = (1, 2, 3, 5, 12)


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_counts_unit_and_reversed_in_order(frequency):
    directions = geodesic_sphere(frequency)
    n = 10 * frequency**2 + 2
    assert directions.shape == (n, 3) and directions.dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(directions[n // 2 :], -directions[: n // 2])
    # No direction twice.
    assert (directions @ directions.T - 2 * np.eye(n)).max() < 1 - 1e-6


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_is_even(frequency):
    directions = geodesic_sphere(frequency)
    cosines = directions @ directions.T
    np.fill_diagonal(cosines, -1)
    nearest = np.degrees(np.arccos(cosines.max(axis=1)))
    assert nearest.max() / nearest.min() < 1.2
    assert nearest.mean() == pytest.approx(66 / frequency, rel=0.05)
    # No side of the sphere is preferred: the mean of v v^T is a third of the identity.
    spread = directions.T @ directions / len(directions)
    np.testing.assert_allclose(spread, np.eye(3) / 3, atol=1e-12)


@pytest.mark.parametrize("frequency", [1, 3, 6])
def test_leaves_no_hole(frequency):
    rng = np.random.default_rng(0)
    anywhere = rng.normal(size=(5000, 3))
    anywhere /= np.linalg.norm(anywhere, axis=1)[:, None]
    away = np.degrees(np.arccos((anywhere @ geodesic_sphere(frequency).T).max(axis=1)))
    assert away.max() < 42 / frequency


@pytest.mark.parametrize("max_angle_deg", [15.0, 45.0])
def test_what_is_drawn_leans_no_way(max_angle_deg):
    # Directions drawn step after step from one lobe have the lobe's axis as their mean, wherever it points.
    directions = geodesic_sphere(12)
    n = len(directions)
    starts, members = cones(directions, max_angle_deg)
    rows = np.repeat(np.arange(n), np.diff(starts))
    axes = np.random.default_rng(0).normal(size=(10, 3))
    leanings = []
    for axis in axes / np.linalg.norm(axes, axis=1)[:, None]:
        amplitudes = np.where(directions @ axis > 0, directions @ axis, 0) ** 8
        share = np.full(n, 1e-300)
        share[np.argmax(directions @ axis)] = 1
        totals = np.bincount(rows, amplitudes[members], n) + 1e-300
        for _ in range(60):
            share = np.bincount(members, (share / totals)[rows] * amplitudes[members], n)
        mean = share @ directions
        leanings.append(np.degrees(np.arccos(mean @ axis / np.linalg.norm(mean))))
    assert np.mean(leanings) < 0.75 and max(leanings) < 1.25


@pytest.mark.parametrize("max_angle_deg", [1.0, 15.0, 45.0, 90.0])
def test_cones_hold_what_the_twin_finds(max_angle_deg):
    directions = geodesic_sphere(4)
    starts, members = cones(directions, max_angle_deg)
    assert starts[0] == 0 and starts[-1] == len(members) and starts.dtype == members.dtype == np.int32
    for axis in range(len(directions)):
        inside = members[starts[axis] : starts[axis + 1]]
        np.testing.assert_array_equal(inside, naive.cone(directions, axis, max_angle_deg))
        assert axis in inside


def test_cones_are_mutual_and_mirrored():
    directions = geodesic_sphere(4)
    n = len(directions)
    starts, members = cones(directions, 20.0)
    inside = np.zeros((n, n), bool)
    inside[np.repeat(np.arange(n), np.diff(starts)), members] = True
    np.testing.assert_array_equal(inside, inside.T)
    mirrored = (np.arange(n) + n // 2) % n
    np.testing.assert_array_equal(inside, inside[np.ix_(mirrored, mirrored)])
