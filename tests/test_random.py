"""Keyed random numbers: pure, distinct, uniform, without correlation, equal to the twin bit for bit."""

from __future__ import annotations

import naive
import numpy as np
import pytest

from tractome.kernels._jit import kernel
from tractome.kernels.random import keyed_uniform, mix, random_bits, stream_key, uniform

SEEDS = (0, 1, 2**31, 2**63 - 1)


@kernel
def _table(seed, first_stream, n_streams, n_draws, keys, numbers):
    for stream in range(n_streams):
        key = stream_key(seed, np.uint64(first_stream + stream))
        keys[stream] = key
        for draw in range(n_draws):
            numbers[stream, draw] = keyed_uniform(key, np.uint64(draw))


def table(seed, n_streams, n_draws, first_stream=0):
    """Keys (n_streams,) and numbers (n_streams, n_draws)."""
    keys, numbers = np.empty(n_streams, np.uint64), np.empty((n_streams, n_draws))
    _table(np.uint64(seed), first_stream, n_streams, n_draws, keys, numbers)
    return keys, numbers


@pytest.mark.parametrize("seed", SEEDS)
def test_equals_the_twin_bit_for_bit(seed):
    words = [0, 1, 2**32, 2**64 - 1, *np.random.default_rng(seed % 97).integers(0, 2**63, 20).tolist()]
    for word in words:
        assert int(mix(np.uint64(word))) == naive.mix(word)
        assert int(stream_key(np.uint64(seed), np.uint64(word))) == naive.stream_key(seed, word)
    for stream in (0, 1, 999_999, 2**40):
        for draw in (0, 1, 7, 5000):
            here = np.uint64(seed), np.uint64(stream), np.uint64(draw)
            assert int(random_bits(*here)) == naive.random_bits(seed, stream, draw)
            assert uniform(*here) == naive.uniform(seed, stream, draw)


def test_is_a_pure_function_of_seed_stream_and_draw():
    _, once = table(5, 100, 10)
    _, again = table(5, 100, 10)
    np.testing.assert_array_equal(once, again)
    # A stream does not depend on where a run of streams starts, nor a draw on those before it.
    np.testing.assert_array_equal(table(5, 40, 10, first_stream=60)[1], once[60:])
    assert uniform(np.uint64(5), np.uint64(61), np.uint64(9)) == once[61, 9]


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_a_million_streams_have_distinct_keys_and_distinct_first_draws(seed):
    keys, numbers = table(seed, 1_000_000, 1)
    assert len(np.unique(keys)) == 1_000_000
    # 53 random bits: two equal ones among a million would come by chance once in 18,000 tries.
    assert len(np.unique(numbers)) == 1_000_000


def test_neighbouring_seeds_share_no_stream():
    keys = np.concatenate([table(seed, 100_000, 1)[0] for seed in range(5)])
    assert len(np.unique(keys)) == len(keys)


@pytest.mark.parametrize("along", ["streams", "draws"])
def test_is_uniform(along):
    _, numbers = table(3, *((400_000, 1) if along == "streams" else (1, 400_000)))
    numbers = numbers.ravel()
    n = len(numbers)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert abs(numbers.mean() - 1 / 2) < 4 * np.sqrt(1 / 12 / n)
    assert abs(numbers.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / n)
    counts = np.histogram(numbers, bins=1000, range=(0, 1))[0]
    chi_square = ((counts - n / 1000) ** 2 / (n / 1000)).sum()
    assert abs(chi_square - 999) < 4 * np.sqrt(2 * 999)


@pytest.mark.parametrize("bit", [0, 11, 31, 52])
def test_every_bit_is_fair(bit):
    _, numbers = table(11, 100_000, 1)
    share = (((numbers * 2.0**53).astype(np.uint64) >> np.uint64(bit)) & np.uint64(1)).mean()
    assert abs(share - 1 / 2) < 4 * np.sqrt(1 / 4 / len(numbers))


def test_neighbours_are_not_correlated():
    _, numbers = table(0, 2000, 200)
    _, next_seed = table(1, 2000, 200)
    limit = 4 / np.sqrt(numbers.size)
    centred, other = numbers - 0.5, next_seed - 0.5
    for lag in (1, 2, 3, 32):
        assert abs(12 * (centred[lag:] * centred[:-lag]).mean()) < limit, "streams"
        assert abs(12 * (centred[:, lag:] * centred[:, :-lag]).mean()) < limit, "draws"
        # Stream i at draw j against stream j at draw i, and along the diagonal: the mixer must not add them up.
        assert abs(12 * (centred[lag:, :-lag] * centred[:-lag, lag:]).mean()) < limit, "stream + draw"
    assert abs(12 * (centred * other).mean()) < limit, "seeds"


def test_pairs_fill_the_square():
    _, numbers = table(7, 200_000, 2)
    counts = np.histogram2d(*numbers.T, bins=20, range=[[0, 1], [0, 1]])[0]
    chi_square = ((counts - 500) ** 2 / 500).sum()
    assert abs(chi_square - 399) < 4 * np.sqrt(2 * 399)
