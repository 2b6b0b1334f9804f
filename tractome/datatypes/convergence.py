"""How sure the edges of a connectome were while its streamlines were tracked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """The edges that carry weight, as they stood at one number of streamlines.

    These are the strongest edges between different regions that together hold `stages.connect.CARRIED` of the
    streamlines that join different regions. The coefficient of variation of an edge is the Monte-Carlo standard error
    of its count over the count: an error of tracking, not of biology.

    Parameters
    ----------
    n_streamlines : int
        Accepted so far.
    n_edges : int
        How many edges carry weight; 0 where no streamline joins two regions yet.
    largest_cv, median_cv : float
        Over these edges, unitless; NaN where there is none.
    share_within : float
        Share of their streamlines that lies in edges whose coefficient of variation is within the target, unitless.
    """

    n_streamlines: int
    n_edges: int
    largest_cv: float
    median_cv: float
    share_within: float

    def is_enough(self, target_cv: float) -> bool:
        """Whether every edge that carries weight is within the target."""
        return self.n_edges > 0 and self.largest_cv <= target_cv
