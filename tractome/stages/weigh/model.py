"""The fixels that streamlines are weighed against, and how a streamline's way through them is packed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tractome.datatypes._checks import frozen
from tractome.datatypes.fixels import FixelField
from tractome.datatypes.tractogram import Tractogram
from tractome.errors import ImageError, TableError

MOST_FIXELS = 1 << 24
"""Numbered in 24 bits at most, so that 8 or more are left for the length."""


@dataclass(frozen=True, eq=False)
class FixelModel:
    """Fixels with a share above 0, and the form of packed contributions.

    Parameters
    ----------
    fixels : FixelField
    number_of : (fixels.n_fixels,) int32
        Number of each fixel in the model, -1 for those that count nothing.
    density : (n,) float64
        Fibre density of each fixel of the model, without what noise gives it; may be 0.
    share : (n,) float64
        How much it counts.
    shift : int
        Bits of the length in a packed contribution.
    quantum_mm : float
        Unit of that length.
    """

    fixels: FixelField
    number_of: NDArray[np.int32]
    density: NDArray[np.float64]
    share: NDArray[np.float64]
    shift: int
    quantum_mm: float
    _row_of: NDArray[np.int32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        row_of = np.full(self.fixels.grid.shape, -1, np.int32)
        row_of[self.fixels.mask] = np.arange(np.count_nonzero(self.fixels.mask), dtype=np.int32)
        object.__setattr__(self, "_row_of", frozen(row_of, np.int32))

    def pack(self, block: Tractogram) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Contributions of each streamline of a block, along it.

        Returns
        -------
        entries : (n,) uint32
            Fixel and length, see `kernels.weighting`.
        counts : (n_streamlines,) int64
            How many of them each streamline has.

        Raises
        ------
        TableError
            A point is not finite.
        """
        from tractome.kernels.mapping import map_to_fixels
        from tractome.kernels.weighting import pack_contributions

        if not np.isfinite(block.points).all():
            message = "A streamline has points that are not finite; it cannot be weighed. Write the tractogram again."
            raise TableError(message)
        fixels = self.fixels
        to_voxel = np.ascontiguousarray(fixels.grid.inverse[:3])
        starts, found, lengths_mm = map_to_fixels(
            block.points, block.offsets, to_voxel, self._row_of, fixels.offsets, fixels.directions
        )
        most_mm = ((1 << self.shift) - 1) * self.quantum_mm
        room = len(found) + int(np.floor(lengths_mm / most_mm).sum())
        entries, counts = np.empty(room, np.uint32), np.empty(block.n_streamlines, np.int64)
        n = pack_contributions(found, lengths_mm, starts, self.number_of, self.shift, self.quantum_mm, entries, counts)
        return entries[:n], counts


def make_model(
    fixels: FixelField,
    shares: NDArray[np.float32] | None = None,
    *,
    min_density: float = 0.0,
    noise_density: float = 0.0,
) -> FixelModel:
    """Choose the fixels that streamlines are weighed against.

    Parameters
    ----------
    fixels : FixelField
    shares : (x, y, z) float32, optional
        How much each voxel counts, such as `processing_mask`; 1 everywhere when not given.
    min_density : float
        Fixels of less fibre density count nothing.
    noise_density : float
        Taken off the fibre density of every fixel, down to 0: see `noise_density`. A fixel of which nothing is left
        still counts, so that streamlines along it are held down.

    Raises
    ------
    ImageError
        The shares are not finite or negative, or leave no fixel, or more than can be numbered; or noise explains all.
    """
    if shares is None:
        shares = np.ones(fixels.grid.shape, np.float32)
    if shares.shape != fixels.grid.shape or not np.isfinite(shares).all() or shares.min() < 0:
        message = (
            f"The processing mask must hold finite weights of at least 0 on the grid {fixels.grid.shape} of the FODs; "
            f"it has the shape {shares.shape} and values from {np.min(shares):g} to {np.max(shares):g}. Mend the mask."
        )
        raise ImageError(message)
    share = np.repeat(shares[fixels.mask].astype(np.float64), np.diff(fixels.offsets))
    density = np.nan_to_num(fixels.afd.astype(np.float64), posinf=0.0, neginf=0.0)
    counts = (share > 0) & (density > 0) & (density >= min_density)
    n = int(np.count_nonzero(counts))
    if n == 0:
        message = (
            "No fibre population lies where the processing mask (or the white matter of the tissue map) is above 0. "
            "Check that mask, tissue map and FODs belong to the same scan."
        )
        raise ImageError(message)
    if n >= MOST_FIXELS:
        message = (
            f"{n:,} fibre populations are too many to weigh streamlines against; up to {MOST_FIXELS:,} can be. Give a "
            "tissue map or a processing mask, or raise --min-peak."
        )
        raise ImageError(message)
    if not density[counts].max() > noise_density:
        message = (
            f"The densest fibre population that counts has {density[counts].max():.3g}, and noise is taken to give "
            f"{noise_density:.3g} to each. Give less with --noise-density, or check the FODs."
        )
        raise ImageError(message)
    number_of = np.full(fixels.n_fixels, -1, np.int32)
    number_of[counts] = np.arange(n, dtype=np.int32)
    shift = min(32 - n.bit_length(), 20)
    # A straight way through a voxel is at most its diagonal; what is longer is packed in pieces.
    longest_mm = float(np.linalg.norm(np.abs(fixels.grid.affine[:3, :3]).sum(axis=1)))
    signal = np.maximum(density[counts] - noise_density, 0.0)
    return FixelModel(fixels, number_of, signal, share[counts], shift, longest_mm / ((1 << shift) - 1))
