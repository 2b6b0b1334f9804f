"""Rounds: blocks that end where a given number of streamlines is reached."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.tractogram import RejectReason, Tractogram


class Rounds:
    """Cuts blocks, as they come, at given totals of accepted streamlines.

    Parameters
    ----------
    ends : iterable of int
        Totals, rising; may be without end.
    """

    def __init__(self, ends: Iterable[int]) -> None:
        self._ends = iter(ends)
        self._next = next(self._ends, None)
        self._n_accepted = 0

    def split(self, block: Tractogram, first: int, codes: NDArray[np.int8]) -> Iterator[Tractogram]:
        """Yield the parts of a block, the whole block where no round ends in it.

        Parameters
        ----------
        block : Tractogram
            The next one.
        first : int
            Index of its first seed.
        codes : (n_seeds or more,) int8
            `RejectReason` of each of its seeds; 0 for what was accepted.
        """
        cuts = []
        self._n_accepted += block.n_streamlines
        while self._next is not None and self._next <= self._n_accepted:
            cuts.append(self._next - self._n_accepted + block.n_streamlines)
            self._next = next(self._ends, None)
        if not cuts:
            yield block
            return
        # A part ends with the seed of its last streamline; what was rejected after it belongs to the next part.
        places = [(0, 0), *((cut, int(block.seed_index[cut - 1]) + 1 - first) for cut in cuts)]
        if places[-1][1] < block.n_seeds:
            places.append((block.n_streamlines, block.n_seeds))
        for (row, seed), (row_end, seed_end) in pairwise(places):
            begin, end = block.offsets[row], block.offsets[row_end]
            yield Tractogram(
                block.points[begin:end],
                block.offsets[row : row_end + 1] - begin,
                block.seed_index[row:row_end],
                block.stop_reasons[row:row_end],
                seed_end - seed,
                count_rejected(codes[seed:seed_end]),
            )


def count_rejected(codes: NDArray[np.int8]) -> dict[RejectReason, int]:
    """How many seeds were thrown away, by reason, from the `RejectReason` of each (0 for what was accepted)."""
    return {RejectReason(code): int(number) for code, number in enumerate(np.bincount(codes)) if code and number}
