"""Streamline weights: the cost that is lowered, what lowering it gives, and what is said where nothing can be."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from test_mapping import random_fixels, walks
from wirings import block, random_grid

from tractome.datatypes.fixels import FixelField
from tractome.datatypes.grid import Grid
from tractome.datatypes.tissue import TissueMap
from tractome.errors import ImageError, TableError, TrackingError
from tractome.io.contributions import ContributionStore
from tractome.kernels._jit import set_threads
from tractome.options import WeighOptions
from tractome.stages.weigh import make_model, noise_density, processing_mask, weigh
from tractome.stages.weigh.fit import _Problem

EXACT = WeighOptions(total_variation=0.0, tikhonov=0.0, tolerance=1e-9, min_coverage=0.0)


def store_of(model, streamlines, folder, *, size=7, max_bytes=1 << 30):
    store = ContributionStore(folder, max_bytes)
    for first in range(0, len(streamlines), size):
        store.add(*model.pack(block(streamlines[first : first + size])))
    return store


def weighed(streamlines, fixels, folder, shares=None, options=None, **how):
    model = make_model(fixels, shares)
    with store_of(model, streamlines, folder, **how) as store:
        return weigh(model, store, options or WeighOptions())


@pytest.fixture
def scene():
    """Random fixels on an oblique grid, random walks through them, and random shares with some zeros."""
    rng = np.random.default_rng(4)
    grid = random_grid(rng)
    fixels = random_fixels(rng, grid)
    afd = rng.uniform(0.05, 1.0, fixels.n_fixels).astype(np.float32)
    fixels = FixelField(fixels.offsets, fixels.directions, fixels.peaks, afd, fixels.mask, grid)
    points, offsets = walks(rng, grid, 80)
    streamlines = [points[offsets[i] : offsets[i + 1]] for i in range(80)]
    shares = np.where(rng.random(grid.shape) < 0.2, 0.0, rng.random(grid.shape)).astype(np.float32)
    return streamlines, fixels, shares


@pytest.mark.parametrize(("variation", "tikhonov"), [(0.0, 0.0), (0.5, 0.0), (0.1, 0.3)])
def test_cost_and_slope_equal_the_slow_twin(scene, tmp_path, variation, tikhonov):
    streamlines, fixels, shares = scene
    options = WeighOptions(total_variation=variation, tikhonov=tikhonov)
    model = make_model(fixels, shares)
    found, share = naive.contributions(streamlines, fixels, shares)
    density = fixels.afd.astype(float)
    coefficients = np.random.default_rng(0).normal(0, 0.5, len(streamlines))

    def slow(values):
        return naive.weighting_cost(np.exp(values), found, density, share, variation=variation, tikhonov=tikhonov)

    with store_of(model, streamlines, tmp_path) as store:
        problem = _Problem(model, store, options)
        gradient = np.empty(len(streamlines))
        cost = problem.cost(coefficients, gradient)
        everything = problem.misfit(coefficients)
    counts = np.array([len(along) > 0 for along in found])
    coefficients[~counts] = 0.0
    expected = slow(coefficients)
    # Lengths are rounded to a few millionths of a voxel here.
    assert problem.mu == pytest.approx(expected.mu, rel=1e-4)
    assert everything == pytest.approx(expected.all, rel=1e-4)
    assert cost - tikhonov_of_strangers(problem, counts) == pytest.approx(expected.total, rel=1e-4)
    for s in range(0, len(streamlines), 5):
        step = np.zeros(len(streamlines))
        step[s] = 1e-4
        slope = (slow(coefficients + step).total - slow(coefficients - step).total) / 2e-4
        assert gradient[s] == pytest.approx(slope if counts[s] else 0.0, rel=2e-3, abs=2e-3)


def tikhonov_of_strangers(problem, counts):
    """A streamline without contributions keeps coefficient 0 in a fit; here it was given another one."""
    values = np.random.default_rng(0).normal(0, 0.5, len(counts))
    return (problem._tikhonov + problem._variation) * float((values[~counts] ** 2).sum())


def test_weights_lower_the_cost_of_the_slow_twin(scene, tmp_path):
    streamlines, fixels, shares = scene
    found, share = naive.contributions(streamlines, fixels, shares)
    result = weighed(streamlines, fixels, tmp_path, shares, WeighOptions(tolerance=1e-9))
    costs = [
        naive.weighting_cost(weights, found, fixels.afd.astype(float), share, tikhonov=0.05).total
        for weights in (np.ones(len(streamlines)), result.weights.astype(float))
    ]
    assert costs[0] == pytest.approx(result.costs[0], rel=1e-3)
    assert costs[1] == pytest.approx(result.costs[-1], rel=1e-3)
    assert costs[1] < 0.9 * costs[0]
    rng = np.random.default_rng(1)
    for _ in range(5):  # no better place nearby
        nearby = result.weights * np.exp(rng.normal(0, 0.05, len(streamlines)))
        cost = naive.weighting_cost(nearby, found, fixels.afd.astype(float), share, tikhonov=0.05).total
        assert cost > costs[1] * (1 - 1e-4)


def bundles(n_first=30, n_second=10, densities=(0.5, 0.5)):
    """Two straight bundles in rows of voxels of their own, with so many streamlines and such fibre densities."""
    grid = Grid((12, 5, 5), np.diag([2.0, 2.0, 2.0, 1.0]))
    mask = np.zeros(grid.shape, bool)
    mask[1:11, 1, 2] = mask[1:11, 3, 2] = True
    row = np.argwhere(mask)[:, 1] == 3
    afd = np.where(row, densities[1], densities[0])
    n = len(row)
    fixels = FixelField(np.arange(n + 1), np.tile([1.0, 0, 0], (n, 1)), np.ones(n), afd, mask, grid)
    x = np.linspace(1, 10, 37)
    rng = np.random.default_rng(2)
    streamlines = []
    for y, count in ((1, n_first), (3, n_second)):
        for _ in range(count):
            place = np.column_stack([x, np.tile(np.array([y, 2]) + rng.uniform(-0.4, 0.4, 2), (len(x), 1))])
            streamlines.append(grid.to_world(place).astype(np.float32))
    return streamlines, fixels


@pytest.mark.parametrize("densities", [(0.5, 0.5), (0.3, 0.9)])
def test_two_bundles_get_the_cross_sections_of_their_fibres(tmp_path, densities):
    streamlines, fixels = bundles(densities=densities)
    result = weighed(streamlines, fixels, tmp_path, options=EXACT)
    area = result.cross_sections
    # Ends lie half a voxel inside: ten voxels of 2 mm hold 18 mm; there least squares weighs the nine and a half.
    first, second = area[:30].sum(), area[30:].sum()
    assert first / second == pytest.approx(densities[0] / densities[1], rel=1e-3)
    lengths = np.array([1.0] + [2.0] * 8 + [1.0])
    assert first == pytest.approx(densities[0] * lengths.sum() / (lengths**2).sum(), rel=1e-3)
    assert np.ptp(area[:30]) < 1e-3 * area[0]
    assert result.mu_per_mm == pytest.approx(10 * sum(densities) / (40 * 18.0), rel=1e-4)


def test_variation_holds_streamlines_to_those_beside_them(tmp_path):
    streamlines, fixels = bundles()
    afd = fixels.afd.copy()
    afd[::2] *= 3
    fixels = FixelField(fixels.offsets, fixels.directions, fixels.peaks, afd, fixels.mask, fixels.grid)
    part = [points[: 10 + 3 * (i % 9)] for i, points in enumerate(streamlines)]
    spread = [
        np.std(np.log(weighed(part, fixels, tmp_path, options=WeighOptions(total_variation=strength)).weights[:30]))
        for strength in (0.0, 0.1, 10.0)
    ]
    assert spread[0] > spread[1] > spread[2]


def test_neither_threads_nor_blocks_nor_the_disk_change_a_byte(scene, tmp_path):
    streamlines, fixels, shares = scene
    streamlines = streamlines * 20  # more than one chunk of the fixed shares
    results = []
    try:
        for n_threads, size, max_bytes in ((1, 7, 1 << 30), (2, 1600, 1 << 30), (2, 333, 0)):
            set_threads(n_threads)
            results.append(weighed(streamlines, fixels, tmp_path, shares, size=size, max_bytes=max_bytes))
    finally:
        set_threads(0)
    assert len({result.weights.tobytes() for result in results}) == 1
    assert len({result.costs for result in results}) == 1


def test_order_and_direction_of_streamlines_do_not_matter(scene, tmp_path):
    streamlines, fixels, shares = scene
    order = np.random.default_rng(3).permutation(len(streamlines))
    result = weighed(streamlines, fixels, tmp_path, shares)
    moved = weighed([streamlines[i][::-1] for i in order], fixels, tmp_path, shares)
    np.testing.assert_allclose(moved.weights, result.weights[order], rtol=2e-2)
    assert moved.costs[-1] == pytest.approx(result.costs[-1], rel=1e-3)


def test_a_streamline_that_nothing_speaks_of_keeps_weight_one(tmp_path):
    streamlines, fixels = bundles()
    outside = fixels.grid.to_world(np.array([[1.0, 4, 4], [9, 4, 4]])).astype(np.float32)
    far = outside + 500
    point = streamlines[0][:1]
    result = weighed([*streamlines, outside, far, point], fixels, tmp_path)
    assert (result.weights[-3:] == 1).all()
    assert result.facts["n_outside"] == 3
    # Regularisation is per streamline, so that three more that say nothing change next to nothing.
    np.testing.assert_allclose(result.weights[:-3], weighed(streamlines, fixels, tmp_path).weights, rtol=2e-2)


def test_a_fibre_population_with_too_few_streamlines_is_left_out(tmp_path):
    streamlines, fixels = bundles(60, 1, densities=(0.1, 1.0))
    result = weighed(streamlines, fixels, tmp_path, options=WeighOptions(min_coverage=0.5))
    assert result.facts["n_fixels_excluded"] == 10
    assert result.weights[-1] == pytest.approx(1, abs=1e-3)
    everything = weighed(streamlines, fixels, tmp_path, options=EXACT)
    assert everything.facts["n_fixels_excluded"] == 0
    assert everything.weights[-1] > 5


def test_what_cannot_be_weighed_is_said(tmp_path):
    streamlines, fixels = bundles()
    model = make_model(fixels)
    spoiled = [streamlines[0].copy()]
    spoiled[0][3] = np.nan
    with pytest.raises(TableError, match="not finite"):
        model.pack(block(spoiled))
    with pytest.raises(ImageError, match="No fibre population"):
        make_model(fixels, np.zeros(fixels.grid.shape, np.float32))
    for wrong in (-0.1, np.nan):
        with pytest.raises(ImageError, match="finite weights of at least 0"):
            make_model(fixels, np.full(fixels.grid.shape, wrong, np.float32))
    with pytest.raises(TrackingError, match="no streamline"), ContributionStore(tmp_path, 100) as store:
        weigh(model, store, WeighOptions())
    with pytest.raises(TrackingError, match="No streamline runs through"):
        weighed([points + 300 for points in streamlines], fixels, tmp_path)


def test_noise_is_what_few_fourth_lobes_reach():
    rng = np.random.default_rng(8)
    counts = rng.integers(0, 7, 1000)
    mask, n = np.ones((10, 10, 10), bool), int(counts.sum())
    afd = rng.gamma(2.0, 0.1, n)
    afd[rng.integers(n)] = np.nan
    offsets = np.concatenate([[0], np.cumsum(counts)])
    directions = np.tile([0.0, 0.0, 1.0], (n, 1))
    found = noise_density(FixelField(offsets, directions, np.ones(n), afd, mask, Grid(mask.shape, np.eye(4))))
    fourth = [afd[offsets[voxel] + 3] if counts[voxel] >= 4 else 0.0 for voxel in range(1000)]
    assert 0.045 <= np.mean(np.nan_to_num(fourth) > found) <= 0.05
    # Two lobes in each voxel, however dense, are no noise; nor is there any where nothing is.
    _, fixels = bundles(densities=(3.0, 3.0))
    assert noise_density(fixels) == 0.0
    none = FixelField(
        np.zeros(1001, np.int64), np.zeros((0, 3)), np.zeros(0), np.zeros(0), mask, Grid(mask.shape, np.eye(4))
    )
    assert noise_density(none) == 0.0


def test_streamlines_along_noise_are_held_down(tmp_path):
    streamlines, fixels = bundles(densities=(0.5, 0.1))
    model = make_model(fixels, noise_density=0.1)
    assert len(model.density) == 20  # what holds nothing but noise counts still
    np.testing.assert_allclose(np.unique(model.density), [0.0, 0.4], atol=1e-7)
    with store_of(model, streamlines, tmp_path) as store:
        result = weigh(model, store, EXACT)
    lengths = np.array([1.0] + [2.0] * 8 + [1.0])
    assert result.cross_sections[:30].sum() == pytest.approx(0.4 * lengths.sum() / (lengths**2).sum(), rel=1e-3)
    assert result.weights[30:].max() < 0.05
    untouched = weighed(streamlines, fixels, tmp_path, options=EXACT)
    assert untouched.weights[30:].min() > 0.5
    with pytest.raises(ImageError, match="--noise-density"):
        make_model(fixels, noise_density=0.5)


def test_densities_and_effective_number_follow_from_the_weights(scene, tmp_path):
    streamlines, fixels, shares = scene
    result = weighed(streamlines, fixels, tmp_path, shares)
    found, share = naive.contributions(streamlines, fixels, shares)
    expected = np.zeros((fixels.n_fixels, 2))
    for along, weight in zip(found, result.weights.astype(float), strict=True):
        for fixel, mm in along:
            expected[fixel] += result.mu_per_mm * mm * np.array([1.0, weight])
    counts = (share > 0) & (fixels.afd > 0)
    np.testing.assert_allclose(result.densities[:, 0], fixels.afd[counts], rtol=1e-6)
    np.testing.assert_allclose(result.densities[:, 1:], expected[counts], rtol=1e-3, atol=1e-4)
    weights = result.weights.astype(float)
    assert result.facts["n_effective"] == pytest.approx(weights.sum() ** 2 / (weights**2).sum())


def test_a_fixel_that_is_no_number_counts_nothing(tmp_path):
    streamlines, fixels = bundles()
    afd = fixels.afd.copy()
    afd[0] = np.nan
    spoiled = FixelField(fixels.offsets, fixels.directions, fixels.peaks, afd, fixels.mask, fixels.grid)
    assert np.isfinite(weighed(streamlines, spoiled, tmp_path).weights).all()


def test_voxels_count_by_the_square_of_their_white_matter():
    rng = np.random.default_rng(6)
    grid = Grid((5, 6, 4), np.diag([2.0, 2.0, 2.0, 1.0]))
    white = rng.random(grid.shape).astype(np.float32)
    fractions = np.stack([1 - white, 0 * white, white, 0 * white, 0 * white], axis=3)
    mask = rng.random(grid.shape) < 0.8
    found = processing_mask(TissueMap(fractions, grid), mask, grid)
    np.testing.assert_allclose(found, np.where(mask, white**2, 0), atol=1e-6)
    # A tissue map twice as fine: the mean of the eight voxels inside, then its square.
    fine = Grid((10, 12, 8), np.array([[1, 0, 0, -0.5], [0, 1, 0, -0.5], [0, 0, 1, -0.5], [0, 0, 0, 1.0]]))
    white = rng.random(fine.shape).astype(np.float32)
    fractions = np.stack([1 - white, 0 * white, white, 0 * white, 0 * white], axis=3)
    means = white.reshape(5, 2, 6, 2, 4, 2).mean(axis=(1, 3, 5))
    found = processing_mask(TissueMap(fractions, fine), mask, grid)
    np.testing.assert_allclose(found, np.where(mask, means**2, 0), atol=1e-6)
