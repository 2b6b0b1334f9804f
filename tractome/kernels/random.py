"""Random numbers as a pure function of (seed, stream, draw): the same for any thread count and block size.

A counter through a 64-bit mixer, after Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011; the mixer
is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
The mixer is a bijection, so for one seed two streams never share a key.
"""

from __future__ import annotations

import numpy as np

from tractome.kernels._jit import bare_kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_STREAM = np.uint64(0xD1B54A32D192ED03)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_ONE = np.uint64(1)
_TO_UNIT = 2.0**-53


@bare_kernel
def mix(value: np.uint64) -> np.uint64:
    """Scramble 64 bits one to one."""
    value = (value ^ (value >> _S30)) * _MIX_1
    value = (value ^ (value >> _S27)) * _MIX_2
    return value ^ (value >> _S31)


@bare_kernel
def stream_key(seed: np.uint64, stream: np.uint64) -> np.uint64:
    """Key of one random stream; distinct for distinct `stream` at any one `seed`."""
    return mix(mix(seed + _GOLDEN) + stream * _STREAM)


@bare_kernel
def random_bits(seed: np.uint64, stream: np.uint64, draw: np.uint64) -> np.uint64:
    """64 random bits of draw number `draw` of a stream."""
    return keyed_bits(stream_key(seed, stream), draw)


@bare_kernel
def keyed_bits(key: np.uint64, draw: np.uint64) -> np.uint64:
    """64 random bits of draw number `draw`, where the stream's key is at hand."""
    return mix(mix(key + (draw + _ONE) * _GOLDEN) ^ key)


@bare_kernel
def uniform(seed: np.uint64, stream: np.uint64, draw: np.uint64) -> float:
    """Uniform number in [0, 1), unitless, of draw number `draw` of a stream."""
    return keyed_uniform(stream_key(seed, stream), draw)


@bare_kernel
def keyed_uniform(key: np.uint64, draw: np.uint64) -> float:
    """Uniform number in [0, 1) of draw number `draw`, where the stream's key is at hand."""
    return np.float64(keyed_bits(key, draw) >> _S11) * _TO_UNIT
