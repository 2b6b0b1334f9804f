"""Seeds where the streamlines so far are too few for the fibre density (Smith et al., "SIFT2", NeuroImage 2015)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes.fields import OrientationField
from tractome.datatypes.fixels import FixelField
from tractome.datatypes.grid import require_same_grid
from tractome.datatypes.tissue import TissueMap
from tractome.datatypes.tractogram import Tractogram
from tractome.errors import TrackingError
from tractome.options import TrackOptions
from tractome.stages.track.seeds import no_seeds

FIRST_ROUND = 5000
"""Seeds of the first round; a later one has as many, or an eighth of all before where that is more."""

_LARGEST_RISE = 10.0
"""A fixel's probability is at most so many times what it was on average: few streamlines say little."""


class DynamicSource:
    """Fixels drawn in proportion to how much more streamline density they need.

    The target of a fixel is its apparent fibre density times the share of white matter in its voxel. In the first round
    fixels are drawn in proportion to it. After each round a fixel's probability is set to what would bring its density
    to the target by the time there are twice as many streamlines (or as many as wanted), if its density went on growing
    in proportion to its seeds. Rounds are fixed ranges of seed indices, so neither threads nor blocks change anything.
    """

    n_seeds: int | None = None

    def __init__(
        self,
        field: OrientationField,
        options: TrackOptions,
        fixels: FixelField,
        directions: NDArray[np.float64],
        tissue: TissueMap | None = None,
        seed_mask: NDArray[np.bool_] | None = None,
    ) -> None:
        require_same_grid(field.grid, fixels.grid, "the orientation field", "the fixels")
        self._fixels, self._directions = fixels, directions
        self._random_seed, self._wanted = np.uint64(options.random_seed), options.n_streamlines
        voxels = np.argwhere(fixels.mask)
        self._row_of = np.full(fixels.grid.shape, -1, np.int32)
        self._row_of[fixels.mask] = np.arange(len(voxels), dtype=np.int32)
        self._centres = voxels.astype(np.float32)
        counts = np.diff(fixels.offsets)
        self._voxel_of = np.repeat(np.arange(len(voxels), dtype=np.int32), counts)
        share = np.ones(len(voxels)) if tissue is None else _white_share(tissue, fixels)
        target = np.maximum(fixels.afd.astype(np.float64) * share[self._voxel_of], 0.0)
        may_seed = field.mask[fixels.mask] & (seed_mask[fixels.mask] if seed_mask is not None else True)
        seeded = np.where(may_seed[self._voxel_of], target, 0.0)
        if not seeded.sum() > 0:
            raise TrackingError(no_seeds(options))
        self.target: NDArray[np.float64] = target
        """(n_fixels,): fibre density that streamlines should have, up to a common factor."""
        self.density_mm: NDArray[np.float64] = np.zeros(len(target))
        """(n_fixels,): length of the streamlines so far."""
        self._now = seeded / seeded.sum()
        self._average = np.zeros(len(target))
        self._cumulative = np.cumsum(self._now)
        self._n_accepted = self._n_before = self._n_seeds = 0
        self.round_end: int | None = FIRST_ROUND
        """Seed index at which the round under way ends."""

    def draw(self, first: int, n: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Draw fixels, and places in their voxels."""
        from tractome.kernels.tracking import nearest_directions, seed_uniforms

        drawn = seed_uniforms(self._random_seed, first, n)
        rows = np.searchsorted(self._cumulative, drawn[:, 0] * self._cumulative[-1], side="right")
        rows = np.minimum(rows, len(self._cumulative) - 1)
        points = (self._centres[self._voxel_of[rows]] + (drawn[:, 1:] - 0.5)).astype(np.float32)
        return points, nearest_directions(self._directions, self._fixels.directions[rows].astype(np.float64))

    def learn(self, block: Tractogram) -> None:
        """Add the block's streamlines to the densities; at the end of a round, choose the next probabilities."""
        from tractome.kernels.mapping import add_lengths, map_to_fixels

        fixels = self._fixels
        to_voxel = np.ascontiguousarray(fixels.grid.inverse[:3])
        _, rows, lengths_mm = map_to_fixels(
            block.points, block.offsets, to_voxel, self._row_of, fixels.offsets, fixels.directions
        )
        add_lengths(rows, lengths_mm, self.density_mm)
        self._n_accepted += block.n_streamlines
        self._n_seeds += block.n_seeds
        if self._n_seeds == self.round_end:
            self._choose()
            self.round_end += max(FIRST_ROUND, self._n_seeds // 8)

    def _choose(self) -> None:
        n = self._n_accepted
        if n == self._n_before:
            return
        # The average over the streamlines so far of the probability in force.
        self._average += (self._now - self._average) * ((n - self._n_before) / n)
        self._n_before = n
        n_target = 2 * n if self._wanted is None else min(2 * n, self._wanted)
        is_target = self.target > 0
        scale = self.target.sum() / max(self.density_mm[is_target].sum(), 1e-9)
        is_met = self.density_mm * scale > 0
        if n_target <= n:
            return
        ratio = np.divide(self.density_mm * scale, self.target, out=np.ones_like(self.target), where=is_target & is_met)
        rise = np.clip((n_target / ratio - n) / (n_target - n), 0.0, _LARGEST_RISE)
        chosen = self._average * np.where(is_target & is_met, rise, 1.0)
        if chosen.sum() > 0:
            self._now = chosen / chosen.sum()
            self._cumulative = np.cumsum(self._now)


def _white_share(tissue: TissueMap, fixels: FixelField) -> NDArray[np.float64]:
    """Share of white matter (lesions too) at the centre of each voxel of the fixels, (n_voxels,)."""
    from tractome.kernels.sampling import sample_points

    centres = tissue.grid.to_voxel(fixels.grid.to_world(np.argwhere(fixels.mask)))
    fractions = np.nan_to_num(sample_points(tissue.fractions, centres))
    share: NDArray[np.float64] = np.clip(fractions[:, 2] + fractions[:, 4], 0.0, 1.0)
    return share
