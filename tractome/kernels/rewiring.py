"""Graphs of the same degrees whose edges lead elsewhere (Maslov and Sneppen 2002, Science 296:910)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.kernels._jit import bare_kernel
from tractome.kernels.random import keyed_bits, stream_key

_ONE, _S1, _S33 = np.uint64(1), np.uint64(1), np.uint64(33)
_LOW = np.uint64(2**31 - 1)


@bare_kernel
def rewire(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    is_edge: NDArray[np.bool_],
    key: NDArray[np.uint64],
    n_swaps: int,
    most_tries: int,
) -> int:
    """Let pairs of edges change partners: a-b and c-d become a-d and c-b, where that makes no edge twice and no loop.

    Each try draws two edges, and which way round the second one is taken. Degrees stay what they are.

    Parameters
    ----------
    first, second : (n_edges,) int64
        The two nodes of each edge; changed in place. At most 2**31 edges.
    is_edge : (n_nodes, n_nodes) bool
        Symmetric, of these edges; changed in place.
    key : (2,) uint64
        Seed, and number of the random stream.
    n_swaps, most_tries : int
        Pairs that change partners, and tries for that at most.

    Returns
    -------
    int
        Pairs that did.
    """
    stream, n_edges, n_done = stream_key(key[0], key[1]), len(first), 0
    for draw in range(most_tries if n_edges > 1 else 0):
        if n_done == n_swaps:
            break
        bits = keyed_bits(stream, np.uint64(draw))
        one, other = np.int64(bits >> _S33) % n_edges, np.int64((bits >> _S1) & _LOW) % n_edges
        a, b, c, d = first[one], second[one], first[other], second[other]
        if bits & _ONE:
            c, d = d, c
        if a in (c, d) or b in (c, d) or is_edge[a, d] or is_edge[c, b]:
            continue
        is_edge[a, b] = is_edge[b, a] = is_edge[c, d] = is_edge[d, c] = False
        is_edge[a, d] = is_edge[d, a] = is_edge[c, b] = is_edge[b, c] = True
        second[one] = d
        first[other], second[other] = c, b
        n_done += 1
    return n_done
